//! Where targets were found, or not.

use super::rows::{Looking, Seen, SeenTarget, claim_place, rewrite};
use super::{BuildTargets, ObserveTargets, ObservedKind, ObservedTarget, TargetObservation};
use crate::domain::build::{Observed, TargetKey};
use crate::domain::{Invalid, Namespace};
use crate::error::Error;
use crate::kv::Batch;
use crate::store::answered::Answered;
use crate::store::claims::{SeenClaim, note};
use crate::store::edit::Decision;
use crate::store::wire::TargetRow;
use crate::store::{At, schema};

impl BuildTargets<'_> {
    /// Says where images were found, or not, and answers what is thought of each target then. Durable when it returns.
    /// Of a target that somebody is at, that has changed since, or that another image was published as, nothing changes.
    ///
    /// [`Error::Invalid`] for more than [`Self::MAX_OBSERVED`], and for a target that is there twice.
    pub async fn observe(
        &self,
        namespace: &Namespace,
        request: &ObserveTargets,
    ) -> Result<At<Vec<ObservedTarget>>, Error> {
        check(&request.observations)?;
        let observed = request.observations.iter();
        let keys: Vec<TargetKey> = observed.map(|one| one.target.clone()).collect();
        let look = Looking {
            namespace,
            keys: &keys,
        };
        let turns: Vec<_> = keys
            .iter()
            .map(|key| schema::build_target_key(namespace, key))
            .collect();
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let decide = |seen: &Seen| {
            let mut batch = seen.batch();
            let planning = Planning {
                namespace,
                request,
                seen,
            };
            let known = seen.targets.iter().zip(&seen.claims);
            let all = request.observations.iter().zip(known);
            let observed: Vec<ObservedTarget> = all
                .map(|(observation, (target, claim))| {
                    planning.one(&mut batch, observation, target.as_ref(), claim.as_ref())
                })
                .collect();
            if !batch.is_empty() {
                note(&mut batch, &seen.moment);
            }
            let value = Answered::new(namespace, observed);
            if request.validate_only {
                return Ok(Decision::nothing(seen.moment.wall, value));
            }
            Ok(Decision { batch, value })
        };
        let answer = self.store.edit(&turns, &look, once, decide).await?;
        Ok(answer.map(Answered::into_value))
    }
}

fn check(observations: &[TargetObservation]) -> Result<(), Invalid> {
    let (many, most) = (observations.len(), BuildTargets::MAX_OBSERVED);
    if !(1..=most).contains(&many) {
        let reason = format!("must be 1 to {most}, not {many}");
        return Err(Invalid::new("observations", reason));
    }
    if let Some(n) = TargetObservation::repeated(observations) {
        let field = format!("observations[{n}].target");
        let reason = format!("{} is there twice", observations[n].target);
        return Err(Invalid::new(field, reason));
    }
    Ok(())
}

struct Planning<'a> {
    namespace: &'a Namespace,
    request: &'a ObserveTargets,
    seen: &'a Seen,
}

impl Planning<'_> {
    fn one(
        &self,
        batch: &mut Batch,
        observation: &TargetObservation,
        target: Option<&SeenTarget>,
        claim: Option<&SeenClaim>,
    ) -> ObservedTarget {
        let told = |state, kind| ObservedTarget {
            target: observation.target.clone(),
            state,
            kind,
        };
        let Some(target) = target else {
            return told(None, ObservedKind::NotFound);
        };
        let place = claim_place(self.namespace, target.target(), claim, self.seen.moment);
        let progress = &target.row.progress;
        let stays = |kind| told(Some(progress.state), kind);
        if place.live().is_some() {
            return stays(ObservedKind::Claimed);
        }
        if observation
            .if_etag
            .is_some_and(|etag| etag != target.revision)
        {
            return stays(ObservedKind::Outdated);
        }
        let (after, kind) = match progress.observed(self.request.mode, &observation.seen) {
            Err(refused) => return stays(ObservedKind::Refused(refused.to_string())),
            Ok(Observed::Unchanged) => return stays(ObservedKind::Unchanged),
            Ok(Observed::To(after)) => (after, ObservedKind::Changed),
            Ok(Observed::Undecided { possible, after }) => {
                (after, ObservedKind::Undecided(possible))
            }
        };
        if after == *progress {
            return stays(kind);
        }
        let row = TargetRow {
            progress: after,
            updated_at: self.seen.moment.steady,
            ..(*target.row).clone()
        };
        // One that is in too many places is no reason to refuse all others.
        if let Err(refused) = rewrite(batch, self.namespace, target, &row) {
            return stays(ObservedKind::Refused(refused.to_string()));
        }
        place.guard(batch);
        told(Some(row.progress.state), kind)
    }
}
