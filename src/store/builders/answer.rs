//! Answers about builders, as they are written beside what they are about and read back.

use super::rows::Standing;
use super::{Acquired, Acquisition, BuilderPut, Completed, Reported, StoredBuilder};
use crate::domain::Timestamp;
use crate::domain::build::BuilderKey;
use crate::kv::Revision;
use crate::store::answered::{Answer, Answered, Recalled};
use crate::store::wire::{BuilderAnswer, BuilderOutcome, Recorded};

/// What is told of a builder, and of which.
pub struct About<T> {
    builder: BuilderKey,
    told: T,
}

impl<T> About<T> {
    pub fn answered(seen: &Standing, told: T) -> Answered<Self> {
        let builder = seen.key.clone();
        Answered::new(&seen.namespace, Self { builder, told })
    }

    pub fn told(answered: Answered<Self>) -> T {
        answered.into_value().told
    }

    fn outcome(&self, answer: BuilderAnswer) -> Option<(BuilderOutcome, Revision)> {
        let builder = self.builder.clone();
        Some((BuilderOutcome { builder, answer }, Revision::ZERO))
    }
}

impl From<BuilderOutcome> for Recorded {
    fn from(outcome: BuilderOutcome) -> Self {
        Self::Builder(Box::new(outcome))
    }
}

impl TryFrom<Recorded> for BuilderOutcome {
    type Error = ();

    fn try_from(recorded: Recorded) -> Result<Self, ()> {
        match recorded {
            Recorded::Builder(outcome) => Ok(*outcome),
            _ => Err(()),
        }
    }
}

impl Answer for BuilderPut {
    type Record = BuilderOutcome;

    fn settle(&mut self, revision: Revision) {
        if self.entry.revision == Revision::ZERO {
            self.entry.revision = revision;
        }
    }

    fn has_changed(&self) -> bool {
        self.changed
    }

    fn has_created(&self) -> bool {
        self.created
    }

    fn written(&self) -> Option<(BuilderOutcome, Revision)> {
        let state = StoredBuilder {
            entry: self.entry.clone(),
            generations: Vec::new(),
            pins: Vec::new(),
        };
        state.written()
    }

    fn read(outcome: BuilderOutcome, recalled: &Recalled) -> Option<Self> {
        Some(Self {
            entry: StoredBuilder::read(outcome, recalled)?.entry,
            changed: recalled.changed,
            created: recalled.created,
        })
    }
}

/// A builder as it was when it was removed.
impl Answer for StoredBuilder {
    type Record = BuilderOutcome;

    fn written(&self) -> Option<(BuilderOutcome, Revision)> {
        let outcome = BuilderOutcome {
            builder: self.entry.key.clone(),
            answer: BuilderAnswer::State(Box::new(self.clone())),
        };
        Some((outcome, self.entry.revision))
    }

    fn read(outcome: BuilderOutcome, _recalled: &Recalled) -> Option<Self> {
        match outcome.answer {
            BuilderAnswer::State(state) => Some(*state),
            _ => None,
        }
    }
}

impl Answer for About<Acquired> {
    type Record = BuilderOutcome;

    /// Only who was given something may have it again.
    fn is_worth_remembering(&self) -> bool {
        match &self.told.decision {
            Acquisition::Use { pin, .. } | Acquisition::Busy { pin, .. } => pin.is_some(),
            Acquisition::Build { claim, .. } => claim.is_some(),
        }
    }

    fn written(&self) -> Option<(BuilderOutcome, Revision)> {
        self.outcome(BuilderAnswer::Acquired(self.told.clone()))
    }

    fn read(outcome: BuilderOutcome, _recalled: &Recalled) -> Option<Self> {
        let BuilderOutcome { builder, answer } = outcome;
        match answer {
            BuilderAnswer::Acquired(told) => Some(Self { builder, told }),
            _ => None,
        }
    }
}

impl Answer for About<Completed> {
    type Record = BuilderOutcome;

    fn written(&self) -> Option<(BuilderOutcome, Revision)> {
        self.outcome(BuilderAnswer::Completed(self.told.clone()))
    }

    fn read(outcome: BuilderOutcome, _recalled: &Recalled) -> Option<Self> {
        let BuilderOutcome { builder, answer } = outcome;
        match answer {
            BuilderAnswer::Completed(told) => Some(Self { builder, told }),
            _ => None,
        }
    }
}

/// When somebody may build again, after one gave up.
impl Answer for About<Option<Timestamp>> {
    type Record = BuilderOutcome;

    fn written(&self) -> Option<(BuilderOutcome, Revision)> {
        self.outcome(BuilderAnswer::Abandoned(self.told))
    }

    fn read(outcome: BuilderOutcome, _recalled: &Recalled) -> Option<Self> {
        let BuilderOutcome { builder, answer } = outcome;
        match answer {
            BuilderAnswer::Abandoned(told) => Some(Self { builder, told }),
            _ => None,
        }
    }
}

impl Answer for About<Reported> {
    type Record = BuilderOutcome;

    fn has_changed(&self) -> bool {
        self.told.changed
    }

    fn written(&self) -> Option<(BuilderOutcome, Revision)> {
        self.outcome(BuilderAnswer::Reported(self.told.effects.clone()))
    }

    fn read(outcome: BuilderOutcome, recalled: &Recalled) -> Option<Self> {
        let BuilderOutcome { builder, answer } = outcome;
        let changed = recalled.changed;
        match answer {
            BuilderAnswer::Reported(effects) => Some(Self {
                builder,
                told: Reported { effects, changed },
            }),
            _ => None,
        }
    }
}
