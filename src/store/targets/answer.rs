//! Answers about targets, as they are written beside what they are about and read back.

use std::sync::Arc;

use super::{
    AppliedTargets, BumpedTargets, ClaimedTarget, NextTarget, ObservedTarget, TargetEntry,
    TransitionedTarget,
};
use crate::domain::Namespace;
use crate::domain::build::TargetKey;
use crate::kv::Revision;
use crate::store::request::Remembered;
use crate::store::wire::{Outcome, Recorded, TargetAnswer, TargetRow};
use crate::store::{At, Stored};

/// An answer, and which namespace it is about.
pub struct Answered<T> {
    namespace: Namespace,
    value: T,
}

/// An answer that can be written down.
pub trait Answer: Sized {
    /// Gives what was written its revision.
    fn settle(&mut self, revision: Revision);

    /// Whether anything was written.
    fn has_changed(&self) -> bool {
        true
    }

    fn is_worth_remembering(&self) -> bool {
        true
    }

    /// The answer, and the revision of what it tells; [`Revision::ZERO`] where that is its own.
    fn written(&self) -> Option<(TargetAnswer, Revision)>;

    fn read(answer: TargetAnswer, recalled: &Recalled) -> Option<Self>;
}

/// What else is known of an answer that was written down.
pub struct Recalled {
    namespace: Namespace,
    revision: Revision,
    changed: bool,
}

// === impl Answered ===

impl<T> Answered<T> {
    pub fn new(namespace: &Namespace, value: T) -> Self {
        Self {
            namespace: namespace.clone(),
            value,
        }
    }

    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T: Answer> Remembered for Answered<T> {
    fn settle(&mut self, revision: Revision) {
        self.value.settle(revision);
    }

    fn is_worth_remembering(&self) -> bool {
        self.value.is_worth_remembering()
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |(answer, revision)| Outcome {
            stored: Some(Stored {
                namespace: self.namespace.clone(),
                record: Recorded::Targets(Box::new(answer)),
                revision,
            }),
            changed: self.value.has_changed(),
            created: false,
        };
        self.value.written().map(outcome).into_iter().collect()
    }

    fn recall(mut outcomes: Vec<Outcome>) -> Option<Self> {
        let outcome = outcomes.pop()?;
        let stored = outcome.stored?;
        let Recorded::Targets(answer) = stored.record else {
            return None;
        };
        let recalled = Recalled {
            namespace: stored.namespace,
            revision: stored.revision,
            changed: outcome.changed,
        };
        Some(Self {
            value: T::read(*answer, &recalled)?,
            namespace: recalled.namespace,
        })
    }
}

impl<T> At<T> {
    /// The same of what is made of it.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: make(self.value),
            revision: self.revision,
        }
    }
}

// === impl Answer ===

impl TargetEntry {
    pub(super) fn settle(&mut self, revision: Revision) {
        if self.revision == Revision::ZERO {
            self.revision = revision;
        }
    }

    fn row(&self) -> TargetRow {
        TargetRow {
            target: Arc::clone(&self.target),
            source: self.source.clone(),
            progress: self.progress.clone(),
            updated_at: self.updated_at,
        }
    }
}

impl Answer for AppliedTargets {
    fn settle(&mut self, revision: Revision) {
        if AppliedTargets::has_changed(self) {
            self.graph_revision = revision;
        }
    }

    fn has_changed(&self) -> bool {
        AppliedTargets::has_changed(self)
    }

    fn written(&self) -> Option<(TargetAnswer, Revision)> {
        let Self {
            created,
            updated,
            unchanged,
            deleted,
            graph_revision,
        } = *self;
        let is_kept = !AppliedTargets::has_changed(self);
        let answer = TargetAnswer::Applied {
            created,
            updated,
            unchanged,
            deleted,
            graph_revision: is_kept.then_some(graph_revision),
        };
        Some((answer, Revision::ZERO))
    }

    fn read(answer: TargetAnswer, recalled: &Recalled) -> Option<Self> {
        let TargetAnswer::Applied {
            created,
            updated,
            unchanged,
            deleted,
            graph_revision,
        } = answer
        else {
            return None;
        };
        Some(Self {
            created,
            updated,
            unchanged,
            deleted,
            graph_revision: graph_revision.unwrap_or(recalled.revision),
        })
    }
}

