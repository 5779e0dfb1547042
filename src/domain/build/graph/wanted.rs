//! What a selection asks to be built: the selected targets and all below them that are not built yet.

use super::{Graph, State, Target, TargetKey};

/// A target that cannot be built, since something below it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub target: TargetKey,
    /// The target that failed.
    pub failed: TargetKey,
    /// What it is built on and is blocked itself; none where it is built on the failed one.
    pub through: Option<TargetKey>,
}

/// Of each node: whether it is to be built, and what it waits for in vain.
pub(super) struct Wanted {
    is_wanted: Vec<bool>,
    blocked: Vec<Option<Obstacle>>,
}

#[derive(Clone, Copy)]
struct Obstacle {
    failed: usize,
    through: Option<usize>,
}

impl Graph {
    /// docker-pkg's selection: what is selected and to be built, with the dependencies that are to be built, selected
    /// or not. What is below a target in any other state is left alone.
    pub(super) fn wanted(&self, is_selected: impl Fn(&Target, State) -> bool) -> Wanted {
        let mut is_wanted = vec![false; self.nodes.len()];
        for &n in self.topological.iter().rev() {
            let node = &self.nodes[n];
            is_wanted[n] = node.state == State::ToBuild
                && (node.needed_by.iter().any(|&above| is_wanted[above])
                    || is_selected(&node.target, node.state));
        }
        let mut blocked: Vec<Option<Obstacle>> = vec![None; self.nodes.len()];
        for &n in self.topological.iter().filter(|&&n| is_wanted[n]) {
            blocked[n] = self.nodes[n]
                .needs
                .iter()
                .find_map(|&below| match blocked[below] {
                    Some(obstacle) => Some(Obstacle {
                        through: Some(below),
                        ..obstacle
                    }),
                    None if self.nodes[below].state == State::Error => Some(Obstacle {
                        failed: below,
                        through: None,
                    }),
                    None => None,
                });
        }
        Wanted { is_wanted, blocked }
    }

    pub(super) fn keys(&self, nodes: &[usize]) -> Vec<TargetKey> {
        nodes.iter().map(|&n| self.key(n)).collect()
    }

    pub(super) fn key(&self, n: usize) -> TargetKey {
        self.nodes[n].target.key().clone()
    }
}

impl Wanted {
    pub(super) fn has(&self, n: usize) -> bool {
        self.is_wanted[n]
    }

    /// Whether it is to be built, and nothing below it failed.
    pub(super) fn can_be_built(&self, n: usize) -> bool {
        self.is_wanted[n] && self.blocked[n].is_none()
    }

    pub(super) fn blocked(&self, graph: &Graph) -> Vec<Blocked> {
        let order = graph.topological.iter();
        let blocked = order.filter_map(|&n| self.blocked[n].map(|obstacle| (n, obstacle)));
        let named = blocked.map(|(n, obstacle)| Blocked {
            target: graph.key(n),
            failed: graph.key(obstacle.failed),
            through: obstacle.through.map(|below| graph.key(below)),
        });
        named.collect()
    }
}
