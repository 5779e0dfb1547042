//! Reading what is stored of builders.

use std::collections::BTreeSet;

use super::{BuilderEntry, Builders, Pinned, StoredBuilder};
use crate::domain::build::{
    BuilderKey, Claim, Generation, Generations, Pin, PinId, Sequence, Token,
};
use crate::domain::{Namespace, Timestamp};
use crate::error::{Error, Subject};
use crate::kv::{Batch, Guard, Key, Revision, Rows, Table, Versioned};
use crate::store::claims::Moment;
use crate::store::edit::{Look, View, as_seen};
use crate::store::epoch::Known;
use crate::store::wire::{self, BuilderRow};
use crate::store::{claims, namespaces, schema};

/// A look at a builder, and at how much of it.
pub struct LookAt<'a> {
    pub namespace: &'a Namespace,
    pub key: &'a BuilderKey,
    pub part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its own row, its claim and its namespace.
    Own,
    /// Also its generations and its pins.
    All,
}

/// A builder as a write sees it.
pub struct Standing {
    namespace: Namespace,
    pub key: BuilderKey,
    namespace_row: Option<Versioned>,
    /// Its own row, where it is there.
    pub own: Option<(BuilderRow, Revision)>,
    claim_row: Option<Versioned>,
    /// The last claim, whether or not it has ended.
    pub claim: Option<Claim>,
    pub generations: Generations,
    /// Their rows, in their order.
    made: Vec<Made>,
    /// Also those that have ended.
    pub pins: Vec<(Pinned, Revision)>,
    pub seen_at: Revision,
    pub known: Known,
    /// What the machine's clock shows.
    pub wall: Timestamp,
    pub moment: Moment,
}

/// The row of a generation.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    revision: Revision,
    /// That it takes, also when all is noted that may be.
    bytes: usize,
}

/// Bytes that may be noted of a copy later: two times.
const NOTES: usize = 40;

/// Bytes that a pin takes beside its holder.
const PIN: usize = 40;

/// Bytes that are kept free for an image that is being built, and for its pin.
const RESERVE: usize = 2 * wire::MAX_GENERATION_BYTES;

/// Rows that are read at once.
const STEP: usize = 1000;

impl Look for LookAt<'_> {
    type Seen = Standing;

    /// A builder with as many generations and pins as it may have is read whole.
    fn most(&self, batch: usize) -> usize {
        batch.saturating_mul(2)
    }

    async fn look(&self, view: &View<'_>) -> Result<Standing, Error> {
        let (namespace, key, part) = (self.namespace, self.key, self.part);
        let keys = [
            schema::namespace_key(namespace),
            schema::builder_key(namespace, key),
            schema::builder_claim_key(namespace, key),
        ];
        let [namespace_row, own, claim_row] = view
            .get(&keys)
            .await?
            .try_into()
            .expect("as many rows as keys");
        let own = own
            .map(|row| Ok::<_, Error>((wire::decode_builder(key, row.value)?, row.revision)))
            .transpose()?;
        let claim = claim_row
            .as_ref()
            .map(|row| wire::decode_claim(row.value.clone()))
            .transpose()?;
        let mut standing = Standing {
            namespace: namespace.clone(),
            key: key.clone(),
            namespace_row,
            own,
            claim_row,
            claim,
            generations: Generations::default(),
            made: Vec::new(),
            pins: Vec::new(),
            seen_at: view.revision(),
            known: view.known.clone(),
            wall: view.now,
            moment: view.moment,
        };
        if part == Part::All
            && let Some((own, _)) = &standing.own
        {
            let (kept, made) = generations(view, namespace, key).await?.into_iter().unzip();
            let restored = Generations::restore(own.last, kept);
            standing.generations =
                restored.map_err(|cause| Error::corrupt(format!("builder {key}: its {cause}")))?;
            standing.made = made;
            standing.pins = pins(view, namespace, key).await?;
        }
        Ok(standing)
    }
}

