//! Putting a builder, and noting where its images are.

use super::answer::About;
use super::rows::{LookAt, Standing};
use super::{BuilderPut, Builders, ConfirmRemoved, Confirmed, PutBuilder, ReportBuilder, Reported};
use crate::domain::{Digest, Invalid, Namespace};
use crate::error::Error;
use crate::kv::{Batch, Revision};
use crate::store::At;
use crate::store::answered::Answered;
use crate::store::claims::next_token;
use crate::store::edit::Decision;
use crate::store::wire::{self, BuilderRow};

impl Builders<'_> {
    /// Creates a builder, or changes its policy; what it has stays. The first write creates the namespace. Durable when
    /// it returns; nothing is written where all is so already.
    ///
    /// What the precondition says.
    pub async fn put(
        &self,
        namespace: &Namespace,
        request: &PutBuilder,
    ) -> Result<At<BuilderPut>, Error> {
        let look = LookAt::own(namespace, &request.key);
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let put = self
            .store
            .edit(&look.turns(), &look, once, |seen| decide_put(request, seen))
            .await?;
        Ok(put.map(Answered::into_value))
    }

    /// Notes where images were found, or not, and what the base is now. Only what is certainly absent is dropped, with
    /// its pins. Durable when it returns.
    ///
    /// [`Error::NotFound`] for an unknown builder; [`Error::Invalid`] for more than [`Self::MAX_OBSERVATIONS`], and for
    /// more copies of a generation than its record can have; [`Error::BuilderFull`] for more than the builder can have.
    pub async fn report(
        &self,
        namespace: &Namespace,
        request: &ReportBuilder,
    ) -> Result<At<Reported>, Error> {
        let (many, most) = (request.observations.len(), Self::MAX_OBSERVATIONS);
        if many > most {
            let reason = format!("has {many} entries, more than {most}");
            return Err(Invalid::new("observations", reason).into());
        }
        let look = LookAt::all(namespace, &request.key);
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let reported = self
            .store
            .edit(&look.turns(), &look, once, |seen| {
                decide_report(request, seen)
            })
            .await?;
        Ok(reported.map(About::told))
    }

    /// Notes what became of the attempt to remove a copy: one that is gone is dropped, as for [`Self::report`]; one in
    /// use may be given out again; one that could not be removed is named by the next prune. Durable when it returns.
    ///
    /// [`Error::NotFound`] for an unknown builder.
    pub async fn confirm_removed(
        &self,
        namespace: &Namespace,
        request: &ConfirmRemoved,
    ) -> Result<At<Confirmed>, Error> {
        let look = LookAt::all(namespace, &request.key);
        self.store
            .edit_always(&look.turns(), &look, |seen| decide_confirm(request, seen))
            .await
    }
}

fn decide_put(
    request: &PutBuilder,
    seen: &Standing,
) -> Result<Decision<Answered<BuilderPut>>, Error> {
    let old = seen.own.as_ref();
    let expected = old.map(|(_, revision)| (*revision, None));
    request
        .when
        .check(|| seen.subject(), expected, &seen.known)?;
    let mut row = old.map(|(row, _)| row.clone()).unwrap_or_default();
    row.policy = request.policy;
    // What is stored is less exact than what may be asked for.
    let stored = wire::decode_builder(&seen.key, wire::encode_builder(&row)?)?;
    let changed = old.is_none_or(|(old, _)| *old != stored);
    let revision = old.filter(|_| !changed).map(|(_, revision)| *revision);
    let put = BuilderPut {
        entry: seen.entry(&stored, revision.unwrap_or(Revision::ZERO)),
        changed,
        created: old.is_none(),
    };
    let value = Answered::new(&seen.namespace, put);
    if request.validate_only {
        return Ok(Decision::nothing(seen.moment.wall, value));
    }
    let mut batch = seen.batch();
    if changed {
        seen.need_namespace(&mut batch)?;
        seen.put_own(&mut batch, &stored)?;
    } else {
        seen.guard_own(&mut batch);
    }
    Ok(Decision { batch, value })
}

fn decide_report(
    request: &ReportBuilder,
    seen: &Standing,
) -> Result<Decision<Answered<About<Reported>>>, Error> {
    let (own, _) = seen.own()?;
    let mut after = seen.generations.clone();
    let now = seen.now();
    let effects = request.observations.iter().map(|observation| {
        let presence = observation.presence;
        after.observe(observation.generation, &observation.location, presence, now)
    });
    let effects = effects.collect();
    let mut batch = seen.batch();
    let mut changed = seen.put_generations(&mut batch, &after)?;
    changed |= tell_base(&mut batch, seen, own, request.base_digest)?;
    let value = About::answered(seen, Reported { effects, changed });
    if request.validate_only {
        return Ok(Decision::nothing(seen.moment.wall, value));
    }
    Ok(Decision { batch, value })
}

/// Has a batch note what the base is now, where that is new.
pub fn tell_base(
    batch: &mut Batch,
    seen: &Standing,
    own: &BuilderRow,
    told: Option<Digest>,
) -> Result<bool, Error> {
    if told.is_none() || told == own.base_digest {
        return Ok(false);
    }
    let row = BuilderRow {
        base_digest: told,
        base_told: next_token(seen.seen_at),
        ..own.clone()
    };
    seen.put_own(batch, &row)?;
    Ok(true)
}

fn decide_confirm(request: &ConfirmRemoved, seen: &Standing) -> Result<Decision<Confirmed>, Error> {
    seen.own()?;
    let mut after = seen.generations.clone();
    let effect = after.confirm(
        request.generation,
        &request.location,
        request.removal,
        seen.now(),
    );
    let mut batch = seen.batch();
    let changed = seen.put_generations(&mut batch, &after)?;
    let value = Confirmed { effect, changed };
    if request.validate_only {
        return Ok(Decision::nothing(seen.moment.wall, value));
    }
    Ok(Decision { batch, value })
}
