//! Points in time, to the nanosecond.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Invalid;

/// A point in time in UTC, from year 1 to 9999 (the range of `google.protobuf.Timestamp`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    const MIN_SECONDS: i64 = -62_135_596_800;
    const MAX_SECONDS: i64 = 253_402_300_799;

    pub const UNIX_EPOCH: Self = Self {
        seconds: 0,
        nanos: 0,
    };

    /// `seconds` since 1970 and `nanos` within that second.
    pub fn new(seconds: i64, nanos: u32) -> Result<Self, Invalid> {
        if !(Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(&seconds) {
            return Err(Invalid::new("timestamp", "must be of the years 1 to 9999"));
        }
        if nanos >= 1_000_000_000 {
            return Err(Invalid::new(
                "timestamp",
                "must have less than 1,000,000,000 nanoseconds",
            ));
        }
        Ok(Self { seconds, nanos })
    }

    /// Milliseconds since 1970.
    pub fn from_millis(millis: i64) -> Result<Self, Invalid> {
        let within = u32::try_from(millis.rem_euclid(1000)).expect("less than 1,000");
        Self::new(millis.div_euclid(1000), within * 1_000_000)
    }

    /// The last moment of 9999.
    pub const MAX: Self = Self {
        seconds: Self::MAX_SECONDS,
        nanos: 999_999_999,
    };

    /// How long after `earlier` it is; nothing where it is before, as after a clock was set back.
    pub fn since(self, earlier: Self) -> Duration {
        if self <= earlier {
            return Duration::ZERO;
        }
        let seconds = u64::try_from(self.seconds - earlier.seconds).expect("not before");
        Duration::new(seconds, self.nanos) - Duration::new(0, earlier.nanos)
    }

    /// So much later, at most [`Self::MAX`].
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let nanos = self.nanos + time.subsec_nanos();
        let carried = i64::from(nanos / 1_000_000_000);
        let seconds = i64::try_from(time.as_secs())
            .ok()
            .and_then(|seconds| self.seconds.checked_add(seconds)?.checked_add(carried));
        seconds
            .and_then(|seconds| Self::new(seconds, nanos % 1_000_000_000).ok())
            .unwrap_or(Self::MAX)
    }

    /// Seconds since 1970; negative before.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    pub fn nanos(self) -> u32 {
        self.nanos
    }

    /// Milliseconds since 1970, rounded down.
    pub fn millis(self) -> i64 {
        self.seconds * 1000 + i64::from(self.nanos / 1_000_000)
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;

    /// RFC 3339, with an offset or `Z`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| {
            Invalid::new(
                "timestamp",
                "must be RFC 3339, such as 2026-01-31T12:00:00Z",
            )
        })?;
        let nanos = instant.as_nanosecond();
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000))
            .map_err(|_| Invalid::new("timestamp", "must be of the years 1 to 9999"))?;
        let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000))
            .expect("a remainder by 1,000,000,000 fits");
        Self::new(seconds, nanos)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i32::try_from(self.nanos).expect("less than 1,000,000,000");
        // The last day of 9999 lies past jiff's range, and past anybody's records.
        match jiff::Timestamp::new(self.seconds, nanos) {
            Ok(instant) => fmt::Display::fmt(&instant, f),
            Err(_) => write!(f, "@{}.{:09}", self.seconds, self.nanos),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_zero_time_of_go_is_a_timestamp() {
        let zero: Timestamp = "0001-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(zero.seconds(), -62_135_596_800);
        assert!(Timestamp::new(zero.seconds() - 1, 0).is_err());
    }

    #[test]
    fn nanoseconds_survive() {
        let time: Timestamp = "2026-11-21T10:00:00.123456789+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-21T09:00:00.123456789Z");
    }

    #[test]
    fn no_time_passes_backwards_nor_past_the_last_year() {
        let at = |seconds, nanos| Timestamp::new(seconds, nanos).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(at(5, 1).since(at(4, 999_999_999)), Duration::new(0, 2));
        assert_eq!(at(5, 0).since(at(5, 1)), Duration::ZERO);
        assert_eq!(at(4, 0).since(at(5, 0)), Duration::ZERO);
        assert_eq!(Timestamp::MAX.plus(second), Timestamp::MAX);
        assert_eq!(at(5, 0).plus(Duration::MAX), Timestamp::MAX);
        assert_eq!(at(5, 999_999_999).plus(Duration::new(1, 1)), at(7, 0));
    }

    proptest! {
        #[test]
        fn what_is_so_much_later_is_so_much_after(seconds in -62_135_596_800i64..200_000_000_000, nanos in 0u32..1_000_000_000, later in 0u64..50_000_000_000, and in 0u32..1_000_000_000) {
            let (time, passed) = (Timestamp::new(seconds, nanos).unwrap(), Duration::new(later, and));
            prop_assert_eq!(time.plus(passed).since(time), passed);
        }

        #[test]
        fn text_and_back_is_the_same_time(seconds in -62_135_596_800i64..253_402_200_000, nanos in 0u32..1_000_000_000) {
            let time = Timestamp::new(seconds, nanos).unwrap();
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
    }
}
