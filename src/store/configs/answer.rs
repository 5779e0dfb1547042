//! Answers that tell of a config, as they are written beside it and read back.

use super::ConfigEntry;
use super::create::Created;
use crate::domain::Digest;
use crate::kv::Revision;
use crate::store::Stored;
use crate::store::request::Remembered;
use crate::store::wire::{ConfigOutcome, ConfigState, Outcome, Recorded};

impl Remembered for Created {
    fn settle(&mut self, revision: Revision) {
        self.entry.settle(revision);
    }

    fn outcomes(&self) -> Vec<Outcome> {
        vec![Outcome {
            stored: Some(self.entry.remembered(self.targets.clone())),
            changed: self.changed,
            created: self.created,
        }]
    }

    fn recall(mut outcomes: Vec<Outcome>) -> Option<Self> {
        let outcome = outcomes.pop()?;
        let (entry, targets) = ConfigEntry::recalled(outcome.stored?)?;
        Some(Self {
            entry,
            targets,
            created: outcome.created,
            changed: outcome.changed,
        })
    }
}

// === impl ConfigEntry ===

impl ConfigEntry {
    pub(super) fn settle(&mut self, revision: Revision) {
        if self.revision == Revision::ZERO {
            self.revision = revision;
        }
    }

    /// As it is written beside the answer to a request.
    pub(super) fn remembered(&self, targets: Vec<Digest>) -> Stored<Recorded> {
        let state = ConfigState {
            size: self.size,
            platform: self.platform.clone(),
            created: self.created,
            parent: self.parent,
            built_locally: self.built_locally,
            touched_at: self.touched_at,
            stored_at: self.stored_at,
            targets,
        };
        Stored {
            namespace: self.namespace.clone(),
            record: Recorded::Config(Box::new(ConfigOutcome {
                id: self.id,
                state: Some(state),
                previous: None,
                unreferenced: Vec::new(),
                orphans: 0,
            })),
            revision: self.revision,
        }
    }

    pub(super) fn recalled(stored: Stored<Recorded>) -> Option<(Self, Vec<Digest>)> {
        let Recorded::Config(outcome) = stored.record else {
            return None;
        };
        let state = outcome.state?;
        let entry = Self {
            namespace: stored.namespace,
            id: outcome.id,
            size: state.size,
            platform: state.platform,
            created: state.created,
            parent: state.parent,
            built_locally: state.built_locally,
            touched_at: state.touched_at,
            stored_at: state.stored_at,
            revision: stored.revision,
            is_corrupt: false,
        };
        Some((entry, state.targets))
    }
}
