//! The filter language: which records a caller wants, as a list of texts.
//!
//! A list matches what any of its texts matches; an empty list and an empty text match everything. A text is
//!
//! ```text
//! text      = selector { "," selector }                     every selector must hold
//! selector  = path                                          the field is there
//!           | "!" path                                      it is not                        (native)
//!           | path operator value
//! path      = field { "." field }
//! field     = 1*( A-Z | a-z | 0-9 | "_" ) | quoted
//! operator  = "==" | "!=" | "~="
//!           | "<" | "<=" | ">" | ">="                       numbers and times                (native)
//! value     = quoted | bare
//! bare      = graphic characters up to a comma or a blank; the first is none of . , = ! ~ " / |
//! quoted    = '"' ... '"', and as the value of ~= also / ... / and | ... |
//! ```
//!
//! - Blanks may stand before a token, but not before a comma, a dot or the end.
//! - Inside any quote: `\a \b \f \n \r \t \v \\`, the quote itself, `\ooo`, `\xhh`, `\uhhhh`, `\Uhhhhhhhh`. A quote ends on
//!   its line. A regular expression in quotes therefore doubles its backslashes.
//! - `==` wants the field to be there and equal. `!=` takes an absent field for one that differs. `~=` searches
//!   anywhere in the value, and takes an absent field for the empty text. An order holds for no absent field.
//! - Regular expressions are RE2's as Go reads them: `\d \w \s \b` are ASCII, `.` and literals are characters.
//! - A number may carry a unit: k kB M MB G GB T TB, or Ki KiB Mi MiB Gi GiB Ti TiB. A time is RFC 3339, or a
//!   date, meaning its midnight in UTC.
//!
//! The native dialect refuses what cannot mean anything: an unknown field, an order on a text, a bad expression. The
//! containerd dialect stays silent where containerd does: such a field is absent, such an expression matches nothing.

mod error;
mod hint;
mod literal;
mod pattern;
mod quote;
mod re2;
mod selector;
mod syntax;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::domain::Timestamp;

pub use error::FilterError;
pub use hint::Hint;

use error::{Fault, Misplaced};
use pattern::Budget;
use selector::{Meaning, Selector};
use syntax::Selectors;

/// The longest text of the native dialect, in bytes.
const MAX_TEXT: usize = 4096;
/// The longest list of the native dialect.
const MAX_TEXTS: usize = 64;
/// The most selectors of a whole list, in either dialect.
const MAX_SELECTORS: usize = 4096;
/// As many selectors as are asked in no time.
const FEW: usize = 64;

/// Which language rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Ours: containerd's grammar with orders, numbers, times and absence; strict.
    Native,
    /// Containerd's own grammar, messages and silences.
    Containerd,
}

/// What a filter can be asked of: a record seen as fields.
pub trait Subject {
    /// The fields as a person would list them, for the refusal of an unknown one; may stay empty.
    const FIELDS: &'static str = "";

    /// The kind of a field, or `None` where the subject has no such field. The native dialect refuses such a field.
    fn kind(path: &[String]) -> Option<Kind>;

    /// Whether containerd looks for a field there; its dialect takes all others for absent. It has no numbers and no
    /// times.
    fn is_containerds(path: &[String]) -> bool {
        !matches!(Self::kind(path), Some(Kind::Number | Kind::Time))
    }

    /// The value at a path; `None` where it is absent. The containerd dialect also asks for paths of no kind.
    fn value(&self, path: &[String]) -> Option<Value<'_>>;
}

/// What can be asked of a field: its text, its size, its order in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Time,
}

/// What a record holds in a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Time(Timestamp),
}

/// A parsed list of filters, ready to be asked of many records.
#[derive(Clone, Debug)]
pub struct Filter {
    /// One alternative surely matches everything; the others are then dropped.
    all: bool,
    /// Any may hold. Each has a selector at least; one that cannot match is dropped.
    alternatives: Vec<Vec<Selector>>,
}

impl Filter {
    /// Matches everything.
    pub fn all() -> Self {
        Self {
            all: true,
            alternatives: Vec::new(),
        }
    }

