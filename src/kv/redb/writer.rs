//! The writer: the one thread that changes the files.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use redb::ReadableDatabase;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::apply::{self, Group, Known};
use super::compact::{self, Compaction};
use super::files::{DATABASE_FILE, Files};
use super::journal::Journal;
use super::view::{self, Retired, View};
use super::{Medium, OpenError, Shared, caught, record};
use crate::kv::{Batch, Change, CommitError, CompactError, Revision, Snapshot as _};

/// What the writer is asked for.
pub(super) enum Request {
    Commit {
        batch: Batch,
        reply: Reply,
        /// Given back when the writer is done with it, whether or not the caller still waits.
        place: OwnedSemaphorePermit,
    },
    Chore(Chore),
}

/// What the writer does between groups.
pub(super) enum Chore {
    Close(Option<Told>),
    Compact {
        answer: compact::Answer,
        /// Where the writer hears of the copy.
        writer: Sender<Request>,
    },
    /// The copy has been made, or could not be.
    Copied,
}

/// Hears that the files are closed and unlocked.
pub(super) type Told = oneshot::Sender<()>;

/// A batch that waits to be committed.
struct Pending {
    batch: Batch,
    reply: Reply,
    _place: OwnedSemaphorePermit,
}

type Reply = oneshot::Sender<Result<Revision, CommitError>>;

pub(super) struct Writer {
    pub(super) files: Files,
    pub(super) shared: Arc<Shared>,
    /// Where the free space is looked up.
    pub(super) disk: Arc<dyn Medium>,
    pub(super) state: State,
    pub(super) compaction: Option<Compaction>,
    /// The newest revision that was acknowledged.
    pub(super) revision: Revision,
    /// How many batches the last group had.
    last_group: usize,
}

pub(super) enum State {
    Writing(Open),
    Stopped {
        why: Arc<str>,
        /// What is left to read, if anything could be opened. Kept alive for the views of it.
        _shadow: Option<redb::Database>,
    },
    Closed,
}

pub(super) struct Open {
    pub(super) database: redb::Database,
    /// Where it goes when it is replaced.
    pub(super) retired: Retired,
    pub(super) journal: Journal,
    pub(super) known: Known,
    pub(super) has_trash: bool,
}

