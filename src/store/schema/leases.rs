//! The tables and keys of leases.

use bytes::Bytes;

use super::{corrupt, digest_part, parse_text, split_digest, tenant_path};
use crate::domain::{LeaseId, Namespace, Resource, Snapshotter, Timestamp};
use crate::error::Error;
use crate::kv::{Key, Table};

/// A namespace's leases, by id. Logged, so that the log tells which write made a namespace.
pub fn leases(namespace: &Namespace) -> Table {
    Table::logged(tenant_path(namespace, "leases"))
}

/// What a namespace's leases hold, by lease.
pub fn leased(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "leased"))
}

/// How much a namespace's leases hold: a row for each lease, by id.
pub fn held(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "held"))
}

/// The leases that say when they expire, by when.
pub fn expiring(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "expiring"))
}

pub fn lease_row(id: &LeaseId) -> Bytes {
    Bytes::copy_from_slice(id.as_str().as_bytes())
}

pub fn lease_key(namespace: &Namespace, id: &LeaseId) -> Key {
    leases(namespace).key(lease_row(id))
}

pub fn parse_lease(row: &[u8]) -> Result<LeaseId, Error> {
    parse_text(row, "a lease's key")
}

/// Where it stands how much a lease holds. The row comes and goes with the lease.
pub fn held_key(namespace: &Namespace, id: &LeaseId) -> Key {
    held(namespace).key(lease_row(id))
}

/// The seconds, so that those before 1970 come first; then the nanoseconds, and the id.
pub fn expiring_row(at: Timestamp, id: &LeaseId) -> Bytes {
    let mut row = (at.seconds() ^ i64::MIN).to_be_bytes().to_vec();
    row.extend_from_slice(&at.nanos().to_be_bytes());
    row.extend_from_slice(id.as_str().as_bytes());
    row.into()
}

pub fn expiring_key(namespace: &Namespace, at: Timestamp, id: &LeaseId) -> Key {
    expiring(namespace).key(expiring_row(at, id))
}

/// When a lease expires, and which.
pub fn parse_expiring_row(row: &[u8]) -> Result<(Timestamp, LeaseId), Error> {
    let parse = || {
        let (seconds, rest) = row.split_first_chunk()?;
        let (nanos, id) = rest.split_first_chunk()?;
        let seconds = i64::from_be_bytes(*seconds) ^ i64::MIN;
        let at = Timestamp::new(seconds, u32::from_be_bytes(*nanos)).ok()?;
        Some((at, id))
    };
    let (at, id) =
        parse().ok_or_else(|| corrupt("a row of leases that expire has no time", row))?;
    Ok((at, parse_lease(id)?))
}

/// The leading part of the rows of what a lease holds.
pub fn leased_part(id: &LeaseId) -> Vec<u8> {
    let mut part = id.as_str().as_bytes().to_vec();
    part.push(0);
    part
}

pub fn leased_row(id: &LeaseId, resource: &Resource) -> Bytes {
    let mut row = leased_part(id);
    let mut part = |bytes: &[u8]| row.extend_from_slice(bytes);
    match resource {
        Resource::Content(digest) => {
            part(b"content\0");
            part(&digest_part(digest));
        }
        Resource::Image(name) => {
            part(b"images\0");
            part(name.as_str().as_bytes());
        }
        Resource::Ingest(id) => {
            part(b"ingests\0");
            part(id.as_str().as_bytes());
        }
        Resource::Snapshot { snapshotter, key } => {
            part(SNAPSHOTS.as_bytes());
            part(snapshotter.as_str().as_bytes());
            part(b"\0");
            part(key.as_str().as_bytes());
        }
    }
    row.into()
}

pub fn leased_key(namespace: &Namespace, id: &LeaseId, resource: &Resource) -> Key {
    leased(namespace).key(leased_row(id, resource))
}

/// What the type of a snapshot begins with; its keeper follows.
const SNAPSHOTS: &str = "snapshots/";

/// A lease, and something that it holds.
pub fn parse_leased_row(row: &[u8]) -> Result<(LeaseId, Resource), Error> {
    let parse = || {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let mut parts = row.splitn(3, |byte| *byte == 0);
        let lease = text(parts.next()?)?.parse().ok()?;
        let (kind, id) = (text(parts.next()?)?, parts.next()?);
        let resource = match kind {
            "content" => {
                let (digest, rest) = split_digest(id)?;
                Resource::Content(rest.is_empty().then_some(digest)?)
            }
            "images" => Resource::Image(text(id)?.parse().ok()?),
            "ingests" => Resource::Ingest(text(id)?.parse().ok()?),
            kind => Resource::Snapshot {
                snapshotter: kind.strip_prefix(SNAPSHOTS)?.parse::<Snapshotter>().ok()?,
                key: text(id)?.parse().ok()?,
            },
        };
        Some((lease, resource))
    };
    parse().ok_or_else(|| corrupt("a row of what leases hold makes no sense", row))
}
