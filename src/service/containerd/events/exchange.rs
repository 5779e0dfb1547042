//! What clients publish, kept in memory for all who subscribe until newer events take its room.

use std::collections::VecDeque;
use std::sync::Arc;

use prost::Message;
use tokio::sync::watch;

use super::envelope::Told;
use crate::kv::Revision;

/// Hands out what is published: the latest events are kept once, for all subscribers together.
#[derive(Default)]
pub struct Exchange {
    ring: watch::Sender<Ring>,
}

/// What was published, and behind which revision of the store it comes.
#[derive(Debug)]
pub struct Published {
    pub told: Told,
    pub after: Revision,
    bytes: usize,
}

/// Where one subscriber is among what is published. Holds no events.
pub struct Inbox {
    ring: watch::Receiver<Ring>,
    /// The number of the event that comes next.
    place: u64,
    /// Without it nothing more would come.
    _exchange: Arc<Exchange>,
}

/// The event that comes next is no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflowed;

/// The latest events, numbered in the order in which they were published.
#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Published>>,
    /// The number of the oldest that is kept.
    first: u64,
    bytes: usize,
}

/// Events that are kept,
pub const MAX_EVENTS: usize = 1024;

/// and their bytes, unless it is one alone.
pub const MAX_BYTES: usize = 8 << 20;

impl Exchange {
    /// An inbox for all that is published from now on.
    pub fn subscribe(self: &Arc<Self>) -> Inbox {
        let ring = self.ring.subscribe();
        let place = ring.borrow().end();
        Inbox {
            ring,
            place,
            _exchange: self.clone(),
        }
    }

    /// Gives an event to all who have subscribed. The oldest ones go to make room for it.
    pub fn publish(&self, told: Told, after: Revision) {
        let bytes = told.envelope().encoded_len();
        let published = Arc::new(Published { told, after, bytes });
        self.ring.send_modify(|ring| ring.push(published));
    }

    #[cfg(test)]
    pub fn subscribers(&self) -> usize {
        self.ring.receiver_count()
    }

    /// The event that was published last.
    #[cfg(test)]
    pub fn newest(&self) -> Option<std::sync::Weak<Published>> {
        self.ring.borrow().events.back().map(Arc::downgrade)
    }
}

impl Inbox {
    /// Takes the next event, if it is there and comes behind a revision that `is_due`.
    pub fn take_if(
        &mut self,
        is_due: impl Fn(Revision) -> bool,
    ) -> Result<Option<Arc<Published>>, Overflowed> {
        let next = self.ring.borrow().get(self.place)?.cloned();
        let due = next.filter(|next| is_due(next.after));
        self.place += u64::from(due.is_some());
        Ok(due)
    }

    /// Waits until [`Self::take_if`] has something to say.
    pub async fn wait_for(&mut self, is_due: impl Fn(Revision) -> bool) {
        let place = self.place;
        let has_come = |ring: &Ring| match ring.get(place) {
            Ok(next) => next.is_some_and(|next| is_due(next.after)),
            Err(Overflowed) => true,
        };
        // It fails when the exchange is gone, which this keeps.
        let _ = self.ring.wait_for(|ring| has_come(ring)).await;
    }
}

impl Ring {
    /// The number of the event that will be published next.
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// The event of a number, if it has been published.
    fn get(&self, number: u64) -> Result<Option<&Arc<Published>>, Overflowed> {
        let index = number.checked_sub(self.first).ok_or(Overflowed)?;
        Ok(usize::try_from(index).ok().and_then(|i| self.events.get(i)))
    }

    fn push(&mut self, published: Arc<Published>) {
        self.bytes += published.bytes;
        self.events.push_back(published);
        while self.events.len() > MAX_EVENTS || (self.bytes > MAX_BYTES && self.events.len() > 1) {
            let oldest = self.events.pop_front().expect("there is more than one");
            self.bytes -= oldest.bytes;
            self.first += 1;
        }
    }
}
