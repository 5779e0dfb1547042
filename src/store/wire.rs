//! Records as they are stored: `imagestore.storage.v1` from and to the domain's types.

mod answers;
mod build;
mod builder_answers;
mod builders;
mod cache;
mod configs;
mod target_answers;
mod targets;

use bytes::Bytes;
use prost::Message;

pub use self::answers::{Outcome, Recorded, decode_answer, encode_answer};
pub use self::build::{
    decode_claim, decode_pin, decode_steady, encode_claim, encode_pin, encode_steady,
};
pub use self::builder_answers::{BuilderAnswer, BuilderOutcome};
pub use self::builders::{
    BuilderRow, MAX_GENERATION_BYTES, decode_builder, decode_generation, encode_builder,
    encode_generation, encode_known_generation,
};
pub use self::configs::{
    ConfigOutcome, ConfigState, Marks, Summary, decode_cache, decode_marks, decode_summary,
    decode_touched, encode_cache, encode_marks, encode_summary, encode_touched,
};
pub use self::target_answers::TargetAnswer;
pub use self::targets::{TargetRow, decode_target, encode_declared_target, encode_target};

use super::{EndedBy, schema};
use crate::domain::{
    Descriptor, HistoryLimit, Image, ImageName, Invalid, Labels, Lease, LeaseId, Namespace,
    NamespaceRecord, Platform, Size, Timestamp,
};
use crate::error::Error;
use crate::proto::storage as pb;

/// The most bytes that a record may take, encoded.
pub const MAX_RECORD_BYTES: usize = 256 << 10;

/// An image as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    pub image: Image,
    /// How many generations the name had before this one.
    pub ordinal: u64,
}

/// A generation that has ended, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    pub row: ImageRow,
    pub ended_at: Timestamp,
    pub ended_by: EndedBy,
    /// Who ended it; empty where that is not known.
    pub caller: String,
}

/// How much a lease holds, as it is stored: how many rows say what, and how many bytes their keys have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    pub resources: u32,
    pub bytes: u32,
}

/// Refuses a record that takes more than [`MAX_RECORD_BYTES`].
pub fn encode_image(image: &Image, ordinal: u64) -> Result<Bytes, Invalid> {
    let record = pb::ImageRecord {
        version: Some(pb::image_record::Version::V1(image_v1(image, ordinal))),
    };
    bounded(record.encode_to_vec(), "image")
}

pub fn decode_image(name: ImageName, value: Bytes) -> Result<ImageRow, Error> {
    let corrupt =
        |why: &dyn std::fmt::Display| Error::corrupt(format!("the record of image {name}: {why}"));
    let record = pb::ImageRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::image_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    let ordinal = v1.ordinal;
    let image = read_image(name.clone(), v1).map_err(|cause| corrupt(&cause))?;
    Ok(ImageRow { image, ordinal })
}

pub fn encode_history(ended: &HistoryRow) -> Bytes {
    let record = pb::HistoryRecord {
        version: Some(pb::history_record::Version::V1(pb::HistoryV1 {
            image: Some(image_v1(&ended.row.image, ended.row.ordinal)),
            ended_at: Some(stored_instant(ended.ended_at)),
            ended_by: stored_ended_by(ended.ended_by).into(),
            caller: ended.caller.clone(),
        })),
    };
    record.encode_to_vec().into()
}

pub fn decode_history(name: ImageName, value: Bytes) -> Result<HistoryRow, Error> {
    let corrupt = |why: &dyn std::fmt::Display| {
        Error::corrupt(format!("a generation of image {name} in history: {why}"))
    };
    let record = pb::HistoryRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::history_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    let read = || -> Result<_, Invalid> {
        let ended_by = read_ended_by(v1.ended_by())?;
        let image = v1.image.ok_or_else(|| missing("image"))?;
        let ordinal = image.ordinal;
        let image = read_image(name.clone(), image)?;
        Ok(HistoryRow {
            row: ImageRow { image, ordinal },
            ended_at: read_instant(v1.ended_at)?,
            ended_by,
            caller: v1.caller,
        })
    };
    read().map_err(|cause| corrupt(&cause))
}

