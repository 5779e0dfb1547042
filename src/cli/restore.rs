//! `imagestore restore`: makes a store of a backup.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use super::connect::Common;
use super::failure::{Failure, system_reason, with_causes};
use super::output::{self, Output};
use crate::server;

/// Make a store of a backup, in a folder that is empty or not there
///
/// No server may run on it. The store has an id of its own and its revisions begin anew far above the
/// backup's, so that etags, watches and page tokens from after the backup are refused.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The backup; - for standard input
    file: PathBuf,
    /// The folder of the new store
    #[arg(long)]
    root: PathBuf,
}

impl Restore {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let from: Box<dyn Read + Send> = if self.file.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            let file = File::open(&self.file).map_err(|why| {
                let file = self.file.display();
                Failure::new(format!("cannot read {file}: {}", system_reason(&why)))
            })?;
            Box::new(BufReader::new(file))
        };
        let restored = server::restore(&self.root, from).await;
        let restored = restored.map_err(|why| {
            let what = self.file.display();
            Failure::new(format!("cannot restore {what}: {}", with_causes(&why)))
        })?;
        match common.output() {
            Output::Table => output::text(&format!(
                "{} rows of revision {} restored to {}, as store {} at revision {}\n",
                restored.rows,
                restored.backup,
                self.root.display(),
                restored.id,
                restored.revision
            )),
            Output::Json | Output::Ndjson => output::object(
                common.output(),
                &serde_json::json!({
                    "store_id": restored.id.to_string(),
                    "revision": restored.revision.0,
                    "backup_revision": restored.backup.0,
                    "rows": restored.rows,
                }),
            ),
        }
    }
}
