//! An engine around another that counts what is read, for tests of what reading costs.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use super::*;
use crate::kv::{
    Change, CommitError, CompactError, Compacted, Disk, Key, Limits, ReadError, Rows, Scanned,
    Snapshot, Table, Versioned,
};

/// Passes everything through.
pub(super) struct Watched<K> {
    inner: K,
    seen: Arc<Seen>,
}

/// What was read so far, through all snapshots.
#[derive(Default)]
struct Seen {
    scanned: AtomicUsize,
    got: AtomicUsize,
    open: AtomicUsize,
}

/// Rows that scans returned, and keys that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touched {
    pub scanned: usize,
    pub got: usize,
}

struct WatchedSnapshot {
    inner: Arc<dyn Snapshot>,
    seen: Arc<Seen>,
}

impl<K> Watched<K> {
    pub fn new(inner: K) -> Self {
        Self {
            inner,
            seen: Arc::default(),
        }
    }

    /// What was touched since the last time.
    pub fn take(&self) -> Touched {
        Touched {
            scanned: self.seen.scanned.swap(0, Ordering::SeqCst),
            got: self.seen.got.swap(0, Ordering::SeqCst),
        }
    }

    /// Snapshots that somebody still holds.
    pub fn open_snapshots(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }
}

impl Drop for WatchedSnapshot {
    fn drop(&mut self) {
        self.seen.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl<K: Kv> Kv for Watched<K> {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, ReadError> {
        let inner = self.inner.snapshot().await?;
        self.seen.open.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(WatchedSnapshot {
            inner,
            seen: self.seen.clone(),
        }))
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        self.inner.commit(batch).await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn tail(&self) -> broadcast::Receiver<Arc<[Change]>> {
        self.inner.tail()
    }

    fn stopped(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.inner.stopped()
    }

    async fn disk(&self) -> Disk {
        self.inner.disk().await
    }

    async fn compact(&self) -> Result<Compacted, CompactError> {
        self.inner.compact().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Snapshot for WatchedSnapshot {
    fn revision(&self) -> Revision {
        self.inner.revision()
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, ReadError> {
        self.seen.got.fetch_add(keys.len(), Ordering::SeqCst);
        self.inner.get(keys).await
    }

    async fn scan(&self, rows: &Rows, limit: usize) -> Result<Scanned, ReadError> {
        let found = self.inner.scan(rows, limit).await?;
        self.seen
            .scanned
            .fetch_add(found.rows.len(), Ordering::SeqCst);
        Ok(found)
    }

    async fn count(&self, table: &Table) -> Result<u64, ReadError> {
        self.inner.count(table).await
    }

    async fn tables(&self, prefix: &str) -> Result<Vec<Table>, ReadError> {
        self.inner.tables(prefix).await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Vec<Change>, ReadError> {
        self.inner.changes(after, limit).await
    }

    async fn oldest_change(&self) -> Result<Revision, ReadError> {
        self.inner.oldest_change().await
    }
}
