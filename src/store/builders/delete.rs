//! Removing a builder.

use super::rows::{all_of, entry, subject};
use super::{Builders, DeleteBuilder, Pinned, StoredBuilder};
use crate::domain::Namespace;
use crate::domain::build::{BuilderKey, Claim, Moment, PinId, Sequence};
use crate::error::Error;
use crate::kv::{Batch, Guard, Revision, Versioned};
use crate::store::answered::Answered;
use crate::store::edit::{Decision, Look, View, as_seen};
use crate::store::epoch::Known;
use crate::store::{At, Precondition, schema, wire};

/// A look at all that goes with a builder, whether or not it can be read.
struct LookAtRows<'a> {
    namespace: &'a Namespace,
    key: &'a BuilderKey,
}

struct SeenRows {
    own: Option<Versioned>,
    claim: Option<Versioned>,
    generations: Vec<(u64, Versioned)>,
    pins: Vec<(u64, Versioned)>,
    seen_at: Revision,
    known: Known,
    moment: Moment,
}

impl Look for LookAtRows<'_> {
    type Seen = SeenRows;

    fn most(&self, batch: usize) -> usize {
        batch.saturating_mul(2)
    }

    async fn look(&self, view: &View<'_>) -> Result<SeenRows, Error> {
        let Self { namespace, key } = *self;
        let keys = [
            schema::builder_key(namespace, key),
            schema::builder_claim_key(namespace, key),
        ];
        let [own, claim] = view.rows(&keys).await?;
        Ok(SeenRows {
            own,
            claim,
            generations: all_of(view, schema::generations(namespace), key).await?,
            pins: all_of(view, schema::pins(namespace), key).await?,
            seen_at: view.revision(),
            known: view.known.clone(),
            moment: view.moment,
        })
    }
}

impl Builders<'_> {
    /// Forgets a builder with its generations, and returns it as it was, as far as it can be read; its images are the
    /// caller's to remove. Durable when it returns.
    ///
    /// [`Error::NotFound`]; [`Error::InUse`] where it has images or somebody makes one, unless forced; and what the etag
    /// asks for.
    pub async fn delete(
        &self,
        namespace: &Namespace,
        request: &DeleteBuilder,
    ) -> Result<At<StoredBuilder>, Error> {
        let key = &request.key;
        let look = LookAtRows { namespace, key };
        let turns = [schema::builder_claim_key(namespace, key)];
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let deleted = self.store.edit(&turns, &look, once, |seen: &SeenRows| {
            let subject = || subject(namespace, key);
            let when = Precondition::of_etag(request.if_etag);
            let Some(own) = &seen.own else {
                return Err(Error::NotFound(subject()));
            };
            when.check(subject, Some((own.revision, None)), &seen.known)?;
            let was = seen.read(namespace, key, own);
            let is_in_use = !seen.generations.is_empty() || was.entry.claim.is_some();
            if is_in_use && !request.force {
                return Err(Error::InUse(subject()));
            }
            let value = Answered::new(namespace, was);
            if request.validate_only {
                return Ok(Decision::nothing(seen.moment.wall, value));
            }
            Ok(Decision {
                batch: seen.plan(namespace, key, own),
                value,
            })
        });
        Ok(deleted.await?.map(Answered::into_value))
    }
}

impl SeenRows {
    /// What can be read of it.
    fn read(&self, namespace: &Namespace, key: &BuilderKey, own: &Versioned) -> StoredBuilder {
        let now = self.moment.steady;
        let row = wire::decode_builder(key, own.value.clone()).unwrap_or_default();
        let claim = self.claim.as_ref();
        let claim: Option<Claim> = claim.and_then(|row| wire::decode_claim(row.value.clone()).ok());
        let generations = self.generations.iter().filter_map(|(number, row)| {
            wire::decode_generation(key, Sequence(*number), row.value.clone()).ok()
        });
        let pins = self.pins.iter().filter_map(|(number, row)| {
            let id = PinId(*number);
            let pin = wire::decode_pin(row.value.clone()).ok()?;
            pin.is_live(now).then_some(Pinned { id, pin })
        });
        StoredBuilder {
            entry: entry((namespace, key), (&row, own.revision), claim, now),
            generations: generations.collect(),
            pins: pins.collect(),
        }
    }

    /// Whoever adds a generation, a claim or a pin guards the builder's own row.
    fn plan(&self, namespace: &Namespace, key: &BuilderKey, own: &Versioned) -> Batch {
        let mut batch = Batch::new(self.moment.wall.millis());
        let own_key = schema::builder_key(namespace, key);
        let claim_key = schema::builder_claim_key(namespace, key);
        batch
            .guard(as_seen(own_key.clone(), Some(own)))
            .guard(as_seen(claim_key.clone(), self.claim.as_ref()))
            .delete(own_key)
            .delete(claim_key)
            .frees_space();
        let pins = schema::pins(namespace).key(schema::builder_part(key));
        batch.guard(Guard::Quiet(pins, self.seen_at));
        let generations = self.generations.iter().map(|(number, row)| {
            let sequence = Sequence(*number);
            (schema::generation_key(namespace, key, sequence), row)
        });
        let pins = self.pins.iter().map(|(number, row)| {
            let pin = PinId(*number);
            (schema::pin_key(namespace, key, pin), row)
        });
        for (key, row) in generations.chain(pins) {
            batch
                .guard(Guard::Unchanged(key.clone(), row.revision))
                .delete(key);
        }
        batch
    }
}
