//! Storing a config, and linking targets to it.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::cache::put_marks;
use super::link::join;
use super::rows::{Standing, link_to, not_found, spoilt, standing, subject, targets_of};
use super::targets::Linkable;
use super::{ConfigEntry, Configs, CreateConfig, CreatedConfig, StoredConfig};
use crate::domain::{ConfigId, Digest, ImageConfig, Invalid, Namespace, Timestamp, chain_ids};
use crate::error::Error;
use crate::kv::{Batch, Guard, Key, Revision, Versioned};
use crate::store::edit::{Decision, Look, View};
use crate::store::schema::{self, Link};
use crate::store::wire::{Marks, Summary};
use crate::store::{At, namespaces, wire};

/// A config that is to be stored, read.
#[derive(Clone, Debug)]
pub struct NewConfig {
    pub id: ConfigId,
    pub bytes: Bytes,
    pub config: ImageConfig,
    pub summary: Summary,
}

/// What of it is there already, and all else that storing it depends on.
#[derive(Clone, Debug)]
pub struct Creation {
    namespace: Option<Versioned>,
    stored: Option<Box<Standing>>,
    /// What is linked to it already.
    targets: BTreeSet<Digest>,
    /// What is to be linked to it besides.
    added: Vec<Linkable>,
    parent: Option<Link>,
    now: Timestamp,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    pub entry: ConfigEntry,
    pub targets: Vec<Digest>,
    /// Whether it is new.
    pub created: bool,
    /// Whether anything was written.
    pub changed: bool,
}

/// Has a batch store a config, if all is as it was seen; one that is there already keeps its parent and its
/// marks, and gets only the targets that are new.
///
/// [`Error::ConfigFull`] and [`Error::TargetFull`] for more links than there may be.
pub fn plan_create(
    batch: &mut Batch,
    namespace: &Namespace,
    new: &NewConfig,
    seen: &Creation,
    built_locally: bool,
) -> Result<Created, Error> {
    let mut targets = seen.targets.clone();
    targets.extend(seen.added.iter().map(Linkable::target));
    if targets.len() > Configs::MAX_TARGETS {
        return Err(Error::ConfigFull {
            config: subject(namespace, &new.id),
            limit: Configs::MAX_TARGETS,
        });
    }
    let answer = |entry, created, changed| Created {
        entry,
        targets: targets.into_iter().collect(),
        created,
        changed,
    };
    for target in &seen.added {
        target.plan(batch, namespace, &new.id)?;
    }
    if let Some(standing) = &seen.stored {
        let mut entry = ConfigEntry::of(namespace, standing, &standing.marks);
        let changed = !seen.added.is_empty();
        if changed {
            touch_marks(batch, namespace, standing);
            standing.must_stay(batch, namespace);
            entry.revision = Revision::ZERO;
        }
        return Ok(answer(entry, false, changed));
    }
    namespaces::need(batch, namespace, seen.namespace.as_ref(), seen.now)?;
    for key in keys(namespace, &new.id) {
        batch.guard(Guard::Absent(key));
    }
    let [bytes, summary, _] = keys(namespace, &new.id);
    batch
        .put(bytes, new.bytes.clone())
        .put(summary, wire::encode_summary(&new.summary))
        .put(schema::head_key(namespace, &new.id), Bytes::new());
    let layers = schema::layers(namespace);
    for row in schema::layer_rows(&chain_ids(&new.summary.diff_ids), &new.id) {
        batch.put(layers.key(row), Bytes::new());
    }
    if let Some(parent) = &seen.parent {
        join(batch, namespace, parent, &new.id);
    }
    let marks = Marks {
        parent: seen.parent,
        built_locally,
        stored_at: seen.now,
    };
    put_marks(batch, namespace, &new.id, &new.summary, None, &marks);
    let mut entry = ConfigEntry::corrupt(namespace, &new.id);
    entry.describe(new.summary.clone());
    entry.mark(&marks);
    entry.parent = seen.parent.map(|parent| parent.id);
    entry.is_corrupt = false;
    Ok(answer(entry, true, true))
}

/// Has a batch write the marks of a config again as they are, if they are as they were seen: what is linked to it
/// changes, and whoever guards its marks has seen that too.
pub fn touch_marks(batch: &mut Batch, namespace: &Namespace, standing: &Standing) {
    let marks = schema::marks_key(namespace, &standing.id);
    batch
        .guard(Guard::Unchanged(marks.clone(), standing.revision))
        .put(marks, wire::encode_marks(&standing.marks));
}

fn keys(namespace: &Namespace, id: &ConfigId) -> [Key; 3] {
    [
        schema::config_key(namespace, id),
        schema::summary_key(namespace, id),
        schema::marks_key(namespace, id),
    ]
}

