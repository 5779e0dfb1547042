//! What is stored of build targets.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::build::{read_digest, stored_digest};
use super::{MAX_RECORD_BYTES, missing, read_instant, stored_instant};
use crate::domain::build::{Dependency, Location, Progress, Source, State, Target, TargetKey};
use crate::domain::{Invalid, Labels, Timestamp};
use crate::error::Error;
use crate::proto::storage as pb;

/// A build target as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRow {
    pub target: Arc<Target>,
    pub source: Source,
    pub progress: Progress,
    pub updated_at: Timestamp,
}

/// Bytes that a target leaves free as it is declared, for what becomes of it.
const ROOM_DECLARED: usize = 64 << 10;

/// Bytes that a target leaves free when it is found in one more place, so that what fails can always be told.
const ROOM_FOUND: usize = 8 << 10;

/// Refuses a target whose declaration takes too much, or leaves too little for what has become of it.
pub fn encode_declared_target(row: &TargetRow) -> Result<Bytes, Invalid> {
    let bare = TargetRow {
        progress: Progress::default(),
        ..row.clone()
    };
    within(encoded(&bare), ROOM_DECLARED)?;
    within(encoded(row), ROOM_FOUND)
}

/// Refuses a target in one more place than before that takes too much. Nothing else that happens to one does.
pub fn encode_target(row: &TargetRow, before: &TargetRow) -> Result<Bytes, Invalid> {
    let (now, then) = (&row.progress.locations, &before.progress.locations);
    within(
        encoded(row),
        if now.is_subset(then) { 0 } else { ROOM_FOUND },
    )
}

fn encoded(row: &TargetRow) -> Vec<u8> {
    let record = pb::TargetRecord {
        version: Some(pb::target_record::Version::V1(target_v1(row))),
    };
    record.encode_to_vec()
}

fn within(encoded: Vec<u8>, room: usize) -> Result<Bytes, Invalid> {
    let (bytes, most) = (encoded.len(), MAX_RECORD_BYTES - room);
    if bytes > most {
        let reason = format!("takes {bytes} bytes as a record, more than {most}");
        return Err(Invalid::new("target", reason));
    }
    Ok(encoded.into())
}

pub fn decode_target(key: TargetKey, value: Bytes) -> Result<TargetRow, Error> {
    let corrupt = |why: &dyn std::fmt::Display| {
        Error::corrupt(format!("the record of build target {key}: {why}"))
    };
    let record = pb::TargetRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::target_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    read_target(key.clone(), v1).map_err(|cause| corrupt(&cause))
}

/// A target inside another record.
pub(super) fn target_v1(row: &TargetRow) -> pb::TargetV1 {
    let (target, progress) = (&row.target, &row.progress);
    let locations = progress.locations.iter();
    pb::TargetV1 {
        label: target.label().as_str().to_owned(),
        dependencies: target
            .dependencies()
            .iter()
            .map(stored_dependency)
            .collect(),
        labels: target.labels().clone().into_map(),
        state: stored_state(progress.state).into(),
        digest: stored_digest(progress.digest),
        locations: locations
            .map(|location| location.as_str().to_owned())
            .collect(),
        attempts: progress.attempts,
        last_error: progress.last_error.clone().unwrap_or_default(),
        in_doubt: progress.in_doubt,
        updated_at: Some(stored_instant(row.updated_at)),
        published_digest: stored_digest(progress.published),
        not_before: progress.not_before.map(stored_instant),
        source: row.source.as_str().to_owned(),
    }
}

pub(super) fn read_target(key: TargetKey, v1: pb::TargetV1) -> Result<TargetRow, Invalid> {
    let state = read_state(v1.state())?;
    let dependencies = v1.dependencies.into_iter().map(read_dependency);
    let dependencies = dependencies.collect::<Result<_, _>>()?;
    let labels = Labels::try_from(v1.labels)?;
    let target = Target::new(key, v1.label.parse()?, dependencies, labels)?;
    let locations = v1.locations.iter().map(|location| location.parse());
    let progress = Progress {
        state,
        digest: read_digest("digest", &v1.digest)?,
        published: read_digest("published_digest", &v1.published_digest)?,
        locations: locations.collect::<Result<BTreeSet<Location>, _>>()?,
        attempts: v1.attempts,
        last_error: Some(v1.last_error).filter(|error| !error.is_empty()),
        in_doubt: v1.in_doubt,
        not_before: v1.not_before.map(|at| read_instant(Some(at))).transpose()?,
    };
    Ok(TargetRow {
        target: Arc::new(target),
        source: v1.source.parse()?,
        progress,
        updated_at: read_instant(v1.updated_at)?,
    })
}

fn stored_dependency(dependency: &Dependency) -> pb::TargetDependency {
    use pb::target_dependency::On;
    let on = match dependency {
        Dependency::Target { .. } => On::Target(dependency.to_string()),
        Dependency::External(image) => On::External(image.as_str().to_owned()),
    };
    pb::TargetDependency { on: Some(on) }
}

fn read_dependency(stored: pb::TargetDependency) -> Result<Dependency, Invalid> {
    use pb::target_dependency::On;
    match stored.on.ok_or_else(|| missing("dependency"))? {
        On::Target(text) => text.parse(),
        On::External(image) => image.parse().map(Dependency::External),
    }
}

pub(super) fn stored_state(state: State) -> pb::TargetState {
    match state {
        State::ToBuild => pb::TargetState::ToBuild,
        State::Built => pb::TargetState::Built,
        State::Verified => pb::TargetState::Verified,
        State::Published => pb::TargetState::Published,
        State::Error => pb::TargetState::Error,
    }
}

pub(super) fn read_state(stored: pb::TargetState) -> Result<State, Invalid> {
    match stored {
        pb::TargetState::ToBuild => Ok(State::ToBuild),
        pb::TargetState::Built => Ok(State::Built),
        pb::TargetState::Verified => Ok(State::Verified),
        pb::TargetState::Published => Ok(State::Published),
        pb::TargetState::Error => Ok(State::Error),
        // Read so also where it is one that is not known.
        pb::TargetState::Unspecified => Err(Invalid::new(
            "state",
            "is missing, or is none that this release knows",
        )),
    }
}
