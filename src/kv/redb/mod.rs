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
//! ```

mod apply;
mod journal;
mod lock;
mod medium;
mod record;
#[cfg(test)]
mod tests;
mod view;
mod writer;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ::redb::ReadableDatabase;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot, watch};

use self::journal::{Journal, RecoverError};
use self::lock::Lock;
use self::medium::{Backend, Shadow};
use self::view::View;
use self::writer::{Request, Writer};
use super::{Batch, CommitError, Disk, Kv, Limits, OpenError, ReadError, Revision, Snapshot};

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
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What the writer tells the readers.
struct Shared {
    view: ArcSwap<View>,
    stopped: watch::Sender<Option<Arc<str>>>,
}

/// The files of a store.
struct Files {
    root: PathBuf,
    options: Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            journal_bytes: 1 << 20,
            keep_revisions: 100_000,
            keep_for: Duration::from_secs(7 * 24 * 3600),
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
        let io = |what| {
            move |cause| OpenError::Io {
                what,
                path: root.to_owned(),
                cause,
            }
        };
        let is_new = !root.exists();
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(root).map_err(io("create"))?;
        let parent = root
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|_| is_new) {
            // So that a new folder outlives a power loss with what is in it.
            fs::File::open(parent)
                .and_then(|parent| parent.sync_all())
                .map_err(io("sync the folder of"))?;
        }
        let lock = Lock::take(root)?;
        let files = Files {
            root: root.to_owned(),
            options,
        };
        let (database, journal) = files.open()?;
        let view = View::of(&database).map_err(|cause| files.failed(cause))?;
        let shared = Arc::new(Shared {
            view: ArcSwap::from_pointee(view),
            stopped: watch::Sender::default(),
        });
        let (requests, waiting) = mpsc::channel();
        let writer = Writer::new(files, database, journal, shared.clone())?;
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
            .map_err(io("start a thread for"))?;
        Ok(Self {
            root: root.to_owned(),
            shared,
            requests,
            places: Arc::new(Semaphore::new(QUEUE)),
            writer: Mutex::new(Some(thread)),
        })
    }

    fn stop(&self) {
        // An error means that the writer has gone already.
        let _ = self.requests.send(Request::Close(None));
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

    fn stopped(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.stopped.subscribe()
    }

    fn disk(&self) -> Disk {
        let on_disk =
            |name| fs::metadata(self.root.join(name)).map_or(0, |meta| medium::allocated(&meta));
        Disk {
            engine: "redb",
            size_bytes: on_disk(DATABASE_FILE) + on_disk(JOURNAL_FILE),
            free_bytes: medium::free_bytes(&self.root).unwrap_or(0),
        }
    }

    async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close(Some(done))).is_ok() {
            // An error means that the writer has gone already.
            let _ = closed.await;
        }
    }
}

const DATABASE_FILE: &str = "imagestore.redb";
const UNFINISHED_FILE: &str = "imagestore.redb.new";
const JOURNAL_FILE: &str = "journal";

impl Files {
    /// Opens or creates the two files, and replays the journal.
    fn open(&self) -> Result<(redb::Database, Journal), OpenError> {
        let path = self.root.join(DATABASE_FILE);
        if !path.exists() {
            if self.root.join(JOURNAL_FILE).exists() {
                return Err(self.corrupt("the database file is missing, and its journal is not"));
            }
            self.make_database(&path)?;
        }
        let file = (self.options.medium)(&path).map_err(self.io("open", &path))?;
        let is_empty = file.size().map_err(self.io("read", &path))? == 0;
        if is_empty && self.root.join(JOURNAL_FILE).exists() {
            return Err(self.corrupt("the database file is empty, and its journal is not"));
        }
        let database = self.database(Backend(file))?;
        let identity = self
            .identity(&database)
            .map_err(|cause| self.failed(cause))?;
        let path = self.root.join(JOURNAL_FILE);
        let made = self
            .engine_row(&database, JOURNAL_MADE)
            .map_err(|cause| self.failed(cause))?;
        if made.is_none() {
            // Nothing was ever committed before it is made and known to be.
            self.journal_file(identity)?
                .create()
                .map_err(self.io("write", &path))?;
            self.sync_folder().map_err(self.io("sync", &self.root))?;
            self.set_engine_row(&database, JOURNAL_MADE, 1)
                .map_err(|cause| self.failed(cause))?;
        } else if !path.exists() {
            return Err(self.corrupt("the journal is missing"));
        }
        let journal = self.replayed(&database, identity, None)?;
        Ok((database, journal))
    }