/// All generations of a builder, the oldest first, and their rows.
pub async fn generations(
    view: &View<'_>,
    namespace: &Namespace,
    key: &BuilderKey,
) -> Result<Vec<(Generation, Made)>, Error> {
    let rows = all_of(view, schema::generations(namespace), key).await?;
    let read = |(number, row): (u64, Versioned)| {
        let (revision, bytes) = (row.revision, row.value.len());
        let generation = wire::decode_generation(key, Sequence(number), row.value)?;
        let bytes = weight(&generation, bytes);
        Ok((generation, Made { revision, bytes }))
    };
    rows.into_iter().map(read).collect()
}

/// Bytes that a generation takes of what a builder may.
fn weight(generation: &Generation, encoded: usize) -> usize {
    encoded + NOTES * generation.copies.len()
}

/// All pins of a builder, also those that have ended.
pub async fn pins(
    view: &View<'_>,
    namespace: &Namespace,
    key: &BuilderKey,
) -> Result<Vec<(Pinned, Revision)>, Error> {
    let rows = all_of(view, schema::pins(namespace), key).await?;
    let read = |(number, row): (u64, Versioned)| {
        let pin = wire::decode_pin(row.value)?;
        let id = PinId(number);
        Ok((Pinned { id, pin }, row.revision))
    };
    rows.into_iter().map(read).collect()
}

/// The rows of a builder in one of its tables, by number.
pub async fn all_of(
    view: &View<'_>,
    table: Table,
    key: &BuilderKey,
) -> Result<Vec<(u64, Versioned)>, Error> {
    let mut rest = Rows::starting_with(table, &schema::builder_part(key));
    let mut rows = Vec::new();
    loop {
        let found = view.scan(&rest, STEP).await?;
        let last = found.rows.last().map(|(row, _)| row.clone());
        for (row, value) in found.rows {
            let (_, number) = schema::parse_builder_part(&row)?;
            rows.push((number, value));
        }
        match last {
            Some(last) if !found.is_end => rest = rest.after(last),
            _ => return Ok(rows),
        }
    }
}

pub fn subject(namespace: &Namespace, key: &BuilderKey) -> Subject {
    Subject::Builder(namespace.clone(), Box::new(key.clone()))
}

impl Standing {
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub fn subject(&self) -> Subject {
        subject(&self.namespace, &self.key)
    }

    /// What the steady clock shows.
    pub fn now(&self) -> Timestamp {
        self.moment.now()
    }

    /// Its own row; [`Error::NotFound`] where there is no such builder.
    pub fn own(&self) -> Result<(&BuilderRow, Revision), Error> {
        match &self.own {
            Some((row, revision)) => Ok((row, *revision)),
            None => Err(Error::NotFound(self.subject())),
        }
    }

    /// The claim, if the token is its and it has not ended.
    pub fn held(&self, token: Token) -> Result<&Claim, Error> {
        let checked = Claim::check(self.claim.as_ref(), token, self.now());
        checked.map_err(|refused| Error::Claim {
            subject: self.subject(),
            refused,
        })
    }

    pub fn live_pins(&self) -> impl Iterator<Item = &Pinned> {
        let now = self.now();
        let pins = self.pins.iter().map(|(pinned, _)| pinned);
        pins.filter(move |pinned| pinned.pin.is_live(now))
    }

    pub fn entry(&self, row: &BuilderRow, revision: Revision) -> BuilderEntry {
        entry(
            (&self.namespace, &self.key),
            (row, revision),
            self.claim.clone(),
            self.now(),
        )
    }

    pub fn whole(&self, row: &BuilderRow, revision: Revision) -> StoredBuilder {
        StoredBuilder {
            entry: self.entry(row, revision),
            generations: self.generations.iter().cloned().collect(),
            pins: self.live_pins().cloned().collect(),
        }
    }

    pub fn batch(&self) -> Batch {
        Batch::new(self.wall.millis())
    }

