//! Checking the store against itself: records against their index, the change log against the state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

use super::{Store, schema, wire};
use crate::domain::Namespace;
use crate::error::Error;
use crate::kv::{Effect, Revision, Rows, Snapshot, Table};

/// Something in the store that does not fit the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The table's path.
    pub table: String,
    /// The row's key, escaped; empty where the table as a whole is meant.
    pub row: String,
    pub what: String,
}

impl Problem {
    fn new(table: &Table, row: &[u8], what: impl Into<String>) -> Self {
        Self {
            table: table.path().to_owned(),
            row: row.escape_ascii().to_string(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]: {}", self.table, self.row, self.what)
    }
}

/// Rows that are read at once.
const STEP: usize = 1000;

impl Store {
    /// All that does not fit, at one revision. Reads everything, and keeps a namespace at a time and
    /// what the change log says last of each row in memory.
    pub async fn verify(&self) -> Result<Vec<Problem>, Error> {
        let snapshot = self.snapshot().await?;
        let mut problems = Vec::new();
        let names = namespaces(&*snapshot, &mut problems).await?;
        for name in &names {
            images(&*snapshot, name, &mut problems).await?;
        }
        orphans(&*snapshot, &names, &mut problems).await?;
        log(&*snapshot, &mut problems).await?;
        Ok(problems)
    }
}

/// All rows of a table.
async fn rows(
    snapshot: &dyn Snapshot,
    table: &Table,
) -> Result<BTreeMap<Bytes, crate::kv::Versioned>, Error> {
    let mut all = BTreeMap::new();
    loop {
        let mut rows = Rows::all(table.clone());
        if let Some((last, _)) = all.last_key_value() {
            rows = rows.after(Bytes::clone(last));
        }
        let found = snapshot.scan(&rows, STEP).await?;
        all.extend(found.rows);
        if found.is_end {
            return Ok(all);
        }
    }
}

/// The namespaces that there are.
async fn namespaces(
    snapshot: &dyn Snapshot,
    problems: &mut Vec<Problem>,
) -> Result<Vec<Namespace>, Error> {
    let table = schema::namespaces();
    let mut names = Vec::new();
    for (row, value) in rows(snapshot, &table).await? {
        let named = schema::parse_namespace(&row);
        names.extend(named.as_ref().ok().cloned());
        if let Err(cause) = named.and_then(|name| wire::decode_namespace(name, value.value)) {
            problems.push(Problem::new(&table, &row, cause.to_string()));
        }
    }
    Ok(names)
}

/// Each image has its one index row, and each index row its image.
async fn images(
    snapshot: &dyn Snapshot,
    namespace: &Namespace,
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    let (images, digests) = (schema::images(namespace), schema::digests(namespace));
    let mut index: BTreeSet<Bytes> = rows(snapshot, &digests).await?.into_keys().collect();
    for (row, value) in rows(snapshot, &images).await? {
        if value.revision > snapshot.revision() {
            problems.push(Problem::new(
                &images,
                &row,
                "was written at a revision to come",
            ));
        }
        let image = schema::parse_name(&row).and_then(|name| wire::decode_image(name, value.value));
        match image {
            Err(cause) => problems.push(Problem::new(&images, &row, cause.to_string())),
            Ok(image) => {
                if !index.remove(&schema::digest_row(image.target.digest(), &image.name)) {
                    problems.push(Problem::new(&images, &row, "is not in the digest index"));
                }
            }
        }
    }
    for row in index {
        problems.push(Problem::new(
            &digests,
            &row,
            "names an image that does not point there",
        ));
    }
    Ok(())
}

/// No table outlives its namespace.
async fn orphans(
    snapshot: &dyn Snapshot,
    names: &[Namespace],
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    let mut known: BTreeSet<Table> = names.iter().flat_map(schema::tenant_tables).collect();
    known.insert(schema::namespaces());
    for table in snapshot.tables(schema::PREFIX).await? {
        if !known.contains(&table) {
            problems.push(Problem::new(&table, b"", "belongs to no namespace"));
        }
    }
    Ok(())
}

/// What the log says last of a row is what the row is; revisions follow each other without a gap.
async fn log(snapshot: &dyn Snapshot, problems: &mut Vec<Problem>) -> Result<(), Error> {
    let log = Table::new(schema::CHANGES);
    let oldest = snapshot.oldest_change().await?;
    let mut last: BTreeMap<(String, Bytes), Option<(Revision, Bytes)>> = BTreeMap::new();
    let mut at = Revision(oldest.0.saturating_sub(1));
    loop {
        let changes = snapshot.changes(at, STEP).await?;
        if changes.is_empty() {
            break;
        }
        for change in changes {
            if change.revision != at.next() {
                let what = format!("revision {} follows {at}", change.revision);
                problems.push(Problem::new(&log, b"", what));
            }
            at = change.revision;
            for effect in change.effects {
                match effect {
                    Effect::Row {
                        table,
                        row,
                        value,
                        previous,
                    } => {
                        let now = value.map(|value| (change.revision, value));
                        let before = last.insert((table.clone(), row.clone()), now);
                        if before.is_some_and(|before| before.map(|(_, value)| value) != previous) {
                            let what = format!("revision {at} had another previous value");
                            problems.push(Problem::new(&Table::new(table), &row, what));
                        }
                    }
                    Effect::Cleared { table, .. } => {
                        for ((_, _), now) in last
                            .range_mut((table.clone(), Bytes::new())..)
                            .take_while(|((of, _), _)| *of == table)
                        {
                            *now = None;
                        }
                    }
                }
            }
        }
    }
    if at != snapshot.revision() {
        let what = format!(
            "ends at revision {at}, and the store is at {}",
            snapshot.revision()
        );
        problems.push(Problem::new(&log, b"", what));
    }
    for ((table, row), logged) in last {
        let table = Table::new(table);
        let is = snapshot
            .get(&[table.key(row.clone())])
            .await?
            .pop()
            .flatten();
        if is.map(|row| (row.revision, row.value)) != logged {
            problems.push(Problem::new(
                &table,
                &row,
                "is not what the change log says",
            ));
        }
    }
    Ok(())
}
