//! Pruning: which of a builder's images may go, and why the others stay.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::super::{Holder, Location, Ttl};
use super::{Generation, Generations, KeepLast, Reach, Sequence, Sighting};
use crate::domain::{Invalid, Timestamp};

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
    pub holder: Holder,
    pub ttl: Ttl,
    pub deadline: Timestamp,
}

/// Which pin of a builder: 16 digits of hexadecimal as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PinId(pub u64);

/// What becomes of a generation, or of those of its copies that were retired before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneDecision<'a> {
    pub generation: &'a Generation,
    /// Where the copies are that the verdict is about: all of them within reach.
    pub copies: Vec<&'a Location>,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is none of the newest, old enough, and nobody uses it. Its record goes when its copies are confirmed to have
    /// gone.
    Remove,
    Keep(Keep),
}

/// Why a generation stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The newest within reach. It is never removed.
    Newest,
    Pinned {
        holder: Holder,
        until: Timestamp,
    },
    /// One of the last that the policy keeps.
    KeepLast,
    InUse,
    /// Not old enough.
    TooYoung,
}

impl Pin {
    /// A new one.
    pub fn grant(generation: Sequence, holder: Holder, ttl: Ttl, now: Timestamp) -> Self {
        Self {
            generation,
            holder,
            ttl,
            deadline: now.plus(ttl.get()),
        }
    }

    /// Before its deadline, and not at it.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.deadline
    }

    /// The pin with its whole time before it again.
    #[must_use]
    pub fn renewed(&self, now: Timestamp) -> Self {
        Self {
            deadline: self.deadline.max(now.plus(self.ttl.get())),
            ..self.clone()
        }
    }
}

// === impl PruneDecision ===

impl PruneDecision<'_> {
    pub fn is_removal(&self) -> bool {
        self.verdict == Verdict::Remove
    }
}

// === impl PinId ===

impl fmt::Display for PinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for PinId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let id = u64::from_str_radix(text, 16).ok().map(Self);
        // As it is given, and in no other form.
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| Invalid::new("pin", "is none that this service gave"))
    }
}

// === impl Prune ===

impl<'a> Prune<'a> {
    /// What becomes of each generation within reach, the newest first. Counts by the order in which they were built,
    /// whatever the clock said. What was retired before is named again, until it is confirmed to have gone.
    pub fn decide(&self, now: Timestamp, generations: &'a Generations) -> Vec<PruneDecision<'a>> {
        let left = self.last_left(generations);
        let (mut decisions, mut place) = (Vec::new(), 0);
        for generation in generations.iter().rev() {
            let copies: Vec<_> = places(generation.copies_within(self.reach));
            let retired: Vec<_> = places(generation.retired_within(self.reach));
            let mut gone = retired;
            if !copies.is_empty() {
                match self.keeps(now, generation, Some(place)) {
                    Some(reason) => decisions.push(PruneDecision {
                        generation,
                        copies,
                        verdict: Verdict::Keep(reason),
                    }),
                    None => gone.extend(copies),
                }
                place += 1;
            }
            if !gone.is_empty() {
                let is_left = left == Some(generation.sequence);
                let newest = is_left.then_some(Keep::Newest);
                let reason = newest.or_else(|| self.keeps(now, generation, None));
                decisions.push(PruneDecision {
                    generation,
                    copies: gone,
                    verdict: reason.map_or(Verdict::Remove, Verdict::Keep),
                });
            }
        }
        decisions
    }

    /// Where all within reach are retired, since the newer ones have been lost, the newest of them. It stays until there
    /// is another.
    fn last_left(&self, generations: &Generations) -> Option<Sequence> {
        if generations.newest(self.reach).is_some() {
            return None;
        }
        let mut retired = generations
            .iter()
            .rev()
            .filter(|generation| generation.retired_within(self.reach).next().is_some());
        retired.next().map(|generation| generation.sequence)
    }

    /// `place` is how many newer ones there are, of what is not retired.
    fn keeps(&self, now: Timestamp, generation: &Generation, place: Option<usize>) -> Option<Keep> {
        if place == Some(0) {
            return Some(Keep::Newest);
        }
        let pins = self
            .pins
            .iter()
            .filter(|pin| pin.generation == generation.sequence);
        let live = pins.filter(|pin| pin.is_live(now));
        if let Some(pin) = live.max_by_key(|pin| pin.deadline) {
            return Some(Keep::Pinned {
                holder: pin.holder.clone(),
                until: pin.deadline,
            });
        }
        if place.is_some_and(|place| place < self.keep_last.get() as usize) {
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

fn places<'a>(copies: impl Iterator<Item = (&'a Location, &'a Sighting)>) -> Vec<&'a Location> {
    copies.map(|(location, _)| location).collect()
}
