//! A disk in memory that keeps account of all that happens to it, and fails when told to.
//!
//! A folder of the real disk has a stub for each of its files, so that the engine can make, find and
//! rename them; a stub says which file it stands for. What the engine does to the folder itself is
//! seen late or not at all: a rename counts as durable once it is noticed, at the next operation on a
//! file, and a folder that is not synced goes unnoticed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::task::unconstrained;

use super::content::{Change, Content};
use crate::kv::redb::DATABASE_FILE;
use crate::kv::redb::files::UNFINISHED_FILE;
use crate::kv::redb::medium::Backend;
use crate::kv::{Batch, CommitError, Kv, Medium, OpenError, Options, Redb, Revision};

/// Which of a disk's files, whatever its name is by now.
pub type FileId = usize;

/// What happened to a disk, in the order in which it did.
#[derive(Clone, Debug)]
pub enum Event {
    Made {
        name: String,
        file: FileId,
    },
    /// The file that was being made is the database file from now on.
    Renamed,
    Changed {
        file: FileId,
        change: Change,
    },
    Synced(FileId),
    /// What was not synced is lost to later syncs too, though readers see it still; Linux does that.
    SyncFailed(FileId),
    /// The disk failed, as planned.
    Failed,
    Answered(Result<Revision, CommitError>),
    /// A reader saw this revision.
    Shown(Revision),
}

/// An operation that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Write,
    Sync,
    SetLen,
}

/// A failure that is to come.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub kind: Kind,
    /// How many operations of that kind until then, the failing one included.
    pub until: usize,
    /// Whether all that follow of that kind fail too.
    pub stays: bool,
}

/// What a disk holds: its files by name.
#[derive(Clone, Debug, Default)]
pub struct Image(pub BTreeMap<String, Content>);

#[derive(Debug)]
pub struct Disk {
    pub began_with: Image,
    folder: TempDir,
    state: Mutex<State>,
    asked: Mutex<Asked>,
    driver: Arc<Driver>,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, FileId>,
    /// As everybody reads them.
    files: Vec<Content>,
    events: Vec<Event>,
    plan: Option<Plan>,
}

/// Batches that wait for an answer.
#[derive(Default)]
struct Asked(Vec<BoxFuture<'static, Result<Revision, CommitError>>>);

/// The thread that asks.
#[derive(Debug)]
struct Driver(Thread);

#[derive(Debug)]
struct File {
    disk: Arc<Disk>,
    id: FileId,
}

/// Longer than anything takes that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

// === impl Disk ===

impl Disk {
    /// A disk that holds an image.
    pub fn holding(image: &Image) -> Arc<Self> {
        // In memory where there is such a folder: thousands are made.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        let mut state = State::default();
        for (name, content) in &image.0 {
            let id = state.files.len();
            put_stub(&folder.path().join(name), id);
            state.names.insert(name.clone(), id);
            state.files.push(content.clone());
        }
        Arc::new(Self {
            began_with: image.clone(),
            folder,
            state: Mutex::new(state),
            asked: Mutex::default(),
            driver: Arc::new(Driver(thread::current())),
        })
    }

    /// Opens the store that the disk holds, or makes one on it.
    pub fn open(self: &Arc<Self>, options: Options) -> Result<Redb, OpenError> {
        let disk = self.clone();
        let options = Options {
            medium: Arc::new(move |path: &Path| Ok(Arc::new(disk.file(path)))),
            ..options
        };
        Redb::open(self.folder.path(), options)
    }

    /// The database file, as redb has it.
    pub fn database(self: &Arc<Self>) -> redb::Database {
        let file = self.file(&self.folder.path().join(DATABASE_FILE));
        let opened = redb::Builder::new().create_with_backend(Backend(Arc::new(file)));
        opened.unwrap()
    }

    /// Sends a batch. The order of sending is the order of revisions.
    pub fn ask(&self, kv: &Arc<Redb>, batch: Batch) {
        let kv = kv.clone();
        // Whoever asks from a task of tokio's would else be told to let others run, and wait for ever.
        let answer = unconstrained(async move { kv.commit(batch).await });
        let mut asked = self.asked.lock().unwrap();
        asked.0.push(Box::pin(answer));
        self.hear(&mut asked);
    }

    /// Waits until every batch is answered.
    pub fn settle(&self) {
        self.wait_until("answers", |disk| {
            let mut asked = disk.asked.lock().unwrap();
            disk.hear(&mut asked);
            asked.0.is_empty()
        });
    }

    /// Waits until the database file is synced, which is what an idle engine does; or the disk fails.
    pub fn settle_until_checkpoint(&self) {
        self.settle();
        let before = self.events().len();
        self.wait_until("a checkpoint", |disk| {
            let state = disk.state.lock().unwrap();
            let database = state.names[DATABASE_FILE];
            let mut since = state.events[before..].iter();
            since.any(|event| match event {
                Event::Synced(file) => *file == database,
                Event::Failed => true,
                _ => false,
            })
        });
    }

    /// Only on the thread that made the disk: it is the one that is woken.
    fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {PATIENCE:?} for {what}");
            thread::park_timeout(left);
        }
    }

    pub fn note(&self, event: Event) {
        self.state.lock().unwrap().events.push(event);
    }

    /// All that happened since it was made.
    pub fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().events.clone()
    }

    /// Answers so far.
    pub fn answers(&self) -> Vec<Result<Revision, CommitError>> {
        let answer = |event| match event {
            Event::Answered(answer) => Some(answer),
            _ => None,
        };
        self.events().into_iter().filter_map(answer).collect()
    }

    pub fn plan(&self, plan: Plan) {
        self.state.lock().unwrap().plan = Some(plan);
    }

    /// Nothing fails any more; whether anything did.
    pub fn mend(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.plan = None;
        state
            .events
            .iter()
            .any(|event| matches!(event, Event::Failed))
    }

    fn file(self: &Arc<Self>, path: &Path) -> File {
        let mut state = self.operation();
        let id = stub(path).unwrap_or_else(|| {
            let id = state.files.len();
            put_stub(path, id);
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            state.names.insert(name.clone(), id);
            state.files.push(Content::default());
            state.events.push(Event::Made { name, file: id });
            id
        });
        let disk = self.clone();
        File { disk, id }
    }

    /// The state for an operation of the engine's, before which whatever was answered and renamed is
    /// noted. So an answer that is sent too early comes before what it should have waited for.
    fn operation(&self) -> MutexGuard<'_, State> {
        self.hear(&mut self.asked.lock().unwrap());
        let mut state = self.state.lock().unwrap();
        if let Some(unfinished) = state.names.get(UNFINISHED_FILE).copied() {
            if stub(&self.folder.path().join(DATABASE_FILE)) == Some(unfinished) {
                state.names.remove(UNFINISHED_FILE);
                state.names.insert(DATABASE_FILE.to_owned(), unfinished);
                state.events.push(Event::Renamed);
            } else if stub(&self.folder.path().join(UNFINISHED_FILE)).is_none() {
                state.names.remove(UNFINISHED_FILE);
            }
        }
        state
    }

    /// Futures are dropped under the lock, so that the engine outlives them in the driver's hands.
    fn hear(&self, asked: &mut Asked) {
        let waker = Waker::from(self.driver.clone());
        let mut context = Context::from_waker(&waker);
        asked
            .0
            .retain_mut(|answer| match answer.as_mut().poll(&mut context) {
                Poll::Ready(answer) => {
                    self.note(Event::Answered(answer));
                    false
                }
                Poll::Pending => true,
            });
    }
}

