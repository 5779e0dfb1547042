//! The calls on leases.
//!
//! Whatever changes what a lease holds writes the row beside its record too that counts it. So a write that
//! guards that row has seen all that the lease holds, and the record is written only when it changes.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use tokio::task;

use super::edit::{Decision, Look, View, as_seen};
use super::namespaces;
use super::sweep::Swept;
use super::wire::Holds;
use super::{At, Put, Store, Stored, schema, wire};
use crate::domain::{Filter, Lease, LeaseId, Namespace, Resource, Timestamp};
use crate::error::{Error, Subject};
use crate::kv::{Batch, Key, Revision, Rows, Snapshot, Versioned};

/// The calls on leases; from [`Store::leases`].
#[derive(Clone, Copy)]
pub struct Leases<'a> {
    pub(super) store: &'a Store,
}

/// A lease that a write is about.
#[derive(Clone, Copy)]
struct Place<'a> {
    namespace: &'a Namespace,
    id: &'a LeaseId,
}

/// A look at a lease.
struct Looking<'a> {
    place: Place<'a>,
    part: Part<'a>,
}

/// What of a lease a write has to see, beside how much it holds.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// Its record.
    Record,
    /// Whether it holds this.
    One(&'a Resource),
    /// Its record and all that it holds.
    All,
}

/// What a write to a lease saw before it decides.
struct Seen {
    namespace: Option<Versioned>,
    /// Its record, where that was looked for and is there.
    lease: Option<(Lease, Revision)>,
    /// The row that counts what it holds, and is there when the lease is.
    counted: Option<Versioned>,
    /// Of what it holds, the rows that were looked for and are there.
    held: BTreeSet<Bytes>,
    now: Timestamp,
}

/// Rows that are read at once.
const STEP: usize = 1000;

/// Leases of a namespace that a sweep removes at most.
const SWEPT: usize = 200;

