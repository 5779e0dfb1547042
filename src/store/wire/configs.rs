//! What is stored of configs beside their bytes.

use bytes::Bytes;
use prost::Message;

use super::{missing, read_instant, stored_instant};
use crate::domain::{ConfigId, DiffId, Fingerprint, ImageConfig};
use crate::domain::{Digest, Invalid, RunPlatform, Timestamp};
use crate::error::Error;
use crate::kv::Revision;
use crate::proto::storage as pb;
use crate::store::configs::UnreferencedLayer;
use crate::store::schema::{self, Link};

/// What is read from the bytes of a config, so that they need not be read for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the config.
    pub size: u64,
    /// As the config says it, not normalized.
    pub platform: RunPlatform,
    pub created: Option<Timestamp>,
    /// The layers, the lowest first.
    pub diff_ids: Vec<DiffId>,
    /// Of its container config, where it has one.
    pub fingerprint: Option<Fingerprint>,
    /// How many entries its history has.
    pub history: u32,
    /// For each entry a digest of it and of all before it; none where there are too many.
    pub history_digests: Vec<[u8; 32]>,
}

/// What is known of a config beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// What it was built from, which may have gone since.
    pub parent: Option<Link>,
    pub built_locally: bool,
    pub stored_at: Timestamp,
}

/// What the answer to a request was about one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigOutcome {
    pub id: ConfigId,
    /// As it was afterwards; `None` where the answer does not say.
    pub state: Option<ConfigState>,
    /// The parent before.
    pub previous: Option<ConfigId>,
    pub unreferenced: Vec<UnreferencedLayer>,
    pub orphans: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigState {
    pub size: u64,
    pub platform: RunPlatform,
    pub created: Option<Timestamp>,
    pub parent: Option<ConfigId>,
    pub built_locally: bool,
    pub touched_at: Option<Timestamp>,
    pub stored_at: Timestamp,
    pub targets: Vec<Digest>,
}

/// Digests of a history that a summary has at most.
const HISTORY_DIGESTS: usize = 4096;

// === impl Summary ===

impl Summary {
    /// Of a config of so many bytes.
    pub fn of(config: &ImageConfig, size: usize) -> Self {
        let mut history_digests = config.history_digests();
        let history = u32::try_from(history_digests.len()).unwrap_or(u32::MAX);
        if history_digests.len() > HISTORY_DIGESTS {
            history_digests = Vec::new();
        }
        Self {
            size: size as u64,
            platform: config.platform().clone(),
            created: config.created(),
            diff_ids: config.diff_ids().to_vec(),
            fingerprint: config.container_config().map(|step| step.fingerprint()),
            history,
            history_digests,
        }
    }

    /// Whether its history begins with all of the other's and goes on after it.
    pub fn continues_history(&self, lower: &Self) -> bool {
        let Some(last) = lower.history.checked_sub(1) else {
            return self.history > 0;
        };
        let digest = |of: &Self| of.history_digests.get(last as usize).copied();
        self.history > lower.history && digest(lower).is_some() && digest(self) == digest(lower)
    }
}

pub fn encode_summary(summary: &Summary) -> Bytes {
    let fingerprint = summary.fingerprint.as_ref();
    let record = pb::SummaryRecord {
        version: Some(pb::summary_record::Version::V1(pb::SummaryV1 {
            size: summary.size,
            platform: Some(stored_platform(&summary.platform)),
            created: summary.created.map(stored_instant),
            diff_ids: summary
                .diff_ids
                .iter()
                .map(|diff_id| diff_id.as_str().to_owned())
                .collect(),
            fingerprint: fingerprint.map_or_else(Bytes::new, |fingerprint| {
                Bytes::copy_from_slice(fingerprint.as_bytes())
            }),
            history: summary.history,
            history_digests: summary.history_digests.concat().into(),
        })),
    };
    record.encode_to_vec().into()
}

pub fn decode_summary(id: &ConfigId, value: Bytes) -> Result<Summary, Error> {
    let corrupt =
        |why: &dyn std::fmt::Display| Error::corrupt(format!("the summary of config {id}: {why}"));
    let record = pb::SummaryRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::summary_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    read_summary(v1).map_err(|cause| corrupt(&cause))
}

fn read_summary(v1: pb::SummaryV1) -> Result<Summary, Invalid> {
    let fingerprint = match v1.fingerprint.len() {
        0 => None,
        _ => Some(Fingerprint::from_bytes(bytes_32(
            "fingerprint",
            &v1.fingerprint,
        )?)),
    };
    let (history_digests, rest) = v1.history_digests.as_chunks::<32>();
    let is_whole = rest.is_empty()
        && (history_digests.len() == v1.history as usize
            || (history_digests.is_empty() && v1.history as usize > HISTORY_DIGESTS));
    if !is_whole {
        return Err(Invalid::new("history", "has not a digest for each entry"));
    }
    Ok(Summary {
        size: v1.size,
        platform: read_platform(v1.platform),
        created: v1
            .created
            .map(|created| read_instant(Some(created)))
            .transpose()?,
        diff_ids: v1
            .diff_ids
            .iter()
            .map(|diff_id| DiffId::from(diff_id.as_str()))
            .collect(),
        fingerprint,
        history: v1.history,
        history_digests: history_digests.to_vec(),
    })
}

pub fn encode_marks(marks: &Marks) -> Bytes {
    let record = pb::MarksRecord {
        version: Some(pb::marks_record::Version::V1(pb::MarksV1 {
            parent: marks.parent.map(|parent| pb::ParentLink {
                id: schema::config_row(&parent.id),
                made: parent.made.0,
            }),
            built_locally: marks.built_locally,
            stored_at: Some(stored_instant(marks.stored_at)),
        })),
    };
    record.encode_to_vec().into()
}

