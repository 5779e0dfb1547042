//! Which images a List, Stream or Count is about, and where to look for them.

use std::ops::Bound;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::schema;
use crate::domain::{Dialect, Digest, DigestPrefix, Filter, FilterError, Hint, Image, Namespace};
use crate::kv::{Rows, Table, end_of_prefix};

/// Which records, in which namespaces.
///
/// They come by namespace, then by the bytes of their names; with [`DigestQuery::StartsWith`], or with
/// filters that all ask for digests, by namespace, digest and name.
#[derive(Clone, Debug)]
pub struct ImageQuery {
    pub(super) scope: Scope,
    pub(super) name_prefix: String,
    target: Option<DigestQuery>,
    filters: Vec<String>,
    filter: Filter,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    One(Namespace),
    All,
}

/// Which targets, found by the digest index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DigestQuery {
    Is(Digest),
    StartsWith(DigestPrefix),
}

/// Where the rows that can match are.
pub(super) enum Access {
    /// In the table of names.
    Names(Vec<Range>),
    /// In the index of digests.
    Digests(Vec<Range>),
}

/// Rows of whichever namespace's table. The ranges of an access are in order and disjoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    from: Vec<u8>,
    /// The first row that does not belong to it; `None` for the end of the table.
    to: Option<Vec<u8>>,
}

impl ImageQuery {
    /// All images of a scope.
    pub fn all(scope: Scope) -> Self {
        Self {
            scope,
            name_prefix: String::new(),
            target: None,
            filters: Vec::new(),
            filter: Filter::all(),
        }
    }

    /// Only names that start with these bytes.
    #[must_use]
    pub fn under(self, name_prefix: impl Into<String>) -> Self {
        Self {
            name_prefix: name_prefix.into(),
            ..self
        }
    }

    /// Only those that point to such a digest.
    #[must_use]
    pub fn pointing_to(self, target: DigestQuery) -> Self {
        Self {
            target: Some(target),
            ..self
        }
    }

    /// Only those that one of the filters matches; all of them where there is no filter.
    pub fn filtered(mut self, filters: Vec<String>, dialect: Dialect) -> Result<Self, FilterError> {
        self.filter = Filter::parse::<Image>(&filters, dialect)?;
        self.filters = filters;
        Ok(self)
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether every record under the name prefix is asked for, whatever it holds.
    pub(super) fn is_any_record(&self) -> bool {
        self.target.is_none() && self.filter.is_all()
    }

    /// Whether a record of a namespace in scope is asked for.
    pub(super) fn matches(&self, image: &Image) -> bool {
        let digest = image.target.digest();
        let is_target = match &self.target {
            None => true,
            Some(DigestQuery::Is(asked)) => asked == digest,
            Some(DigestQuery::StartsWith(prefix)) => prefix
                .ranges()
                .any(|(first, last)| (first..=last).contains(digest)),
        };
        is_target
            && image.name.as_str().starts_with(&self.name_prefix)
            && self.filter.matches(image)
    }

    /// The same for two queries that ask for the same, and in practice for no others.
    pub(super) fn fingerprint(&self) -> [u8; 8] {
        let mut hash = Sha256::new();
        let mut part = |tag: u8, text: &str| {
            hash.update([tag]);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        match &self.scope {
            Scope::All => part(0, ""),
            Scope::One(namespace) => part(1, namespace.as_str()),
        }
        part(2, &self.name_prefix);
        match &self.target {
            None => {}
            Some(DigestQuery::Is(digest)) => part(3, &digest.text()),
            Some(DigestQuery::StartsWith(prefix)) => part(4, &prefix.to_string()),
        }
        for filter in &self.filters {
            part(5, filter);
        }
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&hash.finalize()[..8]);
        fingerprint
    }

    /// The narrowest ranges of one table, or of each, that surely hold all that can match. What is found in
    /// both comes twice.
    pub(super) fn accesses(&self) -> Vec<Access> {
        let hints = match self.target {
            None => self.filter.hints(),
            Some(_) => return vec![self.access()],
        };
        let (digests, names): (Vec<Hint>, Vec<Hint>) = hints
            .into_iter()
            .partition(|hint| matches!(hint, Hint::Digest(_) | Hint::DigestPrefix(_)));
        match (name_ranges(names), digest_ranges(&digests)) {
            (Some(names), Some(digests)) if !names.is_empty() => vec![
                Access::Names(self.within_prefix(names)),
                Access::Digests(digests),
            ],
            _ => vec![self.access()],
        }
    }

    /// The narrowest ranges of one table that surely hold all that can match.
    pub(super) fn access(&self) -> Access {
        match &self.target {
            Some(DigestQuery::Is(digest)) => {
                let mut row = schema::digest_part(digest);
                row.extend_from_slice(self.name_prefix.as_bytes());
                Access::Digests(vec![Range::starting_with(row)])
            }
            Some(DigestQuery::StartsWith(prefix)) => {
                Access::Digests(prefix.ranges().map(Range::of_digests).collect())
            }
            None => self.access_by_filter(),
        }
    }

    fn access_by_filter(&self) -> Access {
        let whole = || Access::Names(vec![Range::starting_with(self.name_prefix.as_bytes())]);
        let hints = self.filter.hints();
        if let Some(ranges) = digest_ranges(&hints) {
            return Access::Digests(ranges);
        }
        match name_ranges(hints) {
            Some(ranges) => Access::Names(self.within_prefix(ranges)),
            None => whole(),
        }
    }

    /// The part of each range that lies under the name prefix, in order, without overlaps.
    fn within_prefix(&self, mut ranges: Vec<Range>) -> Vec<Range> {
        let under = Range::starting_with(self.name_prefix.as_bytes());
        ranges.retain_mut(|range| range.cut(&under));
        ranges.sort();
        let mut kept: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match kept.last_mut() {
                Some(last) if last.reaches(&range.from) => last.extend(range.to),
                _ => kept.push(range),
            }
        }
        kept
    }
}

