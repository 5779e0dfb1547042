//! The search for the result of a step: what was built here, then the history of sources, at one revision.

use super::local::LocalStep;
use super::sources::{self, MAX_SOURCE_BYTES, Sources, TOO_MUCH, has_read_enough};
use super::{
    Hit, HitKind, LocalMiss, Looked, Lookup, Miss, SourceMiss, SourceMissReason, consider,
};
use crate::domain::{ConfigId, ImageConfig, Invalid, Namespace, RunPlatform, Timestamp};
use crate::error::Error;
use crate::kv::{Batch, Key};
use crate::store::configs::create::{Creation, NewConfig, plan_create};
use crate::store::configs::link::{Linking, must_be_there, plan_link};
use crate::store::configs::rows::{Standing, existing};
use crate::store::edit::{Look, View};
use crate::store::schema::{self, Link};
use crate::store::wire::{self, Summary};

/// A lookup in a namespace.
pub struct Search<'a> {
    pub namespace: &'a Namespace,
    pub lookup: &'a Lookup,
}

/// What was found, and what has to be written for it.
pub struct Found {
    pub looked: Looked,
    pub write: Write,
    pub now: Timestamp,
}

/// What makes an answer true.
pub enum Write {
    Nothing,
    /// The config of the step gets its parent.
    Link(Box<Linking>),
    /// The config of the step is made, from a source that must still be there. Nobody built it here.
    Create {
        restored: Box<NewConfig>,
        creation: Box<Creation>,
        from: Link,
    },
}

/// What the step starts from.
enum Start {
    Scratch,
    Parent(Box<Parent>),
    /// There is no such config.
    Unknown,
}

/// A config that the step starts from.
pub struct Parent {
    pub link: Link,
    pub summary: Summary,
}

/// The result of the step in the history of a source.
struct InHistory {
    hit: Hit,
    write: Write,
}

/// Bytes of records that a lookup reads at most; with what is left when no more sources are read, it can be answered.
const MAX_READ: usize = 4 * MAX_SOURCE_BYTES;

impl Look for Search<'_> {
    type Seen = Found;

    /// Little of what it reads goes to a batch.
    fn most(&self, _batch: usize) -> usize {
        MAX_READ
    }

    async fn look(&self, view: &View<'_>) -> Result<Found, Error> {
        let start = self.start(view).await?;
        let platform = self.platform(&start)?;
        let references = &self.lookup.cache_from;
        let mut sources =
            Sources::look(view, self.namespace, references, platform.as_ref()).await?;
        let found = |looked, write| Found {
            looked,
            write,
            now: view.now,
        };
        let (Some(platform), Some(parent)) = (platform, start.parent()) else {
            return Ok(found(self.unknown_parent(sources), Write::Nothing));
        };

        let local = self.local(view, parent, &platform).await?;
        if let Ok(id) = local
            && self.comes_first(view, &id, &sources).await?
        {
            return Ok(found(sources.answer(Ok(local_hit(id))), Write::Nothing));
        }
        let missed = match self.in_history(view, &mut sources, &platform).await? {
            Ok(InHistory { hit, write }) => {
                let only = match hit.kind {
                    HitKind::Restored { source } => Some(source),
                    HitKind::Local | HitKind::Source => None,
                };
                let mut looked = sources.answer(Ok(hit));
                if let Some(only) = only {
                    looked.sources = vec![only];
                }
                return Ok(found(looked, write));
            }
            Err(missed) => missed,
        };
        let answer = match local {
            Ok(id) => Ok(local_hit(id)),
            Err(local) => Err(Miss {
                local,
                sources: missed,
            }),
        };
        Ok(found(sources.answer(answer), Write::Nothing))
    }
}

fn local_hit(id: ConfigId) -> Hit {
    Hit {
        id,
        kind: HitKind::Local,
        changed: false,
    }
}

