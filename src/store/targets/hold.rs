//! Keeping a claim on a target, and giving it back.

use super::rows::{Looking, Seen, claim_place, refused, rewrite};
use super::{BuildTargets, ReleaseTarget, RenewTarget};
use crate::domain::build::Claim;
use crate::domain::{Invalid, Namespace};
use crate::error::Error;
use crate::store::edit::Decision;
use crate::store::wire::TargetRow;
use crate::store::{At, schema};

impl BuildTargets<'_> {
    /// Gives a claim its whole time again. Durable when it returns. [`Error::Claim`] for one that ended.
    pub async fn renew(
        &self,
        namespace: &Namespace,
        request: &RenewTarget,
    ) -> Result<At<Claim>, Error> {
        let key = &request.target;
        let look = Looking {
            namespace,
            keys: std::slice::from_ref(key),
        };
        let turns = [schema::build_target_key(namespace, key)];
        let decide = |seen: &Seen| {
            let place = claim_place(namespace, key, seen.one().1, seen.moment);
            let mut batch = seen.batch();
            let renewed = place.renew(&mut batch, request.token);
            let value = renewed.map_err(|cause| refused(namespace, key, cause))?;
            Ok(Decision { batch, value })
        };
        self.store.edit_always(&turns, &look, decide).await
    }

    /// Gives a claim back. Durable when it returns. [`Error::Claim`] for one that ended; [`Error::Invalid`] for a
    /// `retry_after` of more than a day.
    pub async fn release(
        &self,
        namespace: &Namespace,
        request: &ReleaseTarget,
    ) -> Result<At<()>, Error> {
        let most = ReleaseTarget::MAX_RETRY_AFTER;
        if request.retry_after.is_some_and(|after| after > most) {
            return Err(Invalid::new("retry_after", "must be at most 24 hours").into());
        }
        let key = &request.target;
        let look = Looking {
            namespace,
            keys: std::slice::from_ref(key),
        };
        let turns = [schema::build_target_key(namespace, key)];
        let decide = |seen: &Seen| {
            let (target, claim) = seen.one();
            let place = claim_place(namespace, key, claim, seen.moment);
            let mut batch = seen.batch();
            let ended = place.end(&mut batch, request.token);
            ended.map_err(|cause| refused(namespace, key, cause))?;
            if let (Some(target), Some(after)) = (target, request.retry_after) {
                let now = seen.moment.steady;
                let row = TargetRow {
                    progress: target.row.progress.put_off(now.plus(after)),
                    updated_at: now,
                    ..(*target.row).clone()
                };
                rewrite(&mut batch, namespace, target, &row)?;
            }
            Ok(Decision { batch, value: () })
        };
        self.store.edit_always(&turns, &look, decide).await
    }
}
