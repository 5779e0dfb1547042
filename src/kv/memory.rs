//! The model: what an engine promises, in maps. Also the store for tests and short-lived embedders.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use super::{
    Batch, Change, CommitError, CompactError, Compacted, Disk, Effect, Guard, Key, Kv, Limits, Op,
    Order, ReadError, Revision, Rows, Scanned, Snapshot, TAIL_GROUPS, Table, Versioned,
};

type Map = BTreeMap<Bytes, Versioned>;

/// An engine that forgets everything when it is dropped.
pub struct Memory {
    state: Mutex<Frozen>,
    tail: broadcast::Sender<Arc<[Change]>>,
    stopped: watch::Sender<Option<Arc<str>>>,
}

/// All tables at one revision. Each is copied only when it changes while a snapshot holds it.
#[derive(Clone, Default)]
struct Frozen {
    revision: Revision,
    tables: BTreeMap<Table, Arc<Map>>,
    log: Arc<BTreeMap<Revision, Change>>,
    closed: bool,
}

/// Revisions that the change log keeps.
const KEEP_REVISIONS: usize = 100_000;

impl Memory {
    pub const LIMITS: Limits = Limits {
        ops: 65_536,
        bytes: 16 << 20,
    };

    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            tail: broadcast::Sender::new(TAIL_GROUPS),
            stopped: watch::Sender::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, Frozen> {
        // A panic while applying would leave half a batch, but applying works on a copy.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Kv for Memory {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, ReadError> {
        Ok(Arc::new(self.state().clone()))
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        batch.check(Self::LIMITS)?;
        let mut state = self.state();
        if state.closed {
            return Err(CommitError::Closed);
        }
        if let Some(broken) = batch.guards().iter().position(|guard| !state.holds(guard)) {
            return Err(CommitError::Broken(broken));
        }
        if let Some(change) = state.apply(batch)
            && self.tail.receiver_count() > 0
        {
            // Under the lock, which keeps the order. An error means that the last receiver has gone.
            let _ = self.tail.send(Arc::new([change]));
        }
        Ok(state.revision)
    }

    fn limits(&self) -> Limits {
        Self::LIMITS
    }

    fn tail(&self) -> broadcast::Receiver<Arc<[Change]>> {
        self.tail.subscribe()
    }

    fn stopped(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.stopped.subscribe()
    }

    async fn disk(&self) -> Disk {
        Disk {
            engine: "memory",
            ..Disk::default()
        }
    }

    /// Has nothing to give back.
    async fn compact(&self) -> Result<Compacted, CompactError> {
        match self.state().closed {
            true => Err(CompactError::Closed),
            false => Ok(Compacted::default()),
        }
    }

    async fn close(&self) {
        self.state().closed = true;
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Frozen {
    fn row(&self, key: &Key) -> Option<&Versioned> {
        self.tables.get(&key.table)?.get(&key.row)
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Absent(key) => self.row(key).is_none(),
            Guard::Unchanged(key, revision) => {
                self.row(key).is_some_and(|row| row.revision == *revision)
            }
            Guard::Empty(key) => self.starting_with(key).next().is_none(),
            Guard::Quiet(key, revision) => {
                self.starting_with(key).all(|row| row.revision <= *revision)
            }
        }
    }

    /// The rows of the key's table that start with its row.
    fn starting_with<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Versioned> {
        let rows = self.tables.get(&key.table).into_iter();
        rows.flat_map(|rows| rows.range(key.row.clone()..))
            .take_while(|(row, _)| row.starts_with(&key.row))
            .map(|(_, value)| value)
    }

    /// Applies a batch at the next revision; `None` if it had nothing to change.
    fn apply(&mut self, batch: Batch) -> Option<Change> {
        let revision = self.revision.next();
        let mut changed = false;
        let mut effects = Vec::new();
        for table in batch.cleared() {
            let Some(rows) = self.tables.remove(table) else {
                continue;
            };
            changed = true;
            if table.is_logged() {
                effects.push(Effect::Cleared {
                    table: table.path().to_owned(),
                    rows: rows.len() as u64,
                });
            }
        }
        for (key, op) in batch.ops() {
            let rows = Arc::make_mut(self.tables.entry(key.table.clone()).or_default());
            let (value, previous) = match op {
                Op::Put(value) => {
                    let row = Versioned {
                        revision,
                        value: value.clone(),
                    };
                    (Some(value.clone()), rows.insert(key.row.clone(), row))
                }
                Op::Delete => (None, rows.remove(&key.row)),
            };
            if rows.is_empty() {
                self.tables.remove(&key.table);
            }
            if value.is_none() && previous.is_none() {
                continue;
            }
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
        if !changed {
            return None;
        }
        self.revision = revision;
        let change = Change {
            revision,
            at_millis: batch.at_millis(),
            effects,
        };
        let log = Arc::make_mut(&mut self.log);
        log.insert(revision, change.clone());
        while log.len() > KEEP_REVISIONS {
            log.pop_first();
        }
        Some(change)
    }
}

#[async_trait]
impl Snapshot for Frozen {
    fn revision(&self) -> Revision {
        self.revision
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, ReadError> {
        Ok(keys.iter().map(|key| self.row(key).cloned()).collect())
    }

    async fn scan(&self, rows: &Rows, limit: usize) -> Result<Scanned, ReadError> {
        let Some(table) = self.tables.get(&rows.table).filter(|_| !rows.is_empty()) else {
            return Ok(Scanned {
                is_end: true,
                ..Scanned::default()
            });
        };
        let found = table.range((rows.from.clone(), rows.to.clone()));
        let found = found.map(|(row, value)| Ok((row.clone(), value.clone())));
        match rows.order {
            Order::Ascending => Scanned::take(found, limit),
            Order::Descending => Scanned::take(found.rev(), limit),
        }
    }

    async fn count(&self, table: &Table) -> Result<u64, ReadError> {
        Ok(self.tables.get(table).map_or(0, |rows| rows.len() as u64))
    }

    async fn tables(&self, prefix: &str) -> Result<Vec<Table>, ReadError> {
        let named = self
            .tables
            .keys()
            .filter(|table| table.path().starts_with(prefix));
        Ok(named.cloned().collect())
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Vec<Change>, ReadError> {
        let oldest = self.oldest_change().await?;
        if after.next() < oldest {
            return Err(ReadError::Compacted { oldest });
        }
        let found = self.log.range(after.next()..);
        Change::take(found.map(|(_, change)| Ok(change.clone())), limit)
    }

    async fn oldest_change(&self) -> Result<Revision, ReadError> {
        Ok(self.log.keys().next().copied().unwrap_or(self.revision))
    }
}
