//! Answers about one namespace, as they are written beside what they are about and read back.

use super::Stored;
use super::request::Remembered;
use super::wire::{Outcome, Recorded};
use crate::domain::Namespace;
use crate::kv::Revision;

/// An answer, and which namespace it is about.
pub(super) struct Answered<T> {
    namespace: Namespace,
    value: T,
}

/// An answer that can be written down.
pub(super) trait Answer: Sized {
    /// What is written of it.
    type Record: Into<Recorded> + TryFrom<Recorded>;

    /// Gives what was written its revision.
    fn settle(&mut self, _revision: Revision) {}

    /// Whether anything was written.
    fn has_changed(&self) -> bool {
        true
    }

    /// Whether what it is about is new.
    fn has_created(&self) -> bool {
        false
    }

    fn is_worth_remembering(&self) -> bool {
        true
    }

    /// The answer, and the revision of what it tells; [`Revision::ZERO`] where that is its own.
    fn written(&self) -> Option<(Self::Record, Revision)>;

    fn read(record: Self::Record, recalled: &Recalled) -> Option<Self>;
}

/// What else is known of an answer that was written down.
pub(super) struct Recalled {
    pub namespace: Namespace,
    pub revision: Revision,
    pub changed: bool,
    pub created: bool,
}

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
        let outcome = |(record, revision): (T::Record, Revision)| Outcome {
            stored: Some(Stored {
                namespace: self.namespace.clone(),
                record: record.into(),
                revision,
            }),
            changed: self.value.has_changed(),
            created: self.value.has_created(),
        };
        self.value.written().map(outcome).into_iter().collect()
    }

    fn recall(outcomes: Vec<Outcome>) -> Option<Self> {
        let [outcome]: [Outcome; 1] = outcomes.try_into().ok()?;
        let stored = outcome.stored?;
        let recalled = Recalled {
            namespace: stored.namespace,
            revision: stored.revision,
            changed: outcome.changed,
            created: outcome.created,
        };
        let record = stored.record.try_into().ok()?;
        Some(Self {
            value: T::read(record, &recalled)?,
            namespace: recalled.namespace,
        })
    }
}
