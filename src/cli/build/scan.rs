//! `imagestore build scan`: tells the server what there is to build, and what is there already.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use serde::Serialize;
use tonic::Status;
use tonic_types::StatusExt;

use super::again::request_id;
use super::config::FILE_NAME;
use super::eyes::{Eyes, Found};
use super::source::SourceImage;
use super::stop::{Signals, Stop};
use super::telling::say;
use super::wire::{self, state_name};
use super::{Place, Site, scratch};
use crate::cli::connect::Common;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Output};
use crate::domain::build::{Mode, TargetKey};
use crate::proto::v1::{
    ApplyTargetsRequest, ApplyTargetsResponse, ObserveMode, ObserveTargetsRequest, ObservedKind,
    ObservedTarget, TargetObservation, TargetSelector,
};

/// Tell the server what there is to build in a directory, and what is there already
///
/// Targets that the same source declared before and that are not there any more are forgotten. Then the daemon here
/// and the registry are asked what they have. What cannot be asked is told, and never taken for missing.
#[derive(Debug, clap::Args)]
pub struct Scan {
    #[command(flatten)]
    place: Place,
    /// What the directory goes by for the server, such as the address of its repository [default: its path]
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Report {
    created: u32,
    updated: u32,
    unchanged: u32,
    deleted: u32,
    graph_revision: u64,
    dry_run: bool,
    targets: Vec<Seen>,
}

/// What was seen of a target.
#[derive(Serialize)]
struct Seen {
    target: String,
    state: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// So many images are asked for at once; a registry allows fewer.
const AT_ONCE: usize = 16;
/// What one call of the service takes.
const MOST_OBSERVED: usize = 1000;

impl Scan {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let signals = Signals::catch()?;
        let done = signals
            .stop
            .unless_over(self.scan(common, &signals.stop))
            .await;
        signals.end().await?;
        done.unwrap_or(Ok(()))
    }

    async fn scan(self, common: &Common, stop: &Stop) -> Result<(), Failure> {
        let site = self.place.read().await?;
        let applied = self.apply(&site, common).await?;
        let targets = self.observe(&site, common, stop).await?;
        let is_refused = targets
            .iter()
            .any(|seen| seen.kind == kind_name(ObservedKind::Refused));
        let report = Report {
            created: applied.created,
            updated: applied.updated,
            unchanged: applied.unchanged,
            deleted: applied.deleted,
            graph_revision: applied.graph_revision,
            dry_run: self.dry_run,
            targets,
        };
        match common.output() {
            Output::Table => output::text(&report.text())?,
            form => output::object(form, &report)?,
        }
        match is_refused {
            true => Err(Failure::told(Exit::Error)),
            false => Ok(()),
        }
    }

    async fn apply(&self, site: &Site, common: &Common) -> Result<ApplyTargetsResponse, Failure> {
        let request = ApplyTargetsRequest {
            namespace: common.one_namespace()?.to_owned(),
            targets: site.images.values().map(wire::spec).collect(),
            replace_all: true,
            validate_only: self.dry_run,
            source: source(self.source.as_deref(), &self.place),
            request_id: request_id(),
            ..ApplyTargetsRequest::default()
        };
        let mut client = common.build_targets().await?;
        let applied = client.apply(request).await;
        Ok(applied
            .map_err(|status| refused(status, site))?
            .into_inner())
    }

