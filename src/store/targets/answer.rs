//! Answers about targets, as they are written beside what they are about and read back.

use std::sync::Arc;

use super::{
    AppliedTargets, BumpedTargets, ClaimedTarget, NextTarget, ObservedTarget, TargetEntry,
    TransitionedTarget,
};
use crate::domain::build::TargetKey;
use crate::kv::Revision;
use crate::store::answered::{Answer, Recalled};
use crate::store::wire::{Recorded, TargetAnswer, TargetRow};

impl From<TargetAnswer> for Recorded {
    fn from(answer: TargetAnswer) -> Self {
        Self::Targets(Box::new(answer))
    }
}

impl TryFrom<Recorded> for TargetAnswer {
    type Error = ();

    fn try_from(recorded: Recorded) -> Result<Self, ()> {
        match recorded {
            Recorded::Targets(answer) => Ok(*answer),
            _ => Err(()),
        }
    }
}

impl TargetEntry {
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
    type Record = TargetAnswer;

    fn settle(&mut self, revision: Revision) {
        if self.has_changed() {
            self.graph_revision = revision;
        }
    }

    fn has_changed(&self) -> bool {
        self.created + self.updated + self.deleted > 0
    }

    fn written(&self) -> Option<(TargetAnswer, Revision)> {
        let Self {
            created,
            updated,
            unchanged,
            deleted,
            graph_revision,
        } = *self;
        let is_kept = !self.has_changed();
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
    type Record = TargetAnswer;

    fn settle(&mut self, revision: Revision) {
        if self.revision == Revision::ZERO {
            self.revision = revision;
        }
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
    type Record = TargetAnswer;

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
    type Record = TargetAnswer;

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
    type Record = TargetAnswer;

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
    type Record = TargetAnswer;

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
    type Record = TargetAnswer;

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
