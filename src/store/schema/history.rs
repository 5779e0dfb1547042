//! The tables and keys of what images were.

use bytes::Bytes;

use super::{corrupt, parse_name, tenant_path};
use crate::domain::{ImageName, Namespace, Timestamp};
use crate::error::Error;
use crate::kv::{Key, Revision, Table, Versioned};

/// The generations of a namespace's images that have ended, by name and by the revision that made
/// them.
pub fn history(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "history"))
}

/// The names that have a history and no image, by when they were removed.
pub fn deleted(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "deleted"))
}

/// What is left of names whose whole history was dropped.
pub fn forgotten(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "forgotten"))
}

/// Where it stands before which revision a name may have been something that nothing is known of.
pub fn forgotten_key(namespace: &Namespace) -> Key {
    forgotten(namespace).key("until")
}

/// Without a value it is the revision of the row, which a write does not know before it is done.
pub fn parse_forgotten(row: &Versioned) -> Result<Revision, Error> {
    match *row.value {
        [] => Ok(row.revision),
        _ => row.value[..]
            .try_into()
            .map(|until| Revision(u64::from_be_bytes(until)))
            .map_err(|_| Error::corrupt("the note of dropped history makes no sense")),
    }
}

/// The leading part of a name's history rows.
pub fn history_part(name: &ImageName) -> Vec<u8> {
    let name = name.as_str().as_bytes();
    let mut part = Vec::with_capacity(name.len() + 1 + 8);
    part.extend_from_slice(name);
    part.push(0);
    part
}

pub fn history_row(name: &ImageName, made: Revision) -> Bytes {
    let mut row = history_part(name);
    row.extend_from_slice(&made.0.to_be_bytes());
    row.into()
}

pub fn history_key(namespace: &Namespace, name: &ImageName, made: Revision) -> Key {
    history(namespace).key(history_row(name, made))
}

pub fn parse_history_row(row: &[u8]) -> Result<(ImageName, Revision), Error> {
    let parts = row.split_last_chunk().and_then(|(rest, made)| {
        let name = rest.strip_suffix(&[0])?;
        Some((name, Revision(u64::from_be_bytes(*made))))
    });
    let (name, made) = parts.ok_or_else(|| corrupt("a history row has no revision", row))?;
    Ok((parse_name(name)?, made))
}

pub fn deleted_row(at: Timestamp, name: &ImageName) -> Bytes {
    // A clock before 1970 is as good as none.
    let millis = u64::try_from(at.millis()).unwrap_or(0);
    let mut row = millis.to_be_bytes().to_vec();
    row.extend_from_slice(name.as_str().as_bytes());
    row.into()
}

pub fn deleted_key(namespace: &Namespace, at: Timestamp, name: &ImageName) -> Key {
    deleted(namespace).key(deleted_row(at, name))
}

/// When a name was removed, in milliseconds since 1970, and which.
pub fn parse_deleted_row(row: &[u8]) -> Result<(u64, ImageName), Error> {
    let (millis, name) = row
        .split_first_chunk()
        .ok_or_else(|| corrupt("a row of deleted names has no time", row))?;
    Ok((u64::from_be_bytes(*millis), parse_name(name)?))
}
