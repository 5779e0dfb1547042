//! A namespace's own record.

use super::{Labels, Namespace, Timestamp};

/// A namespace and what was noted on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRecord {
    pub name: Namespace,
    pub labels: Labels,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl NamespaceRecord {
    /// A namespace as the first write into it makes it.
    pub fn new(name: Namespace, now: Timestamp) -> Self {
        Self {
            name,
            labels: Labels::default(),
            created_at: now,
            updated_at: now,
        }
    }
}
