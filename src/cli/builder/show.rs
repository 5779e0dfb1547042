//! `imagestore builder show`: one builder with its images.

use super::Which;
use super::record::{BuilderRecord, image_name};
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::human::{ago, short_digest};
use crate::cli::ls::now;
use crate::cli::output::{self, Output};
use crate::cli::platform;
use crate::cli::record::{rfc3339, timestamp};
use crate::cli::table::{Block, Table};
use crate::proto::v1::{Builder, GetBuilderRequest};

/// Show a builder, with its images and who uses them
#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    which: Which,
}

impl Show {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let request = GetBuilderRequest {
            namespace: common.one_namespace()?.to_owned(),
            key: Some(self.which.key()?),
        };
        let mut client = common.builders().await?;
        let builder = client
            .get(request)
            .await?
            .into_inner()
            .builder
            .unwrap_or_default();
        match common.output() {
            Output::Table => output::text(&text(&builder)),
            form => output::object(form, &BuilderRecord::from(builder)),
        }
    }
}

fn text(builder: &Builder) -> String {
    let key = builder.key.clone().unwrap_or_default();
    let policy = builder.policy.unwrap_or_default();
    let seconds = |age: Option<prost_types::Duration>| match age {
        Some(age) => format!("{}s", age.seconds),
        None => String::new(),
    };
    let mut block = Block::default();
    block.push("Base", &key.base);
    block.push("Platform", platform::text(key.platform.as_ref()));
    block.push("Recipe", &key.recipe);
    block.push("Max age", seconds(policy.max_age));
    block.push("Refresh after", seconds(policy.refresh_after));
    block.push("Keep last", policy.keep_last.to_string());
    block.push("Base digest", &builder.base_digest);
    if builder.failures > 0 {
        block.push("Failures", builder.failures.to_string());
        block.push("Last error", &builder.last_error);
        block.push("Retry at", rfc3339(builder.retry_at.as_ref()));
    }
    if let Some(claim) = &builder.claim {
        block.push("Building", &claim.holder);
    }
    let mut text = block.to_string();
    if builder.generations.is_empty() {
        return text;
    }
    let mut table = Table::new(["NUMBER", "IMAGE", "ID", "BUILT", "WHERE", "USED BY"]);
    let now = now();
    for generation in &builder.generations {
        let built = timestamp(generation.built_at.as_ref()).map(|at| ago(at, now));
        let wheres = generation.copies.iter().map(|copy| match copy.retired_at {
            Some(_) => format!("{} (to be removed)", copy.location),
            None => copy.location.clone(),
        });
        let used = builder
            .pins
            .iter()
            .filter(|pin| pin.generation == generation.sequence);
        let digest = generation
            .image
            .as_ref()
            .map_or("", |image| image.digest.as_str());
        table.push([
            &*generation.sequence.to_string(),
            &image_name(generation),
            short_digest(digest),
            &built.unwrap_or_default(),
            &wheres.collect::<Vec<_>>().join(", "),
            &used
                .map(|pin| pin.holder.clone())
                .collect::<Vec<_>>()
                .join(", "),
        ]);
    }
    text.push('\n');
    text.push_str(&table.to_string());
    text
}
