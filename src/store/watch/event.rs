//! What of a change a watch is about, and how much of it a message holds.

use tokio::task;

use super::{Changes, MessageOf, WatchMessage, Watched, Weighed};
use crate::domain::Timestamp;
use crate::error::Error;
use crate::kv::Change;

/// Bytes of events that a message holds.
const FRAGMENT_BYTES: usize = 1 << 20;

/// What is sent of a change: nothing, or a message, or some that together are one revision.
pub(super) async fn messages<W: Watched>(
    change: &Change,
    request: &W,
) -> Result<Vec<MessageOf<W>>, Error> {
    let is_costly = request.is_costly();
    let mut events = Vec::new();
    for effect in &change.effects {
        if is_costly {
            // Lets others have the thread between two matches.
            task::yield_now().await;
        }
        events.extend(request.event(effect, change.revision)?);
    }
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let messages = fragments(change, events)?.into_iter();
    Ok(messages.map(WatchMessage::Changes).collect())
}

/// The events of a change as messages, one at least.
pub(super) fn fragments<E>(
    change: &Change,
    events: Vec<Weighed<E>>,
) -> Result<Vec<Changes<E>>, Error> {
    let mut fragments: Vec<Vec<E>> = vec![Vec::new()];
    let mut bytes = 0;
    for found in events {
        bytes += found.bytes;
        match fragments.last_mut() {
            Some(fragment) if bytes <= FRAGMENT_BYTES || fragment.is_empty() => {
                fragment.push(found.item);
            }
            _ => {
                bytes = found.bytes;
                fragments.push(vec![found.item]);
            }
        }
    }
    let committed_at = Timestamp::from_millis(change.at_millis)
        .map_err(|cause| Error::corrupt(format!("a change of the log: {cause}")))?;
    let last = fragments.len() - 1;
    let messages = fragments
        .into_iter()
        .enumerate()
        .map(|(i, events)| Changes {
            revision: change.revision,
            committed_at,
            events,
            is_partial: i < last,
        });
    Ok(messages.collect())
}
