//! `imagestore ns`: lists, creates and removes namespaces.

use std::collections::BTreeMap;

use serde::Serialize;
use tonic::Code;

use super::connect::Common;
use super::failure::Failure;
use super::human::ago;
use super::ls::now;
use super::output::{self, Output, Values};
use super::pair::{Pair, to_map};
use super::put::verb;
use super::record::{rfc3339, timestamp};
use super::table::{Table, printable};
use crate::proto::v1::{
    DeleteNamespaceRequest, ListNamespacesRequest, Namespace, PutNamespaceRequest,
};

/// List, create and remove namespaces
#[derive(Debug, clap::Args)]
pub struct Ns {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Ls(Ls),
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

/// Create a namespace, or replace its labels
///
/// Labels that are not given again go away. The first image of a namespace creates it too.
#[derive(Debug, clap::Args)]
struct Put {
    /// The namespace: 1 to 76 letters and digits, in runs joined by one of . _ -
    name: String,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Pair>,
}

/// Remove a namespace that holds nothing
#[derive(Debug, clap::Args)]
struct Rm {
    /// The namespace
    name: String,
    /// Remove it with all that it holds
    #[arg(long)]
    force: bool,
}

/// A namespace as JSON.
#[derive(Serialize)]
struct NamespaceRecord {
    name: String,
    images: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
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

/// Asks for the largest page that the service gives.
const PAGE_SIZE: i32 = 1000;

impl Ns {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        match self.command {
            Command::Ls(ls) => ls.run(common).await,
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
        match common.output {
            Output::Table if self.quiet => output::text(&names(&namespaces)),
            Output::Table => output::text(&table(&namespaces).to_string()),
            Output::Json | Output::Ndjson => {
                let mut values = Values::new(common.output);
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
    let mut table = Table::new(["NAMESPACE", "IMAGES", "CREATED", "LABELS"]);
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
            &created.unwrap_or_default(),
            &labels.join(","),
        ]);
    }
    table
}

impl Put {
    async fn run(self, common: &Common) -> Result<(), Failure> {
        let request = PutNamespaceRequest {
            namespace: Some(Namespace {
                name: self.name,
                labels: to_map(self.labels),
                ..Namespace::default()
            }),
            ..PutNamespaceRequest::default()
        };
        let answer = common.namespaces().await?.put(request).await?.into_inner();
        let namespace = answer.namespace.unwrap_or_default();
        match common.output {
            Output::Table => {
                let verb = verb(answer.changed, answer.created, false);
                output::text(&format!("{} {verb}\n", printable(&namespace.name)))
            }
            Output::Json | Output::Ndjson => output::object(
                common.output,
                &Outcome {
                    changed: answer.changed,
                    created: answer.created,
                    revision: answer.revision,
                    namespace: namespace.into(),
                },
            ),
        }
    }
}

impl Rm {
    async fn run(self, common: &Common) -> Result<(), Failure> {
        let request = DeleteNamespaceRequest {
            name: self.name,
            force: self.force,
            ..DeleteNamespaceRequest::default()
        };
        let answer = common.namespaces().await?.delete(request).await;
        let answer = answer.map_err(|status| match status.code() {
            Code::FailedPrecondition => {
                Failure::from(status).next("With --force it goes together with all that it holds")
            }
            Code::NotFound => {
                Failure::from(status).next("'imagestore ns ls' shows which there are")
            }
            _ => Failure::from(status),
        })?;
        let namespace = answer.into_inner().namespace.unwrap_or_default();
        match common.output {
            Output::Table => output::text(&format!(
                "{} removed, with {} images\n",
                printable(&namespace.name),
                namespace.images
            )),
            Output::Json | Output::Ndjson => {
                output::object(common.output, &NamespaceRecord::from(namespace))
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
            labels: namespace.labels,
            etag: namespace.etag,
            revision: namespace.revision,
        }
    }
}
