//! What the service means, written once for every engine.
//!
//! Reads take a snapshot; writes take a snapshot, decide with a pure function and commit one batch,
//! again from the start if another write came between. [`Store`] opens and owns the engine;
//! [`Images`] and [`Namespaces`] are the typed calls.

mod images;
mod namespaces;
mod page;
mod precondition;
mod query;
mod schema;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod wire;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::{Namespace, Timestamp};
use crate::error::Error;
use crate::kv::{Batch, CommitError, Guard, Key, Kv, Revision, Snapshot, Table, Versioned};

pub use self::images::{DeleteImage, Images, PutImage};
pub use self::namespaces::{DeleteNamespace, NamespaceEntry, Namespaces, PutEntry, PutNamespace};
pub use self::page::{Page, PageRequest};
pub use self::precondition::Precondition;
pub use self::query::{DigestQuery, ImageQuery, Scope};
pub use self::status::Status;
pub use self::stream::{ImageChunk, ImageStream};
pub use self::verify::Problem;

/// The image metadata store. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What the store takes from the machine that it runs on.
#[derive(Clone)]
pub struct Surroundings {
    /// Tells the time.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Makes an id for a new store.
    pub new_id: Arc<dyn Fn() -> StoreId + Send + Sync>,
}

/// Which store this is: chosen at random when it is made, and anew when it is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

/// A record, where it lives and which revision wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    pub namespace: Namespace,
    pub record: T,
    /// The revision that last wrote the record, and its etag. [`Revision::ZERO`] for a record that a
    /// `validate_only` call would have written.
    pub revision: Revision,
}

/// An answer and the revision of the store that it holds at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub revision: Revision,
}

/// What a Put did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put<T> {
    pub stored: Stored<T>,
    /// Whether anything was written.
    pub changed: bool,
    /// Whether the record is new.
    pub created: bool,
}

