//! `imagestore config create`: stores a config.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::task;

use super::record::ConfigRecord;
use super::reference;
use crate::cli::connect::Common;
use crate::cli::failure::{Failure, system_reason};
use crate::cli::output::{self, Output};
use crate::cli::put::verb;
use crate::cli::retry::RequestId;
use crate::domain::ImageConfig;
use crate::proto::v1::CreateConfigRequest;

/// Store a config, and print its id
///
/// The same bytes again change nothing, but for targets that are new.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// The config as JSON, at most 1 MiB; - for standard input
    file: PathBuf,
    /// The config that it was built from: an id, how one begins, or the name of an image
    #[arg(long, value_name = "REF")]
    parent: Option<String>,
    /// It was built here: the build cache may find it by its parent
    #[arg(long)]
    built_locally: bool,
    /// The digest of what has this config, such as the image's manifest; may be repeated
    #[arg(long = "target", value_name = "DIGEST")]
    targets: Vec<String>,
    /// Say what would happen, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    request_id: RequestId,
}

/// What became of a config.
#[derive(Serialize)]
struct Outcome {
    changed: bool,
    created: bool,
    revision: u64,
    config: ConfigRecord,
}

impl Create {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let namespace = common.one_namespace()?.to_owned();
        let config = read(self.file, "FILE").await?;
        let mut client = common.configs().await?;
        let parent = match self.parent {
            Some(parent) => reference::id(&mut client, &namespace, &parent).await?,
            None => String::new(),
        };
        let request = CreateConfigRequest {
            namespace,
            config: config.into(),
            parent,
            built_locally: self.built_locally,
            targets: self.targets,
            validate_only: self.dry_run,
            request_id: self.request_id.text(),
        };
        let answer = client.create(request).await?.into_inner();
        let config = answer.config.unwrap_or_default();
        match common.output() {
            Output::Table => {
                let verb = verb(answer.changed, answer.created, self.dry_run);
                output::text(&format!("{} {verb}\n", config.id))
            }
            Output::Json | Output::Ndjson => output::object(
                common.output(),
                &Outcome {
                    changed: answer.changed,
                    created: answer.created,
                    revision: answer.revision,
                    config: config.into(),
                },
            ),
        }
    }
}

/// The content of a file, or of standard input for `-`. Refuses more than a config may have.
pub async fn read(path: PathBuf, what: &str) -> Result<Vec<u8>, Failure> {
    let shown = path.display().to_string();
    let read = task::spawn_blocking(move || read_blocking(&path)).await;
    let read = read.expect("reading does not panic");
    let content =
        read.map_err(|why| Failure::new(format!("cannot read {shown}: {}", system_reason(&why))))?;
    match content.len() > ImageConfig::MAX_BYTES {
        true => Err(Failure::new(format!("{what} has more than 1 MiB"))),
        false => Ok(content),
    }
}

fn read_blocking(path: &Path) -> io::Result<Vec<u8>> {
    let most = ImageConfig::MAX_BYTES as u64 + 1;
    let mut content = Vec::new();
    match path.as_os_str().to_str() {
        Some("-") => io::stdin().take(most).read_to_end(&mut content)?,
        _ => File::open(path)?.take(most).read_to_end(&mut content)?,
    };
    Ok(content)
}
