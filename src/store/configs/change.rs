//! Changing what is known of a config: its parent, its marks, its targets.

use super::cache::put_marks;
use super::create::touch_marks;
use super::link::{Linking, plan_link};
use super::rows::{Standing, existing, subject};
use super::targets::Linkable;
use super::{ConfigEntry, Configs, LinkConfig, MarkConfig, MarkedConfig, ParentSet, SetParent};
use crate::domain::{ConfigId, Namespace, Timestamp};
use crate::error::Error;
use crate::kv::{Batch, Revision, Rows};
use crate::store::edit::{Decision, Look, View};
use crate::store::epoch::Known;
use crate::store::request::Remembered;
use crate::store::wire::{self, ConfigOutcome, Marks, Outcome, Recorded};
use crate::store::{At, Precondition, Stored, schema};

/// A look at a config and at what it is to be linked to.
struct LookAtLink<'a> {
    namespace: &'a Namespace,
    id: &'a ConfigId,
    parent: Option<ConfigId>,
}

impl Look for LookAtLink<'_> {
    type Seen = (Linking, Known, Timestamp);

    async fn look(&self, view: &View<'_>) -> Result<Self::Seen, Error> {
        let child = existing(view, self.namespace, self.id).await?;
        let linking = Linking::look(view, self.namespace, child, self.parent).await?;
        Ok((linking, view.known.clone(), view.now))
    }
}

/// A look at a config alone.
struct LookAtOne<'a> {
    namespace: &'a Namespace,
    id: &'a ConfigId,
}

impl Look for LookAtOne<'_> {
    type Seen = (Standing, Known, Timestamp);

    async fn look(&self, view: &View<'_>) -> Result<Self::Seen, Error> {
        let standing = existing(view, self.namespace, self.id).await?;
        Ok((standing, view.known.clone(), view.now))
    }
}

/// A look at a config and one of its targets.
struct LookAtTarget<'a> {
    namespace: &'a Namespace,
    request: &'a LinkConfig,
}

struct SeenTarget {
    standing: Standing,
    is_linked: bool,
    /// Whether it has as many as it may.
    is_full: bool,
    linkable: Linkable,
    now: Timestamp,
}

impl Look for LookAtTarget<'_> {
    type Seen = SeenTarget;

    async fn look(&self, view: &View<'_>) -> Result<SeenTarget, Error> {
        let LinkConfig { id, target, .. } = self.request;
        let standing = existing(view, self.namespace, id).await?;
        let key = schema::targeted_key(self.namespace, id, target);
        let all = Rows::starting_with(schema::targeted(self.namespace), id.as_bytes());
        let found = view.scan(&all, Configs::MAX_TARGETS).await?;
        Ok(SeenTarget {
            standing,
            is_linked: view.row(&key).await?.is_some(),
            is_full: found.rows.len() == Configs::MAX_TARGETS,
            linkable: Linkable::look(view, self.namespace, target).await?,
            now: view.now,
        })
    }
}

impl Configs<'_> {
    /// Says what a config was built from, or that nothing is known of it. Durable when it returns; nothing is
    /// written where that is so already.
    ///
    /// [`Error::NotFound`] for an unknown config or parent, [`Error::Invalid`] where the config would be its own
    /// ancestor, [`Error::EtagMismatch`] as the request says.
    pub async fn set_parent(
        &self,
        namespace: &Namespace,
        request: &SetParent,
    ) -> Result<At<ParentSet>, Error> {
        let look = LookAtLink {
            namespace,
            id: &request.id,
            parent: request.parent,
        };
        let turns = Linking::turns(namespace, &request.id, request.parent.is_some());
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let set = self
            .store
            .edit(&turns, &look, once, |(linking, known, now)| {
                let standing = linking.child();
                check(namespace, standing, request.if_etag, known)?;
                let mut batch = Batch::new(now.millis());
                let changed = plan_link(&mut batch, namespace, linking)?;
                let set = ParentSet {
                    changed,
                    previous: linking.previous(),
                };
                if request.validate_only {
                    batch = Batch::new(now.millis());
                }
                Ok(Decision {
                    batch,
                    value: Set::new(namespace, request.id, set),
                })
            });
        let At { value, revision } = set.await?;
        Ok(At {
            value: value.set,
            revision,
        })
    }

    /// Changes the marks of a config. Durable when it returns; what is as it shall be is not written.
    ///
    /// [`Error::NotFound`], and [`Error::EtagMismatch`] as the request says.
    pub async fn mark(
        &self,
        namespace: &Namespace,
        request: &MarkConfig,
    ) -> Result<At<MarkedConfig>, Error> {
        let id = &request.id;
        let look = LookAtOne { namespace, id };
        let turns = [schema::marks_key(namespace, id)];
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        self.store
            .edit(&turns, &look, once, |(standing, known, now)| {
                check(namespace, standing, request.if_etag, known)?;
                let (batch, marked) = plan_marks(namespace, standing, request, *now);
                Ok(match request.validate_only {
                    true => Decision::nothing(*now, marked),
                    false => Decision {
                        batch,
                        value: marked,
                    },
                })
            })
            .await
    }

    /// Says that a target has a config; `false` where that is known already. Durable when it returns.
    ///
    /// [`Error::NotFound`] for an unknown config, [`Error::ConfigFull`] where it has as many targets as it may, and
    /// [`Error::TargetFull`] where the target has as many configs.
    pub async fn link(
        &self,
        namespace: &Namespace,
        request: &LinkConfig,
    ) -> Result<At<bool>, Error> {
        self.retarget(namespace, request, |batch, seen| {
            if seen.is_full && !seen.is_linked {
                return Err(Error::ConfigFull {
                    config: subject(namespace, &request.id),
                    limit: Self::MAX_TARGETS,
                });
            }
            if !seen.is_linked {
                seen.linkable.plan(batch, namespace, &request.id)?;
            }
            Ok(!seen.is_linked)
        })
        .await
    }

    /// Takes a link to a target back; `false` where there is none. Durable when it returns.
    ///
    /// [`Error::NotFound`] for an unknown config.
    pub async fn unlink(
        &self,
        namespace: &Namespace,
        request: &LinkConfig,
    ) -> Result<At<bool>, Error> {
        let LinkConfig { id, target, .. } = request;
        self.retarget(namespace, request, |batch, seen| {
            if seen.is_linked {
                batch
                    .delete(schema::target_key(namespace, target, id))
                    .delete(schema::targeted_key(namespace, id, target))
                    .frees_space();
            }
            Ok(seen.is_linked)
        })
        .await
    }

    async fn retarget(
        &self,
        namespace: &Namespace,
        request: &LinkConfig,
        plan: impl Fn(&mut Batch, &SeenTarget) -> Result<bool, Error>,
    ) -> Result<At<bool>, Error> {
        let look = LookAtTarget { namespace, request };
        let turns = [
            schema::marks_key(namespace, &request.id),
            schema::target_turn(namespace, &request.target),
        ];
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let changed = self.store.edit(&turns, &look, once, |seen: &SeenTarget| {
            let mut batch = Batch::new(seen.now.millis());
            let changed = plan(&mut batch, seen)?;
            if changed {
                touch_marks(&mut batch, namespace, &seen.standing);
            }
            if request.validate_only {
                batch = Batch::new(seen.now.millis());
            }
            let set = ParentSet {
                changed,
                previous: None,
            };
            Ok(Decision {
                batch,
                value: Set::new(namespace, request.id, set),
            })
        });
        let At { value, revision } = changed.await?;
        Ok(At {
            value: value.set.changed,
            revision,
        })
    }
}

