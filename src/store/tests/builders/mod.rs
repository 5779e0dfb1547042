//! Builders: who makes an image, who uses it, and when it may go.

mod claims;
mod damage;
mod lasting;
mod limits;
mod model;
mod pruning;
mod races;
mod records;
mod requests;
mod stored;

use super::*;
use crate::domain::build::{
    Ages, BuilderKey, Built, ClaimRefused, Effect, Holder, Keep, Location, PinId, Policy, Presence,
    Probe, Reach, Reason, Removal, Sequence, Token, Ttl, Verdict,
};
use crate::domain::{ImageName, RunPlatform};

fn ns() -> Namespace {
    namespace("ns")
}

fn key_of(base: &str, recipe: &str) -> BuilderKey {
    let platform = RunPlatform {
        architecture: "amd64".to_owned(),
        ..RunPlatform::default()
    };
    let base: ImageName = base.parse().unwrap();
    BuilderKey::new(base, &platform, recipe.parse().unwrap()).unwrap()
}

fn key() -> BuilderKey {
    key_of("archlinux", "r")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ttl(lasts: u64) -> Ttl {
    Ttl::try_from(seconds(lasts)).unwrap()
}

fn holder(name: &str) -> Holder {
    name.parse().unwrap()
}

fn place(name: &str) -> Location {
    name.parse().unwrap()
}

fn only(places: &[&str]) -> Reach {
    Reach::Only(places.iter().map(|name| place(name)).collect())
}

/// Good for so many seconds, and made again after fewer.
fn policy(max_age: u64, refresh_after: Option<u64>) -> Policy {
    Policy {
        ages: Ages::new(Some(seconds(max_age)), refresh_after.map(seconds)).unwrap(),
        ..Policy::default()
    }
}

fn built(location: &str) -> Built {
    Built {
        image: target(location),
        base_digest: None,
        location: place(location),
    }
}

fn acquire(who: &str) -> AcquireBuilder {
    AcquireBuilder::new(key(), holder(who), ttl(10))
}

fn observed(generation: u64, location: &str, presence: Presence) -> BuilderObservation {
    BuilderObservation {
        generation: Sequence(generation),
        location: place(location),
        presence,
    }
}

/// A decision in a word: `use 1 pinned`, `use 1 stale pinned`, `build never built`, `build expired over 1`,
/// `busy a`, `busy a over 1 pinned`, `busy after exit code 1`.
fn word(decision: &Acquisition) -> String {
    let reason = |reason: &Reason| match reason {
        Reason::NeverBuilt => "never built",
        Reason::Expired => "expired",
        Reason::Gone => "gone",
        Reason::BaseChanged => "base changed",
        Reason::Forced => "forced",
        Reason::RefreshDue => "refresh due",
        Reason::Unconfirmed => "unconfirmed",
        Reason::OutOfReach => "out of reach",
    };
    let mut words = Vec::new();
    let previous = match decision {
        Acquisition::Use {
            generation,
            is_stale,
            is_confirmed,
            ..
        } => {
            words.push(format!("use {}", generation.sequence.0));
            words.extend(is_stale.then(|| "stale".to_owned()));
            words.extend((!is_confirmed).then(|| "unconfirmed".to_owned()));
            &None
        }
        Acquisition::Build {
            reason: why,
            previous,
            ..
        } => {
            words.push(format!("build {}", reason(why)));
            previous
        }
        Acquisition::Busy {
            holder,
            last_error,
            previous,
            ..
        } => {
            words.push(match holder {
                Some(holder) => format!("busy {holder}"),
                None => format!("busy after {last_error}"),
            });
            previous
        }
    };
    if let Some(previous) = previous {
        words.push(format!("over {}", previous.sequence.0));
    }
    if pin_of(decision).is_some() {
        words.push("pinned".to_owned());
    }
    words.join(" ")
}

fn pin_of(decision: &Acquisition) -> Option<PinId> {
    match decision {
        Acquisition::Use { pin, .. } | Acquisition::Busy { pin, .. } => {
            pin.as_ref().map(|pinned| pinned.id)
        }
        Acquisition::Build { .. } => None,
    }
}

fn token_of(decision: &Acquisition) -> Token {
    match decision {
        Acquisition::Build {
            claim: Some(claim), ..
        } => claim.token,
        other => panic!("{}", word(other)),
    }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> ClaimRefused {
    match answer {
        Err(Error::Claim { refused, .. }) => refused,
        other => panic!("{other:?}"),
    }
}

impl On {
    async fn put_builder(&self, policy: Policy) -> BuilderPut {
        let request = PutBuilder::new(key(), policy);
        let put = self.store.builders().put(&ns(), &request).await;
        put.unwrap().value
    }

    async fn builder(&self) -> StoredBuilder {
        let got = self.store.builders().get(&ns(), &key()).await;
        got.unwrap().value
    }

    async fn ask(&self, request: &AcquireBuilder) -> Acquisition {
        let answer = self.store.builders().acquire(&ns(), request).await;
        answer.unwrap().value.decision
    }

    async fn ask_as(&self, who: &str) -> String {
        word(&self.ask(&acquire(who)).await)
    }

    /// Claims, builds and hands in an image that is in a place.
    async fn build_in(&self, location: &str) -> Sequence {
        let force = AcquireBuilder {
            force: true,
            ..acquire("builder")
        };
        let token = token_of(&self.ask(&force).await);
        self.complete(token, location).await.unwrap()
    }

    async fn complete(&self, token: Token, location: &str) -> Result<Sequence, Error> {
        let request = CompleteBuilder::new(key(), token, built(location));
        let completed = self.store.builders().complete(&ns(), &request).await;
        completed.map(|completed| completed.value.generation.sequence)
    }

    async fn fail(&self, token: Token, error: &str) -> Result<Option<Timestamp>, Error> {
        let failure = Some(Failure {
            error: error.to_owned(),
            retry_after: None,
        });
        let request = AbandonBuilder {
            failure,
            ..AbandonBuilder::new(key(), token)
        };
        let abandoned = self.store.builders().abandon(&ns(), &request).await;
        abandoned.map(|abandoned| abandoned.value)
    }

    async fn give_back(&self, token: Token) -> Result<(), Error> {
        let request = AbandonBuilder::new(key(), token);
        let abandoned = self.store.builders().abandon(&ns(), &request).await;
        abandoned.map(|_| ())
    }

    async fn renew(&self, token: Token) -> Result<Timestamp, Error> {
        let renewed = self.store.builders().renew(&ns(), &key(), token).await;
        renewed.map(|renewed| renewed.value.deadline)
    }

    async fn report(&self, observations: Vec<BuilderObservation>) -> Vec<Effect> {
        let request = ReportBuilder::new(key(), observations);
        let reported = self.store.builders().report(&ns(), &request).await;
        reported.unwrap().value.effects
    }

    /// `3 newest, 2 pinned, 1 remove at reg`
    async fn prune(&self, request: &PruneBuilder) -> String {
        let pruned = self.store.builders().prune(&ns(), request).await;
        judged(&pruned.unwrap().value)
    }

    async fn confirm(&self, generation: u64, location: &str, removal: Removal) -> Effect {
        let request = ConfirmRemoved::new(key(), Sequence(generation), place(location), removal);
        let confirmed = self.store.builders().confirm_removed(&ns(), &request).await;
        confirmed.unwrap().value.effect
    }

    /// What verify says is wrong.
    async fn wrongs(&self) -> Vec<String> {
        let verified = self.store.verify().await.unwrap();
        verified.problems.iter().map(Problem::to_string).collect()
    }
}

fn judged(pruned: &Pruned) -> String {
    let one = |judged: &Judged| {
        let verdict = match &judged.verdict {
            Verdict::Remove => {
                let places = judged.generation.copies.keys().map(Location::as_str);
                format!("remove at {}", places.collect::<Vec<_>>().join("+"))
            }
            Verdict::Keep(Keep::Newest) => "newest".to_owned(),
            Verdict::Keep(Keep::Pinned { holder, .. }) => format!("pinned by {holder}"),
            Verdict::Keep(Keep::KeepLast) => "keep last".to_owned(),
            Verdict::Keep(Keep::InUse) => "in use".to_owned(),
            Verdict::Keep(Keep::TooYoung) => "too young".to_owned(),
        };
        format!("{} {verdict}", judged.generation.sequence.0)
    };
    pruned.judged.iter().map(one).collect::<Vec<_>>().join(", ")
}
