//! Compaction under writers, readers, crashes, failures and a close.

mod crashes;
mod meanwhile;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use bytes::Bytes;

use super::super::medium::{FileMedium, Shadow};
use super::super::{OpenMedium, Options, Redb};
use super::*;
use crate::kv::{Change, Kv, Rows, Snapshot, Table, Versioned};

fn images() -> Table {
    Table::logged("v1/a/images")
}

fn put(row: &str, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::new(0);
    batch.put(images().key(row.to_owned()), value);
    batch
}

/// A store with much in it that was deleted since.
async fn sparse(kv: &Redb, rows: u32) {
    for chunk in 0..rows / 100 {
        let mut batch = Batch::new(1);
        for row in 0..100 {
            let row = format!("{:06}", chunk * 100 + row);
            batch.put(images().key(row.clone()), vec![7; 700]);
            batch.put(Table::new("v1/a/digests").key(row.clone()), "");
            batch.put(Table::new("v1/b/images").key(row), vec![7; 300]);
        }
        kv.commit(batch).await.unwrap();
    }
    let mut batch = Batch::new(2);
    for row in (0..rows).filter(|row| row % 10 != 0) {
        batch.delete(images().key(format!("{row:06}")));
    }
    batch.clear(Table::new("v1/b/images"));
    kv.commit(batch).await.unwrap();
}

/// All that can be read of a view.
async fn everything(
    view: &dyn Snapshot,
) -> (Revision, BTreeMap<(String, Bytes), Versioned>, Vec<Change>) {
    let mut all = BTreeMap::new();
    for table in view.tables("").await.unwrap() {
        let mut rest = Rows::all(table.clone());
        loop {
            let found = view.scan(&rest, 1000).await.unwrap();
            if let Some((last, _)) = found.rows.last() {
                rest = rest.after(last.clone());
            }
            for (row, value) in found.rows {
                all.insert((table.to_string(), row), value);
            }
            if found.is_end {
                break;
            }
        }
    }
    let mut log: Vec<Change> = Vec::new();
    let mut at = Revision(view.oldest_change().await.unwrap().0 - 1);
    while at < view.revision() {
        log.extend(view.changes(at, 1000).await.unwrap());
        at = log.last().unwrap().revision;
    }
    (view.revision(), all, log)
}

async fn all_of(kv: &Redb) -> (Revision, BTreeMap<(String, Bytes), Versioned>, Vec<Change>) {
    everything(&*kv.snapshot().await.unwrap()).await
}

fn leftover(root: &Path) -> bool {
    root.join(COMPACT_FILE).exists()
}

fn is_copy(path: &Path) -> bool {
    path.ends_with(COMPACT_FILE)
}

#[tokio::test]
async fn rows_revisions_and_log_stay_and_the_file_gets_smaller() {
    let dir = tempfile::tempdir().unwrap();
    // A log that keeps nothing of what was deleted.
    let options = Options {
        keep_revisions: 1,
        ..Options::default()
    };
    let kv = Redb::open(dir.path(), options).unwrap();
    sparse(&kv, 3_000).await;
    kv.commit(put("last", "1")).await.unwrap();
    let before = (all_of(&kv).await, kv.disk().await);
    let sizes = kv.compact().await.unwrap();
    let after = (all_of(&kv).await, kv.disk().await);
    assert_eq!(before.0, after.0);
    assert!(sizes.after < sizes.before, "{sizes:?}");
    let (was, is) = (before.1, after.1);
    assert!(was.reusable_bytes > was.size_bytes / 4, "{was:?}");
    assert!(is.size_bytes < was.size_bytes / 3, "{was:?}, then {is:?}");
    assert!(
        is.reusable_bytes < was.reusable_bytes / 2,
        "{was:?}, then {is:?}"
    );
    assert!(!leftover(dir.path()));

    // It goes on as it would have.
    let next = kv.commit(put("next", "1")).await.unwrap();
    assert_eq!(next, before.0.0.next());
    kv.compact().await.unwrap();
    let now = all_of(&kv).await;
    kv.close().await;
    drop(kv);
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    assert_eq!(all_of(&kv).await, now);
}

#[tokio::test]
async fn what_an_interrupted_compaction_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(COMPACT_FILE), "half a copy").unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    assert!(!leftover(dir.path()));
    kv.commit(put("a", "1")).await.unwrap();
}
