//! Compaction under writers, readers, crashes, failures and a close.

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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_and_an_old_reader_go_on_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Arc::new(Redb::open(dir.path(), Options::default()).unwrap());
    sparse(&kv, 1_000).await;
    let old = kv.snapshot().await.unwrap();
    let seen = everything(&*old).await;
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (kv, done) = (kv.clone(), done.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    let row = format!("{writer}/{}", acknowledged.len());
                    let revision = kv.commit(put(&row, row.clone())).await.unwrap();
                    acknowledged.push((row, revision));
                }
                acknowledged
            })
        })
        .collect();
    for _ in 0..3 {
        kv.compact().await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert_eq!(everything(&*old).await, seen, "an old view stays as it was");
    drop(old);
    all_there(&kv, seen.0, seen.1.len(), &acknowledged).await;
    kv.close().await;
    drop(kv);
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    all_there(&kv, seen.0, seen.1.len(), &acknowledged).await;
}

/// Every acknowledged row at its revision beside those of before, and a log without gaps.
async fn all_there(kv: &Redb, from: Revision, before: usize, acknowledged: &[(String, Revision)]) {
    let (revision, rows, log) = all_of(kv).await;
    assert_eq!(revision.0, from.0 + acknowledged.len() as u64);
    assert_eq!(rows.len(), before + acknowledged.len());
    for (row, revision) in acknowledged {
        let found = &rows[&(images().to_string(), Bytes::from(row.clone()))];
        assert_eq!(
            (&found.revision, &found.value[..]),
            (revision, row.as_bytes())
        );
    }
    let revisions: Vec<u64> = log.iter().map(|change| change.revision.0).collect();
    assert_eq!(revisions, (1..=revision.0).collect::<Vec<_>>());
}

// === a disk that is watched ===

/// Called before each change of a file, one at a time.
type Step = Arc<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

#[derive(Clone)]
struct Watched {
    path: PathBuf,
    file: Arc<FileMedium>,
    /// What everybody reads, where only a sync brings it to the file.
    cached: Option<Arc<(Shadow, Mutex<Vec<Unsynced>>)>>,
    step: Step,
    turn: Arc<Mutex<()>>,
}

