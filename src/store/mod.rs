//! What the service means, written once for every engine.
//!
//! Reads take a snapshot; writes take a snapshot, decide with a pure function and commit one batch,
//! again from the start if another write came between (`edit`). [`Store`] opens and owns the engine;
//! [`Images`], [`Namespaces`], [`Leases`], [`Configs`], [`BuildCache`], [`Builders`] and [`BuildTargets`] are the
//! typed calls.

mod answered;
mod backup;
mod builders;
mod cache;
mod claims;
mod configs;
mod edit;
mod epoch;
mod history;
mod images;
mod leases;
mod namespaces;
mod page;
mod parts;
mod precondition;
mod query;
mod request;
mod restore;
mod schema;
mod status;
mod stream;
mod sweep;
mod targets;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod watch;
mod wire;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::build::Steady;
use crate::domain::{Namespace, Timestamp};
use crate::error::Error;
use crate::kv::{Batch, CommitError, Compacted, Guard, Kv, Revision, Snapshot};

pub use self::backup::{BackupPart, BackupStream, LastBackup};
pub use self::builders::{
    AbandonBuilder, AcquireBuilder, Acquired, Acquisition, BuilderEntry, BuilderObservation,
    BuilderPut, Builders, CompleteBuilder, Completed, ConfirmRemoved, Confirmed, DeleteBuilder,
    Failure, Judged, Pinned, PruneBuilder, Pruned, PutBuilder, ReportBuilder, Reported,
    StoredBuilder,
};
pub use self::cache::{
    BuildCache, Hit, HitKind, LocalMiss, Looked, Lookup, Miss, Skipped, SourceMiss,
    SourceMissReason,
};
pub use self::configs::{
    Bases, ConfigEntry, Configs, CreateConfig, CreatedConfig, DeleteConfig, DeletedConfig,
    Descendant, Descendants, LinkConfig, MarkConfig, MarkedConfig, ParentSet, Relative, SetParent,
    StoredConfig, UnreferencedLayer,
};
use self::edit::Stripes;
use self::epoch::{Gap, Known};
pub use self::history::{End, EndedBy, Generation};
pub use self::images::{ApplyImages, DeleteImage, Images, PutImage, RollbackImage, TagImage};
pub use self::leases::Leases;
pub use self::namespaces::{
    DeleteNamespace, NamespaceEntry, NamespaceWalk, Namespaces, PutEntry, PutNamespace,
};
pub use self::page::{Page, PageRequest};
pub(crate) use self::parts::{Entries, Parts, StoredImage};
pub use self::precondition::Precondition;
pub use self::query::{DigestQuery, ImageQuery, Scope};
pub use self::request::RequestId;
pub use self::restore::{RestoreError, Restored, restore};
pub use self::status::Status;
pub use self::stream::{Chunk, ImageChunk, ImageStream, LongRead};
pub use self::sweep::Swept;
use self::targets::Graphs;
pub use self::targets::{
    AppliedTargets, ApplyTargets, BuildTargets, BumpTarget, BumpedTarget, BumpedTargets,
    ClaimTarget, ClaimedTarget, Counted, DeleteTarget, DependencyLabel, Dependents, IdleTargets,
    NextTarget, ObserveTargets, ObservedKind, ObservedTarget, OfGraph, ReleaseTarget, RenewTarget,
    ResetTargets, RunningTarget, TargetEntry, TargetObservation, TransitionTarget,
    TransitionedTarget,
};
pub use self::verify::{Problem, Verified};
pub use self::watch::{
    Changes, ImageChanges, ImageEvent, ImageMessage, ImageWatch, StoreChanges, StoreEvent,
    StoreWatch, TargetChanges, TargetEvent, TargetMessage, TargetWatch, Watch, WatchImages,
    WatchMessage, WatchStart, WatchTargets,
};
pub use self::write::{Act, Applied, ImageWrite};

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
    /// Tells how long the machine has been up, or anything else that counts time and that nobody sets.
    pub uptime: Arc<dyn Fn() -> Duration + Send + Sync>,
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
    gaps: Arc<[Gap]>,
    surroundings: Surroundings,
    opened_at: Timestamp,
    steady: Steady,
    stripes: Stripes,
    graphs: Graphs,
    long_reads: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
    watchers: Arc<AtomicUsize>,
    watches_end: CancellationToken,
}

