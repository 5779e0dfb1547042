//! Requests that are done once, however often they are sent (AIP-155).

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::wire::Outcome;
use super::{At, schema, wire};
use crate::domain::{Invalid, Timestamp};
use crate::error::Error;
use crate::kv::{Batch, Guard, Key, Revision, Snapshot};

/// What a caller calls a request, so that it may send it again, and what the request asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId {
    id: String,
    fingerprint: [u8; 32],
}

/// An answer that can be written beside what it is about, and read back.
pub(super) trait Remembered: Sized {
    /// Gives what was written its revision.
    fn settle(&mut self, revision: Revision);

    /// Whether the answer is kept. One that says to ask again later is not.
    fn is_worth_remembering(&self) -> bool {
        true
    }

    fn outcomes(&self) -> Vec<Outcome>;

    /// The answer again; `None` where the outcomes are those of another kind of request.
    fn recall(outcomes: Vec<Outcome>) -> Option<Self>;
}

impl RequestId {
    pub const MAX_BYTES: usize = 128;

    /// `asked` is whatever tells this request from another. Refuses an id that is not 1 to 128 printable
    /// ASCII characters.
    pub fn new(id: impl Into<String>, asked: &[u8]) -> Result<Self, Invalid> {
        let id = id.into();
        let is_printable = id.bytes().all(|byte| byte.is_ascii_graphic());
        if id.is_empty() || id.len() > Self::MAX_BYTES || !is_printable {
            return Err(Invalid::new(
                "request_id",
                "must be 1 to 128 printable ASCII characters without spaces; a UUID is best",
            ));
        }
        Ok(Self {
            id,
            fingerprint: Sha256::digest(asked).into(),
        })
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

const SECONDS_A_DAY: i64 = 24 * 3600;

/// Answers are kept by the day. One of today or of yesterday counts, so each counts for 24 hours at
/// least; one of tomorrow too, since clocks are set back.
pub(super) fn day(now: Timestamp) -> u64 {
    u64::try_from(now.seconds() / SECONDS_A_DAY).unwrap_or(0)
}

/// The answer that was given under the id, if there was one.
///
/// [`Error::Invalid`] when it was given to another request.
pub(super) async fn answered<T: Remembered>(
    snapshot: &dyn Snapshot,
    once: &RequestId,
    now: Timestamp,
) -> Result<Option<At<T>>, Error> {
    let keys = keys(once, now);
    let found = snapshot.get(&keys).await?.into_iter().flatten().next();
    let Some(row) = found else {
        return Ok(None);
    };
    let (asked, outcomes) = wire::decode_answer(row.value, row.revision)?;
    let is_same = asked == once.fingerprint;
    let recalled = is_same.then(|| T::recall(outcomes)).flatten();
    let value = recalled.ok_or_else(|| {
        Invalid::new(
            "request_id",
            "was used by another request; give each request an id of its own",
        )
    })?;
    Ok(Some(At {
        value,
        revision: row.revision,
    }))
}

/// Where an answer that counts can be; today's first.
fn keys(once: &RequestId, now: Timestamp) -> [Key; 3] {
    let today = day(now);
    [today, today + 1, today.saturating_sub(1)].map(|day| schema::request_key(day, &once.id))
}

/// Adds the answer to the batch that makes it true.
pub(super) fn remember<T: Remembered>(
    batch: &mut Batch,
    once: &RequestId,
    value: &T,
    now: Timestamp,
) {
    let keys = keys(once, now);
    let answer = wire::encode_answer(&once.fingerprint, &value.outcomes());
    for key in &keys {
        batch.guard(Guard::Absent(key.clone()));
    }
    let [today, ..] = keys;
    batch.put(today, answer);
}
