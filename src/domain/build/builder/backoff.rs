//! Back-off: how long nobody builds after builds have failed.

use std::time::Duration;

use crate::domain::Timestamp;

/// The builds that failed since the last one that did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failures {
    pub count: u32,
    pub last_error: String,
    pub last_at: Timestamp,
    /// How long to wait from then.
    pub delay: Duration,
}

impl Failures {
    pub const FIRST_DELAY: Duration = Duration::from_secs(10);
    pub const MAX_DELAY: Duration = Duration::from_secs(60 * 60);

    /// One more. Each wait is twice the one before, up to [`Self::MAX_DELAY`], unless whoever failed knows better.
    pub fn after(
        before: Option<&Self>,
        error: String,
        retry_after: Option<Duration>,
        now: Timestamp,
    ) -> Self {
        let earlier = before.map_or(0, |before| before.count);
        let doubled = Self::FIRST_DELAY.saturating_mul(2u32.saturating_pow(earlier));
        Self {
            count: earlier.saturating_add(1),
            last_error: error,
            last_at: now,
            delay: retry_after.unwrap_or(doubled).min(Self::MAX_DELAY),
        }
    }

    /// When somebody may build again; none where they may now. Never longer from now than the delay.
    pub fn retry_at(&self, now: Timestamp) -> Option<Timestamp> {
        let left = self.delay.saturating_sub(now.since(self.last_at));
        (!left.is_zero()).then(|| now.plus(left))
    }
}
