//! `imagestore builder prune`: removes old images of builders here.

use std::path::PathBuf;

use serde::Serialize;

use super::record::{image_name, shown};
use super::{Age, Builders, How, config, ls};
use crate::cli::build::again::{self, PATIENCE};
use crate::cli::build::config::{Config, Var, Vars};
use crate::cli::build::local;
use crate::cli::build::process::{self, Voice};
use crate::cli::build::stop::{Signals, Stop};
use crate::cli::build::wire::duration;
use crate::cli::connect::Common;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Output};
use crate::cli::platform;
use crate::cli::table::Table;
use crate::domain::build::{Location, Presence};
use crate::proto::v1::{
    BuilderKey, ConfirmRemovedRequest, PruneBuilderRequest, PruneDecision, PruneVerdict, Removal,
};

/// Remove old images of builders from the daemon here
///
/// The newest is never removed, nor what somebody uses. What the daemon does not let go stays, and is told.
#[derive(Debug, clap::Args)]
pub struct Prune {
    /// Only of the builder with this base [default: of all]
    base: Option<String>,
    #[command(flatten)]
    how: How,
    /// How many of the newest are kept [default: what the builder's policy says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    keep_last: Option<u32>,
    /// Only what is at least so old
    #[arg(long, value_name = "AGE")]
    older_than: Option<Age>,
    /// How images are removed [default: imagestore.toml here]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// What became of an image.
#[derive(Serialize)]
struct Pruned {
    builder: String,
    image: String,
    verdict: &'static str,
    is_removed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

struct Here<'a> {
    client: Builders,
    namespace: &'a str,
    config: Config,
    location: Location,
    stop: &'a Stop,
}

impl Prune {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let signals = Signals::catch()?;
        let done = signals
            .stop
            .unless_at_once(self.prune(common, &signals.stop))
            .await;
        signals.end().await?;
        done.unwrap_or(Ok(()))
    }

    async fn prune(self, common: &Common, stop: &Stop) -> Result<(), Failure> {
        let config = config(self.config.as_deref())?;
        let mut here = Here {
            client: common.builders().await?,
            namespace: common.one_namespace()?,
            location: config.location()?,
            config,
            stop,
        };
        let keys = match &self.base {
            Some(base) => vec![self.how.key(base)?],
            None => {
                let all = ls::all(&mut here.client, here.namespace, String::new()).await?;
                all.into_iter().filter_map(|builder| builder.key).collect()
            }
        };
        let mut pruned = Vec::new();
        let mut is_complete = true;
        for key in keys {
            let request = PruneBuilderRequest {
                namespace: here.namespace.to_owned(),
                key: Some(key.clone()),
                keep_last: self.keep_last.unwrap_or(0),
                older_than: match self.older_than {
                    None | Some(Age::Never) => None,
                    Some(Age::Of(age)) => Some(duration(age)),
                },
                reachable: vec![here.location.to_string()],
                in_use: Vec::new(),
                validate_only: self.dry_run,
            };
            let decisions = here.client.prune(request).await?.into_inner().decisions;
            for decision in decisions {
                let mut one = Pruned::new(&key, &decision);
                if decision.verdict() == PruneVerdict::Remove && !self.dry_run && !stop.is_asked() {
                    let (is_removed, reason) = here.remove(&key, &decision).await?;
                    is_complete &= is_removed;
                    (one.is_removed, one.reason) = (is_removed, reason);
                }
                pruned.push(one);
            }
        }
        match common.output() {
            Output::Table => output::text(&table(&pruned, self.dry_run).to_string())?,
            form => {
                let mut values = output::Values::new(form);
                for one in &pruned {
                    values.push(one)?;
                }
                values.end()?;
            }
        }
        match is_complete {
            true => Ok(()),
            false => Err(Failure::told(Exit::Error)),
        }
    }
}

impl Here<'_> {
    /// Removes an image, and says what became of it: whether it is gone, and why not.
    async fn remove(
        &self,
        key: &BuilderKey,
        decision: &PruneDecision,
    ) -> Result<(bool, String), Failure> {
        let generation = decision.generation.clone().unwrap_or_default();
        let vars = Vars::default()
            .with(Var::Image, image_name(&generation))
            .with(Var::Base, key.base.clone())
            .with(Var::Platform, platform::text(key.platform.as_ref()));
        let argv = self.config.builder.remove.fill(&vars);
        let ran = process::run(&argv, &Voice::Silent, false, self.stop).await;
        let removal = match ran.is_well() {
            true => Removal::Removed,
            // Why it could not be removed, each daemon says in its own way.
            false => match local::look(&self.config.builder.exists, &vars, self.stop)
                .await
                .presence
            {
                Presence::Absent => Removal::NotFound,
                Presence::Present(_) => Removal::InUse,
                Presence::Unknown => Removal::Failed,
            },
        };
        let request = ConfirmRemovedRequest {
            namespace: self.namespace.to_owned(),
            key: Some(key.clone()),
            generation: generation.sequence,
            location: self.location.to_string(),
            removal: removal.into(),
            validate_only: false,
        };
        // Saying it twice says nothing else.
        again::ask(PATIENCE, async || {
            self.client.clone().confirm_removed(request.clone()).await
        })
        .await?;
        Ok(match removal {
            Removal::Removed | Removal::NotFound => (true, String::new()),
            Removal::InUse | Removal::Failed | Removal::Unspecified => (false, ran.why()),
        })
    }
}

impl Pruned {
    fn new(key: &BuilderKey, decision: &PruneDecision) -> Self {
        let generation = decision.generation.clone().unwrap_or_default();
        Self {
            builder: shown(key),
            image: image_name(&generation),
            verdict: verdict(decision.verdict()),
            is_removed: false,
            reason: decision.holder.clone(),
        }
    }
}

fn verdict(verdict: PruneVerdict) -> &'static str {
    match verdict {
        PruneVerdict::Unspecified => "",
        PruneVerdict::Remove => "remove",
        PruneVerdict::Newest => "newest",
        PruneVerdict::Pinned => "pinned",
        PruneVerdict::KeepLast => "keep_last",
        PruneVerdict::InUse => "in_use",
        PruneVerdict::TooYoung => "too_young",
    }
}

fn table(pruned: &[Pruned], dry_run: bool) -> Table {
    let mut table = Table::new(["BUILDER", "IMAGE", "RESULT"]);
    for one in pruned {
        let result = match (one.verdict, one.is_removed) {
            (_, true) => "removed".to_owned(),
            ("remove", false) if dry_run => "would be removed".to_owned(),
            ("remove", false) => format!("kept: {}", crate::cli::build::first_line(&one.reason)),
            ("pinned", false) => format!("kept: {} uses it", one.reason),
            ("newest", false) => "kept: the newest".to_owned(),
            ("keep_last", false) => "kept: one of the newest".to_owned(),
            ("too_young", false) => "kept: too young".to_owned(),
            (_, false) => "kept: in use".to_owned(),
        };
        table.push([&*one.builder, &one.image, &result]);
    }
    table
}
