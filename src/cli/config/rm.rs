//! `imagestore config rm`: removes configs.

use serde::Serialize;
use tonic::Status;
use tonic::transport::Channel;

use super::reference;
use crate::cli::connect::Common;
use crate::cli::failure::{Failure, concerns_one_item};
use crate::cli::output::Told;
use crate::cli::retry::RequestId;
use crate::cli::rm::{verb, worse};
use crate::cli::table::printable;
use crate::proto::v1::configs_client::ConfigsClient;
use crate::proto::v1::{DeleteConfigRequest, DeleteConfigResponse};

/// Remove configs, and say which layers no config has any more
///
/// Configs that have it as their parent stay, and have none then. Images stay that point to it. Goes
/// on past ids that are not there and says which; the exit code is then 4.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// Ids, or how they begin
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Only if it has this etag; with one ID
    #[arg(long, value_name = "ETAG")]
    if_etag: Option<String>,
    /// Only if no config has it as its parent
    #[arg(long)]
    if_head: bool,
    /// Say what would be removed, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    request_id: RequestId,
}

/// What a removal did.
#[derive(Serialize)]
struct RemovedRecord {
    id: String,
    unreferenced: Vec<LayerRecord>,
    orphans: i64,
    revision: u64,
}

/// A layer that no config has any more.
#[derive(Serialize)]
struct LayerRecord {
    chain_id: String,
    diff_id: String,
}

impl Rm {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let is_about_one = self.if_etag.is_some() || self.request_id.is_given();
        if is_about_one && self.ids.len() > 1 {
            return Err(
                Failure::usage("--if-etag and --request-id are about one config")
                    .next("Give one ID with them"),
            );
        }
        let namespace = common.one_namespace()?;
        let verb = verb(self.dry_run);
        let mut removed = Told::new(common.output());
        let mut client = common.configs().await?;
        let mut missed = None;
        for id in &self.ids {
            match self.remove(&mut client, namespace, id).await {
                Ok(answer) => {
                    removed.push(&lines(&answer, verb), &RemovedRecord::from(answer))?;
                    removed.flush()?;
                }
                Err(status) => {
                    let goes_on = concerns_one_item(status.code());
                    let failure = Failure::from(status);
                    if !goes_on {
                        removed.end()?;
                        return Err(failure);
                    }
                    failure.tell();
                    missed = Some(worse(missed, failure.exit()));
                }
            }
        }
        removed.end()?;
        missed.map_or(Ok(()), |exit| Err(Failure::told(exit)))
    }

    async fn remove(
        &self,
        client: &mut ConfigsClient<Channel>,
        namespace: &str,
        id: &str,
    ) -> Result<DeleteConfigResponse, Status> {
        let request = DeleteConfigRequest {
            namespace: namespace.to_owned(),
            id: reference::id_only(client, namespace, id).await?,
            validate_only: self.dry_run,
            request_id: self.request_id.text(),
            if_etag: self.if_etag.clone().unwrap_or_default(),
            must_be_head: self.if_head,
        };
        Ok(client.delete(request).await?.into_inner())
    }
}

/// What a removal did, in words.
fn lines(answer: &DeleteConfigResponse, verb: &str) -> String {
    let mut lines = vec![format!("{} {verb}", printable(&answer.id))];
    for layer in &answer.unreferenced {
        let layer = printable(&layer.diff_id);
        lines.push(format!("  {layer} is in no config any more"));
    }
    if answer.orphans > 0 {
        let orphans = answer.orphans;
        lines.push(format!("  {orphans} configs have no parent any more"));
    }
    lines.join("\n")
}

impl From<DeleteConfigResponse> for RemovedRecord {
    fn from(answer: DeleteConfigResponse) -> Self {
        let layers = answer.unreferenced.into_iter();
        let unreferenced = layers.map(|layer| LayerRecord {
            chain_id: layer.chain_id,
            diff_id: layer.diff_id,
        });
        Self {
            id: answer.id,
            unreferenced: unreferenced.collect(),
            orphans: answer.orphans,
            revision: answer.revision,
        }
    }
}