impl Search<'_> {
    async fn start(&self, view: &View<'_>) -> Result<Start, Error> {
        let Some(id) = self.lookup.parent else {
            return Ok(Start::Scratch);
        };
        let row = view.row(&schema::summary_key(self.namespace, &id)).await?;
        Ok(match row {
            Some(row) => Start::Parent(Box::new(Parent {
                link: Link {
                    id,
                    made: row.revision,
                },
                summary: wire::decode_summary(&id, row.value)?,
            })),
            None => Start::Unknown,
        })
    }

    /// For whom the step is; `None` where nobody says, and nothing can be found either.
    fn platform(&self, start: &Start) -> Result<Option<RunPlatform>, Invalid> {
        if let Some(asked) = &self.lookup.platform {
            return Ok(Some(asked.clone()));
        }
        let must_be_set = |why| Err(Invalid::new("platform", why));
        match start {
            Start::Unknown => Ok(None),
            Start::Scratch => must_be_set("must be set where there is no parent"),
            Start::Parent(parent) if !parent.summary.platform.is_whole() => {
                must_be_set("must be set, for the parent does not say its own")
            }
            Start::Parent(parent) => Ok(Some(parent.summary.platform.clone())),
        }
    }

    fn unknown_parent(&self, sources: Sources) -> Looked {
        let local = match self.lookup.skip_local {
            true => LocalMiss::Skipped,
            false => LocalMiss::UnknownParent,
        };
        let missed = sources.counted.iter().map(|source| SourceMiss {
            source: source.id,
            reason: SourceMissReason::UnknownParent,
        });
        let missed = missed.collect();
        sources.answer(Err(Miss {
            local,
            sources: missed,
        }))
    }

    async fn local(
        &self,
        view: &View<'_>,
        parent: Option<&Parent>,
        platform: &RunPlatform,
    ) -> Result<Result<ConfigId, LocalMiss>, Error> {
        if self.lookup.skip_local {
            return Ok(Err(LocalMiss::Skipped));
        }
        let step = LocalStep {
            namespace: self.namespace,
            parent,
            container_config: &self.lookup.container_config,
            platform,
        };
        step.find(view).await
    }

    /// Whether what was built here comes before what the sources have: where they have nothing else to offer.
    async fn comes_first(
        &self,
        view: &View<'_>,
        local: &ConfigId,
        sources: &Sources,
    ) -> Result<bool, Error> {
        if sources.counted.is_empty() {
            return Ok(true);
        }
        let row = view
            .row(&schema::summary_key(self.namespace, local))
            .await?;
        let summary = row.map(|row| wire::decode_summary(local, row.value));
        Ok(matches!(summary, Some(Ok(summary)) if sources.go_on_from(local, &summary)))
    }

    /// The first source that has the step; or for each source why it has not. What is no config is left out of the
    /// sources.
    async fn in_history(
        &self,
        view: &View<'_>,
        sources: &mut Sources,
        platform: &RunPlatform,
    ) -> Result<Result<InHistory, Vec<SourceMiss>>, Error> {
        let mut missed = Vec::new();
        if sources.counted.is_empty() {
            return Ok(Err(missed));
        }
        let parent = match &self.lookup.parent {
            Some(parent) => Some(sources::read(view, self.namespace, parent).await?),
            None => None,
        };
        let counted: Vec<(ConfigId, bool)> = sources
            .counted
            .iter()
            .map(|source| (source.id, platform.accepts(&source.summary.platform)))
            .collect();
        for (id, is_for_platform) in counted {
            if is_for_platform && has_read_enough(view) {
                sources.give_up(&id, TOO_MUCH.to_owned());
                continue;
            }
            let looked = match is_for_platform {
                true => self.in_source(view, &id, parent.as_ref(), platform).await,
                // Not even read.
                false => Ok(Err(SourceMissReason::OtherPlatform)),
            };
            match looked {
                Ok(Ok(found)) => return Ok(Ok(found)),
                Ok(Err(reason)) => missed.push(SourceMiss { source: id, reason }),
                Err(why @ (Error::Corrupt(_) | Error::ReadsTooMuch { .. })) => {
                    sources.give_up(&id, why.to_string());
                }
                Err(other) => return Err(other),
            }
        }
        Ok(Err(missed))
    }

    async fn in_source(
        &self,
        view: &View<'_>,
        id: &ConfigId,
        parent: Option<&ImageConfig>,
        platform: &RunPlatform,
    ) -> Result<Result<InHistory, SourceMissReason>, Error> {
        let asked = self.lookup;
        let source = sources::read(view, self.namespace, id).await?;
        let step = match consider(&source, parent, &asked.container_config, platform) {
            Ok(step) => step,
            Err(reason) => return Ok(Err(reason)),
        };
        let found = |id, kind, write| {
            let changed = !matches!(write, Write::Nothing);
            let hit = Hit { id, kind, changed };
            Ok(Ok(InHistory { hit, write }))
        };
        if step.is_last() {
            let source = existing(view, self.namespace, id).await?;
            let write = self.link(view, source).await?;
            return found(*id, HitKind::Source, write);
        }
        let config = asked.config.as_ref();
        let Ok(restored) = step.restore(&asked.container_config, config) else {
            return Ok(Err(SourceMissReason::TooLarge));
        };
        let restored = NewConfig::parse(restored.into()).map_err(|why| {
            Error::corrupt(format!(
                "what source {id} tells of a step is no config: {why}"
            ))
        })?;
        let restored_id = restored.id;
        let from = existing(view, self.namespace, id).await?;
        let link_to_source = from.link();
        let creation = Creation::look(view, self.namespace, &restored, asked.parent, &[]).await?;
        let write = match creation.existing() {
            Some(standing) => self.link(view, standing.clone()).await?,
            None => Write::Create {
                restored: Box::new(restored),
                creation: Box::new(creation),
                from: link_to_source,
            },
        };
        found(restored_id, HitKind::Restored { source: *id }, write)
    }

    /// What has to be written for a config that is the step's result: its parent, unless it has one, or would become
    /// its own ancestor.
    async fn link(&self, view: &View<'_>, result: Standing) -> Result<Write, Error> {
        let (Some(parent), None) = (self.lookup.parent, result.parent) else {
            return Ok(Write::Nothing);
        };
        let linking = Linking::look(view, self.namespace, result, Some(parent)).await?;
        Ok(match linking.closes_cycle {
            true => Write::Nothing,
            false => Write::Link(Box::new(linking)),
        })
    }
}

