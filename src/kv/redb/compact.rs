//! Giving space back: a copy of a snapshot in a new file, which takes the old one's place.
//!
//! A thread copies the snapshot while the writer goes on, and keeps what it commits. The thread then
//! repeats that in the copy until little is left; the writer repeats the rest, makes the copy durable
//! and renames it over the old file. Until then the old file and the journal are all that counts, and
//! from then on the new one has everything that they had: a crash finds one or the other.

use std::fs;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use redb::{ReadableTable, ReadableTableMetadata, TableHandle};
use tokio::sync::oneshot;

use super::apply;
use super::files::{DATABASE_FILE, Files};
use super::medium::Medium;
use super::view::View;
use super::writer::{Chore, Failure, Open, Request, State, Writer};
use super::{TRASH, record, rows};
use crate::kv::{Batch, CompactError, Compacted, Revision, Snapshot as _};

/// The copy, while it is made.
pub(super) const COMPACT_FILE: &str = "imagestore.redb.compact";

/// Who waits for the end.
pub(super) type Answer = oneshot::Sender<Result<Compacted, CompactError>>;

/// A compaction under way.
pub(super) struct Compaction {
    answer: Answer,
    since: Arc<Since>,
    thread: thread::JoinHandle<Result<Copy, CompactError>>,
    before: u64,
}

/// What is committed while the copy is made, and not yet in it.
#[derive(Default)]
struct Since(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    batches: Vec<(Revision, Batch)>,
    bytes: usize,
    /// Why the copy is of no use any more.
    given_up: Option<CompactError>,
}

/// A snapshot in a file of its own.
struct Copy {
    database: redb::Database,
    medium: Arc<dyn Medium>,
    /// The newest revision in it.
    revision: Revision,
}

/// So few batches are left to the writer.
const LEFT_BATCHES: usize = 256;

/// How often what came meanwhile is repeated before the rest is left to the writer, however much it is.
const ROUNDS: usize = 8;

/// After so many bytes of rows it is looked up whether to go on.
const BYTES_AT_ONCE: usize = 1 << 20;

/// What a row costs beside its key and value, about.
const ROW_EXTRA: usize = 32;

impl Writer {
    /// Starts to copy what there is now.
    pub(super) fn start_compaction(&mut self, answer: Answer, writer: Sender<Request>) {
        let refusal = match &self.state {
            State::Writing(_) if self.compaction.is_some() => Some(CompactError::UnderWay),
            State::Writing(_) => None,
            State::Stopped { why, .. } => Some(CompactError::Stopped(why.clone())),
            State::Closed => Some(CompactError::Closed),
        };
        if let Some(refusal) = refusal {
            // The caller may have gone, here as below.
            let _ = answer.send(Err(refusal));
            return;
        }
        let since = Arc::new(Since::default());
        let copying = {
            let (files, since) = (self.files.clone(), since.clone());
            let disk = self.disk.clone();
            let view = self.shared.view.load_full();
            move || {
                // Told of also where a page makes no sense, or the writer would wait for it for ever.
                let copy = super::caught(|| copy(&files, &*disk, &view, &since))
                    .unwrap_or_else(|| Err(CompactError::damaged()));
                drop(view);
                // An error means that the writer has gone, and does not want it any more.
                let _ = writer.send(Request::Chore(Chore::Copied));
                copy
            }
        };
        let thread = thread::Builder::new()
            .name("imagestore-compact".to_owned())
            .spawn(copying);
        match thread {
            Ok(thread) => {
                self.compaction = Some(Compaction {
                    answer,
                    since,
                    thread,
                    before: self.files.allocated(DATABASE_FILE),
                });
            }
            Err(cause) => {
                let _ = answer.send(Err(CompactError::failed(cause)));
            }
        }
    }

