//! What a batch writes of a builder, what it guards, and how much there is room for.

use std::collections::BTreeSet;

use super::rows::Standing;
use super::{Builders, Pinned};
use crate::domain::build::{Generation, Generations, Pin, PinId, Sequence};
use crate::error::Error;
use crate::kv::{Batch, Guard, Key};
use crate::store::claims::note;
use crate::store::edit::as_of;
use crate::store::wire::{self, BuilderRow};
use crate::store::{namespaces, schema};

/// Bytes that may be noted of a copy later: two times.
const NOTES: usize = 40;

/// Bytes that a pin takes beside its holder.
const PIN: usize = 40;

/// Bytes that are kept free for an image that is being built, and for its pin.
const RESERVE: usize = 2 * wire::MAX_GENERATION_BYTES;

impl Standing {
    pub fn batch(&self) -> Batch {
        Batch::new(self.moment.wall.millis())
    }

    /// Has a batch make the namespace where it is not there.
    pub fn need_namespace(&self, batch: &mut Batch) -> Result<(), Error> {
        namespaces::need(
            batch,
            &self.namespace,
            self.namespace_row.as_ref(),
            self.moment.wall,
        )?;
        Ok(())
    }

    fn own_key(&self) -> Key {
        schema::builder_key(&self.namespace, &self.key)
    }

    /// Has a batch hold only while its own row is as it was seen.
    pub fn guard_own(&self, batch: &mut Batch) {
        let seen = self.own.as_ref().map(|(_, revision)| *revision);
        batch.guard(as_of(self.own_key(), seen));
    }

    pub fn put_own(&self, batch: &mut Batch, row: &BuilderRow) -> Result<(), Error> {
        self.guard_own(batch);
        batch.put(self.own_key(), wire::encode_builder(row)?);
        Ok(())
    }

    fn generation_key(&self, sequence: Sequence) -> Key {
        schema::generation_key(&self.namespace, &self.key, sequence)
    }

    /// Has a batch hold only while all that is decided by for one who needs an image is as it was seen: its own row, the
    /// claim, and the generations.
    pub fn guard_standing(&self, batch: &mut Batch) {
        self.guard_own(batch);
        self.claim_place().guard(batch);
        for (generation, made) in self.generations.iter().zip(&self.made) {
            let key = self.generation_key(generation.sequence);
            batch.guard(Guard::Unchanged(key, made.revision));
        }
    }

    /// Adds a generation, which was just built.
    pub fn add_generation(&self, batch: &mut Batch, new: &Generation) -> Result<(), Error> {
        let key = self.generation_key(new.sequence);
        batch
            .guard(Guard::Absent(key.clone()))
            .put(key, wire::encode_generation(new)?);
        Ok(())
    }

    /// Makes of its generations what they have become. Pins of what is gone go with it. Returns whether anything
    /// changes. [`Error::Invalid`] and [`Error::BuilderFull`] where there is no room for a new copy.
    pub fn put_generations(&self, batch: &mut Batch, after: &Generations) -> Result<bool, Error> {
        let (mut changed, mut grown, mut gone) = (false, 0, BTreeSet::new());
        for (before, made) in self.generations.iter().zip(&self.made) {
            let key = self.generation_key(before.sequence);
            match after.get(before.sequence) {
                Some(now) if now == before => continue,
                Some(now) => {
                    let mut places = now.copies.keys();
                    let value = if places.all(|place| before.copies.contains_key(place)) {
                        wire::encode_known_generation(now)
                    } else {
                        let value = wire::encode_generation(now)?;
                        let before = weight(before, made.bytes);
                        grown += weight(now, value.len()).saturating_sub(before);
                        value
                    };
                    batch.put(key.clone(), value);
                }
                None => {
                    batch.delete(key.clone());
                    gone.insert(before.sequence);
                }
            }
            batch.guard(Guard::Unchanged(key, made.revision));
            changed = true;
        }
        if grown > 0 {
            self.check_room(grown)?;
        }
        if !gone.is_empty() {
            let pins = self.pins.iter().map(|(pinned, _)| pinned);
            for pinned in pins.filter(|old| gone.contains(&old.pin.generation)) {
                batch.delete(self.pin_key(pinned.id));
            }
            self.guard_pins(batch);
        }
        if changed {
            note(batch, &self.moment);
        }
        Ok(changed)
    }

    fn pin_key(&self, id: PinId) -> Key {
        schema::pin_key(&self.namespace, &self.key, id)
    }

    /// Has a batch hold only while the pins are those that were seen.
    pub fn guard_pins(&self, batch: &mut Batch) {
        let pins = schema::pins(&self.namespace);
        let part = pins.key(schema::builder_part(&self.key));
        batch.guard(Guard::Quiet(part, self.seen_at));
        for (pinned, revision) in &self.pins {
            batch.guard(Guard::Unchanged(self.pin_key(pinned.id), *revision));
        }
    }

    /// Adds a pin, and removes those that have ended where there are as many as there may be.
    ///
    /// [`Error::BuilderFull`] where those are live, or where all takes too much.
    pub fn add_pin(&self, batch: &mut Batch, id: PinId, pin: Pin) -> Result<Pinned, Error> {
        if self.pins.len() >= Builders::MAX_PINS {
            if self.live_pins().count() >= Builders::MAX_PINS {
                return Err(self.full("pins", Builders::MAX_PINS));
            }
            let now = self.now();
            for (ended, revision) in self.pins.iter().filter(|(old, _)| !old.pin.is_live(now)) {
                let key = self.pin_key(ended.id);
                batch
                    .guard(Guard::Unchanged(key.clone(), *revision))
                    .delete(key);
            }
        }
        self.check_room(pin_bytes(&pin))?;
        let key = self.pin_key(id);
        batch
            .guard(Guard::Absent(key.clone()))
            .put(key, wire::encode_pin(&pin));
        note(batch, &self.moment);
        Ok(Pinned { id, pin })
    }

    /// Refuses so many bytes more than there is room for beside an image that is being built.
    pub fn check_room(&self, more: usize) -> Result<(), Error> {
        let pins = self.live_pins();
        let pins: usize = pins.map(|pinned| pin_bytes(&pinned.pin)).sum();
        let made = self.generations.iter().zip(&self.made);
        let made: usize = made
            .map(|(generation, made)| weight(generation, made.bytes))
            .sum();
        if made + pins + more + RESERVE > Builders::MAX_BYTES {
            return Err(self.full("bytes of generations and pins", Builders::MAX_BYTES));
        }
        Ok(())
    }

    pub fn full(&self, what: &'static str, limit: usize) -> Error {
        Error::BuilderFull {
            builder: self.subject(),
            what,
            limit,
        }
    }
}

/// Bytes that a generation takes of what a builder may, also when all is noted of it that may be.
fn weight(generation: &Generation, encoded: usize) -> usize {
    encoded + NOTES * generation.copies.len()
}

fn pin_bytes(pin: &Pin) -> usize {
    pin.holder.as_str().len() + PIN
}
