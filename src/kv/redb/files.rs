//! The files of a store: opening, making and naming them.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::ReadableDatabase;

use super::compact::COMPACT_FILE;
use super::journal::{Journal, RecoverError};
use super::medium::{self, Backend, Medium, Shadow};
use super::{ENGINE, JOURNAL_IDENTITY, JOURNAL_MADE, Options, apply, caught, rows, view};
use crate::kv::{OpenError, Revision};

/// The files of a store.
#[derive(Clone)]
pub(super) struct Files {
    pub root: PathBuf,
    pub options: Options,
}

pub(super) const DATABASE_FILE: &str = "imagestore.redb";
pub(super) const UNFINISHED_FILE: &str = "imagestore.redb.new";
pub(super) const JOURNAL_FILE: &str = "journal";

/// Makes the folder of a store, where it is missing, so that it outlives a power loss with what is in it.
pub(super) fn make_folder(root: &Path) -> Result<(), OpenError> {
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
        fs::File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(io("sync the folder of"))?;
    }
    Ok(())
}

impl Files {
    /// Opens or creates the two files, and replays the journal.
    pub fn open(&self) -> Result<(redb::Database, Journal), OpenError> {
        self.remove_unfinished(COMPACT_FILE);
        let path = self.root.join(DATABASE_FILE);
        if !path.exists() {
            if self.root.join(JOURNAL_FILE).exists() {
                return Err(self.corrupt("the database file is missing, and its journal is not"));
            }
            self.make_database()?;
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
    fn make_database(&self) -> Result<(), OpenError> {
        let (database, _) = self.fresh_database(UNFINISHED_FILE)?;
        self.identity(&database)
            .map_err(|cause| self.failed(cause))?;
        drop(database);
        self.name_whole()
    }

    /// Gives the unfinished database file its name.
    pub fn name_whole(&self) -> Result<(), OpenError> {
        let path = self.root.join(DATABASE_FILE);
        let renamed = fs::rename(self.root.join(UNFINISHED_FILE), &path);
        let renamed = renamed.and_then(|()| self.sync_folder());
        renamed.map_err(self.io("make", &path))
    }

    /// An empty database in a file of its own, which replaces what is left of an earlier one.
    pub fn fresh_database(
        &self,
        name: &str,
    ) -> Result<(redb::Database, Arc<dyn Medium>), OpenError> {
        let path = self.root.join(name);
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(self.io("remove", &path)(cause));
            }
            _ => {}
        }
        let file = (self.options.medium)(&path).map_err(self.io("open", &path))?;
        Ok((self.database(Backend(file.clone()))?, file))
    }

    /// Frees what a file takes that never became part of the store.
    pub fn remove_unfinished(&self, name: &str) {
        if let Err(cause) = fs::remove_file(self.root.join(name))
            && cause.kind() != io::ErrorKind::NotFound
        {
            // It is in nobody's way, and removed again before the next is made.
            tracing::warn!(%cause, name, "an unfinished file could not be removed");
        }
    }

    pub fn allocated(&self, name: &str) -> u64 {
        on_disk(&self.root, name)
    }

    pub fn sync_folder(&self) -> io::Result<()> {
        fs::File::open(&self.root)?.sync_all()
    }

    /// Opens what the files hold for reading only: whatever has to be written to do so (redb marks a
    /// file as in use, and replaying writes) stays in memory. For when the disk takes no writes.
    ///
    /// Shows nothing after `acknowledged`, which may not be on disk.
    pub fn open_shadow(&self, acknowledged: Revision) -> Result<redb::Database, OpenError> {
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
        caught(|| builder.create_with_backend(backend))
            .ok_or_else(|| self.corrupt("its pages make no sense"))?
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
    pub fn identity(&self, database: &redb::Database) -> Result<u64, redb::Error> {
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
        caught(&mut recover)
            .ok_or_else(|| self.corrupt("its pages make no sense"))?
            .map_err(|cause| match cause {
                RecoverError::Io(cause) => self.io("read", &path)(cause),
                RecoverError::Redb(cause) => self.failed(cause),
                cause => self.corrupt(cause),
            })?;
        Ok(journal)
    }

    pub fn io<'a>(
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
    pub fn failed(&self, cause: redb::Error) -> OpenError {
        match cause {
            redb::Error::Io(cause) => {
                self.io("read or write", &self.root.join(DATABASE_FILE))(cause)
            }
            cause => self.corrupt(cause),
        }
    }

    pub fn corrupt(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> OpenError {
        OpenError::Corrupt {
            path: self.root.clone(),
            cause: cause.into(),
        }
    }
}

/// Bytes that a file of the store takes.
pub(super) fn on_disk(root: &Path, name: &str) -> u64 {
    fs::metadata(root.join(name)).map_or(0, |meta| medium::allocated(&meta))
}
