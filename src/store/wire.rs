//! Records as they are stored: `imagestore.storage.v1` from and to the domain's types.

use bytes::Bytes;
use prost::Message;

use super::schema;
use crate::domain::{
    Descriptor, Image, ImageName, Invalid, Labels, Namespace, NamespaceRecord, Platform, Size,
    Timestamp,
};
use crate::error::Error;
use crate::proto::storage as pb;

/// The most bytes that a record may take, encoded.
pub const MAX_RECORD_BYTES: usize = 256 << 10;

/// Refuses a record that takes more than [`MAX_RECORD_BYTES`].
pub fn encode_image(image: &Image) -> Result<Bytes, Invalid> {
    let record = pb::ImageRecord {
        version: Some(pb::image_record::Version::V1(pb::ImageV1 {
            target: Some(stored_descriptor(&image.target)),
            labels: image.labels.clone().into_map(),
            created_at: Some(stored_instant(image.created_at)),
            updated_at: Some(stored_instant(image.updated_at)),
        })),
    };
    bounded(record.encode_to_vec(), "image")
}

pub fn decode_image(name: ImageName, value: Bytes) -> Result<Image, Error> {
    let corrupt =
        |why: &dyn std::fmt::Display| Error::corrupt(format!("the record of image {name}: {why}"));
    let record = pb::ImageRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::image_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    let read = || -> Result<_, Invalid> {
        Ok((
            read_descriptor(
                v1.target
                    .ok_or_else(|| Invalid::new("target", "is missing"))?,
            )?,
            Labels::try_from(v1.labels)?,
            read_instant(v1.created_at)?,
            read_instant(v1.updated_at)?,
        ))
    };
    let (target, labels, created_at, updated_at) = read().map_err(|cause| corrupt(&cause))?;
    Ok(Image {
        name,
        target,
        labels,
        created_at,
        updated_at,
    })
}

/// Refuses a record that takes more than [`MAX_RECORD_BYTES`].
pub fn encode_namespace(namespace: &NamespaceRecord) -> Result<Bytes, Invalid> {
    let record = pb::NamespaceRecord {
        version: Some(pb::namespace_record::Version::V1(pb::NamespaceV1 {
            labels: namespace.labels.clone().into_map(),
            created_at: Some(stored_instant(namespace.created_at)),
            updated_at: Some(stored_instant(namespace.updated_at)),
        })),
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
    let read = || -> Result<_, Invalid> {
        Ok((
            Labels::try_from(v1.labels)?,
            read_instant(v1.created_at)?,
            read_instant(v1.updated_at)?,
        ))
    };
    let (labels, created_at, updated_at) = read().map_err(|cause| corrupt(&cause))?;
    Ok(NamespaceRecord {
        name,
        labels,
        created_at,
        updated_at,
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
    let stored = stored.ok_or_else(|| Invalid::new("time", "is missing"))?;
    Timestamp::new(stored.seconds, stored.nanos)
}
