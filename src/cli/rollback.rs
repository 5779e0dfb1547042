//! `imagestore rollback`: brings back what an image was.

use serde::Serialize;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::connect::Common;
use super::failure::Failure;
use super::history::see_history;
use super::output::{self, Output};
use super::record::ImageRecord;
use super::retry::RequestId;
use super::table::printable;
use crate::proto::v1::images_client::ImagesClient;
use crate::proto::v1::{GetImageRequest, Image, RollbackImageRequest, RollbackImageResponse};

/// Bring back what an image was, also after it was removed
///
/// Target and labels come back as a new generation; the one that stands now goes to the history, so
/// that a rollback can be rolled back.
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The image's whole name
    name: String,
    /// Which generation, by its number in `imagestore history`; the last one before what stands now,
    /// or before it was removed, if not given
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    generation: Option<u64>,
    /// Only if the record has this etag
    #[arg(long, value_name = "ETAG")]
    if_etag: Option<String>,
    /// Only if the record points to this digest
    #[arg(long, value_name = "DIGEST")]
    if_target: Option<String>,
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
    /// What stood before, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<ImageRecord>,
}

impl Rollback {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let namespace = common.one_namespace()?;
        let dry_run = self.dry_run;
        let name = self.name.clone();
        let mut client = common.images().await?;
        let answer = client
            .rollback(self.request(namespace.to_owned()))
            .await
            .map_err(|status| failure(status, common, &name))?
            .into_inner();
        // What was done is told even if this cannot be found out.
        let previous = match answer.changed && !answer.created {
            true => previous(&mut client, common, &name, &answer).await.ok(),
            false => None,
        };
        let outcome = Outcome {
            changed: answer.changed,
            created: answer.created,
            revision: answer.revision,
            image: answer.image.unwrap_or_default().into(),
            previous: previous.flatten().map(ImageRecord::from),
        };
        match common.output() {
            Output::Table => output::text(&format!("{}\n", outcome.said(dry_run))),
            Output::Json | Output::Ndjson => output::object(common.output(), &outcome),
        }
    }

    fn request(self, namespace: String) -> RollbackImageRequest {
        RollbackImageRequest {
            namespace,
            name: self.name,
            generation: self.generation.unwrap_or_default(),
            if_etag: self.if_etag.unwrap_or_default(),
            if_target: self.if_target.unwrap_or_default(),
            validate_only: self.dry_run,
            request_id: self.request_id.text(),
        }
    }
}

fn failure(status: Status, common: &Common, name: &str) -> Failure {
    match status.code() {
        Code::NotFound => Failure::from(status).next(see_history(common, name)),
        _ => status.into(),
    }
}

/// What a rollback replaced, or would replace. Another write may be quicker than the question, so it is
/// asked for at the revision just before the rollback's own; one that was not made has none.
async fn previous(
    client: &mut ImagesClient<Channel>,
    common: &Common,
    name: &str,
    answer: &RollbackImageResponse,
) -> Result<Option<Image>, Status> {
    let made = answer.image.as_ref().map_or(0, |image| image.revision);
    let before = GetImageRequest {
        namespace: common.namespace.clone(),
        name: name.to_owned(),
        at_revision: made.saturating_sub(1),
    };
    Ok(client.get(before).await?.into_inner().image)
}

// === impl Outcome ===

impl Outcome {
    /// What a Rollback did, or would do, in words.
    fn said(&self, dry_run: bool) -> String {
        let name = printable(&self.image.name);
        let would = |did: &'static str, would_do: &'static str| match dry_run {
            false => did,
            true => would_do,
        };
        let to = &self.image.digest;
        if !self.changed {
            let verb = would("unchanged", "would stay unchanged");
            return format!("{name} {verb}: it points to {to}");
        }
        if self.created {
            let verb = would("brought back", "would be brought back");
            return format!("{name} {verb}: it points to {to}");
        }
        let verb = would("rolled back", "would be rolled back");
        match &self.previous {
            Some(previous) if previous.digest == *to => {
                format!("{name} {verb}: it points to {to} as before, with the labels it had")
            }
            Some(previous) => format!("{name} {verb} from {} to {to}", previous.digest),
            None => format!("{name} {verb} to {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_says_what_it_did() {
        let record = |digest: &str| ImageRecord {
            name: "a".into(),
            digest: digest.into(),
            ..ImageRecord::default()
        };
        for (changed, created, previous, did, would_do) in [
            (
                true,
                false,
                Some("x"),
                "a rolled back from x to y",
                "a would be rolled back from x to y",
            ),
            (
                true,
                false,
                None,
                "a rolled back to y",
                "a would be rolled back to y",
            ),
            (
                true,
                false,
                Some("y"),
                "a rolled back: it points to y as before, with the labels it had",
                "a would be rolled back: it points to y as before, with the labels it had",
            ),
            (
                true,
                true,
                None,
                "a brought back: it points to y",
                "a would be brought back: it points to y",
            ),
            (
                false,
                false,
                None,
                "a unchanged: it points to y",
                "a would stay unchanged: it points to y",
            ),
        ] {
            let outcome = Outcome {
                changed,
                created,
                revision: 1,
                image: record("y"),
                previous: previous.map(record),
            };
            assert_eq!(outcome.said(false), did);
            assert_eq!(outcome.said(true), would_do);
        }
    }
}