// === impl NewConfig ===

impl NewConfig {
    /// Refuses what is no config.
    pub fn parse(bytes: Bytes) -> Result<Self, Invalid> {
        let config = ImageConfig::parse(&bytes)?;
        Ok(Self {
            id: ConfigId::of(&bytes),
            summary: Summary::of(&config, bytes.len()),
            config,
            bytes,
        })
    }
}

// === impl Creation ===

impl Creation {
    /// [`Error::NotFound`] for a parent that is not there, unless the config is: then its parent does not count.
    /// [`Error::Corrupt`] for a config that is there and cannot be read.
    pub async fn look(
        view: &View<'_>,
        namespace: &Namespace,
        new: &NewConfig,
        parent: Option<ConfigId>,
        targets: &[Digest],
    ) -> Result<Self, Error> {
        let stored = standing(view, namespace, &new.id).await?;
        if stored.is_some() {
            let bytes = view.row(&schema::config_key(namespace, &new.id)).await?;
            if bytes.is_none_or(|row| row.value != new.bytes) {
                return Err(spoilt(&new.id));
            }
        }
        let parent = match (&stored, parent) {
            (Some(_), _) | (_, None) => None,
            (None, Some(parent)) => {
                let link = link_to(view, namespace, &parent).await?;
                Some(link.ok_or_else(|| not_found(namespace, &parent))?)
            }
        };
        let linked = targets_of(view, namespace, &new.id).await?;
        let linked: BTreeSet<Digest> = linked.into_iter().collect();
        let wanted: BTreeSet<&Digest> = targets.iter().collect();
        let mut added = Vec::new();
        for target in wanted {
            if !linked.contains(target) {
                added.push(Linkable::look(view, namespace, target).await?);
            }
        }
        Ok(Self {
            namespace: view.row(&schema::namespace_key(namespace)).await?,
            stored: stored.map(Box::new),
            targets: linked,
            added,
            parent,
            now: view.now,
        })
    }

    /// The config as it is there already, where it is.
    pub fn existing(&self) -> Option<&Standing> {
        self.stored.as_deref()
    }
}

/// A look at what a Create depends on.
struct Looking<'a> {
    namespace: &'a Namespace,
    new: &'a NewConfig,
    parent: Option<ConfigId>,
    targets: &'a [Digest],
}

impl Look for Looking<'_> {
    type Seen = Creation;

    async fn look(&self, view: &View<'_>) -> Result<Creation, Error> {
        let Self {
            namespace,
            new,
            parent,
            targets,
        } = self;
        Creation::look(view, namespace, new, *parent, targets).await
    }
}

impl Configs<'_> {
    /// Stores a config. The first write creates the namespace. Durable when it returns; of one that is there
    /// already only new targets are written.
    ///
    /// [`Error::Invalid`] for what is no config, or too many targets; [`Error::NotFound`] for an unknown parent;
    /// [`Error::ConfigFull`] and [`Error::TargetFull`] when there would be too many links with those there are;
    /// [`Error::Corrupt`] for a config that is there and cannot be read: it has to be deleted first.
    pub async fn create(
        &self,
        namespace: &Namespace,
        request: &CreateConfig,
    ) -> Result<At<CreatedConfig>, Error> {
        let many = request.targets.len();
        if many > Self::MAX_TARGETS {
            let reason = format!("has {many} targets, more than {}", Self::MAX_TARGETS);
            return Err(Invalid::new("targets", reason).into());
        }
        let new = NewConfig::parse(request.bytes.clone())?;
        let look = Looking {
            namespace,
            new: &new,
            parent: request.parent,
            targets: &request.targets,
        };
        let mut turns = vec![schema::marks_key(namespace, &new.id)];
        let targets = request.targets.iter();
        turns.extend(targets.map(|target| schema::target_turn(namespace, target)));
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let decide = |seen: &Creation| {
            let mut batch = Batch::new(seen.now.millis());
            let created = plan_create(&mut batch, namespace, &new, seen, request.built_locally)?;
            if request.validate_only {
                return Ok(Decision::nothing(seen.now, created));
            }
            Ok(Decision {
                batch,
                value: created,
            })
        };
        let At { value, revision } = self.store.edit(&turns, &look, once, decide).await?;
        Ok(At {
            value: CreatedConfig {
                stored: StoredConfig {
                    entry: value.entry,
                    bytes: new.bytes,
                    config: Some(new.config),
                    targets: value.targets,
                },
                created: value.created,
                changed: value.changed,
            },
            revision,
        })
    }
}
