//! The one error of the domain: a value that cannot be.

use std::borrow::Cow;
use std::fmt;

/// A value that was refused: where it stood, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    field: Cow<'static, str>,
    reason: Cow<'static, str>,
}

impl Invalid {
    /// `reason` continues a sentence that begins with the field: "must not be empty".
    pub fn new(field: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The same complaint about the field as its sender calls it.
    #[must_use]
    pub fn at(self, field: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: field.into(),
            ..self
        }
    }

    /// The same complaint, with the field inside `parent`.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        let field = format!("{parent}.{}", self.field);
        self.at(field)
    }

    pub fn field(&self) -> &str {
        &self.field
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.reason)
    }
}

impl std::error::Error for Invalid {}