impl Leases<'_> {
    /// Resources that a lease holds at most.
    pub const MAX_RESOURCES: u32 = 10_000;

    /// Bytes that a lease's resources take as keys at most, so that all of them can go in one write.
    pub const MAX_RESOURCE_BYTES: u32 = 4 << 20;

    /// Bytes that the leases of one answer take at most.
    pub const MAX_ANSWER_BYTES: usize = 16 << 20;

    /// An id that no lease has, as good as surely. It has the form of containerd's: nanoseconds within
    /// the second, and four characters at random.
    pub fn new_id(&self) -> LeaseId {
        let nanos = self.store.now().nanos();
        let random = (self.store.inner.surroundings.new_id)().0;
        let text = format!("{nanos}-{}", BASE64_URL_SAFE_NO_PAD.encode(&random[..3]));
        text.parse().expect("it is short and has no NUL")
    }

    /// Creates a lease that holds nothing. The first write creates the namespace. Durable when it
    /// returns.
    ///
    /// [`Error::Exists`] when there is one of that id, [`Error::Invalid`] for a record that would be too
    /// large.
    pub async fn create(
        &self,
        namespace: &Namespace,
        id: &LeaseId,
        labels: BTreeMap<String, String>,
    ) -> Result<At<Stored<Lease>>, Error> {
        let place = Place { namespace, id };
        let created = self.edit(place, Part::Record, |seen| {
            if seen.lease.is_some() {
                return Err(Error::Exists(place.subject()));
            }
            let lease = Lease {
                id: id.clone(),
                labels: labels.clone(),
                created_at: seen.now,
            };
            let mut batch = Batch::new(seen.now.millis());
            namespaces::need(&mut batch, namespace, seen.namespace.as_ref(), seen.now)?;
            seen.put(&mut batch, place, &lease)?;
            seen.count(&mut batch, place, Holds::default());
            Ok(Decision {
                batch,
                value: lease,
            })
        });
        let At { value, revision } = created.await?;
        Ok(At {
            value: place.stored(value, revision),
            revision,
        })
    }

    /// Makes a lease what it was elsewhere, with its age and all that it holds, whatever it was here. The
    /// first write creates the namespace; one that changes nothing writes nothing.
    ///
    /// [`Error::LeaseFull`] for more than a lease holds, [`Error::Invalid`] for a record that would be too
    /// large.
    pub async fn restore(
        &self,
        namespace: &Namespace,
        lease: &Lease,
        resources: &BTreeSet<Resource>,
    ) -> Result<At<Put<Lease>>, Error> {
        self.put(namespace, lease, resources, false).await
    }

    /// Answers as [`Self::restore`] would, and writes nothing.
    pub async fn validate(
        &self,
        namespace: &Namespace,
        lease: &Lease,
        resources: &BTreeSet<Resource>,
    ) -> Result<At<Put<Lease>>, Error> {
        self.put(namespace, lease, resources, true).await
    }

    async fn put(
        &self,
        namespace: &Namespace,
        lease: &Lease,
        resources: &BTreeSet<Resource>,
        validate_only: bool,
    ) -> Result<At<Put<Lease>>, Error> {
        let id = &lease.id;
        let place = Place { namespace, id };
        let rows = place.rows(resources)?;
        let restored = self.edit(place, Part::All, |seen| {
            let mut batch = Batch::new(seen.now.millis());
            let before = seen.lease.as_ref();
            let unchanged = before.filter(|(before, _)| before == lease);
            let made = unchanged.map(|(_, made)| *made);
            let is_changed = made.is_none() || seen.held != rows;
            let value = (made, is_changed, before.is_none());
            if !is_changed {
                return Ok(Decision { batch, value });
            }
            namespaces::need(&mut batch, namespace, seen.namespace.as_ref(), seen.now)?;
            if made.is_none() {
                seen.put(&mut batch, place, lease)?;
            }
            seen.count(&mut batch, place, Holds::of(&rows));
            let leased = schema::leased(namespace);
            for gone in seen.held.difference(&rows) {
                batch.delete(leased.key(gone.clone()));
            }
            for new in rows.difference(&seen.held) {
                batch.put(leased.key(new.clone()), Bytes::new());
            }
            if validate_only {
                batch = Batch::new(seen.now.millis());
            }
            Ok(Decision { batch, value })
        });
        let At { value, revision } = restored.await?;
        let (made, changed, created) = value;
        let written = if validate_only {
            Revision::ZERO
        } else {
            revision
        };
        Ok(At {
            value: Put {
                stored: place.stored(lease.clone(), made.unwrap_or(written)),
                changed,
                created,
            },
            revision,
        })
    }

    /// A lease; [`Error::NotFound`] when there is none of that id.
    pub async fn get(
        &self,
        namespace: &Namespace,
        id: &LeaseId,
    ) -> Result<At<Stored<Lease>>, Error> {
        let place = Place { namespace, id };
        let snapshot = self.store.snapshot().await?;
        let (lease, made) = place.standing(&*snapshot).await?;
        Ok(At {
            value: place.stored(lease, made),
            revision: snapshot.revision(),
        })
    }

    /// The leases that match, at one revision, by the bytes of their ids. Reads all of the namespace.
    ///
    /// [`Error::TooLarge`] for more than [`Self::MAX_ANSWER_BYTES`].
    pub async fn list(
        &self,
        namespace: &Namespace,
        filter: &Filter,
    ) -> Result<At<Vec<Stored<Lease>>>, Error> {
        let snapshot = self.store.snapshot().await?;
        let (mut found, mut size) = (Vec::new(), 0);
        let mut rest = Some(Rows::all(schema::leases(namespace)));
        let view = self.store.view(&*snapshot);
        while let Some(rows) = next(&view, &mut rest, STEP).await? {
            for (row, value) in rows {
                if filter.is_costly() {
                    // Lets others have the thread, and deadlines be kept, between two matches.
                    task::yield_now().await;
                }
                let (bytes, revision) = (row.len() + value.value.len(), value.revision);
                let id = &schema::parse_lease(&row)?;
                let lease = wire::decode_lease(id.clone(), value.value)?;
                if !filter.matches(&lease) {
                    continue;
                }
                size += bytes;
                if size > Self::MAX_ANSWER_BYTES {
                    return Err(Error::TooLarge {
                        what: "bytes of leases",
                        size,
                        limit: Self::MAX_ANSWER_BYTES,
                    });
                }
                found.push(Place { namespace, id }.stored(lease, revision));
            }
        }
        Ok(At {
            value: found,
            revision: snapshot.revision(),
        })
    }

    /// Removes a lease with all that it holds, in one step, and returns it; [`Error::NotFound`] when
    /// there is none of that id. Durable when it returns.
    pub async fn delete(
        &self,
        namespace: &Namespace,
        id: &LeaseId,
    ) -> Result<At<Stored<Lease>>, Error> {
        let place = Place { namespace, id };
        self.edit(place, Part::All, |seen| {
            let lease = seen.lease.as_ref();
            let (lease, made) = lease.ok_or_else(|| Error::NotFound(place.subject()))?;
            Ok(Decision {
                batch: seen.removal(place, lease),
                value: place.stored(lease.clone(), *made),
            })
        })
        .await
    }

    /// Has a lease hold a resource, whether or not that is there; nothing is wrong when it does already.
    /// Durable when it returns.
    ///
    /// [`Error::NotFound`] when there is no such lease, [`Error::LeaseFull`] when it holds as much as it may.
    pub async fn add_resource(
        &self,
        namespace: &Namespace,
        id: &LeaseId,
        resource: &Resource,
    ) -> Result<At<()>, Error> {
        let place = Place { namespace, id };
        let key = schema::leased_key(namespace, id, resource);
        self.edit(place, Part::One(resource), |seen| {
            let holds = seen.holds(place)?;
            let mut batch = Batch::new(seen.now.millis());
            if seen.held.is_empty() {
                let holds = holds.with(&key.row);
                place.check(holds)?;
                seen.count(&mut batch, place, holds);
                batch.put(key.clone(), Bytes::new());
            }
            Ok(Decision { batch, value: () })
        })
        .await
    }

    /// Has a lease no longer hold a resource; nothing is wrong when it does not. Durable when it returns.
    ///
    /// [`Error::NotFound`] when there is no such lease.
    pub async fn delete_resource(
        &self,
        namespace: &Namespace,
        id: &LeaseId,
        resource: &Resource,
    ) -> Result<At<()>, Error> {
        let place = Place { namespace, id };
        let key = schema::leased_key(namespace, id, resource);
        self.edit(place, Part::One(resource), |seen| {
            let holds = seen.holds(place)?;
            let mut batch = Batch::new(seen.now.millis());
            if !seen.held.is_empty() {
                seen.count(&mut batch, place, holds.without(&key.row));
                batch.delete(key.clone()).frees_space();
            }
            Ok(Decision { batch, value: () })
        })
        .await
    }

    /// What a lease holds, at one revision, in the order of [`Resource`].
    ///
    /// [`Error::NotFound`] when there is no such lease.
    pub async fn resources(
        &self,
        namespace: &Namespace,
        id: &LeaseId,
    ) -> Result<At<Vec<Resource>>, Error> {
        let place = Place { namespace, id };
        let snapshot = self.store.snapshot().await?;
        place.standing(&*snapshot).await?;
        let held = place.held(&self.store.view(&*snapshot)).await?;
        let parsed = held.iter().map(|row| schema::parse_leased_row(row));
        Ok(At {
            value: parsed
                .map(|parsed| parsed.map(|(_, resource)| resource))
                .collect::<Result<_, Error>>()?,
            revision: snapshot.revision(),
        })
    }

    /// Removes leases of a namespace that have expired by the store's clock, a bounded piece of them. Reads
    /// only those.
    pub async fn sweep(&self, namespace: &Namespace) -> Result<Swept, Error> {
        let expired = self.expired(namespace).await?;
        let is_full = expired.len() == SWEPT;
        let mut swept = Swept::default();
        for id in &expired {
            let place = Place { namespace, id };
            let removed = self.edit(place, Part::All, |seen| {
                let lease = seen.lease.as_ref().map(|(lease, _)| lease);
                let expired = lease.filter(|lease| {
                    let at = lease.expires_at();
                    at.is_some_and(|at| is_past(at, seen.now))
                });
                Ok(Decision {
                    batch: match expired {
                        Some(lease) => seen.removal(place, lease),
                        None => Batch::new(seen.now.millis()),
                    },
                    value: expired.is_some(),
                })
            });
            swept.leases += usize::from(removed.await?.value);
        }
        swept.has_more = is_full && swept.leases > 0;
        Ok(swept)
    }

    /// Leases that have expired, as many as a sweep removes.
    async fn expired(&self, namespace: &Namespace) -> Result<Vec<LeaseId>, Error> {
        let now = self.store.now();
        let snapshot = self.store.snapshot().await?;
        let mut expired = Vec::new();
        let mut rest = Some(Rows::all(schema::expiring(namespace)));
        let view = self.store.view(&*snapshot);
        while let Some(rows) = next(&view, &mut rest, SWEPT).await? {
            for (row, _) in rows {
                let (at, id) = schema::parse_expiring_row(&row)?;
                if expired.len() == SWEPT || !is_past(at, now) {
                    return Ok(expired);
                }
                expired.push(id);
            }
        }
        Ok(expired)
    }

    async fn edit<T>(
        &self,
        place: Place<'_>,
        part: Part<'_>,
        decide: impl Fn(&Seen) -> Result<Decision<T>, Error>,
    ) -> Result<At<T>, Error> {
        let turns = [schema::lease_key(place.namespace, place.id)];
        let look = Looking { place, part };
        self.store.edit_always(&turns, &look, decide).await
    }
}