    /// Makes an empty database file, which has its name only when it is whole: one that a power loss
    /// cut short would look damaged.
    fn make_database(&self, path: &Path) -> Result<(), OpenError> {
        let unfinished = self.root.join(UNFINISHED_FILE);
        match fs::remove_file(&unfinished) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(self.io("remove", &unfinished)(cause));
            }
            _ => {}
        }
        let file = (self.options.medium)(&unfinished).map_err(self.io("open", &unfinished))?;
        let database = self.database(Backend(file))?;
        self.identity(&database)
            .map_err(|cause| self.failed(cause))?;
        drop(database);
        let renamed = fs::rename(&unfinished, path).and_then(|()| self.sync_folder());
        renamed.map_err(self.io("make", path))
    }

    fn sync_folder(&self) -> io::Result<()> {
        fs::File::open(&self.root)?.sync_all()
    }

    /// Opens what the files hold for reading only: whatever has to be written to do so (redb marks a
    /// file as in use, and replaying writes) stays in memory. For when the disk takes no writes.
    ///
    /// Shows nothing after `acknowledged`, which may not be on disk.
    fn open_shadow(&self, acknowledged: Revision) -> Result<redb::Database, OpenError> {
        let path = self.root.join(DATABASE_FILE);
        let file = (self.options.medium)(&path).map_err(self.io("open", &path))?;
        let shadow = Shadow::of(file).map_err(self.io("read", &path))?;
        let database = self.database(Backend(Arc::new(shadow)))?;
        let identity = self
            .identity(&database)
            .map_err(|cause| self.failed(cause))?;
        self.replayed(&database, identity, Some(acknowledged))?;
        Ok(database)
    }

    fn database(&self, backend: Backend) -> Result<redb::Database, OpenError> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(self.options.cache_bytes);
        // redb may panic on pages that make no sense.
        catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(backend)))
            .map_err(|_| self.corrupt("its pages make no sense"))?
            .map_err(|cause| match cause {
                redb::DatabaseError::Storage(redb::StorageError::Io(cause))
                    if !matches!(
                        cause.kind(),
                        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    self.io("open", &self.root.join(DATABASE_FILE))(cause)
                }
                cause => self.corrupt(cause),
            })
    }

    /// The number that ties the journal to the file; a new file gets one.
    fn identity(&self, database: &redb::Database) -> Result<u64, redb::Error> {
        if let Some(identity) = self.engine_row(database, JOURNAL_IDENTITY)? {
            return Ok(identity);
        }
        self.set_engine_row(database, JOURNAL_IDENTITY, self.options.seed)?;
        Ok(self.options.seed)
    }

    /// A number that belongs to this engine alone.
    fn engine_row(
        &self,
        database: &redb::Database,
        row: &[u8],
    ) -> Result<Option<u64>, redb::Error> {
        match database.begin_read()?.open_table(rows(ENGINE)) {
            Ok(table) => Ok(table.get(row)?.map(|row| row.value().0)),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    fn set_engine_row(
        &self,
        database: &redb::Database,
        row: &[u8],
        value: u64,
    ) -> Result<(), redb::Error> {
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(true);
        txn.open_table(rows(ENGINE))?
            .insert(row, (value, &[][..]))?;
        txn.commit()?;
        Ok(())
    }

    fn journal_file(&self, identity: u64) -> Result<Journal, OpenError> {
        let path = self.root.join(JOURNAL_FILE);
        let medium = (self.options.medium)(&path).map_err(self.io("open", &path))?;
        Ok(Journal::new(medium, identity, self.options.journal_bytes))
    }

    /// Opens the journal and applies what the database lacks of it.
    fn replayed(
        &self,
        database: &redb::Database,
        identity: u64,
        up_to: Option<Revision>,
    ) -> Result<Journal, OpenError> {
        let path = self.root.join(JOURNAL_FILE);
        let mut journal = self.journal_file(identity)?;
        let mut recover = || {
            let have = view::last_revision(database)?;
            let mut lacking = journal.recover(have, up_to.is_none())?;
            lacking.retain(|(revision, _)| up_to.is_none_or(|up_to| *revision <= up_to));
            apply::replay(database, have, &lacking, &self.options)
        };
        catch_unwind(AssertUnwindSafe(&mut recover))
            .map_err(|_| self.corrupt("its pages make no sense"))?
            .map_err(|cause| match cause {
                RecoverError::Io(cause) => self.io("read", &path)(cause),
                RecoverError::Redb(cause) => self.failed(cause),
                cause => self.corrupt(cause),
            })?;
        Ok(journal)
    }

    fn io<'a>(
        &self,
        what: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> OpenError + use<'a> {
        move |cause| OpenError::Io {
            what,
            path: path.to_owned(),
            cause,
        }
    }

    /// What redb says of the disk is no damage.
    fn failed(&self, cause: redb::Error) -> OpenError {
        match cause {
            redb::Error::Io(cause) => {
                self.io("read or write", &self.root.join(DATABASE_FILE))(cause)
            }
            cause => self.corrupt(cause),
        }
    }

    fn corrupt(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> OpenError {
        OpenError::Corrupt {
            path: self.root.clone(),
            cause: cause.into(),
        }
    }
}

/// Tables that belong to the engine are no tables to those above.
fn is_internal(table: &str) -> bool {
    table == CHANGES || table == ENGINE || table.starts_with(TRASH)
}

/// A redb table of a path.
fn rows(path: &str) -> redb::TableDefinition<'_, &'static [u8], Row> {
    redb::TableDefinition::new(path)
}
