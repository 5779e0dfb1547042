//! The schema, executable: every table and every key there is.
//!
//! ```text
//! meta                        "schema" -> u32, "store" -> 16 bytes, "backup" -> LastBackup,
//!                             "gaps" -> revisions that there never were, "steady" -> SteadyRecord; the one table
//!                             outside a version
//! v1/namespaces               name -> NamespaceRecord
//! v1/<namespace>/images       name -> ImageRecord
//! v1/<namespace>/digests      digest, name -> (nothing)        the index of images by target
//! v1/<namespace>/history      name, revision that made it -> HistoryRecord
//! v1/<namespace>/deleted      when, name -> (nothing)          the index of names that are history only
//! v1/<namespace>/forgotten    "until" -> the last revision that a wholly dropped history had, 8 bytes;
//!                             nothing for the row's own
//! v1/<namespace>/leases       id -> LeaseRecord
//! v1/<namespace>/leased       id of a lease, type, resource -> (nothing)      what leases hold
//! v1/<namespace>/held         id of a lease -> HoldsRecord     how much it holds
//! v1/<namespace>/expiring     when, id -> (nothing)            the index of leases that expire
//! v1/<namespace>/configs      id -> the config, byte for byte
//! v1/<namespace>/summaries    id -> SummaryRecord              what is read from its bytes
//! v1/<namespace>/marks        id -> MarksRecord                what is known of it beside them
//! v1/<namespace>/touched      id -> TouchedRecord              when it was last said to be used
//! v1/<namespace>/children     link to the parent, id -> (nothing)             the index of configs by parent
//! v1/<namespace>/heads        id -> (nothing)                  the index of configs without children
//! v1/<namespace>/layers       layer, layers above it, id -> (nothing)         the index of configs by layer
//! v1/<namespace>/targets      target, id -> (nothing)          the index of configs by what has them
//! v1/<namespace>/targeted     id, target -> (nothing)          the same by config
//! v1/<namespace>/cache        link to the parent, fingerprint, created (the newest first), id -> CacheRecord
//!                             the index of build steps
//! v1/<namespace>/gone         link -> (nothing)                links that lead nowhere and may have rows
//! v1/<namespace>/lineage      "turn" -> (nothing)              written whenever a config gets a parent
//! v1/<namespace>/builders     builder -> BuilderRecord
//! v1/<namespace>/generations  builder, sequence -> BuilderGenerationRecord    the images that builders have
//! v1/<namespace>/pins         builder, id of a pin -> PinRecord               who uses which of them
//! v1/<namespace>/builderclaims                builder -> ClaimRecord          who makes a new one
//! v1/<namespace>/buildtargets name, version -> TargetRecord
//! v1/<namespace>/buildclaims  name, version -> ClaimRecord     who is at which of them
//! v1/<namespace>/buildgraph   "graph" -> (nothing)             written whenever they depend otherwise on each other
//! v1/requests-<day>           request id -> RequestRecord
//! v1/changes                  kept by the engine: revision -> ChangeRecord
//! ```
//!
//! Keys are built so that their byte order is the order of their parts on every engine: a digest is
//! one byte for the algorithm and then its bytes, of a length that the algorithm fixes; numbers have
//! eight bytes, the high one first, nanoseconds four and layers two; a layer is the SHA-256 of its chain id's text; a link is an id and a revision; text comes last, or ends with NUL, which no name has. So the leading parts of a key are a prefix of all keys that share them.

mod build;
mod configs;
mod history;
mod leases;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use self::build::*;
pub use self::configs::*;
pub use self::history::*;
pub use self::leases::*;
use super::backup::LastBackup;
use super::epoch::Gap;
use crate::domain::{Algorithm, Digest, ImageName, Namespace, Timestamp};
use crate::error::Error;
use crate::kv::{Key, Revision, Table};

/// The version that this release writes.
pub const VERSION: u32 = 1;

/// Where the schema version stands, as four bytes, high byte first.
pub fn schema_version() -> Key {
    Table::new("meta").key("schema")
}

/// Where the store's id stands, as sixteen bytes.
pub fn store_id() -> Key {
    Table::new("meta").key("store")
}