/// Long reads that may be open at once.
pub const MAX_LONG_READS: usize = 64;

/// How long a long read may stay open.
pub const LONG_READ_TIME: Duration = Duration::from_secs(600);

// === impl At ===

impl<T> At<T> {
    /// The same of what is made of it.
    fn map<U>(self, make: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: make(self.value),
            revision: self.revision,
        }
    }
}

// === impl Store ===

impl Store {
    /// Opens a store on an engine, or makes one there.
    ///
    /// [`Error::SchemaTooNew`] for a store that a newer release wrote.
    pub async fn on(kv: Arc<dyn Kv>, surroundings: Surroundings) -> Result<Self, Error> {
        let opened_at = (surroundings.clock)();
        let id = prepare(&*kv, &surroundings, opened_at).await?;
        let snapshot = kv.snapshot().await?;
        let gaps = snapshot.get(&[schema::gaps()]).await?.remove(0);
        let noted = match claims::noted(&*snapshot).await {
            // One that makes no sense is as good as none.
            Err(Error::Corrupt(_)) => None,
            noted => noted?,
        };
        let steady = Steady::starting(noted, opened_at, (surroundings.uptime)());
        let gaps = gaps.map_or(Ok(Vec::new()), |row| schema::parse_gaps(&row.value))?;
        drop(snapshot);
        if let Some(noted) = noted {
            let now = steady.at((surroundings.uptime)());
            claims::renew_all(&*kv, noted.steady, now, opened_at).await?;
        }
        Ok(Self {
            inner: Arc::new(Inner {
                kv,
                id,
                gaps: gaps.into(),
                surroundings,
                opened_at,
                steady,
                stripes: Stripes::new(),
                graphs: Graphs::default(),
                long_reads: Arc::new(Semaphore::new(MAX_LONG_READS)),
                tasks: TaskTracker::new(),
                closing: CancellationToken::new(),
                watchers: Arc::default(),
                watches_end: CancellationToken::new(),
            }),
        })
    }

    /// The calls on image records.
    pub fn images(&self) -> Images<'_> {
        Images {
            store: self,
            caller: None,
        }
    }

    /// The calls on namespaces.
    pub fn namespaces(&self) -> Namespaces<'_> {
        Namespaces { store: self }
    }

    /// The calls on leases.
    pub fn leases(&self) -> Leases<'_> {
        Leases { store: self }
    }

    /// The call on the build cache.
    pub fn build_cache(&self) -> BuildCache<'_> {
        BuildCache { store: self }
    }

    /// The calls on configs.
    pub fn configs(&self) -> Configs<'_> {
        Configs { store: self }
    }

    /// The calls on builders.
    pub fn builders(&self) -> Builders<'_> {
        Builders { store: self }
    }

    /// The calls on build targets.
    pub fn build_targets(&self) -> BuildTargets<'_> {
        BuildTargets { store: self }
    }

    pub fn id(&self) -> StoreId {
        self.inner.id
    }

    /// The newest revision.
    pub async fn revision(&self) -> Result<Revision, Error> {
        Ok(self.snapshot().await?.revision())
    }

    /// What the store's clock says.
    pub fn now(&self) -> Timestamp {
        (self.inner.surroundings.clock)()
    }

    /// Ends watches and long reads, finishes queued writes and leaves the store so that it opens fast. Later
    /// writes fail with [`Error::Stopped`].
    pub async fn close(&self) {
        self.end_watches();
        self.inner.closing.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        // What cannot be noted is guessed by the machine's clock.
        let _ = self.note_time().await;
        self.inner.kv.close().await;
    }

    /// Gives back what the file takes and does not use, while reads and writes go on.
    ///
    /// Takes as long as a copy of everything; goes on when the caller does not wait.
    pub async fn compact(&self) -> Result<At<Compacted>, Error> {
        let value = self.inner.kv.compact().await?;
        let revision = self.snapshot().await?.revision();
        Ok(At { value, revision })
    }

    /// The revisions that the store has had when this is the newest.
    fn known(&self, newest: Revision) -> Known {
        Known {
            newest,
            gaps: self.inner.gaps.clone(),
        }
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, Error> {
        Ok(self.inner.kv.snapshot().await?)
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
