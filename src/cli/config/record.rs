//! A config as JSON and as a person reads it.

use serde::Serialize;

use crate::cli::get::{bytes, moment};
use crate::cli::human::{ago, short_digest};
use crate::cli::platform;
use crate::cli::record::{PlatformRecord, rfc3339, timestamp};
use crate::cli::table::{Block, Table};
use crate::domain::Timestamp;
use crate::proto::v1::{Config, ConfigHistory, ConfigPlatform};

/// A config, with the names of the API.
#[derive(Serialize)]
pub struct ConfigRecord {
    namespace: String,
    id: String,
    size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformRecord>,
    #[serde(skip_serializing_if = "String::is_empty")]
    created: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent: String,
    built_locally: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_updated: String,
    stored_at: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diff_ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chain_ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<StepRecord>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_corrupt: bool,
    etag: String,
    revision: u64,
}

/// A step of a config's history.
#[derive(Serialize)]
struct StepRecord {
    #[serde(skip_serializing_if = "String::is_empty")]
    created: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    empty_layer: bool,
}

/// Characters of a step's command in a table.
const SHOWN_COMMAND: usize = 60;

/// All that is known of a config, a line each.
pub fn block(config: &Config, now: Timestamp) -> Block {
    let mut block = Block::default();
    block.push("Id", &config.id);
    block.push("Namespace", &config.namespace);
    block.push("Size", bytes(config.size));
    block.push("Platform", platform::text(config.platform.as_ref()));
    block.push("Author", &config.author);
    block.push("Comment", &config.comment);
    block.push("Created", moment(&rfc3339(config.created.as_ref()), now));
    block.push("Parent", &config.parent);
    block.push(
        "Built here",
        if config.built_locally { "yes" } else { "no" },
    );
    for (i, target) in config.targets.iter().enumerate() {
        block.push(if i == 0 { "Config of" } else { "" }, target);
    }
    block.push("Stored", moment(&rfc3339(config.stored_at.as_ref()), now));
    let used = rfc3339(config.last_updated.as_ref());
    block.push("Used", moment(&used, now));
    block.push("Etag", &config.etag);
    block
}

/// The steps that made a config, the last one first, each with its layer.
pub fn steps(config: &Config, in_full: bool, now: Timestamp) -> Table {
    let mut table = Table::new(["LAYER", "CREATED", "CREATED BY"]);
    let mut layers = config.diff_ids.iter();
    let mut rows: Vec<[String; 3]> = Vec::new();
    for step in &config.history {
        let layer = match step.empty_layer {
            true => None,
            false => layers.next(),
        };
        rows.push(row(layer, Some(step), in_full, now));
    }
    // History need not tell of all layers.
    rows.extend(layers.map(|layer| row(Some(layer), None, in_full, now)));
    for row in rows.iter().rev() {
        table.push(row.iter().map(String::as_str));
    }
    table
}

fn row(
    layer: Option<&String>,
    step: Option<&ConfigHistory>,
    in_full: bool,
    now: Timestamp,
) -> [String; 3] {
    let layer = match layer {
        Some(layer) if in_full => layer.as_str(),
        Some(layer) => short_digest(layer),
        None => "-",
    };
    let created = step.and_then(|step| timestamp(step.created.as_ref()));
    let command = step.map_or("", |step| step.created_by.as_str());
    let command = match command.char_indices().nth(SHOWN_COMMAND) {
        Some((end, _)) if !in_full => format!("{}...", &command[..end]),
        _ => command.to_owned(),
    };
    let created = created.map(|at| ago(at, now)).unwrap_or_default();
    [layer.to_owned(), created, command]
}

/// A platform as JSON; nothing where the config says nothing.
pub fn platform_record(platform: Option<ConfigPlatform>) -> Option<PlatformRecord> {
    let platform = platform.filter(|platform| *platform != ConfigPlatform::default())?;
    Some(PlatformRecord {
        architecture: platform.architecture,
        os: platform.os,
        os_version: platform.os_version,
        os_features: platform.os_features,
        variant: platform.variant,
    })
}

impl From<Config> for ConfigRecord {
    fn from(config: Config) -> Self {
        Self {
            platform: platform_record(config.platform),
            created: rfc3339(config.created.as_ref()),
            last_updated: rfc3339(config.last_updated.as_ref()),
            stored_at: rfc3339(config.stored_at.as_ref()),
            history: config.history.into_iter().map(StepRecord::from).collect(),
            namespace: config.namespace,
            id: config.id,
            size: config.size,
            author: config.author,
            comment: config.comment,
            parent: config.parent,
            built_locally: config.built_locally,
            targets: config.targets,
            diff_ids: config.diff_ids,
            chain_ids: config.chain_ids,
            is_corrupt: config.is_corrupt,
            etag: config.etag,
            revision: config.revision,
        }
    }
}

impl From<ConfigHistory> for StepRecord {
    fn from(step: ConfigHistory) -> Self {
        Self {
            created: rfc3339(step.created.as_ref()),
            created_by: step.created_by,
            author: step.author,
            comment: step.comment,
            empty_layer: step.empty_layer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_stands_beside_the_step_that_made_it_the_last_one_first() {
        let step = |command: &str, empty_layer| ConfigHistory {
            created_by: command.to_owned(),
            empty_layer,
            ..ConfigHistory::default()
        };
        let config = Config {
            diff_ids: ["sha256:aa", "sha256:bb", "sha256:cc"]
                .map(str::to_owned)
                .into(),
            history: vec![
                step("ADD", false),
                step("ENV", true),
                step(&"x".repeat(SHOWN_COMMAND + 1), false),
            ],
            ..Config::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        let x = "x".repeat(SHOWN_COMMAND);
        assert_eq!(
            steps(&config, false, now).to_string(),
            format!(
                "LAYER  CREATED  CREATED BY\n\
                 cc\n\
                 bb              {x}...\n\
                 -               ENV\n\
                 aa              ADD\n"
            )
        );
        let whole = steps(&config, true, now).to_string();
        assert!(
            whole.contains(&format!("sha256:bb           {x}x\n")),
            "{whole}"
        );
    }
}
