//! The build cache: which config is already the result of a build step.

mod consider;
mod local;
mod search;
mod sources;

use self::consider::consider;
use self::search::{Found, Search};
use super::edit::{Decision, Look};
use super::request::{Remembered, RequestId};
use super::wire::{Outcome, Recorded};
use super::{At, Store, Stored};
use crate::domain::{ConfigId, ContainerConfig, Namespace, RunPlatform};
use crate::error::Error;
use crate::kv::Revision;

/// The call on the build cache; from [`Store::build_cache`].
#[derive(Clone, Copy)]
pub struct BuildCache<'a> {
    pub(super) store: &'a Store,
}

/// A step whose result may be there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What the step starts from; `None` for nothing.
    pub parent: Option<ConfigId>,
    /// How the container of the step is set up; its command tells the step.
    pub container_config: ContainerConfig,
    /// What the result is to run, where that is known.
    pub config: Option<ContainerConfig>,
    /// For whom; `None` for that of the parent.
    pub platform: Option<RunPlatform>,
    /// Whose history to search, in this order: references.
    pub cache_from: Vec<String>,
    /// Does not look among the children of the parent.
    pub skip_local: bool,
    /// Answers as the Lookup would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// What a Lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    pub found: Result<Hit, Miss>,
    /// Whose history to search for the next step.
    pub sources: Vec<ConfigId>,
    pub skipped: Vec<Skipped>,
}

/// The config that is the result of the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub id: ConfigId,
    pub kind: HitKind,
    /// Whether anything was written.
    pub changed: bool,
}

/// How a hit was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitKind {
    /// Built here from the same parent, with an equal container config.
    Local,
    /// The source itself: the step is its last.
    Source,
    /// Made from the history of a source, whose intermediate step it is.
    Restored { source: ConfigId },
}

/// Why there is no such config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    pub local: LocalMiss,
    /// One for each source that counted.
    pub sources: Vec<SourceMiss>,
}

/// Why nothing was found among the children of the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalMiss {
    Skipped,
    UnknownParent,
    NoSuchStep,
    OtherPlatform,
}

/// Why nothing was found in the history of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceMiss {
    pub source: ConfigId,
    pub reason: SourceMissReason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceMissReason {
    UnknownParent,
    OtherPlatform,
    OtherParent,
    OtherStep {
        created_by: String,
    },
    UnclearHistory,
    /// The config of the step would be larger than a config may be.
    TooLarge,
}

/// A source that did not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub reference: String,
    pub reason: String,
}

impl Lookup {
    /// Sources that one Lookup takes at most.
    pub const MAX_SOURCES: usize = 100;

    /// Looks for a step in all places, for the platform of the parent.
    pub fn new(parent: Option<ConfigId>, container_config: ContainerConfig) -> Self {
        Self {
            parent,
            container_config,
            config: None,
            platform: None,
            cache_from: Vec::new(),
            skip_local: false,
            validate_only: false,
            request: None,
        }
    }
}

impl BuildCache<'_> {
    /// Looks for the result of a step: among what was built here from the parent, by index, whatever the number of
    /// its children; and in the history of sources. Of several that were built here it is the newest, of equally
    /// new ones that with the lowest id. What a source goes on from comes before what the sources tell of, and that
    /// before what else was built here.
    ///
    /// A hit in history gives the config its parent, where it has none, or makes the config of an intermediate step.
    /// Neither is ever marked as built here.
    ///
    /// [`Error::Invalid`] without a platform where there is no parent that has one; [`Error::Corrupt`] where the
    /// parent cannot be read.
    pub async fn lookup(
        &self,
        namespace: &Namespace,
        request: &Lookup,
    ) -> Result<At<Looked>, Error> {
        let search = Search {
            namespace,
            lookup: request,
        };
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let glance = match (self.glance(&search).await, once) {
            (Ok(glance), None) if request.validate_only || glance.value.has_nothing_to_write() => {
                return Ok(At {
                    value: glance.value.looked,
                    revision: glance.revision,
                });
            }
            (Err(cause), None) => return Err(cause),
            // There may be an answer already, whatever is found now.
            (glance, _) => glance.ok(),
        };
        let turns = glance.map(|glance| glance.value.turns(namespace));
        let decide = |found: &Found| {
            Ok(Decision {
                batch: found.batch(namespace)?,
                value: Answer {
                    namespace: namespace.clone(),
                    looked: found.looked.clone(),
                },
            })
        };
        let turns = turns.unwrap_or_default();
        let At { value, revision } = self.store.edit(&turns, &search, once, decide).await?;
        Ok(At {
            value: value.looked,
            revision,
        })
    }

    /// What would be found now.
    async fn glance(&self, search: &Search<'_>) -> Result<At<Found>, Error> {
        let snapshot = self.store.snapshot().await?;
        Ok(At {
            value: search
                .look(&self.store.bounded_view(&*snapshot, search))
                .await?,
            revision: snapshot.revision(),
        })
    }
}

/// What is remembered of a Lookup.
struct Answer {
    namespace: Namespace,
    looked: Looked,
}

impl Remembered for Answer {
    fn settle(&mut self, _revision: Revision) {}

    fn outcomes(&self) -> Vec<Outcome> {
        let changed = self.looked.found.as_ref().is_ok_and(|hit| hit.changed);
        vec![Outcome {
            stored: Some(Stored {
                namespace: self.namespace.clone(),
                record: Recorded::Lookup(Box::new(self.looked.clone())),
                revision: Revision::ZERO,
            }),
            changed,
            created: false,
        }]
    }

    fn recall(mut outcomes: Vec<Outcome>) -> Option<Self> {
        let stored = outcomes.pop()?.stored?;
        match stored.record {
            Recorded::Lookup(looked) => Some(Self {
                namespace: stored.namespace,
                looked: *looked,
            }),
            Recorded::Image(_)
            | Recorded::Namespace { .. }
            | Recorded::Config(_)
            | Recorded::Builder(_)
            | Recorded::Targets(_) => None,
        }
    }
}
