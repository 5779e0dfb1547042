//! Pruning: which of a builder's images may go, and why the others stay.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::{Claim, Holder};
use super::{Generation, Generations, KeepLast, Reach, Sequence};
use crate::domain::Timestamp;

/// What is pruned.
#[derive(Clone, Copy, Debug)]
pub struct Prune<'a> {
    pub keep_last: KeepLast,
    /// Only what is at least so old goes.
    pub older_than: Option<Duration>,
    /// Where whoever removes can remove. What is elsewhere is not judged.
    pub reach: &'a Reach,
    pub pins: &'a [Pin],
    /// What is known to be in use, as by containers that were made from it.
    pub in_use: &'a BTreeSet<Sequence>,
}

/// A generation that somebody is about to use, or uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    pub generation: Sequence,
    pub claim: Claim,
}

/// What becomes of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneDecision<'a> {
    pub generation: &'a Generation,
    pub verdict: Verdict<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is none of the newest, old enough, and nobody uses it. Its record goes when its copies are confirmed to have
    /// gone.
    Remove,
    Keep(Keep<'a>),
}

/// Why a generation stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep<'a> {
    /// The newest within reach. It is never removed.
    Newest,
    Pinned {
        holder: &'a Holder,
        until: Timestamp,
    },
    /// One of the last that the policy keeps.
    KeepLast,
    InUse,
    /// Not old enough.
    TooYoung,
}

impl<'a> Prune<'a> {
    /// What becomes of each generation within reach, the newest first. Counts by the order in which they were built,
    /// whatever the clock said.
    pub fn decide(&self, now: Timestamp, generations: &'a Generations) -> Vec<PruneDecision<'a>> {
        let within = generations
            .iter()
            .rev()
            .filter(|generation| generation.is_within(self.reach));
        let decided = within.enumerate().map(|(place, generation)| PruneDecision {
            generation,
            verdict: match self.keeps(now, generation, place) {
                Some(reason) => Verdict::Keep(reason),
                None => Verdict::Remove,
            },
        });
        decided.collect()
    }

    fn keeps(&self, now: Timestamp, generation: &Generation, place: usize) -> Option<Keep<'a>> {
        if place == 0 {
            return Some(Keep::Newest);
        }
        let pins = self
            .pins
            .iter()
            .filter(|pin| pin.generation == generation.sequence);
        let live = pins
            .map(|pin| &pin.claim)
            .filter(|claim| claim.is_live(now));
        if let Some(claim) = live.max_by_key(|claim| claim.deadline) {
            return Some(Keep::Pinned {
                holder: &claim.holder,
                until: claim.deadline,
            });
        }
        if place < self.keep_last.get() {
            return Some(Keep::KeepLast);
        }
        if self.in_use.contains(&generation.sequence) {
            return Some(Keep::InUse);
        }
        let age = now.since(generation.built_at);
        self.older_than
            .is_some_and(|least| age < least)
            .then_some(Keep::TooYoung)
    }
}
