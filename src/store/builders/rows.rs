//! Reading what is stored of builders.

use bytes::Bytes;

use super::{BuilderEntry, Pinned, StoredBuilder};
use crate::domain::build::{
    BuilderKey, Claim, ClaimRefused, Generation, Generations, Moment, PinId, Sequence,
};
use crate::domain::{Namespace, Timestamp};
use crate::error::{Error, Subject};
use crate::kv::{Key, Revision, Rows, Table, Versioned};
use crate::store::claims::{ClaimPlace, SeenClaim};
use crate::store::edit::{Look, View};
use crate::store::epoch::Known;
use crate::store::schema;
use crate::store::wire::{self, BuilderRow};

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

impl<'a> LookAt<'a> {
    pub fn own(namespace: &'a Namespace, key: &'a BuilderKey) -> Self {
        Self {
            namespace,
            key,
            part: Part::Own,
        }
    }

    pub fn all(namespace: &'a Namespace, key: &'a BuilderKey) -> Self {
        Self {
            namespace,
            key,
            part: Part::All,
        }
    }

    /// Who writes about a builder takes turns with others who do.
    pub fn turns(&self) -> [Key; 1] {
        [schema::builder_claim_key(self.namespace, self.key)]
    }
}

/// A builder as a write sees it.
pub struct Standing {
    pub namespace: Namespace,
    pub key: BuilderKey,
    pub(super) namespace_row: Option<Versioned>,
    /// Its own row, where it is there.
    pub own: Option<(BuilderRow, Revision)>,
    pub claim: Option<SeenClaim>,
    pub generations: Generations,
    /// Their rows, in their order.
    pub(super) made: Vec<Made>,
    /// Also those that have ended.
    pub(super) pins: Vec<(Pinned, Revision)>,
    pub seen_at: Revision,
    pub known: Known,
    pub moment: Moment,
}

/// The row of a generation.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    pub revision: Revision,
    /// Bytes of the record.
    pub bytes: usize,
}

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
        let [namespace_row, own, claim] = view.rows(&keys).await?;
        let own =
            own.map(|row| Ok::<_, Error>((wire::decode_builder(key, row.value)?, row.revision)));
        let mut standing = Standing {
            namespace: namespace.clone(),
            key: key.clone(),
            namespace_row,
            own: own.transpose()?,
            claim: claim.map(SeenClaim::of).transpose()?,
            generations: Generations::default(),
            made: Vec::new(),
            pins: Vec::new(),
            seen_at: view.revision(),
            known: view.known.clone(),
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
async fn generations(
    view: &View<'_>,
    namespace: &Namespace,
    key: &BuilderKey,
) -> Result<Vec<(Generation, Made)>, Error> {
    let rows = all_of(view, schema::generations(namespace), key).await?;
    let read = |(number, row): (u64, Versioned)| {
        let (revision, bytes) = (row.revision, row.value.len());
        let generation = wire::decode_generation(key, Sequence(number), row.value)?;
        Ok((generation, Made { revision, bytes }))
    };
    rows.into_iter().map(read).collect()
}

/// All pins of a builder, also those that have ended.
async fn pins(
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
    let part = schema::builder_part(key);
    let rows = view.all(Rows::starting_with(table, &part)).await?;
    let numbered =
        |(row, value): (Bytes, Versioned)| Ok((schema::number_after(&part, &row)?, value));
    rows.into_iter().map(numbered).collect()
}

pub fn subject(namespace: &Namespace, key: &BuilderKey) -> Subject {
    Subject::Builder(namespace.clone(), Box::new(key.clone()))
}

impl Standing {
    pub fn subject(&self) -> Subject {
        subject(&self.namespace, &self.key)
    }

    pub fn refused(&self, refused: ClaimRefused) -> Error {
        Error::Claim {
            subject: self.subject(),
            refused,
        }
    }

    /// What the steady clock shows.
    pub fn now(&self) -> Timestamp {
        self.moment.steady
    }

    /// Its own row; [`Error::NotFound`] where there is no such builder.
    pub fn own(&self) -> Result<(&BuilderRow, Revision), Error> {
        match &self.own {
            Some((row, revision)) => Ok((row, *revision)),
            None => Err(Error::NotFound(self.subject())),
        }
    }

    /// The last claim, whether or not it has ended.
    pub fn last_claim(&self) -> Option<&Claim> {
        self.claim.as_ref().map(|seen| &seen.claim)
    }

    pub fn claim_place(&self) -> ClaimPlace<'_> {
        ClaimPlace {
            key: schema::builder_claim_key(&self.namespace, &self.key),
            seen: self.claim.as_ref(),
            moment: self.moment,
        }
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
            self.last_claim().cloned(),
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
