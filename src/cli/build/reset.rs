//! `imagestore build reset`: takes what failed back to be built.

use serde::Serialize;

use super::Select;
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::cli::retry::RequestId;
use crate::proto::v1::ResetTargetsRequest;

/// Take targets that failed back to be built
#[derive(Debug, clap::Args)]
pub struct Reset {
    #[command(flatten)]
    select: Select,
    /// Only say which ones would be
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    request_id: RequestId,
}

#[derive(Serialize)]
struct Done {
    targets: Vec<String>,
    dry_run: bool,
}

impl Reset {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let request = ResetTargetsRequest {
            namespace: common.one_namespace()?.to_owned(),
            selector: Some(self.select.selector()),
            validate_only: self.dry_run,
            request_id: self.request_id.text(),
        };
        let mut client = common.build_targets().await?;
        let targets = client.reset(request).await?.into_inner().targets;
        match common.output() {
            Output::Table => {
                let lines = targets.iter().map(|target| match self.dry_run {
                    true => format!("{target} would be built again\n"),
                    false => format!("{target} is to be built again\n"),
                });
                output::text(&lines.collect::<String>())
            }
            form => output::object(
                form,
                &Done {
                    targets,
                    dry_run: self.dry_run,
                },
            ),
        }
    }
}
