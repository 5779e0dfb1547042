//! `imagestore build prune`: removes old versions from the daemon here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::eyes::{repository, vars};
use super::process::{self, Voice};
use super::stop::{Signals, Stop};
use super::telling::say;
use super::wire::{self, Targets};
use super::{Place, Select};
use crate::cli::connect::Common;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Output};
use crate::cli::table::Table;
use crate::domain::build::{Label, Target, TargetKey, TargetVersion};
use crate::proto::v1::{PruneOrderRequest, TargetSelector};

/// Remove old versions of images from the daemon here
///
/// What is older than the newest version of its name, and is no target any more, is removed; what is built on
/// something before that. What the daemon does not let go stays, and is told.
#[derive(Debug, clap::Args)]
pub struct Prune {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    select: Select,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Report {
    images: Vec<Removed>,
    dry_run: bool,
}

#[derive(Serialize)]
struct Removed {
    image: String,
    is_removed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// What is current, and so stays.
#[derive(Default)]
struct Current {
    labels: BTreeSet<Label>,
    by_target: BTreeMap<TargetKey, Label>,
    /// By the repository of the label.
    newest: BTreeMap<String, TargetVersion>,
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
        let config = self.place.config()?;
        let namespace = common.one_namespace()?;
        let mut client = common.build_targets().await?;
        let current = Current::read(&mut client, namespace).await?;
        let request = PruneOrderRequest {
            namespace: namespace.to_owned(),
            selector: Some(self.select.selector()),
        };
        let order = client.prune_order(request).await?.into_inner().targets;
        let mut report = Report {
            images: Vec::new(),
            dry_run: self.dry_run,
        };
        let mut is_complete = true;
        let mut listed = BTreeSet::new();
        for name in order {
            let key = wire::key(&name)?;
            let Some(label) = current.by_target.get(&key) else {
                continue;
            };
            if stop.is_asked() || !listed.insert(repository(label).to_owned()) {
                continue;
            }
            let argv = config.commands.list.fill(&vars(&key, label));
            let ran = process::run(&argv, &Voice::Silent, true, stop).await;
            if !ran.is_well() {
                is_complete = false;
                let why = ran.why();
                say(&format!(
                    "imagestore: what there is of {} is not known: {why}.",
                    repository(label)
                ));
                continue;
            }
            for old in current.old(label, &ran.stdout) {
                let old_key = TargetKey {
                    name: key.name.clone(),
                    version: old
                        .version()
                        .parse()
                        .map_err(|why| Failure::new(format!("{old}: {why}")))?,
                };
                let argv = config.commands.remove.fill(&vars(&old_key, &old));
                let reason = match self.dry_run {
                    true => String::new(),
                    false => {
                        let ran = process::run(&argv, &Voice::Silent, false, stop).await;
                        if ran.is_well() {
                            String::new()
                        } else {
                            ran.why()
                        }
                    }
                };
                is_complete &= reason.is_empty();
                report.images.push(Removed {
                    image: old.to_string(),
                    is_removed: reason.is_empty() && !self.dry_run,
                    reason,
                });
            }
        }
        report.write(common.output())?;
        match is_complete {
            true => Ok(()),
            false => Err(Failure::told(Exit::Error)),
        }
    }
}

impl Current {
    async fn read(client: &mut Targets, namespace: &str) -> Result<Self, Failure> {
        let mut current = Self::default();
        for target in wire::all(client, namespace, TargetSelector::default()).await? {
            current.add(&wire::declared(&target)?.0);
        }
        Ok(current)
    }

    fn add(&mut self, target: &Target) {
        let label = target.label();
        self.labels.insert(label.clone());
        self.by_target.insert(target.key().clone(), label.clone());
        let version = &target.key().version;
        let newest = self
            .newest
            .entry(repository(label).to_owned())
            .or_insert_with(|| version.clone());
        if *version > *newest {
            *newest = version.clone();
        }
    }

    /// Of the images that a daemon lists, those of the label's repository that are old.
    fn old(&self, label: &Label, listed: &str) -> Vec<Label> {
        let repository = repository(label);
        let newest = self.newest.get(repository);
        let listed = listed.lines().filter_map(|line| {
            let version: TargetVersion = line
                .trim()
                .strip_prefix(repository)?
                .strip_prefix(':')?
                .parse()
                .ok()?;
            let is_old = newest.is_some_and(|newest| version < *newest);
            let label: Label = line.trim().parse().ok()?;
            (is_old && !self.labels.contains(&label)).then_some((version, label))
        });
        let by_age: BTreeMap<TargetVersion, Label> = listed.collect();
        by_age.into_values().collect()
    }
}

impl Report {
    fn write(&self, form: Output) -> Result<(), Failure> {
        if form != Output::Table {
            return output::object(form, self);
        }
        let mut table = Table::new(["IMAGE", "RESULT"]);
        for removed in &self.images {
            let result = match (removed.is_removed, self.dry_run) {
                (true, _) => "removed".to_owned(),
                (false, true) => "would be removed".to_owned(),
                (false, false) => format!("kept: {}", super::ls::first_line(&removed.reason)),
            };
            table.push([&*removed.image, &result]);
        }
        output::text(&table.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_before_the_newest_that_are_no_targets_are_old() {
        let mut current = Current::default();
        for label in ["reg.example/a:1.9", "reg.example/a:1.10", "reg.example/b:3"] {
            let label: Label = label.parse().unwrap();
            let key = TargetKey {
                name: label.repository().parse().unwrap(),
                version: label.version().parse().unwrap(),
            };
            current.add(&Target::new(key, label, BTreeSet::new(), Default::default()).unwrap());
        }
        let listed = "reg.example/a:1.10\nreg.example/a:1.9\n reg.example/a:1.8 \nreg.example/a:1.2\n\
                      reg.example/a:latest\nreg.example/a:1.11\nreg.example/a:<none>\nreg.example/aa:1\na:1.1\n\
                      reg.example/a:1.8\n\n";
        let old = current.old(&"reg.example/a:1.10".parse().unwrap(), listed);
        let old: Vec<_> = old.iter().map(Label::as_str).collect();
        assert_eq!(old, ["reg.example/a:1.2", "reg.example/a:1.8"]);
    }
}
