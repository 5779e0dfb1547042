//! Watching images.

use std::sync::Arc;

use super::{Changes, Records, WatchStart, Watched, Weighed};
use crate::domain::{Image, ImageName, Namespace};
use crate::error::Error;
use crate::kv::{Effect, Revision, Snapshot, Versioned};
use crate::store::query::{ImageQuery, Scope};
use crate::store::stream::STEP;
use crate::store::walk::{MESSAGE_EXTRA, Walk};
use crate::store::{Stored, images, schema};

/// A Watch: which changes, and from where on.
#[derive(Clone, Debug)]
pub struct WatchImages {
    /// A change is sent when the query asks for the record before it or for the one after it.
    pub query: ImageQuery,
    pub start: WatchStart,
    /// Whether events have the record before too.
    pub with_previous: bool,
}

/// What one revision did to the images that a watch asks for.
pub type ImageChanges = Changes<ImageEvent>;

/// What happened to a record, or to all of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageEvent {
    Put {
        image: Stored<Image>,
        /// The record before, if there was one and the watch asks for it.
        previous: Option<Stored<Image>>,
        /// Whether the query asks for the record that was put; if not, it asks for the one before.
        is_match: bool,
    },
    Deleted {
        namespace: Namespace,
        name: ImageName,
        /// The record that was deleted, if the watch asks for it.
        previous: Option<Stored<Image>>,
    },
    /// The namespace went with all that it held, whatever the query asks for in it.
    NamespaceRemoved {
        namespace: Namespace,
        /// How many records it held.
        images: u64,
    },
}

impl Watched for WatchImages {
    type Record = Stored<Image>;
    type Event = ImageEvent;

    fn start(&self) -> WatchStart {
        self.start
    }

    fn walk(&self, snapshot: Arc<dyn Snapshot>) -> impl Records<Record = Stored<Image>> {
        Walk::new(snapshot, self.query.clone())
    }

    fn is_costly(&self) -> bool {
        self.query.filter().is_costly()
    }

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
                    item: ImageEvent::NamespaceRemoved {
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
}

impl Records for Walk {
    type Record = Stored<Image>;

    fn revision(&self) -> Revision {
        self.revision()
    }

    async fn step(&mut self) -> Result<Option<Vec<Weighed<Stored<Image>>>>, Error> {
        let Some(passed) = self.step(STEP).await? else {
            return Ok(None);
        };
        let found = passed.into_iter().filter_map(|row| row.image);
        let weighed = found.map(|found| {
            Ok(Weighed {
                item: found.image.read()?,
                bytes: found.bytes,
            })
        });
        Ok(Some(weighed.collect::<Result<_, Error>>()?))
    }
}

impl WatchImages {
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
        Ok(Some(Weighed { item: event, bytes }))
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
