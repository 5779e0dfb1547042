//! Rows of targets and of claims on them, as a call sees them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::TargetEntry;
use crate::domain::build::{Claim, ClaimRefused, Moment, TargetKey, TargetSelector};
use crate::domain::{Invalid, Namespace};
use crate::error::{Error, Subject};
use crate::kv::{Batch, Guard, Key, Revision, Rows, Versioned};
use crate::store::claims::{ClaimPlace, SeenClaim};
use crate::store::edit::{Look, View};
use crate::store::epoch::Known;
use crate::store::schema;
use crate::store::wire::{self, TargetRow};

/// A target as it was seen.
#[derive(Clone, Debug)]
pub struct SeenTarget {
    pub row: Arc<TargetRow>,
    pub revision: Revision,
    /// Bytes that its record takes.
    pub bytes: usize,
}

/// A look at some targets, and at who is at them.
pub struct Looking<'a> {
    pub namespace: &'a Namespace,
    pub keys: &'a [TargetKey],
}

/// What it saw, in the order of the keys.
pub struct Seen {
    pub targets: Vec<Option<SeenTarget>>,
    pub claims: Vec<Option<SeenClaim>>,
    pub known: Known,
    pub moment: Moment,
}

pub fn subject(namespace: &Namespace, key: &TargetKey) -> Subject {
    Subject::Target(namespace.clone(), key.to_string())
}

pub fn not_found(namespace: &Namespace, key: &TargetKey) -> Error {
    Error::NotFound(subject(namespace, key))
}

pub fn refused(namespace: &Namespace, key: &TargetKey, refused: ClaimRefused) -> Error {
    Error::Claim {
        subject: subject(namespace, key),
        refused,
    }
}

/// All claims on the targets of a namespace.
pub async fn claims(
    view: &View<'_>,
    namespace: &Namespace,
) -> Result<BTreeMap<TargetKey, SeenClaim>, Error> {
    let rows = view.all(Rows::all(schema::build_claims(namespace))).await?;
    let read = |(row, value): (Bytes, Versioned)| {
        Ok((schema::parse_build_target(&row)?, SeenClaim::of(value)?))
    };
    rows.into_iter().map(read).collect()
}

/// Where the claim on a target is.
pub fn claim_place<'a>(
    namespace: &Namespace,
    key: &TargetKey,
    seen: Option<&'a SeenClaim>,
    moment: Moment,
) -> ClaimPlace<'a> {
    ClaimPlace {
        key: schema::build_claim_key(namespace, key),
        seen,
        moment,
    }
}

/// Has a batch write a target again, if it is as it was seen. Refuses one more place that the record has no room for.
pub fn rewrite(
    batch: &mut Batch,
    namespace: &Namespace,
    seen: &SeenTarget,
    row: &TargetRow,
) -> Result<(), Invalid> {
    let key = seen.key(namespace);
    let value = wire::encode_target(row, &seen.row)?;
    batch
        .guard(Guard::Unchanged(key.clone(), seen.revision))
        .put(key, value);
    Ok(())
}

// === impl SeenTarget ===

impl SeenTarget {
    pub fn of(key: TargetKey, value: Versioned) -> Result<Self, Error> {
        Ok(Self {
            revision: value.revision,
            bytes: value.value.len(),
            row: Arc::new(wire::decode_target(key, value.value)?),
        })
    }

    pub fn target(&self) -> &TargetKey {
        self.row.target.key()
    }

    pub fn key(&self, namespace: &Namespace) -> Key {
        schema::build_target_key(namespace, self.target())
    }

    pub fn is_selected(&self, selector: &TargetSelector) -> bool {
        selector.selects(&self.row.target, self.row.progress.state)
    }

    pub fn entry(&self, namespace: &Namespace, claim: Option<Claim>) -> TargetEntry {
        TargetEntry::of(namespace, (*self.row).clone(), claim, self.revision)
    }
}

// === impl TargetEntry ===

impl TargetEntry {
    pub fn of(
        namespace: &Namespace,
        row: TargetRow,
        claim: Option<Claim>,
        revision: Revision,
    ) -> Self {
        Self {
            namespace: namespace.clone(),
            target: row.target,
            source: row.source,
            progress: row.progress,
            updated_at: row.updated_at,
            claim,
            revision,
        }
    }
}

// === impl Looking ===

impl Look for Looking<'_> {
    type Seen = Seen;

    async fn look(&self, view: &View<'_>) -> Result<Seen, Error> {
        let keys: Vec<Key> = self
            .keys
            .iter()
            .map(|key| schema::build_target_key(self.namespace, key))
            .chain(
                self.keys
                    .iter()
                    .map(|key| schema::build_claim_key(self.namespace, key)),
            )
            .collect();
        let mut rows = view.get(&keys).await?;
        let claims = rows.split_off(self.keys.len());
        let target = |(key, row): (&TargetKey, Option<Versioned>)| {
            row.map(|row| SeenTarget::of(key.clone(), row)).transpose()
        };
        let targets = self.keys.iter().zip(rows).map(target);
        let claims = claims
            .into_iter()
            .map(|row| row.map(SeenClaim::of).transpose());
        Ok(Seen {
            targets: targets.collect::<Result<_, _>>()?,
            claims: claims.collect::<Result<_, _>>()?,
            known: view.known.clone(),
            moment: view.moment,
        })
    }
}

impl Seen {
    /// The only target that was looked at, and its claim.
    pub fn one(&self) -> (Option<&SeenTarget>, Option<&SeenClaim>) {
        let target = self.targets.first().and_then(Option::as_ref);
        (target, self.claims.first().and_then(Option::as_ref))
    }

    pub fn batch(&self) -> Batch {
        Batch::new(self.moment.wall.millis())
    }
}
