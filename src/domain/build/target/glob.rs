//! Globs: patterns of labels, as Python's `fnmatch` reads them.

use std::str::FromStr;

use super::Target;
use crate::domain::Invalid;

/// A pattern of the labels of targets, whole labels and case included.
///
/// `*` is any text, slashes and colons too; `?` one character; `[abc]`, `[a-z]` one of them and `[!a]` one other.
/// Nothing quotes: `[*]` is a star, and a backslash is a backslash. Matching takes time in proportion to the length of
/// the label times that of the pattern, whatever they are.
///
/// Unlike docker-pkg's, a pattern may also be one of `NAME:VERSION` alone, without registry and namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Char(char),
    Set {
        is_negated: bool,
        /// From and to, both included; none where the first is after the second.
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    pub const MAX_BYTES: usize = 1024;

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a pattern of the target's label, or of its `NAME:VERSION`.
    pub fn matches(&self, target: &Target) -> bool {
        self.matches_text(target.label().as_str()) || self.matches_text(target.short_label())
    }

    /// Whether it is a pattern of the whole text.
    pub fn matches_text(&self, text: &str) -> bool {
        let (mut part, mut rest) = (0, text.chars());
        // The last star that was met, and what came after what it stands for so far.
        let mut star: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            match self.parts.get(part) {
                Some(Part::Any) => {
                    part += 1;
                    star = Some((part, rest.clone()));
                    continue;
                }
                None if rest.as_str().is_empty() => return true,
                Some(one) => {
                    let mut after = rest.clone();
                    if after.next().is_some_and(|c| one.fits(c)) {
                        (part, rest) = (part + 1, after);
                        continue;
                    }
                }
                None => {}
            }
            // The star takes one character more.
            let Some((after_star, from)) = &mut star else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            (part, rest) = (*after_star, from.clone());
        }
    }
}

impl Part {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(own) => *own == c,
            Self::Set { is_negated, ranges } => {
                let is_in = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                is_in != *is_negated
            }
        }
    }
}

impl FromStr for Glob {
    type Err = Invalid;

    /// Refuses what matches no label whatever it is: an empty pattern, and a `[` that nothing closes.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            let reason = "must not be empty: it would match nothing; leave it out to match all";
            return Err(Invalid::new("glob", reason));
        }
        if text.len() > Self::MAX_BYTES {
            let reason = format!(
                "is {} bytes long, more than {}",
                text.len(),
                Self::MAX_BYTES
            );
            return Err(Invalid::new("glob", reason));
        }
        let mut parts = Vec::new();
        let mut rest = text.chars();
        while let Some(next) = rest.next() {
            parts.push(match next {
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '[' => {
                    let (set, after) = set(rest.as_str()).ok_or_else(|| {
                        let at = text.len() - rest.as_str().len() - 1;
                        Invalid::new("glob", format!("has a [ at byte {at} that nothing closes"))
                    })?;
                    rest = after.chars();
                    set
                }
                other => Part::Char(other),
            });
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }
}

/// A set, from behind its `[`, and what comes after its `]`. A `]` that comes first does not close it.
fn set(text: &str) -> Option<(Part, &str)> {
    let (is_negated, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let first = text.chars().next()?.len_utf8();
    let end = first + text[first..].find(']')?;
    let members: Vec<char> = text[..end].chars().collect();
    let mut ranges = Vec::new();
    let mut rest = &*members;
    while let [from, more @ ..] = rest {
        match more {
            ['-', to, after @ ..] => {
                ranges.push((*from, *to));
                rest = after;
            }
            after => {
                ranges.push((*from, *from));
                rest = after;
            }
        }
    }
    Some((Part::Set { is_negated, ranges }, &text[end + 1..]))
}
