//! What can go wrong, in the store's own terms. Knows no protocol.

use std::fmt;
use std::sync::Arc;

use crate::domain::build::{
    BuilderKey, BumpRefused, ClaimRefused, GraphError, IllegalEvent, TargetKey,
};
use crate::domain::{ConfigId, Contents};
use crate::domain::{Digest, ImageName, Invalid, LeaseId, Namespace};
use crate::kv::{CommitError, CompactError, OpenError, ReadError, Revision};

/// Why a call failed. Only [`Error::OutcomeUnknown`] leaves open whether something was written; after
/// any other error nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller sent what cannot be.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// There is no such thing.
    #[error("{0}: not found")]
    NotFound(Subject),
    /// It must not exist, and it does.
    #[error("{0}: already exists")]
    Exists(Subject),
    /// It is not the version that the caller expects.
    #[error("{subject} is at etag {current}, not {expected}; read it again and decide anew")]
    EtagMismatch {
        subject: Subject,
        expected: Revision,
        current: Revision,
    },
    /// Its target is not what the caller expects.
    #[error("{subject} points to {current}, not {expected}; read it again and decide anew")]
    TargetMismatch {
        subject: Subject,
        expected: Box<Digest>,
        current: Box<Digest>,
    },
    /// A namespace that still holds something cannot go unless forced.
    #[error("{namespace} still holds {contents}; remove them first, or force it")]
    NotEmpty {
        namespace: Namespace,
        contents: Contents,
    },
    /// Several configs are meant by one text.
    #[error(
        "{reference} in namespace {namespace} may stand for {}{}; say more of it, or which platform",
        listed(.candidates),
        if *.has_more { " or others" } else { "" }
    )]
    Ambiguous {
        namespace: Namespace,
        reference: String,
        /// Some of them, by id.
        candidates: Vec<ConfigId>,
        has_more: bool,
    },
    /// It may go only without children, and it has some.
    #[error("{0} has children; remove them first, or delete it whatever it has")]
    HasChildren(Subject),
    /// A config has no more targets than so many.
    #[error("{config} cannot have more: a config has at most {limit} targets; unlink some")]
    ConfigFull { config: Subject, limit: usize },
    /// A target has no more configs than so many.
    #[error(
        "{target} in namespace {namespace} cannot have more: a target has at most {limit} configs; unlink some"
    )]
    TargetFull {
        namespace: Namespace,
        target: Box<Digest>,
        limit: usize,
    },
    /// What a change depends on is more than it may read.
    #[error("the change reads {size} bytes, more than the {limit} that one write may read")]
    ReadsTooMuch { size: usize, limit: usize },
    /// Somebody else has the claim that this needs, or nobody has it any more.
    #[error("{subject}: {refused}")]
    Claim {
        subject: Subject,
        #[source]
        refused: ClaimRefused,
    },
    /// It cannot happen to a build target as it is.
    #[error("{subject}: {illegal}")]
    IllegalTransition {
        subject: Subject,
        #[source]
        illegal: IllegalEvent,
    },
    /// Build targets that make no graph.
    #[error("targets: {0}")]
    Graph(#[from] Box<GraphError>),
    /// The graph of the build targets is not the one that the caller knows.
    #[error(
        "the targets of namespace {namespace} are at graph revision {current}, not {expected}; read them again and decide anew"
    )]
    GraphChanged {
        namespace: Namespace,
        expected: Revision,
        current: Revision,
    },
    /// Others are built on it.
    #[error("{subject} is what others are built on: {}{}", keys(.dependents), if *.has_more { " and more" } else { "" })]
    HasDependents {
        subject: Subject,
        /// The first of them.
        dependents: Vec<TargetKey>,
        has_more: bool,
    },
    /// Build targets that cannot have the next version.
    #[error("{0}")]
    NotBumpable(#[from] BumpRefused),
    /// A builder that somebody makes an image for, or whose image somebody uses.
    #[error("{0} is in use; wait until it is not, or force it")]
    InUse(Subject),
    /// A builder has no more than so much.
    #[error("{builder} cannot have more: a builder has at most {limit} {what}; prune it")]
    BuilderFull {
        builder: Subject,
        what: &'static str,
        limit: usize,
    },
    /// A lease holds no more than so much.
    #[error("{lease} cannot hold more: a lease holds at most {limit} {what}; make another one")]
    LeaseFull {
        lease: Subject,
        what: &'static str,
        limit: u32,
    },
    /// A revision of another store, or of a future that was undone by a restore.
    #[error("revision {asked} is not of this store, which is at {newest}")]
    UnknownRevision { asked: Revision, newest: Revision },
    /// The changes that the caller asks for have been trimmed.
    #[error("changes before revision {oldest} have been trimmed; start again from a listing")]
    Compacted { oldest: Revision },
    /// What a name was then is not kept any more.
    #[error(
        "{subject}: what it was at revision {asked} is no longer kept; what it was since revision \
         {oldest} is"
    )]
    HistoryTrimmed {
        subject: Subject,
        asked: Revision,
        oldest: Revision,
    },
    /// One of several writes that are done together could not be; none of them was.
    #[error("item {index}: {cause}")]
    Item {
        index: usize,
        #[source]
        cause: Box<Error>,
    },
    /// A snapshot was open for so long that it was given up.
    #[error("the snapshot was open for {minutes} minutes and has been given up; start again")]
    SnapshotExpired { minutes: u64 },
    /// Too many long reads at once.
    #[error("{limit} long reads are under way, which is the limit; try again when one has ended")]
    TooManySnapshots { limit: usize },
    /// Others kept changing what this write depends on.
    #[error("others keep changing what this write depends on; it was given up after {tries} tries")]
    Contended { tries: u32 },
    /// The change is larger than the engine takes at once.
    #[error("the change has {size} {what}, more than the {limit} that one write may have")]
    TooLarge {
        what: &'static str,
        size: usize,
        limit: usize,
    },
    /// The disk is nearly full; what frees space still works.
    #[error("only {free} bytes are free on the disk, less than {least}; delete something first")]
    DiskFull { free: u64, least: u64 },
    /// No space was given back, and the file is as it was.
    #[error("{0}")]
    NotCompacted(#[source] CompactError),
    /// The storage refuses writes until it is opened again.
    #[error("writes have stopped: {0}")]
    Stopped(Arc<str>),
    /// The store was closed, or is being closed.
    #[error("the store is closed")]
    Closed,
    /// A watch ends because the store is about to be closed.
    #[error("the store is going away; watch again after the last revision that came")]
    GoingAway,
    /// The write may have happened or not.
    #[error("it is not known whether the write happened ({0}); read to find out")]
    OutcomeUnknown(Arc<str>),
    /// The storage cannot be read now.
    #[error("the storage cannot be read")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// What is stored makes no sense.
    #[error("the store is corrupt: {0}")]
    Corrupt(Arc<str>),
    /// The store was written by a newer release.
    #[error(
        "the store has schema version {found}, and this release knows up to {known}; \
         use the release that wrote it, or a later one"
    )]
    SchemaTooNew { found: u32, known: u32 },
    /// The store would not open.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Image(Namespace, ImageName),
    Namespace(Namespace),
    /// A generation of an image in history; without a revision, the newest.
    Generation(Namespace, ImageName, Option<Revision>),
    Lease(Namespace, LeaseId),
    /// A config, as the caller calls it.
    Config(Namespace, String),
    Builder(Namespace, Box<BuilderKey>),
    /// A build target, by `NAME@VERSION` or by what else the caller calls it.
    Target(Namespace, String),
}

