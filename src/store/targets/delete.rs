//! Forgetting a target.

use super::load::{All, Claims, Everything};
use super::rows::{not_found, subject};
use super::{BuildTargets, DeleteTarget, TargetEntry};
use crate::domain::Namespace;
use crate::error::Error;
use crate::kv::Guard;
use crate::store::answered::Answered;
use crate::store::edit::Decision;
use crate::store::{At, Precondition, schema};

impl BuildTargets<'_> {
    /// Forgets a target, and answers what it was. Durable when it returns. Whoever is at it has no claim any more.
    ///
    /// [`Error::NotFound`]; [`Error::EtagMismatch`] as the request says; [`Error::HasDependents`] where others are built
    /// on it, also where there is another version of it: they would be built on that one without anybody saying so.
    pub async fn delete(
        &self,
        namespace: &Namespace,
        request: &DeleteTarget,
    ) -> Result<At<TargetEntry>, Error> {
        let key = &request.target;
        let look = Everything {
            store: self.store,
            namespace,
            claims: Claims::On(key),
        };
        let turns = [schema::build_graph_key(namespace)];
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let decide = |seen: &All| {
            let loaded = &seen.loaded;
            let target = loaded.get(key).ok_or_else(|| not_found(namespace, key))?;
            let when = Precondition::of_etag(request.if_etag);
            let subject = || subject(namespace, key);
            when.check(subject, Some((target.revision, None)), &seen.known)?;
            let mut dependents = loaded.graph()?.needed_by(key);
            let first: Vec<_> = dependents.by_ref().take(Self::MAX_NAMED).cloned().collect();
            if !first.is_empty() {
                return Err(Error::HasDependents {
                    subject: subject(),
                    dependents: first,
                    has_more: dependents.next().is_some(),
                });
            }
            let claim = seen.claim(namespace, key);
            let was = target.entry(namespace, claim.live().cloned());
            let value = Answered::new(namespace, was);
            if request.validate_only {
                return Ok(Decision::nothing(seen.moment.wall, value));
            }
            let mut batch = seen.batch();
            let row = target.key(namespace);
            batch
                .guard(Guard::Unchanged(row.clone(), target.revision))
                .delete(row)
                .delete(claim.key.clone())
                .frees_space();
            claim.guard(&mut batch);
            loaded.change(&mut batch, namespace);
            Ok(Decision { batch, value })
        };
        let answer = self.store.edit(&turns, &look, once, decide).await?;
        Ok(answer.map(Answered::into_value))
    }
}
