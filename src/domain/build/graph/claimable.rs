//! What can be claimed: targets below which all is ready.

use std::cmp::Reverse;

use super::{Blocked, Graph, State, Target, TargetKey};

/// How far a dependency has to be before something is built on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// Where all builders use one daemon. docker-pkg's.
    #[default]
    Built,
    Verified,
    /// Where each builder has a daemon of its own.
    Published,
}

/// What of a selection can be built now, and why the rest cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimable {
    /// What the longest chain of others waits for comes first.
    pub ready: Vec<TargetKey>,
    /// What somebody is at.
    pub running: Vec<TargetKey>,
    pub waiting: Vec<Waiting>,
    pub blocked: Vec<Blocked>,
}

/// A target that waits for what it is built on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub target: TargetKey,
    /// The first that is not ready.
    pub on: TargetKey,
}

impl Readiness {
    const fn holds(self, state: State) -> bool {
        match (self, state) {
            (_, State::ToBuild | State::Error) => false,
            (Self::Built, State::Built) => true,
            (Self::Verified | Self::Published, State::Built) => false,
            (Self::Built | Self::Verified, State::Verified) => true,
            (Self::Published, State::Verified) => false,
            (_, State::Published) => true,
        }
    }
}

impl Graph {
    /// What of the build order of a selection can be built now. A target under a live claim is at work, be it built,
    /// verified or published: nobody else gets it, and nothing is built on it meanwhile.
    pub fn claimable(
        &self,
        readiness: Readiness,
        is_selected: impl Fn(&Target, State) -> bool,
        is_held: impl Fn(&TargetKey) -> bool,
    ) -> Claimable {
        let wanted = self.wanted(is_selected);
        let held: Vec<bool> = self
            .nodes
            .iter()
            .map(|node| is_held(node.target.key()))
            .collect();
        let is_ready = |n: usize| readiness.holds(self.nodes[n].state) && !held[n];
        let (mut ready, mut running, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for &n in self.topological.iter().filter(|&&n| wanted.has(n)) {
            if held[n] {
                running.push(self.key(n));
            } else if wanted.can_be_built(n) {
                match self.nodes[n].needs.iter().find(|&&below| !is_ready(below)) {
                    Some(&below) => waiting.push(Waiting {
                        target: self.key(n),
                        on: self.key(below),
                    }),
                    None => ready.push(n),
                }
            }
        }
        let chains = self.chains(|n| wanted.can_be_built(n));
        ready.sort_by_key(|&n| (Reverse(chains[n]), n));
        Claimable {
            ready: self.keys(&ready),
            running,
            waiting,
            blocked: wanted.blocked(self),
        }
    }

    /// For each target how many are built one on the other from it upwards.
    fn chains(&self, counts: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut chains = vec![0; self.nodes.len()];
        for &n in self.topological.iter().rev().filter(|&&n| counts(n)) {
            let above = self.nodes[n].needed_by.iter().map(|&above| chains[above]);
            chains[n] = 1 + above.max().unwrap_or(0);
        }
        chains
    }
}
