//! What a containerd answers, with bytes for texts: it does not check that they are UTF-8, and one that is
//! not would spoil the whole list.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;

use crate::proto::v1::{Descriptor, Image, ImportedLease, ImportedResource};

#[derive(Clone, PartialEq, Message)]
pub struct RawNamespace {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    #[prost(message, repeated, tag = "2")]
    labels: Vec<RawPair>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RawImage {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    #[prost(message, repeated, tag = "2")]
    labels: Vec<RawPair>,
    #[prost(message, optional, tag = "3")]
    target: Option<RawTarget>,
    #[prost(message, optional, tag = "7")]
    pub created_at: Option<Timestamp>,
    #[prost(message, optional, tag = "8")]
    pub updated_at: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct RawTarget {
    #[prost(bytes = "bytes", tag = "1")]
    media_type: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    digest: Bytes,
    #[prost(int64, tag = "3")]
    size: i64,
    #[prost(message, repeated, tag = "5")]
    annotations: Vec<RawPair>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RawLease {
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    #[prost(message, optional, tag = "2")]
    created_at: Option<Timestamp>,
    #[prost(message, repeated, tag = "3")]
    labels: Vec<RawPair>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RawResource {
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    kind: Bytes,
}

/// An entry of a map.
#[derive(Clone, PartialEq, Message)]
struct RawPair {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// Asks for what a lease holds.
#[derive(Clone, PartialEq, Message)]
pub struct RawResourcesRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
}

/// An answer with many of something.
#[derive(Clone, PartialEq, Message)]
pub struct Listed<T: Message + Default + Debug> {
    #[prost(message, repeated, tag = "1")]
    pub all: Vec<T>,
}

/// An answer with one of something.
#[derive(Clone, PartialEq, Message)]
pub struct Answered<T: Message + Default + Debug> {
    #[prost(message, optional, tag = "1")]
    pub one: Option<T>,
}

// All in the native API's form, or which text is not UTF-8.

impl RawNamespace {
    pub fn labels(self) -> Result<BTreeMap<String, String>, String> {
        pairs("labels", self.labels)
    }
}

impl RawImage {
    pub fn record(self) -> Result<Image, String> {
        let target = self.target.unwrap_or_default();
        Ok(Image {
            name: text("name", self.name)?,
            labels: pairs("labels", self.labels)?,
            target: Some(Descriptor {
                media_type: text("target.media_type", target.media_type)?,
                digest: text("target.digest", target.digest)?,
                size: target.size,
                annotations: pairs("target.annotations", target.annotations)?,
                ..Descriptor::default()
            }),
            created_at: self.created_at,
            updated_at: self.updated_at,
            ..Image::default()
        })
    }
}

impl RawLease {
    pub fn record(self, resources: Vec<RawResource>) -> Result<ImportedLease, String> {
        let resource = |resource: RawResource| {
            Ok(ImportedResource {
                id: text("resources", resource.id)?,
                r#type: text("resources", resource.kind)?,
            })
        };
        Ok(ImportedLease {
            id: text("id", self.id)?,
            created_at: self.created_at,
            labels: pairs("labels", self.labels)?,
            resources: resources
                .into_iter()
                .map(resource)
                .collect::<Result<_, String>>()?,
        })
    }
}

fn text(field: &str, bytes: Bytes) -> Result<String, String> {
    String::from_utf8(bytes.into()).map_err(|_| format!("{field} is not valid UTF-8"))
}

fn pairs(field: &str, pairs: Vec<RawPair>) -> Result<BTreeMap<String, String>, String> {
    pairs
        .into_iter()
        .map(|pair| Ok((text(field, pair.key)?, text(field, pair.value)?)))
        .collect()
}
