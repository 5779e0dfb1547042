//! Which images a List, Stream or Count is about, and where to look for them.

use std::ops::Bound;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::schema;
use crate::domain::{Dialect, Digest, DigestPrefix, Filter, FilterError, Hint, Image, Namespace};
use crate::kv::{Rows, Table};

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

/// Row bounds in whichever namespace's table. The ranges of an access are in order and disjoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    from: Vec<u8>,
    /// Rows that start with this still belong to it.
    through: Vec<u8>,
    /// Only the row that is `from`, not those that start with it.
    exact: bool,
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

    /// The narrowest ranges that surely hold all that can match.
    pub(super) fn access(&self) -> Access {
        match &self.target {
            Some(DigestQuery::Is(digest)) => {
                let mut row = schema::digest_part(digest);
                row.extend_from_slice(self.name_prefix.as_bytes());
                Access::Digests(vec![Range::starting_with(row)])
            }
            Some(DigestQuery::StartsWith(prefix)) => {
                let range = |(first, last): (Digest, Digest)| Range {
                    from: schema::digest_part(&first),
                    through: schema::digest_part(&last),
                    exact: false,
                };
                Access::Digests(prefix.ranges().map(range).collect())
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
        let ranges: Option<Vec<Range>> = hints
            .into_iter()
            .map(|hint| match hint {
                Hint::Name(name) => Some(Range::exactly(name)),
                Hint::NamePrefix(prefix) => Some(Range::starting_with(prefix)),
                Hint::All | Hint::Digest(_) | Hint::DigestPrefix(_) => None,
            })
            .collect();
        match ranges {
            Some(ranges) => Access::Names(self.within_prefix(ranges)),
            None => whole(),
        }
    }

    /// The part of each range that lies under the name prefix, in order, without overlaps.
    fn within_prefix(&self, mut ranges: Vec<Range>) -> Vec<Range> {
        let prefix = self.name_prefix.as_bytes();
        ranges.retain_mut(|range| {
            if range.from.starts_with(prefix) {
                return true;
            }
            // The whole prefix lies in a range that starts with less of it.
            let covers = !range.exact && prefix.starts_with(&range.from);
            *range = Range::starting_with(prefix);
            covers
        });
        ranges.sort_by(|a, b| (&a.from, a.exact).cmp(&(&b.from, b.exact)));
        ranges.dedup_by(|later, kept| {
            later == kept || (!kept.exact && later.from.starts_with(&kept.from))
        });
        // A name comes before what starts with it; where both are asked for, the wider one is enough.
        let mut kept: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            if kept
                .last()
                .is_some_and(|last| last.exact && last.from == range.from)
            {
                kept.pop();
            }
            kept.push(range);
        }
        kept
    }
}

/// The ranges of the index that hold what the hints ask for, if all of them ask for digests: in order,
/// without overlaps.
fn digest_ranges(hints: &[Hint]) -> Option<Vec<Range>> {
    let mut wanted: Vec<(Digest, Digest)> = Vec::new();
    for hint in hints {
        match hint {
            // What is no digest is no image's digest either.
            Hint::Digest(text) => wanted.extend(text.parse().ok().map(|digest| (digest, digest))),
            Hint::DigestPrefix(text) => wanted.extend(text.parse::<DigestPrefix>().ok()?.ranges()),
            Hint::All | Hint::Name(_) | Hint::NamePrefix(_) => return None,
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
    let range = |(first, last): (Digest, Digest)| Range {
        from: schema::digest_part(&first),
        through: schema::digest_part(&last),
        exact: false,
    };
    (!hints.is_empty()).then(|| merged.into_iter().map(range).collect())
}

impl Range {
    fn starting_with(prefix: impl Into<Vec<u8>>) -> Self {
        let from = prefix.into();
        Self {
            through: from.clone(),
            from,
            exact: false,
        }
    }

    fn exactly(row: impl Into<Vec<u8>>) -> Self {
        Self {
            exact: true,
            ..Self::starting_with(row)
        }
    }

    /// Whether it is everything in its table.
    pub(super) fn is_everything(&self) -> bool {
        self.from.is_empty() && self.through.is_empty() && !self.exact
    }

    pub(super) fn rows(&self, table: Table) -> Rows {
        if self.exact {
            let row = Bytes::copy_from_slice(&self.from);
            return Rows {
                from: Bound::Included(row.clone()),
                to: Bound::Included(row),
                ..Rows::all(table)
            };
        }
        Rows::between(table, &self.from, &self.through)
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
