//! What only the embedded engine promises: crashes, faults of the disk, locks, the log's size.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;
use crate::kv::{Guard, Key, Rows, Table, Versioned};

/// A disk that can be told to fail, and to crash: the system keeps what is written in memory, and it
/// reaches the file with a sync.
#[derive(Debug, Default)]
struct Faults {
    /// Nothing that is written or synced from now on arrives, as after a crash.
    frozen: AtomicBool,
    /// Calls that change something, until all that follow are lost; 0 means never.
    until_crash: AtomicU64,
    /// Calls that change something, until one fails; 0 means never.
    until_failure: AtomicU64,
    /// Which file fails: all, or the one whose name ends so.
    only: Mutex<Option<&'static str>>,
    syncs: AtomicU64,
    /// What the system keeps of each file, whoever has it open.
    cached: Mutex<BTreeMap<PathBuf, Arc<Cached>>>,
}

/// A file, and what was written to it and is not there yet.
#[derive(Debug)]
struct Cached {
    file: Arc<FileMedium>,
    /// Made after the crash, so it never was.
    is_lost: bool,
    /// As everybody reads it.
    now: Shadow,
    /// What the next sync brings to the file, in order.
    unsynced: Mutex<Vec<Change>>,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Debug)]
struct FaultyMedium {
    name: String,
    cached: Arc<Cached>,
    faults: Arc<Faults>,
}

impl Faults {
    fn cached(&self, path: &Path) -> io::Result<Arc<Cached>> {
        let mut all = self.cached.lock().unwrap();
        if let Some(cached) = all.get(path) {
            return Ok(cached.clone());
        }
        let is_lost = self.frozen.load(Ordering::SeqCst) && !path.exists();
        let file = Arc::new(FileMedium::open(path)?);
        let cached = Arc::new(Cached {
            now: Shadow::of(file.clone())?,
            file,
            is_lost,
            unsynced: Mutex::default(),
        });
        all.insert(path.to_owned(), cached.clone());
        Ok(cached)
    }
}

impl Cached {
    fn change(&self, change: Change) -> io::Result<()> {
        change.to(&self.now)?;
        self.unsynced.lock().unwrap().push(change);
        Ok(())
    }

    fn take_unsynced(&self) -> Vec<Change> {
        std::mem::take(&mut *self.unsynced.lock().unwrap())
    }
}

impl Change {
    fn to(&self, medium: &dyn Medium) -> io::Result<()> {
        match self {
            Self::Write(at, data) => medium.write(*at, data),
            Self::SetLen(len) => medium.set_len(*len),
        }
    }

    /// The sectors of a write, each of which may arrive without the others.
    fn sectors(self) -> Vec<Self> {
        match self {
            Self::Write(at, data) => {
                let sectors = data.chunks(SECTOR).enumerate();
                sectors
                    .map(|(i, data)| Self::Write(at + (i * SECTOR) as u64, data.to_vec()))
                    .collect()
            }
            Self::SetLen(_) => vec![self],
        }
    }
}

/// What a disk writes whole or not at all. Both files are written from multiples of it.
const SECTOR: usize = 512;

impl FaultyMedium {
    /// Whether a change arrives; or it fails.
    fn arrives(&self) -> io::Result<bool> {
        let faults = &self.faults;
        if faults.until_crash.load(Ordering::SeqCst) > 0
            && faults.until_crash.fetch_sub(1, Ordering::SeqCst) == 1
        {
            faults.frozen.store(true, Ordering::SeqCst);
        }
        let only = *faults.only.lock().unwrap();
        if only.is_none_or(|only| self.name.ends_with(only)) {
            let left = faults.until_failure.load(Ordering::SeqCst);
            if left > 0 {
                faults
                    .until_failure
                    .store(left.max(2) - 1, Ordering::SeqCst);
            }
            if left == 1 {
                return Err(io::Error::other("the disk failed, as planned"));
            }
        }
        Ok(!faults.frozen.load(Ordering::SeqCst))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        if self.arrives()? {
            self.cached.change(change)
        } else {
            change.to(&self.cached.now)
        }
    }
}

