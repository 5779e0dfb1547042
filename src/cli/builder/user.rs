//! Whoever wants an image: asks for one, waits for it, and keeps it while it is used.

use std::time::Duration;

use tokio::time;
use tonic::Code;

use super::make::Recipe;
use super::maker::Made;
use super::record::{image_name, shown};
use super::{Builders, PolicyOptions};
use crate::cli::build::again::{self, PATIENCE, jittered, request_id};
use crate::cli::build::config::{Config, Var, Vars};
use crate::cli::build::keeper::{Keeper, Moment};
use crate::cli::build::local;
use crate::cli::build::registry::{Look, Registries};
use crate::cli::build::stop::Stop;
use crate::cli::build::telling::say;
use crate::cli::build::wire::{between, duration, presence};
use crate::cli::failure::{Exit, Failure};
use crate::cli::platform;
use crate::domain::build::{Location, Presence};
use crate::proto::v1::acquire_builder_response::Decision;
use crate::proto::v1::{
    AcquireBuilderRequest, AcquireBuilderResponse, Builder, BuilderGeneration, BuilderKey,
    BuilderObservation, BuilderPin, BusyBuilder, GetBuilderRequest, PutBuilderRequest,
    RenewPinRequest, ReportBuilderRequest, UnpinBuilderRequest, UseBuilder,
};

/// Whoever wants an image.
pub struct User<'a> {
    pub client: Builders,
    pub namespace: String,
    pub key: BuilderKey,
    pub recipe: Recipe,
    pub config: Config,
    pub location: Location,
    pub holder: String,
    /// Whether another base is to make another image.
    pub tracks_base: bool,
    pub stop: &'a Stop,
}

/// An image that may be used while the pin is held.
pub struct Image {
    pub name: String,
    pub pin: Pin,
}

pub struct Pin {
    pub id: String,
    asked_at: Moment,
}

/// How often somebody asks whether another is done.
const ASK_AGAIN: Duration = Duration::from_secs(2);