    /// Puts the copy in the file's place.
    pub(super) fn end_compaction(&mut self) {
        let Some(compaction) = self.compaction.take() else {
            return;
        };
        let Compaction {
            answer,
            since,
            thread,
            before,
        } = compaction;
        let copied = thread
            .join()
            .unwrap_or_else(|_| Err(CompactError::damaged()));
        let finished = copied.and_then(|copy| {
            super::caught(|| copy.finished(&self.files, &since))
                .unwrap_or_else(|| Err(CompactError::damaged()))
        });
        let outcome = finished.and_then(|copy| self.adopt(copy));
        self.files.remove_unfinished(COMPACT_FILE);
        let _ = answer.send(outcome.map(|()| Compacted {
            before,
            after: self.files.allocated(DATABASE_FILE),
        }));
    }

    /// Ends a compaction that may no longer become one. Waits for its thread, which uses the files.
    pub(super) fn abandon_compaction(&mut self, why: &CompactError) {
        let Some(compaction) = self.compaction.take() else {
            return;
        };
        compaction.since.give_up(why.clone());
        // The thread's outcome changes nothing any more.
        drop(compaction.thread.join());
        self.files.remove_unfinished(COMPACT_FILE);
        let _ = compaction.answer.send(Err(why.clone()));
    }

    /// Goes on with a copy that has all there is.
    fn adopt(&mut self, copy: Copy) -> Result<(), CompactError> {
        let from = self.files.root.join(COMPACT_FILE);
        let to = self.files.root.join(DATABASE_FILE);
        if copy.revision != self.revision {
            let (have, newest) = (copy.revision, self.revision);
            let why = format!("the copy is at revision {have}, the store at {newest}");
            return Err(CompactError::failed(why));
        }
        fs::rename(&from, &to).map_err(CompactError::failed)?;
        let medium = copy.medium.clone();
        let open = match &mut self.state {
            State::Writing(open) => open,
            State::Stopped { .. } | State::Closed => return Err(CompactError::Closed),
        };
        // Which of the two files a power loss would leave is not known before the folder is synced, and
        // the journal goes with either.
        let adopted = super::caught(|| open.adopt(&self.files, copy));
        match adopted.unwrap_or(Err(Failure::Panicked)) {
            Ok(view) => {
                self.disk = medium;
                self.shared.view.store(Arc::new(view));
                Ok(())
            }
            Err(failure) => {
                let why: Arc<str> = failure.to_string().into();
                self.stop(&why);
                Err(CompactError::Stopped(why))
            }
        }
    }
}

impl Open {
    fn adopt(&mut self, files: &Files, copy: Copy) -> Result<View, Failure> {
        files.sync_folder().map_err(Failure::Folder)?;
        self.journal.reset()?;
        let txn = copy.database.begin_write()?;
        self.known = apply::known(&txn)?;
        txn.abort()?;
        self.has_trash = self.known.iter().any(|path| path.starts_with(TRASH));
        let old = std::mem::replace(&mut self.database, copy.database);
        let retired = std::mem::take(&mut self.retired);
        // Views that are still read keep it open; nothing else put one there.
        let _ = retired.set(old);
        self.view(copy.revision)
    }
}

impl Compaction {
    /// Has a batch repeated in the copy. Gives up with more than `limit` bytes of them.
    pub fn keep(&self, revision: Revision, batch: Batch, limit: usize) {
        let mut kept = self.since.lock();
        if kept.given_up.is_some() {
            return;
        }
        kept.bytes += record::bytes(&batch);
        if kept.bytes > limit {
            kept.give_up(CompactError::Overtaken { limit });
            return;
        }
        kept.batches.push((revision, batch));
    }
}

impl Since {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A panic under the lock leaves a list that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self, why: CompactError) {
        self.lock().give_up(why);
    }

    fn check(&self) -> Result<(), CompactError> {
        self.lock().check()
    }

    fn take(&self) -> Result<Vec<(Revision, Batch)>, CompactError> {
        let mut kept = self.lock();
        kept.check()?;
        kept.bytes = 0;
        Ok(std::mem::take(&mut kept.batches))
    }
}

