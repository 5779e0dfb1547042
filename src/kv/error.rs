//! What can go wrong in an engine, an enum for each thing one asks of it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Revision;

/// Why an engine would not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the store at {} is in use by {}; stop it, or give another --root",
        path.display(),
        holder.as_deref().unwrap_or("another process")
    )]
    Locked {
        path: PathBuf,
        /// Who has it open, where that can be read.
        holder: Option<String>,
    },
    #[error("{} is damaged or not a store of this kind; restore it from a backup", path.display())]
    Corrupt {
        path: PathBuf,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "{} has {} in it; give an empty folder, or one that is not there",
        path.display(),
        found.display()
    )]
    NotEmpty {
        path: PathBuf,
        found: std::ffi::OsString,
    },
    #[error("cannot {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Why a read had no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    #[error("changes up to revision {oldest} have been trimmed", oldest = oldest.0.saturating_sub(1))]
    Compacted {
        /// The oldest revision whose change is still there.
        oldest: Revision,
    },
    #[error("the storage cannot be read")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    #[error("the storage is corrupt: {0}")]
    Corrupt(Arc<str>),
}

/// Why a batch was not applied, or may not have been.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    #[error("guard {0} of the batch no longer holds")]
    Broken(usize),
    #[error("the batch has {size} {what}, more than {limit}")]
    TooLarge {
        what: &'static str,
        size: usize,
        limit: usize,
    },
    #[error("only {free} bytes are free on the disk, less than {least}; delete something")]
    Full { free: u64, least: u64 },
    #[error("writes have stopped: {0}")]
    Stopped(Arc<str>),
    #[error("the outcome of the write is unknown: {0}")]
    OutcomeUnknown(Arc<str>),
    #[error("the engine is closed")]
    Closed,
}

/// Why no space was given back. The store is as it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompactError {
    #[error("the store is being compacted already; wait for it to end")]
    UnderWay,
    #[error("more than {limit} bytes were written meanwhile; compact when less is written")]
    Overtaken { limit: usize },
    #[error(
        "only {free} bytes are left on the disk for a copy, less than {least}; free some space"
    )]
    Full { free: u64, least: u64 },
    #[error("the copy could not be made: {0}")]
    Failed(Arc<str>),
    #[error("writes have stopped: {0}")]
    Stopped(Arc<str>),
    #[error("the engine is closed")]
    Closed,
}

impl ReadError {
    pub(crate) fn corrupt(what: impl Into<Arc<str>>) -> Self {
        Self::Corrupt(what.into())
    }
}