fn stored_ended_by(by: EndedBy) -> pb::EndedBy {
    match by {
        EndedBy::Put => pb::EndedBy::Put,
        EndedBy::Delete => pb::EndedBy::Delete,
    }
}

fn read_ended_by(stored: pb::EndedBy) -> Result<EndedBy, Invalid> {
    match stored {
        pb::EndedBy::Put => Ok(EndedBy::Put),
        pb::EndedBy::Delete => Ok(EndedBy::Delete),
        // Read so also where it is one that is not known.
        pb::EndedBy::Unspecified => Err(Invalid::new(
            "ended_by",
            "is missing, or is none that this release knows",
        )),
    }
}

fn missing(field: &'static str) -> Invalid {
    Invalid::new(field, "is missing")
}

/// How many bytes an image takes as a record.
pub fn image_bytes(image: &Image) -> usize {
    image_v1(image, 0).encoded_len()
}

/// An image inside another record.
fn image_v1(image: &Image, ordinal: u64) -> pb::ImageV1 {
    pb::ImageV1 {
        target: Some(stored_descriptor(&image.target)),
        labels: image.labels.clone().into_map(),
        created_at: Some(stored_instant(image.created_at)),
        updated_at: Some(stored_instant(image.updated_at)),
        ordinal,
    }
}

fn read_image(name: ImageName, v1: pb::ImageV1) -> Result<Image, Invalid> {
    let target = v1.target.ok_or_else(|| missing("target"))?;
    Ok(Image {
        name,
        target: read_descriptor(target)?,
        labels: Labels::try_from(v1.labels)?,
        created_at: read_instant(v1.created_at)?,
        updated_at: read_instant(v1.updated_at)?,
    })
}

/// Refuses a record that takes more than [`MAX_RECORD_BYTES`].
pub fn encode_namespace(namespace: &NamespaceRecord) -> Result<Bytes, Invalid> {
    let record = pb::NamespaceRecord {
        version: Some(pb::namespace_record::Version::V1(namespace_v1(namespace))),
    };
    bounded(record.encode_to_vec(), "namespace")
}

pub fn decode_namespace(name: Namespace, value: Bytes) -> Result<NamespaceRecord, Error> {
    let corrupt = |why: &dyn std::fmt::Display| {
        Error::corrupt(format!("the record of namespace {name}: {why}"))
    };
    let record = pb::NamespaceRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::namespace_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    read_namespace(name.clone(), v1).map_err(|cause| corrupt(&cause))
}

/// A namespace's record inside another.
fn namespace_v1(namespace: &NamespaceRecord) -> pb::NamespaceV1 {
    pb::NamespaceV1 {
        labels: namespace.labels.clone().into_map(),
        created_at: Some(stored_instant(namespace.created_at)),
        updated_at: Some(stored_instant(namespace.updated_at)),
        history_limit: namespace.history_limit.map(HistoryLimit::get),
    }
}

fn read_namespace(name: Namespace, v1: pb::NamespaceV1) -> Result<NamespaceRecord, Invalid> {
    Ok(NamespaceRecord {
        name,
        labels: Labels::try_from(v1.labels)?,
        history_limit: v1.history_limit.map(HistoryLimit::try_from).transpose()?,
        created_at: read_instant(v1.created_at)?,
        updated_at: read_instant(v1.updated_at)?,
    })
}

/// Refuses a record that takes more than [`MAX_RECORD_BYTES`].
pub fn encode_lease(lease: &Lease) -> Result<Bytes, Invalid> {
    let record = pb::LeaseRecord {
        version: Some(pb::lease_record::Version::V1(pb::LeaseV1 {
            labels: lease.labels.clone(),
            created_at: Some(stored_instant(lease.created_at)),
        })),
    };
    bounded(record.encode_to_vec(), "lease")
}