    /// Looks for all images, and tells the service what was found.
    async fn observe(
        &self,
        site: &Site,
        common: &Common,
        stop: &Stop,
    ) -> Result<Vec<Seen>, Failure> {
        let namespace = common.one_namespace()?;
        let mut client = common.build_targets().await?;
        // As they are before anybody looks: what changes meanwhile is newer than what is found.
        let there = wire::all(&mut client, namespace, TargetSelector::default()).await?;
        let etags: BTreeMap<String, String> = there
            .into_iter()
            .map(|target| (wire::name(&target), target.etag))
            .collect();
        let wanted: Vec<&SourceImage> = site
            .images
            .values()
            .filter(|image| etags.contains_key(&image.key.to_string()))
            .collect();
        let location = site.config.location()?;
        let eyes = Eyes::new(&site.config)?;
        let found: Vec<(String, Found)> = stream::iter(wanted)
            .map(|image| {
                let eyes = &eyes;
                async move {
                    (
                        image.key.to_string(),
                        eyes.look(&image.key, &image.label, stop).await,
                    )
                }
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        if stop.is_asked() {
            return Ok(Vec::new());
        }
        let mut seen = Vec::with_capacity(found.len());
        for some in found.chunks(MOST_OBSERVED) {
            let observations = some.iter().map(|(target, found)| TargetObservation {
                target: target.clone(),
                location: location.to_string(),
                local: Some(wire::presence(&found.local)),
                published: Some(wire::presence(&found.published)),
                if_etag: etags.get(target).cloned().unwrap_or_default(),
            });
            let request = ObserveTargetsRequest {
                namespace: namespace.to_owned(),
                mode: match site.config.mode {
                    Mode::RegistryFirst => ObserveMode::RegistryFirst.into(),
                    Mode::LocalRequired => ObserveMode::LocalRequired.into(),
                },
                observations: observations.collect(),
                validate_only: self.dry_run,
                request_id: request_id(),
            };
            let results = client.observe(request).await?.into_inner().results;
            let results = results.into_iter().zip(some);
            seen.extend(results.map(|(result, (_, found))| Seen::of(result, found)));
        }
        Ok(seen)
    }
}

/// Why the directory was not taken; where it makes no graph, with the files that say so.
fn refused(status: Status, site: &Site) -> Failure {
    let details = status.get_details_error_info();
    let is_unknown = match details.as_ref().map(|details| details.reason.as_str()) {
        Some("UNKNOWN_DEPENDENCY") => true,
        Some("CYCLE") => false,
        Some(_) | None => return status.into(),
    };
    let why = status.message();
    let why = why.strip_prefix("targets: ").unwrap_or(why);
    // What it says to do is for programs.
    let why = why.split("; declare ").next().unwrap_or(why);
    let keys = why
        .split([' ', ':', ';'])
        .filter_map(|word| word.parse().ok());
    let images = keys.filter_map(|key: TargetKey| site.images.get(&key));
    let files: BTreeSet<String> = images
        .map(|image| image.dependencies_in().display().to_string())
        .collect();
    let mut next: Vec<String> = match files.is_empty() {
        true => Vec::new(),
        false => vec![format!("See {}", Vec::from_iter(files).join(", "))],
    };
    if is_unknown {
        next.push(format!(
            "What is built elsewhere belongs into base_images in {FILE_NAME}"
        ));
    }
    let failure = Failure::new(why.to_owned());
    match next.is_empty() {
        true => failure,
        false => failure.next(next.join(". ")),
    }
}

/// What the directory goes by: what was given, else its path.
pub fn source(given: Option<&str>, place: &Place) -> String {
    match given {
        Some(given) => given.to_owned(),
        None => {
            let dir = place.dir();
            scratch::whole(&dir.canonicalize().unwrap_or_else(|_| dir.to_owned()))
        }
    }
}

fn kind_name(kind: ObservedKind) -> &'static str {
    match kind {
        ObservedKind::Unspecified => "",
        ObservedKind::Changed => "changed",
        ObservedKind::Unchanged => "unchanged",
        ObservedKind::Undecided => "undecided",
        ObservedKind::Claimed => "claimed",
        ObservedKind::Refused => "refused",
        ObservedKind::NotFound => "not_found",
        ObservedKind::Outdated => "outdated",
    }
}

impl Seen {
    /// With what the service made of it; what a person should know is said.
    fn of(result: ObservedTarget, found: &Found) -> Self {
        let (kind, state) = (result.kind(), state_name(result.state()));
        let target = result.target;
        let reason = match kind {
            ObservedKind::Undecided => {
                let why = found.why_unknown();
                say(&format!(
                    "imagestore: whether {target} is there is not known: {why}."
                ));
                why
            }
            ObservedKind::Refused => {
                say(&format!("imagestore: {target}: {}.", result.reason));
                result.reason
            }
            ObservedKind::Claimed => "somebody is at it".to_owned(),
            ObservedKind::Outdated => "it changed meanwhile".to_owned(),
            ObservedKind::Unspecified
            | ObservedKind::Changed
            | ObservedKind::Unchanged
            | ObservedKind::NotFound => String::new(),
        };
        Self {
            target,
            state,
            kind: kind_name(kind),
            reason,
        }
    }
}

impl Report {
    fn text(&self) -> String {
        let mut text = format!(
            "{} new, {} changed, {} unchanged, {} forgotten{}\n",
            self.created,
            self.updated,
            self.unchanged,
            self.deleted,
            if self.dry_run {
                " (nothing was written)"
            } else {
                ""
            }
        );
        let mut states: BTreeMap<&str, u32> = BTreeMap::new();
        for seen in &self.targets {
            *states.entry(seen.state).or_default() += 1;
        }
        let counts: Vec<String> = states
            .into_iter()
            .filter(|(state, _)| !state.is_empty())
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        if !counts.is_empty() {
            text.push_str(&counts.join(", "));
            text.push('\n');
        }
        text
    }
}
