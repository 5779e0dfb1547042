//! Regular expressions within bounds: what a list may compile, and how large each may be.

use regex::{Regex, RegexBuilder};
use thiserror::Error;

use super::re2;

/// The longest pattern, in bytes; containerd's dialect alone lets one be longer than a filter of ours.
const MAX_PATTERN: usize = 16 << 10;
/// The deepest nesting of a pattern.
const MAX_NESTING: u32 = 100;
/// The most one compiled expression may take, in bytes.
const LARGE: usize = 1 << 20;
/// What nearly all take; tried first, so that the budget holds for many.
const SMALL: usize = 64 << 10;
/// A pattern longer than this counts as large before it is read, for reading it may cost as much as compiling.
const SHORT: usize = 1 << 10;
/// What all expressions of a list may take together: 512 small ones, or 32 large.
const BUDGET: usize = 32 << 20;

/// Why a pattern was not compiled.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("bad regular expression: {0}")]
    Bad(String),
    #[error("regular expression too large; compiled it may take {} bytes", LARGE)]
    TooLarge,
    #[error(
        "the regular expressions of the list are too large together; compiled they may take {} bytes",
        BUDGET
    )]
    Spent,
}

/// What a list may still compile, in bytes.
pub(super) struct Budget(usize);

impl Budget {
    pub fn new() -> Self {
        Self(BUDGET)
    }

    /// Compiles a pattern of RE2. What it may take is spent whether or not it compiles.
    pub fn compile(&mut self, pattern: &str) -> Result<Regex, Refusal> {
        if pattern.len() > MAX_PATTERN {
            return Err(Refusal::TooLarge);
        }
        let size = if pattern.len() > SHORT { LARGE } else { SMALL };
        self.spend(size)?;
        let translated = re2::translate(pattern).map_err(|reason| Refusal::Bad(reason.into()))?;
        let mut parser = regex_syntax::ParserBuilder::new()
            .nest_limit(MAX_NESTING)
            .build();
        parser
            .parse(&translated)
            .map_err(|error| Refusal::Bad(summary(&error)))?;
        match build(&translated, size) {
            Err(Refusal::TooLarge) if size < LARGE => {
                self.spend(LARGE)?;
                build(&translated, LARGE)
            }
            compiled => compiled,
        }
    }

    fn spend(&mut self, size: usize) -> Result<(), Refusal> {
        self.0 = self.0.checked_sub(size).ok_or(Refusal::Spent)?;
        Ok(())
    }
}

fn build(translated: &str, size: usize) -> Result<Regex, Refusal> {
    let mut builder = RegexBuilder::new(translated);
    builder
        .nest_limit(MAX_NESTING)
        .size_limit(size)
        .dfa_size_limit(size);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Refusal::TooLarge,
        other => Refusal::Bad(other.to_string()),
    })
}

/// The cause in one line; the parser's own report draws the pattern, which is not the one that was written.
fn summary(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        other => other.to_string(),
    }
}
