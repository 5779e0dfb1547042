//! States of targets, and what may happen to a target in each of them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::super::Location;
use crate::domain::{Digest, Invalid, Timestamp};

/// How far a target has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    ToBuild,
    /// Somewhere an image of it is there.
    Built,
    /// And its test has passed there.
    Verified,
    /// It is in its registry.
    Published,
    /// Something failed. Only a reset leads out.
    Error,
}

/// What may happen to a target, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    BuildOk,
    BuildFailed,
    VerifyOk,
    VerifyFailed,
    PublishOk,
    PublishFailed,
    SeenLocal,
    SeenPublished,
    Lost,
    Reset,
}

/// What happened to a target. Digests are those of what was built, as its daemon tells them, or of what is in the
/// registry, where they are known; the two need not be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    BuildOk {
        digest: Option<Digest>,
        location: Location,
    },
    BuildFailed {
        error: String,
    },
    VerifyOk,
    VerifyFailed {
        error: String,
    },
    PublishOk {
        digest: Option<Digest>,
    },
    PublishFailed {
        error: String,
    },
    /// It was there already, although nobody said that it was built.
    SeenLocal {
        digest: Option<Digest>,
        location: Location,
    },
    /// It was in the registry already.
    SeenPublished {
        digest: Option<Digest>,
    },
    /// It is nowhere any more, for certain.
    Lost,
    Reset,
}

/// What became of a target so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub state: State,
    /// Of what was built, as its daemon tells it, where that is known.
    pub digest: Option<Digest>,
    /// Of what is in the registry, where that is known.
    pub published: Option<Digest>,
    /// Which daemons have the image; empty unless it is built or verified.
    pub locations: BTreeSet<Location>,
    /// How many builds were reported, whatever became of them. Never goes back.
    pub attempts: u32,
    /// What failed last; kept by a reset, gone with the next success.
    pub last_error: Option<String>,
    /// It is to be built, unless it is there already: the last observation could not tell.
    pub in_doubt: bool,
    /// Nobody is given it before.
    pub not_before: Option<Timestamp>,
}

impl State {
    pub const ALL: [Self; 5] = [
        Self::ToBuild,
        Self::Built,
        Self::Verified,
        Self::Published,
        Self::Error,
    ];

    /// All that may happen in this state, and where it leads. What leads back to where it starts says again what is so
    /// already, and changes nothing.
    pub const fn legal(self) -> &'static [(EventKind, Self)] {
        use EventKind::*;
        match self {
            Self::ToBuild => &[
                (BuildOk, Self::Built),
                (BuildFailed, Self::Error),
                (SeenLocal, Self::Built),
                (SeenPublished, Self::Published),
            ],
            Self::Built => &[
                (VerifyOk, Self::Verified),
                (VerifyFailed, Self::Error),
                (SeenPublished, Self::Published),
                (Lost, Self::ToBuild),
                (BuildOk, Self::Built),
            ],
            Self::Verified => &[
                (PublishOk, Self::Published),
                (PublishFailed, Self::Error),
                (Lost, Self::ToBuild),
                (VerifyOk, Self::Verified),
            ],
            Self::Published => &[(Lost, Self::ToBuild), (PublishOk, Self::Published)],
            Self::Error => &[(Reset, Self::ToBuild)],
        }
    }

    /// Whether a target in this state has come as far as another state; one that failed has not come anywhere.
    pub fn is_at_least(self, goal: Self) -> bool {
        self != Self::Error && self >= goal
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::ToBuild => "to_build",
            Self::Built => "built",
            Self::Verified => "verified",
            Self::Published => "published",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let named = Self::ALL.into_iter().find(|state| state.name() == text);
        named.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Invalid::new("state", format!("must be one of {names}, not {text:?}"))
        })
    }
}

impl EventKind {
    pub const ALL: [Self; 10] = [
        Self::BuildOk,
        Self::BuildFailed,
        Self::VerifyOk,
        Self::VerifyFailed,
        Self::PublishOk,
        Self::PublishFailed,
        Self::SeenLocal,
        Self::SeenPublished,
        Self::Lost,
        Self::Reset,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::BuildOk => "build_ok",
            Self::BuildFailed => "build_failed",
            Self::VerifyOk => "verify_ok",
            Self::VerifyFailed => "verify_failed",
            Self::PublishOk => "publish_ok",
            Self::PublishFailed => "publish_failed",
            Self::SeenLocal => "seen_local",
            Self::SeenPublished => "seen_published",
            Self::Lost => "lost",
            Self::Reset => "reset",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Event {
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::BuildOk { .. } => EventKind::BuildOk,
            Self::BuildFailed { .. } => EventKind::BuildFailed,
            Self::VerifyOk => EventKind::VerifyOk,
            Self::VerifyFailed { .. } => EventKind::VerifyFailed,
            Self::PublishOk { .. } => EventKind::PublishOk,
            Self::PublishFailed { .. } => EventKind::PublishFailed,
            Self::SeenLocal { .. } => EventKind::SeenLocal,
            Self::SeenPublished { .. } => EventKind::SeenPublished,
            Self::Lost => EventKind::Lost,
            Self::Reset => EventKind::Reset,
        }
    }

    /// Whether something failed.
    pub const fn is_failure(&self) -> bool {
        self.error().is_some()
    }

    /// What failed.
    pub const fn error(&self) -> Option<&String> {
        match self {
            Self::BuildFailed { error }
            | Self::VerifyFailed { error }
            | Self::PublishFailed { error } => Some(error),
            Self::BuildOk { .. }
            | Self::VerifyOk
            | Self::PublishOk { .. }
            | Self::SeenLocal { .. }
            | Self::SeenPublished { .. }
            | Self::Lost
            | Self::Reset => None,
        }
    }
}

impl Default for Progress {
    /// Of a target that was just declared.
    fn default() -> Self {
        Self {
            state: State::ToBuild,
            digest: None,
            published: None,
            locations: BTreeSet::new(),
            attempts: 0,
            last_error: None,
            in_doubt: false,
            not_before: None,
        }
    }
}
