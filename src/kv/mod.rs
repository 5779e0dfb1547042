//! The seam to storage: ordered keys in named tables, frozen snapshots, guarded batches, revisions.
//!
//! Everything durable goes one way: read a [`Snapshot`], decide with a pure function, commit one
//! [`Batch`]. An engine applies a batch whole, at one revision, or not at all; it knows nothing of
//! images. The trait is shaped by what an etcd transaction can do as well as by redb, so that
//! nothing above it depends on the engine being in the same process.

mod batch;
mod change;
#[cfg(test)]
mod conformance;
mod error;
#[cfg(test)]
mod faulty;
mod memory;
mod redb;

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{broadcast, watch};

pub use self::batch::{Batch, Guard, Limits, Op};
pub use self::change::{Change, Effect};
pub use self::error::{CommitError, CompactError, OpenError, ReadError};
#[cfg(test)]
pub(crate) use self::faulty::{Fault, Faulty};
pub use self::memory::Memory;
pub use self::redb::{FileMedium, Medium, OpenMedium, Options, Redb};

/// An ordered key-value engine.
#[async_trait]
pub trait Kv: Send + Sync + 'static {
    /// A frozen view. Sees every commit that was acknowledged before this call.
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, ReadError>;

    /// Applies the batch whole if every guard holds, durably, and returns its revision; the current
    /// revision if the batch had nothing to change.
    ///
    /// Never splits a batch. On every error but [`CommitError::OutcomeUnknown`] nothing has changed
    /// and nothing will.
    async fn commit(&self, batch: Batch) -> Result<Revision, CommitError>;

    /// How large a batch may be.
    fn limits(&self) -> Limits;

    /// What is committed from now on: the changes of each group of batches in order of revision, every
    /// revision once. Comes after a snapshot sees it and before the commit is acknowledged.
    ///
    /// Holds [`TAIL_GROUPS`]: who falls further behind reads [`Snapshot::changes`].
    fn tail(&self) -> broadcast::Receiver<Arc<[Change]>>;

    /// Why writes are refused until the engine is opened again; `None` while they are not.
    fn stopped(&self) -> watch::Receiver<Option<Arc<str>>>;

    /// What the engine takes, and what it could take. May walk all pages where much has changed since the
    /// last time.
    async fn disk(&self) -> Disk;

    /// Gives back what the engine takes and does not use, while reads and writes go on. On an error
    /// nothing has changed.
    ///
    /// Costs a copy of everything: time, and space until it is done.
    async fn compact(&self) -> Result<Compacted, CompactError>;

    /// Ends writing after what is queued, and leaves the engine so that it opens fast. Later commits
    /// are refused.
    async fn close(&self);
}

/// A view of all tables at one revision. Cheap to share; an old one keeps the engine from reusing
/// space.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// The revision of the newest batch it sees.
    fn revision(&self) -> Revision;

    /// The rows of some keys, in their order.
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, ReadError>;

    /// Up to `limit` rows in their order, and about [`SCAN_BYTES`] of them.
    async fn scan(&self, rows: &Rows, limit: usize) -> Result<Scanned, ReadError>;

    /// How many rows a table has, without reading them.
    async fn count(&self, table: &Table) -> Result<u64, ReadError>;

    /// The tables whose path starts so and that have rows, in order of path.
    async fn tables(&self, prefix: &str) -> Result<Vec<Table>, ReadError>;

    /// Up to `limit` changes after a revision, oldest first: one for each revision, and about
    /// [`SCAN_BYTES`] of them. None only when none are left.
    ///
    /// [`ReadError::Compacted`] when the change right after it has been trimmed.
    async fn changes(&self, after: Revision, limit: usize) -> Result<Vec<Change>, ReadError>;

    /// The oldest revision whose change is still there.
    async fn oldest_change(&self) -> Result<Revision, ReadError>;
}

/// Counts the batches that changed something. Each row carries the revision that last wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A table by its path, such as `v1/default/images`.
///
/// Two tables are the same when their paths are. Changes to a logged one go to the change log.
#[derive(Clone)]
pub struct Table {
    path: Arc<str>,
    logged: bool,
}

/// A row's place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub table: Table,
    pub row: Bytes,
}

/// A row's value and the revision that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    pub revision: Revision,
    pub value: Bytes,
}

/// Rows of one table between two bounds, `from` the lower one in either order.
#[derive(Clone, Debug)]
pub struct Rows {
    pub table: Table,
    pub from: Bound<Bytes>,
    pub to: Bound<Bytes>,
    pub order: Order,
}

/// Which way rows are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Ascending,
    Descending,
}

/// Some rows in the order that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    pub rows: Vec<(Bytes, Versioned)>,
    /// Whether these were the last; otherwise there may be more after them.
    pub is_end: bool,
}

/// A scan ends with the row that takes it past so many bytes of keys and values.
pub const SCAN_BYTES: usize = 512 << 10;

/// Groups of batches that [`Kv::tail`] holds for who is behind.
pub const TAIL_GROUPS: usize = 64;

/// A group with more bytes than this comes as an empty one: the log has it.
pub const TAIL_BYTES: usize = 256 << 10;

/// What an engine is, and what it takes on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    /// `redb`, `memory`.
    pub engine: &'static str,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// Those of them that hold nothing.
    pub reusable_bytes: u64,
    /// Bytes free on the file system.
    pub free_bytes: u64,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes on disk when it began.
    pub before: u64,
    /// Bytes on disk when it was done.
    pub after: u64,
}

// === impl Revision ===

