//! Builders as JSON, and where their images are.

use serde::Serialize;

use crate::cli::build::ClaimRecord;
use crate::cli::human::short_digest;
use crate::cli::platform;
use crate::cli::record::rfc3339;
use crate::proto::v1::{self, BuilderGeneration, BuilderKey};

#[derive(Serialize)]
pub struct BuilderRecord {
    base: String,
    platform: String,
    recipe: String,
    policy: PolicyRecord,
    #[serde(skip_serializing_if = "String::is_empty")]
    base_digest: String,
    failures: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_error: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    retry_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<ClaimRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    generations: Vec<GenerationRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pins: Vec<PinRecord>,
    etag: String,
}

/// Ages in seconds.
#[derive(Serialize)]
struct PolicyRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_after: Option<i64>,
    keep_last: u32,
    track_base_digest: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe_after: Option<i64>,
}

#[derive(Serialize)]
pub struct GenerationRecord {
    sequence: u64,
    image: String,
    digest: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    base_digest: String,
    built_at: String,
    locations: Vec<String>,
}

#[derive(Serialize)]
struct PinRecord {
    id: String,
    generation: u64,
    holder: String,
    deadline: String,
}

/// The annotation of an image that says what the daemon calls it.
pub const NAME: &str = "org.opencontainers.image.ref.name";

/// What a daemon calls an image: its name, else its digest.
pub fn image_name(generation: &BuilderGeneration) -> String {
    let Some(image) = &generation.image else {
        return String::new();
    };
    image.annotations.get(NAME).unwrap_or(&image.digest).clone()
}

/// A builder in one line of text.
pub fn shown(key: &BuilderKey) -> String {
    let mut text = format!("{} on {}", key.base, platform::text(key.platform.as_ref()));
    if !key.recipe.is_empty() {
        text.push_str(&format!(" by {}", short_digest(&key.recipe)));
    }
    text
}

impl From<v1::Builder> for BuilderRecord {
    fn from(builder: v1::Builder) -> Self {
        let key = builder.key.unwrap_or_default();
        let policy = builder.policy.unwrap_or_default();
        let seconds = |age: Option<prost_types::Duration>| age.map(|age| age.seconds);
        Self {
            platform: platform::text(key.platform.as_ref()),
            base: key.base,
            recipe: key.recipe,
            policy: PolicyRecord {
                max_age: seconds(policy.max_age),
                refresh_after: seconds(policy.refresh_after),
                keep_last: policy.keep_last,
                track_base_digest: policy.track_base_digest,
                probe_after: seconds(policy.probe_after),
            },
            base_digest: builder.base_digest,
            failures: builder.failures,
            last_error: builder.last_error,
            retry_at: rfc3339(builder.retry_at.as_ref()),
            claim: builder.claim.map(ClaimRecord::from),
            generations: builder
                .generations
                .into_iter()
                .map(GenerationRecord::from)
                .collect(),
            pins: builder.pins.into_iter().map(PinRecord::from).collect(),
            etag: builder.etag,
        }
    }
}

impl From<BuilderGeneration> for GenerationRecord {
    fn from(generation: BuilderGeneration) -> Self {
        Self {
            sequence: generation.sequence,
            image: image_name(&generation),
            base_digest: generation.base_digest,
            built_at: rfc3339(generation.built_at.as_ref()),
            locations: generation
                .copies
                .into_iter()
                .map(|copy| copy.location)
                .collect(),
            digest: generation.image.unwrap_or_default().digest,
        }
    }
}

impl From<v1::BuilderPin> for PinRecord {
    fn from(pin: v1::BuilderPin) -> Self {
        Self {
            id: pin.id,
            generation: pin.generation,
            holder: pin.holder,
            deadline: rfc3339(pin.deadline.as_ref()),
        }
    }
}