/// Where it stands when the last backup was completed, and of which revision: milliseconds since 1970
/// and the revision, each as eight bytes.
pub fn last_backup() -> Key {
    Table::new("meta").key("backup")
}

pub fn last_backup_value(last: &LastBackup) -> Vec<u8> {
    let mut value = last.at.millis().to_be_bytes().to_vec();
    value.extend_from_slice(&last.revision.0.to_be_bytes());
    value
}

pub fn parse_last_backup(value: &[u8]) -> Result<LastBackup, Error> {
    let parse = || {
        let (millis, revision) = value.split_first_chunk()?;
        let at = Timestamp::from_millis(i64::from_be_bytes(*millis)).ok()?;
        let revision = Revision(u64::from_be_bytes(revision.try_into().ok()?));
        Some(LastBackup { at, revision })
    };
    parse().ok_or_else(|| Error::corrupt("the note of the last backup makes no sense"))
}

/// Where it stands which revisions the store never had, because it was restored: for each time the
/// backup's revision and the one that the restored store began at, each as eight bytes.
pub fn gaps() -> Key {
    Table::new("meta").key("gaps")
}

pub fn gap_value(gap: Gap) -> [u8; 16] {
    (u128::from(gap.after.0) << 64 | u128::from(gap.before.0)).to_be_bytes()
}

pub fn parse_gaps(value: &[u8]) -> Result<Vec<Gap>, Error> {
    let (gaps, rest) = value.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(Error::corrupt("the note of restores makes no sense"));
    }
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |high, byte| high << 8 | u64::from(*byte))
    };
    let gap = |bytes: &[u8; 16]| Gap {
        after: Revision(number(&bytes[..8])),
        before: Revision(number(&bytes[8..])),
    };
    Ok(gaps.iter().map(gap).collect())
}

/// Whether a backup can have a table of this path.
pub fn may_be_backed_up(path: &str) -> bool {
    path == "meta"
        || (path != CHANGES
            && path
                .strip_prefix(PREFIX)
                .is_some_and(|rest| !rest.is_empty()))
}

/// What the paths of all tables of this version begin with.
pub const PREFIX: &str = "v1/";

/// The change log, which the engine keeps.
pub const CHANGES: &str = "v1/changes";

/// All namespaces, by name. Logged.
pub fn namespaces() -> Table {
    Table::logged("v1/namespaces")
}

/// A namespace's images, by name. Logged.
pub fn images(namespace: &Namespace) -> Table {
    Table::logged(tenant_path(namespace, "images"))
}

/// The namespace that a table is of, whatever it holds.
pub fn whose(path: &str) -> Option<&str> {
    let (namespace, _) = path.strip_prefix(PREFIX)?.split_once('/')?;
    Some(namespace)
}

/// The namespace whose images a table has, if it has any.
pub fn whose_images(path: &str) -> Option<&str> {
    match path.strip_prefix(PREFIX)?.split_once('/')? {
        (namespace, "images") => Some(namespace),
        _ => None,
    }
}

/// The tables that a namespace may have.
const TENANT_KINDS: [&str; 28] = [
    "images",
    "digests",
    "history",
    "deleted",
    "forgotten",
    "leases",
    "leased",
    "held",
    "expiring",
    "configs",
    "summaries",
    "marks",
    "touched",
    "children",
    "heads",
    "layers",
    "targets",
    "targeted",
    "cache",
    "gone",
    "lineage",
    "builders",
    "generations",
    "pins",
    "builderclaims",
    "buildtargets",
    "buildclaims",
    "buildgraph",
];

/// The namespace that a table is of, and its kind.
pub fn parse_tenant(table: &Table) -> Option<(&str, &str)> {
    let (namespace, kind) = table.path().strip_prefix(PREFIX)?.split_once('/')?;
    TENANT_KINDS.contains(&kind).then_some((namespace, kind))
}

/// The index of a namespace's images by target digest and name.
pub fn digests(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "digests"))
}