/// Why a group or a checkpoint could not be written. Writing ends with it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the journal could not be written ({0})")]
    Journal(#[from] io::Error),
    #[error("the folder could not be synced ({0})")]
    Folder(#[source] io::Error),
    #[error("the database could not be written ({0})")]
    Redb(#[from] redb::Error),
    #[error("the database has a page that makes no sense")]
    Panicked,
}

macro_rules! widen {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Failure {
            fn from(error: redb::$error) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}
widen!(
    TransactionError,
    CommitError,
    StorageError,
    SetDurabilityError
);

/// Batches that share one sync at most.
const GROUP: usize = 256;

/// A group takes no more batches once it has so many bytes, so that it is never much larger than that and one
/// batch: all of it is in memory at once, and in the journal.
const GROUP_BYTES: usize = 32 << 20;

/// How long a group waits for one more that is expected.
const LINGER: Duration = Duration::from_micros(50);

/// After so long without a request, redb is brought up to date and the journal emptied.
const IDLE: Duration = Duration::from_millis(200);

/// Rows of cleared tables that are freed beside each group.
const TRASH_ROWS_BESIDE: usize = 100;

/// Rows of cleared tables that are freed at once, when nothing else is to be done.
const TRASH_ROWS: usize = 5_000;

impl Writer {
    pub fn new(
        files: Files,
        database: redb::Database,
        retired: Retired,
        journal: Journal,
        shared: Arc<Shared>,
    ) -> Result<Self, OpenError> {
        let look = || -> Result<_, redb::Error> {
            let txn = database.begin_write()?;
            let known = apply::known(&txn)?;
            txn.abort()?;
            Ok((known, view::last_revision(&database)?))
        };
        let (known, revision) = look().map_err(|cause| files.failed(cause))?;
        let path = files.root.join(DATABASE_FILE);
        let disk = (files.options.medium)(&path).map_err(files.io("open", &path))?;
        let has_trash = known.iter().any(|path| path.starts_with(super::TRASH));
        Ok(Self {
            files,
            shared,
            disk,
            state: State::Writing(Open {
                database,
                retired,
                journal,
                known,
                has_trash,
            }),
            compaction: None,
            revision,
            last_group: 0,
        })
    }

    /// Serves until it is asked to close, or nobody is left to ask. Returns who wants to hear of it.
    pub fn run(mut self, requests: &Receiver<Request>) -> Option<Told> {
        let mut group = Vec::with_capacity(GROUP);
        loop {
            let mut chore = match self.next(requests) {
                Next::Request(request) => take(request, &mut group),
                Next::Idle => {
                    self.tidy();
                    continue;
                }
                Next::Gone => Some(Chore::Close(None)),
            };
            let weight = |pending: Option<&Pending>| pending.map_or(0, |last| last.batch.bytes());
            let mut bytes = weight(group.last());
            while group.len() < GROUP && bytes < GROUP_BYTES && chore.is_none() {
                let Ok(request) = self.beside(requests, group.len()) else {
                    break;
                };
                chore = take(request, &mut group);
                bytes += weight(group.last().filter(|_| chore.is_none()));
            }
            self.last_group = group.len();
            if !group.is_empty() {
                self.commit(&mut group);
            }
            match chore {
                None => {}
                Some(Chore::Compact { answer, writer }) => self.start_compaction(answer, writer),
                Some(Chore::Copied) => self.end_compaction(),
                Some(Chore::Close(told)) => {
                    self.close();
                    refuse_the_rest(requests);
                    return told;
                }
            }
        }
    }

    fn next(&self, requests: &Receiver<Request>) -> Next {
        let is_busy = match &self.state {
            State::Writing(open) => open.has_trash || !open.journal.is_empty(),
            State::Stopped { .. } | State::Closed => false,
        };
        if !is_busy {
            return requests.recv().map_or(Next::Gone, Next::Request);
        }
        match requests.recv_timeout(IDLE) {
            Ok(request) => Next::Request(request),
            Err(RecvTimeoutError::Timeout) => Next::Idle,
            Err(RecvTimeoutError::Disconnected) => Next::Gone,
        }
    }

    /// Another request for a group that has some. Where the group before was larger, those who were in
    /// it are about to ask again, and are worth a short wait: a group costs nearly the same whatever
    /// its size.
    fn beside(&self, requests: &Receiver<Request>, have: usize) -> Result<Request, ()> {
        match requests.try_recv() {
            Ok(request) => Ok(request),
            Err(_) if have < self.last_group => requests.recv_timeout(LINGER).map_err(|_| ()),
            Err(_) => Err(()),
        }
    }

    /// Commits a group and answers all that are in it.
    fn commit(&mut self, group: &mut Vec<Pending>) {
        let is_full = self.is_full();
        let bytes = group
            .iter()
            .map(|pending| record::bytes(&pending.batch))
            .sum();
        if let State::Writing(open) = &self.state
            && !open.journal.has_room(bytes)
        {
            self.tidy();
        }
        let open = match &mut self.state {
            State::Writing(open) => open,
            State::Stopped { why, .. } => {
                let why = why.clone();
                return answer_all(group, || CommitError::Stopped(why.clone()));
            }
            State::Closed => return answer_all(group, || CommitError::Closed),
        };
        let mut is_unsure = false;
        let committed = caught(|| {
            open.commit(
                &self.files,
                self.revision,
                group,
                is_full.as_ref(),
                &mut is_unsure,
            )
        });
        match committed.unwrap_or(Err(Failure::Panicked)) {
            Ok(Committed { outcomes, new }) => {
                let mut at = self.revision;
                if let Some((view, changes)) = new {
                    self.revision = view.revision();
                    self.shared.view.store(Arc::new(view));
                    self.shared.tell(changes);
                }
                for (pending, outcome) in group.drain(..).zip(outcomes) {
                    if let (Some(compaction), Ok(revision)) = (&self.compaction, &outcome)
                        && *revision > at
                    {
                        at = *revision;
                        compaction.keep(at, pending.batch, self.files.options.compact_keeps_bytes);
                    }
                    // The caller may have gone; its write stands.
                    let _ = pending.reply.send(outcome);
                }
            }
            Err(failure) => {
                let why: Arc<str> = failure.to_string().into();
                self.stop(&why);
                answer_all(group, || match is_unsure {
                    true => CommitError::OutcomeUnknown(why.clone()),
                    false => CommitError::Stopped(why.clone()),
                });
            }
        }
    }

    /// The error for batches that need space, when there is too little.
    fn is_full(&self) -> Option<CommitError> {
        let least = self.files.options.min_free_bytes;
        // A disk that does not say is not taken to be full.
        let free = self.disk.free_bytes().ok().flatten()?;
        (free < least).then_some(CommitError::Full { free, least })
    }

    /// Brings redb up to date, so that the next start has little to replay, and frees what was
    /// cleared.
    fn tidy(&mut self) {
        let State::Writing(open) = &mut self.state else {
            return;
        };
        let revision = self.revision;
        let tidied = caught(|| open.tidy(revision));
        match tidied.unwrap_or(Err(Failure::Panicked)) {
            Ok(view) => self.shared.view.store(Arc::new(view)),
            Err(failure) => self.stop(&failure.to_string().into()),
        }
    }

    /// Gives up writing for good. What can be read is opened anew without touching the files, since
    /// redb refuses reads too after the first error.
    pub(super) fn stop(&mut self, why: &Arc<str>) {
        tracing::error!(reason = %why, "writes have stopped; reads go on");
        self.shared.stopped.send_replace(Some(why.clone()));
        self.abandon_compaction(&CompactError::Stopped(why.clone()));
        // Its locks and its cache go before the files are opened again. A panic of redb's on the way
        // changes nothing any more.
        let old = std::mem::replace(&mut self.state, State::Closed);
        caught(|| drop(old));
        let shadow = self.files.open_shadow(self.revision);
        let shadow = shadow
            .map_err(|cause| cause.to_string())
            .and_then(|database| {
                let view =
                    View::of(&database, Retired::default()).map_err(|cause| cause.to_string())?;
                self.shared.view.store(Arc::new(view));
                Ok(database)
            });
        let shadow = shadow
            .inspect_err(|cause| tracing::error!(%cause, "reads have stopped too"))
            .ok();
        self.state = State::Stopped {
            why: why.clone(),
            _shadow: shadow,
        };
    }

    fn close(&mut self) {
        self.abandon_compaction(&CompactError::Closed);
        if let State::Writing(open) = &self.state
            && !open.journal.is_empty()
        {
            self.tidy();
        }
        let old = std::mem::replace(&mut self.state, State::Closed);
        // The files are consistent whether or not redb manages to say so in them.
        caught(|| drop(old));
    }
}

enum Next {
    Request(Request),
    Idle,
    Gone,
}

struct Committed {
    outcomes: Vec<Result<Revision, CommitError>>,
    /// The new state and what led to it, if there is one.
    new: Option<(View, Vec<Change>)>,
}

impl Open {
    /// Commits what of a group can be committed, with one sync. After an error nothing was, unless
    /// `is_unsure` says that it may be.
    fn commit(
        &mut self,
        files: &Files,
        revision: Revision,
        group: &[Pending],
        full: Option<&CommitError>,
        is_unsure: &mut bool,
    ) -> Result<Committed, Failure> {
        let mut txn = self.database.begin_write()?;
        let mut outcomes = Vec::with_capacity(group.len());
        let mut decided = Vec::with_capacity(group.len());
        let mut applied = Group::new(&txn, &mut self.known, revision);
        for Pending { batch, .. } in group {
            if let Some(full) = full.filter(|_| !batch.is_freeing_space()) {
                outcomes.push(Err(full.clone()));
                continue;
            }
            if let Some(broken) = applied.first_broken(batch)? {
                outcomes.push(Err(CommitError::Broken(broken)));
                continue;
            }
            if applied.apply(batch)? {
                decided.push((applied.revision(), batch));
                self.has_trash |= !batch.cleared().is_empty();
            }
            outcomes.push(Ok(applied.revision()));
        }
        if decided.is_empty() {
            let has_dropped = applied.has_dropped();
            drop(applied);
            if has_dropped {
                txn.set_durability(redb::Durability::None)?;
                txn.commit()?;
            } else {
                txn.abort()?;
            }
            return Ok(Committed {
                outcomes,
                new: None,
            });
        }
        if self.has_trash {
            self.has_trash = applied.empty_trash(TRASH_ROWS_BESIDE)?;
        }
        let revision = applied.revision();
        let changes = applied.finish(&files.options)?;
        *is_unsure = true;
        self.journal.append(&decided)?;
        txn.set_durability(redb::Durability::None)?;
        txn.commit()?;
        let view = self.view(revision)?;
        Ok(Committed {
            outcomes,
            new: Some((view, changes)),
        })
    }

    /// Makes a transaction, and all before it, durable in redb.
    fn checkpoint(&mut self, mut txn: redb::WriteTransaction) -> Result<(), Failure> {
        // Without it, opening after a crash would read the whole file.
        txn.set_quick_repair(true);
        txn.commit()?;
        self.journal.reset()?;
        Ok(())
    }

    fn tidy(&mut self, revision: Revision) -> Result<View, Failure> {
        let txn = self.database.begin_write()?;
        let mut group = Group::new(&txn, &mut self.known, revision);
        self.has_trash = group.empty_trash(TRASH_ROWS)?;
        drop(group);
        self.checkpoint(txn)?;
        self.view(revision)
    }

    pub(super) fn view(&self, revision: Revision) -> Result<View, Failure> {
        let txn = self.database.begin_read()?;
        Ok(View::new(txn, revision, self.retired.clone()))
    }
}

/// Sorts a request into the group; or it is something else to do.
fn take(request: Request, group: &mut Vec<Pending>) -> Option<Chore> {
    match request {
        Request::Commit {
            batch,
            reply,
            place,
        } => {
            group.push(Pending {
                batch,
                reply,
                _place: place,
            });
            None
        }
        Request::Chore(chore) => Some(chore),
    }
}

fn answer_all(group: &mut Vec<Pending>, error: impl Fn() -> CommitError) {
    for pending in group.drain(..) {
        // The caller may have gone.
        let _ = pending.reply.send(Err(error()));
    }
}

/// Answers those that came while the writer closed.
fn refuse_the_rest(requests: &Receiver<Request>) {
    while let Ok(request) = requests.try_recv() {
        match request {
            Request::Commit { reply, .. } => {
                let _ = reply.send(Err(CommitError::Closed));
            }
            Request::Chore(Chore::Close(Some(told))) => {
                let _ = told.send(());
            }
            Request::Chore(Chore::Compact { answer, .. }) => {
                let _ = answer.send(Err(CompactError::Closed));
            }
            Request::Chore(Chore::Close(None) | Chore::Copied) => {}
        }
    }
}