impl Medium for FaultyMedium {
    fn size(&self) -> io::Result<u64> {
        self.cached.now.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.cached.now.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset, data.to_vec()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len))
    }

    /// A sync that fails loses what it was about: the system shows it to readers still, and no later
    /// sync writes it, as Linux does.
    fn sync(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        let arrives = self.arrives().inspect_err(|_| {
            self.cached.take_unsynced();
        })?;
        if arrives {
            for change in self.cached.take_unsynced() {
                change.to(&*self.cached.file)?;
            }
        }
        Ok(())
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
                cached: faults.cached(path)?,
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

/// Ends an engine as a crash of the machine would: what was not synced is gone.
fn crash(kv: Redb, faults: &Faults) {
    crash_keeping(kv, faults, |_| false);
}

/// As [`crash`]; of the sectors that were not synced, the disk had written some.
fn crash_keeping(kv: Redb, faults: &Faults, mut keeps: impl FnMut(usize) -> bool) {
    faults.frozen.store(true, Ordering::SeqCst);
    drop(kv);
    let mut number = 0;
    for (path, cached) in std::mem::take(&mut *faults.cached.lock().unwrap()) {
        if cached.is_lost {
            fs::remove_file(path).unwrap();
        }
        let unsynced = cached.take_unsynced().into_iter();
        for sector in unsynced.flat_map(Change::sectors) {
            if keeps(number) {
                sector.to(&*cached.file).unwrap();
            }
            number += 1;
        }
    }
    faults.until_crash.store(0, Ordering::SeqCst);
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

/// Which of the sectors that were not synced a crash leaves.
type Keeps = fn(usize) -> bool;

const LEFT_OVERS: [(&str, Keeps); 4] = [
    ("all of it arrived", |_| true),
    ("every other sector arrived", |number| number % 2 == 0),
    ("the other sectors arrived", |number| number % 2 == 1),
    ("a few sectors arrived", |number| {
        number.wrapping_mul(0x9e37_79b9) & 0x700 == 0
    }),
];

#[tokio::test]
async fn what_was_not_synced_may_be_gone_and_nothing_else() {
    // The machine ends before the n-th change of a file, for every n in a workload.
    let mut n = 1;
    let mut is_done = false;
    while !is_done {
        let nothing: (&str, Keeps) = ("none of it arrived", |_| false);
        for (left, keeps) in [nothing, LEFT_OVERS[n % LEFT_OVERS.len()]] {
            let dir = tempfile::tempdir().unwrap();
            let faults: Arc<Faults> = Arc::default();
            let open = || Redb::open(dir.path(), with_faults(&faults, tiny()));
            let kv = open().unwrap();
            faults.until_crash.store(n as u64, Ordering::SeqCst);
            let (mut asked, mut sure) = (0, 0);
            while asked < WORKLOAD && asked == sure {
                kv.commit(workload(asked)).await.unwrap();
                asked += 1;
                // What is acknowledged after the crash is not: the process had gone with it.
                if !faults.frozen.load(Ordering::SeqCst) {
                    sure = asked;
                }
            }
            is_done = sure == WORKLOAD;
            crash_keeping(kv, &faults, keeps);

            let kv = open().unwrap_or_else(|refused| panic!("{n}, {left}: {refused:?}"));
            let view = kv.snapshot().await.unwrap();
            let revision = view.revision().0;
            assert!(
                (sure..=asked).contains(&revision),
                "{n}, {left}: {revision} of {sure} to {asked}"
            );
            let rows = view.scan(&Rows::all(key("").table), 999).await.unwrap();
            let model = after_workload(revision).await;
            assert_eq!(rows.rows, model, "{n}, {left}");
            let changes = view.changes(Revision::ZERO, 999).await.unwrap();
            assert_eq!(changes.len() as u64, revision, "{n}, {left}");
            let again = kv.commit(put("again", "v")).await.unwrap();
            assert_eq!(again, Revision(revision + 1));
        }
        n += 1;
    }
    assert!(n > 30, "the workload changes the files {n} times");
}

/// A journal that a few batches fill.
fn tiny() -> Options {
    Options {
        journal_bytes: 4 << 10,
        ..Options::default()
    }
}

const WORKLOAD: u64 = 16;

/// Rows that come, change, grow and go, and a table that is cleared.
fn workload(i: u64) -> Batch {
    let mut batch = put(&(i % 10).to_string(), &i.to_string().repeat(40));
    match i {
        5 => {
            batch.put(key("large"), "v".repeat(9000));
        }
        9 => {
            batch.delete(key("large"));
        }
        12 => {
            batch.clear(key("").table);
        }
        _ => {}
    }
    batch
}

/// What is there after the first batches of the workload, as the model has it.
async fn after_workload(batches: u64) -> Vec<(Bytes, Versioned)> {
    let model = crate::kv::Memory::new();
    for i in 0..batches {
        model.commit(workload(i)).await.unwrap();
    }
    let view = model.snapshot().await.unwrap();
    view.scan(&Rows::all(key("").table), 999)
        .await
        .unwrap()
        .rows
}

#[tokio::test]
async fn a_store_whose_making_a_crash_cuts_short_is_made_by_the_next_opening() {
    let mut n = 1;
    loop {
        let dir = tempfile::tempdir().unwrap();
        // It is made under another name, which a crash of this disk cannot take back.
        redb::Database::create(dir.path().join(DATABASE_FILE)).unwrap();
        let faults: Arc<Faults> = Arc::default();
        let open = || Redb::open(dir.path(), with_faults(&faults, tiny()));
        faults.until_crash.store(n, Ordering::SeqCst);
        let kv = open().unwrap();
        let is_done = !faults.frozen.load(Ordering::SeqCst);
        crash(kv, &faults);
        let kv = open().unwrap_or_else(|refused| panic!("{n}: {refused:?}"));
        assert_eq!(kv.commit(put("a", "v")).await.unwrap(), Revision(1));
        crash(kv, &faults);
        assert!(value(&open().unwrap(), "a").await.is_some(), "{n}");
        if is_done {
            break;
        }
        n += 1;
    }
    assert!(n > 5, "making a store changes the files {n} times");
}

#[tokio::test]
async fn a_database_file_whose_making_was_cut_short_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(UNFINISHED_FILE), [0; 5000]).unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    kv.commit(put("a", "v")).await.unwrap();
    assert!(!dir.path().join(UNFINISHED_FILE).exists());
}

