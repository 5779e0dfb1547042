//! Walking over the images that a query asks for, a bounded step at a time, at one revision.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::{self, coop};

use super::parts::StoredImage;
use super::query::{Access, ImageQuery, Range, Scope};
use super::{Stored, schema};
use crate::domain::Namespace;
use crate::error::Error;
use crate::kv::{Key, Revision, Rows, Snapshot, Versioned};

/// A walk over one snapshot. Remembers where it stands; a walk may begin where another stood.
pub(super) struct Walk {
    snapshot: Arc<dyn Snapshot>,
    query: ImageQuery,
    by_digest: bool,
    ranges: Vec<Range>,
    at: Place,
}

/// How far a walk has come.
enum Place {
    /// It has not begun.
    Start,
    /// In a namespace, in one of the ranges, past a row if there is one.
    In {
        namespace: Namespace,
        range: usize,
        past: Option<Bytes>,
    },
    End,
}

/// Where a page ended: the namespace, and the row in the table that the walk reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub namespace: Namespace,
    pub row: Bytes,
}

/// A row that the walk came by.
pub(super) struct Passed {
    pub cursor: Cursor,
    /// The image, unless the filter refused it.
    pub image: Option<Weighed>,
}

/// A row of the table that drives the walk, and the row of the image that it leads to, if that is asked for.
type Found = (Bytes, Option<(Bytes, Versioned)>);

/// A record with the bytes that it takes as a message, at most.
pub(super) struct Weighed {
    pub image: Stored<StoredImage>,
    pub bytes: usize,
}

impl Walk {
    /// A walk over one table, in its order.
    pub fn new(snapshot: Arc<dyn Snapshot>, query: ImageQuery) -> Self {
        let access = query.access();
        Self::over(snapshot, query, access)
    }

    fn over(snapshot: Arc<dyn Snapshot>, query: ImageQuery, access: Access) -> Self {
        let (by_digest, ranges) = match access {
            Access::Names(ranges) => (false, ranges),
            Access::Digests(ranges) => (true, ranges),
        };
        let at = if ranges.is_empty() {
            Place::End
        } else {
            Place::Start
        };
        Self {
            snapshot,
            query,
            by_digest,
            ranges,
            at,
        }
    }

