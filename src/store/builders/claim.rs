//! What is done under a claim or a pin: handing in, giving back, renewing.

use super::answer::About;
use super::rows::{LookAt, Standing, subject};
use super::{AbandonBuilder, Builders, CompleteBuilder, Completed, Pinned};
use crate::domain::build::{BuilderKey, Claim, ClaimRefused, Failures, Moment, Pin, PinId, Token};
use crate::domain::{Namespace, Timestamp};
use crate::error::Error;
use crate::kv::{Batch, Guard, Revision};
use crate::store::answered::Answered;
use crate::store::claims::note;
use crate::store::edit::{Decision, Look, View};
use crate::store::wire::{self, BuilderRow};
use crate::store::{At, schema};

/// A look at a pin.
struct LookAtPin<'a> {
    namespace: &'a Namespace,
    key: &'a BuilderKey,
    id: PinId,
}

struct SeenPin {
    is_known: bool,
    pin: Option<(Pin, Revision)>,
    moment: Moment,
}

impl Look for LookAtPin<'_> {
    type Seen = SeenPin;

    async fn look(&self, view: &View<'_>) -> Result<SeenPin, Error> {
        let keys = [
            schema::builder_key(self.namespace, self.key),
            schema::pin_key(self.namespace, self.key, self.id),
        ];
        let [own, pin] = view.rows(&keys).await?;
        let pin = pin.map(|row| Ok::<_, Error>((wire::decode_pin(row.value)?, row.revision)));
        Ok(SeenPin {
            is_known: own.is_some(),
            pin: pin.transpose()?,
            moment: view.moment,
        })
    }
}

impl Builders<'_> {
    /// Hands in the image that was built under a claim, and ends the claim. Pins it where that is asked for, and there
    /// are not as many pins as there may be. Durable when it returns.
    ///
    /// [`Error::NotFound`] for an unknown builder; [`Error::Claim`] for a claim that has ended, or is another's now;
    /// [`Error::Invalid`] for an image whose record would be too large. Then nothing is written.
    pub async fn complete(
        &self,
        namespace: &Namespace,
        request: &CompleteBuilder,
    ) -> Result<At<Completed>, Error> {
        let look = LookAt::all(namespace, &request.key);
        let once = request.request.as_ref();
        let completed = self
            .store
            .edit(&look.turns(), &look, once, |seen| {
                let id = self.new_pin(seen);
                decide_complete(request, seen, id)
            })
            .await?;
        Ok(completed.map(About::told))
    }

    /// Gives a claim back without an image; after a failure nobody is told to build until the time that it returns, if
    /// it returns one. Durable when it returns.
    ///
    /// [`Error::NotFound`] and [`Error::Claim`] as for [`Self::complete`].
    pub async fn abandon(
        &self,
        namespace: &Namespace,
        request: &AbandonBuilder,
    ) -> Result<At<Option<Timestamp>>, Error> {
        let look = LookAt::own(namespace, &request.key);
        let once = request.request.as_ref();
        let abandoned = self
            .store
            .edit(&look.turns(), &look, once, |seen| {
                decide_abandon(request, seen)
            })
            .await?;
        Ok(abandoned.map(About::told))
    }

    /// Gives a claim its whole time again. Durable when it returns.
    ///
    /// [`Error::NotFound`] and [`Error::Claim`] as for [`Self::complete`].
    pub async fn renew(
        &self,
        namespace: &Namespace,
        key: &BuilderKey,
        token: Token,
    ) -> Result<At<Claim>, Error> {
        let look = LookAt::own(namespace, key);
        let decide = |seen: &Standing| {
            seen.own()?;
            let mut batch = seen.batch();
            let renewed = seen.claim_place().renew(&mut batch, token);
            let value = renewed.map_err(|refused| seen.refused(refused))?;
            Ok(Decision { batch, value })
        };
        self.store.edit_always(&look.turns(), &look, decide).await
    }

    /// Gives a pin its whole time again. Durable when it returns.
    ///
    /// [`Error::NotFound`] for an unknown builder, [`Error::Claim`] for a pin that has ended.
    pub async fn renew_pin(
        &self,
        namespace: &Namespace,
        key: &BuilderKey,
        id: PinId,
    ) -> Result<At<Pinned>, Error> {
        let look = LookAtPin { namespace, key, id };
        let row = schema::pin_key(namespace, key, id);
        let decide = |seen: &SeenPin| {
            if !seen.is_known {
                return Err(Error::NotFound(subject(namespace, key)));
            }
            let now = seen.moment.steady;
            let Some((pin, revision)) = seen.pin.as_ref().filter(|(pin, _)| pin.is_live(now))
            else {
                return Err(Error::Claim {
                    subject: subject(namespace, key),
                    refused: ClaimRefused::PinEnded,
                });
            };
            let pin = pin.renewed(now);
            let mut batch = Batch::new(seen.moment.wall.millis());
            batch
                .guard(Guard::Unchanged(row.clone(), *revision))
                .put(row.clone(), wire::encode_pin(&pin));
            note(&mut batch, &seen.moment);
            Ok(Decision {
                batch,
                value: Pinned { id, pin },
            })
        };
        let turns = [row.clone()];
        self.store.edit_always(&turns, &look, decide).await
    }

    /// Ends a pin; `false` where there is none. Durable when it returns.
    pub async fn unpin(
        &self,
        namespace: &Namespace,
        key: &BuilderKey,
        id: PinId,
    ) -> Result<At<bool>, Error> {
        let look = LookAtPin { namespace, key, id };
        let row = schema::pin_key(namespace, key, id);
        let decide = |seen: &SeenPin| {
            let mut batch = Batch::new(seen.moment.wall.millis());
            if let Some((_, revision)) = &seen.pin {
                batch
                    .guard(Guard::Unchanged(row.clone(), *revision))
                    .delete(row.clone())
                    .frees_space();
            }
            Ok(Decision {
                batch,
                value: seen.pin.is_some(),
            })
        };
        let turns = [row.clone()];
        self.store.edit_always(&turns, &look, decide).await
    }
}

