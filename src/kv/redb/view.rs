//! Reading: one redb read transaction, shared by all who read that revision.

use std::collections::HashMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableHandle};

use super::{CHANGES, Row, is_internal, rows};
use crate::kv::{
    Change, Key, ReadError, Revision, Rows, Scanned, Snapshot, Table, Versioned, change,
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
}

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
    pub fn of(database: &redb::Database) -> Result<Self, redb::Error> {
        let txn = database.begin_read()?;
        let revision = last_of(&txn)?;
        Ok(Self::new(txn, revision))
    }

    /// A state whose revision is known.
    pub fn new(txn: redb::ReadTransaction, revision: Revision) -> Self {
        Self {
            shared: Arc::new(Frozen {
                txn,
                open: RwLock::default(),
                revision,
            }),
        }
    }

    /// Whether cleared tables still wait to be freed.
    #[cfg(test)]
    pub fn has_trash(&self) -> Result<bool, redb::Error> {
        let mut tables = self.shared.txn.list_tables()?;
        Ok(tables.any(|table| table.name().starts_with(super::TRASH)))
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

/// Turns redb's errors into ours, and its panics on pages that make no sense too.
fn guarded<T>(read: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, ReadError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(redb::Error::Corrupted(why))) => Err(ReadError::corrupt(why)),
        Ok(Err(cause)) => Err(ReadError::Unavailable(Arc::new(cause))),
        Err(_) => Err(ReadError::corrupt("a page makes no sense")),
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

fn versioned(row: &redb::AccessGuard<'_, Row>) -> Versioned {
    let (revision, value) = row.value();
    Versioned {
        revision: Revision(revision),
        value: Bytes::copy_from_slice(value),
    }
}

fn bound(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    bound.as_ref().map(|bytes| &bytes[..])
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
                let copied = range.map(|found| {
                    let (row, value) = found?;
                    Ok((Bytes::copy_from_slice(row.value()), versioned(&value)))
                });
                Scanned::take(copied, limit)
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
        let rows = self
            .read(limit, move |frozen| {
                let from = after.next().0.to_be_bytes();
                let rows = frozen.with(&Table::new(CHANGES), |log| {
                    let range = log.range::<&[u8]>(&from[..]..)?.take(limit);
                    range
                        .map(|found| Ok(versioned(&found?.1).value))
                        .collect::<Result<Vec<_>, redb::Error>>()
                })?;
                Ok(rows.unwrap_or_default())
            })
            .await?;
        let mut changes = Vec::new();
        for row in rows {
            let wanted = change::decode(row)?
                .into_iter()
                .filter(|change| change.revision > after);
            changes.extend(wanted.take(limit - changes.len()));
            if changes.len() == limit {
                break;
            }
        }
        Ok(changes)
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
