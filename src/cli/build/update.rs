//! `imagestore build update`: a new version of an image, and of all that is built on it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::again::request_id;
use super::source::{self, SourceImage, Update as Entry};
use super::stop::{Signals, Stop};
use super::{Place, Site, scan, wire};
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::ls::now;
use crate::cli::output::{self, Output};
use crate::cli::table::Table;
use crate::domain::build::{TargetKey, TargetVersion};
use crate::proto::v1::{ApplyTargetsRequest, BumpTargetRequest, BumpedTarget, TargetSpec};

/// Give an image a new version, and all that is built on it
///
/// Writes the changelogs of all of them, or of none, and tells the server. A machine that dies while they are put in
/// their places may leave some of them old; each is whole, and another update is for all again.
#[derive(Debug, clap::Args)]
pub struct Update {
    /// The image
    name: String,
    /// Why, for the changelogs
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Its new version [default: the next one]
    #[arg(long)]
    version: Option<String>,
    #[command(flatten)]
    place: Place,
    /// What the directory goes by for the server, as `scan` was told
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Report {
    bumped: Vec<Bumped>,
    dry_run: bool,
}

#[derive(Serialize)]
struct Bumped {
    target: String,
    version: String,
    label: String,
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    because: String,
}

/// What is written, and what the server is told, as far as both were asked.
struct Checked<'a> {
    bumped: Vec<BumpedTarget>,
    entries: Vec<Entry<'a>>,
    apply: ApplyTargetsRequest,
}

impl Update {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let signals = Signals::catch()?;
        match self.update(common, &signals.stop).await {
            Ok(()) => signals.end().await,
            Err(failure) => {
                signals.settled().await;
                Err(failure)
            }
        }
    }

    /// Nobody ends it between two files: until the first is written nothing is, and from then on all are.
    async fn update(self, common: &Common, stop: &Stop) -> Result<(), Failure> {
        let Some(site) = stop.unless_asked(self.place.read()).await else {
            return Ok(());
        };
        let site = site?;
        let Some(checked) = stop.unless_asked(self.check(&site, common)).await else {
            return Ok(());
        };
        let Checked {
            bumped,
            entries,
            apply,
        } = checked?;
        if !self.dry_run {
            let author = site.config.author(|name| std::env::var(name).ok())?;
            source::write_changelogs(&entries, &site.config, &author, now())?;
            let told = stop.unless_over(self.tell(apply, common)).await;
            let told = told.unwrap_or_else(|| Err(Failure::new("somebody asked to end")));
            told.map_err(|failure| {
                failure
                    .during("the changelogs are written, but the server does not know of it")
                    .next("Tell it with 'imagestore build scan'")
            })?;
        }
        let report = Report {
            bumped: bumped.into_iter().map(Bumped::from).collect(),
            dry_run: self.dry_run,
        };
        match common.output() {
            Output::Table => output::text(&report.table().to_string()),
            form => output::object(form, &report),
        }
    }

    /// Asks what gets a new version, and whether all can be written and told. Changes nothing.
    async fn check<'a>(&self, site: &'a Site, common: &Common) -> Result<Checked<'a>, Failure> {
        let mut client = common.build_targets().await?;
        let request = BumpTargetRequest {
            namespace: common.one_namespace()?.to_owned(),
            target: self.newest(site)?.to_string(),
            reason: self.reason.clone(),
            version: self.version.clone().unwrap_or_default(),
            update_id: Some(site.config.update_id.to_string()),
            validate_only: true,
            request_id: String::new(),
        };
        let answer = client
            .bump(request)
            .await
            .map_err(|status| match status.code() {
                tonic::Code::NotFound => {
                    Failure::from(status).next("Tell the server of it with 'imagestore build scan'")
                }
                _ => status.into(),
            })?;
        let answer = answer.into_inner();
        let entries = entries(site, &answer.bumped)?;
        let apply = ApplyTargetsRequest {
            namespace: common.one_namespace()?.to_owned(),
            targets: after(site, &answer.bumped),
            replace_all: true,
            if_graph_revision: Some(answer.graph_revision),
            validate_only: true,
            request_id: request_id(),
            source: scan::source(self.source.as_deref(), &self.place),
        };
        client.apply(apply.clone()).await?;
        Ok(Checked {
            bumped: answer.bumped,
            entries,
            apply,
        })
    }

    /// Tells the server of the directory as it is read from now on, whatever wrote it.
    async fn tell(&self, checked: ApplyTargetsRequest, common: &Common) -> Result<(), Failure> {
        let written = self.place.read().await?;
        let apply = ApplyTargetsRequest {
            targets: written.images.values().map(wire::spec).collect(),
            validate_only: false,
            request_id: request_id(),
            ..checked
        };
        common.build_targets().await?.apply(apply).await?;
        Ok(())
    }

    /// The image of that name, as it is in the directory.
    fn newest(&self, site: &Site) -> Result<TargetKey, Failure> {
        let is_meant =
            |key: &&TargetKey| key.name.as_str() == self.name || key.to_string() == self.name;
        let found = site.images.keys().filter(is_meant).max();
        found.cloned().ok_or_else(|| {
            let dir = self.place.dir().display();
            Failure::new(format!("no image in {dir} is called {}", self.name))
                .exiting(crate::cli::failure::Exit::NotFound)
                .next("Give its whole name, without registry and version")
        })
    }
}

/// What is written for each new version. Refuses what cannot be written, before anything is.
fn entries<'a>(site: &'a Site, bumped: &[BumpedTarget]) -> Result<Vec<Entry<'a>>, Failure> {
    let mut missing = Vec::new();
    let mut entries = Vec::with_capacity(bumped.len());
    for bumped in bumped {
        let key = wire::key(&bumped.target)?;
        let version: TargetVersion = bumped
            .version
            .parse()
            .map_err(|why| Failure::new(format!("{key}: {why}")))?;
        match site.images.get(&key) {
            Some(image) => entries.push(Entry {
                image,
                version,
                reason: bumped.reason.clone(),
            }),
            None => missing.push(key.to_string()),
        }
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let failure = Failure::new(format!(
            "{missing} would need a new version too, and is not in the directory as the server knows it"
        ));
        return Err(failure
            .next("Tell the server what is with 'imagestore build scan'; nothing was written"));
    }
    Ok(entries)
}

/// The targets of the directory as they will be.
fn after(site: &Site, bumped: &[BumpedTarget]) -> Vec<TargetSpec> {
    let bumped: BTreeMap<&str, &BumpedTarget> = bumped
        .iter()
        .map(|bumped| (bumped.target.as_str(), bumped))
        .collect();
    let spec = |image: &SourceImage| {
        let spec = wire::spec(image);
        match bumped.get(image.key.to_string().as_str()) {
            Some(bumped) => TargetSpec {
                version: bumped.version.clone(),
                label: bumped.label.clone(),
                ..spec
            },
            None => spec,
        }
    };
    site.images.values().map(spec).collect()
}

impl Report {
    fn table(&self) -> Table {
        let mut table = Table::new(["TARGET", "VERSION", "BECAUSE OF"]);
        for bumped in &self.bumped {
            table.push([&*bumped.target, &bumped.version, &bumped.because]);
        }
        table
    }
}

impl From<BumpedTarget> for Bumped {
    fn from(bumped: BumpedTarget) -> Self {
        Self {
            target: bumped.target,
            version: bumped.version,
            label: bumped.label,
            reason: bumped.reason,
            because: bumped.because,
        }
    }
}
