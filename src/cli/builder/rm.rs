//! `imagestore builder rm`: forgets a builder.

use super::Which;
use super::record::{BuilderRecord, image_name, shown};
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::cli::retry::RequestId;
use crate::cli::table::printable;
use crate::proto::v1::DeleteBuilderRequest;

/// Forget a builder; names the images that nobody keeps track of any more
#[derive(Debug, clap::Args)]
pub struct Rm {
    #[command(flatten)]
    which: Which,
    /// Also while it has images, or somebody makes one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    request_id: RequestId,
}

impl Rm {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let key = self.which.key()?;
        let request = DeleteBuilderRequest {
            namespace: common.one_namespace()?.to_owned(),
            key: Some(key.clone()),
            force: self.force,
            request_id: self.request_id.text(),
            ..DeleteBuilderRequest::default()
        };
        let deleted = common.builders().await?.delete(request).await?.into_inner();
        let builder = deleted.builder.unwrap_or_default();
        if common.output() != Output::Table {
            return output::object(common.output(), &BuilderRecord::from(builder));
        }
        let mut text = format!("{} removed\n", printable(&shown(&key)));
        for generation in &builder.generations {
            for copy in &generation.copies {
                let (image, place) = (image_name(generation), &copy.location);
                text.push_str(&printable(&format!("{image} stays at {place}")));
                text.push('\n');
            }
        }
        output::text(&text)
    }
}