/// A lease expires after the time that it says, not at it; as for containerd.
fn is_past(at: Timestamp, now: Timestamp) -> bool {
    at < now
}

/// Some rows of the rest, which has fewer then; `None` when nothing is left.
async fn next(
    view: &View<'_>,
    rest: &mut Option<Rows>,
    limit: usize,
) -> Result<Option<Vec<(Bytes, Versioned)>>, Error> {
    let Some(rows) = rest.take() else {
        return Ok(None);
    };
    let found = view.scan(&rows, limit).await?;
    *rest = found.rest(rows);
    Ok(Some(found.rows))
}

// === impl Place ===

impl Place<'_> {
    fn subject(&self) -> Subject {
        Subject::Lease(self.namespace.clone(), self.id.clone())
    }

    /// The row of the index of when leases expire; `None` for one that does not say.
    fn expiring(&self, lease: &Lease) -> Option<Key> {
        let at = lease.expires_at()?;
        Some(schema::expiring_key(self.namespace, at, self.id))
    }

    fn stored(&self, record: Lease, revision: Revision) -> Stored<Lease> {
        Stored {
            namespace: self.namespace.clone(),
            record,
            revision,
        }
    }

    /// The rows of what the lease is to hold; refuses more than that may be.
    fn rows(&self, resources: &BTreeSet<Resource>) -> Result<BTreeSet<Bytes>, Error> {
        let rows = resources
            .iter()
            .map(|resource| schema::leased_row(self.id, resource))
            .collect();
        self.check(Holds::of(&rows))?;
        Ok(rows)
    }

    /// Refuses more than a lease holds.
    fn check(&self, holds: Holds) -> Result<(), Error> {
        let full = |what, limit| Error::LeaseFull {
            lease: self.subject(),
            what,
            limit,
        };
        if holds.resources > Leases::MAX_RESOURCES {
            return Err(full("resources", Leases::MAX_RESOURCES));
        }
        if holds.bytes > Leases::MAX_RESOURCE_BYTES {
            return Err(full("bytes of resources", Leases::MAX_RESOURCE_BYTES));
        }
        Ok(())
    }

    async fn standing(&self, snapshot: &dyn Snapshot) -> Result<(Lease, Revision), Error> {
        let key = schema::lease_key(self.namespace, self.id);
        let row = snapshot.get(&[key]).await?.remove(0);
        let row = row.ok_or_else(|| Error::NotFound(self.subject()))?;
        Ok((
            wire::decode_lease(self.id.clone(), row.value)?,
            row.revision,
        ))
    }

    /// The rows of all that the lease holds.
    async fn held(&self, view: &View<'_>) -> Result<BTreeSet<Bytes>, Error> {
        let part = schema::leased_part(self.id);
        let mut rest = Some(Rows::starting_with(schema::leased(self.namespace), &part));
        let mut held = BTreeSet::new();
        while let Some(rows) = next(view, &mut rest, STEP).await? {
            held.extend(rows.into_iter().map(|(row, _)| row));
        }
        Ok(held)
    }
}

