//! Making an image where nobody else does: it is handed in, or removed where that is in vain.

use std::sync::Arc;
use std::time::Duration;

use tokio::time;
use tonic::{Code, Status};

use super::make::{self, NotMade};
use super::record::shown;
use super::user::{Image, User, image};
use crate::cli::build::again::{self, PATIENCE, is_silence, request_id};
use crate::cli::build::keeper::{Keeper, Lost, Moment};
use crate::cli::build::process::{self, Voice, clipped};
use crate::cli::build::telling::say;
use crate::cli::build::wire::duration;
use crate::cli::failure::{self, Failure};
use crate::proto::v1::{
    AbandonBuilderRequest, CompleteBuilderRequest, CompleteBuilderResponse, Descriptor,
    RenewBuilderRequest,
};

/// What became of making an image.
pub(super) enum Made {
    Image(Image),
    /// The claim was lost: somebody else makes it now.
    Lost(String),
    Failed(String),
}

/// How long a daemon may take to remove what nobody else would look for.
const REMOVING: Duration = Duration::from_secs(60);

impl User<'_> {
    /// Makes an image, and hands it in.
    pub(super) async fn make(
        &self,
        token: u64,
        base: &str,
        asked_at: Moment,
    ) -> Result<Made, Failure> {
        let keeper = self.keep_claim(token, asked_at);
        let stop = self.stop.child();
        say(&format!(
            "imagestore: making an image of {}.",
            shown(&self.key)
        ));
        let voice = Voice::Lines(Arc::new(failure::say));
        let making = self
            .recipe
            .make(&self.key, token, &self.config, &voice, &stop);
        let made = keeper.guard(&stop, making).await;
        let image = make::name(&self.key, token);
        if let Err(Lost(why)) = keeper.check() {
            self.remove(&image, made.is_ok()).await;
            return Ok(Made::Lost(why));
        }
        match made {
            Ok(made) => self.complete(token, made, base, &image, &keeper).await,
            Err(NotMade::Stopped) => {
                self.abandon(token, None).await;
                self.remove(&image, false).await;
                Ok(Made::Lost("somebody asked to end".to_owned()))
            }
            Err(NotMade::Failed(why)) => {
                self.abandon(token, Some(&why)).await;
                self.remove(&image, false).await;
                Ok(Made::Failed(why))
            }
        }
    }

    /// Hands an image in. One that the server does not take is removed, since nobody else would look for it.
    async fn complete(
        &self,
        token: u64,
        made: Descriptor,
        base: &str,
        image: &str,
        keeper: &Keeper,
    ) -> Result<Made, Failure> {
        let request = CompleteBuilderRequest {
            namespace: self.namespace.clone(),
            key: Some(self.key.clone()),
            token,
            image: Some(made),
            location: self.location.to_string(),
            base_digest: base.to_owned(),
            pin_ttl: Some(duration(self.config.ttl.get())),
            request_id: request_id(),
        };
        let asked_at = Moment::now();
        let complete = async || self.client.clone().complete(request.clone()).await;
        let completed = keeper.ask(PATIENCE, complete);
        let (status, is_refused) = match self.stop.unless_over(completed).await {
            Some(Ok(Ok(completed))) => {
                return Ok(Made::Image(pinned(completed.into_inner(), asked_at)));
            }
            Some(Ok(Err(status))) => {
                let is_refused = !is_silence(&status);
                (status, is_refused)
            }
            Some(Err(Lost(why))) => (Status::aborted(why), false),
            None => (Status::aborted("somebody asked to end"), false),
        };
        let is_lost = status.code() == Code::Aborted;
        if !is_lost {
            self.abandon(token, None).await;
        }
        match is_refused {
            true => self.remove(image, true).await,
            false => say(&format!(
                "imagestore: {image} stays, and the server may not know of it: it did not answer."
            )),
        }
        match is_lost {
            true => Ok(Made::Lost(status.message().to_owned())),
            false => Err(status.into()),
        }
    }

    /// Removes what was made half, or for nothing. No two makers give an image the same name.
    async fn remove(&self, image: &str, is_made: bool) {
        let argv = self.config.builder.remove.fill(&self.vars(image));
        let stop = self.stop.errand();
        let removing = process::run(&argv, &Voice::Silent, false, &stop);
        let why = match time::timeout(REMOVING, removing).await {
            Ok(ran) if ran.is_well() => None,
            Ok(ran) => Some(ran.why()),
            Err(_) => Some("it took too long".to_owned()),
        };
        match (is_made, why) {
            // There may have been nothing to remove.
            (false, _) => {}
            (true, None) => say(&format!(
                "imagestore: {image} is removed again: it was made in vain."
            )),
            (true, Some(why)) => say(&format!(
                "imagestore: {image} was made in vain, and cannot be removed: {why}."
            )),
        }
    }

    pub(super) async fn abandon(&self, token: u64, error: Option<&str>) {
        let request = AbandonBuilderRequest {
            namespace: self.namespace.clone(),
            key: Some(self.key.clone()),
            token,
            error: error.map(clipped).unwrap_or_default().to_owned(),
            retry_after: None,
            request_id: request_id(),
        };
        again::give_back(async || self.client.clone().abandon(request.clone()).await).await;
    }

    fn keep_claim(&self, token: u64, asked_at: Moment) -> Keeper {
        let request = RenewBuilderRequest {
            namespace: self.namespace.clone(),
            key: Some(self.key.clone()),
            token,
        };
        let client = self.client.clone();
        Keeper::new(asked_at, self.config.ttl.get(), move || {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.renew(request).await.map(drop) }
        })
    }
}

fn pinned(completed: CompleteBuilderResponse, asked_at: Moment) -> Image {
    let generation = completed.generation.unwrap_or_default();
    image(&generation, completed.pin.unwrap_or_default(), asked_at)
}