fn stub(path: &Path) -> Option<FileId> {
    fs::read_to_string(path).ok()?.parse().ok()
}

fn put_stub(path: &Path, id: FileId) {
    fs::write(path, id.to_string()).unwrap();
}

// === impl State ===

impl State {
    /// Counts an operation; whether it fails.
    fn fails(&mut self, kind: Kind) -> bool {
        let Some(plan) = self.plan.as_mut().filter(|plan| plan.kind == kind) else {
            return false;
        };
        plan.until = plan.until.saturating_sub(1);
        if plan.until > 0 {
            return false;
        }
        if !plan.stays {
            self.plan = None;
        }
        self.events.push(Event::Failed);
        true
    }

    fn change(&mut self, file: FileId, change: Change) {
        self.files[file].apply(&change);
        self.events.push(Event::Changed { file, change });
    }
}

fn planned() -> io::Error {
    io::Error::other("the disk failed, as planned")
}

// === impl Image ===

impl Image {
    /// Writes the files to a real folder.
    pub fn write_to(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for (name, content) in &self.0 {
            fs::write(folder.join(name), content.to_vec()).unwrap();
        }
    }
}

// === impl Driver ===

impl Wake for Driver {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

// === impl File ===

impl Medium for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().unwrap().files[self.id].len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.state.lock().unwrap().files[self.id].read(offset, out)
    }

    /// One that fails leaves a part of itself, as on a disk that is full.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.operation();
        let fails = state.fails(Kind::Write);
        let arrives = if fails {
            data.len() / 1024 * 512
        } else {
            data.len()
        };
        state.change(self.id, Change::Write(offset, data[..arrives].to_vec()));
        if fails { Err(planned()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.operation();
        if state.fails(Kind::SetLen) {
            return Err(planned());
        }
        state.change(self.id, Change::SetLen(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.operation();
        let fails = state.fails(Kind::Sync);
        state.events.push(match fails {
            true => Event::SyncFailed(self.id),
            false => Event::Synced(self.id),
        });
        self.disk.driver.0.unpark();
        if fails { Err(planned()) } else { Ok(()) }
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} batches", self.0.len())
    }
}
