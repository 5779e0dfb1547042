//! What there is by the rules alone.

use std::collections::BTreeSet;

use super::super::*;
use super::steps::Whose;
use crate::domain::build::{Graph, GraphError, Progress, Source};

#[derive(Clone, Debug)]
pub struct Entry {
    pub needs: BTreeSet<usize>,
    pub source: bool,
    pub progress: Progress,
    /// Token and deadline and time.
    pub claim: Option<(Token, i64, u64)>,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub entries: BTreeMap<TargetKey, Entry>,
    /// All tokens that were given for a name, newest last.
    pub tokens: BTreeMap<TargetKey, Vec<Token>>,
    pub now: i64,
}

pub fn key(name: usize) -> TargetKey {
    key_of(&format!("n{name}"))
}

pub fn of(key: &TargetKey, needs: &BTreeSet<usize>) -> Target {
    let needs = needs
        .iter()
        .map(|need| format!("n{need}").parse::<Dependency>().unwrap());
    let label = format!("r.example/{}:{}", key.name, key.version)
        .parse()
        .unwrap();
    Target::new(key.clone(), label, needs.collect(), Labels::default()).unwrap()
}

pub fn location(is_first: bool) -> Location {
    place(if is_first { "host:a" } else { "host:b" })
}

pub fn source(is_first: bool) -> Source {
    if is_first { "one" } else { "" }.parse().unwrap()
}

impl Model {
    pub fn graph(&self) -> Result<Graph, GraphError> {
        graph(&self.entries)
    }

    pub fn token(&self, key: &TargetKey, whose: Whose) -> Option<Token> {
        let given = self.tokens.get(key).map_or(&[][..], Vec::as_slice);
        match whose {
            Whose::Nobody => None,
            Whose::Last => Some(given.last().copied().unwrap_or(Token(1))),
            Whose::Stale => Some(given.iter().rev().nth(1).copied().unwrap_or(Token(1))),
        }
    }

    pub fn is_held(&self, key: &TargetKey) -> bool {
        let claim = self.entries.get(key).and_then(|entry| entry.claim);
        claim.is_some_and(|(_, deadline, _)| self.now < deadline)
    }

    /// Whether something may be done under a claim, or without one.
    pub fn may(&self, key: &TargetKey, token: Option<Token>) -> bool {
        let claim = self.entries.get(key).and_then(|entry| entry.claim);
        match token {
            None => !self.is_held(key),
            Some(token) => self.is_held(key) && claim.is_some_and(|(held, ..)| held == token),
        }
    }
}

pub fn graph(entries: &BTreeMap<TargetKey, Entry>) -> Result<Graph, GraphError> {
    Graph::new(
        entries
            .iter()
            .map(|(key, entry)| (of(key, &entry.needs), entry.progress.state)),
    )
}
