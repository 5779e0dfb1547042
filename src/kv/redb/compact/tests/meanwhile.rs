//! What is written, read, filled up or closed while the copy is made.

use super::*;

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

/// A disk that says how much is free on it.
#[derive(Debug)]
struct Measured {
    file: FileMedium,
    free: Arc<AtomicU64>,
}

impl Medium for Measured {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.free.load(Ordering::SeqCst)))
    }
}

/// What is kept on [`stalling`] disks.
const KEPT_BYTES: usize = 1 << 20;

/// A disk on which the copy stops at its first change, says so, and goes on when it is told.
fn stalling(free: &Arc<AtomicU64>) -> (Options, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (stalled, reached) = mpsc::channel();
    let (go_on, told) = mpsc::channel();
    let told = Mutex::new(told);
    let first = AtomicBool::new(true);
    let free = free.clone();
    let medium: OpenMedium = Arc::new(move |path: &Path| {
        if is_copy(path) && first.swap(false, Ordering::SeqCst) {
            stalled.send(()).unwrap();
            // An error means that the test is over.
            let _ = told.lock().unwrap().recv();
        }
        Ok(Arc::new(Measured {
            file: FileMedium::open(path)?,
            free: free.clone(),
        }))
    });
    let options = Options {
        medium,
        compact_keeps_bytes: KEPT_BYTES,
        ..Options::default()
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
    stalled_with(root, &Arc::new(AtomicU64::new(u64::MAX))).await
}

/// The same on a disk with so much free.
async fn stalled_with(
    root: &Path,
    free: &Arc<AtomicU64>,
) -> (
    Arc<Redb>,
    tokio::task::JoinHandle<Result<Compacted, CompactError>>,
    mpsc::Sender<()>,
) {
    let (options, reached, go_on) = stalling(free);
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

#[tokio::test]
async fn a_copy_that_the_disk_has_no_room_for_is_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let (options, reached, go_on) = stalling(&free);
    let least = options.min_free_bytes;
    let kv = Redb::open(dir.path(), options).unwrap();
    sparse(&kv, 1_000).await;
    let before = all_of(&kv).await;
    // More than a hundred rows of 700 bytes are left.
    free.store(least + 70_000, Ordering::SeqCst);
    let outcome = kv.compact().await;
    assert!(
        matches!(outcome, Err(CompactError::Full { free, least: wanted }) if free == least + 70_000 && wanted > free),
        "{outcome:?}"
    );
    reached.try_recv().unwrap_err();
    assert!(!leftover(dir.path()));
    assert_eq!(all_of(&kv).await, before);
    kv.commit(put("after", "1")).await.unwrap();
    free.store(u64::MAX, Ordering::SeqCst);
    go_on.send(()).unwrap();
    kv.compact().await.unwrap();
}

#[tokio::test]
async fn a_disk_without_room_for_what_was_written_meanwhile_ends_a_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let (kv, compacting, go_on) = stalled_with(dir.path(), &free).await;
    let large = KEPT_BYTES / 2;
    kv.commit(put("large", vec![1; large])).await.unwrap();
    let before = all_of(&kv).await;
    // Enough to go on writing, and for the copy itself.
    let left = Options::default().min_free_bytes + large as u64;
    free.store(left, Ordering::SeqCst);
    go_on.send(()).unwrap();
    let outcome = compacting.await.unwrap();
    assert!(
        matches!(outcome, Err(CompactError::Full { free, .. }) if free == left),
        "{outcome:?}"
    );
    assert!(!leftover(dir.path()));
    assert_eq!(all_of(&kv).await, before);
    kv.commit(put("after", "1")).await.unwrap();
    free.store(u64::MAX, Ordering::SeqCst);
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
