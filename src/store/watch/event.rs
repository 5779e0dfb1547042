//! What of a change a watch of images is about, and how much of it a message holds.

use tokio::task;

use super::{Changes, ImageEvent, WatchImages, WatchMessage};
use crate::domain::{Image, ImageName, Namespace, Timestamp};
use crate::error::Error;
use crate::kv::{Change, Effect, Revision, Versioned};
use crate::store::query::Scope;
use crate::store::walk::MESSAGE_EXTRA;
use crate::store::{Stored, images, schema};

/// Bytes of events that a message holds.
const FRAGMENT_BYTES: usize = 1 << 20;

/// An event with the bytes that it takes as a message, at most.
pub(super) struct Weighed<E> {
    pub event: E,
    pub bytes: usize,
}

/// What is sent of a change: nothing, or a message, or some that together are one revision.
pub(super) async fn messages(
    change: &Change,
    request: &WatchImages,
) -> Result<Vec<WatchMessage>, Error> {
    let is_costly = request.query.filter().is_costly();
    let mut events = Vec::new();
    for effect in &change.effects {
        if is_costly {
            // Lets others have the thread between two matches.
            task::yield_now().await;
        }
        events.extend(request.event(effect, change.revision)?);
    }
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let messages = fragments(change, events)?.into_iter();
    Ok(messages.map(WatchMessage::Changes).collect())
}

/// The events of a change as messages, one at least.
pub(super) fn fragments<E>(
    change: &Change,
    events: Vec<Weighed<E>>,
) -> Result<Vec<Changes<E>>, Error> {
    let mut fragments: Vec<Vec<E>> = vec![Vec::new()];
    let mut bytes = 0;
    for found in events {
        bytes += found.bytes;
        match fragments.last_mut() {
            Some(fragment) if bytes <= FRAGMENT_BYTES || fragment.is_empty() => {
                fragment.push(found.event);
            }
            _ => {
                bytes = found.bytes;
                fragments.push(vec![found.event]);
            }
        }
    }
    let committed_at = Timestamp::from_millis(change.at_millis)
        .map_err(|cause| Error::corrupt(format!("a change of the log: {cause}")))?;
    let last = fragments.len() - 1;
    let messages = fragments
        .into_iter()
        .enumerate()
        .map(|(i, events)| Changes {
            revision: change.revision,
            committed_at,
            events,
            is_partial: i < last,
        });
    Ok(messages.collect())
}

impl WatchImages {
    /// What an effect is to this watch, if anything.
    fn event(
        &self,
        effect: &Effect,
        revision: Revision,
    ) -> Result<Option<Weighed<ImageEvent>>, Error> {
        match effect {
            Effect::Cleared { table, rows } => {
                let Some(namespace) = self.namespace(table)? else {
                    return Ok(None);
                };
                Ok(Some(Weighed {
                    bytes: namespace.as_str().len() + MESSAGE_EXTRA,
                    event: ImageEvent::NamespaceRemoved {
                        namespace,
                        images: *rows,
                    },
                }))
            }
            Effect::Row {
                table,
                row,
                value,
                previous,
            } => {
                if !row.starts_with(self.query.name_prefix.as_bytes()) {
                    return Ok(None);
                }
                let Some(namespace) = self.namespace(table)? else {
                    return Ok(None);
                };
                let name = schema::parse_name(row)?;
                let value = value.clone().map(|value| Versioned { revision, value });
                self.row_event(namespace, name, value, previous.clone())
            }
        }
    }

    /// What became of a record, unless it is not asked for before nor after. Decodes no more than it
    /// has to.
    fn row_event(
        &self,
        namespace: Namespace,
        name: ImageName,
        value: Option<Versioned>,
        previous: Option<Versioned>,
    ) -> Result<Option<Weighed<ImageEvent>>, Error> {
        let weight = |row: &Option<Versioned>| {
            row.as_ref().map_or(0, |row| {
                row.value.len() + name.as_str().len() + namespace.as_str().len() + MESSAGE_EXTRA
            })
        };
        let decoded = |row: Option<Versioned>| {
            row.map(|row| images::stored(&namespace, name.clone(), row))
                .transpose()
        };
        let matches = |stored: &Option<Stored<Image>>| {
            stored
                .as_ref()
                .is_some_and(|stored| self.query.matches(&stored.record))
        };
        let mut bytes = name.as_str().len() + namespace.as_str().len() + MESSAGE_EXTRA;
        bytes += weight(&value);
        if self.with_previous {
            bytes += weight(&previous);
        }

        let image = decoded(value)?;
        let is_match = matches(&image);
        let asks_for_previous = self.with_previous || !(is_match || self.query.is_any_record());
        let previous = if asks_for_previous {
            decoded(previous)?
        } else {
            None
        };
        if !is_match && !self.query.is_any_record() && !matches(&previous) {
            return Ok(None);
        }
        let previous = previous.filter(|_| self.with_previous);
        let event = match image {
            Some(image) => ImageEvent::Put {
                image,
                previous,
                is_match,
            },
            None => ImageEvent::Deleted {
                namespace,
                name,
                previous,
            },
        };
        Ok(Some(Weighed { event, bytes }))
    }

    /// The namespace that a table has the images of, if this watch is about it.
    fn namespace(&self, table: &str) -> Result<Option<Namespace>, Error> {
        let Some(owner) = schema::whose_images(table) else {
            return Ok(None);
        };
        match &self.query.scope {
            Scope::One(asked) => Ok((asked.as_str() == owner).then(|| asked.clone())),
            Scope::All => schema::parse_namespace(owner.as_bytes()).map(Some),
        }
    }
}
