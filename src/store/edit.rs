//! The one way to write: read a snapshot, decide with a pure function, commit one batch.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

use super::epoch::Known;
use super::request::{self, Remembered, RequestId};
use super::{At, Store};
use crate::domain::Timestamp;
use crate::error::Error;
use crate::kv::{Batch, CommitError, Guard, Key, Rows, Scanned, Snapshot, Table, Versioned};

/// What a write has to see before it decides.
pub(super) struct Reads<'a> {
    pub keys: &'a [Key],
    /// The keys, among them, whose writers take turns.
    pub turns: &'a [Key],
    /// A table whose rows are counted.
    pub counted: Option<&'a Table>,
    pub then: Option<&'a Then<'a>>,
}

/// What else to read, given the rows of the keys.
pub(super) type Then<'a> =
    dyn Fn(&[Option<Versioned>]) -> Result<Vec<Option<Glance>>, Error> + Sync + 'a;

/// Some rows, and at most how many of them.
pub(super) type Glance = (Rows, usize);

/// What a write saw before it decides.
pub(super) struct Seen {
    /// The rows of the keys.
    pub rows: Vec<Option<Versioned>>,
    /// How many rows the table has that was asked about.
    pub counted: u64,
    /// What was asked for then; nothing where nothing was.
    pub scanned: Vec<Scanned>,
    pub known: Known,
    pub now: Timestamp,
}

/// What a write decided: an answer, and the batch that makes it true. One without operations writes
/// nothing.
pub(super) struct Decision<T> {
    pub batch: Batch,
    pub value: T,
}

/// How often a write starts again when others come between. Writes to one key take turns, so only
/// writes to what it depends on (its namespace) can come between.
pub(super) const MAX_TRIES: u32 = 100;

impl Store {
    /// Reads, decides, commits; again from the reading whenever a guard no longer held.
    ///
    /// With an id, the answer is written beside, and given again when the same is asked again.
    pub(super) async fn edit<T: Remembered>(
        &self,
        reads: Reads<'_>,
        once: Option<&RequestId>,
        decide: impl Fn(&Seen) -> Result<Decision<T>, Error>,
    ) -> Result<At<T>, Error> {
        let _turns = self.inner.stripes.turns(reads.turns).await;
        for _ in 0..MAX_TRIES {
            let snapshot = self.inner.kv.snapshot().await?;
            let now = self.now();
            if let Some(once) = once
                && let Some(answer) = request::answered(&*snapshot, once, now).await?
            {
                return Ok(answer);
            }
            let known = self.known(snapshot.revision());
            let most = self.inner.kv.limits().bytes;
            let seen = see(&*snapshot, &reads, known, now, most).await?;
            // Frees the pages it pins before the commit makes more.
            drop(snapshot);
            let Decision {
                mut batch,
                mut value,
            } = decide(&seen)?;
            if let Some(once) = once {
                request::remember(&mut batch, once, &value, now);
            }
            if batch.is_empty() {
                return Ok(At {
                    value,
                    revision: seen.known.newest,
                });
            }
            match self.inner.kv.commit(batch).await {
                Ok(revision) => {
                    value.settle(revision);
                    return Ok(At { value, revision });
                }
                Err(CommitError::Broken(_)) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Contended { tries: MAX_TRIES })
    }
}

/// Keys that are read at once.
const KEYS_AT_ONCE: usize = 32;

/// How much a write may still read. What it reads goes to its batch, for the most part, which could not
/// be larger.
struct Room {
    left: usize,
    most: usize,
}

impl Room {
    fn take<'a>(&mut self, rows: impl Iterator<Item = &'a Versioned>) -> Result<(), Error> {
        let bytes: usize = rows.map(|row| row.value.len()).sum();
        self.left = self.left.checked_sub(bytes).ok_or(Error::TooLarge {
            what: "bytes of records to read",
            size: self.most - self.left + bytes,
            limit: self.most,
        })?;
        Ok(())
    }
}

async fn see(
    snapshot: &dyn Snapshot,
    reads: &Reads<'_>,
    known: Known,
    now: Timestamp,
    most: usize,
) -> Result<Seen, Error> {
    let mut room = Room { left: most, most };
    let mut rows = Vec::with_capacity(reads.keys.len());
    for keys in reads.keys.chunks(KEYS_AT_ONCE) {
        let found = snapshot.get(keys).await?;
        room.take(found.iter().flatten())?;
        rows.extend(found);
    }
    let counted = match reads.counted {
        Some(table) => snapshot.count(table).await?,
        None => 0,
    };
    let then = match reads.then {
        Some(then) => then(&rows)?,
        None => Vec::new(),
    };
    let mut scanned = Vec::with_capacity(then.len());
    for glance in then {
        scanned.push(match glance {
            Some((rows, limit)) => {
                let found = snapshot.scan(&rows, limit).await?;
                room.take(found.rows.iter().map(|(_, value)| value))?;
                found
            }
            None => Scanned::default(),
        });
    }
    Ok(Seen {
        rows,
        counted,
        scanned,
        known,
        now,
    })
}

/// Guards that a row is as it was seen.
pub(super) fn as_seen(key: Key, row: Option<&Versioned>) -> Guard {
    match row {
        Some(row) => Guard::Unchanged(key, row.revision),
        None => Guard::Absent(key),
    }
}

impl<T> Decision<T> {
    /// An answer that nothing has to be written for.
    pub fn nothing(seen: &Seen, value: T) -> Self {
        Self {
            batch: Batch::new(seen.now.millis()),
            value,
        }
    }
}

/// Turns by key, so that writers of one name wait for each other instead of breaking each other's
/// guards. Only politeness: the guards are the truth.
pub(super) struct Stripes {
    locks: Box<[Mutex<()>]>,
    hasher: RandomState,
}

impl Stripes {
    /// Enough that 256 writers of different keys seldom share one.
    const COUNT: usize = 4096;

    pub fn new() -> Self {
        Self {
            locks: (0..Self::COUNT).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Waits for the turn of all the keys. Always in the order of the stripes, so that two who want the
    /// same ones do not wait for each other.
    pub async fn turns(&self, keys: &[Key]) -> Vec<MutexGuard<'_, ()>> {
        let mut stripes: Vec<usize> = keys
            .iter()
            .map(|key| (self.hasher.hash_one(key) % Self::COUNT as u64) as usize)
            .collect();
        stripes.sort_unstable();
        stripes.dedup();
        let mut held = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            held.push(self.locks[stripe].lock().await);
        }
        held
    }
}
