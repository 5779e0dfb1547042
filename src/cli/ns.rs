//! `imagestore ns`: lists, shows, creates, changes and removes namespaces.

use std::collections::BTreeMap;
use std::str::FromStr;

use prost_types::FieldMask;
use serde::Serialize;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::connect::{Common, PAGE_SIZE};
use super::failure::Failure;
use super::get::moment;
use super::human::ago;
use super::ls::now;
use super::output::{self, Output, Values};
use super::pair::{Pair, to_map};
use super::put::verb;
use super::record::{rfc3339, timestamp};
use super::retry::RequestId;
use super::rm;
use super::table::{Block, Table, printable};
use crate::domain::{HistoryLimit, Timestamp};
use crate::proto::v1::namespaces_client::NamespacesClient;
use crate::proto::v1::{
    DeleteNamespaceRequest, GetNamespaceRequest, ListNamespacesRequest, Namespace,
    PutNamespaceRequest, PutNamespaceResponse,
};

/// List, show, create, change and remove namespaces
#[derive(Debug, clap::Args)]
pub struct Ns {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Ls(Ls),
    Get(Get),
    Put(Put),
    Rm(Rm),
}

/// List namespaces, by name
#[derive(Debug, clap::Args)]
struct Ls {
    /// Only names that start so
    prefix: Option<String>,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
}

/// Show all that is known of a namespace
#[derive(Debug, clap::Args)]
struct Get {
    /// The namespace
    name: String,
}

/// Create a namespace, or replace its labels
///
/// Labels that are not given again go away, unless only --history is given. The first image of a
/// namespace creates it too.
#[derive(Debug, clap::Args)]
struct Put {
    /// The namespace: 1 to 76 letters and digits, in runs joined by one of . _ -
    name: String,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Pair>,
    /// How many generations of each name are kept once they have ended: 0 to 1000, or `default`;
    /// stays as it is if not given
    #[arg(long, value_name = "N")]
    history: Option<Kept>,
    #[command(flatten)]
    request_id: RequestId,
}

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Default,
    Generations(HistoryLimit),
}

/// Remove a namespace that holds nothing
#[derive(Debug, clap::Args)]
struct Rm {
    /// The namespace
    name: String,
    /// Remove it with all that it holds
    #[arg(long)]
    force: bool,
    /// Say what would be removed, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    request_id: RequestId,
}

/// A namespace as JSON.
#[derive(Serialize)]
struct NamespaceRecord {
    name: String,
    images: i64,
    configs: i64,
    builders: i64,
    build_targets: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_limit: Option<u32>,
    created_at: String,
    updated_at: String,
    etag: String,
    revision: u64,
}

/// What became of a namespace.
#[derive(Serialize)]
struct Outcome {
    changed: bool,
    created: bool,
    revision: u64,
    namespace: NamespaceRecord,
}

impl Ns {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        match self.command {
            Command::Ls(ls) => ls.run(common).await,
            Command::Get(get) => get.run(common).await,
            Command::Put(put) => put.run(common).await,
            Command::Rm(rm) => rm.run(common).await,
        }
    }
}

impl Ls {
    async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut client = common.namespaces().await?;
        let mut request = ListNamespacesRequest {
            name_prefix: self.prefix.unwrap_or_default(),
            page_size: PAGE_SIZE,
            page_token: String::new(),
        };
        let mut namespaces = Vec::new();
        loop {
            let page = client.list(request.clone()).await?.into_inner();
            namespaces.extend(page.namespaces);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        match common.output() {
            Output::Table if self.quiet => output::text(&names(&namespaces)),
            Output::Table => output::text(&table(&namespaces).to_string()),
            Output::Json | Output::Ndjson => {
                let mut values = Values::new(common.output());
                for namespace in namespaces {
                    match self.quiet {
                        true => values.push(&namespace.name)?,
                        false => values.push(&NamespaceRecord::from(namespace))?,
                    }
                }
                values.end()
            }
        }
    }
}

fn names(namespaces: &[Namespace]) -> String {
    namespaces
        .iter()
        .map(|namespace| printable(&namespace.name) + "\n")
        .collect()
}

fn table(namespaces: &[Namespace]) -> Table {
    let now = now();
    let mut table = Table::new([
        "NAMESPACE",
        "IMAGES",
        "CONFIGS",
        "BUILDERS",
        "TARGETS",
        "HISTORY",
        "CREATED",
        "LABELS",
    ]);
    for namespace in namespaces {
        let created = timestamp(namespace.created_at.as_ref()).map(|at| ago(at, now));
        let labels: Vec<String> = namespace
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        table.push([
            namespace.name.as_str(),
            &namespace.images.to_string(),
            &namespace.configs.to_string(),
            &namespace.builders.to_string(),
            &namespace.build_targets.to_string(),
            &kept(namespace.history_limit),
            &created.unwrap_or_default(),
            &labels.join(","),
        ]);
    }
    table
}

/// How much history is kept, in a word.
fn kept(limit: Option<u32>) -> String {
    limit.map_or_else(|| "default".to_owned(), |limit| limit.to_string())
}

impl Get {
    async fn run(self, common: &Common) -> Result<(), Failure> {
        let request = GetNamespaceRequest { name: self.name };
        let answer = common.namespaces().await?.get(request).await;
        let answer = answer.map_err(failure)?.into_inner();
        let record = NamespaceRecord::from(answer.namespace.unwrap_or_default());
        match common.output() {
            Output::Table => output::text(&block(&record, now()).to_string()),
            Output::Json | Output::Ndjson => output::object(common.output(), &record),
        }
    }
}

