//! Variants of processors: which of them runs what was made for another one.

/// A variant as numbers in fixed text, such as `v8.1`, `power10` or `rva23u64`.
struct Level<'a> {
    before: &'a str,
    numbers: Vec<u64>,
    after: &'a str,
}

/// After v8.9, Arm went on with v9 alone.
const LAST_OF_V8: u64 = 9;

/// Whether a variant runs another one: itself, or a lower number in the same text that is not below `lowest`.
pub(super) fn runs(mine: &str, other: &str, lowest: &[u64]) -> bool {
    if mine == other {
        return true;
    }
    let (Some(mine), Some(other)) = (Level::parse(mine), Level::parse(other)) else {
        return false;
    };
    (mine.before, mine.after) == (other.before, other.after)
        && other.numbers <= mine.numbers
        && lowest <= &*other.numbers
}

/// Whether a variant of arm64 runs another one.
pub(super) fn runs_arm64(mine: &str, other: &str) -> bool {
    if mine == other {
        return true;
    }
    let (Some(mine), Some(other)) = (arm64_version(mine), arm64_version(other)) else {
        return false;
    };
    match (mine, other) {
        // v9.x has all that v8.(x+5) has.
        ((9, minor), (8, wanted)) => wanted <= minor.saturating_add(5).min(LAST_OF_V8),
        ((major, minor), (other, wanted)) => major == other && wanted <= minor,
    }
}

fn arm64_version(variant: &str) -> Option<(u64, u64)> {
    let level = Level::parse(variant)?;
    match (level.before, &*level.numbers, level.after) {
        ("v", [major], "") => Some((*major, 0)),
        ("v", [major, minor], "") => Some((*major, *minor)),
        _ => None,
    }
}

// === impl Level ===

impl<'a> Level<'a> {
    fn parse(variant: &'a str) -> Option<Self> {
        let (before, mut after) = variant.split_at(variant.find(|c: char| c.is_ascii_digit())?);
        let mut numbers = Vec::new();
        loop {
            let (digits, rest) = after.split_at(count_digits(after));
            numbers.push(digits.parse().ok()?);
            after = rest;
            match rest.strip_prefix('.') {
                Some(next) if count_digits(next) > 0 => after = next,
                Some(_) | None => break,
            }
        }
        // 8 and 8.0 are one.
        while numbers.len() > 1 && numbers.last() == Some(&0) {
            numbers.pop();
        }
        Some(Self {
            before,
            numbers,
            after,
        })
    }
}

fn count_digits(text: &str) -> usize {
    let is_other = |c: char| !c.is_ascii_digit();
    text.find(is_other).unwrap_or(text.len())
}
