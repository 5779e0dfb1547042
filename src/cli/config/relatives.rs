//! `imagestore config parent`, `children` and `ancestors`: what was built from what, as somebody said.

use serde::Serialize;
use tonic::Status;

use super::reference;
use crate::cli::connect::{Common, PAGE_SIZE};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Output, Told};
use crate::cli::retry::RequestId;
use crate::proto::v1::{
    ConfigAncestorsRequest, ConfigChildrenRequest, GetConfigParentRequest, SetConfigParentRequest,
};

/// Print the parent of a config, or say what it was built from
///
/// The exit code is 4 where no parent is known.
#[derive(Debug, clap::Args)]
pub struct Parent {
    /// The config: an id, how one begins, or the name of an image
    #[arg(value_name = "REF")]
    reference: String,
    /// It was built from this one
    #[arg(long, value_name = "REF")]
    set: Option<String>,
    /// Forget what it was built from
    #[arg(long, conflicts_with = "set")]
    forget: bool,
    /// Only if it has this etag
    #[arg(long, value_name = "ETAG")]
    if_etag: Option<String>,
    /// Say what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    request_id: RequestId,
}

/// List the configs that have this one as their parent, by id
#[derive(Debug, clap::Args)]
pub struct Children {
    /// The config: an id, how one begins, or the name of an image
    #[arg(value_name = "REF")]
    reference: String,
}

/// List the parent of a config, the parent's parent and so on
#[derive(Debug, clap::Args)]
pub struct Ancestors {
    /// The config: an id, how one begins, or the name of an image
    #[arg(value_name = "REF")]
    reference: String,
}

/// The parent of a config.
#[derive(Serialize)]
struct ParentRecord {
    id: String,
    parent: String,
    revision: u64,
}

/// What became of a parent.
#[derive(Serialize)]
struct Outcome {
    changed: bool,
    id: String,
    parent: String,
    previous: String,
    revision: u64,
}

impl Parent {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        match self.set.is_some() || self.forget {
            true => self.change(common).await,
            false => self.print(common).await,
        }
    }

    async fn print(self, common: &Common) -> Result<(), Failure> {
        if self.dry_run || self.if_etag.is_some() || self.request_id.is_given() {
            return Err(Failure::usage("nothing is to be changed")
                .next("Give --set or --forget, or none of the other options"));
        }
        let namespace = common.one_namespace()?.to_owned();
        let mut client = common.configs().await?;
        let id = reference::id(&mut client, &namespace, &self.reference).await?;
        let request = GetConfigParentRequest {
            namespace,
            id: id.clone(),
        };
        let answer = client.get_parent(request).await?.into_inner();
        if answer.parent.is_empty() {
            let failure = Failure::new(format!("no parent of {id} is known"));
            return Err(failure
                .exiting(Exit::NotFound)
                .next("See what its layers were built on with 'imagestore lineage'"));
        }
        match common.output() {
            Output::Table => output::text(&format!("{}\n", answer.parent)),
            Output::Json | Output::Ndjson => output::object(
                common.output(),
                &ParentRecord {
                    id,
                    parent: answer.parent,
                    revision: answer.revision,
                },
            ),
        }
    }

    async fn change(self, common: &Common) -> Result<(), Failure> {
        let namespace = common.one_namespace()?.to_owned();
        let mut client = common.configs().await?;
        let id = reference::id(&mut client, &namespace, &self.reference).await?;
        let parent = match self.set {
            Some(parent) => reference::id(&mut client, &namespace, &parent).await?,
            None => String::new(),
        };
        let request = SetConfigParentRequest {
            namespace,
            id: id.clone(),
            parent: parent.clone(),
            validate_only: self.dry_run,
            request_id: self.request_id.text(),
            if_etag: self.if_etag.unwrap_or_default(),
        };
        let answer = client.set_parent(request).await?.into_inner();
        let outcome = Outcome {
            changed: answer.changed,
            id,
            parent,
            previous: answer.previous,
            revision: answer.revision,
        };
        match common.output() {
            Output::Table => output::text(&outcome.line(self.dry_run)),
            Output::Json | Output::Ndjson => output::object(common.output(), &outcome),
        }
    }
}

impl Outcome {
    fn line(&self, dry_run: bool) -> String {
        let known = |parent: &'_ str| match parent {
            "" => "unknown".to_owned(),
            known => known.to_owned(),
        };
        let (parent, previous) = (known(&self.parent), known(&self.previous));
        let verb = match (self.changed, dry_run) {
            (false, _) => return format!("{}: the parent is {parent} already\n", self.id),
            (true, false) => "is",
            (true, true) => "would be",
        };
        format!(
            "{}: the parent {verb} {parent}; it was {previous}\n",
            self.id
        )
    }
}

impl Children {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let namespace = common.one_namespace()?.to_owned();
        let mut client = common.configs().await?;
        let id = reference::id(&mut client, &namespace, &self.reference).await?;
        tell_pages(common, async |page_token| {
            let request = ConfigChildrenRequest {
                namespace: namespace.clone(),
                id: id.clone(),
                page_size: PAGE_SIZE,
                page_token,
            };
            let page = client.children(request).await?.into_inner();
            Ok((page.ids, page.next_page_token))
        })
        .await
    }
}

impl Ancestors {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let namespace = common.one_namespace()?.to_owned();
        let mut client = common.configs().await?;
        let id = reference::id(&mut client, &namespace, &self.reference).await?;
        tell_pages(common, async |page_token| {
            let request = ConfigAncestorsRequest {
                namespace: namespace.clone(),
                id: id.clone(),
                page_size: PAGE_SIZE,
                page_token,
            };
            let page = client.ancestors(request).await?.into_inner();
            Ok((page.ids, page.next_page_token))
        })
        .await
    }
}

/// Tells the ids of all pages, each as it comes. `page` gets a page by its token, with the token of the next.
async fn tell_pages(
    common: &Common,
    mut page: impl AsyncFnMut(String) -> Result<(Vec<String>, String), Status>,
) -> Result<(), Failure> {
    let mut told = Told::new(common.output());
    let mut page_token = String::new();
    loop {
        let (ids, next) = page(page_token).await?;
        for id in &ids {
            told.push(id, id)?;
        }
        told.flush()?;
        if next.is_empty() {
            return told.end();
        }
        page_token = next;
    }
}