    /// Reads a list of filters over the fields of `S`. Refuses by the rules of the dialect, and more than
    /// 4,096 selectors or too much to compile in both. Regular expressions are compiled here, once.
    pub fn parse<S: Subject>(
        texts: &[impl AsRef<str>],
        dialect: Dialect,
    ) -> Result<Self, FilterError> {
        let mut reading = Reading {
            dialect,
            selectors: 0,
            budget: Budget::new(),
        };
        let mut filter = Self {
            all: texts.is_empty(),
            alternatives: Vec::new(),
        };
        for (index, text) in texts.iter().enumerate() {
            let text = text.as_ref();
            let alternative =
                reading
                    .alternative::<S>(index, text)
                    .map_err(|Misplaced { at, fault }| {
                        FilterError::new(dialect, index, text, at, &fault)
                    })?;
            match alternative {
                None => {}
                Some(selectors) if selectors.is_empty() => filter.all = true,
                Some(selectors) => filter.alternatives.push(selectors),
            }
        }
        if filter.all {
            filter.alternatives.clear();
        }
        Ok(filter)
    }

    /// Whether the record is one of those asked for. Allocates nothing unless the subject does.
    pub fn matches<S: Subject>(&self, subject: &S) -> bool {
        self.all
            || self
                .alternatives
                .iter()
                .any(|selectors| selectors.iter().all(|selector| selector.matches(subject)))
    }

    /// Whether a match may take long: a regular expression costs its length times the text's, and many
    /// selectors add up.
    pub fn is_costly(&self) -> bool {
        let is_pattern = |selector: &Selector| matches!(selector.test, selector::Test::Matches(_));
        let mut selectors = self.alternatives.iter().flatten();
        selectors.any(is_pattern) || self.alternatives.iter().map(Vec::len).sum::<usize>() > FEW
    }

    /// Whether every record matches, whatever it holds.
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// The lookups that together surely find every match, each the narrowest that one alternative allows: none where
    /// nothing can match, `All` alone where one alternative needs it. What they find must still be asked `matches`, and
    /// two of them may find the same record.
    pub fn hints(&self) -> Vec<Hint> {
        if self.all {
            return vec![Hint::All];
        }
        let mut hints: Vec<Hint> = self
            .alternatives
            .iter()
            .map(|selectors| Hint::of(selectors))
            .collect();
        if hints.contains(&Hint::All) {
            return vec![Hint::All];
        }
        hints.sort();
        hints.dedup();
        hints
    }
}

/// What reading one list has used up.
struct Reading {
    dialect: Dialect,
    selectors: usize,
    budget: Budget,
}

impl Reading {
    /// The selectors that still have to be asked: `None` where one cannot hold, empty where all surely do.
    fn alternative<S: Subject>(
        &mut self,
        index: usize,
        text: &str,
    ) -> Result<Option<Vec<Selector>>, Misplaced> {
        self.admit(index, text)?;
        let mut possible = true;
        let mut asked = Vec::new();
        for written in Selectors::new(text, self.dialect) {
            let written = written?;
            self.selectors += 1;
            if self.selectors > MAX_SELECTORS {
                let fault =
                    Fault::Refused(format!("a list holds at most {MAX_SELECTORS} selectors"));
                return Err(Misplaced {
                    at: written.at,
                    fault,
                });
            }
            match Selector::read::<S>(written, self.dialect, &mut self.budget)? {
                Meaning::Always => {}
                Meaning::Never => possible = false,
                Meaning::Asked(selector) => asked.push(selector),
            }
        }
        Ok(possible.then_some(asked))
    }

    fn admit(&self, index: usize, text: &str) -> Result<(), Misplaced> {
        let most = match self.dialect {
            Dialect::Native => MAX_TEXTS,
            // Of one selector each, at least.
            Dialect::Containerd => MAX_SELECTORS,
        };
        if index >= most {
            return Err(Misplaced {
                at: 0,
                fault: Fault::Refused(format!("a list holds at most {most} filters")),
            });
        }
        if self.dialect == Dialect::Native && text.len() > MAX_TEXT {
            let at = (0..=MAX_TEXT)
                .rev()
                .find(|at| text.is_char_boundary(*at))
                .unwrap_or(0);
            let fault = Fault::Refused(format!(
                "a filter is at most {MAX_TEXT} bytes; this one is {}",
                text.len()
            ));
            return Err(Misplaced { at, fault });
        }
        Ok(())
    }
}
