//! An engine around another that fails on schedule, for tests of what lies above.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Notify, broadcast, watch};

use super::{
    Batch, Change, CommitError, CompactError, Compacted, Disk, Kv, Limits, ReadError, Revision,
    Snapshot,
};

/// What happens to a commit.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is refused, and nothing is written.
    Refuse,
    /// It is written, and the answer is lost.
    LoseAnswer,
    /// It is lost, and nobody knows.
    LoseWrite,
    /// It waits until it is notified.
    Stall(Arc<Notify>),
}

/// Passes everything through, but for the commits that have a fault planned.
pub struct Faulty<K> {
    inner: K,
    commits: AtomicU64,
    plan: Mutex<BTreeMap<u64, Fault>>,
}

impl<K> Faulty<K> {
    /// Without faults until some are planned.
    pub fn new(inner: K) -> Self {
        Self {
            inner,
            commits: AtomicU64::new(0),
            plan: Mutex::default(),
        }
    }

    /// Plans a fault for the commit that comes after `skip` others from now.
    pub fn plan(&self, skip: u64, fault: Fault) {
        let next = self.commits.load(Ordering::SeqCst);
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.insert(next + skip, fault);
    }

    /// Whether a fault is planned for a commit to come.
    pub fn is_planned(&self) -> bool {
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        !plan.is_empty()
    }

    fn next_fault(&self) -> Option<Fault> {
        let this = self.commits.fetch_add(1, Ordering::SeqCst);
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.remove(&this)
    }
}

#[async_trait]
impl<K: Kv> Kv for Faulty<K> {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, ReadError> {
        self.inner.snapshot().await
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        match self.next_fault() {
            None => self.inner.commit(batch).await,
            Some(Fault::Refuse) => Err(CommitError::Stopped("a fault was planned".into())),
            Some(Fault::LoseWrite) => {
                Err(CommitError::OutcomeUnknown("a fault was planned".into()))
            }
            Some(Fault::LoseAnswer) => {
                self.inner.commit(batch).await?;
                Err(CommitError::OutcomeUnknown("a fault was planned".into()))
            }
            Some(Fault::Stall(until)) => {
                until.notified().await;
                self.inner.commit(batch).await
            }
        }
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
