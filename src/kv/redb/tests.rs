//! What only the embedded engine promises: crashes, faults of the disk, locks, the log's size.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::kv::{Guard, Key, Rows, Table, Versioned};

/// A disk that can be told to fail.
#[derive(Debug, Default)]
struct Faults {
    /// Nothing that is written from now on arrives, as after a crash.
    frozen: AtomicBool,
    /// Calls that change something, until one fails; 0 means never.
    until_failure: AtomicU64,
    /// Which file fails: all, or the one whose name ends so.
    only: Mutex<Option<&'static str>>,
    syncs: AtomicU64,
}

#[derive(Debug)]
struct FaultyMedium {
    name: String,
    file: FileMedium,
    faults: Arc<Faults>,
}

impl FaultyMedium {
    fn change(&self, change: impl FnOnce(&FileMedium) -> io::Result<()>) -> io::Result<()> {
        let only = *self.faults.only.lock().unwrap();
        if only.is_none_or(|only| self.name.ends_with(only)) {
            let left = self.faults.until_failure.load(Ordering::SeqCst);
            if left > 0 {
                self.faults
                    .until_failure
                    .store(left.max(2) - 1, Ordering::SeqCst);
            }
            if left == 1 {
                return Err(io::Error::other("the disk failed, as planned"));
            }
        }
        if self.faults.frozen.load(Ordering::SeqCst) {
            return Ok(());
        }
        change(&self.file)
    }
}