pub fn decode_marks(id: &ConfigId, value: Bytes) -> Result<Marks, Error> {
    let corrupt =
        |why: &dyn std::fmt::Display| Error::corrupt(format!("the marks of config {id}: {why}"));
    let record = pb::MarksRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::marks_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    let read = || -> Result<_, Invalid> {
        let parent = v1.parent.map(|parent| -> Result<_, Invalid> {
            Ok(Link {
                id: ConfigId::from_bytes(bytes_32("parent", &parent.id)?),
                made: Revision(parent.made),
            })
        });
        Ok(Marks {
            parent: parent.transpose()?,
            built_locally: v1.built_locally,
            stored_at: read_instant(v1.stored_at)?,
        })
    };
    read().map_err(|cause| corrupt(&cause))
}

pub fn encode_touched(at: Timestamp) -> Bytes {
    let record = pb::TouchedRecord {
        version: Some(pb::touched_record::Version::V1(pb::TouchedV1 {
            at: Some(stored_instant(at)),
        })),
    };
    record.encode_to_vec().into()
}

pub fn decode_touched(id: &ConfigId, value: Bytes) -> Result<Timestamp, Error> {
    let corrupt = |why: &dyn std::fmt::Display| {
        Error::corrupt(format!("when config {id} was last used: {why}"))
    };
    let record = pb::TouchedRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::touched_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    read_instant(v1.at).map_err(|cause| corrupt(&cause))
}

/// The value of a row of the index of build steps: the platform of what was built, normalized.
pub fn encode_cache(platform: &RunPlatform) -> Bytes {
    let record = pb::CacheRecord {
        version: Some(pb::cache_record::Version::V1(pb::CacheV1 {
            platform: Some(stored_platform(platform)),
        })),
    };
    record.encode_to_vec().into()
}

pub fn decode_cache(value: Bytes) -> Result<RunPlatform, Error> {
    let corrupt =
        |why: &dyn std::fmt::Display| Error::corrupt(format!("a row of build steps: {why}"));
    let record = pb::CacheRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::cache_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    Ok(read_platform(v1.platform))
}

pub(super) fn stored_config_outcome(
    namespace: String,
    outcome: &ConfigOutcome,
) -> pb::ConfigOutcome {
    let id = |id: Option<ConfigId>| id.map_or_else(Bytes::new, |id| schema::config_row(&id));
    pb::ConfigOutcome {
        namespace,
        id: schema::config_row(&outcome.id),
        state: outcome.state.as_ref().map(|state| pb::ConfigState {
            size: state.size,
            platform: Some(stored_platform(&state.platform)),
            created: state.created.map(stored_instant),
            parent: id(state.parent),
            built_locally: state.built_locally,
            touched_at: state.touched_at.map(stored_instant),
            stored_at: Some(stored_instant(state.stored_at)),
            targets: state
                .targets
                .iter()
                .map(|target| schema::digest_part(target).into())
                .collect(),
        }),
        previous: id(outcome.previous),
        unreferenced: outcome
            .unreferenced
            .iter()
            .map(|layer| pb::LayerNames {
                chain_id: layer.chain_id.as_str().to_owned(),
                diff_id: layer.diff_id.as_str().to_owned(),
            })
            .collect(),
        orphans: outcome.orphans,
    }
}

pub(super) fn read_config_outcome(stored: pb::ConfigOutcome) -> Result<ConfigOutcome, Invalid> {
    let instant =
        |instant: Option<pb::Instant>| instant.map(|at| read_instant(Some(at))).transpose();
    let state = stored.state.map(|state| -> Result<_, Invalid> {
        let target = |target: &Bytes| match schema::split_digest(target) {
            Some((target, [])) => Ok(target),
            _ => Err(missing("target")),
        };
        Ok(ConfigState {
            size: state.size,
            platform: read_platform(state.platform),
            created: instant(state.created)?,
            parent: read_id("parent", &state.parent)?,
            built_locally: state.built_locally,
            touched_at: instant(state.touched_at)?,
            stored_at: read_instant(state.stored_at)?,
            targets: state.targets.iter().map(target).collect::<Result<_, _>>()?,
        })
    });
    let layer = |layer: &pb::LayerNames| UnreferencedLayer {
        chain_id: layer.chain_id.as_str().into(),
        diff_id: layer.diff_id.as_str().into(),
    };
    Ok(ConfigOutcome {
        id: read_id("id", &stored.id)?.ok_or_else(|| missing("id"))?,
        state: state.transpose()?,
        previous: read_id("previous", &stored.previous)?,
        unreferenced: stored.unreferenced.iter().map(layer).collect(),
        orphans: stored.orphans,
    })
}

fn read_id(field: &'static str, bytes: &[u8]) -> Result<Option<ConfigId>, Invalid> {
    match bytes {
        [] => Ok(None),
        bytes => bytes_32(field, bytes).map(|bytes| Some(ConfigId::from_bytes(bytes))),
    }
}

pub(super) fn bytes_32(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], Invalid> {
    let refused = |_| Invalid::new(field, "has not 32 bytes");
    bytes.try_into().map_err(refused)
}

fn stored_platform(platform: &RunPlatform) -> pb::Platform {
    pb::Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone(),
        os_features: platform.os_features.clone(),
        variant: platform.variant.clone(),
    }
}

fn read_platform(stored: Option<pb::Platform>) -> RunPlatform {
    let stored = stored.unwrap_or_default();
    RunPlatform {
        os: stored.os,
        architecture: stored.architecture,
        variant: stored.variant,
        os_version: stored.os_version,
        os_features: stored.os_features,
    }
}
