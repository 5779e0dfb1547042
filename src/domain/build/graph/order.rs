//! Orders: what is built after what, and what is removed before what.

use std::collections::BTreeSet;

use super::{Blocked, Dependency, Graph, State, Target, TargetKey};
use crate::domain::ImageName;

/// What is to be built, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildOrder {
    /// Each wave is built on those before it, and its targets can be built at once.
    pub waves: Vec<Vec<TargetKey>>,
    /// What is asked for and cannot be built.
    pub blocked: Vec<Blocked>,
    /// What the waves are built on and is there already.
    pub existing: Vec<TargetKey>,
    /// What the waves are built on and comes from elsewhere.
    pub external: BTreeSet<ImageName>,
}

impl Graph {
    /// The order in which to build what is selected and not built yet, and what is below that and not built yet.
    pub fn build_order(&self, is_selected: impl Fn(&Target, State) -> bool) -> BuildOrder {
        let wanted = self.wanted(|state| state == State::ToBuild, is_selected);
        let mut wave_of = vec![0; self.len()];
        let mut waves: Vec<Vec<usize>> = Vec::new();
        let mut is_existing = vec![false; self.len()];
        let mut external = BTreeSet::new();
        for &n in self
            .links
            .topological
            .iter()
            .filter(|&&n| wanted.can_be_done(n))
        {
            let node = self.node(n);
            for &below in &node.needs {
                if wanted.has(below) {
                    wave_of[n] = wave_of[n].max(wave_of[below] + 1);
                } else {
                    is_existing[below] = true;
                }
            }
            if waves.len() <= wave_of[n] {
                waves.push(Vec::new());
            }
            waves[wave_of[n]].push(n);
            external.extend(node.target.dependencies().iter().filter_map(external_image));
        }
        for wave in &mut waves {
            wave.sort_unstable();
        }
        let existing = self.links.topological.iter().filter(|&&n| is_existing[n]);
        BuildOrder {
            waves: waves.iter().map(|wave| self.keys(wave)).collect(),
            blocked: wanted.blocked(self),
            existing: existing.map(|&n| self.key(n)).collect(),
            external: external.into_iter().cloned().collect(),
        }
    }

    /// The order in which to remove what is selected: what is built on something before that, also where what is
    /// between the two is not selected. Whatever its state; nothing changes.
    pub fn prune_order(&self, is_selected: impl Fn(&Target, State) -> bool) -> Vec<TargetKey> {
        let order = self.links.topological.iter().rev();
        let selected = order.filter(|&&n| is_selected(&self.node(n).target, self.state(n)));
        selected.map(|&n| self.key(n)).collect()
    }
}

fn external_image(dependency: &Dependency) -> Option<&ImageName> {
    match dependency {
        Dependency::External(image) => Some(image),
        Dependency::Target { .. } => None,
    }
}