struct Inner {
    kv: Arc<dyn Kv>,
    id: StoreId,
    surroundings: Surroundings,
    opened_at: Timestamp,
    stripes: Stripes,
    long_reads: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// Long reads that may be open at once.
pub const MAX_LONG_READS: usize = 64;

/// How long a long read may stay open.
pub const LONG_READ_TIME: Duration = Duration::from_secs(600);

// === impl Store ===

impl Store {
    /// Opens a store on an engine, or makes one there.
    ///
    /// [`Error::SchemaTooNew`] for a store that a newer release wrote.
    pub async fn on(kv: Arc<dyn Kv>, surroundings: Surroundings) -> Result<Self, Error> {
        let opened_at = (surroundings.clock)();
        let id = prepare(&*kv, &surroundings, opened_at).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                kv,
                id,
                surroundings,
                opened_at,
                stripes: Stripes::new(),
                long_reads: Arc::new(Semaphore::new(MAX_LONG_READS)),
                tasks: TaskTracker::new(),
                closing: CancellationToken::new(),
            }),
        })
    }

    /// The calls on image records.
    pub fn images(&self) -> Images<'_> {
        Images { store: self }
    }

    /// The calls on namespaces.
    pub fn namespaces(&self) -> Namespaces<'_> {
        Namespaces { store: self }
    }

    pub fn id(&self) -> StoreId {
        self.inner.id
    }

    /// Ends long reads, finishes queued writes and leaves the store so that it opens fast. Later
    /// writes fail with [`Error::Stopped`].
    pub async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.kv.close().await;
    }

    fn now(&self) -> Timestamp {
        (self.inner.surroundings.clock)()
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, Error> {
        Ok(self.inner.kv.snapshot().await?)
    }

    /// Reads the rows, decides, commits; again from the reading whenever a guard no longer held.
    async fn edit<T>(
        &self,
        keys: &[Key],
        decide: impl Fn(&Seen) -> Result<Decision<T>, Error>,
    ) -> Result<At<T>, Error> {
        self.edit_counting(keys, None, decide).await
    }

    /// As [`Store::edit`], for what also decides on how many rows a table has.
    async fn edit_counting<T>(
        &self,
        keys: &[Key],
        table: Option<&Table>,
        decide: impl Fn(&Seen) -> Result<Decision<T>, Error>,
    ) -> Result<At<T>, Error> {
        let _turn = self.inner.stripes.turn(&keys[0]).await;
        for _ in 0..MAX_TRIES {
            let snapshot = self.inner.kv.snapshot().await?;
            let seen = Seen {
                rows: snapshot.get(keys).await?,
                counted: match table {
                    Some(table) => snapshot.count(table).await?,
                    None => 0,
                },
                revision: snapshot.revision(),
                now: self.now(),
            };
            // Frees the pages it pins before the commit makes more.
            drop(snapshot);
            let (batch, value) = match decide(&seen)? {
                Decision::Answer(value) => {
                    return Ok(At {
                        value,
                        revision: seen.revision,
                    });
                }
                Decision::Commit(batch, value) => (batch, value),
            };
            match self.inner.kv.commit(batch).await {
                Ok(revision) => return Ok(At { value, revision }),
                Err(CommitError::Broken(_)) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Contended { tries: MAX_TRIES })
    }
}

/// How often a write starts again when others come between. Writes to one key take turns, so only
/// writes to what it depends on (its namespace) can come between.
const MAX_TRIES: u32 = 100;

/// What a write saw before it decides.
struct Seen {
    rows: Vec<Option<Versioned>>,
    /// How many rows the table has that was asked about.
    counted: u64,
    revision: Revision,
    now: Timestamp,
}

/// What a write decided.
enum Decision<T> {
    /// Nothing is to be written.
    Answer(T),
    Commit(Batch, T),
}

/// The revision of a record that is left as it was; one that changes gets its own when it is written.
fn unless_changed<T>(changed: bool, old: Option<&Stored<T>>) -> Revision {
    old.filter(|_| !changed)
        .map_or(Revision::ZERO, |old| old.revision)
}

/// Guards that a row is as it was seen.
fn as_seen(key: Key, row: Option<&Versioned>) -> Guard {
    match row {
        Some(row) => Guard::Unchanged(key, row.revision),
        None => Guard::Absent(key),
    }
}

/// Checks the schema version, or writes it into an empty engine, and returns the store's id.
async fn prepare(
    kv: &dyn Kv,
    surroundings: &Surroundings,
    now: Timestamp,
) -> Result<StoreId, Error> {
    let keys = [schema::schema_version(), schema::store_id()];
    loop {
        let snapshot = kv.snapshot().await?;
        let rows = snapshot.get(&keys).await?;
        match &rows[..] {
            [Some(version), Some(id)] => {
                let version: [u8; 4] = version.value[..]
                    .try_into()
                    .map_err(|_| Error::corrupt("the schema version is no number"))?;
                let found = u32::from_be_bytes(version);
                if found > schema::VERSION {
                    return Err(Error::SchemaTooNew {
                        found,
                        known: schema::VERSION,
                    });
                }
                if found < schema::VERSION {
                    return Err(Error::corrupt(format!(
                        "there never was a schema version {found}"
                    )));
                }
                let id: [u8; 16] = id.value[..]
                    .try_into()
                    .map_err(|_| Error::corrupt("the store's id is not 16 bytes"))?;
                return Ok(StoreId(id));
            }
            [None, None] if snapshot.revision() == Revision::ZERO => {
                let [version, id] = keys.clone();
                let mut batch = Batch::new(now.millis());
                batch
                    .guard(Guard::Absent(version.clone()))
                    .put(version, schema::VERSION.to_be_bytes().to_vec())
                    .put(id, (surroundings.new_id)().0.to_vec());
                match kv.commit(batch).await {
                    // Read it back: another process may have been first.
                    Ok(_) | Err(CommitError::Broken(_)) => {}
                    Err(other) => return Err(other.into()),
                }
            }
            _ => return Err(Error::corrupt("it has records and no schema version or id")),
        }
    }
}

// === impl StoreId ===

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

// === impl Stripes ===

/// Turns by key, so that writers of one name wait for each other instead of breaking each other's
/// guards. Only politeness: the guards are the truth.
struct Stripes {
    locks: Box<[Mutex<()>]>,
    hasher: RandomState,
}

impl Stripes {
    /// Enough that 256 writers of different keys seldom share one.
    const COUNT: usize = 4096;

    fn new() -> Self {
        Self {
            locks: (0..Self::COUNT).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        }
    }

    async fn turn(&self, key: &Key) -> MutexGuard<'_, ()> {
        let stripe = self.hasher.hash_one(key) % Self::COUNT as u64;
        self.locks[stripe as usize].lock().await
    }
}
