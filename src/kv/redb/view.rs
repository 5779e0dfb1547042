//! Reading: one redb read transaction, shared by all who read that revision.

use std::collections::HashMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableHandle};

use super::{CHANGES, Row, is_internal, rows};
use crate::kv::{
    Change, Key, Order, ReadError, Revision, Rows, Scanned, Snapshot, Table, Versioned, change,
};

type Open = redb::ReadOnlyTable<&'static [u8], Row>;

/// A frozen view. The tables it has opened stay open for the next reader.
pub(super) struct View {
    shared: Arc<Frozen>,
}

struct Frozen {
    txn: redb::ReadTransaction,
    open: RwLock<HashMap<Arc<str>, Open>>,
    revision: Revision,
    /// After what reads it.
    _retired: Retired,
}

/// Where a database goes that is replaced while views of it are read: without it they would end.
pub(super) type Retired = Arc<OnceLock<redb::Database>>;

/// Copies of keys and values that lie next to each other: one for each would cost more than all else of a
/// long scan.
#[derive(Default)]
struct Copies {
    block: BytesMut,
    bytes: usize,
}

/// What the tables took at a revision.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub bytes: u64,
    revision: Revision,
    rows: u64,
}

/// The part of all rows that may change before what they take is counted again.
const RECOUNT_PART: u64 = 64;

/// A block of copies, which one of them keeps in memory.
const BLOCK_BYTES: usize = 16 << 10;

/// Scans of more rows leave the async threads.
const INLINE_ROWS: usize = 200;

/// The newest revision of a database.
pub(super) fn last_revision(database: &redb::Database) -> Result<Revision, redb::Error> {
    last_of(&database.begin_read()?)
}

fn last_of(txn: &redb::ReadTransaction) -> Result<Revision, redb::Error> {
    match txn.open_table(rows(CHANGES)) {
        Ok(log) => match log.last()? {
            Some((row, _)) => log_revision(row.value()),
            None => Ok(Revision::ZERO),
        },
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(Revision::ZERO),
        Err(cause) => Err(cause.into()),
    }
}

/// The revision that a log row's key stands for: the last of the row's.
pub(super) fn log_revision(row: &[u8]) -> Result<Revision, redb::Error> {
    let bytes = row
        .try_into()
        .map_err(|_| redb::Error::Corrupted("a key of the change log is no revision".to_owned()))?;
    Ok(Revision(u64::from_be_bytes(bytes)))
}

impl View {
    /// The newest state of a database.
    pub fn of(database: &redb::Database, retired: Retired) -> Result<Self, redb::Error> {
        let txn = database.begin_read()?;
        let revision = last_of(&txn)?;
        Ok(Self::new(txn, revision, retired))
    }

    /// A state whose revision is known.
    pub fn new(txn: redb::ReadTransaction, revision: Revision, retired: Retired) -> Self {
        Self {
            shared: Arc::new(Frozen {
                txn,
                open: RwLock::default(),
                revision,
                _retired: retired,
            }),
        }
    }

    pub fn txn(&self) -> &redb::ReadTransaction {
        &self.shared.txn
    }

    /// Whether cleared tables still wait to be freed.
    #[cfg(test)]
    pub fn has_trash(&self) -> Result<bool, redb::Error> {
        let mut tables = self.shared.txn.list_tables()?;
        Ok(tables.any(|table| table.name().starts_with(super::TRASH)))
    }

    /// What the tables take; `last` where little has changed since, since redb knows it only by walking
    /// all pages.
    pub async fn used(&self, last: Option<Used>) -> Result<Used, ReadError> {
        let revision = self.shared.revision;
        self.read(usize::MAX, move |frozen| {
            let mut tables = Vec::new();
            for table in frozen.txn.list_tables()? {
                tables.push(frozen.txn.open_untyped_table(table)?);
            }
            let mut now = Used {
                bytes: 0,
                revision,
                rows: 0,
            };
            for table in &tables {
                now.rows += table.len()?;
            }
            if let Some(last) = last.filter(|last| last.is_about(&now)) {
                return Ok(last);
            }
            for table in &tables {
                let stats = table.stats()?;
                now.bytes +=
                    stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
            }
            Ok(now)
        })
        .await
    }