/// All tables that a namespace may have. A namespace is empty when those that hold records are.
pub fn tenant_tables(namespace: &Namespace) -> [Table; TENANT_KINDS.len()] {
    [
        images(namespace),
        digests(namespace),
        history(namespace),
        deleted(namespace),
        forgotten(namespace),
        leases(namespace),
        leased(namespace),
        held(namespace),
        expiring(namespace),
        configs(namespace),
        summaries(namespace),
        marks(namespace),
        touched(namespace),
        children(namespace),
        heads(namespace),
        layers(namespace),
        targets(namespace),
        targeted(namespace),
        cache(namespace),
        gone(namespace),
        lineage_key(namespace).table,
        builders(namespace),
        generations(namespace),
        pins(namespace),
        builder_claims(namespace),
        build_targets(namespace),
        build_claims(namespace),
        build_graph_key(namespace).table,
    ]
}

/// What the paths of the tables of answers begin with.
pub const REQUESTS: &str = "v1/requests-";

/// The answers of a day, counted from 1970, by request id.
pub fn requests(day: u64) -> Table {
    Table::new(format!("{REQUESTS}{day}"))
}

/// The day of a table of answers.
pub fn parse_requests(table: &Table) -> Option<u64> {
    table.path().strip_prefix(REQUESTS)?.parse().ok()
}

pub fn request_key(day: u64, id: &str) -> Key {
    requests(day).key(Bytes::copy_from_slice(id.as_bytes()))
}

fn tenant_path(namespace: &Namespace, kind: &str) -> String {
    let namespace = namespace.as_str();
    let mut path = String::with_capacity(4 + namespace.len() + kind.len());
    path.push_str("v1/");
    path.push_str(namespace);
    path.push('/');
    path.push_str(kind);
    path
}

pub fn namespace_key(name: &Namespace) -> Key {
    namespaces().key(Bytes::copy_from_slice(name.as_str().as_bytes()))
}

pub fn image_row(name: &ImageName) -> Bytes {
    Bytes::copy_from_slice(name.as_str().as_bytes())
}

pub fn image_key(namespace: &Namespace, name: &ImageName) -> Key {
    images(namespace).key(image_row(name))
}

/// The leading part of a digest index row.
pub fn digest_part(digest: &Digest) -> Vec<u8> {
    let bytes = digest.as_bytes();
    let mut part = Vec::with_capacity(1 + bytes.len());
    part.push(algorithm_byte(digest.algorithm()));
    part.extend_from_slice(bytes);
    part
}

pub fn digest_row(digest: &Digest, name: &ImageName) -> Bytes {
    let mut row = digest_part(digest);
    row.extend_from_slice(name.as_str().as_bytes());
    row.into()
}

pub fn digest_key(namespace: &Namespace, digest: &Digest, name: &ImageName) -> Key {
    digests(namespace).key(digest_row(digest, name))
}

/// Takes a digest from the start of a key or of a stored value; what follows it is returned. `None`
/// for one of an unknown algorithm, or cut short.
pub fn split_digest(bytes: &[u8]) -> Option<(Digest, &[u8])> {
    let (byte, rest) = bytes.split_first()?;
    let algorithm = Algorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm_byte(*algorithm) == *byte)?;
    let (digest, rest) = rest.split_at_checked(algorithm.bytes())?;
    Some((Digest::from_bytes(algorithm, digest).ok()?, rest))
}

pub fn parse_digest_row(row: &[u8]) -> Result<(Digest, ImageName), Error> {
    let (digest, name) =
        split_digest(row).ok_or_else(|| corrupt("an index row has no digest", row))?;
    Ok((digest, parse_name(name)?))
}

pub fn parse_name(row: &[u8]) -> Result<ImageName, Error> {
    parse_text(row, "an image's key")
}

pub fn parse_namespace(row: &[u8]) -> Result<Namespace, Error> {
    parse_text(row, "a namespace's key")
}

fn parse_text<T: std::str::FromStr>(row: &[u8], what: &str) -> Result<T, Error> {
    std::str::from_utf8(row)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| corrupt(&format!("{what} is no valid name"), row))
}

fn corrupt(what: &str, row: &[u8]) -> Error {
    Error::corrupt(format!("{what}: {:?}", row.escape_ascii().to_string()))
}

/// In the order of the names, which is that of the texts.
const fn algorithm_byte(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha384 => 2,
        Algorithm::Sha512 => 3,
    }
}
