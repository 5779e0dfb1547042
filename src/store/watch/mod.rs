//! Watching: what changes, in order, each change once and none left out.

mod event;
mod everything;
mod feed;
mod images;
mod produce;
mod targets;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use self::feed::Feed;
use self::produce::{Beginning, produce, told};
use super::{At, Store, Stored};
use crate::domain::{Image, Timestamp};
use crate::error::Error;
use crate::kv::{Effect, Revision, Snapshot};

pub use self::everything::StoreEvent;
pub use self::images::{ImageChanges, ImageEvent, WatchImages};
pub use self::targets::{TargetChanges, TargetEvent, TargetMessage, TargetWatch, WatchTargets};

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchStart {
    /// With what changes from now on. The first message says where that is.
    Now,
    /// With what changed after a revision.
    After(Revision),
    /// With all records as they stand at one revision; then come the changes after it.
    Initial,
}

/// The messages of a watch. Ends after an error.
///
/// One that is not read holds up nobody: what it has yet to read waits in the change log, and when
/// that is trimmed, it ends with [`Error::Compacted`].
pub struct Watch<T> {
    messages: mpsc::Receiver<Result<T, Error>>,
    /// Ends the watch at once, whatever waits to be read; `None` when it has.
    ending: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _counted: Counted,
}

/// A watch of images. [`WatchMessage::resume_after`] says where another goes on.
pub type ImageWatch = Watch<ImageMessage>;

/// What a watch of images tells.
pub type ImageMessage = WatchMessage<Stored<Image>, ImageEvent>;

/// A watch of everything: a message for each revision, also for one without events.
pub type StoreWatch = Watch<StoreChanges>;

/// What a watch of records tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchMessage<R, E> {
    /// Records as they stand at the revision that [`WatchMessage::InitialEnd`] will name.
    Initial(Vec<R>),
    /// The initial records are complete; the changes after this revision follow.
    InitialEnd(Revision),
    Changes(Changes<E>),
    /// All changes up to this revision that the watch is about have been sent.
    Progress(Revision),
}

/// What one revision did, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<E> {
    pub revision: Revision,
    /// When it was committed, to the millisecond.
    pub committed_at: Timestamp,
    pub events: Vec<E>,
    /// Whether the rest of the revision follows in the next message.
    pub is_partial: bool,
}

/// What one revision did to the images and namespaces of the store.
pub type StoreChanges = Changes<StoreEvent>;

/// What a watch is about: records of one kind, and what happens to them.
pub(super) trait Watched: Send + Sync + Sized + 'static {
    type Record: Send + 'static;
    type Event: Send + 'static;

    fn start(&self) -> WatchStart;

    /// All that it asks for, at the revision of a snapshot.
    fn walk(&self, snapshot: Arc<dyn Snapshot>) -> impl Records<Record = Self::Record>;

    /// Whether telling what an effect is may take long.
    fn is_costly(&self) -> bool;

    /// What an effect of a revision is to this watch, if anything.
    fn event(
        &self,
        effect: &Effect,
        revision: Revision,
    ) -> Result<Option<Weighed<Self::Event>>, Error>;
}

/// Records of one revision, some at a time.
pub(super) trait Records: Send + 'static {
    type Record;

    fn revision(&self) -> Revision;

    /// Some more, each with the bytes that it takes as a message; `None` at the end.
    fn step(
        &mut self,
    ) -> impl Future<Output = Result<Option<Vec<Weighed<Self::Record>>>, Error>> + Send;
}

/// Something to send, and the bytes that it takes as a message at most.
pub(super) struct Weighed<T> {
    pub item: T,
    pub bytes: usize,
}

/// The messages of what is watched.
type MessageOf<W> = WatchMessage<<W as Watched>::Record, <W as Watched>::Event>;

/// One of the watches under way.
struct Counted(Arc<AtomicUsize>);

/// Messages that may wait to be read.
const AHEAD: usize = 8;

type Sender<T> = mpsc::Sender<Result<T, Error>>;