    /// What the rows take, without the free space in their pages: what a copy takes at least.
    pub fn packed_bytes(&self) -> Result<u64, redb::Error> {
        let txn = &self.shared.txn;
        let mut bytes = 0;
        for table in txn.list_tables()? {
            if !table.name().starts_with(super::TRASH) {
                let stats = txn.open_untyped_table(table)?.stats()?;
                bytes += stats.stored_bytes() + stats.metadata_bytes();
            }
        }
        Ok(bytes)
    }

    /// Reads on this thread if it is quick, and off the async threads if it is not.
    async fn read<T: Send + 'static>(
        &self,
        rows: usize,
        read: impl FnOnce(&Frozen) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, ReadError> {
        if rows <= INLINE_ROWS {
            return guarded(|| read(&self.shared));
        }
        let shared = self.shared.clone();
        let task = tokio::task::spawn_blocking(move || guarded(|| read(&shared)));
        task.await
            .map_err(|cause| ReadError::Unavailable(Arc::new(cause)))?
    }
}

impl Copies {
    fn of(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        if self.block.capacity() < bytes.len() {
            let room = self.bytes.min(BLOCK_BYTES).max(bytes.len());
            self.block = BytesMut::with_capacity(room);
        }
        self.bytes += bytes.len();
        self.block.extend_from_slice(bytes);
        self.block.split().freeze()
    }
}

impl Used {
    /// Whether no more than a small part of the rows may have changed until `now`.
    fn is_about(&self, now: &Self) -> bool {
        let part = self.rows / RECOUNT_PART;
        now.revision.0.abs_diff(self.revision.0) <= part && now.rows.abs_diff(self.rows) <= part
    }
}

/// Turns redb's errors into ours, and its panics on pages that make no sense too.
fn guarded<T>(read: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, ReadError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(cause)) => Err(unreadable(cause)),
        Err(_) => Err(ReadError::corrupt("a page makes no sense")),
    }
}

fn unreadable(cause: impl Into<redb::Error>) -> ReadError {
    match cause.into() {
        redb::Error::Corrupted(why) => ReadError::corrupt(why),
        cause => ReadError::Unavailable(Arc::new(cause)),
    }
}

impl Frozen {
    /// Calls `read` with a table, if it is there.
    fn with<T>(
        &self,
        table: &Table,
        read: impl FnOnce(&Open) -> Result<T, redb::Error>,
    ) -> Result<Option<T>, redb::Error> {
        {
            // A panic under the lock is in redb's reading, and leaves the map as it was.
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = open.get(table.path()) {
                return read(open).map(Some);
            }
        }
        let opened = match self.txn.open_table(rows(table.path())) {
            Ok(opened) => opened,
            // Not remembered: there is no end of tables that are not there.
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(cause) => return Err(cause.into()),
        };
        let value = read(&opened)?;
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(table.path().into(), opened);
        Ok(Some(value))
    }
}

pub(super) fn versioned(row: &redb::AccessGuard<'_, Row>) -> Versioned {
    let (revision, value) = row.value();
    Versioned {
        revision: Revision(revision),
        value: Bytes::copy_from_slice(value),
    }
}

fn bound(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    bound.as_ref().map(|bytes| &bytes[..])
}

/// The changes after a revision that are in some rows of the log.
fn changes_of(
    mut rows: redb::Range<'_, &'static [u8], Row>,
    after: Revision,
) -> impl Iterator<Item = Result<Change, ReadError>> {
    let mut of_row = Vec::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            if let Some(change) = of_row.find(|change: &Change| change.revision > after) {
                return Some(Ok(change));
            }
            let row = rows.next()?;
            match row
                .map_err(unreadable)
                .and_then(|(_, row)| change::decode(versioned(&row).value))
            {
                Ok(changes) => of_row = changes.into_iter(),
                Err(cause) => return Some(Err(cause)),
            }
        }
    })
}

