//! The changes after a revision: first from the log, then as they are committed.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::error::Error;
use crate::kv::{Change, Kv, Revision};

/// Where a reader of changes is. Holds no snapshot while it waits.
pub(super) struct Feed {
    kv: Arc<dyn Kv>,
    tail: broadcast::Receiver<Arc<[Change]>>,
    /// All up to this revision has been read.
    at: Revision,
    /// Whether the log may have changes that the tail does not bring any more.
    is_behind: bool,
}

/// Changes of revisions that follow each other.
#[derive(Default)]
pub(super) struct Changes {
    all: Arc<[Change]>,
    /// Those before it have been read already.
    from: usize,
}

/// Revisions that are read from the log at once.
const STEP: usize = 200;

impl Feed {
    /// Reads what comes after a revision.
    pub fn new(kv: Arc<dyn Kv>, after: Revision) -> Self {
        Self {
            // Before the log is read, so that nothing falls between the two.
            tail: kv.tail(),
            kv,
            at: after,
            is_behind: true,
        }
    }

    /// The revision up to which all has been read.
    pub fn at(&self) -> Revision {
        self.at
    }

    /// The next changes, at least one; waits for them. A call that is dropped loses nothing.
    ///
    /// [`Error::Compacted`] when they have been trimmed meanwhile.
    pub async fn next(&mut self) -> Result<Changes, Error> {
        loop {
            let changes = match self.is_behind {
                true => self.read_log().await?,
                false => self.receive().await?,
            };
            if let Some(last) = changes.last() {
                self.at = last.revision;
                return Ok(changes);
            }
        }
    }

    async fn read_log(&mut self) -> Result<Changes, Error> {
        let snapshot = self.kv.snapshot().await?;
        let read = snapshot.changes(self.at, STEP).await?;
        let newest = read.last().map_or(self.at, |last| last.revision);
        self.is_behind = newest < snapshot.revision();
        Ok(Changes {
            all: read.into(),
            from: 0,
        })
    }

    /// A group from the tail, as far as it has not been read; nothing where revisions before it are
    /// missing, which then come from the log.
    async fn receive(&mut self) -> Result<Changes, Error> {
        let all = match self.tail.recv().await {
            Ok(all) => all,
            // The next group shows what is missing.
            Err(RecvError::Lagged(_)) => return Ok(Changes::default()),
            Err(RecvError::Closed) => return Err(Error::Closed),
        };
        if all.is_empty() {
            // One that is too large to be handed out.
            self.is_behind = true;
            return Ok(Changes::default());
        }
        let from = all.partition_point(|change| change.revision <= self.at);
        let next = all.get(from);
        if next.is_some_and(|next| next.revision > self.at.next()) {
            self.is_behind = true;
            return Ok(Changes::default());
        }
        Ok(Changes { all, from })
    }
}

impl Deref for Changes {
    type Target = [Change];

    fn deref(&self) -> &[Change] {
        &self.all[self.from..]
    }
}
