//! Testing and publishing a target.

use std::path::Path;

use super::job::{Event, Job, Outcome, PUT_OFF, Stage, Step};
use crate::cli::build::config::Var;
use crate::cli::build::scratch::Scratch;
use crate::domain::Digest;
use crate::domain::build::Presence;
use crate::proto::v1::{GetTargetRequest, TargetEvent, TargetState, TargetWork};

impl Job<'_> {
    // === Testing ===

    /// Whether there was no test, and whether publishing goes on under the claim.
    pub(super) async fn verify(&self) -> Step<(bool, bool)> {
        self.crew.show.doing(self.name, "verifying");
        let vars = self.vars(&self.image.dir);
        let command = &self.crew.config.commands.verify;
        let is_untested = command
            .files_in_context(&vars)
            .iter()
            .any(|file| !Path::new(file).exists());
        if !is_untested {
            let ran = self.command(command, &vars).await?;
            if !ran.is_well() {
                return Err(self.fail(Stage::Verify, ran.why()).await);
            }
        }
        let goes_on = self.does(TargetWork::Publish) && self.is_ready_to_publish().await?;
        self.tell(Event::with(TargetEvent::VerifyOk, None).going_on(goes_on))
            .await?;
        Ok((is_untested, goes_on))
    }

    /// Whether all that it is built on is published. Otherwise somebody is given it again when that is so.
    async fn is_ready_to_publish(&self) -> Step<bool> {
        for dependency in &self.claimed.dependencies {
            let request = GetTargetRequest {
                namespace: self.crew.plan.namespace.clone(),
                target: dependency.target.clone(),
            };
            let answer = self
                .ask(async || self.crew.client.clone().get(request.clone()).await)
                .await?;
            let state = answer.into_inner().target.map(|target| target.state());
            if state != Some(TargetState::Published) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    // === Publishing ===

    /// Pushes, unless something is there. Between looking and pushing somebody else may push: registries have no way
    /// to say "only if there is none".
    pub(super) async fn publish(&self) -> Step<()> {
        self.crew.show.doing(self.name, "publishing");
        self.renew().await?;
        let looked = self.crew.eyes.registries.look(self.label());
        let look = self.stop.unless_asked(looked).await;
        let look = look.ok_or(Outcome::Stopped)?;
        match look.presence {
            Presence::Absent => {}
            Presence::Present(there) if self.is_own(there).await? => {
                return self.tell(Event::with(TargetEvent::PublishOk, there)).await;
            }
            Presence::Present(there) => {
                let there = there
                    .map(|digest| format!(", with digest {digest}"))
                    .unwrap_or_default();
                let why = format!(
                    "another image is in the registry already, and is not overwritten (to take it as it is, reset the \
                     target and scan again): {}{there}",
                    self.label()
                );
                return Err(self.fail(Stage::Publish, why).await);
            }
            Presence::Unknown => {
                return Err(Outcome::PutOff {
                    after: PUT_OFF,
                    why: format!(
                        "whether it is published already is not known: {}",
                        look.reason
                    ),
                });
            }
        }
        let scratch = match Scratch::new() {
            Ok(scratch) => scratch,
            Err(why) => return Err(self.fail(Stage::Publish, why).await),
        };
        let vars = self
            .vars(&self.image.dir)
            .with(Var::DigestFile, scratch.text("digest"));
        let ran = self.command(&self.crew.config.commands.push, &vars).await?;
        if !ran.is_well() {
            return Err(self.fail(Stage::Publish, ran.why()).await);
        }
        let pushed: Option<Digest> = scratch.word("digest");
        let looked = self.crew.eyes.registries.look(self.label());
        let look = self.stop.unless_over(looked).await;
        let look = look.ok_or(Outcome::Stopped)?;
        match confirm(pushed, look.presence) {
            Ok(digest) => self.tell(Event::with(TargetEvent::PublishOk, digest)).await,
            Err(why) => Err(self
                .fail(Stage::Publish, format!("{}: {why}", self.label()))
                .await),
        }
    }

    /// Whether what is in the registry is what was built here, or published before: another worker may have ended
    /// between its push and telling. Daemons name an image by its manifest or by its config.
    async fn is_own(&self, there: Option<Digest>) -> Step<bool> {
        let Some(target) = &self.claimed.target else {
            return Ok(false);
        };
        let known = [&target.digest, &target.published_digest];
        let is_known = |there: Digest| known.into_iter().any(|known| known.parse() == Ok(there));
        if there.is_some_and(is_known) {
            return Ok(true);
        }
        let asked = self.crew.eyes.registries.config_of(self.label());
        let Some(config) = self.stop.unless_asked(asked).await else {
            return Err(Outcome::Stopped);
        };
        match config {
            Ok(config) => Ok(config.is_some_and(is_known)),
            Err(why) => Err(Outcome::PutOff {
                after: PUT_OFF,
                why: format!("which image is published is not known: {why}"),
            }),
        }
    }
}

/// What was published, by what the push said and what the registry has now.
fn confirm(pushed: Option<Digest>, there: Presence) -> Result<Option<Digest>, String> {
    match (pushed, there) {
        (_, Presence::Absent) => {
            Err("the push went well, but the registry does not have it".to_owned())
        }
        (Some(pushed), Presence::Present(Some(there))) if pushed != there => Err(format!(
            "{pushed} was pushed, but {there} is there: somebody else pushed too"
        )),
        (_, Presence::Present(Some(there))) => Ok(Some(there)),
        (pushed, Presence::Present(None) | Presence::Unknown) => Ok(pushed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_registry_has_after_a_push_decides() {
        let digest = |byte: &str| {
            format!("sha256:{}", byte.repeat(32))
                .parse::<Digest>()
                .unwrap()
        };
        let (own, other) = (digest("0a"), digest("0b"));
        for (pushed, there, expected) in [
            (Some(own), Presence::Present(Some(own)), Ok(Some(own))),
            (None, Presence::Present(Some(own)), Ok(Some(own))),
            (Some(own), Presence::Present(None), Ok(Some(own))),
            (Some(own), Presence::Unknown, Ok(Some(own))),
            (None, Presence::Unknown, Ok(None)),
            (Some(own), Presence::Present(Some(other)), Err(())),
            (Some(own), Presence::Absent, Err(())),
            (None, Presence::Absent, Err(())),
        ] {
            assert_eq!(
                confirm(pushed, there).map_err(drop),
                expected,
                "{pushed:?} {there:?}"
            );
        }
    }
}
