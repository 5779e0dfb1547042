//! Deciding which images may go.

use super::rows::{LookAt, Standing};
use super::{Builders, Judged, PruneBuilder, Pruned};
use crate::domain::Namespace;
use crate::domain::build::{Generation, Generations, Prune, PruneDecision, Reach};
use crate::error::Error;
use crate::store::At;
use crate::store::edit::Decision;

impl Builders<'_> {
    /// Decides which images may go within the caller's reach, and why the others stay. The copies that may are retired:
    /// given to nobody any more, and named again by each prune until they are confirmed to have gone. Durable when it
    /// returns.
    ///
    /// [`Error::NotFound`] for an unknown builder.
    pub async fn prune(
        &self,
        namespace: &Namespace,
        request: &PruneBuilder,
    ) -> Result<At<Pruned>, Error> {
        let look = LookAt::all(namespace, &request.key);
        self.store
            .edit_always(&look.turns(), &look, |seen| decide_prune(request, seen))
            .await
    }
}

fn decide_prune(request: &PruneBuilder, seen: &Standing) -> Result<Decision<Pruned>, Error> {
    let (own, _) = seen.own()?;
    let now = seen.now();
    let pins: Vec<_> = seen.live_pins().map(|pinned| pinned.pin.clone()).collect();
    let prune = Prune {
        keep_last: request.keep_last.unwrap_or(own.policy.keep_last),
        older_than: request.older_than,
        reach: &request.reach,
        pins: &pins,
        in_use: &request.in_use,
    };
    let decided = prune.decide(now, &seen.generations);
    let mut after = seen.generations.clone();
    for decision in decided.iter().filter(|decision| decision.is_removal()) {
        let copies = decision.copies.iter().copied().cloned().collect();
        after.retire(decision.generation.sequence, &Reach::Only(copies), now);
    }
    let mut batch = seen.batch();
    let changed = seen.put_generations(&mut batch, &after)?;
    if changed {
        // What is retired was not pinned meanwhile, and what stays for being the newest is still there.
        seen.guard_pins(&mut batch);
        seen.guard_standing(&mut batch);
    }
    let judged = decided.iter().map(|decision| judged(decision, &after));
    let value = Pruned {
        judged: judged.collect(),
        changed,
    };
    if request.validate_only {
        return Ok(Decision::nothing(seen.moment.wall, value));
    }
    Ok(Decision { batch, value })
}

/// A decision with the copies that it is about, as they are afterwards.
fn judged(decision: &PruneDecision<'_>, after: &Generations) -> Judged {
    let generation = after
        .get(decision.generation.sequence)
        .unwrap_or(decision.generation);
    let copies = generation.copies.iter();
    let copies = copies.filter(|(location, _)| decision.copies.contains(location));
    Judged {
        generation: Generation {
            copies: copies.map(|(place, copy)| (place.clone(), *copy)).collect(),
            ..generation.clone()
        },
        verdict: decision.verdict.clone(),
    }
}
