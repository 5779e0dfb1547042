//! What is wrong with a filter, where, and how each dialect words it.

use std::fmt;

use super::Dialect;

/// How much of the offending place the native dialect repeats, in characters.
const EXCERPT: usize = 32;

/// A filter that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    dialect: Dialect,
    index: usize,
    filter: String,
    position: usize,
    reason: String,
}

/// A fault and the byte where its token starts.
#[derive(Debug)]
pub(super) struct Misplaced {
    pub at: usize,
    pub fault: Fault,
}

/// Everything that can be wrong. All but the last are faults of the shared grammar.
#[derive(Debug)]
pub(super) enum Fault {
    NoField,
    NoOperator,
    UnknownOperator(String),
    NoValue,
    OutOfPlaceQuote,
    UnknownEscape,
    ShortEscape,
    OverflowingEscape,
    OpenQuote,
    Null,
    ReplacementCharacter,
    Unexpected(char),
    Refused(String),
}

impl FilterError {
    pub(super) fn new(
        dialect: Dialect,
        index: usize,
        filter: &str,
        position: usize,
        fault: &Fault,
    ) -> Self {
        let reason = match dialect {
            Dialect::Native => fault.native(),
            Dialect::Containerd => fault.containerd(),
        };
        Self {
            dialect,
            index,
            filter: filter.to_owned(),
            position,
            reason,
        }
    }

    /// Which of the texts it is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The whole text.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// The byte of the text where the offending token starts; its length where something is missing at the end.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What is wrong, without the place.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    fn native_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.filter.get(self.position..).unwrap_or_default();
        write!(f, "filters[{}], byte {}, at ", self.index, self.position)?;
        match rest.char_indices().nth(EXCERPT) {
            _ if rest.is_empty() => write!(f, "the end"),
            None => write!(f, "{rest:?}"),
            Some((end, _)) => write!(f, "{:?}...", &rest[..end]),
        }
    }

    /// Containerd cuts one byte out of the text, in two where that is a part of a character; the wire then shows each
    /// stray byte as U+FFFD.
    fn containerd_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, rest) = self
            .filter
            .split_at_checked(self.position)
            .unwrap_or((&self.filter, ""));
        let Some(struck) = rest.chars().next() else {
            return write!(f, "[{}]", self.filter);
        };
        let after = &rest[struck.len_utf8()..];
        if struck.is_ascii() {
            return write!(f, "[{before} >|{struck}|< {after}]");
        }
        let strays = "\u{fffd}".repeat(struck.len_utf8() - 1);
        write!(f, "[{before} >|\u{fffd}|< {strays}{after}]")
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dialect {
            Dialect::Native => self.native_place(f)?,
            Dialect::Containerd => {
                f.write_str("filters: parse error: ")?;
                self.containerd_place(f)?;
            }
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for FilterError {}

impl Fault {
    fn containerd(&self) -> String {
        match self {
            Self::NoField => "expected field or quoted".into(),
            Self::NoOperator => r#"expected an operator ("=="|"!="|"~=")"#.into(),
            Self::UnknownOperator(written) => format!(r#"unsupported operator "{written}""#),
            Self::NoValue => "expected value or quoted".into(),
            Self::OutOfPlaceQuote => "invalid quote encountered".into(),
            Self::UnknownEscape => "illegal escape sequence".into(),
            Self::ShortEscape => "illegal numeric escape sequence".into(),
            Self::OverflowingEscape => "unquoting failed: quote syntax error".into(),
            Self::OpenQuote => "quoted literal not terminated".into(),
            Self::Null => "unexpected null".into(),
            Self::ReplacementCharacter => "rune error".into(),
            Self::Unexpected('\0') => "unexpected input: \u{fffd}".into(),
            Self::Unexpected(character) => format!("unexpected input: {character}"),
            Self::Refused(reason) => reason.clone(),
        }
    }

    fn native(&self) -> String {
        match self {
            Self::NoField => "expected a field; put one that is not only letters, digits and _ in double quotes".into(),
            Self::NoOperator => "expected a comma, the end or one of == != ~= < <= > >=; put a field that is not only \
                                 letters, digits and _ in double quotes"
                .into(),
            Self::UnknownOperator(written) => format!("{written:?} is none of == != ~= < <= > >="),
            Self::NoValue => "expected a value; put one that is empty or starts with . = ! or ~ in double quotes".into(),
            Self::OutOfPlaceQuote => "only the value of ~= may stand in slashes or bars; use double quotes".into(),
            Self::UnknownEscape => r"this quote holds an unknown escape; write \\ for a backslash".into(),
            Self::ShortEscape => r"this quote holds a numeric escape with too few digits; use \ooo, \xhh, \uhhhh or \Uhhhhhhhh".into(),
            Self::OverflowingEscape => "this quote holds a numeric escape that is no byte and no character".into(),
            Self::OpenQuote => r"this quote is not closed on its line; write \n for a line break".into(),
            Self::Null => r"NUL must be written \x00, in double quotes".into(),
            Self::ReplacementCharacter => r"U+FFFD must be written \ufffd, in double quotes".into(),
            Self::Unexpected(_) => "expected a comma or the end; put a value that holds blanks, commas or control \
                                    characters in double quotes"
                .into(),
            Self::Refused(reason) => reason.clone(),
        }
    }
}
