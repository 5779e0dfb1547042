//! Handing out targets, each to one worker.

use super::load::{All, Claims, Everything};
use super::rows::{SeenTarget, refused, subject};
use super::{
    BuildTargets, ClaimTarget, ClaimedTarget, Counted, DependencyLabel, IdleTargets, NextTarget,
    RunningTarget, TargetEntry,
};
use crate::domain::Namespace;
use crate::domain::build::{
    Claim, Claimable, Event, Graph, Ready, State, Target, TargetKey, TargetStanding, Transition,
    Work,
};
use crate::error::Error;
use crate::kv::{Batch, Guard, Revision};
use crate::store::answered::Answered;
use crate::store::claims::SeenClaim;
use crate::store::edit::Decision;
use crate::store::wire::{self, TargetRow};
use crate::store::{At, schema};

impl BuildTargets<'_> {
    /// Claims the target that can be worked on and that the longest chain of others waits for; or says what there is to
    /// wait for. Durable when it returns a claim. No two hold the same.
    pub async fn claim_next(
        &self,
        namespace: &Namespace,
        request: &ClaimTarget,
    ) -> Result<At<NextTarget>, Error> {
        let look = Everything {
            store: self.store,
            namespace,
            claims: Claims::All,
        };
        // All want the same target: so one after the other looks for it.
        let turns = [schema::build_graph_key(namespace)];
        let decide = |seen: &All| {
            let choosing = Choosing {
                namespace,
                request,
                seen,
            };
            let graph = choosing.graph()?;
            let selects = |target: &Target, state| {
                request.is_own(target.key()) && request.selector.selects(target, state)
            };
            let claimable = graph.claimable(request.works, selects);
            let claimable = claimable.leaving(|target| !request.is_own(target));
            let mut batch = seen.batch();
            let value = match claimable.ready.first() {
                Some(ready) => choosing.claim(&mut batch, &graph, ready)?,
                None => choosing.idle(claimable),
            };
            let value = Answered::new(namespace, value);
            Ok(Decision { batch, value })
        };
        let once = request.request.as_ref();
        let answer = self.store.edit(&turns, &look, once, decide).await?;
        Ok(answer.map(Answered::into_value))
    }
}

impl ClaimTarget {
    fn is_own(&self, target: &TargetKey) -> bool {
        self.own.is_empty() || self.own.contains(target)
    }
}

struct Choosing<'a> {
    namespace: &'a Namespace,
    request: &'a ClaimTarget,
    seen: &'a All,
}

impl Choosing<'_> {
    /// The targets as they stand for the worker who asks.
    fn graph(&self) -> Result<Graph, Error> {
        let (loaded, now) = (&self.seen.loaded, self.seen.moment.steady);
        let mut is_held = vec![false; loaded.targets.len()];
        for (key, seen) in &self.seen.claims {
            if let Some(place) = loaded.place(key) {
                is_held[place] = seen.claim.is_live(now);
            }
        }
        Ok(loaded.graph()?.standing(|place| {
            let progress = &loaded.targets[place].row.progress;
            TargetStanding {
                state: progress.state,
                is_here: progress.locations.contains(&self.request.location),
                is_held: is_held[place],
                is_put_off: progress.not_before.is_some_and(|at| now < at),
            }
        }))
    }

    fn claim(&self, batch: &mut Batch, graph: &Graph, ready: &Ready) -> Result<NextTarget, Error> {
        let (namespace, loaded) = (self.namespace, &self.seen.loaded);
        let key = &ready.target;
        let target = loaded.get(key).ok_or_else(|| gone(namespace, key))?;
        let request = self.request;
        let last = self.seen.claim(namespace, key);
        let claim = last.grant(batch, self.seen.seen_at, &request.holder, request.ttl);
        let claim = claim.map_err(|cause| refused(namespace, key, cause))?;
        let mut dependencies = Vec::new();
        for below in graph.needs(key) {
            let below = loaded.get(below).ok_or_else(|| gone(namespace, below))?;
            self.guard_below(batch, below);
            dependencies.push(DependencyLabel::of(below));
        }
        batch.guard(Guard::Unchanged(target.key(namespace), target.revision));
        loaded.guard(batch, namespace);
        let entry = match ready.work {
            Work::Build => self.begun(batch, target, claim)?,
            Work::Verify | Work::Publish => target.entry(namespace, Some(claim)),
        };
        Ok(NextTarget::Claimed(Box::new(ClaimedTarget {
            entry,
            dependencies,
            work: ready.work,
        })))
    }

    /// Has a batch hold only while what a target is built on is as it was seen, and while nobody comes to be at it, where
    /// that matters.
    fn guard_below(&self, batch: &mut Batch, target: &SeenTarget) {
        let row = target.key(self.namespace);
        batch.guard(Guard::Unchanged(row, target.revision));
        if target.row.progress.state != State::Published {
            let claim = self.seen.claim(self.namespace, target.target());
            claim.guard(batch);
        }
    }

    /// A target that is to be built: one that was left half-way elsewhere is lost.
    fn begun(
        &self,
        batch: &mut Batch,
        target: &SeenTarget,
        claim: Claim,
    ) -> Result<TargetEntry, Error> {
        let namespace = self.namespace;
        if target.row.progress.state == State::ToBuild {
            return Ok(target.entry(namespace, Some(claim)));
        }
        let lost = target.row.progress.after(&Event::Lost);
        let lost = lost.map_err(|illegal| Error::IllegalTransition {
            subject: subject(namespace, target.target()),
            illegal,
        })?;
        let Transition::To(progress) = lost else {
            return Ok(target.entry(namespace, Some(claim)));
        };
        let row = TargetRow {
            progress: *progress,
            updated_at: self.seen.moment.steady,
            ..(*target.row).clone()
        };
        batch.put(
            target.key(namespace),
            wire::encode_target(&row, &target.row)?,
        );
        Ok(TargetEntry::of(namespace, row, Some(claim), Revision::ZERO))
    }

    fn idle(&self, claimable: Claimable) -> NextTarget {
        let now = self.seen.moment.steady;
        let running = claimable.running.into_iter().filter_map(|target| {
            let claim = SeenClaim::live(self.seen.claims.get(&target), now)?;
            Some(RunningTarget {
                holder: claim.holder.clone(),
                deadline: claim.deadline,
                target,
            })
        });
        let running: Vec<RunningTarget> = running.collect();
        let waiting = claimable.waiting.iter();
        let times = waiting.filter_map(|waiting| {
            let target = self.seen.loaded.get(&waiting.target)?;
            target.row.progress.not_before.filter(|at| now < *at)
        });
        let retry_at = times.chain(running.iter().map(|one| one.deadline)).min();
        NextTarget::Idle(Box::new(IdleTargets {
            running: Counted::of(running),
            waiting: Counted::of(claimable.waiting),
            blocked: Counted::of(claimable.blocked),
            retry_at,
            now,
        }))
    }
}

/// What is of the graph is there.
fn gone(namespace: &Namespace, key: &TargetKey) -> Error {
    Error::corrupt(format!(
        "{} is in the graph and not there",
        subject(namespace, key)
    ))
}

impl DependencyLabel {
    fn of(seen: &SeenTarget) -> Self {
        let progress = &seen.row.progress;
        Self {
            target: seen.target().clone(),
            label: seen.row.target.label().clone(),
            digest: progress.published.or(progress.digest),
        }
    }
}
