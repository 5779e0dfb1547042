//! `imagestore rm`: removes images by name.

use super::connect::Common;
use super::failure::{Exit, Failure, concerns_one_item};
use super::output::Told;
use super::record::ImageRecord;
use super::retry::RequestId;
use super::table::printable;
use crate::proto::v1::DeleteImageRequest;

/// Remove images
///
/// Goes on past names that are not there and says which; the exit code is then 4.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// Whole names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Only if the record has this etag; with one NAME
    #[arg(long, value_name = "ETAG")]
    if_etag: Option<String>,
    /// Only if the record points to this digest; with one NAME
    #[arg(long, value_name = "DIGEST")]
    if_target: Option<String>,
    /// Say what would be removed, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    request_id: RequestId,
}

impl Rm {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let is_about_one =
            self.if_etag.is_some() || self.if_target.is_some() || self.request_id.is_given();
        if is_about_one && self.names.len() > 1 {
            return Err(Failure::usage(
                "--if-etag, --if-target and --request-id are about one image",
            )
            .next("Give one NAME with them"));
        }
        let namespace = common.one_namespace()?;
        let verb = verb(self.dry_run);
        let mut removed = Told::new(common.output());
        let mut client = common.images().await?;
        let mut missed: Option<Exit> = None;
        for name in self.names {
            let request = DeleteImageRequest {
                namespace: namespace.to_owned(),
                name,
                if_etag: self.if_etag.clone().unwrap_or_default(),
                if_target: self.if_target.clone().unwrap_or_default(),
                validate_only: self.dry_run,
                request_id: self.request_id.text(),
            };
            match client.delete(request).await {
                Ok(answer) => {
                    let image = answer.into_inner().image.unwrap_or_default();
                    let line = format!("{} {verb}", printable(&image.name));
                    removed.push(&line, &ImageRecord::from(image))?;
                    removed.flush()?;
                }
                Err(status) => {
                    let goes_on = concerns_one_item(status.code());
                    let failure = Failure::from(status);
                    if !goes_on {
                        removed.end()?;
                        return Err(failure);
                    }
                    failure.tell();
                    missed = Some(worse(missed, failure.exit()));
                }
            }
        }
        removed.end()?;
        missed.map_or(Ok(()), |exit| Err(Failure::told(exit)))
    }
}

/// What a removal did, in words.
pub fn verb(dry_run: bool) -> &'static str {
    match dry_run {
        false => "removed",
        true => "would be removed",
    }
}

/// Of several failures, a missing name is the least.
pub fn worse(so_far: Option<Exit>, exit: Exit) -> Exit {
    match so_far {
        None | Some(Exit::NotFound) => exit,
        Some(other) => other,
    }
}
