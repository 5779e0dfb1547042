//! How values read to a person: a name's repository and tag, sizes, and how long ago.

use crate::domain::{Digest, Timestamp};

/// What stands where a name has no tag, as in Docker's listings.
const NO_TAG: &str = "<none>";
/// Digits of a digest that people compare by eye.
const SHORT_DIGITS: usize = 12;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Seconds from which on a unit is used, its length, and its name; the longest first.
const UNITS: [(u64, u64, &str); 7] = [
    (2 * 365 * DAY, 365 * DAY, "year"),
    (60 * DAY, 30 * DAY, "month"),
    (14 * DAY, 7 * DAY, "week"),
    (DAY, DAY, "day"),
    (HOUR, HOUR, "hour"),
    (MINUTE, MINUTE, "minute"),
    (1, 1, "second"),
];

/// A name as Docker splits it. The tag stands after the last `:` with no `/` behind it; a digest
/// behind `@` is part of the repository, unless a tag stands before it.
pub fn repository_and_tag(name: &str) -> (&str, &str) {
    let tagged = match name.rsplit_once('@') {
        Some((before, digest)) if digest.parse::<Digest>().is_ok() => before,
        _ => name,
    };
    match tagged.rsplit_once(':') {
        Some((repository, tag))
            if !repository.is_empty() && !tag.is_empty() && !tag.contains('/') =>
        {
            (repository, tag)
        }
        _ => (name, NO_TAG),
    }
}

/// The first digits of a digest, without its algorithm.
pub fn short_digest(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..SHORT_DIGITS).unwrap_or(hex)
}

/// Bytes in decimal units to three digits, as Docker writes them: `3.7kB`, `123MB`.
pub fn size(bytes: i64) -> String {
    const SCALES: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut scaled = bytes as f64 / 1000.0;
    let mut scale = 0;
    // What rounds to a fourth digit belongs to the next unit.
    while scaled >= 999.5 && scale + 1 < SCALES.len() {
        scaled /= 1000.0;
        scale += 1;
    }
    let decimals = match scaled {
        s if s < 9.995 => 2,
        s if s < 99.95 => 1,
        _ => 0,
    };
    let digits = format!("{scaled:.decimals$}");
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits.as_str(),
    };
    format!("{digits}{}", SCALES[scale])
}

/// How long before `now` something was: `3 days ago`. What lies ahead, because two clocks differ,
/// is `in 3 days`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.seconds().abs_diff(then.seconds());
    let Some((_, length, unit)) = UNITS.iter().find(|(from, ..)| seconds >= *from) else {
        return "just now".to_owned();
    };
    let count = seconds / length;
    let plural = if count == 1 { "" } else { "s" };
    match then < now {
        true => format!("{count} {unit}{plural} ago"),
        false => format!("in {count} {unit}{plural}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_splits_as_docker_splits_it() {
        let sha = format!("sha256:{}", "a".repeat(64));
        let by_digest = format!("quay.io/a/b@{sha}");
        let by_both = format!("quay.io/a/b:1@{sha}");
        for (name, repository, tag) in [
            (
                "docker.io/library/adminer:5",
                "docker.io/library/adminer",
                "5",
            ),
            ("localhost:5000/a/b:1.2-x", "localhost:5000/a/b", "1.2-x"),
            ("localhost:5000/a/b", "localhost:5000/a/b", "<none>"),
            ("adminer", "adminer", "<none>"),
            (&by_digest, &by_digest, "<none>"),
            (&by_both, "quay.io/a/b", "1"),
            (&sha, "sha256", &"a".repeat(64)),
            (":", ":", "<none>"),
            ("a:", "a:", "<none>"),
            (":a", ":a", "<none>"),
            ("me@home:1", "me@home", "1"),
        ] {
            assert_eq!(repository_and_tag(name), (repository, tag), "{name}");
        }
    }

    #[test]
    fn a_size_has_three_digits_in_decimal_units() {
        for (bytes, text) in [
            (1, "1B"),
            (999, "999B"),
            (1000, "1kB"),
            (3700, "3.7kB"),
            (9_996, "10kB"),
            (12_345, "12.3kB"),
            (999_499, "999kB"),
            (999_500, "1MB"),
            (123_456_789, "123MB"),
            (1_500_000_000, "1.5GB"),
            (i64::MAX, "9.22EB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_time_is_told_by_its_distance_from_now() {
        let now = Timestamp::new(1_800_000_000, 0).unwrap();
        for (before, text) in [
            (0, "just now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (3_599, "59 minutes ago"),
            (3_600, "1 hour ago"),
            (86_400, "1 day ago"),
            (3 * 86_400 + 5, "3 days ago"),
            (14 * 86_400, "2 weeks ago"),
            (60 * 86_400, "2 months ago"),
            (800 * 86_400, "2 years ago"),
            (-7_200, "in 2 hours"),
        ] {
            let then = Timestamp::new(now.seconds() - before, 0).unwrap();
            assert_eq!(ago(then, now), text);
        }
    }

    #[test]
    fn a_short_digest_is_its_first_twelve_digits() {
        assert_eq!(short_digest("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_digest("odd"), "odd");
        assert_eq!(short_digest(""), "");
    }
}
