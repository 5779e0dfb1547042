//! Checking the store against itself: indexes, history and what leases hold against records, configs against
//! their ids, claims and pins against what they are on, the change log against the state; and rebuilding the indexes.

mod builds;
mod configs;
mod leases;
mod log;
mod repair;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use self::repair::Fix;
use super::wire::{HistoryRow, ImageRow};
use super::{EndedBy, LONG_READ_TIME, MAX_LONG_READS, Store, schema, wire};
use crate::domain::{Image, ImageName, Namespace};
use crate::error::Error;
use crate::kv::{Guard, Revision, Rows, Snapshot, Table, Versioned};

/// Something in the store that does not fit the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The table's path.
    pub table: String,
    /// The row's key, escaped; empty where the table as a whole is meant.
    pub row: String,
    pub what: String,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The revision that was checked.
    pub revision: Revision,
    /// How many rows were read.
    pub rows: u64,
    /// The first 10,000 problems.
    pub problems: Vec<Problem>,
    /// How many problems there are.
    pub count: u64,
}

/// Problems that are told one by one.
const TOLD: usize = 10_000;

/// Rows that are read at once.
const STEP: usize = 1000;

/// A check under way.
struct Check {
    snapshot: Arc<dyn Snapshot>,
    found: Verified,
    /// What would mend some of what was found.
    fixes: Vec<Fix>,
}

impl Store {
    /// All that does not fit, at one revision. Reads everything, a bounded piece at a time, and keeps
    /// in memory what the change log says last of each row.
    ///
    /// [`Error::TooManySnapshots`] when too many long reads are under way, [`Error::SnapshotExpired`] when
    /// it takes more than ten minutes.
    pub async fn verify(&self) -> Result<Verified, Error> {
        let Ok(_permit) = self.inner.long_reads.clone().try_acquire_owned() else {
            return Err(Error::TooManySnapshots {
                limit: MAX_LONG_READS,
            });
        };
        let mut check = Check::new(self.snapshot().await?);
        let checked = timeout(LONG_READ_TIME, check.all()).await;
        checked.map_err(|_| Error::SnapshotExpired {
            minutes: LONG_READ_TIME.as_secs() / 60,
        })??;
        Ok(check.found)
    }
}

impl Check {
    fn new(snapshot: Arc<dyn Snapshot>) -> Self {
        Self {
            found: Verified {
                revision: snapshot.revision(),
                ..Verified::default()
            },
            snapshot,
            fixes: Vec::new(),
        }
    }

    async fn all(&mut self) -> Result<(), Error> {
        let names = self.records().await?;
        self.tables(&names).await?;
        self.log().await
    }

    /// All records and what leads to them; returns the namespaces.
    async fn records(&mut self) -> Result<Vec<Namespace>, Error> {
        let names = self.namespaces().await?;
        for name in &names {
            self.images(name).await?;
            self.digests(name).await?;
            self.history(name).await?;
            self.deleted(name).await?;
            self.forgotten(name).await?;
            self.leases(name).await?;
            self.leased(name).await?;
            self.held(name).await?;
            self.expiring(name).await?;
            self.configs(name).await?;
            self.builds(name).await?;
        }
        self.steady().await?;
        Ok(names)
    }

    /// Remembers what would mend a problem, for as many as are told.
    fn mend(&mut self, fix: Fix) {
        if self.fixes.len() < TOLD {
            self.fixes.push(fix);
        }
    }

    fn report(&mut self, table: &Table, row: &[u8], what: impl Into<String>) {
        self.found.count += 1;
        if self.found.problems.len() < TOLD {
            self.found.problems.push(Problem {
                table: table.path().to_owned(),
                row: row.escape_ascii().to_string(),
                what: what.into(),
            });
        }
    }

    /// Reports a row that is to go, as long as it is the one that was seen.
    fn report_to_remove(
        &mut self,
        table: &Table,
        row: Bytes,
        seen: Revision,
        what: impl Into<String>,
    ) {
        self.report(table, &row, what);
        let key = table.key(row);
        self.mend(Fix::remove(Guard::Unchanged(key.clone(), seen), key));
    }

