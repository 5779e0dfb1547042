//! What is asked of build targets.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::build::{
    Event, Holder, Location, Mode, Observation, Source, Target, TargetKey, TargetSelector,
    TargetVersion, Token, Ttl, UpdateId, WorkSet,
};
use crate::kv::Revision;
use crate::store::RequestId;

/// An Apply: targets that are declared together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyTargets {
    pub targets: Vec<Target>,
    /// What declares them. Who declares a target last has it.
    pub source: Source,
    /// Forgets all others that the same source declared.
    pub replace_all: bool,
    /// The revision that the graph must have; [`Revision::ZERO`] for none yet.
    pub if_graph_revision: Option<Revision>,
    /// Answers as the Apply would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// A Delete of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteTarget {
    pub target: TargetKey,
    /// The etag that it must have.
    pub if_etag: Option<Revision>,
    /// Answers as the Delete would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// A Transition: what happened to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionTarget {
    pub target: TargetKey,
    pub event: Event,
    /// Of the claim that it happened under.
    pub token: Option<Token>,
    /// The etag that the target must have.
    pub if_etag: Option<Revision>,
    /// Goes on under the claim, which otherwise ends; what has failed always ends it.
    pub keep_claim: bool,
    /// Answers as the Transition would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// A Reset: what of a selection is in error is to be built again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResetTargets {
    pub selector: TargetSelector,
    /// Answers as the Reset would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// An Observe: where targets were found, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObserveTargets {
    pub mode: Mode,
    pub observations: Vec<TargetObservation>,
    /// Answers as the Observe would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// Where one target was found, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetObservation {
    pub target: TargetKey,
    pub seen: Observation,
    /// The etag that the target had when it was looked for.
    pub if_etag: Option<Revision>,
}

/// A Bump: new versions for a target and for all that is built on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BumpTarget {
    pub target: TargetKey,
    /// Why: 1 to [`super::BuildTargets::MAX_REASON`] bytes without NUL.
    pub reason: String,
    /// Of the target itself; the others get the next one.
    pub version: Option<TargetVersion>,
    pub update_id: UpdateId,
    /// Answers as the Bump would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// Which dependents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// Those of one target.
    Of(TargetKey),
    OfSelected(TargetSelector),
}

/// A ClaimNext: the next target that a worker can work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimTarget {
    pub selector: TargetSelector,
    /// What the worker can work on; all where nothing is said. What is below and not among them is waited for.
    pub own: BTreeSet<TargetKey>,
    /// What the worker does.
    pub works: WorkSet,
    /// Which daemon it uses.
    pub location: Location,
    pub holder: Holder,
    pub ttl: Ttl,
    /// So that it gets one claim, however often it asks.
    pub request: Option<RequestId>,
}

/// A Renew of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewTarget {
    pub target: TargetKey,
    pub token: Token,
}

/// A Release of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseTarget {
    pub target: TargetKey,
    pub token: Token,
    /// Nobody is given the target for so long.
    pub retry_after: Option<Duration>,
}

impl ApplyTargets {
    /// Declares these, besides what there is.
    pub fn new(targets: Vec<Target>) -> Self {
        Self {
            targets,
            source: Source::default(),
            replace_all: false,
            if_graph_revision: None,
            validate_only: false,
            request: None,
        }
    }
}

impl DeleteTarget {
    /// Forgets it, whatever it is.
    pub fn new(target: TargetKey) -> Self {
        Self {
            target,
            if_etag: None,
            validate_only: false,
            request: None,
        }
    }
}

impl TransitionTarget {
    /// What happened under no claim.
    pub fn new(target: TargetKey, event: Event) -> Self {
        Self {
            target,
            event,
            token: None,
            if_etag: None,
            keep_claim: false,
            validate_only: false,
            request: None,
        }
    }
}

impl ObserveTargets {
    pub fn new(mode: Mode, observations: Vec<TargetObservation>) -> Self {
        Self {
            mode,
            observations,
            validate_only: false,
            request: None,
        }
    }
}

impl BumpTarget {
    /// To the next version.
    pub fn new(target: TargetKey, reason: impl Into<String>) -> Self {
        Self {
            target,
            reason: reason.into(),
            version: None,
            update_id: UpdateId::default(),
            validate_only: false,
            request: None,
        }
    }
}

impl ReleaseTarget {
    pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
}

impl TargetObservation {
    /// The first target that is there twice.
    pub(super) fn repeated(all: &[Self]) -> Option<usize> {
        let mut seen = BTreeSet::new();
        all.iter().position(|one| !seen.insert(&one.target))
    }
}
