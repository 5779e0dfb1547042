//! The calls on build targets: what is to be built, on what, and who is at it.

mod answer;
mod apply;
mod bump;
mod claim;
mod delete;
mod hold;
mod load;
mod observe;
mod plan;
mod read;
mod request;
mod reset;
mod rows;
mod transition;

use std::collections::HashMap;
use std::sync::Arc;

pub(super) use self::load::Graphs;
pub use self::request::{
    ApplyTargets, BumpTarget, ClaimTarget, DeleteTarget, Dependents, ObserveTargets, ReleaseTarget,
    RenewTarget, ResetTargets, TargetObservation, TransitionTarget,
};
pub(super) use self::rows::SeenTarget;
use super::Store;
use crate::domain::build::{
    Blocked, Claim, Holder, Label, Progress, Source, State, Target, TargetKey, TargetVersion,
    Waiting, Work,
};
use crate::domain::{Digest, Namespace, Timestamp};
use crate::kv::Revision;

/// The calls on build targets; from [`Store::build_targets`].
#[derive(Clone, Copy)]
pub struct BuildTargets<'a> {
    pub(super) store: &'a Store,
}

/// A build target, and what became of it so far. Times are those of the steady clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetEntry {
    pub namespace: Namespace,
    pub target: Arc<Target>,
    pub source: Source,
    pub progress: Progress,
    pub updated_at: Timestamp,
    /// Who is at it.
    pub claim: Option<Claim>,
    /// The revision that last wrote it, and its etag. [`Revision::ZERO`] for one that a `validate_only` call would have
    /// written.
    pub revision: Revision,
}

/// What an Apply did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppliedTargets {
    pub created: u32,
    /// Those that are there and declared otherwise now.
    pub updated: u32,
    pub unchanged: u32,
    pub deleted: u32,
    /// [`Revision::ZERO`] where there is no graph yet.
    pub graph_revision: Revision,
}

/// What a Transition did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionedTarget {
    pub entry: TargetEntry,
    /// False where the event says what was so already.
    pub changed: bool,
}

/// What an observation made of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedTarget {
    pub target: TargetKey,
    /// Its state afterwards; `None` where it was not found.
    pub state: Option<State>,
    pub kind: ObservedKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedKind {
    Changed,
    Unchanged,
    /// What could not be asked makes a difference: it could be any of these.
    Undecided(Vec<State>),
    /// Somebody is at it: what that one tells counts.
    Claimed,
    /// Why it is not believed.
    Refused(String),
    NotFound,
    /// It has changed since it was looked for.
    Outdated,
}

/// The targets that get new versions, in an order in which they can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BumpedTargets {
    /// Why the first of them does.
    pub reason: String,
    pub bumped: Vec<BumpedTarget>,
    pub graph_revision: Revision,
}

/// A target that gets a new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BumpedTarget {
    /// The old one.
    pub target: TargetKey,
    /// The new version, and the new label.
    pub version: TargetVersion,
    pub label: Label,
    /// What it is built on and gets a new version too; `None` for the one that was asked for.
    pub because: Option<TargetKey>,
}

/// What can be learnt from the graph of a namespace's targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfGraph<T> {
    pub value: T,
    /// [`Revision::ZERO`] where there is no graph yet.
    pub graph_revision: Revision,
}

/// What a ClaimNext found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextTarget {
    Claimed(Box<ClaimedTarget>),
    Idle(Box<IdleTargets>),
}

/// A target that the caller holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedTarget {
    /// With the claim.
    pub entry: TargetEntry,
    /// The targets that it is built on.
    pub dependencies: Vec<DependencyLabel>,
    /// What is to be done first.
    pub work: Work,
}

/// What a dependency is called now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependencyLabel {
    pub target: TargetKey,
    pub label: Label,
    /// Of what is published, or else of what was built.
    pub digest: Option<Digest>,
}

/// Why there is nothing to claim. Nothing is left where all counts are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleTargets {
    pub running: Counted<RunningTarget>,
    pub waiting: Counted<Waiting>,
    pub blocked: Counted<Blocked>,
    /// When a claim ends or a time comes; `None` where nothing will happen by itself.
    pub retry_at: Option<Timestamp>,
    /// What the steady clock shows.
    pub now: Timestamp,
}

/// A target that somebody is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningTarget {
    pub target: TargetKey,
    pub holder: Holder,
    pub deadline: Timestamp,
}

/// How many, and the first [`BuildTargets::MAX_NAMED`] of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted<T> {
    pub count: u32,
    pub first: Vec<T>,
}

// === impl BuildTargets ===

impl BuildTargets<'_> {
    /// Of what there may be many, so many are named.
    pub const MAX_NAMED: usize = 10;

    /// Targets that one Reset takes back at most.
    pub const MAX_RESET: usize = 10_000;

    /// Observations that one Observe has at most.
    pub const MAX_OBSERVED: usize = 1000;

    /// Names that one Resolve has at most.
    pub const MAX_RESOLVED: usize = 1000;

    /// Bytes that the reason of a Bump has at most.
    pub const MAX_REASON: usize = 64 << 10;

    /// Bytes that a text of what failed has at most.
    pub const MAX_ERROR: usize = 4096;

    /// Bytes that the records of a namespace's targets take at most.
    pub const MAX_BYTES: usize = 64 << 20;
}

// === impl BumpedTargets ===

impl BumpedTargets {
    /// Why each gets a new version, in words for its changelog: of what is built on another one, a line that says on
    /// which, and then the reason of that.
    pub fn reasons(&self) -> impl Iterator<Item = String> {
        let versions: HashMap<&TargetKey, &TargetVersion> = self
            .bumped
            .iter()
            .map(|one| (&one.target, &one.version))
            .collect();
        self.bumped.iter().map(move |one| match &one.because {
            None => self.reason.clone(),
            Some(below) => {
                let version = versions.get(below).copied().unwrap_or(&below.version);
                format!("Built again on {}:{version}:\n{}", below.name, self.reason)
            }
        })
    }
}

// === impl Counted ===

impl<T> Counted<T> {
    fn of(all: Vec<T>) -> Self {
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let mut first = all;
        first.truncate(BuildTargets::MAX_NAMED);
        Self { count, first }
    }
}
