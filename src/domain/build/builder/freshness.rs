//! Freshness: whether a builder's image is used as it is, or made again, and by whom.

use super::super::Claim;
use super::{Failures, Generation, Generations, Policy, Reach};
use crate::domain::{Digest, Timestamp};

/// All that the decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub policy: &'a Policy,
    pub generations: &'a Generations,
    /// What the base is now, where that is known.
    pub base_digest: Option<&'a Digest>,
    /// The last claim, live or not.
    pub claim: Option<&'a Claim>,
    pub failures: Option<&'a Failures>,
    /// Of the caller.
    pub reach: &'a Reach,
    /// The caller wants a new image, whatever the one that is there.
    pub is_forced: bool,
}

/// What a caller who needs an image does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Use this one.
    Use {
        generation: &'a Generation,
        /// A new one is due, and somebody is at it, or will be when builds do not fail any more.
        is_stale: bool,
        /// Seen as recently as the policy asks. Otherwise look first, and report what was found.
        is_confirmed: bool,
        /// When it will be stale by its age; none for never, and where it is stale.
        fresh_until: Option<Timestamp>,
        /// When it is used no more; none for never.
        usable_until: Option<Timestamp>,
    },
    /// Build a new one, under a claim.
    Build {
        reason: Reason,
        previous: Option<&'a Generation>,
    },
    /// There is none to use and none to build now. At the caller's own risk, `previous` may do meanwhile.
    Busy {
        hold: Hold<'a>,
        previous: Option<&'a Generation>,
    },
}

/// Why a new image is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    NeverBuilt,
    /// It is as old as it may get.
    Expired,
    /// The newest one is certainly not there any more.
    Gone,
    /// It was made from another base.
    BaseChanged,
    Forced,
    /// It is old enough for a new one to be made while it is used.
    RefreshDue,
    /// Where it is could not be asked for longer than the policy puts up with.
    Unconfirmed,
    /// It is only where the caller cannot get it.
    OutOfReach,
}

/// Why nobody else builds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold<'a> {
    Claimed(&'a Claim),
    BackingOff {
        failures: &'a Failures,
        until: Timestamp,
    },
}

/// How good the newest image within reach is.
enum Condition<'a> {
    Fresh(&'a Generation),
    /// Good enough for all but the one who makes a new one.
    Stale(Reason, &'a Generation),
    Unusable(Reason, Option<&'a Generation>),
}

/// Whether to use a builder's image or to build a new one.
///
/// One caller builds, however many ask: `Build` comes only where no claim is live and, unless it is forced, after the
/// back-off. The others go on with a stale image until it is expired. Ages never go below nothing, so a clock that was
/// set back keeps images fresh and expires none.
pub fn decide<'a>(now: Timestamp, standing: &Standing<'a>) -> Decision<'a> {
    match (standing.condition(now), standing.hold(now)) {
        (Condition::Fresh(generation), _) => standing.using(now, generation, false),
        (Condition::Stale(_, generation), Some(_)) => standing.using(now, generation, true),
        (Condition::Stale(reason, generation), None) => Decision::Build {
            reason,
            previous: Some(generation),
        },
        (Condition::Unusable(reason, previous), None) => Decision::Build { reason, previous },
        (Condition::Unusable(_, previous), Some(hold)) => Decision::Busy { hold, previous },
    }
}

// === impl Standing ===

impl<'a> Standing<'a> {
    fn condition(&self, now: Timestamp) -> Condition<'a> {
        let newest = self.generations.newest(self.reach);
        if self.is_forced {
            return Condition::Unusable(Reason::Forced, newest);
        }
        let Some(newest) = newest else {
            let reason = if self.generations.last().0 == 0 {
                Reason::NeverBuilt
            } else if self.generations.has_lost_newest() {
                Reason::Gone
            } else {
                Reason::OutOfReach
            };
            return Condition::Unusable(reason, None);
        };
        let age = now.since(newest.built_at);
        let is_expired = self.policy.ages.is_expired(age);
        let reasons = [
            (self.generations.has_lost_newest(), Reason::Gone),
            (is_expired, Reason::Expired),
            (self.has_other_base(newest), Reason::BaseChanged),
            (self.policy.ages.is_due(age), Reason::RefreshDue),
            (self.is_in_doubt(now, newest), Reason::Unconfirmed),
        ];
        match reasons.into_iter().find(|(applies, _)| *applies) {
            Some((_, reason)) if is_expired => Condition::Unusable(reason, Some(newest)),
            Some((_, reason)) => Condition::Stale(reason, newest),
            None => Condition::Fresh(newest),
        }
    }

    fn hold(&self, now: Timestamp) -> Option<Hold<'a>> {
        if let Some(claim) = self.claim.filter(|claim| claim.is_live(now)) {
            return Some(Hold::Claimed(claim));
        }
        let failures = self.failures.filter(|_| !self.is_forced)?;
        let until = failures.retry_at(now)?;
        Some(Hold::BackingOff { failures, until })
    }

    fn using(&self, now: Timestamp, generation: &'a Generation, is_stale: bool) -> Decision<'a> {
        let ages = self.policy.ages;
        let stale_after = ages.max_age().into_iter().chain(ages.refresh_after()).min();
        Decision::Use {
            generation,
            is_stale,
            is_confirmed: self.is_confirmed(now, generation),
            fresh_until: stale_after
                .filter(|_| !is_stale)
                .map(|age| generation.built_at.plus(age)),
            usable_until: ages.max_age().map(|age| generation.built_at.plus(age)),
        }
    }

    /// Whether both bases are known, and differ.
    fn has_other_base(&self, generation: &Generation) -> bool {
        let bases = self.base_digest.zip(generation.base_digest.as_ref());
        self.policy.tracks_base && bases.is_some_and(|(now, then)| now != then)
    }

    fn is_confirmed(&self, now: Timestamp, generation: &Generation) -> bool {
        self.policy.probe.grace().is_none_or(|grace| {
            let mut copies = generation.copies_within(self.reach);
            copies.any(|(_, sighting)| now.since(sighting.seen_at) < grace)
        })
    }

    /// Whether it is not confirmed, and wherever it may be could not be asked.
    fn is_in_doubt(&self, now: Timestamp, generation: &Generation) -> bool {
        let mut copies = generation.copies_within(self.reach);
        !self.is_confirmed(now, generation)
            && copies.all(|(_, sighting)| sighting.unknown_at.is_some())
    }
}
