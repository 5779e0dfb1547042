//! The one way to write: read a snapshot, decide with a pure function, commit one batch.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::coop;

use super::epoch::Known;
use super::request::{self, Remembered, RequestId};
use super::wire::Outcome;
use super::{At, Store};
use crate::domain::Timestamp;
use crate::domain::build::Moment;
use crate::error::Error;
use crate::kv::{
    Batch, Change, CommitError, Guard, Key, Revision, Rows, Scanned, Snapshot, Table, Versioned,
};

/// What a write has to see before it decides. It reads from one view, as often as it has to: what it reads
/// may depend on what it read.
pub(super) trait Look: Sync {
    type Seen: Send;

    /// Bytes of records that it may read, where a batch may have so many: what a write reads goes to its batch, for the
    /// most part, which could not be larger.
    fn most(&self, batch: usize) -> usize {
        batch
    }

    fn look(&self, view: &View<'_>) -> impl Future<Output = Result<Self::Seen, Error>> + Send;
}

/// The store at one revision, of which one write may read so much only.
pub(super) struct View<'a> {
    snapshot: &'a dyn Snapshot,
    /// Bytes of records that may be read, and how many of them have been.
    most: usize,
    read: AtomicUsize,
    /// The revisions that the store has had.
    pub known: Known,
    /// What the machine's clock shows.
    pub now: Timestamp,
    /// What claims go by.
    pub moment: Moment,
}

/// A look at rows that are known beforehand, but for one step.
pub(super) struct Reads<'a> {
    pub keys: &'a [Key],
    /// Tables whose rows are counted.
    pub counted: &'a [Table],
    pub then: Option<&'a Then<'a>>,
}

/// What else to read, given the rows of the keys.
pub(super) type Then<'a> =
    dyn Fn(&[Option<Versioned>]) -> Result<Vec<Option<Glance>>, Error> + Sync + 'a;

/// Some rows, and at most how many of them.
pub(super) type Glance = (Rows, usize);

