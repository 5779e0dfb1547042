//! The steady clock: ages and deadlines, whatever somebody does to the machine's clock.

use std::time::Duration;

use crate::domain::Timestamp;

/// A clock that never goes back, and goes as fast as time.
///
/// It begins with the machine's clock, and then counts the time that passes; so it does not matter how that one is set.
/// Only how long nobody counted is read from the machine's clock: nothing, where that was set back meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steady {
    /// What it showed when it was started.
    started: Timestamp,
    /// How long the machine had been up then.
    uptime: Duration,
}

/// What the steady clock and the machine's clock show at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub steady: Timestamp,
    pub wall: Timestamp,
}

impl Steady {
    /// One that begins with the machine's clock, or goes on from what was noted.
    pub fn starting(noted: Option<Moment>, wall: Timestamp, uptime: Duration) -> Self {
        let started = noted.map_or(wall, |noted| noted.steady.plus(wall.since(noted.wall)));
        Self { started, uptime }
    }

    /// What it shows when the machine has been up for so long.
    pub fn at(self, uptime: Duration) -> Timestamp {
        let passed = uptime.saturating_sub(self.uptime);
        self.started.plus(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::new(seconds, 0).unwrap()
    }

    fn up(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_begins_with_the_machines_clock_and_counts_the_time_that_passes() {
        let clock = Steady::starting(None, at(1000), up(7));
        assert_eq!(clock.at(up(7)), at(1000));
        assert_eq!(clock.at(up(67)), at(1060));
        assert_eq!(clock.at(up(3)), at(1000), "no uptime goes back");
    }

    #[test]
    fn the_time_in_which_nobody_counted_has_passed_unless_the_machines_clock_was_set_back() {
        let noted = |steady, wall| {
            Some(Moment {
                steady: at(steady),
                wall: at(wall),
            })
        };
        for (noted, wall, shown) in [
            (noted(1000, 1000), 1600, 1600),
            (noted(1000, 1000), 400, 1000),
            // It was set back before, and stays behind.
            (noted(5000, 1000), 1600, 5600),
            // It was wrong at first: long before 2000, since the battery was empty.
            (noted(50, 50), 1_700_000_000, 1_700_000_000),
        ] {
            let clock = Steady::starting(noted, at(wall), up(3));
            assert_eq!(clock.at(up(3)), at(shown), "{noted:?} at {wall}");
        }
    }
}
