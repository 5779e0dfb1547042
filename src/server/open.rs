//! Opening a store with this machine's clock and randomness.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::domain::Timestamp;
use crate::error::Error;
use crate::kv::{Memory, Options, Redb};
use crate::store::{self, RestoreError, Restored, Store, StoreId, Surroundings};

/// This machine's clock and randomness.
pub fn system() -> Surroundings {
    Surroundings {
        clock: Arc::new(now),
        uptime: Arc::new(uptime),
        new_id: Arc::new(|| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&random().to_be_bytes());
            id[8..].copy_from_slice(&random().to_be_bytes());
            StoreId(id)
        }),
    }
}

fn now() -> Timestamp {
    // A clock before 1970 or after 9999 is as good as none.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp::new(seconds, since.subsec_nanos()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Counts while the machine is suspended too, where the system has such a clock.
pub(crate) fn uptime() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = ClockId::Monotonic;
    let up = clock_gettime(clock);
    let seconds = u64::try_from(up.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(up.tv_nsec).unwrap_or_default())
}

/// A number that nobody can foresee: the standard library seeds its hashers by the system's source.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Store {
    /// Opens the store in a folder, or makes one there.
    ///
    /// [`Error::Open`] when another process has it open, or it is no store; [`Error::SchemaTooNew`] when
    /// a newer release wrote it. Reads its journal, on a thread of its own.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, Options::default()).await
    }

    /// As [`Store::open`], with an engine set up otherwise; the seed is chosen here.
    pub async fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let options = Options {
            seed: random(),
            ..options
        };
        let path = path.as_ref().to_owned();
        let opened = tokio::task::spawn_blocking(move || Redb::open(&path, options)).await;
        let engine = opened.map_err(|cause| Error::Unavailable(Arc::new(cause)))??;
        Self::on(Arc::new(engine), system()).await
    }

    /// Reads every page of the store in a folder, without changing anything.
    ///
    /// [`Error::Open`] when another process has it open, it is no store, or a page is not as it was
    /// written.
    pub async fn check_pages(path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref().to_owned();
        let check = move || Redb::check(&path, Options::default());
        let checked = tokio::task::spawn_blocking(check).await;
        checked.map_err(|cause| Error::Unavailable(Arc::new(cause)))??;
        Ok(())
    }

    /// A store that is gone when it is dropped.
    pub async fn in_memory() -> Result<Self, Error> {
        Self::on(Arc::new(Memory::new()), system()).await
    }
}

/// Makes a store of a backup, in a folder that is empty or missing, on a thread of its own.
pub async fn restore(
    root: &Path,
    from: impl Read + Send + 'static,
) -> Result<Restored, RestoreError> {
    let root = root.to_owned();
    let options = Options {
        seed: random(),
        ..Options::default()
    };
    let restoring =
        tokio::task::spawn_blocking(move || store::restore(&root, from, &system(), options));
    restoring
        .await
        .unwrap_or_else(|cause| Err(RestoreError::Read(std::io::Error::other(cause))))
}
