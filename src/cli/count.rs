//! `imagestore count`: counts images.

use serde::Serialize;

use super::connect::Common;
use super::failure::Failure;
use super::output::{self, Output};
use super::select::Conditions;

/// Count images
#[derive(Debug, clap::Args)]
pub struct Count {
    /// Only names that start so
    prefix: Option<String>,
    #[command(flatten)]
    conditions: Conditions,
}

#[derive(Serialize)]
struct Counted {
    count: i64,
    revision: u64,
}

impl Count {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let request = self.conditions.count(&common.namespace, self.prefix);
        let answer = common.images().await?.count(request).await?.into_inner();
        match common.output() {
            Output::Table => output::text(&format!("{}\n", answer.count)),
            Output::Json | Output::Ndjson => output::object(
                common.output(),
                &Counted {
                    count: answer.count,
                    revision: answer.revision,
                },
            ),
        }
    }
}
