//! `imagestore config ls` and `config heads`: list configs.

use super::record::ConfigRecord;
use crate::cli::connect::{Common, PAGE_SIZE};
use crate::cli::failure::Failure;
use crate::cli::human::{ago, short_digest, size};
use crate::cli::ls::now;
use crate::cli::output::{self, Output, Stdout, Values};
use crate::cli::platform;
use crate::cli::record::timestamp;
use crate::cli::table::Table;
use crate::domain::Timestamp;
use crate::proto::v1::{Config, ConfigView, ListConfigsRequest};

/// List configs, by id
///
/// BUILT says which ones were built here: only those does the build cache find by their parents.
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// Only configs that no other one has as its parent
    #[arg(long)]
    heads: bool,
    #[command(flatten)]
    form: Form,
}

/// List the configs that no other one has as its parent, by id
#[derive(Debug, clap::Args)]
pub struct Heads {
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
struct Form {
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Also author, comment, targets, layers and history, with -o json; reads and checks each config, and
    /// says which ones are corrupt
    #[arg(long, conflicts_with = "quiet")]
    full: bool,
    /// Whole ids in the table
    #[arg(long)]
    no_trunc: bool,
}

/// Takes configs one by one and writes them in the form that was asked for.
enum Listing {
    Ids(Stdout),
    Values {
        values: Values,
        ids_only: bool,
    },
    Rows {
        table: Table,
        whole_ids: bool,
        now: Timestamp,
    },
}

impl Ls {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        self.form.list(self.heads, common).await
    }
}

impl Heads {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        self.form.list(true, common).await
    }
}

impl Form {
    async fn list(self, heads_only: bool, common: &Common) -> Result<(), Failure> {
        let view = match self.full {
            true => ConfigView::Full,
            false => ConfigView::Basic,
        };
        let mut request = ListConfigsRequest {
            namespace: common.one_namespace()?.to_owned(),
            heads_only,
            view: view.into(),
            page_size: PAGE_SIZE,
            page_token: String::new(),
        };
        let mut client = common.configs().await?;
        let mut listing = Listing::new(&self, common.output());
        loop {
            let page = client.list(request.clone()).await?.into_inner();
            for config in page.configs {
                listing.push(config)?;
            }
            listing.flush()?;
            if page.next_page_token.is_empty() {
                return listing.end();
            }
            request.page_token = page.next_page_token;
        }
    }
}

impl Listing {
    fn new(form: &Form, output: Output) -> Self {
        match output {
            Output::Json | Output::Ndjson => Self::Values {
                values: Values::new(output),
                ids_only: form.quiet,
            },
            Output::Table if form.quiet => Self::Ids(Stdout::open()),
            Output::Table => Self::Rows {
                table: Table::new(["ID", "PLATFORM", "SIZE", "CREATED", "PARENT", "BUILT"]),
                whole_ids: form.no_trunc,
                now: now(),
            },
        }
    }

    fn push(&mut self, config: Config) -> Result<(), Failure> {
        match self {
            Self::Ids(stdout) => stdout.line(&config.id),
            Self::Values {
                values,
                ids_only: true,
            } => values.push(&config.id),
            Self::Values {
                values,
                ids_only: false,
            } => values.push(&ConfigRecord::from(config)),
            Self::Rows {
                table,
                whole_ids,
                now,
            } => {
                push(table, &config, *whole_ids, *now);
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Ids(stdout) => stdout.flush(),
            Self::Values { values, .. } => values.flush(),
            Self::Rows { .. } => Ok(()),
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self {
            Self::Ids(mut stdout) => stdout.flush(),
            Self::Values { values, .. } => values.end(),
            Self::Rows { table, .. } => output::text(&table.to_string()),
        }
    }
}

fn push(table: &mut Table, config: &Config, whole_ids: bool, now: Timestamp) {
    let id = |id| match whole_ids {
        true => id,
        false => short_digest(id),
    };
    let created = timestamp(config.created.as_ref());
    let platform = match config.is_corrupt {
        true => "CORRUPT".to_owned(),
        false => platform::text(config.platform.as_ref()),
    };
    table.push([
        id(&config.id),
        &platform,
        &size(config.size),
        &created.map(|at| ago(at, now)).unwrap_or_default(),
        id(&config.parent),
        if config.built_locally { "here" } else { "" },
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_built_here_and_what_is_corrupt() {
        let id = |byte: &str| format!("sha256:{}", byte.repeat(32));
        let now = Timestamp::new(120, 0).unwrap();
        let mut table = Table::new(["ID", "PLATFORM", "SIZE", "CREATED", "PARENT", "BUILT"]);
        let config = Config {
            id: id("0a"),
            size: 3700,
            platform: platform::of_config("linux/arm64").ok(),
            created: Some(prost_types::Timestamp::default()),
            parent: id("0b"),
            built_locally: true,
            ..Config::default()
        };
        push(&mut table, &config, false, now);
        let corrupt = Config {
            id: id("0c"),
            is_corrupt: true,
            ..Config::default()
        };
        push(&mut table, &corrupt, false, now);
        assert_eq!(
            table.to_string(),
            "ID            PLATFORM     SIZE   CREATED        PARENT        BUILT\n\
             0a0a0a0a0a0a  linux/arm64  3.7kB  2 minutes ago  0b0b0b0b0b0b  here\n\
             0c0c0c0c0c0c  CORRUPT      0B\n"
        );
    }
}
