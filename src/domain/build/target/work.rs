//! Work: what is done to a target, and what a worker does.

use super::State;
use crate::domain::Invalid;

/// What is done to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    Build,
    Verify,
    Publish,
}

/// What a worker does: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkSet {
    builds: bool,
    verifies: bool,
    publishes: bool,
}

impl Work {
    pub const ALL: [Self; 3] = [Self::Build, Self::Verify, Self::Publish];
}

impl WorkSet {
    /// Refuses none.
    pub fn new(works: impl IntoIterator<Item = Work>) -> Result<Self, Invalid> {
        let mut set = Self {
            builds: false,
            verifies: false,
            publishes: false,
        };
        for work in works {
            match work {
                Work::Build => set.builds = true,
                Work::Verify => set.verifies = true,
                Work::Publish => set.publishes = true,
            }
        }
        if !Work::ALL.into_iter().any(|work| set.has(work)) {
            return Err(Invalid::new("work", "must name at least one"));
        }
        Ok(set)
    }

    pub const fn has(self, work: Work) -> bool {
        match work {
            Work::Build => self.builds,
            Work::Verify => self.verifies,
            Work::Publish => self.publishes,
        }
    }

    /// How far it takes a target; what has come so far is finished.
    pub const fn goal(self) -> State {
        match self {
            Self {
                publishes: true, ..
            } => State::Published,
            Self { verifies: true, .. } => State::Verified,
            Self { .. } => State::Built,
        }
    }

    /// How far something has to be, where it was built, before anything is built on it there.
    pub const fn foundation(self) -> State {
        match self.verifies {
            true => State::Verified,
            false => State::Built,
        }
    }
}
