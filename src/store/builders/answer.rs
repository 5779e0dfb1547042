//! Answers about builders, as they are written beside them and read back.

use super::acquire::AcquireAnswer;
use super::change::ReportAnswer;
use super::claim::{AbandonAnswer, CompleteAnswer};
use super::{Acquisition, BuilderPut, Reported, StoredBuilder};
use crate::domain::Namespace;
use crate::domain::build::BuilderKey;
use crate::kv::Revision;
use crate::store::Stored;
use crate::store::request::Remembered;
use crate::store::wire::{BuilderAnswer, BuilderOutcome, Outcome, Recorded};

/// A builder as it was when it was removed.
pub struct Deleted(pub StoredBuilder);

/// An answer as it is written.
fn written(
    namespace: &Namespace,
    builder: &BuilderKey,
    revision: Revision,
    answer: BuilderAnswer,
) -> Outcome {
    let outcome = BuilderOutcome {
        builder: builder.clone(),
        answer,
    };
    Outcome {
        stored: Some(Stored {
            namespace: namespace.clone(),
            record: Recorded::Builder(Box::new(outcome)),
            revision,
        }),
        changed: true,
        created: false,
    }
}

/// The answer that was written, and what it was about.
fn read(outcomes: Vec<Outcome>) -> Option<(Namespace, BuilderOutcome, Outcome)> {
    let [outcome]: [Outcome; 1] = outcomes.try_into().ok()?;
    let stored = outcome.stored.clone()?;
    let Recorded::Builder(builder) = stored.record else {
        return None;
    };
    Some((stored.namespace, *builder, outcome))
}

impl Remembered for BuilderPut {
    fn settle(&mut self, revision: Revision) {
        if self.entry.revision == Revision::ZERO {
            self.entry.revision = revision;
        }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let entry = &self.entry;
        let state = StoredBuilder {
            entry: entry.clone(),
            generations: Vec::new(),
            pins: Vec::new(),
        };
        let answer = BuilderAnswer::State(Box::new(state));
        vec![Outcome {
            changed: self.changed,
            created: self.created,
            ..written(&entry.namespace, &entry.key, entry.revision, answer)
        }]
    }

    fn recall(outcomes: Vec<Outcome>) -> Option<Self> {
        let (_, builder, outcome) = read(outcomes)?;
        let BuilderAnswer::State(state) = builder.answer else {
            return None;
        };
        Some(Self {
            entry: state.entry,
            changed: outcome.changed,
            created: outcome.created,
        })
    }
}

impl Remembered for Deleted {
    fn settle(&mut self, _revision: Revision) {}

    fn outcomes(&self) -> Vec<Outcome> {
        let entry = &self.0.entry;
        let answer = BuilderAnswer::State(Box::new(self.0.clone()));
        vec![written(
            &entry.namespace,
            &entry.key,
            entry.revision,
            answer,
        )]
    }

    fn recall(outcomes: Vec<Outcome>) -> Option<Self> {
        let (_, builder, _) = read(outcomes)?;
        match builder.answer {
            BuilderAnswer::State(state) => Some(Self(*state)),
            _ => None,
        }
    }
}

impl Remembered for AcquireAnswer {
    fn settle(&mut self, _revision: Revision) {}

    /// Only who was given something may have it again.
    fn is_worth_remembering(&self) -> bool {
        match &self.acquired.decision {
            Acquisition::Use { pin, .. } | Acquisition::Busy { pin, .. } => pin.is_some(),
            Acquisition::Build { claim, .. } => claim.is_some(),
        }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let answer = BuilderAnswer::Acquired(self.acquired.clone());
        vec![written(
            &self.namespace,
            &self.builder,
            Revision::ZERO,
            answer,
        )]
    }

    fn recall(outcomes: Vec<Outcome>) -> Option<Self> {
        let (namespace, outcome, _) = read(outcomes)?;
        let BuilderAnswer::Acquired(acquired) = outcome.answer else {
            return None;
        };
        Some(Self {
            namespace,
            builder: outcome.builder,
            acquired,
        })
    }
}

impl Remembered for CompleteAnswer {
    fn settle(&mut self, _revision: Revision) {}

    fn outcomes(&self) -> Vec<Outcome> {
        let answer = BuilderAnswer::Completed(self.completed.clone());
        vec![written(
            &self.namespace,
            &self.builder,
            Revision::ZERO,
            answer,
        )]
    }

    fn recall(outcomes: Vec<Outcome>) -> Option<Self> {
        let (namespace, outcome, _) = read(outcomes)?;
        let BuilderAnswer::Completed(completed) = outcome.answer else {
            return None;
        };
        Some(Self {
            namespace,
            builder: outcome.builder,
            completed,
        })
    }
}

impl Remembered for AbandonAnswer {
    fn settle(&mut self, _revision: Revision) {}

    fn outcomes(&self) -> Vec<Outcome> {
        let answer = BuilderAnswer::Abandoned(self.retry_at);
        vec![written(
            &self.namespace,
            &self.builder,
            Revision::ZERO,
            answer,
        )]
    }

    fn recall(outcomes: Vec<Outcome>) -> Option<Self> {
        let (namespace, outcome, _) = read(outcomes)?;
        let BuilderAnswer::Abandoned(retry_at) = outcome.answer else {
            return None;
        };
        Some(Self {
            namespace,
            builder: outcome.builder,
            retry_at,
        })
    }
}

impl Remembered for ReportAnswer {
    fn settle(&mut self, _revision: Revision) {}

    fn outcomes(&self) -> Vec<Outcome> {
        let answer = BuilderAnswer::Reported(self.reported.effects.clone());
        vec![Outcome {
            changed: self.reported.changed,
            ..written(&self.namespace, &self.builder, Revision::ZERO, answer)
        }]
    }

    fn recall(outcomes: Vec<Outcome>) -> Option<Self> {
        let (namespace, builder, outcome) = read(outcomes)?;
        let BuilderAnswer::Reported(effects) = builder.answer else {
            return None;
        };
        Some(Self {
            namespace,
            builder: builder.builder,
            reported: Reported {
                effects,
                changed: outcome.changed,
            },
        })
    }
}
