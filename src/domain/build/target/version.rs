//! Versions of targets, and which one comes after a version when only what is below it changed.

use std::cmp::Ordering;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::domain::name::text;
use crate::domain::{Invalid, natural};

/// A version that can be the tag of an image: 1 to 128 letters, digits, `_`, `.` and `-`, the first no `.` nor `-`.
///
/// Versions are ordered by the numbers in them: 1.9 before 1.10, 1.0 before 1.0-s1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TargetVersion(Arc<str>);

/// What stands before the number of an update: `s` in 1.0-s2. Up to 16 letters, or none, as in 1.0-2.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UpdateId(Arc<str>);

/// A version from which none follows by itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotBumpable {
    #[error(
        "{0} is not of numbers, dots and dashes with perhaps -{1} and a number after them; say the new version"
    )]
    OtherForm(TargetVersion, UpdateId),
    #[error("the version after {0} is longer than a version may be; say the new version")]
    TooLong(TargetVersion),
}

// === impl TargetVersion ===

text!(TargetVersion, UpdateId);

impl TargetVersion {
    pub const MAX_BYTES: usize = 128;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The version of the next update: with `s`, 1.0-s1 after 1.0, and 1.0-s10 after 1.0-s9.
    ///
    /// Refuses a version that has anything but digits, dots and dashes before that.
    pub fn bumped(&self, id: &UpdateId) -> Result<Self, NotBumpable> {
        let text = self.as_str();
        let is_digit = |c: char| c.is_ascii_digit();
        let before = text.trim_end_matches(is_digit);
        let update = before.strip_suffix(id.as_str());
        let base = update.and_then(|rest| rest.strip_suffix('-'));
        let (base, number) = match base {
            Some(base) if before.len() < text.len() => (base, &text[before.len()..]),
            Some(_) | None => (text, "0"),
        };
        if !base.chars().all(|c| is_digit(c) || c == '.' || c == '-') {
            return Err(NotBumpable::OtherForm(self.clone(), id.clone()));
        }
        let next = format!("{base}-{id}{}", successor(number));
        next.parse().map_err(|_| NotBumpable::TooLong(self.clone()))
    }
}

/// The number after one of any length.
fn successor(digits: &str) -> String {
    let mut next = digits.trim_start_matches('0').to_owned();
    let kept = next.trim_end_matches('9').len();
    let nines = next.len() - kept;
    next.truncate(kept);
    let last = next
        .pop()
        .map_or(1, |digit| u32::from(digit) - u32::from('0') + 1);
    next.push(char::from_digit(last, 10).expect("one more than a digit that is not 9"));
    next.extend(std::iter::repeat_n('0', nines));
    next
}

impl Ord for TargetVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        natural::compare(&self.0, &other.0).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for TargetVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for TargetVersion {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        match text.len() {
            0 => Err(Invalid::new("version", "must not be empty")),
            1..=Self::MAX_BYTES if text.bytes().all(is_part) && !text.starts_with(['.', '-']) => {
                Ok(Self(text.into()))
            }
            1..=Self::MAX_BYTES => Err(Invalid::new(
                "version",
                format!(
                    "{text:?} must be a tag: letters, digits, `_`, `.` and `-`, the first no `.` nor `-`"
                ),
            )),
            n => Err(Invalid::new(
                "version",
                format!("is {n} bytes long, more than {}", Self::MAX_BYTES),
            )),
        }
    }
}

// === impl UpdateId ===

impl UpdateId {
    pub const MAX_BYTES: usize = 16;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// docker-pkg's: `s`.
impl Default for UpdateId {
    fn default() -> Self {
        Self("s".into())
    }
}

impl FromStr for UpdateId {
    type Err = Invalid;

    /// Refuses digits: in 1.0-s12 nobody could tell them from the number.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > Self::MAX_BYTES || !text.bytes().all(|b| b.is_ascii_alphabetic()) {
            let reason = format!("must be at most {} letters", Self::MAX_BYTES);
            return Err(Invalid::new("update_id", reason));
        }
        Ok(Self(text.into()))
    }
}
