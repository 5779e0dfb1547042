//! What only the embedded engine promises: losses of power, failures of the disk, damage, locks, the
//! log's size.

mod content;
mod damage;
mod disk;
mod failures;
mod history;
mod luck;
mod platter;
mod power;

use self::disk::{Disk, Event, Image};
use super::*;
use crate::kv::{Key, Table, Versioned};

/// A journal that a few batches fill, a log that is trimmed, and a cache that writes pages early.
fn tiny() -> Options {
    Options {
        journal_bytes: 4 << 10,
        keep_revisions: history::KEEP,
        cache_bytes: 64 << 10,
        ..Options::default()
    }
}

fn key(row: &str) -> Key {
    Table::logged("v1/a/t").key(row.to_owned())
}

fn put(row: &str, value: &str) -> Batch {
    let mut batch = Batch::new(0);
    batch.put(key(row), value.to_owned());
    batch
}

async fn value(kv: &Redb, row: &str) -> Option<Versioned> {
    kv.snapshot()
        .await
        .unwrap()
        .get(&[key(row)])
        .await
        .unwrap()
        .remove(0)
}

#[tokio::test]
async fn cleared_rows_are_freed_when_there_is_nothing_else_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    let mut many = Batch::new(0);
    for i in 0..2 * 5_000 {
        many.put(key(&i.to_string()), "v");
    }
    kv.commit(many).await.unwrap();
    let mut clear = Batch::new(0);
    clear.clear(key("").table);
    kv.commit(clear).await.unwrap();
    // Two slabs and the empty rest: bounded tries, each long enough for one.
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let view = kv.shared.view.load_full();
        if !view.has_trash().unwrap() {
            return;
        }
    }
    panic!("the cleared table is still there");
}

#[test]
fn many_commits_share_one_sync() {
    let disk = Disk::holding(&Image::default());
    let kv = Arc::new(disk.open(Options::default()).unwrap());
    let before = disk.events().len();
    for i in 0..200 {
        disk.ask(&kv, put(&i.to_string(), "v"));
    }
    disk.settle();
    assert!(disk.answers().iter().all(Result::is_ok));
    let events = disk.events();
    let syncs = events[before..].iter();
    let syncs = syncs
        .filter(|event| matches!(event, Event::Synced(_)))
        .count();
    assert!((1..=50).contains(&syncs), "{syncs} syncs for 200 commits");
}

#[tokio::test]
async fn a_second_opening_is_refused_at_once_and_says_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    let refused = Redb::open(dir.path(), Options::default()).err().unwrap();
    let own = format!("process {}", std::process::id());
    assert!(matches!(&refused, OpenError::Locked { holder: Some(holder), .. } if *holder == own));
    drop(kv);
    Redb::open(dir.path(), Options::default()).unwrap();
}

#[tokio::test]
async fn the_log_keeps_as_many_revisions_as_asked_and_says_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        keep_revisions: 50,
        ..Options::default()
    };
    let kv = Redb::open(dir.path(), options).unwrap();
    for i in 0..300 {
        kv.commit(put(&(i % 7).to_string(), &"v".repeat(i % 90)))
            .await
            .unwrap();
    }
    let view = kv.snapshot().await.unwrap();
    let oldest = view.oldest_change().await.unwrap();
    assert!((250..=251).contains(&oldest.0), "{oldest}");
    let gone = view.changes(Revision(100), 9).await;
    assert!(matches!(gone, Err(ReadError::Compacted { oldest: o }) if o == oldest));
    assert_eq!(
        view.changes(Revision(oldest.0 - 1), 999)
            .await
            .unwrap()
            .len() as u64,
        301 - oldest.0
    );
}

#[tokio::test]
async fn the_log_forgets_what_is_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        keep_for: Duration::from_secs(10),
        ..Options::default()
    };
    let kv = Redb::open(dir.path(), options).unwrap();
    for second in 0..30 {
        let mut batch = Batch::new(second * 1000);
        batch.put(key("a"), "v");
        kv.commit(batch).await.unwrap();
    }
    let oldest = kv.snapshot().await.unwrap().oldest_change().await.unwrap();
    assert_eq!(
        oldest,
        Revision(20),
        "second 19 is the oldest within 10 s of second 29"
    );
}

#[tokio::test]
async fn with_little_space_left_only_what_frees_space_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    kv.commit(put("a", "v")).await.unwrap();
    kv.close().await;
    drop(kv);
    let options = Options {
        min_free_bytes: u64::MAX,
        ..Options::default()
    };
    let kv = Redb::open(dir.path(), options).unwrap();
    assert!(matches!(
        kv.commit(put("b", "v")).await,
        Err(CommitError::Full { .. })
    ));
    let mut delete = Batch::new(0);
    delete.delete(key("a")).frees_space();
    kv.commit(delete).await.unwrap();
    assert!(value(&kv, "a").await.is_none());
}