    /// The rows after some place; none at the end.
    async fn next(
        &mut self,
        table: &Table,
        past: &mut Option<Bytes>,
    ) -> Result<Vec<(Bytes, Versioned)>, Error> {
        let mut wanted = Rows::all(table.clone());
        if let Some(past) = past {
            wanted = wanted.after(past.clone());
        }
        let found = self.snapshot.scan(&wanted, STEP).await?.rows;
        self.found.rows += found.len() as u64;
        *past = found.last().map(|(row, _)| row.clone());
        // Others have the thread between two steps.
        tokio::task::consume_budget().await;
        Ok(found)
    }

    /// The namespaces that there are.
    async fn namespaces(&mut self) -> Result<Vec<Namespace>, Error> {
        let table = schema::namespaces();
        let (mut names, mut past) = (Vec::new(), None);
        loop {
            let rows = self.next(&table, &mut past).await?;
            if rows.is_empty() {
                return Ok(names);
            }
            for (row, value) in rows {
                let named = schema::parse_namespace(&row);
                names.extend(named.as_ref().ok().cloned());
                if let Err(cause) = named.and_then(|name| wire::decode_namespace(name, value.value))
                {
                    self.report(&table, &row, cause.to_string());
                }
            }
        }
    }

    /// Each image can be read, and is in the index of digests.
    async fn images(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let (images, digests) = (schema::images(namespace), schema::digests(namespace));
        let mut past = None;
        loop {
            let rows = self.next(&images, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let (mut sound, mut keys) = (Vec::new(), Vec::new());
            for (row, value) in rows {
                if value.revision > self.found.revision {
                    self.report(&images, &row, "was written at a revision to come");
                }
                let revision = value.revision;
                match image(&row, value) {
                    Err(cause) => self.report(&images, &row, cause.to_string()),
                    Ok(image) => {
                        keys.push(digests.key(digest_row(&image)));
                        sound.push((row, revision));
                    }
                }
            }
            let indexed = self.snapshot.get(&keys).await?;
            for (((row, revision), key), indexed) in sound.into_iter().zip(keys).zip(indexed) {
                if indexed.is_none() {
                    self.report(&images, &row, "is not in the digest index");
                    let guard = Guard::Unchanged(images.key(row), revision);
                    self.mend(Fix::add(guard, key));
                }
            }
        }
    }

    /// Each row of the index of digests leads to an image that points there.
    async fn digests(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let (images, digests) = (schema::images(namespace), schema::digests(namespace));
        let mut past = None;
        loop {
            let rows = self.next(&digests, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                let leads = match schema::parse_digest_row(&row) {
                    Err(_) => false,
                    Ok((_, name)) => {
                        let key = images.key(schema::image_row(&name));
                        let found = self.snapshot.get(&[key]).await?.pop().flatten();
                        let found = found.map(|value| wire::decode_image(name, value.value));
                        matches!(found, Some(Ok(found)) if digest_row(&found.image) == row)
                    }
                };
                if !leads {
                    let what = "names an image that does not point there";
                    self.report_to_remove(&digests, row, value.revision, what);
                }
            }
        }
    }

    /// The generations of a name follow each other and end before the record that stands; a name that
    /// is history only is in the index of those.
    async fn history(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let table = schema::history(namespace);
        let (mut past, mut before) = (None, None::<Ended>);
        loop {
            let rows = self.next(&table, &mut past).await?;
            let is_end = rows.is_empty();
            for (row, value) in rows {
                let ended = match Ended::read(&row, value) {
                    Ok(ended) => ended,
                    Err(cause) => {
                        self.report(&table, &row, cause.to_string());
                        continue;
                    }
                };
                if ended.by <= ended.made || ended.by > self.found.revision {
                    let what = format!(
                        "was made at revision {} and ended at {}",
                        ended.made, ended.by
                    );
                    self.report(&table, &row, what);
                }
                match before.take_if(|before| before.name != ended.name) {
                    Some(last) => self.last_of_name(namespace, &last).await?,
                    None => {
                        if before
                            .as_ref()
                            .is_some_and(|before| !before.precedes(&ended))
                        {
                            let what = "does not follow the generation before it";
                            self.report(&table, &row, what);
                        }
                    }
                }
                before = Some(ended);
            }
            if is_end {
                if let Some(last) = before {
                    self.last_of_name(namespace, &last).await?;
                }
                return Ok(());
            }
        }
    }

    async fn last_of_name(&mut self, namespace: &Namespace, last: &Ended) -> Result<(), Error> {
        let table = schema::history(namespace);
        let row = schema::history_row(&last.name, last.made);
        let keys = [
            schema::image_key(namespace, &last.name),
            schema::deleted_key(namespace, last.held.ended_at, &last.name),
        ];
        let found = self.snapshot.get(&keys).await?;
        match &found[0] {
            Some(standing) => {
                let made = standing.revision;
                let follows = wire::decode_image(last.name.clone(), standing.value.clone())
                    .is_ok_and(|held| held.ordinal > last.held.row.ordinal && made >= last.by);
                if !follows {
                    let what = "ends after the record that stands was made";
                    self.report(&table, &row, what);
                }
            }
            None => {
                if last.held.ended_by != EndedBy::Delete {
                    let what = "ended when the name was put again, and there is no such record";
                    self.report(&table, &row, what);
                }
                if found[1].is_none() {
                    let what = "is of a removed name that is not in the index of those";
                    self.report(&table, &row, what);
                    if last.held.ended_by == EndedBy::Delete {
                        let [image, deleted] = keys;
                        self.mend(Fix::add(Guard::Absent(image), deleted));
                    }
                }
            }
        }
        Ok(())
    }

    /// Each row of the index of removed names leads to a history that ended then.
    async fn deleted(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let deleted = schema::deleted(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&deleted, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                let leads = match schema::parse_deleted_row(&row) {
                    Err(_) => false,
                    Ok((_, name)) => self.was_removed(namespace, &name, &row).await?,
                };
                if !leads {
                    let what = "names what is not history only, or was not removed then";
                    self.report_to_remove(&deleted, row, value.revision, what);
                }
            }
        }
    }