/// A target that was forgotten.
impl Answer for TargetEntry {
    fn settle(&mut self, revision: Revision) {
        TargetEntry::settle(self, revision);
    }

    fn written(&self) -> Option<(TargetAnswer, Revision)> {
        let answer = TargetAnswer::Told {
            row: self.row(),
            claim: self.claim.clone(),
        };
        Some((answer, self.revision))
    }

    fn read(answer: TargetAnswer, recalled: &Recalled) -> Option<Self> {
        let TargetAnswer::Told { row, claim } = answer else {
            return None;
        };
        Some(Self::of(&recalled.namespace, row, claim, recalled.revision))
    }
}

impl Answer for TransitionedTarget {
    fn settle(&mut self, revision: Revision) {
        self.entry.settle(revision);
    }

    fn has_changed(&self) -> bool {
        self.changed
    }

    fn written(&self) -> Option<(TargetAnswer, Revision)> {
        self.entry.written()
    }

    fn read(answer: TargetAnswer, recalled: &Recalled) -> Option<Self> {
        Some(Self {
            entry: TargetEntry::read(answer, recalled)?,
            changed: recalled.changed,
        })
    }
}

impl Answer for Vec<TargetKey> {
    fn settle(&mut self, _revision: Revision) {}

    fn written(&self) -> Option<(TargetAnswer, Revision)> {
        Some((TargetAnswer::Reset(self.clone()), Revision::ZERO))
    }

    fn read(answer: TargetAnswer, _recalled: &Recalled) -> Option<Self> {
        match answer {
            TargetAnswer::Reset(keys) => Some(keys),
            _ => None,
        }
    }
}

impl Answer for Vec<ObservedTarget> {
    fn settle(&mut self, _revision: Revision) {}

    fn written(&self) -> Option<(TargetAnswer, Revision)> {
        Some((TargetAnswer::Observed(self.clone()), Revision::ZERO))
    }

    fn read(answer: TargetAnswer, _recalled: &Recalled) -> Option<Self> {
        match answer {
            TargetAnswer::Observed(observed) => Some(observed),
            _ => None,
        }
    }
}

impl Answer for BumpedTargets {
    fn settle(&mut self, revision: Revision) {
        self.graph_revision = revision;
    }

    fn written(&self) -> Option<(TargetAnswer, Revision)> {
        let answer = TargetAnswer::Bumped {
            reason: self.reason.clone(),
            bumped: self.bumped.clone(),
        };
        Some((answer, Revision::ZERO))
    }

    fn read(answer: TargetAnswer, recalled: &Recalled) -> Option<Self> {
        match answer {
            TargetAnswer::Bumped { reason, bumped } => Some(Self {
                reason,
                bumped,
                graph_revision: recalled.revision,
            }),
            _ => None,
        }
    }
}

/// Only a claim is remembered: who finds nothing to do asks again.
impl Answer for NextTarget {
    fn settle(&mut self, revision: Revision) {
        match self {
            Self::Claimed(claimed) => claimed.entry.settle(revision),
            Self::Idle(_) => {}
        }
    }

    fn is_worth_remembering(&self) -> bool {
        matches!(self, Self::Claimed(_))
    }

    fn written(&self) -> Option<(TargetAnswer, Revision)> {
        let Self::Claimed(claimed) = self else {
            return None;
        };
        let answer = TargetAnswer::Claimed {
            row: claimed.entry.row(),
            claim: claimed.entry.claim.clone(),
            dependencies: claimed.dependencies.clone(),
            work: claimed.work,
        };
        Some((answer, claimed.entry.revision))
    }

    fn read(answer: TargetAnswer, recalled: &Recalled) -> Option<Self> {
        let TargetAnswer::Claimed {
            row,
            claim,
            dependencies,
            work,
        } = answer
        else {
            return None;
        };
        Some(Self::Claimed(Box::new(ClaimedTarget {
            entry: TargetEntry::of(&recalled.namespace, row, claim, recalled.revision),
            dependencies,
            work,
        })))
    }
}