/// What [`Reads`] saw.
pub(super) struct Seen {
    /// The rows of the keys.
    pub rows: Vec<Option<Versioned>>,
    /// How many rows the tables have that were asked about.
    pub counted: Vec<u64>,
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
    /// For who only reads, and bounds that himself.
    pub(super) fn view<'a>(&self, snapshot: &'a dyn Snapshot) -> View<'a> {
        let moment = self.moment();
        View {
            snapshot,
            most: usize::MAX,
            read: AtomicUsize::new(0),
            known: self.known(snapshot.revision()),
            now: moment.wall,
            moment,
        }
    }

    /// As the edit that this look is for sees it.
    pub(super) fn bounded_view<'a>(
        &self,
        snapshot: &'a dyn Snapshot,
        look: &impl Look,
    ) -> View<'a> {
        View {
            most: look.most(self.inner.kv.limits().bytes),
            ..self.view(snapshot)
        }
    }

    /// Looks, decides, commits; again from the looking whenever a guard no longer held. The writers of the
    /// keys in `turns` wait for each other.
    ///
    /// With an id, the answer is written beside, and given again when the same is asked again.
    pub(super) async fn edit<L: Look, T: Remembered>(
        &self,
        turns: &[Key],
        look: &L,
        once: Option<&RequestId>,
        decide: impl Fn(&L::Seen) -> Result<Decision<T>, Error>,
    ) -> Result<At<T>, Error> {
        let _turns = self.inner.stripes.turns(turns).await;
        for _ in 0..MAX_TRIES {
            let snapshot = self.inner.kv.snapshot().await?;
            let revision = snapshot.revision();
            let view = self.bounded_view(&*snapshot, look);
            let now = view.now;
            if let Some(once) = once
                && let Some(answer) = request::answered(&*snapshot, once, now).await?
            {
                return Ok(answer);
            }
            let seen = look.look(&view).await?;
            // Frees the pages it pins before the commit makes more.
            drop(view);
            drop(snapshot);
            let Decision {
                mut batch,
                mut value,
            } = decide(&seen)?;
            if let Some(once) = once
                && value.is_worth_remembering()
            {
                request::remember(&mut batch, once, &value, now);
            }
            if batch.is_empty() {
                return Ok(At { value, revision });
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

    /// The same for what has no request id.
    pub(super) async fn edit_always<L: Look, T>(
        &self,
        turns: &[Key],
        look: &L,
        decide: impl Fn(&L::Seen) -> Result<Decision<T>, Error>,
    ) -> Result<At<T>, Error> {
        let decide = |seen: &L::Seen| {
            decide(seen).map(|Decision { batch, value }| Decision {
                batch,
                value: NeverRemembered(value),
            })
        };
        let answer = self.edit(turns, look, None, decide).await?;
        Ok(answer.map(|NeverRemembered(value)| value))
    }
}

/// An answer to what is asked without an id.
struct NeverRemembered<T>(T);

impl<T> Remembered for NeverRemembered<T> {
    fn settle(&mut self, _revision: Revision) {}

    fn outcomes(&self) -> Vec<Outcome> {
        Vec::new()
    }

    fn recall(_outcomes: Vec<Outcome>) -> Option<Self> {
        None
    }
}

/// Keys that are read at once.
const KEYS_AT_ONCE: usize = 32;

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 5000;

impl<'a> View<'a> {
    pub fn revision(&self) -> Revision {
        self.snapshot.revision()
    }

    /// The rows of some keys, in their order.
    pub async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, Error> {
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            // Reading a snapshot in memory never waits; this lets others have the thread.
            coop::consume_budget().await;
            let found = self.snapshot.get(keys).await?;
            self.take(found.iter().flatten())?;
            rows.extend(found);
        }
        Ok(rows)
    }

    /// The same of so many.
    pub async fn rows<const N: usize>(
        &self,
        keys: &[Key; N],
    ) -> Result<[Option<Versioned>; N], Error> {
        let rows = self.get(keys).await?;
        Ok(rows.try_into().expect("as many rows as keys"))
    }

    pub async fn row(&self, key: &Key) -> Result<Option<Versioned>, Error> {
        Ok(self.get(std::slice::from_ref(key)).await?.remove(0))
    }

    /// Up to `limit` rows in their order, and not too many bytes of them.
    pub async fn scan(&self, rows: &Rows, limit: usize) -> Result<Scanned, Error> {
        coop::consume_budget().await;
        let found = self.snapshot.scan(rows, limit).await?;
        self.take(found.rows.iter().map(|(_, value)| value))?;
        Ok(found)
    }

    /// All of some rows in their order, however many.
    pub async fn all(&self, rows: Rows) -> Result<Vec<(Bytes, Versioned)>, Error> {
        let (mut all, mut rest) = (Vec::new(), Some(rows));
        while let Some(rows) = rest.take() {
            let found = self.scan(&rows, ROWS_AT_ONCE).await?;
            rest = found.rest(rows);
            all.extend(found.rows);
        }
        Ok(all)
    }

    /// How many rows a table has, without reading them.
    pub async fn count(&self, table: &Table) -> Result<u64, Error> {
        Ok(self.snapshot.count(table).await?)
    }

    /// Up to `limit` changes after a revision, oldest first.
    pub async fn changes(&self, after: Revision, limit: usize) -> Result<Vec<Change>, Error> {
        coop::consume_budget().await;
        Ok(self.snapshot.changes(after, limit).await?)
    }

    /// Bytes of records that have been read.
    pub fn bytes_read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    fn take<'v>(&self, rows: impl Iterator<Item = &'v Versioned>) -> Result<(), Error> {
        let bytes: usize = rows.map(|row| row.value.len()).sum();
        let size = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if size > self.most {
            // What was refused is not held; less may still be read.
            self.read.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::ReadsTooMuch {
                size,
                limit: self.most,
            });
        }
        Ok(())
    }
}

impl Look for Reads<'_> {
    type Seen = Seen;

    async fn look(&self, view: &View<'_>) -> Result<Seen, Error> {
        let rows = view.get(self.keys).await?;
        let mut counted = Vec::with_capacity(self.counted.len());
        for table in self.counted {
            counted.push(view.count(table).await?);
        }
        let then = match self.then {
            Some(then) => then(&rows)?,
            None => Vec::new(),
        };
        let mut scanned = Vec::with_capacity(then.len());
        for glance in then {
            scanned.push(match glance {
                Some((rows, limit)) => view.scan(&rows, limit).await?,
                None => Scanned::default(),
            });
        }
        Ok(Seen {
            rows,
            counted,
            scanned,
            known: view.known.clone(),
            now: view.now,
        })
    }
}

/// Guards that a row is as it was seen.
pub(super) fn as_seen(key: Key, row: Option<&Versioned>) -> Guard {
    as_of(key, row.map(|row| row.revision))
}

/// Guards that a row is as some revision wrote it; without one, that it is not there.
pub(super) fn as_of(key: Key, written: Option<Revision>) -> Guard {
    match written {
        Some(revision) => Guard::Unchanged(key, revision),
        None => Guard::Absent(key),
    }
}

impl<T> Decision<T> {
    /// An answer that nothing has to be written for.
    pub fn nothing(now: Timestamp, value: T) -> Self {
        Self {
            batch: Batch::new(now.millis()),
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
