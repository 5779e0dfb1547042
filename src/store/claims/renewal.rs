//! Renewing all claims and pins of a store that was closed.

use bytes::Bytes;

use crate::domain::Timestamp;
use crate::error::Error;
use crate::kv::{Batch, CommitError, Guard, Kv, Rows, Snapshot, Table};
use crate::store::{schema, wire};

/// Rows that are renewed at once.
const STEP: usize = 1000;

/// While a store was closed nobody could renew: claims and pins that were alive when the time was noted last have
/// their whole time again. What cannot be written then, as on a full disk, stays as it is.
pub async fn renew_all(
    kv: &dyn Kv,
    noted: Timestamp,
    now: Timestamp,
    wall: Timestamp,
) -> Result<(), Error> {
    let renewed_claim = |value| {
        let claim = wire::decode_claim(value).ok()?;
        let is_live = claim.is_live(noted);
        is_live.then(|| wire::encode_claim(&claim.renewed(now)))
    };
    let renewed_pin = |value| {
        let pin = wire::decode_pin(value).ok()?;
        let is_live = pin.is_live(noted);
        is_live.then(|| wire::encode_pin(&pin.renewed(now)))
    };
    let snapshot = kv.snapshot().await?;
    for table in snapshot.tables(schema::PREFIX).await? {
        match schema::parse_tenant(&table) {
            Some((_, schema::BUILDER_CLAIMS | schema::BUILD_CLAIMS)) => {
                renew_rows(kv, &*snapshot, table, wall, renewed_claim).await?;
            }
            Some((_, schema::PINS)) => {
                renew_rows(kv, &*snapshot, table, wall, renewed_pin).await?;
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// One that makes no sense is not renewed: it is the matter of verify, and keeps nobody from opening the store.
async fn renew_rows(
    kv: &dyn Kv,
    snapshot: &dyn Snapshot,
    table: Table,
    wall: Timestamp,
    renewed: impl Fn(Bytes) -> Option<Bytes>,
) -> Result<(), Error> {
    let mut rest = Some(Rows::all(table.clone()));
    while let Some(rows) = rest.take() {
        let found = snapshot.scan(&rows, STEP).await?;
        rest = found.rest(rows);
        let mut batch = Batch::new(wall.millis());
        for (row, value) in found.rows {
            let Some(value_now) = renewed(value.value) else {
                continue;
            };
            let key = table.key(row);
            batch
                .guard(Guard::Unchanged(key.clone(), value.revision))
                .put(key, value_now);
        }
        if batch.is_empty() {
            continue;
        }
        match kv.commit(batch).await {
            Ok(_)
            | Err(CommitError::Broken(_) | CommitError::Full { .. } | CommitError::Stopped(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}
