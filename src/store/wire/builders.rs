//! What is stored of builders.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::build::{read_digest, stored_digest, stored_millis};
use super::{bounded, missing, read_descriptor, read_instant, stored_descriptor, stored_instant};
use crate::domain::build::{
    Ages, BuilderKey, Failures, Generation, KeepLast, Policy, Probe, Sequence, Sighting, Token,
};
use crate::domain::{Digest, Invalid, Timestamp};
use crate::error::Error;
use crate::proto::storage as pb;

/// A builder as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuilderRow {
    pub policy: Policy,
    /// What the base is, where somebody has told.
    pub base_digest: Option<Digest>,
    /// When that was told: the token that a claim would have got instead.
    pub base_told: Token,
    /// The last number that a generation got.
    pub last: Sequence,
    pub failures: Option<Failures>,
}

/// The most bytes that a generation takes as a record when it gets a copy.
pub const MAX_GENERATION_BYTES: usize = 16 << 10;

/// Refuses a record that takes too much.
pub fn encode_builder(builder: &BuilderRow) -> Result<Bytes, Invalid> {
    let record = pb::BuilderRecord {
        version: Some(pb::builder_record::Version::V1(stored_builder(builder))),
    };
    bounded(record.encode_to_vec(), "builder")
}

pub fn decode_builder(key: &BuilderKey, value: Bytes) -> Result<BuilderRow, Error> {
    let corrupt =
        |why: &dyn std::fmt::Display| Error::corrupt(format!("the record of builder {key}: {why}"));
    let record = pb::BuilderRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::builder_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    read_builder(v1).map_err(|cause| corrupt(&cause))
}

pub(super) fn stored_builder(builder: &BuilderRow) -> pb::BuilderV1 {
    let Policy {
        ages,
        keep_last,
        tracks_base,
        probe,
    } = builder.policy;
    pb::BuilderV1 {
        max_age_millis: ages.max_age().map(stored_millis),
        refresh_after_millis: ages.refresh_after().map(stored_millis),
        keep_last: keep_last.get(),
        track_base_digest: tracks_base,
        probe_after_millis: match probe {
            Probe::Never => None,
            Probe::Always => Some(0),
            Probe::IfOlderThan(time) => Some(stored_millis(time)),
        },
        base_digest: stored_digest(builder.base_digest),
        base_told: builder.base_told.0,
        last_sequence: builder.last.0,
        failures: builder
            .failures
            .as_ref()
            .map(|failures| pb::BuilderFailures {
                count: failures.count,
                last_error: failures.last_error.clone(),
                last_at: Some(stored_instant(failures.last_at)),
                delay_millis: stored_millis(failures.delay),
            }),
    }
}

pub(super) fn read_builder(v1: pb::BuilderV1) -> Result<BuilderRow, Invalid> {
    let age = |millis: Option<u64>| millis.map(Duration::from_millis);
    let failures = v1.failures.map(|failures| -> Result<_, Invalid> {
        Ok(Failures {
            count: failures.count,
            last_error: failures.last_error,
            last_at: read_instant(failures.last_at)?,
            delay: Duration::from_millis(failures.delay_millis),
        })
    });
    Ok(BuilderRow {
        policy: Policy {
            ages: Ages::new(age(v1.max_age_millis), age(v1.refresh_after_millis))?,
            keep_last: KeepLast::try_from(v1.keep_last)?,
            tracks_base: v1.track_base_digest,
            probe: match v1.probe_after_millis {
                None => Probe::Never,
                Some(0) => Probe::Always,
                Some(millis) => Probe::IfOlderThan(Duration::from_millis(millis)),
            },
        },
        base_digest: read_digest("base_digest", &v1.base_digest)?,
        base_told: Token(v1.base_told),
        last: Sequence(v1.last_sequence),
        failures: failures.transpose()?,
    })
}

/// A generation that gets no copy: what is noted of those that it has always has room.
pub fn encode_known_generation(generation: &Generation) -> Bytes {
    let record = pb::BuilderGenerationRecord {
        version: Some(pb::builder_generation_record::Version::V1(
            stored_generation(generation),
        )),
    };
    record.encode_to_vec().into()
}

/// Refuses a generation that takes too much: one with very many copies, or annotations.
pub fn encode_generation(generation: &Generation) -> Result<Bytes, Invalid> {
    let encoded = encode_known_generation(generation);
    if encoded.len() > MAX_GENERATION_BYTES {
        let bytes = encoded.len();
        let reason = format!(
            "takes {bytes} bytes as a record with its copies, more than {MAX_GENERATION_BYTES}"
        );
        return Err(Invalid::new("image", reason));
    }
    Ok(encoded)
}

pub fn decode_generation(
    key: &BuilderKey,
    sequence: Sequence,
    value: Bytes,
) -> Result<Generation, Error> {
    let corrupt = |why: &dyn std::fmt::Display| {
        Error::corrupt(format!("generation {} of builder {key}: {why}", sequence.0))
    };
    let record = pb::BuilderGenerationRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::builder_generation_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    let generation = read_generation(sequence, v1).map_err(|cause| corrupt(&cause))?;
    if generation.copies.is_empty() {
        return Err(corrupt(&"has no copy"));
    }
    Ok(generation)
}

pub(super) fn stored_generation(generation: &Generation) -> pb::BuilderGenerationV1 {
    let copies = generation
        .copies
        .iter()
        .map(|(location, copy)| pb::BuilderCopy {
            location: location.as_str().to_owned(),
            seen_at: Some(stored_instant(copy.seen_at)),
            unknown_at: copy.unknown_at.map(stored_instant),
            retired_at: copy.retired_at.map(stored_instant),
        });
    pb::BuilderGenerationV1 {
        image: Some(stored_descriptor(&generation.image)),
        base_digest: stored_digest(generation.base_digest),
        built_at: Some(stored_instant(generation.built_at)),
        copies: copies.collect(),
    }
}

pub(super) fn read_generation(
    sequence: Sequence,
    v1: pb::BuilderGenerationV1,
) -> Result<Generation, Invalid> {
    let copies = v1.copies.into_iter().map(|copy| -> Result<_, Invalid> {
        let sighting = Sighting {
            seen_at: read_instant(copy.seen_at)?,
            unknown_at: read_maybe(copy.unknown_at)?,
            retired_at: read_maybe(copy.retired_at)?,
        };
        Ok((copy.location.parse()?, sighting))
    });
    Ok(Generation {
        sequence,
        image: read_descriptor(v1.image.ok_or_else(|| missing("image"))?)?,
        base_digest: read_digest("base_digest", &v1.base_digest)?,
        built_at: read_instant(v1.built_at)?,
        copies: copies.collect::<Result<_, _>>()?,
    })
}

pub(super) fn read_maybe(stored: Option<pb::Instant>) -> Result<Option<Timestamp>, Invalid> {
    stored.map(|at| read_instant(Some(at))).transpose()
}
