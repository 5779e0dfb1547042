//! Errors as containerd has them: a kind, and a text that ends with the kind's words.

use std::sync::LazyLock;

use regex::Regex;

use crate::domain::FilterError;
use crate::error::{Error, Subject};

/// containerd's kinds of errors (`errdefs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    InvalidArgument,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    NotImplemented,
    ResourceExhausted,
    Aborted,
    Unavailable,
    DataLoss,
    Unknown,
}

/// Why a call failed, as containerd would say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: Kind,
    text: String,
}

impl Kind {
    /// What a text of this kind ends with.
    fn suffix(self) -> &'static str {
        match self {
            Self::InvalidArgument => ": invalid argument",
            Self::NotFound => ": not found",
            Self::AlreadyExists => ": already exists",
            Self::FailedPrecondition => ": failed precondition",
            Self::NotImplemented => ": not implemented",
            Self::Unavailable => ": unavailable",
            Self::ResourceExhausted | Self::Aborted | Self::DataLoss | Self::Unknown => "",
        }
    }
}

impl Fault {
    /// A text and the words of its kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into() + kind.suffix(),
        }
    }

    /// A text as it is.
    pub fn bare(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// The same, said of something: `what: text`.
    #[must_use]
    pub fn within(self, what: &str) -> Self {
        Self {
            text: format!("{what}: {}", self.text),
            ..self
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The store's errors in containerd's words.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let said = |subject: &Subject| format!("{} {}", subject.kind(), quoted(subject.name()));
        match &error {
            Error::NotFound(subject) => Self::new(Kind::NotFound, said(subject)),
            Error::Exists(subject) => Self::new(Kind::AlreadyExists, said(subject)),
            Error::Invalid(invalid) => Self::new(Kind::InvalidArgument, invalid.to_string()),
            Error::NotEmpty {
                namespace,
                contents,
            } => {
                let held: Vec<_> = contents.kinds().map(|(kind, _)| kind).collect();
                let held = held.join(", ");
                Self::new(
                    Kind::FailedPrecondition,
                    format!(
                        "namespace {} must be empty, but it still has {held}",
                        quoted(namespace.as_str())
                    ),
                )
            }
            // To containerd an image with another target is not there.
            Error::TargetMismatch {
                subject,
                expected,
                current,
            } => {
                let what = said(subject);
                Self::new(
                    Kind::NotFound,
                    format!("{what} has target {current}, not {expected}"),
                )
            }
            Error::EtagMismatch { .. }
            | Error::Claim { .. }
            | Error::GraphChanged { .. }
            | Error::SnapshotExpired { .. }
            | Error::NotCompacted(_) => Self::bare(Kind::Aborted, error.to_string()),
            Error::UnknownRevision { .. }
            | Error::Compacted { .. }
            | Error::HistoryTrimmed { .. }
            | Error::Ambiguous { .. }
            | Error::HasChildren(_)
            | Error::IllegalTransition { .. }
            | Error::HasDependents { .. }
            | Error::NotBumpable(_)
            | Error::InUse(_)
            | Error::SchemaTooNew { .. } => Self::bare(Kind::FailedPrecondition, error.to_string()),
            Error::TooLarge { .. } | Error::Graph(_) | Error::ReadsTooMuch { .. } => {
                Self::bare(Kind::InvalidArgument, error.to_string())
            }
            Error::TooManySnapshots { .. }
            | Error::DiskFull { .. }
            | Error::LeaseFull { .. }
            | Error::BuilderFull { .. }
            | Error::ConfigFull { .. }
            | Error::TargetFull { .. } => Self::bare(Kind::ResourceExhausted, error.to_string()),
            Error::Item { cause, .. } => Self::bare(Kind::Unknown, cause.to_string()),
            Error::OutcomeUnknown(_) => Self::bare(Kind::Unknown, error.to_string()),
            Error::Corrupt(_) => Self::bare(Kind::DataLoss, error.to_string()),
            Error::Contended { .. }
            | Error::Stopped(_)
            | Error::Closed
            | Error::GoingAway
            | Error::Unavailable(_)
            | Error::Open(_) => Self::bare(Kind::Unavailable, error.to_string()),
        }
    }
}

/// What is wrong with the filters of a list: containerd says the kind twice.
pub fn bad_filter(error: &FilterError) -> Fault {
    Fault::new(Kind::InvalidArgument, format!("{error}: invalid argument"))
}

/// There is no such thing of a kind, such as `image`.
pub fn not_found(kind: &str, name: &str) -> Fault {
    Fault::new(Kind::NotFound, format!("{kind} {}", quoted(name)))
}

/// A text in quotes, as Go's `%q` writes it.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match (character, u32::from(character)) {
            ('"' | '\\', _) => quoted.extend(['\\', character]),
            ('\x07', _) => quoted.push_str("\\a"),
            ('\x08', _) => quoted.push_str("\\b"),
            ('\x0c', _) => quoted.push_str("\\f"),
            ('\n', _) => quoted.push_str("\\n"),
            ('\r', _) => quoted.push_str("\\r"),
            ('\t', _) => quoted.push_str("\\t"),
            ('\x0b', _) => quoted.push_str("\\v"),
            _ if is_shown(character) => quoted.push(character),
            (_, code @ ..0x80) => quoted.push_str(&format!("\\x{code:02x}")),
            (_, code @ ..0x10000) => quoted.push_str(&format!("\\u{code:04x}")),
            (_, code) => quoted.push_str(&format!("\\U{code:08x}")),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether Go takes a character to be printable: of all blanks only the plain one is. It knows those of
/// Unicode 13, with which containerd 1.6 is built.
fn is_shown(character: char) -> bool {
    static SHOWN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[\pL\pM\pN\pP\pS&&\p{Age=13.0}]").expect("a valid pattern"));
    match character {
        ' '..='~' => true,
        ..'\u{80}' => false,
        _ => SHOWN.is_match(character.encode_utf8(&mut [0; 4])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_quotes_them() {
        for (text, expected) in [
            ("plain 'it'", r#""plain 'it'""#),
            ("\"\\", r#""\"\\""#),
            (
                "\x00\x07\x08\t\n\x0b\x0c\r\x1b\x7f",
                r#""\x00\a\b\t\n\v\f\r\x1b\x7f""#,
            ),
            ("\u{fc}e\u{301}\u{1f600}", "\"\u{fc}e\u{301}\u{1f600}\""),
            (
                "\u{80}\u{a0}\u{ad}\u{200b}\u{2028}\u{fffd}",
                "\"\\u0080\\u00a0\\u00ad\\u200b\\u2028\u{fffd}\"",
            ),
            ("\u{10ffff}", r#""\U0010ffff""#),
            ("\u{17b4}\u{1f90}\u{12000}", "\"\u{17b4}\u{1f90}\u{12000}\""),
            // Of Unicode 14 and 15.
            ("\u{1fae0}\u{1fa77}", r#""\U0001fae0\U0001fa77""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
