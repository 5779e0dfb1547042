//! `imagestore put`: creates or replaces an image record.

use prost_types::FieldMask;
use serde::Serialize;

use super::connect::Common;
use super::failure::Failure;
use super::output::{self, Output};
use super::pair::{Pair, to_map};
use super::platform;
use super::record::ImageRecord;
use super::retry::RequestId;
use super::table::printable;
use crate::proto::v1::{Descriptor, Image, Platform, PutImageRequest, PutImageResponse};

/// Create an image record, or replace it whole
///
/// Labels and annotations that are not given again go away, unless --keep-labels keeps the labels.
#[derive(Debug, clap::Args)]
pub struct Put {
    /// The image's name: 1 to 4096 bytes of any text
    name: String,
    /// What the name points to, such as sha256:...
    #[arg(long)]
    digest: String,
    /// The type of what it points to, such as application/vnd.oci.image.index.v1+json
    #[arg(long, value_name = "TYPE")]
    media_type: String,
    /// The bytes of what it points to
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    size: i64,
    /// A label; may be repeated
    #[arg(
        long = "label",
        value_name = "KEY=VALUE",
        conflicts_with = "keep_labels"
    )]
    labels: Vec<Pair>,
    /// An annotation of the descriptor; may be repeated
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<Pair>,
    /// The platform that it runs on
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform::of_target)]
    platform: Option<Platform>,
    /// The type of an artifact that is not an image
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    /// Only if there is no such name yet
    #[arg(long, conflicts_with_all = ["if_etag", "if_target"])]
    create_only: bool,
    /// Only if the record has this etag
    #[arg(long, value_name = "ETAG")]
    if_etag: Option<String>,
    /// Only if the record points to this digest
    #[arg(long, value_name = "DIGEST")]
    if_target: Option<String>,
    /// Replace the target only, and leave the labels as they are
    #[arg(long, conflicts_with = "create_only")]
    keep_labels: bool,
    /// Say what would happen, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    request_id: RequestId,
}

/// What became of a record.
#[derive(Serialize)]
struct Outcome {
    changed: bool,
    created: bool,
    revision: u64,
    image: ImageRecord,
}

impl Put {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let dry_run = self.dry_run;
        let create_only = self.create_only;
        let request = self.request(common.one_namespace()?.to_owned());
        let answer = common.images().await?.put(request).await;
        let answer = answer.map_err(|status| match create_only {
            true if status.code() == tonic::Code::AlreadyExists => Failure::from(status)
                .next("Leave out --create-only to replace it, or choose another name"),
            _ => Failure::from(status),
        })?;
        show(common.output(), answer.into_inner(), dry_run)
    }

    fn request(self, namespace: String) -> PutImageRequest {
        let image = Image {
            name: self.name,
            target: Some(Descriptor {
                media_type: self.media_type,
                digest: self.digest,
                size: self.size,
                annotations: to_map(self.annotations),
                platform: self.platform.map(Box::new),
                artifact_type: self.artifact_type.unwrap_or_default(),
                ..Descriptor::default()
            }),
            labels: to_map(self.labels),
            ..Image::default()
        };
        PutImageRequest {
            namespace,
            image: Some(image),
            update_mask: self.keep_labels.then(|| FieldMask {
                paths: vec!["target".to_owned()],
            }),
            must_not_exist: self.create_only,
            if_etag: self.if_etag.unwrap_or_default(),
            if_target: self.if_target.unwrap_or_default(),
            validate_only: self.dry_run,
            request_id: self.request_id.text(),
        }
    }
}

/// Writes what a Put did, or would do.
pub fn show(output: Output, answer: PutImageResponse, dry_run: bool) -> Result<(), Failure> {
    let image = answer.image.unwrap_or_default();
    let verb = verb(answer.changed, answer.created, dry_run);
    match output {
        Output::Table => output::text(&format!("{} {verb}\n", printable(&image.name))),
        Output::Json | Output::Ndjson => output::object(
            output,
            &Outcome {
                changed: answer.changed,
                created: answer.created,
                revision: answer.revision,
                image: image.into(),
            },
        ),
    }
}

/// What a Put did, in words.
pub fn verb(changed: bool, created: bool, dry_run: bool) -> &'static str {
    match (changed, created, dry_run) {
        (false, _, false) => "unchanged",
        (true, true, false) => "created",
        (true, false, false) => "updated",
        (false, _, true) => "would stay unchanged",
        (true, true, true) => "would be created",
        (true, false, true) => "would be updated",
    }
}
