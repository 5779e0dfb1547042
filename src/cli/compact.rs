//! `imagestore compact`: has the store give back what its file does not use.

use super::connect::Common;
use super::failure::Failure;
use super::get::bytes;
use super::output::{self, Output};
use crate::proto::v1::CompactRequest;

/// Give back what the store's file does not use; reads and writes go on
#[derive(Debug, clap::Args)]
pub struct Compact {}

impl Compact {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let answer = common.store().await?.compact(CompactRequest {}).await?;
        let compacted = answer.into_inner().message().await?;
        let compacted = compacted.ok_or_else(|| {
            Failure::new("the server ended before the store was compacted; try again")
        })?;
        let (before, after) = (compacted.bytes_before, compacted.bytes_after);
        match common.output() {
            Output::Table => output::text(&format!("{}, {} before\n", bytes(after), bytes(before))),
            Output::Json | Output::Ndjson => output::object(
                common.output(),
                &serde_json::json!({
                    "bytes_before": before,
                    "bytes_after": after,
                    "revision": compacted.revision,
                }),
            ),
        }
    }
}