    /// Has a batch make the namespace where it is not there.
    pub fn need_namespace(&self, batch: &mut Batch) -> Result<(), Error> {
        namespaces::need(
            batch,
            &self.namespace,
            self.namespace_row.as_ref(),
            self.wall,
        )?;
        Ok(())
    }

    fn own_key(&self) -> Key {
        schema::builder_key(&self.namespace, &self.key)
    }

    /// Has a batch hold only while its own row is as it was seen.
    pub fn guard_own(&self, batch: &mut Batch) {
        let key = self.own_key();
        batch.guard(match &self.own {
            Some((_, revision)) => Guard::Unchanged(key, *revision),
            None => Guard::Absent(key),
        });
    }

    pub fn put_own(&self, batch: &mut Batch, row: &BuilderRow) -> Result<(), Error> {
        self.guard_own(batch);
        batch.put(self.own_key(), wire::encode_builder(row)?);
        Ok(())
    }

    pub fn guard_claim(&self, batch: &mut Batch) {
        let key = schema::builder_claim_key(&self.namespace, &self.key);
        batch.guard(as_seen(key, self.claim_row.as_ref()));
    }

    pub fn put_claim(&self, batch: &mut Batch, claim: &Claim) {
        self.guard_claim(batch);
        let key = schema::builder_claim_key(&self.namespace, &self.key);
        batch.put(key, wire::encode_claim(claim));
        self.moment.note(batch);
    }

    /// Ends the claim.
    pub fn end_claim(&self, batch: &mut Batch, claim: &Claim) {
        self.guard_claim(batch);
        let key = schema::builder_claim_key(&self.namespace, &self.key);
        claims::end(batch, key, claim, &self.moment);
    }

    pub fn generation_key(&self, sequence: Sequence) -> Key {
        schema::generation_key(&self.namespace, &self.key, sequence)
    }

    /// Has a batch hold only while all that is decided by for one who needs an image is as it was seen: its own row, the
    /// claim, and the generations.
    pub fn guard_standing(&self, batch: &mut Batch) {
        self.guard_own(batch);
        self.guard_claim(batch);
        for (generation, made) in self.generations.iter().zip(&self.made) {
            let key = self.generation_key(generation.sequence);
            batch.guard(Guard::Unchanged(key, made.revision));
        }
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
        self.moment.note(batch);
        Ok(Pinned { id, pin })
    }

    pub fn pin_key(&self, id: PinId) -> Key {
        schema::pin_key(&self.namespace, &self.key, id)
    }

    pub fn full(&self, what: &'static str, limit: usize) -> Error {
        Error::BuilderFull {
            builder: self.subject(),
            what,
            limit,
        }
    }

    /// Refuses so many bytes more than there is room for beside an image that is being built.
    pub fn check_room(&self, more: usize) -> Result<(), Error> {
        let pins = self.live_pins();
        let pins: usize = pins.map(|pinned| pin_bytes(&pinned.pin)).sum();
        let made: usize = self.made.iter().map(|made| made.bytes).sum();
        if made + pins + more + RESERVE > Builders::MAX_BYTES {
            return Err(self.full("bytes of generations and pins", Builders::MAX_BYTES));
        }
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
                        grown += weight(now, value.len()).saturating_sub(made.bytes);
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
            self.moment.note(batch);
        }
        Ok(changed)
    }
}

fn pin_bytes(pin: &Pin) -> usize {
    pin.holder.as_str().len() + PIN
}

/// A builder as it is shown at some time.
pub fn entry(
    (namespace, key): (&Namespace, &BuilderKey),
    (row, revision): (&BuilderRow, Revision),
    claim: Option<Claim>,
    now: Timestamp,
) -> BuilderEntry {
    let failures = row.failures.clone();
    BuilderEntry {
        namespace: namespace.clone(),
        key: key.clone(),
        policy: row.policy,
        base_digest: row.base_digest,
        last: row.last,
        retry_at: failures
            .as_ref()
            .and_then(|failures| failures.retry_at(now)),
        failures,
        claim: claim.filter(|claim| claim.is_live(now)),
        revision,
    }
}
