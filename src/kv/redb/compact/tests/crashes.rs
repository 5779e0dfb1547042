//! Crashes and failures at every step, on a disk that is watched.

use super::*;

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
            let row = rows.get(&(super::images().to_string(), format!("new {i}").into()));
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