impl Error {
    pub(crate) fn corrupt(what: impl Into<Arc<str>>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl Subject {
    /// `image`, `namespace`, `generation`, `lease`, `config`, `builder`, `target`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Image(..) => "image",
            Self::Namespace(_) => "namespace",
            Self::Generation(..) => "generation",
            Self::Lease(..) => "lease",
            Self::Config(..) => "config",
            Self::Builder(..) => "builder",
            Self::Target(..) => "target",
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Image(_, name) | Self::Generation(_, name, _) => name.as_str(),
            Self::Namespace(name) => name.as_str(),
            Self::Lease(_, id) => id.as_str(),
            Self::Config(_, reference) => reference,
            Self::Builder(_, key) => key.base().as_str(),
            Self::Target(_, key) => key,
        }
    }

    pub fn namespace(&self) -> &Namespace {
        match self {
            Self::Image(namespace, _)
            | Self::Namespace(namespace)
            | Self::Generation(namespace, ..)
            | Self::Lease(namespace, _)
            | Self::Config(namespace, _)
            | Self::Builder(namespace, _)
            | Self::Target(namespace, _) => namespace,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(namespace, name) => write!(f, "image {name} in namespace {namespace}"),
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Lease(namespace, id) => write!(f, "lease {id} in namespace {namespace}"),
            Self::Config(namespace, reference) => {
                write!(f, "config {reference} in namespace {namespace}")
            }
            Self::Builder(namespace, key) => write!(f, "builder {key} in namespace {namespace}"),
            Self::Target(namespace, key) => {
                write!(f, "build target {key} in namespace {namespace}")
            }
            Self::Generation(namespace, name, Some(made)) => {
                write!(
                    f,
                    "generation {made} of image {name} in namespace {namespace}"
                )
            }
            Self::Generation(namespace, name, None) => {
                write!(
                    f,
                    "an older generation of image {name} in namespace {namespace}"
                )
            }
        }
    }
}

fn keys(keys: &[TargetKey]) -> String {
    let keys: Vec<String> = keys.iter().map(TargetKey::to_string).collect();
    keys.join(", ")
}

/// `a or b or c`.
fn listed(ids: &[ConfigId]) -> String {
    let ids: Vec<String> = ids.iter().map(ConfigId::to_string).collect();
    ids.join(" or ")
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { oldest } => Self::Compacted { oldest },
            ReadError::Unavailable(cause) => Self::Unavailable(cause),
            ReadError::Corrupt(what) => Self::Corrupt(what),
        }
    }
}

impl From<CompactError> for Error {
    fn from(error: CompactError) -> Self {
        match error {
            CompactError::Full { free, least } => Self::DiskFull { free, least },
            CompactError::Stopped(why) => Self::Stopped(why),
            CompactError::Closed => Self::Closed,
            CompactError::UnderWay | CompactError::Overtaken { .. } | CompactError::Failed(_) => {
                Self::NotCompacted(error)
            }
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            // The store's loop takes broken guards; one that slips through is a lost race.
            CommitError::Broken(_) => Self::Contended { tries: 1 },
            CommitError::TooLarge { what, size, limit } => Self::TooLarge { what, size, limit },
            CommitError::Full { free, least } => Self::DiskFull { free, least },
            CommitError::Stopped(why) => Self::Stopped(why),
            CommitError::Closed => Self::Closed,
            CommitError::OutcomeUnknown(why) => Self::OutcomeUnknown(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn why_nothing_was_compacted_is_the_cause() {
        let error = Error::from(CompactError::Overtaken { limit: 7 });
        let cause = error.source().and_then(|cause| cause.downcast_ref());
        assert!(matches!(cause, Some(CompactError::Overtaken { limit: 7 })));
    }
}