fn block(record: &NamespaceRecord, now: Timestamp) -> Block {
    let mut block = Block::default();
    block.push("Name", &record.name);
    block.push("Images", record.images.to_string());
    block.push("Configs", record.configs.to_string());
    block.push("Builders", record.builders.to_string());
    block.push("Build targets", record.build_targets.to_string());
    block.push("History", kept(record.history_limit));
    block.push_pairs("Labels", &record.labels);
    block.push("Created", moment(&record.created_at, now));
    block.push("Updated", moment(&record.updated_at, now));
    block.push("Etag", &record.etag);
    block
}

impl Put {
    async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut client = common.namespaces().await?;
        let answer = put(&mut client, self.request()).await.map_err(failure)?;
        let namespace = answer.namespace.unwrap_or_default();
        match common.output() {
            Output::Table => {
                let verb = verb(answer.changed, answer.created, false);
                output::text(&format!("{} {verb}\n", printable(&namespace.name)))
            }
            Output::Json | Output::Ndjson => output::object(
                common.output(),
                &Outcome {
                    changed: answer.changed,
                    created: answer.created,
                    revision: answer.revision,
                    namespace: namespace.into(),
                },
            ),
        }
    }

    /// Names what it changes, so that the rest stays as it is.
    fn request(self) -> PutNamespaceRequest {
        let mut paths = Vec::new();
        if self.history.is_none() || !self.labels.is_empty() {
            paths.push("labels".to_owned());
        }
        if self.history.is_some() {
            paths.push("history_limit".to_owned());
        }
        PutNamespaceRequest {
            namespace: Some(Namespace {
                name: self.name,
                labels: to_map(self.labels),
                history_limit: match self.history {
                    None | Some(Kept::Default) => None,
                    Some(Kept::Generations(limit)) => Some(limit.get()),
                },
                ..Namespace::default()
            }),
            update_mask: Some(FieldMask { paths }),
            request_id: self.request_id.text(),
            ..PutNamespaceRequest::default()
        }
    }
}

/// Puts what needs a namespace that is there, which is created first where it is not. So the request
/// is the same whenever it is sent, as its id demands.
async fn put(
    client: &mut NamespacesClient<Channel>,
    request: PutNamespaceRequest,
) -> Result<PutNamespaceResponse, Status> {
    match client.put(request.clone()).await {
        Err(status) if status.code() == Code::NotFound => {}
        answered => return Ok(answered?.into_inner()),
    }
    let bare = Namespace {
        name: request
            .namespace
            .as_ref()
            .map(|namespace| namespace.name.clone())
            .unwrap_or_default(),
        ..Namespace::default()
    };
    let create = PutNamespaceRequest {
        namespace: Some(bare),
        must_not_exist: true,
        ..PutNamespaceRequest::default()
    };
    let created = match client.put(create).await {
        Ok(_) => true,
        Err(status) if status.code() == Code::AlreadyExists => false,
        Err(status) => return Err(status),
    };
    let mut answer = client.put(request).await?.into_inner();
    answer.created |= created;
    answer.changed |= created;
    Ok(answer)
}

impl Rm {
    async fn run(self, common: &Common) -> Result<(), Failure> {
        let request = DeleteNamespaceRequest {
            name: self.name,
            force: self.force,
            validate_only: self.dry_run,
            request_id: self.request_id.text(),
            ..DeleteNamespaceRequest::default()
        };
        let answer = common.namespaces().await?.delete(request).await;
        let answer = answer.map_err(failure)?;
        let namespace = answer.into_inner().namespace.unwrap_or_default();
        match common.output() {
            Output::Table => output::text(&format!(
                "{} {}, with {}\n",
                printable(&namespace.name),
                rm::verb(self.dry_run),
                held(&namespace)
            )),
            Output::Json | Output::Ndjson => {
                output::object(common.output(), &NamespaceRecord::from(namespace))
            }
        }
    }
}

/// `3 images, 2 configs and 1 builders`: how many images, and of what else there are some.
fn held(namespace: &Namespace) -> String {
    let others = [
        (namespace.configs, "configs"),
        (namespace.builders, "builders"),
        (namespace.build_targets, "build targets"),
    ];
    let mut held = vec![format!("{} images", namespace.images)];
    let others = others.into_iter().filter(|(count, _)| *count > 0);
    held.extend(others.map(|(count, kind)| format!("{count} {kind}")));
    match &*held {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        _ => held.concat(),
    }
}

fn failure(status: Status) -> Failure {
    match status.code() {
        Code::FailedPrecondition => {
            Failure::from(status).next("With --force it goes together with all that it holds")
        }
        Code::NotFound => Failure::from(status).next("'imagestore ns ls' shows which there are"),
        _ => status.into(),
    }
}

impl FromStr for Kept {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self::Default),
            number => {
                let limit = number.parse::<u32>().ok();
                let limit = limit.and_then(|limit| HistoryLimit::try_from(limit).ok());
                limit
                    .map(Self::Generations)
                    .ok_or("write a number up to 1000, or `default`")
            }
        }
    }
}

impl From<Namespace> for NamespaceRecord {
    fn from(namespace: Namespace) -> Self {
        Self {
            created_at: rfc3339(namespace.created_at.as_ref()),
            updated_at: rfc3339(namespace.updated_at.as_ref()),
            name: namespace.name,
            images: namespace.images,
            configs: namespace.configs,
            builders: namespace.builders,
            build_targets: namespace.build_targets,
            labels: namespace.labels,
            history_limit: namespace.history_limit,
            etag: namespace.etag,
            revision: namespace.revision,
        }
    }
}
