//! `imagestore get`: shows one image.

use tonic::Code;

use super::connect::Common;
use super::failure::Failure;
use super::history::see_history;
use super::human::{ago, size};
use super::ls::now;
use super::output::{self, Output};
use super::record::{ImageRecord, PlatformRecord};
use super::table::Block;
use crate::domain::Timestamp;
use crate::proto::v1::GetImageRequest;

/// Show all that is known of an image
#[derive(Debug, clap::Args)]
pub struct Get {
    /// The image's whole name
    name: String,
    /// As it was at this revision of the store
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    at: Option<u64>,
}

impl Get {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let request = GetImageRequest {
            namespace: common.one_namespace()?.to_owned(),
            name: self.name.clone(),
            at_revision: self.at.unwrap_or_default(),
        };
        let answer = common.images().await?.get(request).await;
        let answer = answer.map_err(|status| match (self.at, status.code()) {
            (Some(_), Code::NotFound | Code::OutOfRange) => {
                Failure::from(status).next(see_history(common, &self.name))
            }
            _ => Failure::from(status),
        })?;
        let answer = answer.into_inner();
        let record = ImageRecord::from(answer.image.unwrap_or_default());
        match common.output() {
            Output::Table => output::text(&block(&record, now()).to_string()),
            Output::Json | Output::Ndjson => output::object(common.output(), &record),
        }
    }
}

fn block(record: &ImageRecord, now: Timestamp) -> Block {
    let mut block = Block::default();
    block.push("Name", &record.name);
    block.push("Namespace", &record.namespace);
    block.push("Digest", &record.digest);
    block.push("Media type", &record.media_type);
    block.push("Size", bytes(record.size));
    block.push(
        "Platform",
        record.platform.as_ref().map(platform).unwrap_or_default(),
    );
    block.push("Artifact type", &record.artifact_type);
    for url in &record.urls {
        block.push("URL", url);
    }
    if !record.data.is_empty() {
        block.push("Data", "embedded");
    }
    block.push_pairs("Annotations", &record.annotations);
    block.push_pairs("Labels", &record.labels);
    block.push("Created", moment(&record.created_at, now));
    block.push("Updated", moment(&record.updated_at, now));
    block.push("Etag", &record.etag);
    block
}

/// `3.7kB (3700 bytes)`; small sizes once.
pub fn bytes(count: i64) -> String {
    match count {
        ..1000 => size(count),
        _ => format!("{} ({count} bytes)", size(count)),
    }
}

/// A time and its distance.
pub fn moment(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(at) => format!("{time} ({})", ago(at, now)),
        Err(_) => time.to_owned(),
    }
}

fn platform(platform: &PlatformRecord) -> String {
    let mut text = format!("{}/{}", platform.os, platform.architecture);
    if !platform.variant.is_empty() {
        text = format!("{text}/{}", platform.variant);
    }
    if !platform.os_version.is_empty() {
        text = format!("{text}, version {}", platform.os_version);
    }
    if !platform.os_features.is_empty() {
        text = format!("{text}, with {}", platform.os_features.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_shows_what_there_is_and_nothing_else() {
        let record = ImageRecord {
            name: "a:1".into(),
            digest: "sha256:00".into(),
            media_type: "m/t".into(),
            size: 3700,
            platform: Some(PlatformRecord {
                architecture: "arm64".into(),
                os: "linux".into(),
                variant: "v8".into(),
                os_version: "1".into(),
                os_features: vec!["x".into(), "y".into()],
            }),
            created_at: "2026-01-31T12:00:00Z".into(),
            labels: [("k".into(), "v".into())].into(),
            ..ImageRecord::default()
        };
        let now = "2026-02-03T12:00:00Z".parse().unwrap();
        assert_eq!(
            block(&record, now).to_string(),
            "Name:        a:1\n\
             Digest:      sha256:00\n\
             Media type:  m/t\n\
             Size:        3.7kB (3700 bytes)\n\
             Platform:    linux/arm64/v8, version 1, with x, y\n\
             Labels:      k=v\n\
             Created:     2026-01-31T12:00:00Z (3 days ago)\n"
        );
    }
}
