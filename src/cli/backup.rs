//! `imagestore backup`: writes all of the store, at one revision, to a file.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};
use tonic::Streaming;

use super::connect::Common;
use super::export::Target;
use super::failure::Failure;
use super::output::{self, Output};
use crate::proto::v1::backup_response::Part;
use crate::proto::v1::{BackupEnd, BackupRequest, BackupResponse};

/// Write all of the store, at one revision, to a file, for `restore`
///
/// Reads and writes go on meanwhile. The file appears when it is complete; one that is there already
/// is replaced then.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The file; - for standard output
    file: PathBuf,
}

impl Backup {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let target = Target::of(&self.file);
        if matches!(target, Target::Stdout) && std::io::stdout().is_terminal() {
            return Err(Failure::usage(
                "a backup is no text; give a file, or a pipe",
            ));
        }
        // Before the file is opened: what cannot be read leaves no file behind.
        let mut store = common.store().await?;
        let mut parts = store.backup(BackupRequest {}).await?.into_inner();
        let bar = progress();
        let opened = target.open().map_err(|why| target.failure(why))?;
        let written = write_all(&mut parts, opened, &target, &bar).await;
        bar.finish_and_clear();
        let kept = written.and_then(|end| {
            target.keep().map_err(|why| target.failure(why))?;
            Ok(end)
        });
        let end = kept.inspect_err(|_| target.discard())?;
        match (&target, common.output()) {
            (Target::Stdout, _) => Ok(()),
            (_, Output::Table) => output::text(&format!(
                "{} rows of revision {} backed up to {}\n",
                end.rows,
                end.revision,
                self.file.display()
            )),
            (_, Output::Json | Output::Ndjson) => output::object(
                common.output(),
                &serde_json::json!({
                    "revision": end.revision,
                    "rows": end.rows,
                    "bytes": end.bytes,
                    "digest": end.digest,
                }),
            ),
        }
    }
}

/// How much of all rows is there. Only on a terminal.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent}%  {pos} of {len} rows  {elapsed}");
    ProgressBar::new(0).with_style(style.expect("the template is well formed"))
}

/// Writes the bytes to their end, and finds them whole.
async fn write_all(
    parts: &mut Streaming<BackupResponse>,
    to: Box<dyn Write>,
    target: &Target,
    bar: &ProgressBar,
) -> Result<BackupEnd, Failure> {
    let mut to = BufWriter::new(to);
    let mut digest = Sha256::new();
    let mut bytes = 0;
    let mut end = None;
    while let Some(message) = parts.message().await? {
        match message.part {
            Some(Part::Chunk(chunk)) => {
                to.write_all(&chunk).map_err(|why| target.failure(why))?;
                digest.update(&chunk);
                bytes += chunk.len() as u64;
                bar.set_position(message.rows);
            }
            Some(Part::End(found)) => end = Some(found),
            Some(Part::Head(head)) => bar.set_length(head.rows),
            None => {}
        }
    }
    to.flush().map_err(|why| target.failure(why))?;
    let Some(end) = end else {
        return Err(Failure::new("the backup ended too early; try again"));
    };
    let hex = |digest: &[u8]| {
        digest.iter().fold(String::from("sha256:"), |hex, byte| {
            hex + &format!("{byte:02x}")
        })
    };
    if end.bytes != bytes || end.digest != hex(&digest.finalize()) {
        return Err(Failure::new("the backup was damaged on its way; try again"));
    }
    Ok(end)
}