impl Medium for FaultyMedium {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|file| file.write(offset, data))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|file| file.set_len(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        self.change(Medium::sync)
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

fn with_faults(faults: &Arc<Faults>, options: Options) -> Options {
    let faults = faults.clone();
    Options {
        medium: Arc::new(move |path: &Path| {
            Ok(Arc::new(FaultyMedium {
                name: path.display().to_string(),
                file: FileMedium::open(path)?,
                faults: faults.clone(),
            }))
        }),
        ..options
    }
}

/// A small journal, so that checkpoints come often.
fn small() -> Options {
    Options {
        journal_bytes: 8 << 10,
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

/// Ends an engine as a crash would: what is not on disk by now never gets there.
fn crash(kv: Redb, faults: &Faults) {
    faults.frozen.store(true, Ordering::SeqCst);
    drop(kv);
    faults.frozen.store(false, Ordering::SeqCst);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::default();
    let mut written = 0u32;
    for round in 0..12u32 {
        let kv = Redb::open(dir.path(), with_faults(&faults, small())).unwrap();
        for i in 0..written {
            let there = value(&kv, &i.to_string()).await;
            assert_eq!(
                there.unwrap().revision,
                Revision(u64::from(i) + 1),
                "round {round}"
            );
        }
        assert_eq!(
            kv.snapshot().await.unwrap().revision(),
            Revision(written.into())
        );
        for _ in 0..round * 3 {
            kv.commit(put(&written.to_string(), "v")).await.unwrap();
            written += 1;
        }
        crash(kv, &faults);
    }
    let kv = Redb::open(dir.path(), small()).unwrap();
    let changes = kv
        .snapshot()
        .await
        .unwrap()
        .changes(Revision::ZERO, 999)
        .await
        .unwrap();
    assert_eq!(
        changes.len(),
        written as usize,
        "the log is as whole as the rows"
    );
}

#[tokio::test]
async fn a_table_cleared_before_a_crash_is_empty_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::default();
    let kv = Redb::open(dir.path(), with_faults(&faults, Options::default())).unwrap();
    for i in 0..50 {
        kv.commit(put(&i.to_string(), "v")).await.unwrap();
    }
    let mut clear = Batch::new(0);
    clear.clear(key("").table).put(key("new"), "v");
    kv.commit(clear).await.unwrap();
    crash(kv, &faults);
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    assert_eq!(
        kv.snapshot()
            .await
            .unwrap()
            .count(&key("").table)
            .await
            .unwrap(),
        1
    );
    assert!(value(&kv, "new").await.is_some());
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

#[tokio::test]
async fn every_failure_of_the_disk_stops_writes_keeps_reads_and_loses_nothing() {
    // The n-th change of either file fails, for every n in a workload.
    for only in [None, Some("journal"), Some("imagestore.redb")] {
        let mut n = 1;
        loop {
            let dir = tempfile::tempdir().unwrap();
            let faults: Arc<Faults> = Arc::default();
            let kv = Redb::open(dir.path(), with_faults(&faults, small())).unwrap();
            *faults.only.lock().unwrap() = only;
            faults.until_failure.store(n, Ordering::SeqCst);
            let mut acknowledged = Vec::new();
            let mut failed = None;
            for i in 0..40 {
                match kv.commit(put(&i.to_string(), &"v".repeat(300))).await {
                    Ok(revision) => {
                        assert!(failed.is_none(), "nothing is acknowledged after a failure");
                        acknowledged.push((i.to_string(), revision));
                    }
                    Err(CommitError::OutcomeUnknown(_)) if failed.is_none() => failed = Some(i),
                    // A checkpoint failed before the batch was begun.
                    Err(CommitError::Stopped(_)) => failed = failed.or(Some(i)),
                    Err(other) => panic!("{only:?} {n}: {other:?}"),
                }
            }
            for (row, revision) in &acknowledged {
                let read = value(&kv, row).await.map(|row| row.revision);
                assert_eq!(read, Some(*revision), "{only:?} {n}: reads go on");
            }
            assert_eq!(kv.stopped().borrow().is_some(), failed.is_some());
            let newest = kv.snapshot().await.unwrap().revision();
            assert_eq!(
                newest.0,
                acknowledged.len() as u64,
                "{only:?} {n}: nothing unsure is shown"
            );

            faults.until_failure.store(0, Ordering::SeqCst);
            drop(kv);
            let kv = Redb::open(dir.path(), Options::default()).unwrap();
            for (row, revision) in &acknowledged {
                let read = value(&kv, row).await.map(|row| row.revision);
                assert_eq!(
                    read,
                    Some(*revision),
                    "{only:?} {n}: {row} is there when opened again"
                );
            }
            let revision = kv.snapshot().await.unwrap().revision().0;
            let sure = acknowledged.len() as u64;
            assert!(
                revision == sure || revision == sure + 1,
                "{only:?} {n}: only the unsure one may be there"
            );
            if failed.is_none() {
                break;
            }
            n += 1;
        }
        assert!(
            n > 5,
            "{only:?}: the workload meets the disk more often than {n} times"
        );
    }
}

#[tokio::test]
async fn many_commits_share_one_sync() {
    let dir = tempfile::tempdir().unwrap();
    let faults: Arc<Faults> = Arc::default();
    let kv = Redb::open(dir.path(), with_faults(&faults, Options::default())).unwrap();
    let before = faults.syncs.load(Ordering::SeqCst);
    let commits = (0..200).map(|i| kv.commit(put(&i.to_string(), "v")));
    for outcome in futures::future::join_all(commits).await {
        outcome.unwrap();
    }
    let syncs = faults.syncs.load(Ordering::SeqCst) - before;
    assert!((1..=50).contains(&syncs), "{syncs} syncs for 200 commits");
}

#[tokio::test]
async fn an_acknowledged_commit_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let faults: Arc<Faults> = Arc::default();
    let kv = Redb::open(dir.path(), with_faults(&faults, Options::default())).unwrap();
    for i in 0..20 {
        let before = faults.syncs.load(Ordering::SeqCst);
        kv.commit(put(&i.to_string(), "v")).await.unwrap();
        assert!(faults.syncs.load(Ordering::SeqCst) > before);
    }
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

fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A store that crashed with ten commits in its journal only.
async fn crashed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::default();
    let kv = Redb::open(dir.path(), with_faults(&faults, Options::default())).unwrap();
    for i in 0..10 {
        kv.commit(put(&i.to_string(), "v")).await.unwrap();
    }
    crash(kv, &faults);
    dir
}

type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);

#[tokio::test]
async fn a_damaged_or_foreign_file_is_refused_and_not_written() {
    let other = crashed().await;
    let cases: [(&str, &str, Damage); 12] = [
        ("imagestore.redb", "garbage", &|bytes| bytes.fill(0xab)),
        ("imagestore.redb", "emptied", &Vec::clear),
        ("imagestore.redb", "cut short", &|bytes| {
            bytes.truncate(bytes.len() / 2)
        }),
        ("imagestore.redb", "cut to nearly nothing", &|bytes| {
            bytes.truncate(100)
        }),
        ("journal", "of another store", &|bytes| {
            *bytes = fs::read(other.path().join("journal")).unwrap();
            bytes[8] ^= 1;
        }),
        ("journal", "its first record flipped", &|bytes| {
            bytes[512 + 20] ^= 1
        }),
        ("journal", "its first length flipped", &|bytes| {
            bytes[512 + 7] ^= 1
        }),
        ("journal", "its magic flipped", &|bytes| bytes[0] ^= 1),
        ("journal", "emptied", &Vec::clear),
        ("journal", "cut after its first record", &|bytes| {
            bytes.truncate(1024)
        }),
        ("journal", "cut short", &|bytes| {
            bytes.truncate(bytes.len() - 1)
        }),
        ("journal", "its third record zeroed", &|bytes| {
            bytes[512 * 3..512 * 4].fill(0)
        }),
    ];
    for (file, what, change) in cases {
        let dir = crashed().await;
        damage(&dir.path().join(file), change);
        let before = fs::read(dir.path().join("journal")).unwrap();
        let refused = Redb::open(dir.path(), Options::default()).err();
        assert!(
            matches!(refused, Some(OpenError::Corrupt { .. })),
            "{file} {what}: {refused:?}"
        );
        assert_eq!(
            fs::read(dir.path().join("journal")).unwrap(),
            before,
            "{file} {what}"
        );
    }
}

#[tokio::test]
async fn a_missing_journal_is_refused_once_the_store_has_rows() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    kv.commit(put("a", "v")).await.unwrap();
    kv.close().await;
    drop(kv);
    let journal = dir.path().join("journal");
    let refused = || {
        let opened = Redb::open(dir.path(), Options::default());
        matches!(opened, Err(OpenError::Corrupt { .. }))
    };
    damage(&journal, Vec::clear);
    assert!(refused(), "an emptied one is missing too");
    fs::remove_file(&journal).unwrap();
    assert!(refused());
}