enum Unsynced {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

impl Medium for Watched {
    fn size(&self) -> io::Result<u64> {
        match &self.cached {
            Some(cached) => cached.0.size(),
            None => self.file.size(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &self.cached {
            Some(cached) => cached.0.read(offset, out),
            None => self.file.read(offset, out),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap();
        (self.step)(&self.path)?;
        let Some(cached) = &self.cached else {
            return self.file.write(offset, data);
        };
        cached
            .1
            .lock()
            .unwrap()
            .push(Unsynced::Write(offset, data.to_vec()));
        cached.0.write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap();
        (self.step)(&self.path)?;
        let Some(cached) = &self.cached else {
            return self.file.set_len(len);
        };
        cached.1.lock().unwrap().push(Unsynced::SetLen(len));
        cached.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap();
        (self.step)(&self.path)?;
        let Some(cached) = &self.cached else {
            return self.file.sync();
        };
        for change in std::mem::take(&mut *cached.1.lock().unwrap()) {
            match change {
                Unsynced::Write(offset, data) => self.file.write(offset, &data)?,
                Unsynced::SetLen(len) => self.file.set_len(len)?,
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

fn watched(
    forgetful: bool,
    step: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static,
) -> Options {
    let step: Step = Arc::new(step);
    let turn = Arc::new(Mutex::new(()));
    let medium: OpenMedium = Arc::new(move |path: &Path| {
        let file = Arc::new(FileMedium::open(path)?);
        let cached = match forgetful {
            true => Some(Arc::new((Shadow::of(file.clone())?, Mutex::default()))),
            false => None,
        };
        Ok(Arc::new(Watched {
            path: path.to_owned(),
            file,
            cached,
            step: step.clone(),
            turn: turn.clone(),
        }))
    });
    Options {
        journal_bytes: 8 << 10,
        medium,
        ..Options::default()
    }
}

fn is_copy(path: &Path) -> bool {
    path.ends_with(COMPACT_FILE)
}

/// The rows that [`crash_images`] writes during the compaction and after it.
const WRITES: u64 = 40;

/// What a crash before each change of a file would leave, from a compaction's start until some writes
/// after it; and the newest revision that was acknowledged by then.
async fn crash_images(forgetful: bool, into: &Path) -> (Revision, Vec<(PathBuf, Revision)>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let taken = Arc::new(Mutex::new(Vec::new()));
    let step = {
        let (root, into, acknowledged, taken) = (
            root.clone(),
            into.to_owned(),
            acknowledged.clone(),
            taken.clone(),
        );
        move |_: &Path| {
            let newest = Revision(acknowledged.load(Ordering::SeqCst));
            if newest > Revision::ZERO {
                let mut taken = taken.lock().unwrap();
                let image = into.join(taken.len().to_string());
                fs::create_dir(&image)?;
                for file in fs::read_dir(&root)? {
                    let file = file?;
                    fs::copy(file.path(), image.join(file.file_name()))?;
                }
                taken.push((image, newest));
            }
            Ok(())
        }
    };
    let kv = Redb::open(&root, watched(forgetful, step)).unwrap();
    sparse(&kv, 200).await;
    let from = kv.snapshot().await.unwrap().revision();
    acknowledged.store(from.0, Ordering::SeqCst);
    let writes = async {
        for i in 0..WRITES {
            let revision = kv.commit(put(&format!("new {i}"), "1")).await.unwrap();
            acknowledged.store(revision.0, Ordering::SeqCst);
        }
    };
    let (compacted, ()) = futures::future::join(kv.compact(), writes).await;
    compacted.unwrap();
    for i in WRITES..WRITES + 5 {
        kv.commit(put(&format!("new {i}"), "1")).await.unwrap();
    }
    kv.close().await;
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    (from, taken)
}

async fn a_crash_at_any_step_is_survived(forgetful: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (from, images) = crash_images(forgetful, dir.path()).await;
    let (mut with_copy, mut without) = (0, 0);
    for (image, acknowledged) in images {
        let had_copy = leftover(&image);
        *(if had_copy {
            &mut with_copy
        } else {
            &mut without
        }) += 1;
        let kv = Redb::open(&image, Options::default()).unwrap();
        assert!(!leftover(&image));
        let (revision, rows, log) = all_of(&kv).await;
        let at = format!("{image:?}, acknowledged {acknowledged}, copy {had_copy}");
        assert!(revision >= acknowledged, "{at}: {revision}");
        assert_eq!(log.len() as u64, revision.0, "{at}");
        for i in 0..WRITES + 5 {
            let row = rows.get(&(
                super::tests::images().to_string(),
                format!("new {i}").into(),
            ));
            let wanted = Revision(from.0 + i + 1);
            let found = row.map(|row| row.revision);
            assert_eq!(
                found,
                (wanted <= revision).then_some(wanted),
                "{at}: row {i}"
            );
        }
        let old = rows.values().filter(|row| row.revision <= from).count();
        assert_eq!(old, 20 + 200, "{at}");
        kv.commit(put("after", "1")).await.unwrap();
        drop(kv);
        fs::remove_dir_all(image).unwrap();
    }
    assert!(with_copy > 10 && without > 10, "{with_copy}, {without}");
}

#[tokio::test]
async fn a_kill_at_any_step_leaves_all_that_was_acknowledged() {
    a_crash_at_any_step_is_survived(false).await;
}

#[tokio::test]
async fn a_power_loss_at_any_step_leaves_all_that_was_acknowledged() {
    a_crash_at_any_step_is_survived(true).await;
}

#[tokio::test]
async fn a_copy_that_fails_at_any_step_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let left = Arc::new(AtomicU64::new(0));
    let step = {
        let left = left.clone();
        move |path: &Path| {
            let fails = is_copy(path) && left.load(Ordering::SeqCst) > 0;
            if fails && left.fetch_sub(1, Ordering::SeqCst) == 1 {
                return Err(io::Error::other("the disk failed, as planned"));
            }
            Ok(())
        }
    };
    let kv = Redb::open(dir.path(), watched(false, step)).unwrap();
    sparse(&kv, 200).await;
    let mut failures = 0;
    loop {
        let before = all_of(&kv).await;
        left.store(failures + 1, Ordering::SeqCst);
        let outcome = kv.compact().await;
        assert_eq!(all_of(&kv).await, before);
        assert!(!leftover(dir.path()));
        if left.swap(0, Ordering::SeqCst) > 0 {
            outcome.unwrap();
            break;
        }
        assert!(
            matches!(outcome, Err(CompactError::Failed(_))),
            "{outcome:?}"
        );
        kv.commit(put("meanwhile", "1")).await.unwrap();
        failures += 1;
    }
    assert!(failures > 10, "{failures}");
}

/// What is kept on [`stalling`] disks.
const KEPT_BYTES: usize = 1 << 20;

/// A disk on which the copy stops at its first change, says so, and goes on when it is told.
fn stalling() -> (Options, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (stalled, reached) = mpsc::channel();
    let (go_on, told) = mpsc::channel();
    let told = Mutex::new(told);
    let first = AtomicBool::new(true);
    let options = Options::default();
    let medium: OpenMedium = Arc::new(move |path: &Path| {
        if is_copy(path) && first.swap(false, Ordering::SeqCst) {
            stalled.send(()).unwrap();
            // An error means that the test is over.
            let _ = told.lock().unwrap().recv();
        }
        Ok(Arc::new(FileMedium::open(path)?))
    });
    let options = Options {
        medium,
        compact_keeps_bytes: KEPT_BYTES,
        ..options
    };
    (options, reached, go_on)
}

/// A compaction that has begun and is not over, and how to let it go on.
async fn stalled(
    root: &Path,
) -> (
    Arc<Redb>,
    tokio::task::JoinHandle<Result<Compacted, CompactError>>,
    mpsc::Sender<()>,
) {
    let (options, reached, go_on) = stalling();
    let kv = Arc::new(Redb::open(root, options).unwrap());
    sparse(&kv, 200).await;
    let compacting = {
        let kv = kv.clone();
        tokio::spawn(async move { kv.compact().await })
    };
    tokio::task::spawn_blocking(move || reached.recv().unwrap())
        .await
        .unwrap();
    (kv, compacting, go_on)
}

#[tokio::test]
async fn a_second_compaction_is_refused_while_one_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let (kv, compacting, go_on) = stalled(dir.path()).await;
    assert!(matches!(kv.compact().await, Err(CompactError::UnderWay)));
    go_on.send(()).unwrap();
    compacting.await.unwrap().unwrap();
    kv.compact().await.unwrap();
}

#[tokio::test]
async fn what_was_cleared_and_put_meanwhile_is_in_the_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let (kv, compacting, go_on) = stalled(dir.path()).await;
    let mut batch = Batch::new(3);
    batch.clear(images()).put(images().key("kept"), "1");
    kv.commit(batch).await.unwrap();
    for i in 0..2 * LEFT_BATCHES {
        kv.commit(put(&format!("{i}"), "1")).await.unwrap();
    }
    let before = all_of(&kv).await;
    go_on.send(()).unwrap();
    compacting.await.unwrap().unwrap();
    assert_eq!(all_of(&kv).await, before);
    let count = kv.snapshot().await.unwrap().count(&images()).await.unwrap();
    assert_eq!(count, 1 + 2 * LEFT_BATCHES as u64);
}

#[tokio::test]
async fn a_compaction_that_is_overtaken_gives_up_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (kv, compacting, go_on) = stalled(dir.path()).await;
    for _ in 0..5 {
        kv.commit(put("large", vec![1; KEPT_BYTES / 4]))
            .await
            .unwrap();
    }
    go_on.send(()).unwrap();
    let outcome = compacting.await.unwrap();
    assert!(
        matches!(outcome, Err(CompactError::Overtaken { .. })),
        "{outcome:?}"
    );
    assert!(!leftover(dir.path()));
    kv.commit(put("after", "1")).await.unwrap();
    kv.compact().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_a_compaction_and_leaves_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (kv, compacting, go_on) = stalled(dir.path()).await;
    let before = all_of(&kv).await;
    let mut closing = Box::pin(kv.close());
    assert!(futures::poll!(&mut closing).is_pending(), "it is asked for");
    go_on.send(()).unwrap();
    closing.await;
    let outcome = compacting.await.unwrap();
    assert!(matches!(outcome, Err(CompactError::Closed)), "{outcome:?}");
    assert!(!leftover(dir.path()));
    assert!(matches!(kv.compact().await, Err(CompactError::Closed)));
    drop(kv);
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    assert_eq!(all_of(&kv).await, before);
}

#[tokio::test]
async fn what_an_interrupted_compaction_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(COMPACT_FILE), "half a copy").unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    assert!(!leftover(dir.path()));
    kv.commit(put("a", "1")).await.unwrap();
}