fn check(
    namespace: &Namespace,
    standing: &Standing,
    etag: Option<Revision>,
    known: &Known,
) -> Result<(), Error> {
    let subject = || subject(namespace, &standing.id);
    Precondition::of_etag(etag).check(subject, Some((standing.revision, None)), known)
}

/// Marks that change are written, and when it was used, if the config is as it was seen.
fn plan_marks(
    namespace: &Namespace,
    standing: &Standing,
    request: &MarkConfig,
    now: Timestamp,
) -> (Batch, MarkedConfig) {
    let id = &standing.id;
    let mut batch = Batch::new(now.millis());
    let before = &standing.marks;
    let after = Marks {
        built_locally: request.built_locally.unwrap_or(before.built_locally),
        ..before.clone()
    };
    let mut entry = ConfigEntry::of(namespace, standing, &after);
    let is_marked = after != *before;
    let changed = is_marked || request.touch;
    if changed {
        standing.must_stay(&mut batch, namespace);
    }
    if is_marked {
        if before.parent == standing.parent {
            let summary = &standing.summary;
            put_marks(&mut batch, namespace, id, summary, Some(before), &after);
        } else {
            // Its parent has gone, and gets no more rows.
            let marks = schema::marks_key(namespace, id);
            batch.put(marks, wire::encode_marks(&after));
        }
        entry.revision = Revision::ZERO;
    }
    if request.touch {
        let touched = schema::touched_key(namespace, id);
        batch.put(touched, wire::encode_touched(now));
        entry.touched_at = Some(now);
    }
    let marked = MarkedConfig { entry, changed };
    (batch, marked)
}

impl Remembered for MarkedConfig {
    fn settle(&mut self, revision: Revision) {
        self.entry.settle(revision);
    }

    fn outcomes(&self) -> Vec<Outcome> {
        vec![Outcome {
            stored: Some(self.entry.remembered(Vec::new())),
            changed: self.changed,
            created: false,
        }]
    }

    fn recall(mut outcomes: Vec<Outcome>) -> Option<Self> {
        let outcome = outcomes.pop()?;
        let (entry, _) = ConfigEntry::recalled(outcome.stored?)?;
        Some(Self {
            entry,
            changed: outcome.changed,
        })
    }
}

/// What a change of links answers, and of what.
struct Set {
    namespace: Namespace,
    id: ConfigId,
    set: ParentSet,
}

impl Set {
    fn new(namespace: &Namespace, id: ConfigId, set: ParentSet) -> Self {
        Self {
            namespace: namespace.clone(),
            id,
            set,
        }
    }
}

impl Remembered for Set {
    fn settle(&mut self, _revision: Revision) {}

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome = ConfigOutcome {
            id: self.id,
            state: None,
            previous: self.set.previous,
            unreferenced: Vec::new(),
            orphans: 0,
        };
        vec![Outcome {
            stored: Some(Stored {
                namespace: self.namespace.clone(),
                record: Recorded::Config(Box::new(outcome)),
                revision: Revision::ZERO,
            }),
            changed: self.set.changed,
            created: false,
        }]
    }

    fn recall(mut outcomes: Vec<Outcome>) -> Option<Self> {
        let outcome = outcomes.pop()?;
        let stored = outcome.stored?;
        let Recorded::Config(config) = stored.record else {
            return None;
        };
        Some(Self {
            namespace: stored.namespace,
            id: config.id,
            set: ParentSet {
                changed: outcome.changed,
                previous: config.previous,
            },
        })
    }
}