// === impl Found ===

impl Found {
    /// The batch that makes the answer true, if all is as it was seen.
    pub fn batch(&self, namespace: &Namespace) -> Result<Batch, Error> {
        let mut batch = Batch::new(self.now.millis());
        match &self.write {
            Write::Nothing => {}
            Write::Link(linking) => {
                plan_link(&mut batch, namespace, linking)?;
            }
            Write::Create {
                restored,
                creation,
                from,
            } => {
                must_be_there(&mut batch, namespace, from);
                plan_create(&mut batch, namespace, restored, creation, false)?;
            }
        }
        Ok(batch)
    }

    pub fn has_nothing_to_write(&self) -> bool {
        matches!(self.write, Write::Nothing)
    }

    /// Whose writers take turns with this one.
    pub fn turns(&self, namespace: &Namespace) -> Vec<Key> {
        match &self.write {
            Write::Nothing => Vec::new(),
            Write::Link(linking) => Linking::turns(namespace, &linking.child().id, true),
            Write::Create { restored, .. } => vec![schema::marks_key(namespace, &restored.id)],
        }
    }
}

// === impl Start ===

impl Start {
    /// The parent, or that there is none; `None` where there ought to be one.
    fn parent(&self) -> Option<Option<&Parent>> {
        match self {
            Self::Scratch => Some(None),
            Self::Parent(parent) => Some(Some(parent)),
            Self::Unknown => None,
        }
    }
}
