//! Watching build targets.

use std::sync::Arc;

use super::{Changes, Records, Watch, WatchMessage, WatchStart, Watched, Weighed};
use crate::domain::Namespace;
use crate::domain::build::{State, TargetKey, TargetSelector};
use crate::error::Error;
use crate::kv::{Effect, Revision, Rows, Snapshot, Versioned};
use crate::store::schema;
use crate::store::stream::STEP;
use crate::store::targets::{SeenTarget, TargetEntry};
use crate::store::walk::MESSAGE_EXTRA;

/// A Watch of a namespace's targets: which changes, and from where on.
#[derive(Clone, Debug)]
pub struct WatchTargets {
    pub namespace: Namespace,
    /// A change is sent when the target before it or the one after it is selected.
    pub selector: TargetSelector,
    pub start: WatchStart,
}

/// A watch of targets. [`WatchMessage::resume_after`] says where another goes on.
pub type TargetWatch = Watch<TargetMessage>;

/// What a watch of targets tells. Of who is at them it tells nothing.
pub type TargetMessage = WatchMessage<TargetEntry, TargetEvent>;

/// What one revision did to the targets that a watch asks for.
pub type TargetChanges = Changes<TargetEvent>;

/// What happened to a target, or to all of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetEvent {
    Put {
        target: Box<TargetEntry>,
        /// The state before; `None` for a new one.
        previous: Option<State>,
    },
    Deleted {
        target: TargetKey,
        previous: State,
    },
    /// The namespace went with all that it held.
    NamespaceRemoved,
}

/// The targets of one revision, some at a time.
struct Walk {
    snapshot: Arc<dyn Snapshot>,
    namespace: Namespace,
    selector: TargetSelector,
    rest: Option<Rows>,
}

impl Watched for WatchTargets {
    type Record = TargetEntry;
    type Event = TargetEvent;

    fn start(&self) -> WatchStart {
        self.start
    }

    fn walk(&self, snapshot: Arc<dyn Snapshot>) -> impl Records<Record = TargetEntry> {
        Walk {
            snapshot,
            namespace: self.namespace.clone(),
            selector: self.selector.clone(),
            rest: Some(Rows::all(schema::build_targets(&self.namespace))),
        }
    }

    fn is_costly(&self) -> bool {
        self.selector.glob.is_some()
    }

    fn event(
        &self,
        effect: &Effect,
        revision: Revision,
    ) -> Result<Option<Weighed<TargetEvent>>, Error> {
        let own = schema::build_targets(&self.namespace);
        match effect {
            Effect::Cleared { table, .. } => Ok((table == own.path()).then_some(Weighed {
                item: TargetEvent::NamespaceRemoved,
                bytes: MESSAGE_EXTRA,
            })),
            Effect::Row {
                table,
                row,
                value,
                previous,
            } => {
                if table != own.path() {
                    return Ok(None);
                }
                let key = schema::parse_build_target(row)?;
                let value = value.clone().map(|value| Versioned { revision, value });
                self.row_event(key, value, previous.clone())
            }
        }
    }
}

impl WatchTargets {
    /// What became of a target, unless it is selected neither before nor after.
    fn row_event(
        &self,
        key: TargetKey,
        value: Option<Versioned>,
        previous: Option<Versioned>,
    ) -> Result<Option<Weighed<TargetEvent>>, Error> {
        let read =
            |row: Option<Versioned>| row.map(|row| SeenTarget::of(key.clone(), row)).transpose();
        let (now, before) = (read(value)?, read(previous)?);
        let is_selected = |seen: &SeenTarget| seen.is_selected(&self.selector);
        if !now.iter().chain(&before).any(is_selected) {
            return Ok(None);
        }
        let previous = before.map(|seen| seen.row.progress.state);
        let event = match (now, previous) {
            (Some(seen), previous) => weighed(&self.namespace, &seen, |target| TargetEvent::Put {
                target: Box::new(target),
                previous,
            }),
            (None, Some(previous)) => Weighed {
                bytes: key.name.as_str().len() + key.version.as_str().len() + MESSAGE_EXTRA,
                item: TargetEvent::Deleted {
                    target: key,
                    previous,
                },
            },
            (None, None) => return Ok(None),
        };
        Ok(Some(event))
    }
}

impl Records for Walk {
    type Record = TargetEntry;

    fn revision(&self) -> Revision {
        self.snapshot.revision()
    }

    async fn step(&mut self) -> Result<Option<Vec<Weighed<TargetEntry>>>, Error> {
        let Some(rows) = self.rest.take() else {
            return Ok(None);
        };
        let found = self.snapshot.scan(&rows, STEP).await?;
        self.rest = found.rest(rows);
        let mut targets = Vec::with_capacity(found.rows.len());
        for (row, value) in found.rows {
            let seen = SeenTarget::of(schema::parse_build_target(&row)?, value)?;
            if seen.is_selected(&self.selector) {
                targets.push(weighed(&self.namespace, &seen, |target| target));
            }
        }
        Ok(Some(targets))
    }
}

/// A target with the bytes that it takes as a message.
fn weighed<T>(
    namespace: &Namespace,
    seen: &SeenTarget,
    item: impl FnOnce(TargetEntry) -> T,
) -> Weighed<T> {
    let key = seen.target();
    let named = key.name.as_str().len() + key.version.as_str().len() + namespace.as_str().len();
    Weighed {
        item: item(seen.entry(namespace, None)),
        bytes: seen.bytes + named + MESSAGE_EXTRA,
    }
}
