//! Work on one target, under one claim: look, build, test, publish.

use std::path::Path;
use std::time::Duration;

use tonic::Status;

use super::crew::Crew;
use crate::cli::build::again::request_id;
use crate::cli::build::config::{Argv, Var, Vars};
use crate::cli::build::eyes::vars;
use crate::cli::build::keeper::{Keeper, Lost};
use crate::cli::build::process::{self, How, Ran};
use crate::cli::build::scratch::whole;
use crate::cli::build::source::SourceImage;
use crate::cli::build::stop::Stop;
use crate::cli::failure::Failure;
use crate::domain::Digest;
use crate::domain::build::Label;
use crate::proto::v1::{
    ClaimedTarget, TargetEvent, TargetState, TargetWork, TransitionTargetRequest,
};

pub struct Job<'a> {
    pub crew: &'a Crew,
    pub name: &'a str,
    pub token: u64,
    pub image: &'a SourceImage,
    pub claimed: &'a ClaimedTarget,
    pub keeper: &'a Keeper,
    pub stop: &'a Stop,
}

/// What became of a target.
#[derive(Debug)]
pub enum Outcome {
    Done(Done),
    /// The server knows that it failed, and the claim has ended with that.
    Failed {
        stage: Stage,
        why: String,
    },
    /// It is given back, for later.
    PutOff {
        after: Duration,
        why: String,
    },
    /// Somebody asked to end.
    Stopped,
    /// Whatever was done does not count: the claim has ended.
    Lost(String),
    /// The server does not take what it is told.
    Refused(Box<Failure>),
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub is_built: bool,
    pub is_verified: bool,
    /// There was no test to pass.
    pub is_untested: bool,
    pub is_published: bool,
    /// It was there already.
    pub is_found: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Build,
    Verify,
    Publish,
}

/// What happened, for the server.
pub(super) struct Event {
    pub(super) kind: TargetEvent,
    digest: Option<Digest>,
    error: String,
    /// Whether there is more to do under the claim.
    goes_on: bool,
}

/// How long a target is put off when a place that matters cannot be asked.
pub(super) const PUT_OFF: Duration = Duration::from_secs(5);
/// The least that makes sense; it ends with the claim.
const TELLING: Duration = Duration::from_secs(24 * 3600);

pub(super) type Step<T> = Result<T, Outcome>;