// === impl Looking ===

impl Look for Looking<'_> {
    type Seen = Seen;

    async fn look(&self, view: &View<'_>) -> Result<Seen, Error> {
        let Place { namespace, id } = self.place;
        let keys = [
            schema::namespace_key(namespace),
            schema::held_key(namespace, id),
            match self.part {
                Part::Record | Part::All => schema::lease_key(namespace, id),
                Part::One(resource) => schema::leased_key(namespace, id, resource),
            },
        ];
        let mut rows = view.get(&keys).await?.into_iter();
        let mut next = || rows.next().flatten();
        let (namespace, counted, third) = (next(), next(), next());
        let [.., third_key] = keys;
        let (mut lease, mut held) = (None, BTreeSet::new());
        match (self.part, third) {
            (Part::One(_), found) => held.extend(found.map(|_| third_key.row)),
            (Part::Record | Part::All, found) => {
                if let Some(row) = found {
                    let read = wire::decode_lease(id.clone(), row.value)?;
                    lease = Some((read, row.revision));
                }
            }
        }
        if let Part::All = self.part {
            held = self.place.held(view).await?;
        }
        Ok(Seen {
            namespace,
            lease,
            counted,
            held,
            now: view.now,
        })
    }
}

// === impl Seen ===

impl Seen {
    /// How much the lease holds, which is there.
    fn holds(&self, place: Place<'_>) -> Result<Holds, Error> {
        let counted = self.counted.clone();
        let row = counted.ok_or_else(|| Error::NotFound(place.subject()))?;
        wire::decode_holds(place.id, row.value)
    }

