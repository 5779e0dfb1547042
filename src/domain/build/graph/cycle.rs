//! Cycles: targets that would have to be built before themselves.

use std::fmt;

use super::{Links, NAMED, TargetKey};

/// Each is built on the next one, and the last one on the first, which comes first by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle(Vec<TargetKey>);

impl Cycle {
    pub fn path(&self) -> &[TargetKey] {
        &self.0
    }
}

impl Links {
    /// A cycle among the targets of which something is missing. Each of those is built on another one, so whoever goes
    /// on from one to the next comes back to where they have been.
    pub(super) fn cycle(&self, missing: &[usize]) -> Cycle {
        let is_stuck = |n: &usize| missing[*n] > 0;
        let mut seen_at = vec![None; missing.len()];
        let mut path = Vec::new();
        let mut next = (0..missing.len()).find(is_stuck);
        while let Some(n) = next {
            if let Some(from) = seen_at[n] {
                path.drain(..from);
                break;
            }
            seen_at[n] = Some(path.len());
            path.push(n);
            next = self.nodes[n].needs.iter().copied().find(is_stuck);
        }
        let least = path.iter().enumerate().min_by_key(|(_, n)| **n);
        let first = least.map_or(0, |(at, _)| at);
        path.rotate_left(first);
        Cycle(
            path.into_iter()
                .map(|n| self.nodes[n].target.key().clone())
                .collect(),
        )
    }
}

/// `a@1 -> b@1 -> a@1`, in the middle shortened where it is long.
impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.0.iter().enumerate() {
            let after = self.0.len() - at;
            if at < NAMED || after <= NAMED {
                write!(f, "{key} -> ")?;
            } else if at == NAMED {
                write!(f, "... {} more ... -> ", self.0.len() - 2 * NAMED)?;
            }
        }
        match self.0.first() {
            Some(first) => write!(f, "{first}"),
            None => Ok(()),
        }
    }
}
