//! The grammar: one text taken apart into selectors as they were written.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

use super::Dialect;
use super::error::{Fault, Misplaced};
use super::quote::{self, Quoted};

/// A selector as written; the bytes where its parts start are kept for refusals.
pub(super) struct Written {
    pub at: usize,
    /// `None` where a quoted part is not UTF-8, which no field is.
    pub path: Option<Vec<String>>,
    pub predicate: Predicate,
}

pub(super) enum Predicate {
    Present,
    Absent,
    Compared {
        operator: Operator,
        operator_at: usize,
        value: Vec<u8>,
        value_at: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Matches,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The selectors of one text, in order, up to the first fault.
pub(super) struct Selectors<'t> {
    text: &'t str,
    at: usize,
    dialect: Dialect,
    state: State,
}

enum State {
    /// A selector must follow.
    Expecting,
    /// A comma or the end must follow.
    Between,
    Done,
}

impl<'t> Selectors<'t> {
    pub fn new(text: &'t str, dialect: Dialect) -> Self {
        let state = if text.is_empty() {
            State::Done
        } else {
            State::Expecting
        };
        Self {
            text,
            at: 0,
            dialect,
            state,
        }
    }

    fn selector(&mut self) -> Result<Written, Misplaced> {
        let absent = self.dialect == Dialect::Native && self.negation();
        self.skip_blanks();
        let at = self.at;
        let path = self.path()?;
        if matches!(self.peek(), None | Some(',')) {
            let predicate = if absent {
                Predicate::Absent
            } else {
                Predicate::Present
            };
            return Ok(Written {
                at,
                path,
                predicate,
            });
        }
        if absent {
            let reason =
                "expected a comma or the end: !FIELD asks only whether the field is absent";
            return Err(self.misplaced(Fault::Refused(reason.into())));
        }
        self.skip_blanks();
        let operator_at = self.at;
        let operator = self.operator()?;
        self.skip_blanks();
        let value_at = self.at;
        let value = self.value(operator)?;
        Ok(Written {
            at,
            path,
            predicate: Predicate::Compared {
                operator,
                operator_at,
                value,
                value_at,
            },
        })
    }

    /// Takes a single exclamation mark, if one is next.
    fn negation(&mut self) -> bool {
        self.skip_blanks();
        let alone = self.operator_run() == "!";
        if alone {
            self.at += 1;
        }
        alone
    }

    fn path(&mut self) -> Result<Option<Vec<String>>, Misplaced> {
        let mut path = self.field()?.map(|field| vec![field]);
        while self.peek() == Some('.') {
            self.at += 1;
            let field = self.field()?;
            path = path.zip(field).map(|(mut path, field)| {
                path.push(field);
                path
            });
        }
        Ok(path)
    }

    fn field(&mut self) -> Result<Option<String>, Misplaced> {
        self.skip_blanks();
        match self.peek() {
            Some(character) if is_quote(character) => {
                Ok(String::from_utf8(self.quoted(false)?).ok())
            }
            Some(character) if is_field(character) => {
                let start = self.at;
                self.skip(is_field);
                Ok(Some(self.text[start..self.at].to_owned()))
            }
            other => Err(self.illegal_or(other, Fault::NoField)),
        }
    }

    fn operator(&mut self) -> Result<Operator, Misplaced> {
        let written = self.operator_run();
        let operator = match written {
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "~=" => Operator::Matches,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            "" => return Err(self.no_operator()),
            other => return Err(self.misplaced(Fault::UnknownOperator(other.to_owned()))),
        };
        self.at += written.len();
        Ok(operator)
    }

    fn no_operator(&self) -> Misplaced {
        match self.peek() {
            // Containerd reads whole tokens: a broken quote is told before a misplaced one.
            Some(character) if is_quote(character) => {
                let fault = quote::read(self.rest(), self.dialect)
                    .err()
                    .unwrap_or(Fault::NoOperator);
                self.misplaced(fault)
            }
            other => self.illegal_or(other, Fault::NoOperator),
        }
    }