#[async_trait]
impl Snapshot for View {
    fn revision(&self) -> Revision {
        self.shared.revision
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, ReadError> {
        let get = |frozen: &Frozen, keys: &[Key]| {
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                let row = frozen.with(&key.table, |table| {
                    Ok(table.get(&key.row[..])?.as_ref().map(versioned))
                })?;
                found.push(row.flatten());
            }
            Ok(found)
        };
        if keys.len() <= INLINE_ROWS {
            return guarded(|| get(&self.shared, keys));
        }
        let keys = keys.to_vec();
        self.read(keys.len(), move |frozen| get(frozen, &keys))
            .await
    }

    async fn scan(&self, rows: &Rows, limit: usize) -> Result<Scanned, ReadError> {
        let nothing = Scanned {
            is_end: true,
            ..Scanned::default()
        };
        if rows.is_empty() {
            return Ok(nothing);
        }
        let rows = rows.clone();
        self.read(limit, move |frozen| {
            let found = frozen.with(&rows.table, |table| {
                let range = table.range::<&[u8]>((bound(&rows.from), bound(&rows.to)))?;
                let mut copies = Copies::default();
                let copied = range.map(|found| {
                    let (row, value) = found?;
                    let (revision, value) = value.value();
                    let value = Versioned {
                        revision: Revision(revision),
                        value: copies.of(value),
                    };
                    Ok((copies.of(row.value()), value))
                });
                match rows.order {
                    Order::Ascending => Scanned::take(copied, limit),
                    Order::Descending => Scanned::take(copied.rev(), limit),
                }
            })?;
            Ok(found.unwrap_or(nothing))
        })
        .await
    }

    async fn count(&self, table: &Table) -> Result<u64, ReadError> {
        guarded(|| {
            Ok(self
                .shared
                .with(table, |table| Ok(table.len()?))?
                .unwrap_or(0))
        })
    }

    async fn tables(&self, prefix: &str) -> Result<Vec<Table>, ReadError> {
        let prefix = prefix.to_owned();
        self.read(usize::MAX, move |frozen| {
            let mut tables = Vec::new();
            for table in frozen.txn.list_tables()? {
                let path = table.name();
                if !path.starts_with(&prefix) || is_internal(path) {
                    continue;
                }
                let table = Table::new(path);
                if frozen
                    .with(&table, |open| Ok(open.len()?))?
                    .is_some_and(|rows| rows > 0)
                {
                    tables.push(table);
                }
            }
            tables.sort();
            Ok(tables)
        })
        .await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Vec<Change>, ReadError> {
        let oldest = self.oldest_change().await?;
        if after.next() < oldest {
            return Err(ReadError::Compacted { oldest });
        }
        let found = self.read(limit, move |frozen| {
            let from = after.next().0.to_be_bytes();
            let changes = frozen.with(&Table::new(CHANGES), |log| {
                let rows = log.range::<&[u8]>(&from[..]..)?;
                Ok(Change::take(changes_of(rows, after), limit))
            })?;
            Ok(changes.unwrap_or_else(|| Ok(Vec::new())))
        });
        found.await?
    }

    async fn oldest_change(&self) -> Result<Revision, ReadError> {
        let first = guarded(|| {
            let first = self.shared.with(&Table::new(CHANGES), |log| {
                Ok(log.first()?.map(|(_, row)| versioned(&row).value))
            })?;
            Ok(first.flatten())
        })?;
        match first {
            Some(row) => Ok(change::decode(row)?
                .first()
                .map_or(self.shared.revision, |c| c.revision)),
            None => Ok(self.shared.revision),
        }
    }
}