impl Revision {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Table ===

impl Table {
    pub fn new(path: impl Into<Arc<str>>) -> Self {
        Self {
            path: path.into(),
            logged: false,
        }
    }

    pub fn logged(path: impl Into<Arc<str>>) -> Self {
        Self {
            path: path.into(),
            logged: true,
        }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn is_logged(&self) -> bool {
        self.logged
    }

    pub fn key(&self, row: impl Into<Bytes>) -> Key {
        Key {
            table: self.clone(),
            row: row.into(),
        }
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Table {}

impl PartialOrd for Table {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Table {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.path.cmp(&other.path)
    }
}

impl std::hash::Hash for Table {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.path.hash(state);
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

// === impl Scanned ===

impl Scanned {
    /// What of the rows that were asked for comes after these; `None` at the end.
    pub(crate) fn rest(&self, of: Rows) -> Option<Rows> {
        let (last, _) = self.rows.last().filter(|_| !self.is_end)?;
        Some(of.after(last.clone()))
    }

    /// Takes from an engine's rows as many as a scan may have.
    pub(crate) fn take<E>(
        mut from: impl Iterator<Item = Result<(Bytes, Versioned), E>>,
        limit: usize,
    ) -> Result<Self, E> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while rows.len() < limit && bytes < SCAN_BYTES {
            let Some(found) = from.next() else {
                return Ok(Self { rows, is_end: true });
            };
            let (row, value) = found?;
            bytes += row.len() + value.value.len();
            rows.push((row, value));
        }
        Ok(Self {
            rows,
            is_end: false,
        })
    }
}

// === impl Rows ===

impl Rows {
    pub fn all(table: Table) -> Self {
        Self {
            table,
            from: Bound::Unbounded,
            to: Bound::Unbounded,
            order: Order::Ascending,
        }
    }

    /// The rows whose key starts with some bytes.
    pub fn starting_with(table: Table, prefix: &[u8]) -> Self {
        Self {
            table,
            from: Bound::Included(Bytes::copy_from_slice(prefix)),
            to: end_of_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded),
            order: Order::Ascending,
        }
    }

    /// From `first` up to the last row that starts with `last`.
    pub fn between(table: Table, first: &[u8], last: &[u8]) -> Self {
        Self {
            from: Bound::Included(Bytes::copy_from_slice(first)),
            ..Self::starting_with(table, last)
        }
    }

    /// The same rows, read the other way.
    #[must_use]
    pub fn reversed(self) -> Self {
        let order = match self.order {
            Order::Ascending => Order::Descending,
            Order::Descending => Order::Ascending,
        };
        Self { order, ..self }
    }

    /// Those of these rows that come after one, in their order.
    #[must_use]
    pub fn after(mut self, row: Bytes) -> Self {
        let (near, is_past): (_, fn(&Bytes, &Bytes) -> bool) = match self.order {
            Order::Ascending => (&mut self.from, |row, from| row >= from),
            Order::Descending => (&mut self.to, |row, to| row <= to),
        };
        let cuts = match near {
            Bound::Unbounded => true,
            Bound::Included(near) | Bound::Excluded(near) => is_past(&row, near),
        };
        if cuts {
            *near = Bound::Excluded(row);
        }
        self
    }

    /// Whether no row can lie between the bounds; engines need not order them first.
    pub(crate) fn is_empty(&self) -> bool {
        use Bound::{Excluded, Included, Unbounded};
        match (&self.from, &self.to) {
            (Unbounded, _) | (_, Unbounded) => false,
            (Included(from), Included(to)) => from > to,
            (Included(from) | Excluded(from), Excluded(to) | Included(to)) => from >= to,
        }
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, row: &[u8]) -> bool {
        (match &self.from {
            Bound::Unbounded => true,
            Bound::Included(from) => row >= &from[..],
            Bound::Excluded(from) => row > &from[..],
        }) && (match &self.to {
            Bound::Unbounded => true,
            Bound::Included(to) => row <= &to[..],
            Bound::Excluded(to) => row < &to[..],
        })
    }
}

/// The first key after all that start with `prefix`, if there is one.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_prefix_range_holds_exactly_the_rows_that_start_so(
            prefix in prop::collection::vec(prop_oneof![Just(0xffu8), any::<u8>()], 0..4),
            row in prop::collection::vec(prop_oneof![Just(0xffu8), any::<u8>()], 0..6),
        ) {
            let rows = Rows::starting_with(Table::new("t"), &prefix);
            prop_assert_eq!(rows.contains(&row), row.starts_with(&prefix));
        }

        #[test]
        fn a_range_after_a_row_holds_the_rows_that_follow_it(
            prefix in prop::collection::vec(0u8..3, 0..3),
            after in prop::collection::vec(0u8..3, 0..4),
            row in prop::collection::vec(0u8..3, 0..4),
        ) {
            let rows = Rows::starting_with(Table::new("t"), &prefix).after(after.clone().into());
            prop_assert_eq!(rows.contains(&row), row.starts_with(&prefix) && row > after);
            prop_assert!(!(rows.is_empty() && rows.contains(&row)));
        }

        #[test]
        fn a_reversed_range_after_a_row_holds_the_rows_below_it(
            prefix in prop::collection::vec(0u8..3, 0..3),
            after in prop::collection::vec(0u8..3, 0..4),
            row in prop::collection::vec(0u8..3, 0..4),
        ) {
            let rows = Rows::starting_with(Table::new("t"), &prefix)
                .reversed()
                .after(after.clone().into());
            prop_assert_eq!(rows.contains(&row), row.starts_with(&prefix) && row < after);
            prop_assert!(!(rows.is_empty() && rows.contains(&row)));
        }
    }
}
