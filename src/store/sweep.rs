//! What time alone removes: answers to requests, leases, claims and pins, and the history of names that are gone.

use bytes::Bytes;

use super::claims::sweep_claims;
use super::configs::sweep_links;
use super::edit::as_seen;
use super::namespaces::Namespaces;
use super::{Store, request, schema};
use crate::domain::{HistoryLimit, ImageName, Namespace, Timestamp};
use crate::error::Error;
use crate::kv::{Batch, CommitError, Guard, Revision, Rows, Snapshot};

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Days of answers to requests.
    pub days: usize,
    /// Names whose history has expired.
    pub names: usize,
    /// Leases that have expired.
    pub leases: usize,
    /// Configs that have gone, with what their children still had of them.
    pub parents: usize,
    /// Claims on builders and build targets that have ended.
    pub claims: usize,
    /// Pins that have ended.
    pub pins: usize,
    /// Whether there is more to remove at once.
    pub has_more: bool,
}

/// How long the history of a name is kept that was removed.
const KEEP_DELETED_DAYS: i64 = 30;

/// Names that a sweep looks at in each namespace at most.
const NAMES: usize = 200;

impl Store {
    /// Removes what has expired by the store's clock, a bounded piece of it.
    ///
    /// A server calls this now and then; an embedder who does not run one does too. Also notes the time that claims go
    /// by, where there ever were any, so that a store that is not closed loses little of it.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let now = self.now();
        match self.note_time().await {
            // What frees space comes next.
            Ok(()) | Err(Error::DiskFull { .. }) => {}
            Err(other) => return Err(other),
        }
        let snapshot = self.snapshot().await?;
        let mut swept = Swept {
            days: self.forget_requests(&*snapshot, now).await?,
            ..Swept::default()
        };
        for namespace in Namespaces::names(&*snapshot).await? {
            let expired = expired(&*snapshot, &namespace, now).await?;
            let is_full = expired.len() == NAMES;
            let mut has_removed = false;
            for (row, name) in expired {
                match self.forget_name(&namespace, &row, &name, now).await? {
                    Forgotten::Whole => swept.names += 1,
                    Forgotten::Partly => swept.has_more = true,
                    Forgotten::Not => continue,
                }
                has_removed = true;
            }
            swept.has_more |= is_full && has_removed;
            let leases = self.leases().sweep(&namespace).await?;
            swept.leases += leases.leases;
            swept.has_more |= leases.has_more;
            let links = sweep_links(self, &*snapshot, &namespace).await?;
            swept.parents += links.links;
            swept.has_more |= links.has_more;
            let ended = sweep_claims(self, &*snapshot, &namespace).await?;
            swept.claims += ended.claims;
            swept.pins += ended.pins;
            swept.has_more |= ended.has_more;
        }
        Ok(swept)
    }

    /// Drops the answers of all days but today and yesterday, each day in one step.
    async fn forget_requests(
        &self,
        snapshot: &dyn Snapshot,
        now: Timestamp,
    ) -> Result<usize, Error> {
        let yesterday = request::day(now).saturating_sub(1);
        let mut batch = Batch::new(now.millis());
        let mut days = 0;
        for table in snapshot.tables(schema::REQUESTS).await? {
            if schema::parse_requests(&table).is_some_and(|day| day < yesterday) {
                batch.clear(table);
                days += 1;
            }
        }
        if days > 0 {
            batch.frees_space();
            self.inner.kv.commit(batch).await?;
        }
        Ok(days)
    }

    /// Removes the history of a name, unless the name is there again.
    async fn forget_name(
        &self,
        namespace: &Namespace,
        (row, written): &(Bytes, Revision),
        name: &ImageName,
        now: Timestamp,
    ) -> Result<Forgotten, Error> {
        let snapshot = self.snapshot().await?;
        let history = schema::history(namespace);
        let of_name = Rows::starting_with(history.clone(), &schema::history_part(name));
        let held = snapshot.scan(&of_name, MOST_HELD).await?;
        let until = schema::forgotten_key(namespace);
        let noted = snapshot
            .get(std::slice::from_ref(&until))
            .await?
            .pop()
            .flatten();
        drop(snapshot);
        let deleted = schema::deleted(namespace).key(row.clone());
        let mut batch = Batch::new(now.millis());
        // The row goes when the name is put again, and another comes when it is removed again.
        batch
            .guard(Guard::Absent(schema::image_key(namespace, name)))
            .guard(Guard::Unchanged(deleted.clone(), *written))
            .frees_space();
        let mut rows = held.rows;
        if !held.is_end {
            // The newest of all has to stay the last to go, and may be the last of these.
            rows.pop();
        }
        for (row, _) in rows {
            batch.delete(history.key(row));
        }
        if held.is_end {
            batch.delete(deleted);
            // The index was written when the name was removed, and its history ended then.
            let is_noted = match &noted {
                Some(noted) => schema::parse_forgotten(noted)? >= *written,
                None => false,
            };
            if !is_noted {
                batch
                    .guard(as_seen(until.clone(), noted.as_ref()))
                    .put(until, written.0.to_be_bytes().to_vec());
            }
        }
        match self.inner.kv.commit(batch).await {
            Ok(_) if held.is_end => Ok(Forgotten::Whole),
            Ok(_) => Ok(Forgotten::Partly),
            Err(CommitError::Broken(_)) => Ok(Forgotten::Not),
            Err(other) => Err(other.into()),
        }
    }
}

/// What became of a name's history.
enum Forgotten {
    Whole,
    /// There was more of it than is read at once: the oldest of it is gone.
    Partly,
    /// The name is there again.
    Not,
}

/// More generations than a name can have.
const MOST_HELD: usize = 2 * HistoryLimit::MAX as usize;

/// The names of a namespace that were removed so long ago that their history goes too.
async fn expired(
    snapshot: &dyn Snapshot,
    namespace: &Namespace,
    now: Timestamp,
) -> Result<Vec<((Bytes, Revision), ImageName)>, Error> {
    let kept = KEEP_DELETED_DAYS * 24 * 3600 * 1000;
    let before = u64::try_from(now.millis().saturating_sub(kept)).unwrap_or(0);
    let found = snapshot
        .scan(&Rows::all(schema::deleted(namespace)), NAMES)
        .await?;
    let mut expired = Vec::new();
    for (row, value) in found.rows {
        let (at, name) = schema::parse_deleted_row(&row)?;
        if at >= before {
            break;
        }
        expired.push(((row, value.revision), name));
    }
    Ok(expired)
}
