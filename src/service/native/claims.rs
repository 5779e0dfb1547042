//! Messages of claims and of what claims are about, from and to the domain's types.

use std::time::Duration;

use crate::domain::build::{Claim, Presence, Ttl};
use crate::domain::{Digest, Invalid};
use crate::proto::v1 as pb;
use crate::service::time_message;

// === from messages ===

/// How long a claim or a pin lasts where the caller does not say.
const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// A time that a caller may leave out.
pub fn duration(
    field: &'static str,
    message: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Invalid> {
    let Some(message) = message else {
        return Ok(None);
    };
    let seconds = u64::try_from(message.seconds);
    let nanos = u32::try_from(message.nanos);
    match (seconds, nanos) {
        (Ok(seconds), Ok(nanos @ 0..1_000_000_000)) => Ok(Some(Duration::new(seconds, nanos))),
        _ => Err(Invalid::new(field, "must not be negative")),
    }
}

/// How long a claim lasts; a minute where the caller does not say.
pub fn ttl(field: &'static str, message: Option<prost_types::Duration>) -> Result<Ttl, Invalid> {
    let ttl = duration(field, message)?.unwrap_or(DEFAULT_TTL);
    Ttl::try_from(ttl).map_err(|e| e.at(field))
}

/// What a place answered; a digest only of what is there.
pub fn presence(field: &'static str, message: Option<&pb::Presence>) -> Result<Presence, Invalid> {
    use pb::presence::Kind;
    let message = message.ok_or_else(|| Invalid::new(field, "must be set"))?;
    let refused = |part, why| Invalid::new(part, why).within(field);
    let kind = Kind::try_from(message.kind)
        .map_err(|_| refused("kind", "is none that this release knows"))?;
    let digest = digest("digest", &message.digest).map_err(|e| e.within(field))?;
    match (kind, digest) {
        (Kind::Unspecified, _) => Err(refused("kind", "must be set")),
        (Kind::Present, digest) => Ok(Presence::Present(digest)),
        (Kind::Absent | Kind::Unknown, Some(_)) => {
            Err(refused("digest", "is only of what is there"))
        }
        (Kind::Absent, None) => Ok(Presence::Absent),
        (Kind::Unknown, None) => Ok(Presence::Unknown),
    }
}

/// A digest that a caller may leave out.
pub fn digest(field: &'static str, text: &str) -> Result<Option<Digest>, Invalid> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|e: Invalid| e.at(field)),
    }
}

// === to messages ===

pub fn claim_message(claim: &Claim) -> pb::Claim {
    pb::Claim {
        holder: claim.holder.as_str().to_owned(),
        token: claim.token.0,
        deadline: Some(time_message(claim.deadline)),
        ttl: Some(duration_message(claim.ttl.get())),
    }
}

pub fn duration_message(time: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.subsec_nanos()).expect("less than 1,000,000,000"),
    }
}

pub fn digest_message(digest: Option<&Digest>) -> String {
    digest.map(Digest::text).unwrap_or_default()
}