/// The ranges of the table of names that hold what the hints ask for, if all of them ask for names.
fn name_ranges(hints: Vec<Hint>) -> Option<Vec<Range>> {
    let mut ranges = Vec::with_capacity(hints.len());
    for hint in hints {
        match hint {
            Hint::Name(name) => ranges.push(Range::exactly(name)),
            Hint::NamePrefix(prefix) => ranges.push(Range::starting_with(prefix)),
            Hint::NameParts { parts, is_whole } => add_parts(&mut ranges, &parts, is_whole),
            Hint::All | Hint::Digest(_) | Hint::DigestPrefix(_) => return None,
        }
    }
    Some(ranges)
}

/// Names of such parts with a dot between two of them, and beside these, where hardly a name is, all that
/// have another character there.
fn add_parts(ranges: &mut Vec<Range>, parts: &[String], is_whole: bool) {
    let mut name = String::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            let any = Range::starting_with(name.as_str());
            name.push('.');
            let dotted = Range::starting_with(name.as_str());
            ranges.push(Range {
                from: any.from,
                to: Some(dotted.from),
            });
            ranges.extend(dotted.to.map(|from| Range { from, to: any.to }));
        }
        name.push_str(part);
    }
    ranges.push(match is_whole {
        true => Range::exactly(name),
        false => Range::starting_with(name),
    });
}

