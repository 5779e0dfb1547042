//! What a selection asks for: the selected targets and all below them that something is left to do for.

use super::{Graph, State, Target, TargetKey};

/// A target that cannot be built, since something below it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub target: TargetKey,
    /// The target that failed; of one that failed itself, itself.
    pub failed: TargetKey,
    /// What it is built on and is blocked itself; none where it is built on the failed one.
    pub through: Option<TargetKey>,
}

/// Of each node: whether it is asked for, and what it waits for in vain.
pub(super) struct Wanted {
    is_wanted: Vec<bool>,
    /// It would be wanted, had it not failed.
    has_failed: Vec<bool>,
    blocked: Vec<Option<Obstacle>>,
}

#[derive(Clone, Copy)]
struct Obstacle {
    failed: usize,
    through: Option<usize>,
}

impl Graph {
    /// docker-pkg's selection: what is selected and left to do, with the dependencies that are, selected or not. What
    /// is below a target that nothing is left to do for, or that failed, is left alone.
    pub(super) fn wanted(
        &self,
        is_left: impl Fn(State) -> bool,
        is_selected: impl Fn(&Target, State) -> bool,
    ) -> Wanted {
        let mut is_wanted = vec![false; self.len()];
        let mut has_failed = vec![false; self.len()];
        for &n in self.links.topological.iter().rev() {
            let (node, state) = (self.node(n), self.state(n));
            let is_error = state == State::Error;
            if !is_error && !is_left(state) {
                continue;
            }
            let is_asked = is_selected(&node.target, state)
                || node.needed_by.iter().any(|&above| is_wanted[above]);
            (is_wanted[n], has_failed[n]) = (is_asked && !is_error, is_asked && is_error);
        }
        let mut blocked: Vec<Option<Obstacle>> = vec![None; self.len()];
        for &n in self.links.topological.iter().filter(|&&n| is_wanted[n]) {
            blocked[n] = self
                .node(n)
                .needs
                .iter()
                .find_map(|&below| match blocked[below] {
                    Some(obstacle) => Some(Obstacle {
                        through: Some(below),
                        ..obstacle
                    }),
                    None if self.state(below) == State::Error => Some(Obstacle {
                        failed: below,
                        through: None,
                    }),
                    None => None,
                });
        }
        Wanted {
            is_wanted,
            has_failed,
            blocked,
        }
    }

    pub(super) fn keys(&self, nodes: &[usize]) -> Vec<TargetKey> {
        nodes.iter().map(|&n| self.key(n)).collect()
    }

    pub(super) fn key(&self, n: usize) -> TargetKey {
        self.node(n).target.key().clone()
    }
}

impl Wanted {
    pub(super) fn has(&self, n: usize) -> bool {
        self.is_wanted[n]
    }

    /// Whether it is asked for, and nothing below it failed.
    pub(super) fn can_be_done(&self, n: usize) -> bool {
        self.is_wanted[n] && self.blocked[n].is_none()
    }

    /// What is blocked, without what failed itself.
    pub(super) fn blocked(&self, graph: &Graph) -> Vec<Blocked> {
        let order = graph.links.topological.iter();
        order.filter_map(|&n| self.obstacle(graph, n)).collect()
    }

    /// What is blocked, and what failed itself.
    pub(super) fn blocked_or_failed(&self, graph: &Graph) -> Vec<Blocked> {
        let failed = |n: usize| {
            self.has_failed[n].then(|| Blocked {
                target: graph.key(n),
                failed: graph.key(n),
                through: None,
            })
        };
        let order = graph.links.topological.iter();
        order
            .filter_map(|&n| failed(n).or_else(|| self.obstacle(graph, n)))
            .collect()
    }

    fn obstacle(&self, graph: &Graph, n: usize) -> Option<Blocked> {
        let obstacle = self.blocked[n]?;
        Some(Blocked {
            target: graph.key(n),
            failed: graph.key(obstacle.failed),
            through: obstacle.through.map(|below| graph.key(below)),
        })
    }
}
