//! Policies: how long a builder's image is good, and how many are kept.

use std::time::Duration;

use crate::domain::Invalid;

/// When a builder's image is made again, and how many of them are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub ages: Ages,
    pub keep_last: KeepLast,
    /// Whether an image is made again when its base has another digest than it was made from.
    pub tracks_base: bool,
    pub probe: Probe,
}

/// From which age on an image is made again: one that has just that age is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    max_age: Option<Duration>,
    refresh_after: Option<Duration>,
}

/// How many of the newest images are kept: 1 to 1,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeepLast(u32);

/// When somebody has to look whether an image is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nobody needs to. That a place could not be asked makes no difference.
    Never,
    /// When it was not seen for so long. That a place could not be asked makes no difference until then.
    IfOlderThan(Duration),
    Always,
}

/// vieter's: a day, and the newest image only.
impl Default for Policy {
    fn default() -> Self {
        Self {
            ages: Ages {
                max_age: Some(Duration::from_secs(24 * 60 * 60)),
                refresh_after: None,
            },
            keep_last: KeepLast(1),
            tracks_base: false,
            probe: Probe::Never,
        }
    }
}

// === impl Ages ===

impl Ages {
    /// `max_age` is from when an image is not used any more, `refresh_after` from when one caller makes a new one while
    /// the others go on with it; none for never. Refuses a `refresh_after` that is longer.
    pub fn new(
        max_age: Option<Duration>,
        refresh_after: Option<Duration>,
    ) -> Result<Self, Invalid> {
        match (max_age, refresh_after) {
            (Some(max_age), Some(refresh_after)) if refresh_after > max_age => Err(Invalid::new(
                "refresh_after",
                "must not be longer than max_age",
            )),
            _ => Ok(Self {
                max_age,
                refresh_after,
            }),
        }
    }

    pub fn max_age(self) -> Option<Duration> {
        self.max_age
    }

    pub fn refresh_after(self) -> Option<Duration> {
        self.refresh_after
    }

    pub(super) fn is_expired(self, age: Duration) -> bool {
        self.max_age.is_some_and(|max_age| age >= max_age)
    }

    pub(super) fn is_due(self, age: Duration) -> bool {
        self.refresh_after.is_some_and(|after| age >= after)
    }
}

// === impl KeepLast ===

impl KeepLast {
    pub const MAX: u32 = 1000;

    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for KeepLast {
    type Error = Invalid;

    fn try_from(keep_last: u32) -> Result<Self, Invalid> {
        match keep_last {
            1..=Self::MAX => Ok(Self(keep_last)),
            _ => {
                let reason = format!("must be 1 to {}", Self::MAX);
                Err(Invalid::new("keep_last", reason))
            }
        }
    }
}

// === impl Probe ===

impl Probe {
    /// How long an image is thought to be there after it was seen; none for ever.
    pub(super) fn grace(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::IfOlderThan(time) => Some(time),
            Self::Always => Some(Duration::ZERO),
        }
    }
}