pub fn decode_lease(id: LeaseId, value: Bytes) -> Result<Lease, Error> {
    let corrupt =
        |why: &dyn std::fmt::Display| Error::corrupt(format!("the record of lease {id}: {why}"));
    let record = pb::LeaseRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::lease_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    let created_at = read_instant(v1.created_at).map_err(|cause| corrupt(&cause))?;
    Ok(Lease {
        id,
        labels: v1.labels,
        created_at,
    })
}

pub fn encode_holds(holds: Holds) -> Bytes {
    let record = pb::HoldsRecord {
        version: Some(pb::holds_record::Version::V1(pb::HoldsV1 {
            resources: holds.resources,
            bytes: holds.bytes,
        })),
    };
    record.encode_to_vec().into()
}

pub fn decode_holds(id: &LeaseId, value: Bytes) -> Result<Holds, Error> {
    let corrupt =
        |why: &dyn std::fmt::Display| Error::corrupt(format!("how much lease {id} holds: {why}"));
    let record = pb::HoldsRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::holds_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    Ok(Holds {
        resources: v1.resources,
        bytes: v1.bytes,
    })
}

fn bounded(encoded: Vec<u8>, field: &'static str) -> Result<Bytes, Invalid> {
    if encoded.len() > MAX_RECORD_BYTES {
        let bytes = encoded.len();
        return Err(Invalid::new(
            field,
            format!("takes {bytes} bytes as a record, more than {MAX_RECORD_BYTES}"),
        ));
    }
    Ok(encoded.into())
}

fn stored_descriptor(target: &Descriptor) -> pb::Descriptor {
    pb::Descriptor {
        media_type: target.media_type().as_str().to_owned(),
        digest: schema::digest_part(target.digest()).into(),
        size: target.size().get(),
        annotations: target.annotations().clone(),
        urls: target.urls().to_vec(),
        platform: target.platform().map(|platform| {
            Box::new(pb::Platform {
                architecture: platform.architecture().to_owned(),
                os: platform.os().to_owned(),
                os_version: platform.os_version().to_owned(),
                os_features: platform.os_features().to_vec(),
                variant: platform.variant().to_owned(),
            })
        }),
        artifact_type: target
            .artifact_type()
            .map(|kind| kind.as_str().to_owned())
            .unwrap_or_default(),
        data: target.data().cloned().unwrap_or_default(),
    }
}

fn read_descriptor(stored: pb::Descriptor) -> Result<Descriptor, Invalid> {
    let Some((digest, [])) = schema::split_digest(&stored.digest) else {
        return Err(Invalid::new(
            "digest",
            "is of an unknown algorithm or length",
        ));
    };
    let mut target = Descriptor::new(
        stored.media_type.parse()?,
        digest,
        Size::try_from(stored.size)?,
    )
    .with_annotations(stored.annotations)?
    .with_urls(stored.urls)?;
    if let Some(platform) = stored.platform {
        target = target.with_platform(Some(
            Platform::new(platform.architecture, platform.os)?
                .with_os_version(platform.os_version)
                .with_os_features(platform.os_features)
                .with_variant(platform.variant),
        ));
    }
    if !stored.artifact_type.is_empty() {
        target = target.with_artifact_type(Some(stored.artifact_type.parse()?));
    }
    if !stored.data.is_empty() {
        target = target.with_stored_data(stored.data);
    }
    Ok(target)
}

fn stored_instant(time: Timestamp) -> pb::Instant {
    pb::Instant {
        seconds: time.seconds(),
        nanos: time.nanos(),
    }
}

fn read_instant(stored: Option<pb::Instant>) -> Result<Timestamp, Invalid> {
    let stored = stored.ok_or_else(|| missing("time"))?;
    Timestamp::new(stored.seconds, stored.nanos)
}
