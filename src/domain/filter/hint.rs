//! Which index can answer a filter: the lookup that surely finds all an alternative can match.

use regex_syntax::hir::{Class, ClassUnicodeRange, HirKind, Look};

use super::selector::{Selector, Test};
use crate::domain::Algorithm;

/// One lookup. What it finds is a superset of what its alternative matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hint {
    /// Every record.
    All,
    /// The records of exactly this name.
    Name(String),
    /// The records whose name starts so.
    NamePrefix(String),
    /// The records whose name is or starts with two parts or more, with one character, whichever, between
    /// two of them. In most names it is the dot that the pattern did not escape.
    NameParts { parts: Vec<String>, is_whole: bool },
    /// The records whose target has exactly this digest.
    Digest(String),
    /// The records whose target's digest starts so, as text; perhaps no digest does.
    DigestPrefix(String),
}

/// From this many characters after its algorithm on, a digest prefix is taken to be narrower than a name prefix.
const TELLING_DIGEST: usize = 4;

/// The most parts that a hint has.
const MAX_PARTS: usize = 16;

/// How a pattern confines a text: parts with one character between two of them, and whether they are all
/// of it.
#[derive(Debug, PartialEq, Eq)]
struct Start {
    parts: Vec<String>,
    is_whole: bool,
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
            Test::Is(text) => Start {
                parts: vec![text.clone()],
                is_whole: true,
            },
            Test::Matches(pattern) => start_of(pattern.as_str())?,
            Test::Present | Test::Absent | Test::IsNot(_) | Test::Number(..) | Test::Time(..) => {
                return None;
            }
        };
        let Start {
            mut parts,
            mut is_whole,
        } = start;
        if digest && parts.len() > 1 {
            // No character stands for any other in a digest.
            parts.truncate(1);
            is_whole = false;
        }
        if parts.len() > 1 {
            let is_telling = !parts[0].is_empty();
            return is_telling.then_some(Self::NameParts { parts, is_whole });
        }
        let text = parts.pop()?;
        match (is_whole, digest) {
            // An absent field counts as empty for ~=, and no index holds it.
            _ if text.is_empty() => None,
            (true, false) => Some(Self::Name(text)),
            (true, true) => Some(Self::Digest(text)),
            (false, false) => Some(Self::NamePrefix(text)),
            // All digests of an algorithm are found faster in the table of names.
            (false, true) if is_algorithm(&text) => None,
            (false, true) => Some(Self::DigestPrefix(text)),
        }
    }

    /// Greater is narrower: first by the kind of lookup, then by length.
    fn narrowness(&self) -> (u8, usize) {
        match self {
            Self::All => (0, 0),
            Self::NamePrefix(prefix) => (2, prefix.len()),
            Self::NameParts { parts, .. } => (2, parts.iter().map(String::len).sum()),
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

/// Whether a text is the beginning of digests and tells nothing but their algorithm.
fn is_algorithm(text: &str) -> bool {
    let name = text.strip_suffix(':').unwrap_or(text);
    let is_whole = name.len() < text.len();
    Algorithm::ALL.iter().any(|algorithm| match is_whole {
        true => algorithm.name() == name,
        false => algorithm.name().starts_with(name),
    })
}

/// The text that every match of the pattern must start with, from the pattern's structure: it must be a sequence that
/// opens with the start of the text and goes on with literals and, between them, with what matches one character that
/// may be a dot. Alternatives and folded case are other structures.
fn start_of(pattern: &str) -> Option<Start> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let HirKind::Concat(parts) = hir.kind() else {
        return None;
    };
    let (first, parts) = parts.split_first()?;
    if !matches!(first.kind(), HirKind::Look(Look::Start)) {
        return None;
    }
    let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = parts.iter();
    let is_whole = loop {
        let Some(part) = rest.next() else {
            break false;
        };
        match part.kind() {
            HirKind::Literal(literal) => texts.last_mut()?.extend_from_slice(&literal.0),
            HirKind::Class(Class::Unicode(class)) if texts.len() < MAX_PARTS => {
                let may_be_dot =
                    |range: &ClassUnicodeRange| range.start() <= '.' && '.' <= range.end();
                if !class.iter().any(may_be_dot) {
                    break false;
                }
                texts.push(Vec::new());
            }
            HirKind::Look(Look::End) if rest.as_slice().is_empty() => break true,
            _ => break false,
        }
    };
    let texts = texts.into_iter().map(String::from_utf8);
    let mut parts: Vec<String> = texts.collect::<Result<_, _>>().ok()?;
    if !is_whole && parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
        // Some character more tells nothing.
        parts.pop();
    }
    Some(Start { parts, is_whole })
}