/// [`Error::GoingAway`] when the store is about to be closed, [`Error::TooManySnapshots`] and
/// [`Error::Compacted`] as the start says.
pub(super) async fn records<W: Watched>(
    store: &Store,
    request: W,
) -> Result<Watch<MessageOf<W>>, Error> {
    let place = Place::of(store)?;
    let beginning = Beginning::of(store, &request).await?;
    let kv = store.inner.kv.clone();
    let produce = |send| async move { produce(kv, &request, beginning, &send).await };
    Ok(place.begin(store, produce))
}

/// Room for a watch among those under way.
struct Place {
    ending: CancellationToken,
    counted: Counted,
}

impl Place {
    /// [`Error::GoingAway`] when no watch may begin any more.
    fn of(store: &Store) -> Result<Self, Error> {
        let ending = store.inner.watches_end.clone();
        if ending.is_cancelled() {
            return Err(Error::GoingAway);
        }
        let counted = Counted::new(&store.inner.watchers);
        Ok(Self { ending, counted })
    }

    /// Starts to send what is produced, to be read from the watch.
    fn begin<T: Send + 'static, P>(
        self,
        store: &Store,
        produce: impl FnOnce(Sender<T>) -> P,
    ) -> Watch<T>
    where
        P: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (send, messages) = mpsc::channel(AHEAD);
        let Self { ending, counted } = self;
        let watch = Watch {
            messages,
            ending: Some(Box::pin(ending.clone().cancelled_owned())),
            _counted: counted,
        };
        let produce = produce(send.clone());
        store.inner.tasks.spawn(async move {
            let produced = tokio::select! {
                produced = produce => produced,
                () = send.closed() => return,
                // The watch itself says so, past what waits to be read.
                () = ending.cancelled() => return,
            };
            if let Err(failure) = produced {
                tokio::select! {
                    // An error means that nobody reads any more.
                    _ = send.send(Err(failure)) => {}
                    () = ending.cancelled() => {}
                }
            }
        });
        watch
    }
}

impl Store {
    /// What happens to the images and namespaces of the whole store from now on, after the revision
    /// of the answer.
    ///
    /// [`Error::GoingAway`] when the store is about to be closed.
    pub async fn watch(&self) -> Result<At<StoreWatch>, Error> {
        let place = Place::of(self)?;
        let revision = self.snapshot().await?.revision();
        let feed = Feed::new(self.inner.kv.clone(), revision);
        Ok(At {
            value: place.begin(self, |send| everything::produce(feed, send)),
            revision,
        })
    }

    /// Watches that are under way.
    pub fn watchers(&self) -> usize {
        self.inner.watchers.load(Ordering::Relaxed)
    }

    /// Ends all watches, with [`Error::GoingAway`], and lets none begin. For when the store is about
    /// to be closed: they would go on for ever.
    pub fn end_watches(&self) {
        self.inner.watches_end.cancel();
    }
}

// === impl Watch ===

impl<T> Stream for Watch<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(ending) = &mut self.ending else {
            return Poll::Ready(None);
        };
        if ending.as_mut().poll(context).is_ready() {
            self.ending = None;
            return Poll::Ready(Some(Err(Error::GoingAway)));
        }
        self.messages.poll_recv(context)
    }
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

// === impl WatchMessage ===

impl<R, E> WatchMessage<R, E> {
    /// The revision after which another watch goes on where this message ends; `None` within the
    /// initial records and within a revision.
    pub fn resume_after(&self) -> Option<Revision> {
        match self {
            Self::InitialEnd(revision) | Self::Progress(revision) => Some(*revision),
            Self::Changes(changes) if !changes.is_partial => Some(changes.revision),
            Self::Changes(_) | Self::Initial(_) => None,
        }
    }
}

// === impl Counted ===

impl Counted {
    fn new(watchers: &Arc<AtomicUsize>) -> Self {
        watchers.fetch_add(1, Ordering::Relaxed);
        Self(watchers.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
