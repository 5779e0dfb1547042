//! Numbers and times as people write them in a filter.

use crate::domain::Timestamp;

/// Reads digits and an optional unit. Refuses signs, fractions and what passes 64 bits.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let unit_at = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let scale = scale(unit).filter(|_| !digits.is_empty()).ok_or_else(|| {
        format!("{text:?} is not a number; write digits and, if need be, one of k kB M MB G GB T TB Ki KiB Mi MiB Gi GiB Ti TiB")
    })?;
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(scale))
        .ok_or_else(|| format!("{text:?} is too large; a number is at most {}", u64::MAX))
}

fn scale(unit: &str) -> Option<u64> {
    Some(match unit {
        "" => 1,
        "k" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        "Ti" | "TiB" => 1 << 40,
        _ => return None,
    })
}

/// Reads an RFC 3339 time, or a date as its midnight in UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let time = if is_date(text) {
        format!("{text}T00:00:00Z").parse()
    } else {
        text.parse::<Timestamp>()
    };
    time.map_err(|_| {
        format!("{text:?} is not a time; write one like 2026-01-31 or 2026-01-31T12:00:00Z")
    })
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}
