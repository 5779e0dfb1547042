//! Which index can answer a filter: the lookup that surely finds all an alternative can match.

use regex_syntax::hir::{HirKind, Look};

use super::selector::{Selector, Test};

/// One lookup. What it finds is a superset of what its alternative matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hint {
    /// Every record.
    All,
    /// The records of exactly this name.
    Name(String),
    /// The records whose name starts so.
    NamePrefix(String),
    /// The records whose target has exactly this digest.
    Digest(String),
    /// The records whose target's digest starts so.
    DigestPrefix(String),
}

/// From this many characters after its algorithm on, a digest prefix is taken to be narrower than a name prefix.
const TELLING_DIGEST: usize = 4;

/// How a pattern confines a text.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    Whole(String),
    Prefix(String),
}

impl Hint {
    pub(super) fn of(selectors: &[Selector]) -> Self {
        selectors
            .iter()
            .filter_map(Self::of_selector)
            .max_by_key(Self::narrowness)
            .unwrap_or(Self::All)
    }

    fn of_selector(selector: &Selector) -> Option<Self> {
        let digest = match selector.path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["name"] => false,
            ["target", "digest"] => true,
            _ => return None,
        };
        let start = match &selector.test {
            Test::Is(text) => Start::Whole(text.clone()),
            Test::Matches(pattern) => start_of(pattern.as_str())?,
            Test::Present | Test::Absent | Test::IsNot(_) | Test::Number(..) | Test::Time(..) => {
                return None;
            }
        };
        match (start, digest) {
            // An absent field counts as empty for ~=, and no index holds it.
            (Start::Whole(text) | Start::Prefix(text), _) if text.is_empty() => None,
            (Start::Whole(text), false) => Some(Self::Name(text)),
            (Start::Whole(text), true) => Some(Self::Digest(text)),
            (Start::Prefix(text), false) => Some(Self::NamePrefix(text)),
            (Start::Prefix(text), true) => Some(Self::DigestPrefix(text)),
        }
    }

    /// Greater is narrower: first by the kind of lookup, then by length.
    fn narrowness(&self) -> (u8, usize) {
        match self {
            Self::All => (0, 0),
            Self::NamePrefix(prefix) => (2, prefix.len()),
            Self::DigestPrefix(prefix) => {
                let telling = prefix
                    .split_once(':')
                    .is_some_and(|(_, encoded)| encoded.len() >= TELLING_DIGEST);
                (if telling { 3 } else { 1 }, prefix.len())
            }
            Self::Digest(_) => (4, 0),
            Self::Name(_) => (5, 0),
        }
    }
}

/// The text that every match of the pattern must start with, from the pattern's structure: it must be a sequence that
/// opens with the start of the text and goes on with literals. Alternatives and folded case are other structures.
fn start_of(pattern: &str) -> Option<Start> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let HirKind::Concat(parts) = hir.kind() else {
        return None;
    };
    let (first, mut parts) = parts.split_first()?;
    if !matches!(first.kind(), HirKind::Look(Look::Start)) {
        return None;
    }
    let mut bytes = Vec::new();
    while let Some((part, rest)) = parts.split_first() {
        let HirKind::Literal(literal) = part.kind() else {
            break;
        };
        bytes.extend_from_slice(&literal.0);
        parts = rest;
    }
    let text = String::from_utf8(bytes).ok()?;
    match parts {
        [end] if matches!(end.kind(), HirKind::Look(Look::End)) => Some(Start::Whole(text)),
        _ => Some(Start::Prefix(text)),
    }
}