    /// Writes the lease's record, with the index of when it expires.
    fn put(&self, batch: &mut Batch, place: Place<'_>, lease: &Lease) -> Result<(), Error> {
        let value = wire::encode_lease(lease)?;
        let key = schema::lease_key(place.namespace, place.id);
        let before = self.lease.as_ref().map(|(before, _)| before);
        let before = before.and_then(|before| place.expiring(before));
        let after = place.expiring(lease);
        if before != after {
            before.map(|before| batch.delete(before));
            after.map(|after| batch.put(after, Bytes::new()));
        }
        batch.put(key, value);
        Ok(())
    }

    /// Writes how much the lease holds, if it is as it was seen.
    fn count(&self, batch: &mut Batch, place: Place<'_>, holds: Holds) {
        let key = schema::held_key(place.namespace, place.id);
        batch
            .guard(as_seen(key.clone(), self.counted.as_ref()))
            .put(key, wire::encode_holds(holds));
    }

    /// Removes the lease and all that it holds, if it is as it was seen.
    fn removal(&self, place: Place<'_>, lease: &Lease) -> Batch {
        let key = schema::held_key(place.namespace, place.id);
        let leased = schema::leased(place.namespace);
        let mut batch = Batch::new(self.now.millis());
        batch
            .guard(as_seen(key.clone(), self.counted.as_ref()))
            .delete(key)
            .delete(schema::lease_key(place.namespace, place.id))
            .frees_space();
        place.expiring(lease).map(|key| batch.delete(key));
        for row in &self.held {
            batch.delete(leased.key(row.clone()));
        }
        batch
    }
}

// === impl Holds ===

impl Holds {
    /// What these rows say.
    fn of(rows: &BTreeSet<Bytes>) -> Self {
        rows.iter()
            .fold(Self::default(), |holds, row| holds.with(row))
    }

    pub(super) fn with(self, row: &[u8]) -> Self {
        Self {
            resources: self.resources.saturating_add(1),
            bytes: self.bytes.saturating_add(row_bytes(row)),
        }
    }

    fn without(self, row: &[u8]) -> Self {
        Self {
            resources: self.resources.saturating_sub(1),
            bytes: self.bytes.saturating_sub(row_bytes(row)),
        }
    }
}

fn row_bytes(row: &[u8]) -> u32 {
    u32::try_from(row.len()).unwrap_or(u32::MAX)
}
