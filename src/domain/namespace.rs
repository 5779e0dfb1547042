//! A namespace's own record.

use super::{Invalid, Labels, Namespace, Timestamp};

/// A namespace and what was noted on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRecord {
    pub name: Namespace,
    pub labels: Labels,
    /// How many superseded generations of each name are kept; `None` for the default.
    pub history_limit: Option<HistoryLimit>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How many superseded generations are kept for a name: at most 1,000; 0 keeps none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryLimit(u32);

impl HistoryLimit {
    pub const MAX: u32 = 1000;

    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for HistoryLimit {
    fn default() -> Self {
        Self(64)
    }
}

impl TryFrom<u32> for HistoryLimit {
    type Error = Invalid;

    fn try_from(limit: u32) -> Result<Self, Invalid> {
        match limit {
            0..=Self::MAX => Ok(Self(limit)),
            _ => Err(Invalid::new(
                "history_limit",
                format!("must be at most {}", Self::MAX),
            )),
        }
    }
}

impl NamespaceRecord {
    /// A namespace as the first write into it makes it.
    pub fn new(name: Namespace, now: Timestamp) -> Self {
        Self {
            name,
            labels: Labels::default(),
            history_limit: None,
            created_at: now,
            updated_at: now,
        }
    }
}
