//! The embedded engine: a redb file with a journal in front of it.
//!
//! One writer thread takes whatever batches are waiting, checks their guards and applies them in one
//! redb transaction, appends them to the journal, syncs it once, and only then answers. redb itself
//! is synced now and then (a checkpoint), when the journal is full or nothing is asked for a while;
//! until then its commits are in memory, and the journal repeats them after a crash. Readers use a
//! view that the writer replaces after each group, and never wait for it.
//!
//! ```text
//! <root>/lock              held by the process that has the store open; says which
//! <root>/imagestore.redb   all tables; "engine" holds the journal's identity, "v1/changes" the log
//! <root>/journal           what redb may not have on disk yet
//! <root>/imagestore.redb.compact   a copy that takes the database's place when it is whole
//! ```

mod apply;
mod compact;
mod files;
mod journal;
mod lock;
mod medium;
mod offline;
mod record;
#[cfg(test)]
mod tests;
mod view;
mod writer;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::{Semaphore, broadcast, oneshot, watch};

use self::files::{DATABASE_FILE, Files, JOURNAL_FILE, make_folder, on_disk};
use self::lock::Lock;
use self::view::{Retired, Used, View};
use self::writer::{Chore, Request, Writer};
use super::{
    Batch, Change, CommitError, CompactError, Compacted, Disk, Kv, Limits, OpenError, ReadError,
    Revision, Snapshot, TAIL_BYTES, TAIL_GROUPS,
};

pub use self::medium::{FileMedium, Medium};

/// redb's value: the revision that wrote the row, and its bytes.
type Row = (u64, &'static [u8]);

/// The change log: the last revision of a row's changes -> [`super::change`].
const CHANGES: &str = "v1/changes";

/// What belongs to this engine alone.
const ENGINE: &str = "engine";

/// The row of [`ENGINE`] that says which journal belongs to the file.
const JOURNAL_IDENTITY: &[u8] = b"journal";

/// The row of [`ENGINE`] that says that the journal was made, before anything was committed.
const JOURNAL_MADE: &[u8] = b"journal made";

/// Where cleared tables wait to be freed.
const TRASH: &str = "trash/";

/// Batches that may wait for the writer; more wait outside.
const QUEUE: usize = 1024;

/// How the engine is set up.
#[derive(Clone)]
pub struct Options {
    /// redb's page cache, in bytes; half of it may hold pages not yet written.
    pub cache_bytes: usize,
    /// How large the journal of a new store is. A larger one means fewer, longer checkpoints, and a longer replay
    /// after a crash.
    pub journal_bytes: u64,
    /// Revisions that the change log keeps.
    pub keep_revisions: u64,
    /// How long the change log keeps a revision.
    pub keep_for: Duration,
    /// Bytes of batches that a compaction keeps in memory until they are in the copy; it gives up when
    /// more are committed.
    pub compact_keeps_bytes: usize,
    /// With less free on the disk, only batches that free space are taken.
    pub min_free_bytes: u64,
    /// A random number; a new store takes it to tell its journal from another's.
    pub seed: u64,
    /// Opens the files; tests put faults here.
    pub medium: OpenMedium,
}

/// Opens or creates a file.
pub type OpenMedium = Arc<dyn Fn(&Path) -> io::Result<Arc<dyn Medium>> + Send + Sync>;

/// The engine. Dropping it without [`Kv::close`] waits for what is queued, and closes it.
pub struct Redb {
    root: PathBuf,
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    places: Arc<Semaphore>,
    used: tokio::sync::Mutex<Option<Used>>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What the writer tells the readers.
struct Shared {
    view: ArcSwap<View>,
    tail: broadcast::Sender<Arc<[Change]>>,
    stopped: watch::Sender<Option<Arc<str>>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            journal_bytes: 1 << 20,
            keep_revisions: 100_000,
            keep_for: Duration::from_secs(7 * 24 * 3600),
            compact_keeps_bytes: 64 << 20,
            min_free_bytes: 64 << 20,
            seed: 0,
            medium: Arc::new(|path| Ok(Arc::new(FileMedium::open(path)?))),
        }
    }
}

impl Redb {
    pub const LIMITS: Limits = Limits {
        ops: 65_536,
        bytes: 16 << 20,
    };

