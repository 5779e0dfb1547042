//! Batches to commit, and what must be there after each of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::luck::Luck;
use crate::kv::{
    Batch, Change, Effect, Kv, Memory, ReadError, Revision, Rows, Snapshot, Table, Versioned,
};

/// The state after each batch, by revision; every batch changes something.
#[derive(Clone)]
pub struct History {
    states: Vec<Arc<Tables>>,
    /// What the log says of the revision after the one of the same place in `states`.
    changes: Vec<Change>,
}

type Tables = BTreeMap<String, Vec<(Bytes, Versioned)>>;

/// All that a snapshot shows.
#[derive(Debug)]
pub struct Shown {
    pub revision: Revision,
    tables: Tables,
    log: Vec<Change>,
}

/// The log's length, which the batches go past.
pub const KEEP: u64 = 30;

/// Scans of no more rows stay on the thread.
const PAGE: usize = 200;

/// Rows that come, change, grow and go in three tables, one of them unlogged, and tables that are
/// cleared. Each batch writes its number to every table, so that a half of it shows.
pub fn batches(luck: &mut Luck, many: usize) -> Vec<Batch> {
    let tables = tables();
    let batch = |number: usize| {
        let mut batch = Batch::new(number as i64);
        if luck.one_in(9) {
            batch.clear(luck.pick(&[&tables[0], &tables[1], &tables[2]]).clone());
        }
        for table in &tables {
            batch.put(table.key("number"), number.to_string());
        }
        for _ in 0..luck.below(4) {
            let key = tables[luck.below(tables.len())].key(luck.below(12).to_string());
            if luck.one_in(3) {
                batch.delete(key);
            } else {
                // A few do not fit in the journal with another, and one in a while makes it grow.
                let len = luck.pick(&[0, 20, 100, 100, 300, 300, 1000, 5000]);
                batch.put(key, vec![b'a' + (number % 26) as u8; len]);
            }
        }
        batch
    };
    (0..many).map(batch).collect()
}

fn tables() -> [Table; 3] {
    [
        Table::logged("v1/a/images"),
        Table::logged("v1/b/images"),
        Table::new("v1/a/digests"),
    ]
}

/// A batch that a later life adds, at some revision.
pub fn added(revision: Revision, len: usize) -> Batch {
    let mut batch = Batch::new(0);
    let key = Table::logged("v1/added").key(format!("{revision:08}"));
    batch.put(key, vec![b'+'; len]);
    batch
}

// === impl History ===

impl History {
    pub async fn of(batches: &[Batch]) -> Self {
        let model = Memory::new();
        let mut history = Self {
            states: vec![Arc::default()],
            changes: Vec::new(),
        };
        for batch in batches {
            model.commit(batch.clone()).await.unwrap();
            let view = model.snapshot().await.unwrap();
            let shown = Shown::by(&*view).await.unwrap();
            history.states.push(Arc::new(shown.tables));
            let newest = view.changes(history.last(), 1).await.unwrap();
            history.changes.extend(newest);
        }
        history
    }

    /// The newest revision.
    pub fn last(&self) -> Revision {
        Revision(self.changes.len() as u64)
    }

    /// Forgets what came after a revision, and goes on from there with [`added`] batches, by length.
    pub fn gone_on(&self, from: Revision, lens: &[usize]) -> Self {
        let mut history = self.clone();
        history.states.truncate(from.0 as usize + 1);
        history.changes.truncate(from.0 as usize);
        for len in lens {
            let revision = history.last().next();
            let batch = added(revision, *len);
            let (key, _) = batch.ops().first_key_value().expect("it puts a row");
            let value = Bytes::from(vec![b'+'; *len]);
            let mut tables = history.states.last().expect("there is a first").to_owned();
            let rows = Arc::make_mut(&mut tables);
            let rows = rows.entry(key.table.path().to_owned()).or_default();
            let row = Versioned {
                revision,
                value: value.clone(),
            };
            rows.push((key.row.clone(), row));
            history.states.push(tables);
            history.changes.push(Change {
                revision,
                at_millis: batch.at_millis(),
                effects: vec![Effect::Row {
                    table: key.table.path().to_owned(),
                    row: key.row.clone(),
                    value: Some(value),
                    previous: None,
                }],
            });
        }
        history
    }

    /// Says what is wrong with what a store shows, which must be the state at one revision.
    pub fn check(&self, shown: &Shown) -> Result<(), String> {
        let revision = shown.revision;
        let Some(tables) = self.states.get(revision.0 as usize) else {
            return Err(format!("revision {revision} was never asked for"));
        };
        if **tables != shown.tables {
            return Err(format!(
                "the rows at {revision} are {:?}, and should be {tables:?}",
                shown.tables
            ));
        }
        let first = shown
            .log
            .first()
            .map_or(revision.next(), |change| change.revision);
        if first.0 > (revision.0 + 1).saturating_sub(KEEP).max(1) {
            return Err(format!("the log of {revision} begins at {first} only"));
        }
        let log = &self.changes[first.0 as usize - 1..revision.0 as usize];
        if log != shown.log {
            return Err(format!("the log is {:?}, and should be {log:?}", shown.log));
        }
        Ok(())
    }
}

// === impl Shown ===

impl Shown {
    pub async fn by(view: &dyn Snapshot) -> Result<Self, ReadError> {
        let mut tables = Tables::new();
        for table in view.tables("").await? {
            let scanned = view.scan(&Rows::all(table.clone()), PAGE).await?;
            assert!(scanned.is_end, "a page holds what these tests put");
            tables.insert(table.path().to_owned(), scanned.rows);
        }
        let oldest = view.oldest_change().await?;
        let log = view
            .changes(Revision(oldest.0.saturating_sub(1)), PAGE)
            .await?;
        Ok(Self {
            revision: view.revision(),
            tables,
            log,
        })
    }
}
