//! The order in which people count: 9 before 10.

use std::cmp::Ordering;

/// A text that sorts by the numbers in it. Texts that count alike are equal here: 1 and 01.
#[derive(Clone, Debug)]
pub(super) struct Natural(String);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Run<'a> {
    /// How many digits, without zeros in front, and those.
    Number(usize, &'a str),
    Other(char),
}

impl Natural {
    pub(super) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Natural {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Natural {}

/// Which of two texts comes first by the numbers in them. A text comes before what goes on from it.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        match (first_run(&mut one), first_run(&mut other)) {
            (None, None) => return Ordering::Equal,
            (mine, its) if mine == its => {}
            (mine, its) => return mine.cmp(&its),
        }
    }
}

/// Takes the first run off a text.
fn first_run<'a>(text: &mut &'a str) -> Option<Run<'a>> {
    let first = text.chars().next()?;
    if !first.is_ascii_digit() {
        *text = &text[first.len_utf8()..];
        return Some(Run::Other(first));
    }
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    *text = rest;
    let number = digits.trim_start_matches('0');
    Some(Run::Number(number.len(), number))
}
