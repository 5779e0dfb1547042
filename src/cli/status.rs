//! `imagestore status`: says what the store is and how it fares.

use serde::Serialize;

use super::connect::Common;
use super::failure::Failure;
use super::get::{bytes, moment};
use super::ls::now;
use super::output::{self, Output};
use super::record::rfc3339;
use super::table::Block;
use crate::domain::Timestamp;
use crate::proto::v1::{StatusRequest, StatusResponse};

/// Say what the store is and how it fares
#[derive(Debug, clap::Args)]
pub struct Status {}

/// The answer, with the names of the API.
#[derive(Serialize)]
struct StatusRecord {
    version: String,
    store_id: String,
    schema_version: u32,
    revision: u64,
    oldest_revision: u64,
    namespaces: i64,
    images: i64,
    configs: i64,
    builders: i64,
    build_targets: i64,
    records: i64,
    tables: i64,
    size_bytes: i64,
    reusable_bytes: i64,
    watchers: i64,
    free_bytes: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_backup_at: String,
    last_backup_revision: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    degraded: String,
    opened_at: String,
    engine: String,
}

impl Status {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let answer = common.store().await?.status(StatusRequest {}).await?;
        let status = StatusRecord::from(answer.into_inner());
        match common.output() {
            Output::Table => output::text(&block(&status, now()).to_string()),
            Output::Json | Output::Ndjson => output::object(common.output(), &status),
        }
    }
}

fn block(status: &StatusRecord, now: Timestamp) -> Block {
    let writes = match status.degraded.as_str() {
        "" => "accepted".to_owned(),
        why => format!("REFUSED: {why}"),
    };
    let on_disk = |count| {
        if count == 0 {
            String::new()
        } else {
            bytes(count)
        }
    };
    let mut block = Block::default();
    block.push("Version", &status.version);
    block.push("Store", &status.store_id);
    block.push("Engine", &status.engine);
    block.push("Schema", status.schema_version.to_string());
    block.push("Writes", writes);
    block.push("Namespaces", status.namespaces.to_string());
    block.push("Images", status.images.to_string());
    block.push("Configs", status.configs.to_string());
    block.push("Builders", status.builders.to_string());
    block.push("Build targets", status.build_targets.to_string());
    block.push("Records", status.records.to_string());
    block.push("Tables", status.tables.to_string());
    block.push("Revision", status.revision.to_string());
    block.push("Oldest change", status.oldest_revision.to_string());
    block.push("Size on disk", on_disk(status.size_bytes));
    block.push("Reusable", on_disk(status.reusable_bytes));
    block.push("Free on disk", on_disk(status.free_bytes));
    block.push("Watchers", status.watchers.to_string());
    if !status.last_backup_at.is_empty() {
        let at = moment(&status.last_backup_at, now);
        block.push(
            "Last backup",
            format!("{at}, of revision {}", status.last_backup_revision),
        );
    }
    block.push("Opened", moment(&status.opened_at, now));
    block
}

impl From<StatusResponse> for StatusRecord {
    fn from(answer: StatusResponse) -> Self {
        Self {
            opened_at: rfc3339(answer.opened_at.as_ref()),
            version: answer.version,
            store_id: answer.store_id,
            schema_version: answer.schema_version,
            revision: answer.revision,
            oldest_revision: answer.oldest_revision,
            namespaces: answer.namespaces,
            images: answer.images,
            configs: answer.configs,
            builders: answer.builders,
            build_targets: answer.build_targets,
            records: answer.records,
            tables: answer.tables,
            size_bytes: answer.size_bytes,
            reusable_bytes: answer.reusable_bytes,
            watchers: answer.watchers,
            free_bytes: answer.free_bytes,
            last_backup_at: answer
                .last_backup_at
                .as_ref()
                .map(|at| rfc3339(Some(at)))
                .unwrap_or_default(),
            last_backup_revision: answer.last_backup_revision,
            degraded: answer.degraded,
            engine: answer.engine,
        }
    }
}
