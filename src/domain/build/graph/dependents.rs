//! Dependents: what is built on something.

use super::{Graph, State, Target, TargetKey};

/// How far dependents are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// What is built on it.
    Direct,
    /// And what is built on that, and so on.
    Transitive,
}

impl Graph {
    /// What is built on something that is selected, in the order in which it could be built. With `is_with_self`, the
    /// selected ones too; without, only those of them that are built on another one.
    pub fn dependents(
        &self,
        span: Span,
        is_with_self: bool,
        is_selected: impl Fn(&Target, State) -> bool,
    ) -> Vec<TargetKey> {
        let mut selected = vec![false; self.len()];
        let mut is_above = vec![false; self.len()];
        let mut found = Vec::new();
        for &n in &self.links.topological {
            let node = self.node(n);
            selected[n] = is_selected(&node.target, self.state(n));
            is_above[n] = node.needs.iter().any(|&below| match span {
                Span::Direct => selected[below],
                Span::Transitive => selected[below] || is_above[below],
            });
            if is_above[n] || (is_with_self && selected[n]) {
                found.push(self.key(n));
            }
        }
        found
    }
}