    /// Goes on right after a place where a walk of the same query stood.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.at = Place::In {
            namespace: cursor.namespace,
            range: 0,
            past: Some(cursor.row),
        };
        self
    }

    pub fn revision(&self) -> Revision {
        self.snapshot.revision()
    }

    /// The namespace that the walk is in, once it has begun.
    pub fn namespace(&self) -> Option<&Namespace> {
        match &self.at {
            Place::In { namespace, .. } => Some(namespace),
            Place::Start | Place::End => None,
        }
    }

    /// Reads on, at most `limit` rows; `None` at the end. An empty step is not the end: each looks in
    /// one place only.
    pub async fn step(&mut self, limit: usize) -> Result<Option<Vec<Passed>>, Error> {
        let Some((namespace, found)) = self.found(limit).await? else {
            return Ok(None);
        };
        let mut passed = Vec::with_capacity(found.len());
        for (row, found) in found {
            let image = match found {
                Some((name, row)) => self.asked_for(&namespace, name, row).await?,
                None => None,
            };
            let cursor = Cursor {
                namespace: namespace.clone(),
                row,
            };
            passed.push(Passed { cursor, image });
        }
        Ok(Some(passed))
    }

    /// The image of a row, unless the filter refuses it. Reads no record unless the filter needs it.
    async fn asked_for(
        &self,
        namespace: &Namespace,
        name: Bytes,
        row: Versioned,
    ) -> Result<Option<Weighed>, Error> {
        let mut record = StoredImage::new(name, row.value);
        let filter = self.query.filter();
        if filter.is_costly() {
            // Lets others have the thread, and deadlines be kept, between two matches that take long.
            task::yield_now().await;
        }
        if !filter.is_all() && !filter.matches(record.image()?) {
            return Ok(None);
        }
        let bytes = record.bytes() + namespace.as_str().len() + MESSAGE_EXTRA;
        let image = Stored {
            namespace: namespace.clone(),
            record,
            revision: row.revision,
        };
        Ok(Some(Weighed { image, bytes }))
    }

    async fn found(&mut self, limit: usize) -> Result<Option<(Namespace, Vec<Found>)>, Error> {
        // What an index points to is read all at once, and may be large.
        let limit = if self.by_digest {
            limit.min(FOLLOWED)
        } else {
            limit
        };
        let Some((namespace, rows)) = self.read(limit).await? else {
            return Ok(None);
        };
        let found = if self.by_digest {
            self.follow(&namespace, rows).await?
        } else {
            let named = |(row, value): (Bytes, Versioned)| (row.clone(), Some((row, value)));
            rows.into_iter().map(named).collect()
        };
        Ok(Some((namespace, found)))
    }

    /// Walks to the end and counts.
    pub async fn count(mut self) -> Result<u64, Error> {
        let everything =
            !self.by_digest && matches!(&self.ranges[..], [range] if range.is_everything());
        let any_record = self.query.filter().is_all();
        let any_name = !self.by_digest || self.query.name_prefix.is_empty();
        let mut count = 0;
        if any_record && everything {
            while let Some(namespace) = self.next_namespace().await? {
                coop::consume_budget().await;
                count += self.snapshot.count(&schema::images(&namespace)).await?;
                self.at = past_all_of(namespace, self.ranges.len());
            }
        } else if any_record && any_name {
            while let Some((_, rows)) = self.read(COUNT_STEP).await? {
                count += rows.len() as u64;
            }
        } else {
            while let Some(passed) = self.step(COUNT_STEP).await? {
                count += passed
                    .iter()
                    .filter(|passed| passed.image.is_some())
                    .count() as u64;
            }
        }
        Ok(count)
    }

    /// Some rows of the table that drives the walk, all in one namespace; perhaps none, since each
    /// call looks in one place only.
    async fn read(
        &mut self,
        limit: usize,
    ) -> Result<Option<(Namespace, Vec<(Bytes, Versioned)>)>, Error> {
        // Reading a snapshot in memory never waits; this lets others have the thread, and deadlines
        // be kept.
        coop::consume_budget().await;
        let (namespace, range, past) = match std::mem::replace(&mut self.at, Place::End) {
            Place::End => return Ok(None),
            Place::In {
                namespace,
                range,
                past,
            } if range < self.ranges.len() => (namespace, range, past),
            before => {
                self.at = before;
                let Some(namespace) = self.next_namespace().await? else {
                    self.at = Place::End;
                    return Ok(None);
                };
                (namespace, 0, None)
            }
        };
        let Some(wanted) = self.ranges.get(range) else {
            return Ok(None);
        };
        let table = if self.by_digest {
            schema::digests(&namespace)
        } else {
            schema::images(&namespace)
        };
        if range == 0 && past.is_none() && self.snapshot.count(&table).await? == 0 {
            self.at = past_all_of(namespace.clone(), self.ranges.len());
            return Ok(Some((namespace, Vec::new())));
        }
        let mut wanted = wanted.rows(table);
        if let Some(row) = &past {
            wanted = wanted.after(row.clone());
        }
        let found = self.snapshot.scan(&wanted, limit).await?;
        let (range, past) = match found.rows.last() {
            Some((row, _)) if !found.is_end => (range, Some(row.clone())),
            // Ranges are disjoint, so the next one needs no place to start from, except on the way
            // to where a page token points.
            _ => (range + 1, past),
        };
        self.at = Place::In {
            namespace: namespace.clone(),
            range,
            past,
        };
        Ok(Some((namespace, found.rows)))
    }

    /// The first namespace that the walk has not been in.
    async fn next_namespace(&mut self) -> Result<Option<Namespace>, Error> {
        match (&self.at, &self.query.scope) {
            (Place::Start, Scope::One(namespace)) => Ok(Some(namespace.clone())),
            (Place::In { .. } | Place::End, Scope::One(_)) | (Place::End, Scope::All) => Ok(None),
            (Place::Start, Scope::All) => self.namespace_after(Bound::Unbounded).await,
            (Place::In { namespace, .. }, Scope::All) => {
                let row = Bytes::copy_from_slice(namespace.as_str().as_bytes());
                self.namespace_after(Bound::Excluded(row)).await
            }
        }
    }

    async fn namespace_after(&self, from: Bound<Bytes>) -> Result<Option<Namespace>, Error> {
        let rows = Rows {
            from,
            ..Rows::all(schema::namespaces())
        };
        let found = self.snapshot.scan(&rows, 1).await?.rows;
        found
            .first()
            .map(|(row, _)| schema::parse_namespace(row))
            .transpose()
    }

    /// The images that index rows point to, in their order; `None` where the name is not asked for.
    async fn follow(
        &self,
        namespace: &Namespace,
        rows: Vec<(Bytes, Versioned)>,
    ) -> Result<Vec<Found>, Error> {
        let mut names = Vec::with_capacity(rows.len());
        for (row, _) in &rows {
            let (_, name) = schema::parse_digest_row(row)?;
            let is_asked_for = name.as_str().starts_with(&self.query.name_prefix);
            names.push(is_asked_for.then(|| schema::image_row(&name)));
        }
        let table = schema::images(namespace);
        let keys: Vec<Key> = names
            .iter()
            .flatten()
            .map(|name| table.key(name.clone()))
            .collect();
        let mut records = self.snapshot.get(&keys).await?.into_iter();
        let mut found = Vec::with_capacity(names.len());
        for ((row, _), name) in rows.into_iter().zip(names) {
            let Some(name) = name else {
                found.push((row, None));
                continue;
            };
            let Some(record) = records.next().flatten() else {
                let name = schema::parse_name(&name)?;
                return Err(Error::corrupt(format!(
                    "the digest index names {name}, which is not there"
                )));
            };
            found.push((row, Some((name, record))));
        }
        Ok(found)
    }
}

