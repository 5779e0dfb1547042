//! Points in time, to the nanosecond.

use std::fmt;
use std::str::FromStr;

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

    proptest! {
        #[test]
        fn text_and_back_is_the_same_time(seconds in -62_135_596_800i64..253_402_200_000, nanos in 0u32..1_000_000_000) {
            let time = Timestamp::new(seconds, nanos).unwrap();
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
    }
}
