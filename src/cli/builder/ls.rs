//! `imagestore builder ls`: lists builders.

use super::Builders;
use super::record::BuilderRecord;
use crate::cli::connect::{Common, PAGE_SIZE};
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output, Values};
use crate::cli::platform;
use crate::cli::table::Table;
use crate::proto::v1::{Builder, ListBuildersRequest};

/// List builders, by base
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// Only bases that start so
    prefix: Option<String>,
}

impl Ls {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut client = common.builders().await?;
        let prefix = self.prefix.unwrap_or_default();
        let builders = all(&mut client, common.one_namespace()?, prefix).await?;
        match common.output() {
            Output::Table => output::text(&table(&builders).to_string()),
            form => {
                let mut values = Values::new(form);
                for builder in builders {
                    values.push(&BuilderRecord::from(builder))?;
                }
                values.end()
            }
        }
    }
}

/// All builders whose bases start so.
pub async fn all(
    client: &mut Builders,
    namespace: &str,
    base_prefix: String,
) -> Result<Vec<Builder>, Failure> {
    let mut request = ListBuildersRequest {
        namespace: namespace.to_owned(),
        base_prefix,
        page_size: PAGE_SIZE,
        ..ListBuildersRequest::default()
    };
    let mut all = Vec::new();
    loop {
        let page = client.list(request.clone()).await?.into_inner();
        all.extend(page.builders);
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        request.page_token = page.next_page_token;
    }
}

fn table(builders: &[Builder]) -> Table {
    let mut table = Table::new(["BASE", "PLATFORM", "RECIPE", "FAILURES", "BUILDING"]);
    for builder in builders {
        let key = builder.key.clone().unwrap_or_default();
        let holder = builder
            .claim
            .as_ref()
            .map_or("", |claim| claim.holder.as_str());
        table.push([
            &*key.base,
            &platform::text(key.platform.as_ref()),
            &key.recipe,
            &builder.failures.to_string(),
            holder,
        ]);
    }
    table
}