#[tokio::test]
async fn a_missing_database_file_is_refused_while_its_journal_is_there() {
    let dir = crashed().await;
    fs::remove_file(dir.path().join(DATABASE_FILE)).unwrap();
    let refused = Redb::open(dir.path(), Options::default()).err();
    assert!(
        matches!(refused, Some(OpenError::Corrupt { .. })),
        "{refused:?}"
    );
    assert!(!dir.path().join(DATABASE_FILE).exists());
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
            for i in 0..28 {
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
            let sure = acknowledged.len() as u64;
            let mut possible = sure..=sure + 1;
            let mut kv = Some(kv);
            // The process ends and starts again; then the machine does.
            for ends in [|kv, _: &Faults| drop(kv), crash] {
                ends(kv.take().expect("the one before"), &faults);
                let again = Redb::open(dir.path(), with_faults(&faults, small())).unwrap();
                for (row, revision) in &acknowledged {
                    let read = value(&again, row).await.map(|row| row.revision);
                    assert_eq!(
                        read,
                        Some(*revision),
                        "{only:?} {n}: {row} is there when opened again"
                    );
                }
                let revision = again.snapshot().await.unwrap().revision().0;
                assert!(
                    possible.contains(&revision),
                    "{only:?} {n}: only the unsure one may be there"
                );
                // What was shown once stays.
                possible = revision..=revision;
                kv = Some(again);
            }
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
