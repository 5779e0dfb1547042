//! Generations: the images that a builder has, and where each of them was seen.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Location, Presence};
use crate::domain::{Descriptor, Digest, Invalid, Timestamp};

/// One image of a builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    pub sequence: Sequence,
    pub image: Descriptor,
    /// What the base was when it was made, where that is known.
    pub base_digest: Option<Digest>,
    /// By the steady clock.
    pub built_at: Timestamp,
    /// Where it is. Never empty: a generation without a copy is gone.
    pub copies: BTreeMap<Location, Sighting>,
}

/// The number of a generation within its builder, from 1 on; given once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// When a copy was last seen, and whether it may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub seen_at: Timestamp,
    /// Since then its place could not be asked; last at that time.
    pub unknown_at: Option<Timestamp>,
    /// Since when whoever prunes may remove it. It is given to nobody any more.
    pub retired_at: Option<Timestamp>,
}

/// The images of a builder, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    kept: Vec<Generation>,
    last: Sequence,
}

/// An image that was just built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    pub image: Descriptor,
    pub base_digest: Option<Digest>,
    pub location: Location,
}

/// Which places a caller can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    Anywhere,
    Only(BTreeSet<Location>),
}

/// What a report made of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// There is no such generation.
    NotFound,
    /// It is where it was, and when it was seen is noted.
    Kept,
    /// One copy is gone, and there are others.
    CopyGone,
    /// The last copy is gone, and the generation with it.
    Dropped,
}

/// What became of the attempt to remove a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    NotFound,
    InUse,
    Failed,
}

// === impl Generations ===

impl Generations {
    /// Those that were stored; `last` is the last number that was given. Refuses numbers out of order, and a generation
    /// without a copy.
    pub fn restore(last: Sequence, kept: Vec<Generation>) -> Result<Self, Invalid> {
        let is_ordered = kept.is_sorted_by(|one, next| one.sequence < next.sequence);
        let is_within = |generation: &Generation| {
            (Sequence(1)..=last).contains(&generation.sequence) && !generation.copies.is_empty()
        };
        if !is_ordered || !kept.iter().all(is_within) {
            let reason = "must be numbered in order, and each have a copy";
            return Err(Invalid::new("generations", reason));
        }
        Ok(Self { kept, last })
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Generation> {
        self.kept.iter()
    }

    /// The last number that was given; 0 where nothing was ever built.
    pub fn last(&self) -> Sequence {
        self.last
    }

    pub fn get(&self, sequence: Sequence) -> Option<&Generation> {
        let at = self.kept.binary_search_by_key(&sequence, |g| g.sequence);
        at.ok().map(|at| &self.kept[at])
    }

    /// The newest of those that are within reach and not retired there.
    pub fn newest(&self, reach: &Reach) -> Option<&Generation> {
        self.kept
            .iter()
            .rev()
            .find(|generation| generation.is_within(reach))
    }

    /// Whether the one that was built last is not there any more.
    pub fn has_lost_newest(&self) -> bool {
        self.kept
            .last()
            .map(|generation| generation.sequence)
            .unwrap_or_default()
            < self.last
    }

    /// Adds what was just built.
    pub fn add(&mut self, built: Built, now: Timestamp) -> &Generation {
        self.last = Sequence(self.last.0 + 1);
        let Built {
            image,
            base_digest,
            location,
        } = built;
        self.kept.push(Generation {
            sequence: self.last,
            image,
            base_digest,
            built_at: now,
            copies: [(location, Sighting::at(now))].into(),
        });
        self.kept.last().expect("one was just added")
    }

    /// Lets the copies of a generation be removed that are within reach.
    pub fn retire(&mut self, sequence: Sequence, reach: &Reach, now: Timestamp) {
        if let Ok(at) = self.kept.binary_search_by_key(&sequence, |g| g.sequence) {
            let copies = self.kept[at].copies.iter_mut();
            for (_, sighting) in copies.filter(|(location, _)| reach.has(location)) {
                sighting.retired_at.get_or_insert(now);
            }
        }
    }

    /// Notes what a place answered. Only what is certainly absent goes; a retired copy stays one, also where it was seen.
    pub fn observe(
        &mut self,
        sequence: Sequence,
        location: &Location,
        presence: Presence,
        now: Timestamp,
    ) -> Effect {
        let Ok(at) = self.kept.binary_search_by_key(&sequence, |g| g.sequence) else {
            return Effect::NotFound;
        };
        let copies = &mut self.kept[at].copies;
        match presence {
            Presence::Present(_) => {
                let retired_at = copies.get(location).and_then(|copy| copy.retired_at);
                let sighting = Sighting {
                    retired_at,
                    ..Sighting::at(now)
                };
                copies.insert(location.clone(), sighting);
                Effect::Kept
            }
            Presence::Unknown => {
                if let Some(sighting) = copies.get_mut(location) {
                    sighting.unknown_at = Some(now);
                }
                Effect::Kept
            }
            Presence::Absent => {
                if copies.remove(location).is_none() {
                    return Effect::Kept;
                }
                if !copies.is_empty() {
                    return Effect::CopyGone;
                }
                self.kept.remove(at);
                Effect::Dropped
            }
        }
    }

    /// Notes what became of the attempt to remove a copy. What is in use stays and is retired no more; what could not
    /// be removed stays retired.
    pub fn confirm(
        &mut self,
        sequence: Sequence,
        location: &Location,
        removal: Removal,
        now: Timestamp,
    ) -> Effect {
        match removal {
            Removal::Removed | Removal::NotFound => {
                self.observe(sequence, location, Presence::Absent, now)
            }
            Removal::InUse => {
                let Ok(at) = self.kept.binary_search_by_key(&sequence, |g| g.sequence) else {
                    return Effect::NotFound;
                };
                let copies = &mut self.kept[at].copies;
                copies.insert(location.clone(), Sighting::at(now));
                Effect::Kept
            }
            Removal::Failed => match self.get(sequence) {
                Some(_) => Effect::Kept,
                None => Effect::NotFound,
            },
        }
    }
}

impl Generation {
    /// Whether a caller of this reach can be given it.
    pub fn is_within(&self, reach: &Reach) -> bool {
        self.copies_within(reach).next().is_some()
    }

    /// The copies that a caller of this reach can be given: none that is retired.
    pub fn copies_within<'a>(
        &'a self,
        reach: &'a Reach,
    ) -> impl Iterator<Item = (&'a Location, &'a Sighting)> {
        self.copies
            .iter()
            .filter(|(location, copy)| copy.retired_at.is_none() && reach.has(location))
    }

    /// The copies within reach that are retired, and not known to be gone.
    pub fn retired_within<'a>(
        &'a self,
        reach: &'a Reach,
    ) -> impl Iterator<Item = (&'a Location, &'a Sighting)> {
        self.copies
            .iter()
            .filter(|(location, copy)| copy.retired_at.is_some() && reach.has(location))
    }
}

impl Reach {
    pub fn has(&self, location: &Location) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Only(locations) => locations.contains(location),
        }
    }
}

impl Sighting {
    pub fn at(now: Timestamp) -> Self {
        Self {
            seen_at: now,
            unknown_at: None,
            retired_at: None,
        }
    }
}