    fn value(&mut self, operator: Operator) -> Result<Vec<u8>, Misplaced> {
        match self.peek() {
            Some(character) if is_quote(character) => self.quoted(operator == Operator::Matches),
            None | Some('.' | ',' | '=' | '!' | '~') => Err(self.misplaced(Fault::NoValue)),
            Some(first) => {
                if let Some(fault) = quote::illegal(first) {
                    return Err(self.misplaced(fault));
                }
                // The first character may be any, even one that would end the value later.
                let start = self.at;
                self.at += first.len_utf8();
                self.skip(is_bare);
                Ok(self.text.as_bytes()[start..self.at].to_vec())
            }
        }
    }

    fn quoted(&mut self, any_quote: bool) -> Result<Vec<u8>, Misplaced> {
        let Quoted { len, bytes } =
            quote::read(self.rest(), self.dialect).map_err(|fault| self.misplaced(fault))?;
        if !any_quote && self.peek() != Some('"') {
            return Err(self.misplaced(Fault::OutOfPlaceQuote));
        }
        let Some(bytes) = bytes else {
            return Err(self.misplaced(Fault::OverflowingEscape));
        };
        self.at += len;
        Ok(bytes)
    }

    /// The operator characters that come next, taken together whether or not they are an operator. An order ends
    /// another run, so that a value may start with it: `==<none>`.
    fn operator_run(&self) -> &'t str {
        let rest = self.rest();
        let ordered = self.dialect == Dialect::Native && rest.starts_with(['<', '>']);
        let start = usize::from(ordered);
        let end = rest[start..].find(|character| !matches!(character, '=' | '!' | '~'));
        &rest[..end.map_or(rest.len(), |end| start + end)]
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, wanted: fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest
            .find(|character| !wanted(character))
            .unwrap_or(rest.len());
    }

    fn skip_blanks(&mut self) {
        self.skip(char::is_whitespace);
    }

    fn misplaced(&self, fault: Fault) -> Misplaced {
        Misplaced { at: self.at, fault }
    }

    fn illegal_or(&self, found: Option<char>, fault: Fault) -> Misplaced {
        self.misplaced(found.and_then(quote::illegal).unwrap_or(fault))
    }
}

impl Iterator for Selectors<'_> {
    type Item = Result<Written, Misplaced>;

    fn next(&mut self) -> Option<Self::Item> {
        match (&self.state, self.peek()) {
            (State::Done, _) | (State::Between, None) => return None,
            (State::Between, Some(',')) => self.at += 1,
            (State::Between, Some(other)) => {
                self.state = State::Done;
                return Some(Err(self.misplaced(Fault::Unexpected(other))));
            }
            (State::Expecting, _) => {}
        }
        let selector = self.selector();
        self.state = if selector.is_ok() {
            State::Between
        } else {
            State::Done
        };
        Some(selector)
    }
}

fn is_quote(character: char) -> bool {
    matches!(character, '"' | '/' | '|')
}

fn is_field(character: char) -> bool {
    character == '_' || character.is_ascii_alphanumeric()
}

/// Letters, marks, numbers, punctuation and symbols, but no comma, and not the stand-in for broken text. Which characters
/// those are changes with the Unicode version, containerd's being that of its Go.
fn is_bare(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_graphic() && character != ',';
    }
    let place = GRAPHIC.binary_search_by(|&(first, last)| {
        if last < character {
            std::cmp::Ordering::Less
        } else if first > character {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        }
    });
    place.is_ok() && character != char::REPLACEMENT_CHARACTER
}

static GRAPHIC: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
    let class =
        regex_syntax::parse(r"[\pL\pM\pN\pP\pS]").expect("five general categories make a class");
    match class.kind() {
        HirKind::Class(Class::Unicode(class)) => class
            .iter()
            .map(|range| (range.start(), range.end()))
            .collect(),
        _ => Vec::new(),
    }
});
