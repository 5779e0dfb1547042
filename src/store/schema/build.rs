//! The tables and keys of builders and of build targets.

use bytes::Bytes;

use super::{corrupt, tenant_path};
use crate::domain::build::{BuilderKey, PinId, Sequence, TargetKey};
use crate::domain::{Namespace, RunPlatform};
use crate::error::Error;
use crate::kv::{Key, Table};

/// Where it stands what the steady clock showed last.
pub fn steady() -> Key {
    Table::new("meta").key("steady")
}

/// What the tables of claims and pins of a namespace are called.
pub const PINS: &str = "pins";
pub const BUILDER_CLAIMS: &str = "builderclaims";
pub const BUILD_CLAIMS: &str = "buildclaims";

/// A namespace's builders, by base, platform and recipe. Logged, so that the log tells which write made a namespace.
pub fn builders(namespace: &Namespace) -> Table {
    Table::logged(tenant_path(namespace, "builders"))
}

/// The images of a namespace's builders, by builder and sequence.
pub fn generations(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "generations"))
}

/// Who uses which image of a namespace's builders, by builder and id of the pin.
pub fn pins(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, PINS))
}

/// Who makes a new image, by builder.
pub fn builder_claims(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, BUILDER_CLAIMS))
}

/// A namespace's build targets, by name and version. Logged.
pub fn build_targets(namespace: &Namespace) -> Table {
    Table::logged(tenant_path(namespace, "buildtargets"))
}

/// Who is at a build target, by name and version.
pub fn build_claims(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, BUILD_CLAIMS))
}

/// What every write writes that changes which build targets there are, or what they depend on.
pub fn build_graph_key(namespace: &Namespace) -> Key {
    Table::new(tenant_path(namespace, "buildgraph")).key("graph")
}

/// The parts of a key as texts: none of them has NUL.
fn joined(parts: &[&str]) -> Vec<u8> {
    parts.join("\0").into_bytes()
}

/// The row of a builder.
pub fn builder_row(key: &BuilderKey) -> Bytes {
    let platform = key.platform();
    joined(&[
        key.base().as_str(),
        &platform.os,
        &platform.architecture,
        &platform.variant,
        &platform.os_version,
        &platform.os_features.join(","),
        key.recipe().as_str(),
    ])
    .into()
}

pub fn builder_key(namespace: &Namespace, key: &BuilderKey) -> Key {
    builders(namespace).key(builder_row(key))
}

pub fn builder_claim_key(namespace: &Namespace, key: &BuilderKey) -> Key {
    builder_claims(namespace).key(builder_row(key))
}

/// The leading part of all rows of one builder in the tables of generations and pins.
pub fn builder_part(key: &BuilderKey) -> Vec<u8> {
    let mut part = builder_row(key).to_vec();
    part.push(0);
    part
}

pub fn generation_key(namespace: &Namespace, key: &BuilderKey, sequence: Sequence) -> Key {
    let mut row = builder_part(key);
    row.extend_from_slice(&sequence.0.to_be_bytes());
    generations(namespace).key(row)
}

pub fn pin_key(namespace: &Namespace, key: &BuilderKey, pin: PinId) -> Key {
    let mut row = builder_part(key);
    row.extend_from_slice(&pin.0.to_be_bytes());
    pins(namespace).key(row)
}

pub fn parse_builder(row: &[u8]) -> Result<BuilderKey, Error> {
    let parse = || {
        let parts: Vec<&str> = std::str::from_utf8(row).ok()?.split('\0').collect();
        let [
            base,
            os,
            architecture,
            variant,
            os_version,
            features,
            recipe,
        ] = parts[..]
        else {
            return None;
        };
        let features = features.split(',').filter(|feature| !feature.is_empty());
        let platform = RunPlatform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            os_version: os_version.to_owned(),
            os_features: features.map(str::to_owned).collect(),
        };
        BuilderKey::new(base.parse().ok()?, &platform, recipe.parse().ok()?).ok()
    };
    parse().ok_or_else(|| corrupt("the key of a builder is none", row))
}

/// A builder, and the number of one of its generations or pins.
pub fn parse_builder_part(row: &[u8]) -> Result<(BuilderKey, u64), Error> {
    let (part, number) = row
        .split_last_chunk::<8>()
        .ok_or_else(|| corrupt("a row of a builder is none", row))?;
    let Some((0, builder)) = part.split_last() else {
        return Err(corrupt("a row of a builder is none", row));
    };
    Ok((parse_builder(builder)?, u64::from_be_bytes(*number)))
}

/// The number of one of a builder's generations or pins, whose row starts with that builder's part.
pub fn number_after(part: &[u8], row: &[u8]) -> Result<u64, Error> {
    let number = row.strip_prefix(part).and_then(|rest| rest.try_into().ok());
    let number = number.ok_or_else(|| corrupt("a row of a builder is none", row))?;
    Ok(u64::from_be_bytes(number))
}

/// The row of a target.
pub fn build_target_row(key: &TargetKey) -> Bytes {
    joined(&[key.name.as_str(), key.version.as_str()]).into()
}

pub fn build_target_key(namespace: &Namespace, key: &TargetKey) -> Key {
    build_targets(namespace).key(build_target_row(key))
}

pub fn build_claim_key(namespace: &Namespace, key: &TargetKey) -> Key {
    build_claims(namespace).key(build_target_row(key))
}

pub fn parse_build_target(row: &[u8]) -> Result<TargetKey, Error> {
    let parse = || {
        let (name, version) = std::str::from_utf8(row).ok()?.split_once('\0')?;
        Some(TargetKey {
            name: name.parse().ok()?,
            version: version.parse().ok()?,
        })
    };
    parse().ok_or_else(|| corrupt("the key of a build target is none", row))
}