impl User<'_> {
    /// Makes the builder known. Only where it is not yet: its policy is whose who put it first.
    pub async fn put(&mut self, policy: &PolicyOptions) -> Result<(), Failure> {
        let request = PutBuilderRequest {
            namespace: self.namespace.clone(),
            key: Some(self.key.clone()),
            policy: Some(policy.policy()),
            must_not_exist: true,
            request_id: request_id(),
            ..PutBuilderRequest::default()
        };
        let put = again::ask(PATIENCE, async || {
            self.client.clone().put(request.clone()).await
        });
        let builder = match self.unless_over(put).await? {
            Ok(put) => put.into_inner().builder,
            Err(status) if status.code() == Code::AlreadyExists => self.get().await?,
            Err(status) => return Err(status.into()),
        };
        let stored = builder
            .and_then(|builder| builder.policy)
            .unwrap_or_default();
        if !policy.is_met_by(&stored) {
            say(
                "imagestore: the builder is there already, and keeps its policy; imagestore builder put changes it.",
            );
        }
        self.tracks_base = stored.track_base_digest;
        Ok(())
    }

    async fn get(&self) -> Result<Option<Builder>, Failure> {
        let request = GetBuilderRequest {
            namespace: self.namespace.clone(),
            key: Some(self.key.clone()),
        };
        let got = again::ask(PATIENCE, async || {
            self.client.clone().get(request.clone()).await
        });
        Ok(self.unless_over(got).await??.into_inner().builder)
    }

    /// What the base is now, by its registry; empty where that does not matter, or cannot be told.
    async fn base(&self) -> Result<String, Failure> {
        if !self.tracks_base {
            return Ok(String::new());
        }
        let registries = Registries::new(&self.config)?;
        let looked = registries.look_for(&self.key.base);
        let Some(look) = self.stop.unless_asked(looked).await else {
            return Ok(String::new());
        };
        let why = match look.presence {
            Presence::Present(Some(digest)) => return Ok(digest.to_string()),
            Presence::Present(None) => "its registry does not tell the digest".to_owned(),
            Presence::Absent => "its registry does not have it".to_owned(),
            Presence::Unknown => look.reason,
        };
        say(&format!(
            "imagestore: whether {} is another one now is not known: {why}.",
            self.key.base
        ));
        Ok(String::new())
    }

    /// An image that may be used, pinned; made or waited for where there is none.
    pub async fn image(&self, mut is_forced: bool, is_stale_ok: bool) -> Result<Image, Failure> {
        let mut has_failed = None;
        let mut has_told = String::new();
        // Before the image is made: of a base that changes meanwhile it is then made again.
        let base = self.base().await?;
        loop {
            if self.stop.is_asked() {
                return Err(Failure::told(Exit::Error));
            }
            let asked_at = Moment::now();
            let answer = self.acquire(is_forced, &base).await?;
            match answer.decision {
                Some(Decision::Use(used)) => {
                    if let Some(image) = self.check(used, asked_at).await? {
                        return Ok(image);
                    }
                }
                Some(Decision::Build(build)) => {
                    let token = build.claim.unwrap_or_default().token;
                    if let Some(why) = has_failed {
                        self.abandon(token, None).await;
                        return Err(Failure::new(why));
                    }
                    match self.make(token, &base, asked_at).await? {
                        Made::Image(image) => return Ok(image),
                        Made::Lost(why) => say(&format!(
                            "imagestore: begun again, the claim is lost: {why}."
                        )),
                        Made::Failed(why) => {
                            // What was there may do still.
                            say(&format!("imagestore: making the image failed: {why}."));
                            has_failed =
                                Some(format!("making the image of {} failed", shown(&self.key)));
                        }
                    }
                    is_forced = false;
                }
                Some(Decision::Busy(busy)) => {
                    if let (true, Some(image)) = (is_stale_ok, previous(&busy, asked_at)) {
                        say("imagestore: going on with an image that is too old.");
                        return Ok(image);
                    }
                    if let Some(pin) = &busy.pin {
                        self.unpin(&pin.id).await;
                    }
                    if let Some(why) = has_failed {
                        return Err(Failure::new(why));
                    }
                    let wait =
                        between(answer.now.as_ref(), busy.until.as_ref()).unwrap_or(ASK_AGAIN);
                    let why = why_busy(&busy);
                    if why != has_told {
                        say(&format!("imagestore: waiting: {why}."));
                        has_told = why;
                    }
                    tokio::select! {
                        () = time::sleep(jittered(ASK_AGAIN).min(wait + Duration::from_millis(20))) => {}
                        () = self.stop.asked() => {}
                    }
                }
                None => return Err(Failure::new("the server did not say what to do")),
            }
        }
    }

    async fn acquire(
        &self,
        is_forced: bool,
        base: &str,
    ) -> Result<AcquireBuilderResponse, Failure> {
        let request = AcquireBuilderRequest {
            namespace: self.namespace.clone(),
            key: Some(self.key.clone()),
            holder: self.holder.clone(),
            reachable: vec![self.location.to_string()],
            ttl: Some(duration(self.config.ttl.get())),
            force: is_forced,
            base_digest: base.to_owned(),
            request_id: request_id(),
            ..AcquireBuilderRequest::default()
        };
        let asked = again::ask(PATIENCE, async || {
            self.client.clone().acquire(request.clone()).await
        });
        Ok(self.unless_over(asked).await??.into_inner())
    }

    /// Looks whether the image is there, and tells the server. Nothing where it is not.
    async fn check(&self, used: UseBuilder, asked_at: Moment) -> Result<Option<Image>, Failure> {
        let generation = used.generation.unwrap_or_default();
        let image = image(&generation, used.pin.unwrap_or_default(), asked_at);
        let vars = self.vars(&image.name);
        let look = local::look(&self.config.builder.exists, &vars, self.stop).await;
        let is_there = match look.presence {
            Presence::Present(_) | Presence::Unknown => true,
            Presence::Absent => false,
        };
        if !is_there || !used.is_confirmed {
            self.report(&generation, &look).await?;
        }
        if !is_there {
            self.unpin(&image.pin.id).await;
            return Ok(None);
        }
        Ok(Some(image))
    }

    async fn report(&self, generation: &BuilderGeneration, look: &Look) -> Result<(), Failure> {
        let request = ReportBuilderRequest {
            namespace: self.namespace.clone(),
            key: Some(self.key.clone()),
            observations: vec![BuilderObservation {
                generation: generation.sequence,
                location: self.location.to_string(),
                presence: Some(presence(look)),
            }],
            request_id: request_id(),
            ..ReportBuilderRequest::default()
        };
        let reported = again::ask(PATIENCE, async || {
            self.client.clone().report(request.clone()).await
        });
        self.unless_over(reported).await??;
        Ok(())
    }

    /// Waits for a server, unless somebody asked to end.
    async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let done = self.stop.unless_over(work).await;
        done.ok_or_else(|| Failure::told(Exit::Error))
    }

    /// Lets an image be removed.
    pub async fn unpin(&self, pin: &str) {
        let request = UnpinBuilderRequest {
            namespace: self.namespace.clone(),
            key: Some(self.key.clone()),
            pin: pin.to_owned(),
        };
        again::give_back(async || self.client.clone().unpin(request.clone()).await).await;
    }

    pub fn keep_pin(&self, pin: &Pin) -> Keeper {
        let request = RenewPinRequest {
            namespace: self.namespace.clone(),
            key: Some(self.key.clone()),
            pin: pin.id.clone(),
        };
        let client = self.client.clone();
        Keeper::new(pin.asked_at, self.config.ttl.get(), move || {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.renew_pin(request).await.map(drop) }
        })
    }

    pub(super) fn vars(&self, image: &str) -> Vars {
        Vars::default()
            .with(Var::Image, image)
            .with(Var::Base, self.key.base.clone())
            .with(Var::Platform, platform::text(self.key.platform.as_ref()))
    }
}

fn previous(busy: &BusyBuilder, asked_at: Moment) -> Option<Image> {
    Some(image(busy.previous.as_ref()?, busy.pin.clone()?, asked_at))
}

pub(super) fn image(generation: &BuilderGeneration, pin: BuilderPin, asked_at: Moment) -> Image {
    Image {
        name: image_name(generation),
        pin: Pin {
            id: pin.id,
            asked_at,
        },
    }
}

fn why_busy(busy: &BusyBuilder) -> String {
    match (busy.holder.as_str(), busy.last_error.as_str()) {
        ("", "") => "nobody may make the image yet".to_owned(),
        ("", error) => format!("making the image failed before: {error}"),
        (holder, _) => format!("{holder} makes the image"),
    }
}
