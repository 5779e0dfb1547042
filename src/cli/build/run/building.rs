//! Building a target: what is there already is not built, and what it is built on is brought here first.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time;

use super::job::{Event, Job, Outcome, PUT_OFF, Stage, Step};
use crate::cli::build::again::jittered;
use crate::cli::build::config::Var;
use crate::cli::build::eyes::vars;
use crate::cli::build::scratch::Scratch;
use crate::cli::build::source::{Rendered, Renderer};
use crate::cli::build::wire;
use crate::domain::Digest;
use crate::domain::build::{Label, Mode, Presence, TargetName};
use crate::proto::v1::{TargetEvent, TargetState, TargetWork};

/// Between two tries of a build, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Job<'_> {
    // === Looking ===

    /// Whether it is there already, where that is not known or may have changed.
    pub(super) async fn look_first(&self) -> Step<Option<TargetState>> {
        let must_know = self.claimed.look_first;
        match self.crew.config.mode {
            Mode::RegistryFirst => {
                // Another worker may have ended between its push and saying so.
                if let Some(state) = self.look_in_registry(must_know).await? {
                    return Ok(Some(state));
                }
                match must_know {
                    true => self.look_here().await,
                    false => Ok(None),
                }
            }
            Mode::LocalRequired if must_know => {
                let Some(here) = self.look_here().await? else {
                    return Ok(None);
                };
                Ok(Some(self.look_in_registry(false).await?.unwrap_or(here)))
            }
            Mode::LocalRequired => Ok(None),
        }
    }

    async fn look_in_registry(&self, must_know: bool) -> Step<Option<TargetState>> {
        let looked = self.crew.eyes.registries.look(self.label());
        let look = self.stop.unless_asked(looked).await;
        let look = look.ok_or(Outcome::Stopped)?;
        match look.presence {
            Presence::Present(digest) => {
                self.tell(Event::with(TargetEvent::SeenPublished, digest))
                    .await?;
                Ok(Some(TargetState::Published))
            }
            Presence::Unknown if must_know => Err(Outcome::PutOff {
                after: PUT_OFF,
                why: format!("whether it is published is not known: {}", look.reason),
            }),
            Presence::Absent | Presence::Unknown => Ok(None),
        }
    }

    async fn look_here(&self) -> Step<Option<TargetState>> {
        let look = self
            .crew
            .eyes
            .local(&self.image.key, self.label(), self.stop)
            .await;
        self.check()?;
        match look.presence {
            Presence::Present(digest) => {
                let event = Event::with(TargetEvent::SeenLocal, digest);
                self.tell(event.going_on(self.does(TargetWork::Verify)))
                    .await?;
                Ok(Some(TargetState::Built))
            }
            Presence::Unknown => Err(Outcome::PutOff {
                after: PUT_OFF,
                why: format!("whether it is here is not known: {}", look.reason),
            }),
            Presence::Absent => Ok(None),
        }
    }

    // === Building ===

    pub(super) async fn build(&self) -> Step<()> {
        self.crew.show.doing(self.name, "building");
        let mut pause = FIRST_PAUSE;
        let mut tries_left = self.crew.plan.retries;
        loop {
            match self.build_once().await? {
                Ok(digest) => {
                    let event = Event::with(TargetEvent::BuildOk, digest);
                    return self
                        .tell(event.going_on(self.does(TargetWork::Verify)))
                        .await;
                }
                Err(why) if tries_left == 0 => return Err(self.fail(Stage::Build, why).await),
                Err(why) => {
                    self.crew
                        .show
                        .line(self.name, &format!("{why}; {tries_left} more tries"));
                    tries_left -= 1;
                    tokio::select! {
                        () = time::sleep(jittered(pause)) => pause = (pause * 2).min(LONGEST_PAUSE),
                        () = self.stop.asked() => return Err(Outcome::Stopped),
                    }
                }
            }
        }
    }

    /// The digest of what was built, or why it was not.
    async fn build_once(&self) -> Step<Result<Option<Digest>, String>> {
        if let Err(why) = self.pull_dependencies().await? {
            return Ok(Err(why));
        }
        let scratch = match Scratch::new() {
            Ok(scratch) => scratch,
            Err(why) => return Ok(Err(why)),
        };
        let rendered = match self.render().await {
            Ok(rendered) => rendered,
            Err(why) => return Ok(Err(why)),
        };
        if let Err(why) = scratch.write("Dockerfile", &rendered.dockerfile) {
            return Ok(Err(why));
        }
        let vars = self
            .vars(&rendered.context)
            .with(Var::Dockerfile, scratch.text("Dockerfile"))
            .with(Var::IidFile, scratch.text("iid"))
            .with_build_args(self.crew.config.build_args.clone());
        let ran = self
            .command(&self.crew.config.commands.build, &vars)
            .await?;
        Ok(match ran.is_well() {
            true => Ok(scratch.word("iid")),
            false => Err(ran.why()),
        })
    }

    /// Brings here what is published and not here, so that the build uses what the graph says.
    async fn pull_dependencies(&self) -> Step<Result<(), String>> {
        for dependency in &self.claimed.dependencies {
            let Ok(label) = dependency.label.parse::<Label>() else {
                continue;
            };
            let Ok(key) = wire::key(&dependency.target) else {
                continue;
            };
            if label.registry().is_none() {
                continue;
            }
            let look = self.crew.eyes.local(&key, &label, self.stop).await;
            self.check()?;
            match look.presence {
                Presence::Present(_) | Presence::Unknown => continue,
                Presence::Absent => {}
            }
            let ran = self
                .command(&self.crew.config.commands.pull, &vars(&key, &label))
                .await?;
            if !ran.is_well() {
                return Ok(Err(format!("cannot pull {label}: {}", ran.why())));
            }
        }
        Ok(Ok(()))
    }

    async fn render(&self) -> Result<Rendered, String> {
        let labels: BTreeMap<TargetName, String> = self
            .claimed
            .dependencies
            .iter()
            .filter_map(|dependency| {
                let key = wire::key(&dependency.target).ok()?;
                Some((key.name, dependency.label.clone()))
            })
            .collect();
        let (image, config) = (self.image.clone(), self.crew.config.clone());
        let render = move || {
            let mut renderer = Renderer::default();
            let label = |name: &TargetName| labels.get(name).cloned();
            image.render(&config, &label, &mut |order| renderer.render(order))
        };
        match tokio::task::spawn_blocking(render).await {
            Ok(Ok(rendered)) => Ok(rendered),
            Ok(Err(failure)) => Err(failure.words()),
            Err(why) => Err(format!("cannot render the Dockerfile: {why}")),
        }
    }
}
