//! Messages of `Configs` from and to the domain's types.

use crate::domain::{
    ChainId, ConfigId, DiffId, Digest, HistoryEntry, ImageConfig, Invalid, RunPlatform,
};
use crate::proto::v1 as pb;
use crate::service::native::wire::{count_message, etag_message};
use crate::service::time_message;
use crate::store::{ConfigEntry, Descendant, Relative, StoredConfig, UnreferencedLayer};

// === from messages ===

/// A whole id, with `sha256:`.
pub fn id(text: &str, field: &'static str) -> Result<ConfigId, Invalid> {
    text.parse().map_err(|e: Invalid| e.at(field))
}

/// The id of a parent, or that there is none.
pub fn parent(text: &str) -> Result<Option<ConfigId>, Invalid> {
    match text {
        "" => Ok(None),
        text => id(text, "parent").map(Some),
    }
}

pub fn target(text: &str) -> Result<Digest, Invalid> {
    text.parse().map_err(|e: Invalid| e.at("target"))
}

pub fn targets(texts: &[String]) -> Result<Vec<Digest>, Invalid> {
    let parse = |(i, text): (usize, &String)| {
        let digest = text.parse();
        digest.map_err(|e: Invalid| e.at(format!("targets[{i}]")))
    };
    texts.iter().enumerate().map(parse).collect()
}

/// Characters that a part of a platform may have.
const MAX_PART: usize = 128;

/// A platform that is asked for: it names an architecture.
pub fn platform(message: pb::ConfigPlatform) -> Result<RunPlatform, Invalid> {
    let parts = [
        ("platform.os", &message.os),
        ("platform.architecture", &message.architecture),
        ("platform.variant", &message.variant),
        ("platform.os_version", &message.os_version),
    ];
    for (field, part) in parts {
        check_part(field, part)?;
    }
    if message.architecture.is_empty() {
        return Err(Invalid::new("platform.architecture", "must not be empty"));
    }
    let (many, most) = (message.os_features.len(), ImageConfig::MAX_FEATURES);
    if many > most {
        let reason = format!("has {many} features, more than {most}");
        return Err(Invalid::new("platform.os_features", reason));
    }
    for (i, feature) in message.os_features.iter().enumerate() {
        check_part(&format!("platform.os_features[{i}]"), feature)?;
    }
    Ok(RunPlatform {
        os: message.os,
        architecture: message.architecture,
        variant: message.variant,
        os_version: message.os_version,
        os_features: message.os_features,
    })
}

fn check_part(field: &str, part: &str) -> Result<(), Invalid> {
    let is_one = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    if part.len() > MAX_PART {
        let reason = format!("is {} bytes long, more than {MAX_PART}", part.len());
        return Err(Invalid::new(field.to_owned(), reason));
    }
    if !part.chars().all(is_one) {
        let reason = "must be letters, digits and any of `.`, `_`, `-`, `+`";
        return Err(Invalid::new(field.to_owned(), reason));
    }
    Ok(())
}

// === to messages ===

pub fn platform_message(platform: &RunPlatform) -> pb::ConfigPlatform {
    pb::ConfigPlatform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        os_version: platform.os_version.clone(),
        os_features: platform.os_features.clone(),
    }
}

fn history_message(step: &HistoryEntry) -> pb::ConfigHistory {
    pb::ConfigHistory {
        created: step.created.map(time_message),
        created_by: step.created_by.clone(),
        author: step.author.clone(),
        comment: step.comment.clone(),
        empty_layer: step.empty_layer,
    }
}

/// A config in the basic view.
pub fn entry_message(entry: ConfigEntry) -> pb::Config {
    pb::Config {
        namespace: entry.namespace.as_str().to_owned(),
        id: entry.id.to_string(),
        size: count_message(entry.size),
        platform: Some(platform_message(&entry.platform)),
        created: entry.created.map(time_message),
        parent: entry.parent.map(|id| id.to_string()).unwrap_or_default(),
        built_locally: entry.built_locally,
        last_updated: entry.touched_at.map(time_message),
        stored_at: Some(time_message(entry.stored_at)),
        revision: entry.revision.0,
        etag: etag_message(entry.revision),
        is_corrupt: entry.is_corrupt,
        ..pb::Config::default()
    }
}

/// A config in the full view.
pub fn config_message(stored: StoredConfig) -> pb::Config {
    let targets = stored.targets.iter().map(Digest::text).collect();
    let basic = pb::Config {
        targets,
        ..entry_message(stored.entry)
    };
    let Some(config) = stored.config else {
        return basic;
    };
    pb::Config {
        author: config.author().to_owned(),
        comment: config.comment().to_owned(),
        diff_ids: texts(config.diff_ids(), DiffId::as_str),
        chain_ids: texts(&config.chain_ids(), ChainId::as_str),
        history: config.history().iter().map(history_message).collect(),
        ..basic
    }
}

fn texts<T>(parts: &[T], text: impl Fn(&T) -> &str) -> Vec<String> {
    parts.iter().map(|part| text(part).to_owned()).collect()
}

pub fn layer_message(layer: UnreferencedLayer) -> pb::UnreferencedLayer {
    pb::UnreferencedLayer {
        chain_id: layer.chain_id.as_str().to_owned(),
        diff_id: layer.diff_id.as_str().to_owned(),
    }
}

pub fn relative_message(relative: Relative) -> pb::Relative {
    let names = relative.names.iter().map(|name| name.as_str().to_owned());
    pb::Relative {
        names: names.collect(),
        has_more_names: relative.has_more_names,
        by_layers_only: relative.by_layers_only,
        layers: i32::try_from(relative.layers).unwrap_or(i32::MAX),
        config: Some(entry_message(relative.entry)),
        ..pb::Relative::default()
    }
}

pub fn descendant_message(descendant: Descendant) -> pb::Relative {
    pb::Relative {
        base: descendant.base.to_string(),
        base_generation: descendant.generation.map_or(0, |made| made.0),
        is_outdated: descendant.is_outdated,
        ..relative_message(descendant.relative)
    }
}