impl Kept {
    fn give_up(&mut self, why: CompactError) {
        self.given_up = Some(why);
        self.batches = Vec::new();
    }

    fn check(&self) -> Result<(), CompactError> {
        self.given_up.clone().map_or(Ok(()), Err)
    }
}

/// A copy of a view, and of nearly all that was committed while it was made. Not begun where the disk
/// has no room for it.
fn copy(
    files: &Files,
    disk: &dyn Medium,
    view: &View,
    since: &Since,
) -> Result<Copy, CompactError> {
    check_space(disk, files, view.packed_bytes()?)?;
    let (database, medium) = files
        .fresh_database(COMPACT_FILE)
        .map_err(CompactError::failed)?;
    let mut copy = Copy {
        database,
        medium,
        revision: view.revision(),
    };
    copy.fill(files, view, since)?;
    for _ in 0..ROUNDS {
        let batches = since.take()?;
        copy.repeat(files, &batches)?;
        copy.sync()?;
        if batches.len() <= LEFT_BATCHES {
            break;
        }
    }
    Ok(copy)
}

/// Leaves the writer what it needs, once so many bytes have been written.
fn check_space(disk: &dyn Medium, files: &Files, bytes: u64) -> Result<(), CompactError> {
    let least = files.options.min_free_bytes.saturating_add(bytes);
    // A disk that does not say is not taken to be full.
    match disk.free_bytes().ok().flatten() {
        Some(free) if free < least => Err(CompactError::Full { free, least }),
        _ => Ok(()),
    }
}

impl Copy {
    /// In one transaction, so that no page is written twice.
    fn fill(&self, files: &Files, view: &View, since: &Since) -> Result<(), CompactError> {
        let from = view.txn();
        let mut txn = self.database.begin_write()?;
        txn.set_quick_repair(true);
        for table in from.list_tables()? {
            let path = table.name();
            let old = from.open_table(rows(path))?;
            if path.starts_with(TRASH) || old.is_empty()? {
                continue;
            }
            let mut new = txn.open_table(rows(path))?;
            let mut bytes = BYTES_AT_ONCE;
            for row in old.iter()? {
                if bytes >= BYTES_AT_ONCE {
                    since.check()?;
                    check_space(&*self.medium, files, 0)?;
                    bytes = 0;
                }
                let (key, value) = row?;
                bytes += ROW_EXTRA + key.value().len() + value.value().1.len();
                new.insert(key.value(), value.value())?;
            }
        }
        Ok(txn.commit()?)
    }

    fn repeat(&mut self, files: &Files, batches: &[(Revision, Batch)]) -> Result<(), CompactError> {
        let bytes: usize = batches.iter().map(|(_, batch)| record::bytes(batch)).sum();
        check_space(&*self.medium, files, bytes as u64)?;
        apply::replay(&self.database, self.revision, batches, &files.options)
            .map_err(CompactError::failed)?;
        if let Some((last, _)) = batches.last() {
            self.revision = *last;
        }
        Ok(())
    }

    /// Makes all that is in it durable. Its pages are, but for the last few.
    fn sync(&self) -> Result<(), CompactError> {
        let mut txn = self.database.begin_write()?;
        txn.set_quick_repair(true);
        Ok(txn.commit()?)
    }

    /// With all that was committed, durable.
    fn finished(mut self, files: &Files, since: &Since) -> Result<Self, CompactError> {
        let batches = since.take()?;
        self.repeat(files, &batches)?;
        self.sync()?;
        Ok(self)
    }
}

macro_rules! widen {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for CompactError {
            fn from(error: redb::$error) -> Self {
                Self::failed(redb::Error::from(error))
            }
        }
    )*};
}
widen!(
    Error,
    TransactionError,
    TableError,
    CommitError,
    StorageError
);

impl CompactError {
    fn failed(why: impl std::fmt::Display) -> Self {
        Self::Failed(why.to_string().into())
    }

    fn damaged() -> Self {
        Self::failed("the database has a page that makes no sense")
    }
}

#[cfg(test)]
mod tests;
