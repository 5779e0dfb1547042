//! Applying batches inside one redb write transaction.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadableTable, ReadableTableMetadata, TableHandle};

use super::journal::RecoverError;
use super::{CHANGES, Options, Row, TRASH, rows, view};
use crate::kv::{Batch, Change, Effect, Guard, Key, Op, Revision, Table, Versioned, change};

pub(super) type Open<'t> = redb::Table<'t, &'static [u8], Row>;

/// The paths of all tables that there are, so that looking into one never makes it.
pub(super) type Known = BTreeSet<Arc<str>>;

/// A write transaction, its tables that are open, and what was done in it.
pub(super) struct Group<'t> {
    txn: &'t redb::WriteTransaction,
    known: &'t mut Known,
    open: HashMap<Arc<str>, Open<'t>>,
    revision: Revision,
    changes: Vec<Change>,
    /// Whether an empty table was dropped, which changes the file and nothing that one can see.
    has_dropped: bool,
}

/// The paths of all tables.
pub(super) fn known(txn: &redb::WriteTransaction) -> Result<Known, redb::Error> {
    Ok(txn
        .list_tables()?
        .map(|table| table.name().into())
        .collect())
}

impl<'t> Group<'t> {
    /// The transaction's newest revision is `revision`.
    pub fn new(txn: &'t redb::WriteTransaction, known: &'t mut Known, revision: Revision) -> Self {
        Self {
            txn,
            known,
            open: HashMap::new(),
            revision,
            changes: Vec::new(),
            has_dropped: false,
        }
    }