    /// Opens the store in a folder, or makes one there (the folder too).
    ///
    /// [`OpenError::Locked`] at once when a process has it open. After a crash the journal is
    /// replayed, which takes milliseconds whatever the size of the store.
    pub fn open(root: &Path, options: Options) -> Result<Self, OpenError> {
        make_folder(root)?;
        let lock = Lock::take(root)?;
        let files = Files {
            root: root.to_owned(),
            options,
        };
        let (database, journal) = files.open()?;
        let retired = Retired::default();
        let view = View::of(&database, retired.clone()).map_err(|cause| files.failed(cause))?;
        let shared = Arc::new(Shared {
            view: ArcSwap::from_pointee(view),
            tail: broadcast::Sender::new(TAIL_GROUPS),
            stopped: watch::Sender::default(),
        });
        let (requests, waiting) = mpsc::channel();
        let writer = Writer::new(files, database, retired, journal, shared.clone())?;
        let thread = thread::Builder::new()
            .name("imagestore-writer".to_owned())
            .spawn(move || {
                let told = writer.run(&waiting);
                // Nothing is taken and nothing is written any more.
                drop(waiting);
                drop(lock);
                if let Some(told) = told {
                    // Whoever asked may have stopped waiting.
                    let _ = told.send(());
                }
            })
            .map_err(|cause| OpenError::Io {
                what: "start a thread for",
                path: root.to_owned(),
                cause,
            })?;
        Ok(Self {
            root: root.to_owned(),
            shared,
            requests,
            places: Arc::new(Semaphore::new(QUEUE)),
            used: tokio::sync::Mutex::default(),
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Bytes of the pages that hold something.
    async fn used_bytes(&self) -> Result<u64, ReadError> {
        // One at a time; those who wait get what the first one found.
        let mut last = self.used.lock().await;
        let used = self.shared.view.load_full().used(*last).await?;
        *last = Some(used);
        Ok(used.bytes)
    }

    fn stop(&self) {
        // An error means that the writer has gone already.
        let _ = self.requests.send(Request::Chore(Chore::Close(None)));
        let thread = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A writer that panicked has said so through the panic hook.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Tells those who listen of what the view now shows. Who begins to listen after it was found that
    /// nobody does sees it in the view.
    fn tell(&self, changes: Vec<Change>) {
        if self.tail.receiver_count() > 0 {
            let bytes: usize = changes.iter().map(Change::weight).sum();
            let group: Arc<[Change]> = if bytes > TAIL_BYTES {
                Arc::new([])
            } else {
                changes.into()
            };
            // An error means that the last receiver has gone.
            let _ = self.tail.send(group);
        }
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.stop();
    }
}

#[async_trait]
impl Kv for Redb {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, ReadError> {
        Ok(self.shared.view.load_full())
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        batch.check(Self::LIMITS)?;
        let gone = || CommitError::Closed;
        let places = self.places.clone();
        let place = places.acquire_owned().await.map_err(|_| gone())?;
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(Request::Commit {
                batch,
                reply,
                place,
            })
            .map_err(|_| gone())?;
        // The writer answers everything that it takes, unless it panics outside of redb.
        answer
            .await
            .unwrap_or_else(|_| Err(CommitError::OutcomeUnknown("the writer has gone".into())))
    }

    fn limits(&self) -> Limits {
        Self::LIMITS
    }

    fn tail(&self) -> broadcast::Receiver<Arc<[Change]>> {
        self.shared.tail.subscribe()
    }

    fn stopped(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.stopped.subscribe()
    }

    async fn disk(&self) -> Disk {
        let database_bytes = on_disk(&self.root, DATABASE_FILE);
        Disk {
            engine: "redb",
            size_bytes: database_bytes + on_disk(&self.root, JOURNAL_FILE),
            reusable_bytes: match self.used_bytes().await {
                Ok(used) => database_bytes.saturating_sub(used),
                // What cannot be read cannot be reused.
                Err(_) => 0,
            },
            free_bytes: medium::free_bytes(&self.root).unwrap_or(0),
        }
    }

    async fn compact(&self) -> Result<Compacted, CompactError> {
        let (answer, outcome) = oneshot::channel();
        let writer = self.requests.clone();
        self.requests
            .send(Request::Chore(Chore::Compact { answer, writer }))
            .map_err(|_| CompactError::Closed)?;
        let compacted = outcome.await.unwrap_or(Err(CompactError::Closed));
        // The pages are others, though the rows are the same.
        *self.used.lock().await = None;
        compacted
    }

    async fn close(&self) {
        let (done, closed) = oneshot::channel();
        let close = Request::Chore(Chore::Close(Some(done)));
        if self.requests.send(close).is_ok() {
            // An error means that the writer has gone already.
            let _ = closed.await;
        }
    }
}

/// `None` when redb panicked, as it may on pages that make no sense.
fn caught<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}

/// Tables that belong to the engine are no tables to those above.
fn is_internal(table: &str) -> bool {
    table == CHANGES || table == ENGINE || table.starts_with(TRASH)
}

/// A redb table of a path.
fn rows(path: &str) -> redb::TableDefinition<'_, &'static [u8], Row> {
    redb::TableDefinition::new(path)
}