/// The ranges of the index that hold what the hints ask for, if all of them ask for digests: in order,
/// without overlaps.
fn digest_ranges(hints: &[Hint]) -> Option<Vec<Range>> {
    let mut wanted: Vec<(Digest, Digest)> = Vec::new();
    for hint in hints {
        match hint {
            // What is no digest is no image's digest either.
            Hint::Digest(text) => wanted.extend(text.parse().ok().map(|digest| (digest, digest))),
            Hint::DigestPrefix(text) => wanted.extend(Digest::starting_with(text)),
            Hint::All | Hint::Name(_) | Hint::NamePrefix(_) | Hint::NameParts { .. } => {
                return None;
            }
        }
    }
    wanted.sort();
    let mut merged: Vec<(Digest, Digest)> = Vec::new();
    for (first, last) in wanted {
        match merged.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    (!hints.is_empty()).then(|| merged.into_iter().map(Range::of_digests).collect())
}

impl Range {
    fn starting_with(prefix: impl Into<Vec<u8>>) -> Self {
        let from = prefix.into();
        Self {
            to: end_of_prefix(&from).map(Vec::from),
            from,
        }
    }

    /// Of names, in which there is no NUL.
    fn exactly(name: impl Into<Vec<u8>>) -> Self {
        let from = name.into();
        let mut to = from.clone();
        to.push(0);
        Self { from, to: Some(to) }
    }

    /// The rows of the digests from one to another.
    fn of_digests((first, last): (Digest, Digest)) -> Self {
        Self {
            from: schema::digest_part(&first),
            ..Self::starting_with(schema::digest_part(&last))
        }
    }

    /// Leaves what lies in another range too; whether there is any.
    fn cut(&mut self, other: &Self) -> bool {
        if self.from < other.from {
            self.from.clone_from(&other.from);
        }
        self.to = match (self.to.take(), &other.to) {
            (Some(to), Some(end)) => Some(to.min(end.clone())),
            (to, end) => to.or_else(|| end.clone()),
        };
        self.to.as_ref().is_none_or(|to| self.from < *to)
    }

    /// Whether nothing lies between its end and a row that is not before its beginning.
    fn reaches(&self, row: &[u8]) -> bool {
        self.to.as_ref().is_none_or(|to| row <= &to[..])
    }

    /// Moves its end to another, unless that is before.
    fn extend(&mut self, to: Option<Vec<u8>>) {
        self.to = match (self.to.take(), to) {
            (Some(one), Some(other)) => Some(one.max(other)),
            _ => None,
        };
    }

    /// Whether it is everything in its table.
    pub(super) fn is_everything(&self) -> bool {
        self.from.is_empty() && self.to.is_none()
    }

    pub(super) fn rows(&self, table: Table) -> Rows {
        let to = self.to.as_deref().map(Bytes::copy_from_slice);
        Rows {
            from: Bound::Included(Bytes::copy_from_slice(&self.from)),
            to: to.map_or(Bound::Unbounded, Bound::Excluded),
            ..Rows::all(table)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hinted(prefix: &str, filters: &[String]) -> Vec<Range> {
        let query = ImageQuery::all(Scope::All)
            .under(prefix)
            .filtered(filters.to_vec(), Dialect::Native)
            .unwrap();
        match query.access() {
            Access::Names(ranges) => ranges,
            Access::Digests(_) => panic!("no digest was asked for"),
        }
    }

    proptest! {
        #[test]
        fn unescaped_dots_reach_each_row_that_can_match_once_and_in_order(
            prefix in "[a/.-]{0,2}",
            asked in prop::collection::vec("a[a./-]{0,4}[$]?", 1..4),
            rows in prop::collection::btree_set("a[aé./-]{0,5}", 0..20),
        ) {
            let filters: Vec<String> = asked.iter().map(|text| format!("name~=^{text}")).collect();
            let ranges = hinted(&prefix, &filters);
            let table = Table::new("t");
            let reached: Vec<&String> = ranges
                .iter()
                .flat_map(|range| {
                    let range = range.rows(table.clone());
                    rows.iter().filter(move |row| range.contains(row.as_bytes()))
                })
                .collect();
            let mut in_order = reached.clone();
            in_order.sort();
            in_order.dedup();
            prop_assert_eq!(&reached, &in_order);
            let matching = |row: &&String| {
                let is_match = |text: &String| {
                    let pattern = regex::Regex::new(&format!("^{text}")).unwrap();
                    pattern.is_match(row)
                };
                row.starts_with(&prefix) && asked.iter().any(is_match)
            };
            for row in rows.iter().filter(matching) {
                prop_assert!(reached.contains(&row), "{} of {:?}", row, filters);
            }
        }

        #[test]
        fn name_hints_reach_each_row_that_can_match_once_and_in_order(
            prefix in "[ab]{0,2}",
            asked in prop::collection::vec((any::<bool>(), "[ab]{1,3}"), 1..5),
            rows in prop::collection::btree_set("[ab]{1,4}", 0..12),
        ) {
            let filters: Vec<String> = asked
                .iter()
                .map(|(exact, text)| if *exact { format!("name=={text}") } else { format!("name~=^{text}") })
                .collect();
            let ranges = hinted(&prefix, &filters);
            let table = Table::new("t");
            let reached: Vec<&String> = ranges
                .iter()
                .flat_map(|range| {
                    let range = range.rows(table.clone());
                    rows.iter().filter(move |row| range.contains(row.as_bytes()))
                })
                .collect();
            let wanted: Vec<&String> = rows
                .iter()
                .filter(|row| row.starts_with(&prefix))
                .filter(|row| {
                    asked.iter().any(|(exact, text)| if *exact { *row == text } else { row.starts_with(text) })
                })
                .collect();
            prop_assert_eq!(reached, wanted);
        }
    }

    #[test]
    fn queries_that_differ_in_anything_have_another_fingerprint() {
        let digest = Digest::of(crate::domain::Algorithm::Sha256, b"x");
        let one = ImageQuery::all(Scope::One("a".parse().unwrap()));
        let filtered = |filters: &[&str]| {
            let filters = filters.iter().map(|f| (*f).to_owned()).collect();
            one.clone().filtered(filters, Dialect::Native).unwrap()
        };
        let queries = [
            ImageQuery::all(Scope::All),
            one.clone(),
            one.clone().under("a"),
            one.clone().pointing_to(DigestQuery::Is(digest)),
            one.clone()
                .pointing_to(DigestQuery::StartsWith(digest.text().parse().unwrap())),
            filtered(&["name==a"]),
            filtered(&["name==a", "name==b"]),
            filtered(&["name==b", "name==a"]),
        ];
        for (i, a) in queries.iter().enumerate() {
            for (j, b) in queries.iter().enumerate() {
                assert_eq!(a.fingerprint() == b.fingerprint(), i == j, "{i} {j}");
            }
        }
    }
}
