//! Deciding who uses which image, and who makes a new one.

use super::answer::About;
use super::change::tell_base;
use super::rows::{LookAt, Standing};
use super::{AcquireBuilder, Acquired, Acquisition, Builders, Pinned};
use crate::domain::Namespace;
use crate::domain::build::{
    Claim, Decision as Decided, Generation, Hold, Pin, PinId, Standing as Judged, decide,
};
use crate::error::Error;
use crate::kv::Batch;
use crate::store::At;
use crate::store::answered::Answered;
use crate::store::edit::Decision;

impl Builders<'_> {
    /// Says what a caller who needs an image does: use one, build one, or wait. Of all who ask one is told to build; the
    /// others go on with the image that is there until it is too old. What is to be used is pinned, and what is to be
    /// built is claimed, before it returns.
    ///
    /// [`Error::NotFound`] for an unknown builder, [`Error::BuilderFull`] where it has as many generations, live pins
    /// or bytes as it may.
    pub async fn acquire(
        &self,
        namespace: &Namespace,
        request: &AcquireBuilder,
    ) -> Result<At<Acquired>, Error> {
        let look = LookAt::all(namespace, &request.key);
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let acquired = self
            .store
            .edit(&look.turns(), &look, once, |seen| {
                let id = self.new_pin(seen);
                decide_acquire(request, seen, id)
            })
            .await?;
        Ok(acquired.map(About::told))
    }

    /// An id that no pin of the builder ever had, as good as surely.
    pub(super) fn new_pin(&self, seen: &Standing) -> PinId {
        let random = (self.store.inner.surroundings.new_id)().0;
        let (half, _) = random
            .split_first_chunk()
            .expect("an id is longer than that");
        PinId(u64::from_be_bytes(*half).wrapping_add(seen.seen_at.0))
    }
}

fn decide_acquire(
    request: &AcquireBuilder,
    seen: &Standing,
    id: PinId,
) -> Result<Decision<Answered<About<Acquired>>>, Error> {
    let (own, _) = seen.own()?;
    let now = seen.now();
    let mut batch = seen.batch();
    // What is pinned is neither gone nor retired then, and whoever is to build is the only one.
    seen.guard_standing(&mut batch);
    tell_base(&mut batch, seen, own, request.base_digest)?;
    let base_digest = request.base_digest.or(own.base_digest);
    let standing = Judged {
        policy: &own.policy,
        generations: &seen.generations,
        base_digest: base_digest.as_ref(),
        claim: seen.last_claim(),
        failures: own.failures.as_ref(),
        reach: &request.reach,
        is_forced: request.force,
    };
    let pinned = |batch: &mut Batch, generation: &Generation| -> Result<Option<Pinned>, Error> {
        if request.validate_only {
            return Ok(None);
        }
        let holder = request.holder.clone();
        let pin = Pin::grant(generation.sequence, holder, request.ttl, now);
        seen.add_pin(batch, id, pin).map(Some)
    };
    let decision = match decide(now, &standing) {
        Decided::Use {
            generation,
            is_stale,
            is_confirmed,
            fresh_until,
            usable_until,
        } => Acquisition::Use {
            pin: pinned(&mut batch, generation)?,
            generation: generation.clone(),
            is_stale,
            is_confirmed,
            fresh_until,
            usable_until,
        },
        Decided::Build { reason, previous } => {
            if seen.generations.iter().len() >= Builders::MAX_GENERATIONS {
                return Err(seen.full("generations", Builders::MAX_GENERATIONS));
            }
            seen.check_room(0)?;
            Acquisition::Build {
                claim: grant(&mut batch, request, seen)?,
                reason,
                previous: previous.cloned(),
            }
        }
        Decided::Busy { hold, previous } => {
            let (holder, until, last_error) = match hold {
                Hold::Claimed(claim) => (Some(claim.holder.clone()), claim.deadline, String::new()),
                Hold::BackingOff { failures, until } => (None, until, failures.last_error.clone()),
            };
            let pin = previous.map(|generation| pinned(&mut batch, generation));
            Acquisition::Busy {
                holder,
                until,
                last_error,
                previous: previous.cloned(),
                pin: pin.transpose()?.flatten(),
            }
        }
    };
    let value = About::answered(seen, Acquired { decision, now });
    if request.validate_only {
        return Ok(Decision::nothing(seen.moment.wall, value));
    }
    Ok(Decision { batch, value })
}

/// Has a batch grant the claim, unless nothing is to be written.
fn grant(
    batch: &mut Batch,
    request: &AcquireBuilder,
    seen: &Standing,
) -> Result<Option<Claim>, Error> {
    if request.validate_only {
        return Ok(None);
    }
    let place = seen.claim_place();
    let granted = place.grant(batch, seen.seen_at, &request.holder, request.ttl);
    granted.map(Some).map_err(|refused| seen.refused(refused))
}
