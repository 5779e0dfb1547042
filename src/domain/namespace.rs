//! A namespace's own record.

use std::fmt;

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

/// How much a namespace holds of what keeps it from going.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub images: u64,
    pub configs: u64,
    pub builders: u64,
    pub targets: u64,
}

/// How many superseded generations are kept for a name: at most 1,000; 0 keeps none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryLimit(u32);

impl Contents {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each kind of which there are some, and how many.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let kinds = [
            ("images", self.images),
            ("configs", self.configs),
            ("builders", self.builders),
            ("build targets", self.targets),
        ];
        kinds.into_iter().filter(|(_, count)| *count > 0)
    }
}

/// `3 images and 2 configs`.
impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.kinds().map(|(kind, count)| format!("{count} {kind}"));
        let held: Vec<String> = held.collect();
        match &*held {
            [] => f.write_str("nothing"),
            [one] => f.write_str(one),
            [most @ .., last] => write!(f, "{} and {last}", most.join(", ")),
        }
    }
}

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