    /// The note of dropped history can be read, and is of this store's past.
    async fn forgotten(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let table = schema::forgotten(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&table, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                let is_sound = table.key(row.clone()) == schema::forgotten_key(namespace)
                    && schema::parse_forgotten(&value)
                        .is_ok_and(|until| until <= self.found.revision);
                if !is_sound {
                    self.report(&table, &row, "is no revision that was");
                }
            }
        }
    }

    async fn was_removed(
        &self,
        namespace: &Namespace,
        name: &ImageName,
        row: &[u8],
    ) -> Result<bool, Error> {
        let image = schema::image_key(namespace, name);
        if self.snapshot.get(&[image]).await?[0].is_some() {
            return Ok(false);
        }
        let part = schema::history_part(name);
        let of_name = Rows::starting_with(schema::history(namespace), &part);
        let last = self.snapshot.scan(&of_name.reversed(), 1).await?.rows.pop();
        let last = last.map(|(row, value)| Ended::read(&row, value));
        Ok(matches!(last, Some(Ok(last))
            if last.held.ended_by == EndedBy::Delete && schema::deleted_row(last.held.ended_at, name) == row))
    }

    /// No table outlives its namespace.
    async fn tables(&mut self, names: &[Namespace]) -> Result<(), Error> {
        let names: BTreeSet<&str> = names.iter().map(Namespace::as_str).collect();
        for table in self.snapshot.tables(schema::PREFIX).await? {
            let is_known = table == schema::namespaces()
                || schema::parse_requests(&table).is_some()
                || schema::parse_tenant(&table).is_some_and(|(name, _)| names.contains(name));
            if !is_known {
                self.report(&table, b"", "belongs to no namespace");
            }
        }
        Ok(())
    }
}

/// A row of history, read.
struct Ended {
    name: ImageName,
    made: Revision,
    /// The revision that ended it.
    by: Revision,
    held: HistoryRow,
}

impl Ended {
    fn read(row: &[u8], value: Versioned) -> Result<Self, Error> {
        let (name, made) = schema::parse_history_row(row)?;
        Ok(Self {
            held: wire::decode_history(name.clone(), value.value)?,
            name,
            made,
            by: value.revision,
        })
    }

    /// Whether the other can be a later generation of the same name.
    fn precedes(&self, later: &Self) -> bool {
        self.by <= later.made && self.held.row.ordinal < later.held.row.ordinal
    }
}

fn image(row: &[u8], value: Versioned) -> Result<Image, Error> {
    let name = schema::parse_name(row)?;
    let ImageRow { image, .. } = wire::decode_image(name, value.value)?;
    Ok(image)
}

fn digest_row(image: &Image) -> Bytes {
    schema::digest_row(image.target.digest(), &image.name)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]: {}", self.table, self.row, self.what)
    }
}