#[tokio::test]
async fn an_unfinished_last_record_of_the_journal_is_dropped() {
    let dir = crashed().await;
    damage(&dir.path().join("journal"), |bytes| {
        // The tenth record: what a write that never finished leaves.
        bytes[512 * 10 + 30..512 * 11].fill(0);
    });
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    assert_eq!(kv.snapshot().await.unwrap().revision(), Revision(9));
    assert!(value(&kv, "9").await.is_none());
    assert_eq!(kv.commit(put("again", "v")).await.unwrap(), Revision(10));
}

#[tokio::test]
async fn flipped_bits_in_the_database_are_an_error_or_harmless_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    for i in 0..200 {
        kv.commit(put(&i.to_string(), &"v".repeat(100)))
            .await
            .unwrap();
    }
    kv.close().await;
    drop(kv);
    let path = dir.path().join("imagestore.redb");
    let whole = fs::read(&path).unwrap();
    let journal = fs::read(dir.path().join("journal")).unwrap();
    for i in 0..120usize {
        let at = (i * 7919) % whole.len().min(200_000);
        damage(&path, |bytes| bytes[at] ^= 1 << (i % 8));
        if let Ok(kv) = Redb::open(dir.path(), Options::default())
            && let Ok(view) = kv.snapshot().await
        {
            // Whatever comes back, it comes back.
            let _ = view.scan(&Rows::all(key("").table), 999).await;
            let _ = view.changes(Revision::ZERO, 999).await;
            let mut batch = put("x", "v");
            batch.guard(Guard::Absent(key("nothing")));
            let _ = kv.commit(batch).await;
        }
        fs::write(&path, &whole).unwrap();
        fs::write(dir.path().join("journal"), &journal).unwrap();
    }
}
