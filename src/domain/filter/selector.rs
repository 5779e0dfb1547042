//! What a selector means for the fields of a subject, and asking it.

use std::cmp::Ordering;

use regex::Regex;

use super::error::{Fault, Misplaced};
use super::pattern::{Budget, Refusal};
use super::syntax::{Operator, Predicate, Written};
use super::{Dialect, Kind, Subject, Value, literal};
use crate::domain::Timestamp;

/// One question about one field.
#[derive(Clone, Debug)]
pub(super) struct Selector {
    pub path: Vec<String>,
    pub test: Test,
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Present,
    Absent,
    Is(String),
    IsNot(String),
    Matches(Regex),
    Number(Order, u64),
    Time(Order, Timestamp),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A selector once its field is known.
pub(super) enum Meaning {
    Always,
    Never,
    Asked(Selector),
}

impl Selector {
    pub fn read<S: Subject>(
        written: Written,
        dialect: Dialect,
        budget: &mut Budget,
    ) -> Result<Meaning, Misplaced> {
        match dialect {
            Dialect::Native => strict::<S>(written, budget).map(Meaning::Asked),
            Dialect::Containerd => lenient::<S>(written, budget),
        }
    }

    pub fn matches<S: Subject>(&self, subject: &S) -> bool {
        self.test.holds(subject.value(&self.path))
    }
}

impl Test {
    fn holds(&self, value: Option<Value<'_>>) -> bool {
        match self {
            Self::Present => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Is(wanted) => matches!(value, Some(Value::Text(text)) if text == wanted.as_str()),
            Self::IsNot(unwanted) => match value {
                Some(Value::Text(text)) => text != unwanted.as_str(),
                _ => !unwanted.is_empty(),
            },
            Self::Matches(pattern) => match value {
                Some(Value::Text(text)) => pattern.is_match(&text),
                _ => pattern.is_match(""),
            },
            Self::Number(order, bound) => match value {
                Some(Value::Number(number)) => order.holds(number.cmp(bound)),
                _ => order.holds_for_absent(),
            },
            Self::Time(order, bound) => match value {
                Some(Value::Time(time)) => order.holds(time.cmp(bound)),
                _ => order.holds_for_absent(),
            },
        }
    }
}

impl Order {
    fn holds(self, found: Ordering) -> bool {
        match self {
            Self::Equal => found.is_eq(),
            Self::NotEqual => found.is_ne(),
            Self::Less => found.is_lt(),
            Self::LessOrEqual => found.is_le(),
            Self::Greater => found.is_gt(),
            Self::GreaterOrEqual => found.is_ge(),
        }
    }

    fn holds_for_absent(self) -> bool {
        matches!(self, Self::NotEqual)
    }
}

fn refused(at: usize, reason: impl Into<String>) -> Misplaced {
    Misplaced {
        at,
        fault: Fault::Refused(reason.into()),
    }
}

/// Native: everything must mean something.
fn strict<S: Subject>(written: Written, budget: &mut Budget) -> Result<Selector, Misplaced> {
    let Some(path) = written.path else {
        return Err(refused(written.at, "a field is UTF-8 text"));
    };
    let Some(kind) = S::kind(&path) else {
        let known = if S::FIELDS.is_empty() {
            String::new()
        } else {
            format!("; there are {}", S::FIELDS)
        };
        return Err(refused(
            written.at,
            format!("unknown field {:?}{known}", path.join(".")),
        ));
    };
    let test = match written.predicate {
        Predicate::Present => Test::Present,
        Predicate::Absent => Test::Absent,
        Predicate::Compared {
            operator,
            operator_at,
            value,
            value_at,
        } => {
            let value =
                String::from_utf8(value).map_err(|_| refused(value_at, "a value is UTF-8 text"))?;
            match kind {
                Kind::Text => strict_text(operator, operator_at, value, value_at, budget)?,
                Kind::Number => {
                    let order = order(operator).ok_or_else(|| refused(operator_at, NO_TEXT))?;
                    Test::Number(
                        order,
                        literal::number(&value).map_err(|reason| refused(value_at, reason))?,
                    )
                }
                Kind::Time => {
                    let order = order(operator).ok_or_else(|| refused(operator_at, NO_TEXT))?;
                    Test::Time(
                        order,
                        literal::time(&value).map_err(|reason| refused(value_at, reason))?,
                    )
                }
            }
        }
    };
    Ok(Selector { path, test })
}

const NO_TEXT: &str = "this field is no text; compare it with == != < <= > or >=";

fn strict_text(
    operator: Operator,
    operator_at: usize,
    value: String,
    value_at: usize,
    budget: &mut Budget,
) -> Result<Test, Misplaced> {
    match operator {
        Operator::Equal => Ok(Test::Is(value)),
        Operator::NotEqual => Ok(Test::IsNot(value)),
        Operator::Matches => {
            let pattern = budget
                .compile(&value)
                .map_err(|refusal| refused(value_at, refusal.to_string()))?;
            Ok(Test::Matches(pattern))
        }
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            Err(refused(
                operator_at,
                "this field is text; compare it with == != or ~=",
            ))
        }
    }
}

/// What an operator says of two numbers or times; nothing for `~=`.
fn order(operator: Operator) -> Option<Order> {
    Some(match operator {
        Operator::Equal => Order::Equal,
        Operator::NotEqual => Order::NotEqual,
        Operator::Less => Order::Less,
        Operator::LessOrEqual => Order::LessOrEqual,
        Operator::Greater => Order::Greater,
        Operator::GreaterOrEqual => Order::GreaterOrEqual,
        Operator::Matches => return None,
    })
}

/// Containerd: what means nothing is absent or never matches.
fn lenient<S: Subject>(written: Written, budget: &mut Budget) -> Result<Meaning, Misplaced> {
    let test = match written.predicate {
        Predicate::Present => Test::Present,
        Predicate::Absent => Test::Absent,
        Predicate::Compared {
            operator,
            operator_at,
            value,
            value_at,
        } => match (operator, String::from_utf8(value)) {
            (Operator::Equal, Ok(value)) => Test::Is(value),
            (Operator::NotEqual, Ok(value)) => Test::IsNot(value),
            (Operator::Matches, Ok(value)) => match budget.compile(&value) {
                Ok(pattern) => Test::Matches(pattern),
                Err(Refusal::Bad(_) | Refusal::TooLarge) => return Ok(Meaning::Never),
                Err(spent @ Refusal::Spent) => return Err(refused(value_at, spent.to_string())),
            },
            // Records hold UTF-8 only, so that a value which is not differs from all of them.
            (Operator::NotEqual, Err(_)) => return Ok(Meaning::Always),
            (Operator::Equal | Operator::Matches, Err(_)) => return Ok(Meaning::Never),
            (
                Operator::Less
                | Operator::LessOrEqual
                | Operator::Greater
                | Operator::GreaterOrEqual,
                _,
            ) => {
                return Err(Misplaced {
                    at: operator_at,
                    fault: Fault::NoOperator,
                });
            }
        },
    };
    match written.path.filter(|path| S::is_containerds(path)) {
        Some(path) => Ok(Meaning::Asked(Selector { path, test })),
        None if test.holds(None) => Ok(Meaning::Always),
        None => Ok(Meaning::Never),
    }
}
