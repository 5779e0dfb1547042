//! Answers about builders, as they are stored.

use super::build::{read_claim, read_pin, stored_claim, stored_pin};
use super::builders::{
    BuilderRow, read_builder, read_generation, read_maybe, stored_builder, stored_generation,
};
use super::{missing, read_instant, schema, stored_instant};
use crate::domain::build::{BuilderKey, Effect, Generation, PinId, Reason, Sequence, Token};
use crate::domain::{Invalid, Namespace, Timestamp};
use crate::kv::Revision;
use crate::proto::storage as pb;
use crate::store::builders::{
    Acquired, Acquisition, BuilderEntry, Completed, Pinned, StoredBuilder,
};

/// What the answer to a request was about one builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderOutcome {
    pub builder: BuilderKey,
    pub answer: BuilderAnswer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuilderAnswer {
    State(Box<StoredBuilder>),
    Acquired(Acquired),
    Completed(Completed),
    /// When somebody may build again.
    Abandoned(Option<Timestamp>),
    Reported(Vec<Effect>),
}

pub(super) fn stored_builder_outcome(
    namespace: String,
    outcome: &BuilderOutcome,
) -> pb::BuilderOutcome {
    use pb::builder_outcome::Answer;
    let answer = match &outcome.answer {
        BuilderAnswer::State(state) => Answer::State(stored_state(state)),
        BuilderAnswer::Acquired(acquired) => Answer::Acquired(stored_acquired(acquired)),
        BuilderAnswer::Completed(completed) => Answer::Completed(pb::CompletedOutcome {
            generation: Some(numbered(&completed.generation)),
            pin: completed.pin.as_ref().map(stored_pinned),
        }),
        BuilderAnswer::Abandoned(retry_at) => Answer::Abandoned(pb::AbandonedOutcome {
            retry_at: retry_at.map(stored_instant),
        }),
        BuilderAnswer::Reported(effects) => Answer::Reported(pb::ReportedOutcome {
            effects: effects
                .iter()
                .map(|effect| stored_effect(*effect).into())
                .collect(),
        }),
    };
    pb::BuilderOutcome {
        namespace,
        builder: schema::builder_row(&outcome.builder),
        answer: Some(answer),
    }
}

pub(super) fn read_builder_outcome(
    stored: pb::BuilderOutcome,
    revision: Revision,
) -> Result<BuilderOutcome, Invalid> {
    use pb::builder_outcome::Answer;
    let builder = schema::parse_builder(&stored.builder).map_err(|_| missing("builder"))?;
    let answer = match stored.answer.ok_or_else(|| missing("answer"))? {
        Answer::State(state) => {
            let namespace = stored.namespace.parse()?;
            let entry = (namespace, builder.clone(), revision);
            BuilderAnswer::State(Box::new(read_state(entry, state)?))
        }
        Answer::Acquired(acquired) => BuilderAnswer::Acquired(read_acquired(acquired)?),
        Answer::Completed(completed) => BuilderAnswer::Completed(Completed {
            generation: read_numbered(completed.generation)?,
            pin: completed.pin.map(read_pinned).transpose()?,
        }),
        Answer::Abandoned(abandoned) => BuilderAnswer::Abandoned(read_maybe(abandoned.retry_at)?),
        Answer::Reported(reported) => {
            let effects = reported.effects().map(read_effect);
            BuilderAnswer::Reported(effects.collect::<Result<_, _>>()?)
        }
    };
    Ok(BuilderOutcome { builder, answer })
}

fn stored_state(state: &StoredBuilder) -> pb::BuilderState {
    let entry = &state.entry;
    let row = BuilderRow {
        policy: entry.policy,
        base_told: Token::default(),
        base_digest: entry.base_digest,
        last: entry.last,
        failures: entry.failures.clone(),
    };
    pb::BuilderState {
        builder: Some(stored_builder(&row)),
        claim: entry.claim.as_ref().map(stored_claim),
        retry_at: entry.retry_at.map(stored_instant),
        generations: state.generations.iter().map(numbered).collect(),
        pins: state.pins.iter().map(stored_pinned).collect(),
    }
}

fn read_state(
    (namespace, key, revision): (Namespace, BuilderKey, Revision),
    state: pb::BuilderState,
) -> Result<StoredBuilder, Invalid> {
    let row = read_builder(state.builder.ok_or_else(|| missing("builder"))?)?;
    let generations = state.generations.into_iter().map(Some);
    Ok(StoredBuilder {
        entry: BuilderEntry {
            namespace,
            key,
            policy: row.policy,
            base_digest: row.base_digest,
            last: row.last,
            failures: row.failures,
            retry_at: read_maybe(state.retry_at)?,
            claim: state.claim.map(read_claim).transpose()?,
            revision,
        },
        generations: generations.map(read_numbered).collect::<Result<_, _>>()?,
        pins: state
            .pins
            .into_iter()
            .map(read_pinned)
            .collect::<Result<_, _>>()?,
    })
}

