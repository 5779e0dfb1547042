//! Envelopes: what an event of the store becomes, and what a filter sees of one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use prost::Message;
use prost_types::Any;

use crate::domain::{Kind, Subject, Timestamp, Value};
use crate::proto::containerd::events as pb;
use crate::proto::containerd::services::images::v1 as images;
use crate::proto::containerd::types::Envelope;
use crate::service::time_message;
use crate::store::{StoreChanges, StoreEvent};

/// The names of the payloads' messages, which clients want without a host before them.
mod name {
    pub const IMAGE_CREATE: &str = "containerd.services.images.v1.ImageCreate";
    pub const IMAGE_UPDATE: &str = "containerd.services.images.v1.ImageUpdate";
    pub const IMAGE_DELETE: &str = "containerd.services.images.v1.ImageDelete";
    pub const NAMESPACE_CREATE: &str = "containerd.events.NamespaceCreate";
    pub const NAMESPACE_UPDATE: &str = "containerd.events.NamespaceUpdate";
    pub const NAMESPACE_DELETE: &str = "containerd.events.NamespaceDelete";
    pub const CONTENT_CREATE: &str = "containerd.events.ContentCreate";
    pub const CONTENT_DELETE: &str = "containerd.events.ContentDelete";
}

/// An envelope, to be asked by filters.
#[derive(Debug)]
pub struct Told {
    envelope: Envelope,
    /// Read when a filter first asks for it.
    payload: OnceLock<Payload>,
}

/// What filters can ask of an event.
#[derive(Debug)]
enum Payload {
    /// An image or a namespace.
    Named {
        name: String,
        labels: BTreeMap<String, String>,
    },
    Content {
        digest: String,
    },
    Unknown,
}

/// The events of a change as envelopes.
pub fn envelopes(changes: StoreChanges) -> impl Iterator<Item = Envelope> {
    let committed_at = changes.committed_at;
    changes
        .events
        .into_iter()
        .map(move |event| envelope(event, committed_at))
}

fn envelope(event: StoreEvent, committed_at: Timestamp) -> Envelope {
    // The commit's time has milliseconds; the record says it more exactly, unless it was dated otherwise.
    let at = |written: Timestamp| match written.millis() == committed_at.millis() {
        true => written,
        false => committed_at,
    };
    let (namespace, topic, time, event) = match event {
        StoreEvent::ImageCreated(image) => {
            let created = images::ImageCreate {
                name: image.record.name.as_str().to_owned(),
                labels: image.record.labels.into_map(),
            };
            let payload = any(name::IMAGE_CREATE, &created);
            let time = at(image.record.updated_at);
            (image.namespace, "/images/create", time, payload)
        }
        StoreEvent::ImageUpdated(image) => {
            let updated = images::ImageUpdate {
                name: image.record.name.as_str().to_owned(),
                labels: image.record.labels.into_map(),
            };
            let payload = any(name::IMAGE_UPDATE, &updated);
            let time = at(image.record.updated_at);
            (image.namespace, "/images/update", time, payload)
        }
        StoreEvent::ImageDeleted { namespace, name } => {
            let deleted = images::ImageDelete {
                name: name.as_str().to_owned(),
            };
            let payload = any(name::IMAGE_DELETE, &deleted);
            (namespace, "/images/delete", committed_at, payload)
        }
        StoreEvent::NamespaceCreated(record) => {
            let created = pb::NamespaceCreate {
                name: record.name.as_str().to_owned(),
                labels: record.labels.into_map(),
            };
            let payload = any(name::NAMESPACE_CREATE, &created);
            let time = at(record.updated_at);
            (record.name, "/namespaces/create", time, payload)
        }
        StoreEvent::NamespaceUpdated(record) => {
            let updated = pb::NamespaceUpdate {
                name: record.name.as_str().to_owned(),
                labels: record.labels.into_map(),
            };
            let payload = any(name::NAMESPACE_UPDATE, &updated);
            let time = at(record.updated_at);
            (record.name, "/namespaces/update", time, payload)
        }
        StoreEvent::NamespaceDeleted(namespace) => {
            let deleted = pb::NamespaceDelete {
                name: namespace.as_str().to_owned(),
            };
            let payload = any(name::NAMESPACE_DELETE, &deleted);
            (namespace, "/namespaces/delete", committed_at, payload)
        }
    };
    Envelope {
        timestamp: Some(time_message(time)),
        namespace: namespace.as_str().to_owned(),
        topic: topic.to_owned(),
        event: Some(event),
    }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any {
        type_url: name.to_owned(),
        value: message.encode_to_vec(),
    }
}

// === impl Told ===

impl Told {
    pub fn new(envelope: Envelope) -> Self {
        Self {
            envelope,
            payload: OnceLock::new(),
        }
    }

    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    pub fn into_envelope(self) -> Envelope {
        self.envelope
    }

    fn payload(&self) -> &Payload {
        self.payload
            .get_or_init(|| Payload::read(self.envelope.event.as_ref()))
    }
}

impl Subject for Told {
    fn kind(_: &[String]) -> Option<Kind> {
        None
    }

    fn value(&self, path: &[String]) -> Option<Value<'_>> {
        let (field, rest) = path.split_first()?;
        match field.as_str() {
            "namespace" => text(&self.envelope.namespace),
            "topic" => text(&self.envelope.topic),
            "event" => self.payload().value(rest),
            _ => None,
        }
    }
}

/// A text that is there, and not so long that others would wait while a pattern is searched for in it.
/// The store's own are shorter: names, and labels with their keys, have at most as many bytes.
fn text(text: &str) -> Option<Value<'_>> {
    const MAX: usize = 4096;
    (1..=MAX)
        .contains(&text.len())
        .then_some(Value::Text(Cow::Borrowed(text)))
}

// === impl Payload ===

impl Payload {
    fn read(event: Option<&Any>) -> Self {
        let Some(Any { type_url, value }) = event else {
            return Self::Unknown;
        };
        let read = match type_url.as_str() {
            name::IMAGE_CREATE
            | name::IMAGE_UPDATE
            | name::NAMESPACE_CREATE
            | name::NAMESPACE_UPDATE => {
                // They are alike.
                images::ImageCreate::decode(&**value).map(|event| Self::Named {
                    name: event.name,
                    labels: event.labels,
                })
            }
            name::IMAGE_DELETE | name::NAMESPACE_DELETE => images::ImageDelete::decode(&**value)
                .map(|event| Self::Named {
                    name: event.name,
                    labels: BTreeMap::new(),
                }),
            name::CONTENT_CREATE | name::CONTENT_DELETE => {
                pb::ContentDelete::decode(&**value).map(|event| Self::Content {
                    digest: event.digest,
                })
            }
            _ => return Self::Unknown,
        };
        read.unwrap_or(Self::Unknown)
    }

    fn value(&self, path: &[String]) -> Option<Value<'_>> {
        let (field, rest) = path.split_first()?;
        match (self, field.as_str()) {
            (Self::Named { name, .. }, "name") => text(name),
            (Self::Named { labels, .. }, "labels") => {
                let value = labels.get(&rest.join("."))?;
                Some(Value::Text(Cow::Borrowed(value)))
            }
            (Self::Content { digest }, "digest") => text(digest),
            (Self::Named { .. } | Self::Content { .. } | Self::Unknown, _) => None,
        }
    }
}