/// All images of one revision that match, each once, some at a time and as fast as they are asked for: by
/// name, except where filters or the query ask for digests.
///
/// Holds the snapshot that it reads, and is for who reads to the end at once; [`super::Images::stream`] is
/// for slow readers.
pub(crate) struct ImageWalk {
    walks: Vec<Walk>,
    /// What has come already, where another table may bring it again.
    seen: Option<BTreeSet<(Namespace, Bytes)>>,
}

impl ImageWalk {
    pub(super) fn new(snapshot: Arc<dyn Snapshot>, query: &ImageQuery) -> Self {
        let walk = |access| Walk::over(snapshot.clone(), query.clone(), access);
        let walks: Vec<Walk> = query.accesses().into_iter().map(walk).collect();
        Self {
            seen: (walks.len() > 1).then(BTreeSet::new),
            walks,
        }
    }

    /// Some more, perhaps none; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<StoredImage>>, Error> {
        let Some(walk) = self.walks.last_mut() else {
            return Ok(None);
        };
        let Some(passed) = walk.step(WALK_STEP).await? else {
            self.walks.pop();
            return Ok(Some(Vec::new()));
        };
        let mut images = Vec::with_capacity(passed.len());
        for found in passed.into_iter().filter_map(|row| row.image) {
            let Stored {
                namespace, record, ..
            } = found.image;
            let is_new = match &mut self.seen {
                Some(seen) => seen.insert((namespace, record.name().clone())),
                None => true,
            };
            if is_new {
                images.push(record);
            }
        }
        Ok(Some(images))
    }
}

fn past_all_of(namespace: Namespace, ranges: usize) -> Place {
    Place::In {
        namespace,
        range: ranges,
        past: None,
    }
}

/// What a message adds at most to a record as stored: the digest as text, the etag and the revision,
/// and the fields' tags and lengths.
pub(super) const MESSAGE_EXTRA: usize = 256;

/// Index rows that are followed at once.
const FOLLOWED: usize = 100;

/// Rows that an [`ImageWalk`] reads at once.
const WALK_STEP: usize = 1000;

/// Rows that a count reads at once.
const COUNT_STEP: usize = 1000;
