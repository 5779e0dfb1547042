//! Claims as the store keeps them, and the steady clock that they go by.

use std::time::Duration;

use super::{Store, schema, wire};
use crate::domain::Timestamp;
use crate::domain::build::{Claim, Noted, Token};
use crate::error::Error;
use crate::kv::{Batch, CommitError, Guard, Key, Kv, Revision, Rows, Snapshot, Table};

/// What claims go by at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// What the steady clock shows, and the machine's.
    pub noted: Noted,
}

/// What the steady clock showed last, by the store's own note; `None` where nothing was ever noted.
pub(super) async fn noted(snapshot: &dyn Snapshot) -> Result<Option<Noted>, Error> {
    let row = snapshot.get(&[schema::steady()]).await?.remove(0);
    row.map(|row| wire::decode_steady(row.value)).transpose()
}

impl Store {
    /// What claims go by now.
    pub(super) fn moment(&self) -> Moment {
        let steady = self.inner.steady.at((self.inner.surroundings.uptime)());
        let noted = Noted {
            steady,
            wall: self.now(),
        };
        Moment { noted }
    }

    /// Writes what the steady clock shows, where there ever were claims that go by it, and nobody has just written it: so
    /// a store that is not closed loses little time. A server calls this each minute.
    pub async fn note_time(&self) -> Result<(), Error> {
        let snapshot = self.snapshot().await?;
        let moment = self.moment();
        match noted(&*snapshot).await? {
            Some(noted) if moment.now().since(noted.steady) >= NOTED_FOR => {}
            Some(_) | None => return Ok(()),
        }
        let mut batch = Batch::new(self.now().millis());
        moment.note(&mut batch);
        self.inner.kv.commit(batch).await?;
        Ok(())
    }
}

impl Moment {
    /// What the steady clock shows.
    pub fn now(&self) -> Timestamp {
        self.noted.steady
    }

    /// Has a batch note what the steady clock shows.
    pub fn note(&self, batch: &mut Batch) {
        batch.put(schema::steady(), wire::encode_steady(&self.noted));
    }
}

/// Has a batch end a claim, which frees no space. Its row stays, so that a claim is always granted over the last one as it was seen, and
/// nobody who has read before that one was granted can be given its token again; a sweep removes it after
/// [`ENDED_KEPT`].
pub(super) fn end(batch: &mut Batch, key: Key, claim: &Claim, moment: &Moment) {
    batch.put(key, wire::encode_claim(&claim.ended(moment.now())));
    moment.note(batch);
}

/// How long the row of a claim is kept that has ended: far longer than any write takes.
pub(super) const ENDED_KEPT: Duration = Duration::from_secs(3600);

/// The token of a claim that a batch grants which holds only while the claim before it is as it was seen at this
/// revision. It is larger than that one's, and the next one will be seen at a later revision.
pub(super) fn next_token(seen_at: Revision) -> Token {
    Token(seen_at.0 + 1)
}

/// How long a note of the time is as good as a new one.
const NOTED_FOR: Duration = Duration::from_secs(1);

/// Rows that are renewed at once.
const STEP: usize = 1000;

/// While a store was closed nobody could renew: claims and pins that were alive when the time was noted last have
/// their whole time again. What cannot be written then, as on a full disk, stays as it is.
pub(super) async fn renew_all(
    kv: &dyn Kv,
    noted: Timestamp,
    now: Timestamp,
    wall: Timestamp,
) -> Result<(), Error> {
    let snapshot = kv.snapshot().await?;
    for table in snapshot.tables(schema::PREFIX).await? {
        match schema::parse_tenant(&table) {
            Some((_, schema::BUILDER_CLAIMS | schema::BUILD_CLAIMS)) => {
                renew_rows(kv, &*snapshot, table, wall, |value| {
                    let claim = wire::decode_claim(value)?;
                    let is_live = claim.is_live(noted);
                    Ok(is_live.then(|| wire::encode_claim(&claim.renewed(now))))
                })
                .await?;
            }
            Some((_, schema::PINS)) => {
                renew_rows(kv, &*snapshot, table, wall, |value| {
                    let pin = wire::decode_pin(value)?;
                    let is_live = pin.is_live(noted);
                    Ok(is_live.then(|| wire::encode_pin(&pin.renewed(now))))
                })
                .await?;
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

async fn renew_rows(
    kv: &dyn Kv,
    snapshot: &dyn Snapshot,
    table: Table,
    wall: Timestamp,
    renew: impl Fn(bytes::Bytes) -> Result<Option<bytes::Bytes>, Error>,
) -> Result<(), Error> {
    let mut rest = Some(Rows::all(table.clone()));
    while let Some(rows) = rest.take() {
        let found = snapshot.scan(&rows, STEP).await?;
        rest = found.rest(rows);
        let mut batch = Batch::new(wall.millis());
        for (row, value) in found.rows {
            // What makes no sense is the matter of verify, and keeps nobody from opening the store.
            if let Ok(Some(renewed)) = renew(value.value) {
                let key: Key = table.key(row);
                batch
                    .guard(Guard::Unchanged(key.clone(), value.revision))
                    .put(key, renewed);
            }
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
