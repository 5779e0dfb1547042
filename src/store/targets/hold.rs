//! Keeping a claim on a target, and giving it back.

use super::rows::{Looking, Seen, SeenClaim, guard_claim, refused, rewrite};
use super::{BuildTargets, ReleaseTarget, RenewTarget};
use crate::domain::build::{Claim, ClaimRefused, TargetKey, Token};
use crate::domain::{Invalid, Namespace};
use crate::error::Error;
use crate::kv::Batch;
use crate::store::edit::Decision;
use crate::store::wire::{self, TargetRow};
use crate::store::{At, claims, schema};

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
            let claim = held(namespace, key, request.token, seen)?;
            let renewed = claim.renewed(seen.moment.now());
            let mut batch = Batch::new(seen.now.millis());
            guard_claim(&mut batch, namespace, key, seen.one().1);
            batch.put(
                schema::build_claim_key(namespace, key),
                wire::encode_claim(&renewed),
            );
            seen.moment.note(&mut batch);
            Ok(Decision {
                batch,
                value: renewed,
            })
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
            let held = held(namespace, key, request.token, seen)?;
            let (target, claim) = seen.one();
            let now = seen.moment.now();
            let mut batch = Batch::new(seen.now.millis());
            guard_claim(&mut batch, namespace, key, claim);
            let row = schema::build_claim_key(namespace, key);
            claims::end(&mut batch, row, held, &seen.moment);
            if let (Some(target), Some(after)) = (target, request.retry_after) {
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

/// The claim, of whoever holds it.
fn held<'a>(
    namespace: &Namespace,
    key: &TargetKey,
    token: Token,
    seen: &'a Seen,
) -> Result<&'a Claim, Error> {
    let held = SeenClaim::check(seen.one().1, Some(token), seen.moment.now());
    let held = held.and_then(|held| held.ok_or(ClaimRefused::NotHeld));
    held.map_err(|cause| refused(namespace, key, cause))
}