    pub fn has_dropped(&self) -> bool {
        self.has_dropped
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The first guard that does not hold.
    pub fn first_broken(&mut self, batch: &Batch) -> Result<Option<usize>, redb::Error> {
        for (i, guard) in batch.guards().iter().enumerate() {
            if !self.holds(guard)? {
                return Ok(Some(i));
            }
        }
        Ok(None)
    }

    /// Applies a batch, at the next revision; `false` if it had nothing to change.
    pub fn apply(&mut self, batch: &Batch) -> Result<bool, redb::Error> {
        let revision = self.revision.next();
        let mut effects = Vec::new();
        let mut changed = false;
        for table in batch.cleared() {
            let Some(rows) = self.clear(table, revision)? else {
                continue;
            };
            changed = true;
            if table.is_logged() {
                effects.push(Effect::Cleared {
                    table: table.path().to_owned(),
                    rows,
                });
            }
        }
        for (key, op) in batch.ops() {
            let Some((value, previous)) = self.write(key, op, revision)? else {
                continue;
            };
            changed = true;
            if key.table.is_logged() {
                effects.push(Effect::Row {
                    table: key.table.path().to_owned(),
                    row: key.row.clone(),
                    value,
                    previous,
                });
            }
        }
        if changed {
            self.revision = revision;
            self.changes.push(Change {
                revision,
                at_millis: batch.at_millis(),
                effects,
            });
        }
        Ok(changed)
    }

    /// Writes the change log and trims it. Returns what it added.
    pub fn finish(mut self, options: &Options) -> Result<Vec<Change>, redb::Error> {
        let Some(last) = self.changes.last() else {
            return Ok(Vec::new());
        };
        let (newest, now) = (last.revision, last.at_millis);
        let changes = std::mem::take(&mut self.changes);
        let log = self.table(CHANGES)?;
        let mut row = 0;
        let mut bytes = 0;
        for (i, change) in changes.iter().enumerate() {
            let weight = change.weight();
            if bytes + weight > LOG_ROW_BYTES && i > row {
                write_log_row(log, &changes[row..i])?;
                (row, bytes) = (i, 0);
            }
            bytes += weight;
        }
        write_log_row(log, &changes[row..])?;
        trim(log, newest, now, options)?;
        Ok(changes)
    }

    /// Frees up to `limit` rows of tables that were cleared; `true` when there are more.
    pub fn empty_trash(&mut self, limit: usize) -> Result<bool, redb::Error> {
        let Some(path) = first_trash(self.known) else {
            return Ok(false);
        };
        let table = self.table(&path)?;
        for _ in 0..limit {
            if table.pop_first()?.is_none() {
                self.open.remove(&path);
                self.txn.delete_table(rows(&path))?;
                self.known.remove(&path);
                break;
            }
        }
        Ok(first_trash(self.known).is_some())
    }

    fn holds(&mut self, guard: &Guard) -> Result<bool, redb::Error> {
        match guard {
            Guard::Absent(key) => Ok(self.revision_of(key)?.is_none()),
            Guard::Unchanged(key, revision) => Ok(self.revision_of(key)? == Some(*revision)),
            Guard::Empty(key) => {
                let Some(table) = self.existing(&key.table)? else {
                    return Ok(true);
                };
                let first = table.range::<&[u8]>(&key.row[..]..)?.next().transpose()?;
                Ok(!first.is_some_and(|(row, _)| row.value().starts_with(&key.row)))
            }
            Guard::Quiet(key, revision) => {
                let Some(table) = self.existing(&key.table)? else {
                    return Ok(true);
                };
                for found in table.range::<&[u8]>(&key.row[..]..)? {
                    let (row, value) = found?;
                    if !row.value().starts_with(&key.row) {
                        break;
                    }
                    if value.value().0 > revision.0 {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    fn revision_of(&mut self, key: &Key) -> Result<Option<Revision>, redb::Error> {
        let Some(table) = self.existing(&key.table)? else {
            return Ok(None);
        };
        Ok(table.get(&key.row[..])?.map(|row| Revision(row.value().0)))
    }

    /// The row's new value and its previous one, the latter only where the log wants it; `None` if
    /// nothing changed.
    #[allow(clippy::type_complexity)]
    fn write(
        &mut self,
        key: &Key,
        op: &Op,
        revision: Revision,
    ) -> Result<Option<(Option<Bytes>, Option<Versioned>)>, redb::Error> {
        let logged = key.table.is_logged();
        let copied = |row: redb::AccessGuard<'_, Row>| logged.then(|| view::versioned(&row));
        match op {
            Op::Put(value) => {
                let table = self.table(key.table.path())?;
                let previous = table.insert(&key.row[..], (revision.0, &value[..]))?;
                Ok(Some((Some(value.clone()), previous.and_then(copied))))
            }
            Op::Delete => {
                let Some(table) = self.existing(&key.table)? else {
                    return Ok(None);
                };
                let previous = table.remove(&key.row[..])?;
                Ok(previous.map(|row| (None, copied(row))))
            }
        }
    }

    /// How many rows the table had; `None` if it had none.
    fn clear(&mut self, table: &Table, revision: Revision) -> Result<Option<u64>, redb::Error> {
        let Some(open) = self.existing(table)? else {
            return Ok(None);
        };
        let len = open.len()?;
        self.open.remove(table.path());
        if len == 0 {
            self.txn.delete_table(rows(table.path()))?;
            self.known.remove(table.path());
            self.has_dropped = true;
            return Ok(None);
        }
        let aside: Arc<str> = format!("{TRASH}{:020}/{table}", revision.0).into();
        self.txn.rename_table(rows(table.path()), rows(&aside))?;
        self.known.remove(table.path());
        self.known.insert(aside);
        Ok(Some(len))
    }

    /// A table that is there.
    fn existing(&mut self, table: &Table) -> Result<Option<&mut Open<'t>>, redb::Error> {
        if !self.known.contains(table.path()) {
            return Ok(None);
        }
        self.table(table.path()).map(Some)
    }

    /// A table, made if need be.
    fn table(&mut self, path: &str) -> Result<&mut Open<'t>, redb::Error> {
        // Looked up twice, since a reference kept from the first look would outlive the insertion.
        if !self.open.contains_key(path) {
            let table = self.txn.open_table(rows(path))?;
            let path: Arc<str> = path.into();
            if !self.known.contains(&path) {
                self.known.insert(path.clone());
            }
            self.open.insert(path, table);
        }
        Ok(self.open.get_mut(path).expect("it was just put there"))
    }
}

/// Applies the batches that a journal has and a database lacks, in one transaction.
pub(super) fn replay(
    database: &redb::Database,
    have: Revision,
    lacking: &[(Revision, Batch)],
    options: &Options,
) -> Result<(), RecoverError> {
    if lacking.is_empty() {
        return Ok(());
    }
    let mut txn = database.begin_write().map_err(redb::Error::from)?;
    let mut known = known(&txn)?;
    let mut group = Group::new(&txn, &mut known, have);
    for (revision, batch) in lacking {
        group.apply(batch)?;
        if group.revision() != *revision {
            return Err(RecoverError::Gap {
                have: group.revision(),
                next: *revision,
            });
        }
    }
    group.finish(options)?;
    // Durable in the journal.
    txn.set_durability(redb::Durability::None)
        .map_err(redb::Error::from)?;
    txn.commit().map_err(redb::Error::from)?;
    Ok(())
}

fn first_trash(known: &Known) -> Option<Arc<str>> {
    let from: &str = TRASH;
    let first = known
        .range::<str, _>((Bound::Included(from), Bound::Unbounded))
        .next();
    first.filter(|path| path.starts_with(TRASH)).cloned()
}

/// Changes are gathered into rows of about this many bytes: a page's worth.
const LOG_ROW_BYTES: usize = 3000;

/// Log rows that one group removes at most: more than it adds, so that the log shrinks to its size.
const TRIM_ROWS: usize = 256;

pub(super) fn write_log_row(log: &mut Open<'_>, changes: &[Change]) -> Result<(), redb::Error> {
    let Some(last) = changes.last() else {
        return Ok(());
    };
    let key = last.revision.0.to_be_bytes();
    // Milliseconds stand where other rows have their revision, which here is the key.
    let at = u64::try_from(last.at_millis).unwrap_or(0);
    log.insert(&key[..], (at, &change::encode(changes)[..]))?;
    Ok(())
}

fn trim(
    log: &mut Open<'_>,
    newest: Revision,
    now_millis: i64,
    options: &Options,
) -> Result<(), redb::Error> {
    let keep_from = newest
        .0
        .saturating_sub(options.keep_revisions.max(1))
        .saturating_add(1);
    let keep_millis = i64::try_from(options.keep_for.as_millis()).unwrap_or(i64::MAX);
    let keep_since = u64::try_from(now_millis.saturating_sub(keep_millis)).unwrap_or(0);
    for _ in 0..TRIM_ROWS {
        let Some((row, value)) = log.first()? else {
            break;
        };
        let (last, at) = (view::log_revision(row.value())?, value.value().0);
        drop((row, value));
        let is_old = last.0 < keep_from || at < keep_since;
        if !is_old || last == newest {
            break;
        }
        log.pop_first()?;
    }
    Ok(())
}
