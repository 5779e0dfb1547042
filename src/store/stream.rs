//! Streams of images of one revision, however many.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

use super::parts::StoredImage;
use super::query::ImageQuery;
use super::walk::Walk;
use super::{LONG_READ_TIME, MAX_LONG_READS, Store, Stored};
use crate::domain::Image;
use crate::error::Error;
use crate::kv::{Revision, Snapshot};

/// A read of one revision that takes long. Ends after an error.
///
/// The snapshot behind it is given up when the stream is dropped, and after ten minutes.
#[derive(Debug)]
pub struct LongRead<T> {
    items: mpsc::Receiver<Result<T, Error>>,
    /// One of the long reads that may be open, until the reader is done.
    _permit: OwnedSemaphorePermit,
}

/// Images of one revision, in chunks.
pub type ImageStream = LongRead<ImageChunk>;

/// Some of the images; well under 1 MiB of them as messages.
pub type ImageChunk = Chunk<Stored<Image>>;

/// Some of what a long read finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk<T> {
    pub images: Vec<T>,
    /// The revision of the whole stream.
    pub revision: Revision,
}

impl<T> Stream for LongRead<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_recv(context)
    }
}

/// Chunks that may wait to be read: one, while the next is made.
const AHEAD: usize = 1;

/// Rows that are read at once.
pub(super) const STEP: usize = 250;

/// Bytes of messages that a chunk holds, but for one record. Small, since some chunks are under way
/// for each reader.
pub(super) const CHUNK_BYTES: usize = 128 << 10;

/// The images that a query asks for, each made into something.
pub(super) async fn images<T: Send + 'static>(
    store: &Store,
    query: ImageQuery,
    make: Make<T>,
) -> Result<LongRead<Chunk<T>>, Error> {
    long_read(store, move |snapshot, send| async move {
        produce(Walk::new(snapshot, query), make, &send).await
    })
    .await
}

/// What an image is made into.
pub(super) type Make<T> = fn(Stored<StoredImage>) -> Result<T, Error>;

/// Reads a snapshot as long as it takes, within bounds, and sends what it finds.
pub(super) async fn long_read<T, F>(
    store: &Store,
    produce: impl FnOnce(Arc<dyn Snapshot>, mpsc::Sender<Result<T, Error>>) -> F,
) -> Result<LongRead<T>, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let Ok(permit) = store.inner.long_reads.clone().try_acquire_owned() else {
        return Err(Error::TooManySnapshots {
            limit: MAX_LONG_READS,
        });
    };
    let snapshot = store.snapshot().await?;
    let (send, items) = mpsc::channel(AHEAD);
    let closing = store.inner.closing.clone();
    let deadline = Instant::now() + LONG_READ_TIME;
    let producing = produce(snapshot, send.clone());
    store.inner.tasks.spawn(async move {
        let produced = tokio::select! {
            produced = timeout_at(deadline, producing) => produced,
            () = closing.cancelled() => Ok(Err(Error::Closed)),
        };
        // The snapshot has gone with the walk; only the message may still wait for a reader.
        let failure = match produced {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(_) => Error::SnapshotExpired {
                minutes: LONG_READ_TIME.as_secs() / 60,
            },
        };
        tokio::select! {
            // An error means that nobody reads any more.
            _ = send.send(Err(failure)) => {}
            () = closing.cancelled() => {}
        }
    });
    Ok(LongRead {
        items,
        _permit: permit,
    })
}

/// Sends all that the walk finds; returns early when nobody reads any more.
async fn produce<T>(
    mut walk: Walk,
    make: Make<T>,
    send: &mpsc::Sender<Result<Chunk<T>, Error>>,
) -> Result<(), Error> {
    let revision = walk.revision();
    let mut images = Vec::new();
    let mut bytes = 0;
    let mut sent_any = false;
    while let Some(passed) = walk.step(STEP).await? {
        for found in passed.into_iter().filter_map(|row| row.image) {
            if bytes > 0 && bytes + found.bytes > CHUNK_BYTES {
                let images = std::mem::take(&mut images);
                if send.send(Ok(Chunk { images, revision })).await.is_err() {
                    return Ok(());
                }
                sent_any = true;
                bytes = 0;
            }
            bytes += found.bytes;
            images.push(make(found.image)?);
        }
    }
    // An empty stream still says its revision.
    if !images.is_empty() || !sent_any {
        // An error means that nobody reads any more.
        let _ = send.send(Ok(Chunk { images, revision })).await;
    }
    Ok(())
}
