//! Claims: who may build something, and until when.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::domain::name::{bounded, text};
use crate::domain::{Invalid, Timestamp};

/// The right of one holder, until a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub holder: Holder,
    pub token: Token,
    pub ttl: Ttl,
    pub deadline: Timestamp,
}

/// Who claims: 1 to 4,096 bytes of text without NUL. Two that are called the same are not the same; the token tells.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(Arc<str>);

/// Fences a claim: larger than every token before it on the same thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// How long a claim lasts without being renewed: 1 second to 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(Duration);

/// Why a claim, or what was done under one, is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClaimRefused {
    #[error("{holder} holds the claim until {deadline}; try again then")]
    Held { holder: Holder, deadline: Timestamp },
    #[error("nobody holds the claim; acquire it first")]
    NotHeld,
    #[error("the claim is {holder}'s now; give up what was begun under the old one")]
    Superseded { holder: Holder },
    #[error("the claim ended at {deadline}; give up what was begun under it")]
    Late { deadline: Timestamp },
    #[error("the pin has ended, and its image may go; acquire another one")]
    PinEnded,
}

// === impl Claim ===

impl Claim {
    /// A new claim, unless the last one is still alive. The caller sees to it that the token was never given before.
    pub fn grant(
        last: Option<&Self>,
        holder: Holder,
        token: Token,
        ttl: Ttl,
        now: Timestamp,
    ) -> Result<Self, ClaimRefused> {
        match last {
            Some(last) if last.is_live(now) => Err(ClaimRefused::Held {
                holder: last.holder.clone(),
                deadline: last.deadline,
            }),
            Some(_) | None => Ok(Self {
                holder,
                token,
                ttl,
                deadline: now.plus(ttl.get()),
            }),
        }
    }

    /// Before its deadline, and not at it.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.deadline
    }

    /// Refuses whoever does not hold the claim, or not any more. `held` is the claim as it is now.
    pub fn check(held: Option<&Self>, token: Token, now: Timestamp) -> Result<&Self, ClaimRefused> {
        let Some(held) = held else {
            return Err(ClaimRefused::NotHeld);
        };
        if held.token != token {
            return Err(ClaimRefused::Superseded {
                holder: held.holder.clone(),
            });
        }
        if !held.is_live(now) {
            return Err(ClaimRefused::Late {
                deadline: held.deadline,
            });
        }
        Ok(held)
    }

    /// The claim as its holder gives it back. It counts as ended for a minute already: a store that starts again goes by
    /// a note of the time, which may be a little old.
    #[must_use]
    pub fn ended(&self, now: Timestamp) -> Self {
        let before = Timestamp::new(now.seconds() - 60, now.nanos());
        Self {
            deadline: self.deadline.min(before.unwrap_or(now)),
            ..self.clone()
        }
    }

    /// The claim with its whole time before it again; never with less than it has. A clock that was set back, or a
    /// server that starts again, shortens no claim.
    #[must_use]
    pub fn renewed(&self, now: Timestamp) -> Self {
        Self {
            deadline: self.deadline.max(now.plus(self.ttl.get())),
            ..self.clone()
        }
    }
}

// === impl Holder ===

text!(Holder);

impl Holder {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Holder {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        bounded("holder", text).map(Self)
    }
}

// === impl Ttl ===

impl Ttl {
    pub const MIN: Duration = Duration::from_secs(1);
    pub const MAX: Duration = Duration::from_secs(24 * 60 * 60);

    pub fn get(self) -> Duration {
        self.0
    }
}

impl TryFrom<Duration> for Ttl {
    type Error = Invalid;

    fn try_from(ttl: Duration) -> Result<Self, Invalid> {
        if !(Self::MIN..=Self::MAX).contains(&ttl) {
            return Err(Invalid::new("ttl", "must be 1 second to 24 hours"));
        }
        Ok(Self(ttl))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::new(seconds, 0).unwrap()
    }

    fn claim(
        last: Option<&Claim>,
        holder: &str,
        token: u64,
        now: i64,
    ) -> Result<Claim, ClaimRefused> {
        let ttl = Ttl::try_from(Duration::from_secs(10)).unwrap();
        Claim::grant(last, holder.parse().unwrap(), Token(token), ttl, at(now))
    }

    #[test]
    fn of_two_who_claim_at_once_one_gets_it() {
        let first = claim(None, "a", 1, 0).unwrap();
        let held = ClaimRefused::Held {
            holder: "a".parse().unwrap(),
            deadline: at(10),
        };
        assert_eq!(claim(Some(&first), "b", 2, 0), Err(held.clone()));
        assert_eq!(claim(Some(&first), "a", 2, 9), Err(held));
    }

    #[test]
    fn a_claim_ends_at_its_deadline_and_its_late_holder_is_refused() {
        let first = claim(None, "a", 1, 0).unwrap();
        assert_eq!(Claim::check(Some(&first), Token(1), at(9)), Ok(&first));
        let late = ClaimRefused::Late { deadline: at(10) };
        assert_eq!(Claim::check(Some(&first), Token(1), at(10)), Err(late));
        let second = claim(Some(&first), "b", 2, 10).unwrap();
        let superseded = ClaimRefused::Superseded {
            holder: "b".parse().unwrap(),
        };
        assert_eq!(
            Claim::check(Some(&second), Token(1), at(11)),
            Err(superseded)
        );
        assert!(Claim::check(Some(&second), Token(2), at(11)).is_ok());
        let gone = Claim::check(None, Token(2), at(11));
        assert_eq!(gone, Err(ClaimRefused::NotHeld));
    }

    #[test]
    fn only_the_very_token_holds() {
        let held = claim(None, "a", 5, 0).unwrap();
        for (token, holds) in [(4, false), (5, true), (6, false)] {
            let checked = Claim::check(Some(&held), Token(token), at(0));
            assert_eq!(checked.is_ok(), holds, "{token}");
        }
    }

    #[test]
    fn a_new_claim_of_the_same_holder_is_another_one() {
        let first = claim(None, "a", 1, 0).unwrap();
        let second = claim(Some(&first), "a", 2, 10).unwrap();
        assert!(Claim::check(Some(&second), Token(1), at(11)).is_err());
    }

    #[test]
    fn renewing_never_shortens() {
        let first = claim(None, "a", 1, 100).unwrap();
        assert_eq!(first.renewed(at(105)).deadline, at(115));
        assert_eq!(
            first.renewed(at(3)).deadline,
            at(110),
            "the clock was set back"
        );
    }

    #[test]
    fn a_claim_that_is_given_back_has_ended_whatever_time_was_noted() {
        let first = claim(None, "a", 1, 100).unwrap();
        let ended = first.ended(at(105));
        assert!((50..200).all(|now| !ended.is_live(at(now))));
        assert_eq!(ended.ended(at(300)), ended, "it ended then");
        assert!(Claim::check(Some(&ended), Token(1), at(105)).is_err());
    }

    #[test]
    fn a_claim_lasts_a_second_to_a_day() {
        for (millis, is_ok) in [
            (0, false),
            (999, false),
            (1000, true),
            (86_400_000, true),
            (86_400_001, false),
        ] {
            assert_eq!(
                Ttl::try_from(Duration::from_millis(millis)).is_ok(),
                is_ok,
                "{millis}"
            );
        }
    }
}
