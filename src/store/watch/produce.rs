//! What a watch of records sends: how it begins, and what it goes on with.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::coop;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::feed::Feed;
use super::{MessageOf, Records, Sender, WatchMessage, WatchStart, Watched, event};
use crate::error::Error;
use crate::kv::{Kv, Revision, Snapshot};
use crate::store::stream::CHUNK_BYTES;
use crate::store::{LONG_READ_TIME, MAX_LONG_READS, Store};

/// What a watch begins with.
pub(super) enum Beginning {
    Records(Arc<dyn Snapshot>, OwnedSemaphorePermit),
    Changes {
        after: Revision,
    },
    /// As [`Beginning::Changes`], and says where that is.
    Now {
        after: Revision,
    },
}

impl Beginning {
    /// Finds the place, or refuses it.
    pub(super) async fn of(store: &Store, request: &impl Watched) -> Result<Self, Error> {
        let after = match request.start() {
            WatchStart::Initial => {
                let Ok(permit) = store.inner.long_reads.clone().try_acquire_owned() else {
                    return Err(Error::TooManySnapshots {
                        limit: MAX_LONG_READS,
                    });
                };
                return Ok(Self::Records(store.snapshot().await?, permit));
            }
            WatchStart::Now => {
                let after = store.snapshot().await?.revision();
                return Ok(Self::Now { after });
            }
            WatchStart::After(after) => after,
        };
        let snapshot = store.snapshot().await?;
        store.known(snapshot.revision()).check(after)?;
        let oldest = snapshot.oldest_change().await?;
        if after.next() < oldest {
            return Err(Error::Compacted { oldest });
        }
        Ok(Self::Changes { after })
    }
}

/// A watch says where it is after so long without a message,
const PROGRESS_TIME: Duration = Duration::from_secs(10);

/// and after so many revisions of other things, so that its place is not trimmed under it.
const PROGRESS_REVISIONS: u32 = 1000;

/// Sends all there is to send; returns early when nobody reads any more.
pub(super) async fn produce<W: Watched>(
    kv: Arc<dyn Kv>,
    request: &W,
    beginning: Beginning,
    send: &Sender<MessageOf<W>>,
) -> Result<(), Error> {
    let after = match beginning {
        Beginning::Changes { after } => after,
        Beginning::Now { after } => {
            if !told(send, WatchMessage::Progress(after)).await {
                return Ok(());
            }
            after
        }
        Beginning::Records(snapshot, permit) => {
            let walk = request.walk(snapshot);
            let revision = walk.revision();
            let sent = timeout(LONG_READ_TIME, initial(walk, send)).await;
            // The snapshot has gone with the walk, whoever still reads.
            drop(permit);
            let minutes = LONG_READ_TIME.as_secs() / 60;
            sent.map_err(|_| Error::SnapshotExpired { minutes })??;
            if !told(send, WatchMessage::InitialEnd(revision)).await {
                return Ok(());
            }
            revision
        }
    };
    follow(Feed::new(kv, after), request, send).await
}

/// Sends all records that the walk finds.
async fn initial<R: Send, E: Send>(
    mut walk: impl Records<Record = R>,
    send: &Sender<WatchMessage<R, E>>,
) -> Result<(), Error> {
    let mut records = Vec::new();
    let mut bytes = 0;
    while let Some(found) = walk.step().await? {
        for found in found {
            if bytes > 0 && bytes + found.bytes > CHUNK_BYTES {
                let records = std::mem::take(&mut records);
                if !told(send, WatchMessage::Initial(records)).await {
                    return Ok(());
                }
                bytes = 0;
            }
            bytes += found.bytes;
            records.push(found.item);
        }
    }
    if !records.is_empty() {
        told(send, WatchMessage::Initial(records)).await;
    }
    Ok(())
}

/// Sends what the feed brings, as far as the watch is about it.
async fn follow<W: Watched>(
    mut feed: Feed,
    request: &W,
    send: &Sender<MessageOf<W>>,
) -> Result<(), Error> {
    let mut quiet = interval(PROGRESS_TIME);
    quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
    quiet.reset();
    let mut passed = 0;
    loop {
        let changes = tokio::select! {
            changes = feed.next() => changes?,
            _ = quiet.tick() => {
                passed = 0;
                if !told(send, WatchMessage::Progress(feed.at())).await {
                    return Ok(());
                }
                continue;
            }
        };
        for change in changes.iter() {
            coop::consume_budget().await;
            let mut messages = event::messages(change, request).await?;
            passed = if messages.is_empty() { passed + 1 } else { 0 };
            if passed == PROGRESS_REVISIONS {
                messages.push(WatchMessage::Progress(change.revision));
                passed = 0;
            }
            for message in messages {
                if !told(send, message).await {
                    return Ok(());
                }
                quiet.reset();
            }
        }
    }
}

/// Sends a message once there is room for it; false when nobody reads any more.
pub(super) async fn told<T>(send: &Sender<T>, message: T) -> bool {
    send.send(Ok(message)).await.is_ok()
}
