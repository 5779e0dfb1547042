//! `imagestore config show`: shows one config.

use std::io::Write;

use super::record::{ConfigRecord, block, steps};
use super::reference;
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::ls::now;
use crate::cli::output::{self, Output};
use crate::cli::platform;
use crate::proto::v1::ConfigPlatform;

/// Show all that is known of a config, and the steps that made it, the last one first
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The config: an id, how one begins, or the name of an image
    #[arg(value_name = "REF")]
    reference: String,
    /// Which config of an image that has several: the one that suits this platform best
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform::of_config)]
    platform: Option<ConfigPlatform>,
    /// Whole layers and commands in the table
    #[arg(long)]
    no_trunc: bool,
    /// Only its bytes, as they were stored
    #[arg(long, conflicts_with = "no_trunc")]
    raw: bool,
}

impl Show {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let namespace = common.one_namespace()?;
        let mut client = common.configs().await?;
        let platform = self.platform.as_ref();
        let found = reference::get(&mut client, namespace, &self.reference, platform).await;
        let (_, answer) = found?;
        if self.raw {
            let mut stdout = std::io::stdout();
            let written = stdout.write_all(&answer.raw).and_then(|()| stdout.flush());
            return written.map_err(Failure::writing_stdout);
        }
        let config = answer.config.unwrap_or_default();
        match common.output() {
            Output::Table => {
                let now = now();
                let (block, steps) = (block(&config, now), steps(&config, self.no_trunc, now));
                output::text(&format!("{block}\n{steps}"))
            }
            Output::Json | Output::Ndjson => {
                output::object(common.output(), &ConfigRecord::from(config))
            }
        }
    }
}
