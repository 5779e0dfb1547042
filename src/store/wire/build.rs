//! What is stored of builders and build targets.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::{read_instant, stored_instant};
use crate::domain::build::{Claim, Moment, Pin, Sequence, Token, Ttl};
use crate::domain::{Digest, Invalid};
use crate::error::Error;
use crate::proto::storage as pb;
use crate::store::schema;

pub fn encode_steady(noted: &Moment) -> Bytes {
    let record = pb::SteadyRecord {
        steady: Some(stored_instant(noted.steady)),
        wall: Some(stored_instant(noted.wall)),
    };
    record.encode_to_vec().into()
}

pub fn decode_steady(value: Bytes) -> Result<Moment, Error> {
    let corrupt = |why: &dyn std::fmt::Display| {
        Error::corrupt(format!("the note of the steady clock: {why}"))
    };
    let record = pb::SteadyRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let read = || {
        Ok(Moment {
            steady: read_instant(record.steady)?,
            wall: read_instant(record.wall)?,
        })
    };
    read().map_err(|cause: Invalid| corrupt(&cause))
}

pub fn encode_claim(claim: &Claim) -> Bytes {
    let record = pb::ClaimRecord {
        version: Some(pb::claim_record::Version::V1(stored_claim(claim))),
    };
    record.encode_to_vec().into()
}

pub(super) fn stored_claim(claim: &Claim) -> pb::ClaimV1 {
    pb::ClaimV1 {
        holder: claim.holder.as_str().to_owned(),
        token: claim.token.0,
        ttl_millis: stored_millis(claim.ttl.get()),
        deadline: Some(stored_instant(claim.deadline)),
    }
}

pub fn decode_claim(value: Bytes) -> Result<Claim, Error> {
    let corrupt = |why: &dyn std::fmt::Display| Error::corrupt(format!("a claim: {why}"));
    let record = pb::ClaimRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::claim_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    read_claim(v1).map_err(|cause| corrupt(&cause))
}

pub(super) fn read_claim(v1: pb::ClaimV1) -> Result<Claim, Invalid> {
    Ok(Claim {
        holder: v1.holder.parse()?,
        token: Token(v1.token),
        ttl: Ttl::try_from(Duration::from_millis(v1.ttl_millis))?,
        deadline: read_instant(v1.deadline)?,
    })
}

pub fn encode_pin(pin: &Pin) -> Bytes {
    let record = pb::PinRecord {
        version: Some(pb::pin_record::Version::V1(stored_pin(pin))),
    };
    record.encode_to_vec().into()
}

pub(super) fn stored_pin(pin: &Pin) -> pb::PinV1 {
    pb::PinV1 {
        generation: pin.generation.0,
        holder: pin.holder.as_str().to_owned(),
        ttl_millis: stored_millis(pin.ttl.get()),
        deadline: Some(stored_instant(pin.deadline)),
    }
}

pub fn decode_pin(value: Bytes) -> Result<Pin, Error> {
    let corrupt = |why: &dyn std::fmt::Display| Error::corrupt(format!("a pin: {why}"));
    let record = pb::PinRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::pin_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    read_pin(v1).map_err(|cause| corrupt(&cause))
}

pub(super) fn read_pin(v1: pb::PinV1) -> Result<Pin, Invalid> {
    Ok(Pin {
        generation: Sequence(v1.generation),
        holder: v1.holder.parse()?,
        ttl: Ttl::try_from(Duration::from_millis(v1.ttl_millis))?,
        deadline: read_instant(v1.deadline)?,
    })
}

pub(super) fn stored_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn stored_digest(digest: Option<Digest>) -> Bytes {
    digest.map_or_else(Bytes::new, |digest| schema::digest_part(&digest).into())
}

pub(super) fn read_digest(field: &'static str, stored: &[u8]) -> Result<Option<Digest>, Invalid> {
    match stored {
        [] => Ok(None),
        stored => match schema::split_digest(stored) {
            Some((digest, [])) => Ok(Some(digest)),
            Some(_) | None => Err(Invalid::new(field, "is of an unknown algorithm or length")),
        },
    }
}
