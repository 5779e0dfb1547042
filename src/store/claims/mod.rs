//! Claims as the store keeps them, and the steady clock that they go by.

mod renewal;
mod sweep;

use std::time::Duration;

pub(super) use self::renewal::renew_all;
pub(super) use self::sweep::sweep_claims;
use super::edit::as_of;
use super::{Store, schema, wire};
use crate::domain::Timestamp;
use crate::domain::build::{Claim, ClaimRefused, Holder, Moment, Token, Ttl};
use crate::error::Error;
use crate::kv::{Batch, Key, Revision, Snapshot, Versioned};

/// The last claim on something as a call sees it, dead or alive.
#[derive(Clone, Debug)]
pub(super) struct SeenClaim {
    pub claim: Claim,
    revision: Revision,
}

/// Where the claim on something is, for a batch that is decided by what was seen there.
pub(super) struct ClaimPlace<'a> {
    pub key: Key,
    pub seen: Option<&'a SeenClaim>,
    pub moment: Moment,
}

/// What the steady clock showed last, by the store's own note; `None` where nothing was ever noted.
pub(super) async fn noted(snapshot: &dyn Snapshot) -> Result<Option<Moment>, Error> {
    let row = snapshot.get(&[schema::steady()]).await?.remove(0);
    row.map(|row| wire::decode_steady(row.value)).transpose()
}

/// Has a batch note what the steady clock shows.
pub(super) fn note(batch: &mut Batch, moment: &Moment) {
    batch.put(schema::steady(), wire::encode_steady(moment));
}

impl Store {
    /// What claims go by now.
    pub(super) fn moment(&self) -> Moment {
        Moment {
            steady: self.inner.steady.at((self.inner.surroundings.uptime)()),
            wall: self.now(),
        }
    }

    /// Writes what the steady clock shows, where there ever were claims that go by it, and nobody has just written it: so
    /// a store that is not closed loses little time. A server calls this each minute.
    pub async fn note_time(&self) -> Result<(), Error> {
        let snapshot = self.snapshot().await?;
        let moment = self.moment();
        match noted(&*snapshot).await? {
            Some(noted) if moment.steady.since(noted.steady) >= NOTED_FOR => {}
            Some(_) | None => return Ok(()),
        }
        let mut batch = Batch::new(moment.wall.millis());
        note(&mut batch, &moment);
        self.inner.kv.commit(batch).await?;
        Ok(())
    }
}

/// How long a note of the time is as good as a new one.
const NOTED_FOR: Duration = Duration::from_secs(1);

// === impl SeenClaim ===

impl SeenClaim {
    pub fn of(row: Versioned) -> Result<Self, Error> {
        Ok(Self {
            claim: wire::decode_claim(row.value)?,
            revision: row.revision,
        })
    }

    /// The claim, unless it has ended.
    pub fn live(seen: Option<&Self>, now: Timestamp) -> Option<&Claim> {
        let claim = seen.map(|seen| &seen.claim);
        claim.filter(|claim| claim.is_live(now))
    }
}

// === impl ClaimPlace ===

impl<'a> ClaimPlace<'a> {
    /// The claim, unless it has ended.
    pub fn live(&self) -> Option<&'a Claim> {
        SeenClaim::live(self.seen, self.moment.steady)
    }

    /// The claim, if the token is its and it has not ended.
    pub fn held(&self, token: Token) -> Result<&'a Claim, ClaimRefused> {
        Claim::check(self.last(), token, self.moment.steady)
    }

    /// Has a batch hold only while the claim is as it was seen.
    pub fn guard(&self, batch: &mut Batch) {
        batch.guard(as_of(self.key.clone(), self.seen.map(|seen| seen.revision)));
    }

    /// Has a batch grant a claim over the last one, which was seen at this revision.
    pub fn grant(
        &self,
        batch: &mut Batch,
        seen_at: Revision,
        holder: &Holder,
        ttl: Ttl,
    ) -> Result<Claim, ClaimRefused> {
        let token = next_token(seen_at);
        let claim = Claim::grant(self.last(), holder.clone(), token, ttl, self.moment.steady)?;
        self.put(batch, &claim);
        Ok(claim)
    }

    /// Has a batch give the claim its whole time again.
    pub fn renew(&self, batch: &mut Batch, token: Token) -> Result<Claim, ClaimRefused> {
        let claim = self.held(token)?.renewed(self.moment.steady);
        self.put(batch, &claim);
        Ok(claim)
    }

    /// Has a batch end the claim, which frees no space, and returns it as it was. Its row stays, so that a claim is
    /// always granted over the last one as it was seen, and nobody who has read before that one was granted can be given
    /// its token again; a sweep removes it after [`sweep::ENDED_KEPT`].
    pub fn end(&self, batch: &mut Batch, token: Token) -> Result<&'a Claim, ClaimRefused> {
        let held = self.held(token)?;
        self.put(batch, &held.ended(self.moment.steady));
        Ok(held)
    }

    fn last(&self) -> Option<&'a Claim> {
        self.seen.map(|seen| &seen.claim)
    }

    fn put(&self, batch: &mut Batch, claim: &Claim) {
        self.guard(batch);
        batch.put(self.key.clone(), wire::encode_claim(claim));
        note(batch, &self.moment);
    }
}

/// The token of a claim that a batch grants which holds only while the claim before it is as it is seen at this
/// revision. It is larger than that one's, and the next one will be seen at a later revision.
pub(super) fn next_token(seen_at: Revision) -> Token {
    Token(seen_at.0 + 1)
}