fn stored_acquired(acquired: &Acquired) -> pb::AcquiredOutcome {
    use pb::acquired_outcome::Decision;
    let decision = match &acquired.decision {
        Acquisition::Use {
            generation,
            pin,
            is_stale,
            is_confirmed,
            fresh_until,
            usable_until,
        } => Decision::Used(pb::UsedOutcome {
            generation: Some(numbered(generation)),
            pin: pin.as_ref().map(stored_pinned),
            is_stale: *is_stale,
            is_confirmed: *is_confirmed,
            fresh_until: fresh_until.map(stored_instant),
            usable_until: usable_until.map(stored_instant),
        }),
        Acquisition::Build {
            claim,
            reason,
            previous,
        } => Decision::Building(pb::BuildingOutcome {
            claim: claim.as_ref().map(stored_claim),
            reason: stored_reason(*reason).into(),
            previous: previous.as_ref().map(numbered),
        }),
        Acquisition::Busy {
            holder,
            until,
            last_error,
            previous,
            pin,
        } => Decision::Waiting(pb::WaitingOutcome {
            holder: holder
                .as_ref()
                .map(|holder| holder.as_str().to_owned())
                .unwrap_or_default(),
            until: Some(stored_instant(*until)),
            last_error: last_error.clone(),
            previous: previous.as_ref().map(numbered),
            pin: pin.as_ref().map(stored_pinned),
        }),
    };
    pb::AcquiredOutcome {
        decision: Some(decision),
        now: Some(stored_instant(acquired.now)),
    }
}

fn read_acquired(stored: pb::AcquiredOutcome) -> Result<Acquired, Invalid> {
    use pb::acquired_outcome::Decision;
    let maybe = |numbered: Option<pb::NumberedGeneration>| {
        numbered
            .map(|numbered| read_numbered(Some(numbered)))
            .transpose()
    };
    let decision = match stored.decision.ok_or_else(|| missing("decision"))? {
        Decision::Used(used) => Acquisition::Use {
            generation: read_numbered(used.generation)?,
            pin: used.pin.map(read_pinned).transpose()?,
            is_stale: used.is_stale,
            is_confirmed: used.is_confirmed,
            fresh_until: read_maybe(used.fresh_until)?,
            usable_until: read_maybe(used.usable_until)?,
        },
        Decision::Building(building) => Acquisition::Build {
            reason: read_reason(building.reason())?,
            claim: building.claim.map(read_claim).transpose()?,
            previous: maybe(building.previous)?,
        },
        Decision::Waiting(waiting) => Acquisition::Busy {
            holder: match waiting.holder.as_str() {
                "" => None,
                holder => Some(holder.parse()?),
            },
            until: read_instant(waiting.until)?,
            last_error: waiting.last_error,
            previous: maybe(waiting.previous)?,
            pin: waiting.pin.map(read_pinned).transpose()?,
        },
    };
    Ok(Acquired {
        decision,
        now: read_instant(stored.now)?,
    })
}

fn numbered(generation: &Generation) -> pb::NumberedGeneration {
    pb::NumberedGeneration {
        sequence: generation.sequence.0,
        generation: Some(stored_generation(generation)),
    }
}

fn read_numbered(stored: Option<pb::NumberedGeneration>) -> Result<Generation, Invalid> {
    let stored = stored.ok_or_else(|| missing("generation"))?;
    let generation = stored.generation.ok_or_else(|| missing("generation"))?;
    read_generation(Sequence(stored.sequence), generation)
}

fn stored_pinned(pinned: &Pinned) -> pb::NumberedPin {
    pb::NumberedPin {
        id: pinned.id.0,
        pin: Some(stored_pin(&pinned.pin)),
    }
}

fn read_pinned(stored: pb::NumberedPin) -> Result<Pinned, Invalid> {
    Ok(Pinned {
        id: PinId(stored.id),
        pin: read_pin(stored.pin.ok_or_else(|| missing("pin"))?)?,
    })
}

fn stored_reason(reason: Reason) -> pb::BuilderReason {
    match reason {
        Reason::NeverBuilt => pb::BuilderReason::NeverBuilt,
        Reason::Expired => pb::BuilderReason::Expired,
        Reason::Gone => pb::BuilderReason::Gone,
        Reason::BaseChanged => pb::BuilderReason::BaseChanged,
        Reason::Forced => pb::BuilderReason::Forced,
        Reason::RefreshDue => pb::BuilderReason::RefreshDue,
        Reason::Unconfirmed => pb::BuilderReason::Unconfirmed,
        Reason::OutOfReach => pb::BuilderReason::OutOfReach,
    }
}

fn read_reason(stored: pb::BuilderReason) -> Result<Reason, Invalid> {
    match stored {
        pb::BuilderReason::Unspecified => Err(missing("reason")),
        pb::BuilderReason::NeverBuilt => Ok(Reason::NeverBuilt),
        pb::BuilderReason::Expired => Ok(Reason::Expired),
        pb::BuilderReason::Gone => Ok(Reason::Gone),
        pb::BuilderReason::BaseChanged => Ok(Reason::BaseChanged),
        pb::BuilderReason::Forced => Ok(Reason::Forced),
        pb::BuilderReason::RefreshDue => Ok(Reason::RefreshDue),
        pb::BuilderReason::Unconfirmed => Ok(Reason::Unconfirmed),
        pb::BuilderReason::OutOfReach => Ok(Reason::OutOfReach),
    }
}

fn stored_effect(effect: Effect) -> pb::ReportEffect {
    match effect {
        Effect::NotFound => pb::ReportEffect::NotFound,
        Effect::Kept => pb::ReportEffect::Kept,
        Effect::CopyGone => pb::ReportEffect::CopyGone,
        Effect::Dropped => pb::ReportEffect::Dropped,
    }
}

fn read_effect(stored: pb::ReportEffect) -> Result<Effect, Invalid> {
    match stored {
        pb::ReportEffect::Unspecified => Err(missing("effect")),
        pb::ReportEffect::NotFound => Ok(Effect::NotFound),
        pb::ReportEffect::Kept => Ok(Effect::Kept),
        pb::ReportEffect::CopyGone => Ok(Effect::CopyGone),
        pb::ReportEffect::Dropped => Ok(Effect::Dropped),
    }
}