impl Job<'_> {
    pub async fn run(&self) -> Outcome {
        match self.steps().await {
            Ok(done) => Outcome::Done(done),
            // What was killed because the claim was lost did not fail by itself.
            Err(outcome) => match (&outcome, self.keeper.check()) {
                (Outcome::Failed { .. } | Outcome::Lost(_) | Outcome::Refused(_), _)
                | (_, Ok(())) => outcome,
                (Outcome::Stopped | Outcome::PutOff { .. } | Outcome::Done(_), Err(Lost(why))) => {
                    Outcome::Lost(why)
                }
            },
        }
    }

    async fn steps(&self) -> Step<Done> {
        let mut done = Done::default();
        let mut due = self.claimed.work();
        if due == TargetWork::Build {
            if let Some(found) = self.look_first().await? {
                done.is_found = true;
                match found {
                    TargetState::Published => return Ok(done),
                    _ if self.does(TargetWork::Verify) => due = TargetWork::Verify,
                    _ => return Ok(done),
                }
            } else {
                self.build().await?;
                done.is_built = true;
                due = TargetWork::Verify;
            }
        }
        if due == TargetWork::Verify && self.does(TargetWork::Verify) {
            let (is_untested, goes_on) = self.verify().await?;
            done.is_verified = true;
            done.is_untested = is_untested;
            if !goes_on {
                return Ok(done);
            }
            due = TargetWork::Publish;
        }
        if due == TargetWork::Publish && self.does(TargetWork::Publish) {
            self.publish().await?;
            done.is_published = true;
        }
        Ok(done)
    }

    pub(super) fn does(&self, work: TargetWork) -> bool {
        self.crew.plan.work.contains(&work)
    }

    pub(super) fn label(&self) -> &Label {
        &self.image.label
    }

    // === Telling ===

    /// Tells the server what happened, as often as it takes and as long as the claim is held.
    pub(super) async fn tell(&self, event: Event) -> Step<()> {
        let request = TransitionTargetRequest {
            namespace: self.crew.plan.namespace.clone(),
            target: self.name.to_owned(),
            event: event.kind.into(),
            digest: event
                .digest
                .map(|digest| digest.to_string())
                .unwrap_or_default(),
            location: match event.kind {
                TargetEvent::BuildOk | TargetEvent::SeenLocal => self.crew.location.to_string(),
                _ => String::new(),
            },
            error: event.error,
            token: self.token,
            keep_claim: event.goes_on,
            request_id: request_id(),
            ..TransitionTargetRequest::default()
        };
        self.ask(async || self.crew.client.clone().transition(request.clone()).await)
            .await?;
        Ok(())
    }

    /// Tells that it failed, and returns that.
    pub(super) async fn fail(&self, stage: Stage, why: String) -> Outcome {
        let kind = match stage {
            Stage::Build => TargetEvent::BuildFailed,
            Stage::Verify => TargetEvent::VerifyFailed,
            Stage::Publish => TargetEvent::PublishFailed,
        };
        let event = Event {
            error: process::clipped(&why).to_owned(),
            ..Event::with(kind, None)
        };
        match self.tell(event).await {
            Ok(()) => Outcome::Failed { stage, why },
            Err(outcome) => outcome,
        }
    }

    /// Calls while the claim is held; a server that is away for a moment is waited for, unless somebody asked to end.
    pub(super) async fn ask<T>(&self, call: impl AsyncFnMut() -> Result<T, Status>) -> Step<T> {
        // Of this process's end, not the claim's: that is the keeper's to tell.
        let asked = self.keeper.ask(TELLING, call);
        match self.crew.stop.unless_over(asked).await {
            Some(Ok(answer)) => answer.map_err(Outcome::from),
            Some(Err(Lost(why))) => Err(Outcome::Lost(why)),
            None => Err(Outcome::Stopped),
        }
    }

    pub(super) async fn renew(&self) -> Step<()> {
        match self.crew.stop.unless_over(self.keeper.renew()).await {
            Some(renewed) => renewed.map_err(|Lost(why)| Outcome::Lost(why)),
            None => Err(Outcome::Stopped),
        }
    }

    /// Whether to go on.
    pub(super) fn check(&self) -> Step<()> {
        self.keeper
            .check()
            .map_err(|Lost(why)| Outcome::Lost(why))?;
        match self.stop.is_asked() {
            true => Err(Outcome::Stopped),
            false => Ok(()),
        }
    }

    // === Running ===

    /// Runs a command to its end, unless the claim is lost or somebody asks to end.
    pub(super) async fn command(&self, argv: &Argv, vars: &Vars) -> Step<Ran> {
        self.check()?;
        let voice = self.crew.show.voice(self.name);
        let ran = process::run(&argv.fill(vars), &voice, false, self.stop).await;
        match ran.how {
            How::Stopped => {
                self.check()?;
                Err(Outcome::Stopped)
            }
            How::Well | How::Code(_) | How::Signal(_) | How::NotStarted(_) => Ok(ran),
        }
    }

    pub(super) fn vars(&self, context: &Path) -> Vars {
        vars(&self.image.key, self.label())
            .with(Var::Context, whole(context))
            .with(Var::Token, self.token.to_string())
    }
}

// === impl Event ===

impl Event {
    pub(super) fn with(kind: TargetEvent, digest: Option<Digest>) -> Self {
        Self {
            kind,
            digest,
            error: String::new(),
            goes_on: false,
        }
    }

    pub(super) fn going_on(self, goes_on: bool) -> Self {
        Self { goes_on, ..self }
    }
}

// === impl Stage ===

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Verify => "verify",
            Self::Publish => "publish",
        }
    }
}
