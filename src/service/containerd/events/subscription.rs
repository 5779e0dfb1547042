//! One subscriber's events: those of the store and those that are published, in the order in which
//! they happened.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use tokio::task::{self, coop};
use tonic::Status;

use super::envelope::{Told, envelopes};
use super::exchange::{Exchange, Inbox, Overflowed, Published};
use crate::domain::Filter;
use crate::error::Error;
use crate::kv::Revision;
use crate::proto::containerd::types::Envelope;
use crate::service::containerd::error::{Fault, Kind};
use crate::store::{Store, StoreChanges, StoreWatch};

/// Where a subscriber is.
///
/// An event that was published before a change was begun comes before it, and one that was published
/// after a change was acknowledged comes behind it.
pub struct Subscription {
    changes: StoreWatch,
    /// Up to here the store's changes have been taken.
    at: Revision,
    inbox: Inbox,
    /// What comes next of the store, as long as something that was published comes before it.
    held: Option<StoreChanges>,
    /// What comes next.
    ready: VecDeque<Told>,
    filter: Filter,
}

enum Next {
    Changed(Told),
    Published(Arc<Published>),
}

/// Why a subscription ends.
enum End {
    /// What it had yet to read is no longer kept.
    TooSlow,
    Failed(Error),
}

impl Subscription {
    /// Begins with what happens from now on.
    pub async fn begin(
        store: &Store,
        exchange: &Arc<Exchange>,
        filter: Filter,
    ) -> Result<Self, Fault> {
        let inbox = exchange.subscribe();
        let watch = store.watch().await.map_err(End::Failed)?;
        Ok(Self {
            changes: watch.value,
            at: watch.revision,
            inbox,
            held: None,
            ready: VecDeque::new(),
            filter,
        })
    }

    /// The envelopes that the filter asks for.
    pub fn envelopes(self) -> impl Stream<Item = Result<Envelope, Status>> + Send {
        stream::try_unfold(self, |mut subscription| async move {
            match subscription.next_wanted().await {
                Ok(envelope) => Ok(Some((envelope, subscription))),
                Err(end) => Err(Fault::from(end).into()),
            }
        })
    }

    async fn next_wanted(&mut self) -> Result<Envelope, End> {
        let is_costly = self.filter.is_costly();
        loop {
            let next = self.next().await?;
            match is_costly {
                // Lets others have the thread between two matches.
                true => task::yield_now().await,
                false => coop::consume_budget().await,
            }
            if self.filter.matches(next.told()) {
                return Ok(next.into_envelope());
            }
        }
    }

    async fn next(&mut self) -> Result<Next, End> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return Ok(Next::Changed(told));
            }
            // What was published after a change stays where it is until the change is taken.
            let upto = self.held.as_ref().map(|changes| changes.revision);
            let at = self.at;
            let is_due = |after: Revision| upto.map_or(after <= at, |upto| after < upto);
            if let Some(published) = self.inbox.take_if(is_due)? {
                return Ok(Next::Published(published));
            }
            if let Some(changes) = self.held.take() {
                self.take(changes);
                continue;
            }
            tokio::select! {
                biased;
                changes = self.changes.next() => {
                    // It says why it ends before it does.
                    let changes = changes.unwrap_or(Err(Error::GoingAway));
                    self.held = Some(changes.map_err(End::Failed)?);
                }
                () = self.inbox.wait_for(is_due) => {}
            }
        }
    }

    fn take(&mut self, changes: StoreChanges) {
        if !changes.is_partial {
            self.at = changes.revision;
        }
        self.ready.extend(envelopes(changes).map(Told::new));
    }
}

// === impl Next ===

impl Next {
    fn told(&self) -> &Told {
        match self {
            Self::Changed(told) => told,
            Self::Published(published) => &published.told,
        }
    }

    fn into_envelope(self) -> Envelope {
        match self {
            Self::Changed(told) => told.into_envelope(),
            Self::Published(published) => published.told.envelope().clone(),
        }
    }
}

// === impl End ===

impl From<Overflowed> for End {
    fn from(_: Overflowed) -> Self {
        Self::TooSlow
    }
}

impl From<End> for Fault {
    fn from(end: End) -> Self {
        match end {
            End::TooSlow | End::Failed(Error::Compacted { .. }) => Self::new(
                Kind::Unavailable,
                "events were lost because they were not read in time; subscribe again and list",
            ),
            End::Failed(Error::GoingAway) => Self::new(
                Kind::Unavailable,
                "the server is going away; subscribe again",
            ),
            End::Failed(error) => error.into(),
        }
    }
}
