//! What happens to a target.

use super::rows::{Looking, Seen, claim_place, not_found, refused, rewrite, subject};
use super::{BuildTargets, TargetEntry, TransitionTarget, TransitionedTarget};
use crate::domain::build::{Claim, ClaimRefused, Token, Transition};
use crate::domain::{Invalid, Namespace};
use crate::error::Error;
use crate::kv::{Batch, Guard, Revision};
use crate::store::answered::Answered;
use crate::store::claims::{ClaimPlace, note};
use crate::store::edit::Decision;
use crate::store::wire::TargetRow;
use crate::store::{At, Precondition, schema};

impl BuildTargets<'_> {
    /// Says what happened to a target. Durable when it returns.
    ///
    /// [`Error::Claim`] under a claim that ended or is another's, and without one where somebody is at the target;
    /// [`Error::NotFound`]; [`Error::EtagMismatch`] as the request says; [`Error::IllegalTransition`] for what cannot
    /// happen to it; [`Error::Invalid`] for an error of more than [`Self::MAX_ERROR`] bytes, and for one more place that
    /// the record has no room for.
    pub async fn transition(
        &self,
        namespace: &Namespace,
        request: &TransitionTarget,
    ) -> Result<At<TransitionedTarget>, Error> {
        let bytes = request.event.error().map_or(0, String::len);
        if bytes > Self::MAX_ERROR {
            let reason = format!("has {bytes} bytes, more than {}", Self::MAX_ERROR);
            return Err(Invalid::new("error", reason).into());
        }
        let look = Looking {
            namespace,
            keys: std::slice::from_ref(&request.target),
        };
        let turns = [schema::build_target_key(namespace, &request.target)];
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let decide = |seen: &Seen| {
            let mut batch = seen.batch();
            let told = plan(&mut batch, namespace, request, seen)?;
            let value = Answered::new(namespace, told);
            if request.validate_only {
                return Ok(Decision::nothing(seen.moment.wall, value));
            }
            Ok(Decision { batch, value })
        };
        let answer = self.store.edit(&turns, &look, once, decide).await?;
        Ok(answer.map(Answered::into_value))
    }
}

fn plan(
    batch: &mut Batch,
    namespace: &Namespace,
    request: &TransitionTarget,
    seen: &Seen,
) -> Result<TransitionedTarget, Error> {
    let key = &request.target;
    let (target, claim) = seen.one();
    let place = claim_place(namespace, key, claim, seen.moment);
    let refused = |cause| refused(namespace, key, cause);
    // First, since whoever is at a target that was forgotten is to learn that the claim has ended.
    let held = right(&place, request.token).map_err(refused)?;
    let target = target.ok_or_else(|| not_found(namespace, key))?;
    let when = Precondition::of_etag(request.if_etag);
    let about = || subject(namespace, key);
    when.check(about, Some((target.revision, None)), &seen.known)?;
    let progress = &target.row.progress;
    let after = progress
        .after(&request.event)
        .map_err(|illegal| Error::IllegalTransition {
            subject: about(),
            illegal,
        })?;
    let keeps = request.keep_claim && !request.event.is_failure();
    match held {
        Some(held) if !keeps => {
            place.end(batch, held.token).map_err(refused)?;
        }
        Some(_) | None => place.guard(batch),
    }
    let held = held.filter(|_| keeps).cloned();
    match after {
        Transition::To(after) => {
            let row = TargetRow {
                progress: *after,
                updated_at: seen.moment.steady,
                ..(*target.row).clone()
            };
            rewrite(batch, namespace, target, &row)?;
            note(batch, &seen.moment);
            Ok(TransitionedTarget {
                entry: TargetEntry::of(namespace, row, held, Revision::ZERO),
                changed: true,
            })
        }
        Transition::Unchanged => {
            let row = target.key(namespace);
            batch.guard(Guard::Unchanged(row, target.revision));
            Ok(TransitionedTarget {
                entry: target.entry(namespace, held),
                changed: false,
            })
        }
    }
}

/// Refuses whoever has no right to a target: without a token, where somebody is at it.
fn right<'a>(
    place: &ClaimPlace<'a>,
    token: Option<Token>,
) -> Result<Option<&'a Claim>, ClaimRefused> {
    match (token, place.live()) {
        (Some(token), _) => place.held(token).map(Some),
        (None, Some(claim)) => Err(ClaimRefused::Held {
            holder: claim.holder.clone(),
            deadline: claim.deadline,
        }),
        (None, None) => Ok(None),
    }
}
