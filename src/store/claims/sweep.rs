//! Removing claims and pins that have ended, of builders and of build targets.

use std::time::Duration;

use crate::domain::{Namespace, Timestamp};
use crate::error::Error;
use crate::kv::{Batch, CommitError, Guard, Rows, Snapshot, Table, Versioned};
use crate::store::{Store, schema, wire};

/// What a sweep removed of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweptClaims {
    pub claims: usize,
    pub pins: usize,
    /// Whether there is more to remove at once.
    pub has_more: bool,
}

/// How long the row of a claim is kept that has ended: far longer than any write takes.
pub(super) const ENDED_KEPT: Duration = Duration::from_secs(3600);

/// Rows of a table that a sweep removes at most, in one batch.
const REMOVED: usize = 500;

/// Rows that are read at once.
const STEP: usize = 1000;

/// Removes a bounded piece of the claims and pins of a namespace that have ended. What cannot be read stays.
pub async fn sweep_claims(
    store: &Store,
    snapshot: &dyn Snapshot,
    namespace: &Namespace,
) -> Result<SweptClaims, Error> {
    let now = store.moment().steady;
    let is_over = |deadline: Timestamp| now >= deadline.plus(ENDED_KEPT);
    let has_claim_ended = |row: &Versioned| {
        let claim = wire::decode_claim(row.value.clone());
        claim.is_ok_and(|claim| is_over(claim.deadline))
    };
    let has_pin_ended = |row: &Versioned| {
        let pin = wire::decode_pin(row.value.clone());
        pin.is_ok_and(|pin| !pin.is_live(now))
    };
    let mut swept = SweptClaims::default();
    for table in [
        schema::builder_claims(namespace),
        schema::build_claims(namespace),
    ] {
        let (removed, has_more) = sweep_table(store, snapshot, table, has_claim_ended).await?;
        swept.claims += removed;
        swept.has_more |= has_more;
    }
    let pins = schema::pins(namespace);
    let (removed, has_more) = sweep_table(store, snapshot, pins, has_pin_ended).await?;
    swept.pins = removed;
    swept.has_more |= has_more;
    Ok(swept)
}

/// How many rows were removed, and whether there are more.
async fn sweep_table(
    store: &Store,
    snapshot: &dyn Snapshot,
    table: Table,
    has_ended: impl Fn(&Versioned) -> bool,
) -> Result<(usize, bool), Error> {
    let mut rest = Some(Rows::all(table.clone()));
    let mut batch = Batch::new(store.now().millis());
    let mut removed = 0;
    'rows: while let Some(rows) = rest.take() {
        let found = snapshot.scan(&rows, STEP).await?;
        rest = found.rest(rows);
        for (row, value) in found.rows.into_iter().filter(|(_, value)| has_ended(value)) {
            if removed == REMOVED {
                break 'rows;
            }
            removed += 1;
            let key = table.key(row);
            batch
                .guard(Guard::Unchanged(key.clone(), value.revision))
                .delete(key);
        }
    }
    if removed == 0 {
        return Ok((0, false));
    }
    batch.frees_space();
    match store.inner.kv.commit(batch).await {
        Ok(_) => Ok((removed, removed == REMOVED)),
        // Somebody took one of them meanwhile: another time.
        Err(CommitError::Broken(_)) => Ok((0, false)),
        Err(other) => Err(other.into()),
    }
}