fn decide_complete(
    request: &CompleteBuilder,
    seen: &Standing,
    id: PinId,
) -> Result<Decision<Answered<About<Completed>>>, Error> {
    let (own, _) = seen.own()?;
    let mut batch = seen.batch();
    let ended = seen.claim_place().end(&mut batch, request.token);
    let claim = ended.map_err(|refused| seen.refused(refused))?;
    // Whoever granted the claim saw that there is room.
    let mut after = seen.generations.clone();
    let generation = after.add(request.built.clone(), seen.now()).clone();
    seen.add_generation(&mut batch, &generation)?;
    // What somebody told since the build began is newer.
    let (base_digest, base_told) = match generation.base_digest {
        Some(found) if own.base_told <= claim.token => (Some(found), claim.token),
        _ => (own.base_digest, own.base_told),
    };
    let row = BuilderRow {
        last: after.last(),
        failures: None,
        base_digest,
        base_told,
        ..own.clone()
    };
    seen.put_own(&mut batch, &row)?;
    let pin = request.pin.map(|ttl| {
        let holder = claim.holder.clone();
        let pin = Pin::grant(generation.sequence, holder, ttl, seen.now());
        match seen.add_pin(&mut batch, id, pin) {
            // An image that was built is not lost for want of a pin.
            Err(Error::BuilderFull { .. }) => Ok(None),
            pinned => pinned.map(Some),
        }
    });
    let completed = Completed {
        pin: pin.transpose()?.flatten(),
        generation,
    };
    let value = About::answered(seen, completed);
    Ok(Decision { batch, value })
}

fn decide_abandon(
    request: &AbandonBuilder,
    seen: &Standing,
) -> Result<Decision<Answered<About<Option<Timestamp>>>>, Error> {
    let (own, _) = seen.own()?;
    let now = seen.now();
    let mut batch = seen.batch();
    let ended = seen.claim_place().end(&mut batch, request.token);
    ended.map_err(|refused| seen.refused(refused))?;
    let failures = request.failure.as_ref().map(|failure| {
        let before = own.failures.as_ref();
        Failures::after(before, failure.error.clone(), failure.retry_after, now)
    });
    let retry_at = failures
        .as_ref()
        .and_then(|failures| failures.retry_at(now));
    if failures.is_some() {
        let row = BuilderRow {
            failures,
            ..own.clone()
        };
        seen.put_own(&mut batch, &row)?;
    }
    let value = About::answered(seen, retry_at);
    Ok(Decision { batch, value })
}
