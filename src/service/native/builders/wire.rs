//! Messages of `Builders` from the domain's types.

use crate::domain::build::{
    BuilderKey, Effect, Generation, Keep, Location, Policy, Probe, Reason, Sighting, Verdict,
};
use crate::proto::v1 as pb;
use crate::service::native::claims::{claim_message, digest_message, duration_message};
use crate::service::native::configs::wire::platform_message;
use crate::service::native::wire::{descriptor_message, etag_message};
use crate::service::time_message;
use crate::store::{Acquired, Acquisition, BuilderEntry, Judged, Pinned, StoredBuilder};

fn key_message(key: &BuilderKey) -> pb::BuilderKey {
    pb::BuilderKey {
        base: key.base().as_str().to_owned(),
        platform: Some(platform_message(key.platform())),
        recipe: key.recipe().as_str().to_owned(),
    }
}

/// A builder without its generations and pins.
pub fn entry_message(entry: BuilderEntry) -> pb::Builder {
    let failures = entry.failures;
    pb::Builder {
        namespace: entry.namespace.as_str().to_owned(),
        key: Some(key_message(&entry.key)),
        policy: Some(policy_message(&entry.policy)),
        base_digest: digest_message(entry.base_digest.as_ref()),
        failures: failures.as_ref().map_or(0, |failures| failures.count),
        last_error: failures
            .map(|failures| failures.last_error)
            .unwrap_or_default(),
        retry_at: entry.retry_at.map(time_message),
        claim: entry.claim.as_ref().map(claim_message),
        revision: entry.revision.0,
        etag: etag_message(entry.revision),
        ..pb::Builder::default()
    }
}

/// A builder, all of it.
pub fn builder_message(stored: StoredBuilder) -> pb::Builder {
    let generations = stored.generations.into_iter().rev();
    pb::Builder {
        generations: generations.map(generation_message).collect(),
        pins: stored.pins.into_iter().map(pin_message).collect(),
        ..entry_message(stored.entry)
    }
}

fn policy_message(policy: &Policy) -> pb::BuilderPolicy {
    pb::BuilderPolicy {
        max_age: policy.ages.max_age().map(duration_message),
        refresh_after: policy.ages.refresh_after().map(duration_message),
        keep_last: policy.keep_last.get(),
        track_base_digest: policy.tracks_base,
        probe_after: match policy.probe {
            Probe::Never => None,
            Probe::Always => Some(prost_types::Duration::default()),
            Probe::IfOlderThan(time) => Some(duration_message(time)),
        },
    }
}

pub fn generation_message(generation: Generation) -> pb::BuilderGeneration {
    pb::BuilderGeneration {
        sequence: generation.sequence.0,
        image: Some(descriptor_message(&generation.image)),
        base_digest: digest_message(generation.base_digest.as_ref()),
        built_at: Some(time_message(generation.built_at)),
        copies: generation.copies.iter().map(copy_message).collect(),
    }
}

fn copy_message((location, copy): (&Location, &Sighting)) -> pb::BuilderCopy {
    pb::BuilderCopy {
        location: location.as_str().to_owned(),
        seen_at: Some(time_message(copy.seen_at)),
        unknown_at: copy.unknown_at.map(time_message),
        retired_at: copy.retired_at.map(time_message),
    }
}

pub fn pin_message(pinned: Pinned) -> pb::BuilderPin {
    pb::BuilderPin {
        id: pinned.id.to_string(),
        generation: pinned.pin.generation.0,
        holder: pinned.pin.holder.as_str().to_owned(),
        deadline: Some(time_message(pinned.pin.deadline)),
    }
}

pub fn acquired_message(acquired: Acquired, revision: u64) -> pb::AcquireBuilderResponse {
    use pb::acquire_builder_response::Decision;
    let decision = match acquired.decision {
        Acquisition::Use {
            generation,
            pin,
            is_stale,
            is_confirmed,
            fresh_until,
            usable_until,
        } => Decision::Use(pb::UseBuilder {
            generation: Some(generation_message(generation)),
            pin: pin.map(pin_message),
            is_stale,
            is_confirmed,
            fresh_until: fresh_until.map(time_message),
            usable_until: usable_until.map(time_message),
        }),
        Acquisition::Build {
            claim,
            reason,
            previous,
        } => Decision::Build(pb::BuildBuilder {
            claim: claim.as_ref().map(claim_message),
            reason: reason_message(reason).into(),
            previous: previous.map(generation_message),
        }),
        Acquisition::Busy {
            holder,
            until,
            last_error,
            previous,
            pin,
        } => Decision::Busy(pb::BusyBuilder {
            holder: holder
                .map(|holder| holder.as_str().to_owned())
                .unwrap_or_default(),
            until: Some(time_message(until)),
            last_error,
            previous: previous.map(generation_message),
            pin: pin.map(pin_message),
        }),
    };
    pb::AcquireBuilderResponse {
        decision: Some(decision),
        revision,
        now: Some(time_message(acquired.now)),
    }
}

fn reason_message(reason: Reason) -> pb::BuildReason {
    match reason {
        Reason::NeverBuilt => pb::BuildReason::NeverBuilt,
        Reason::Expired => pb::BuildReason::Expired,
        Reason::Gone => pb::BuildReason::Gone,
        Reason::BaseChanged => pb::BuildReason::BaseChanged,
        Reason::Forced => pb::BuildReason::Forced,
        Reason::RefreshDue => pb::BuildReason::RefreshDue,
        Reason::Unconfirmed => pb::BuildReason::Unconfirmed,
        Reason::OutOfReach => pb::BuildReason::OutOfReach,
    }
}

pub fn effect_message(effect: Effect) -> i32 {
    let effect = match effect {
        Effect::NotFound => pb::ObservationEffect::NotFound,
        Effect::Kept => pb::ObservationEffect::Kept,
        Effect::CopyGone => pb::ObservationEffect::CopyGone,
        Effect::Dropped => pb::ObservationEffect::Dropped,
    };
    effect.into()
}

pub fn judged_message(judged: Judged) -> pb::PruneDecision {
    let (verdict, pin) = match judged.verdict {
        Verdict::Remove => (pb::PruneVerdict::Remove, None),
        Verdict::Keep(Keep::Newest) => (pb::PruneVerdict::Newest, None),
        Verdict::Keep(Keep::Pinned { holder, until }) => {
            (pb::PruneVerdict::Pinned, Some((holder, until)))
        }
        Verdict::Keep(Keep::KeepLast) => (pb::PruneVerdict::KeepLast, None),
        Verdict::Keep(Keep::InUse) => (pb::PruneVerdict::InUse, None),
        Verdict::Keep(Keep::TooYoung) => (pb::PruneVerdict::TooYoung, None),
    };
    let (holder, until) = pin.unzip();
    pb::PruneDecision {
        generation: Some(generation_message(judged.generation)),
        verdict: verdict.into(),
        holder: holder
            .map(|holder| holder.as_str().to_owned())
            .unwrap_or_default(),
        until: until.map(time_message),
    }
}
