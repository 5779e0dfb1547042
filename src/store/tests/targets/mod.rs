//! Build targets: what is to be built, on what, and who is at it.

mod claims;
mod damage;
mod declared;
mod handing_out;
mod limits;
mod lost;
mod model;
mod observed;
mod races;
mod requests;
mod stored;
mod told;
mod transitions;

use super::*;
use crate::domain::build::{
    Dependency, Event, EventKind, IllegalEvent, Location, Mode, Observation, Presence, Span, State,
    Target, TargetKey, TargetSelector, Token, Ttl, Work, WorkSet,
};

fn ns() -> Namespace {
    namespace("ns")
}

/// `NAME[@VERSION][<-DEPENDENCY,...]` with `;` between; version 1 where nothing is said. A dependency in capitals is
/// external.
fn targets(text: &str) -> Vec<Target> {
    let texts = text.split(';').map(str::trim);
    texts.filter(|one| !one.is_empty()).map(declared).collect()
}

fn declared(text: &str) -> Target {
    let (key, needs) = text.split_once("<-").unwrap_or((text, ""));
    let key = key_of(key);
    let needs = needs.split(',').filter(|need| !need.is_empty());
    let dependency = |need: &str| match need.chars().all(|c| c.is_ascii_uppercase()) {
        true => Dependency::External(need.parse().unwrap()),
        false => need.parse().unwrap(),
    };
    let label = format!("reg.example:5000/{}:{}", key.name, key.version);
    let needs = needs.map(dependency).collect();
    Target::new(key, label.parse().unwrap(), needs, Labels::default()).unwrap()
}

fn key_of(text: &str) -> TargetKey {
    match text.contains('@') {
        true => text.parse().unwrap(),
        false => format!("{text}@1").parse().unwrap(),
    }
}

/// Keys in one line, without the usual version.
fn line<'a>(keys: impl IntoIterator<Item = &'a TargetKey>) -> String {
    let keys: Vec<_> = keys.into_iter().map(short).collect();
    keys.join(" ")
}

fn short(key: &TargetKey) -> String {
    let text = key.to_string();
    text.strip_suffix("@1").map(str::to_owned).unwrap_or(text)
}

fn place(name: &str) -> Location {
    name.parse().unwrap()
}

fn hash(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

fn all() -> TargetSelector {
    TargetSelector::default()
}

fn globbed(glob: &str) -> TargetSelector {
    TargetSelector {
        glob: Some(glob.parse().unwrap()),
        ..all()
    }
}

/// What happens at one daemon.
fn event(kind: EventKind) -> Event {
    event_at(kind, "host:a")
}

fn event_at(kind: EventKind, location: &str) -> Event {
    let error = String::from("exit code 1");
    match kind {
        EventKind::BuildOk => Event::BuildOk {
            digest: Some(hash("built")),
            location: place(location),
        },
        EventKind::BuildFailed => Event::BuildFailed { error },
        EventKind::VerifyOk => Event::VerifyOk,
        EventKind::VerifyFailed => Event::VerifyFailed { error },
        EventKind::PublishOk => Event::PublishOk {
            digest: Some(hash("pushed")),
        },
        EventKind::PublishFailed => Event::PublishFailed { error },
        EventKind::SeenLocal => Event::SeenLocal {
            digest: None,
            location: place(location),
        },
        EventKind::SeenPublished => Event::SeenPublished { digest: None },
        EventKind::Lost => Event::Lost,
        EventKind::Reset => Event::Reset,
    }
}

/// What leads from a new target to a state.
fn path_to(state: State) -> &'static [EventKind] {
    use EventKind::*;
    match state {
        State::ToBuild => &[],
        State::Built => &[BuildOk],
        State::Verified => &[BuildOk, VerifyOk],
        State::Published => &[BuildOk, VerifyOk, PublishOk],
        State::Error => &[BuildFailed],
    }
}

const BUILD: &[Work] = &[Work::Build];

fn claiming(holder: &str, works: &[Work]) -> ClaimTarget {
    ClaimTarget {
        selector: all(),
        own: Default::default(),
        works: WorkSet::new(works.iter().copied()).unwrap(),
        location: place("host:a"),
        holder: holder.parse().unwrap(),
        ttl: Ttl::try_from(Duration::from_secs(10)).unwrap(),
        request: None,
    }
}

impl On {
    async fn apply(&self, text: &str) -> Result<At<AppliedTargets>, Error> {
        let request = ApplyTargets::new(targets(text));
        self.store.build_targets().apply(&ns(), &request).await
    }

    async fn declare(&self, text: &str) -> AppliedTargets {
        self.apply(text).await.unwrap().value
    }

    async fn entry(&self, key: &str) -> TargetEntry {
        let got = self.store.build_targets().get(&ns(), &key_of(key)).await;
        got.unwrap().value
    }

    async fn happen(&self, key: &str, kind: EventKind) -> Result<TransitionedTarget, Error> {
        self.happen_under(key, kind, None).await
    }

    async fn happen_under(
        &self,
        key: &str,
        kind: EventKind,
        token: Option<Token>,
    ) -> Result<TransitionedTarget, Error> {
        let request = TransitionTarget {
            token,
            ..TransitionTarget::new(key_of(key), event(kind))
        };
        let told = self.store.build_targets().transition(&ns(), &request).await;
        told.map(|told| told.value)
    }

    /// Takes a new target to a state.
    async fn bring(&self, key: &str, state: State) {
        for kind in path_to(state) {
            self.happen(key, *kind).await.unwrap();
        }
        assert_eq!(self.entry(key).await.progress.state, state);
    }

    async fn next(&self, request: &ClaimTarget) -> NextTarget {
        let next = self.store.build_targets().claim_next(&ns(), request).await;
        next.unwrap().value
    }

    async fn claimed(&self, holder: &str, works: &[Work]) -> ClaimedTarget {
        match self.next(&claiming(holder, works)).await {
            NextTarget::Claimed(claimed) => *claimed,
            NextTarget::Idle(idle) => panic!("nothing to claim: {idle:?}"),
        }
    }

    async fn idle(&self, works: &[Work]) -> IdleTargets {
        match self.next(&claiming("w", works)).await {
            NextTarget::Claimed(claimed) => panic!("there is {:?}", claimed.entry.target.key()),
            NextTarget::Idle(idle) => *idle,
        }
    }

    async fn keep(&self, key: &str, token: Token) -> Result<(), Error> {
        let target = key_of(key);
        let request = RenewTarget { target, token };
        let renewed = self.store.build_targets().renew(&ns(), &request).await;
        renewed.map(|_| ())
    }

    async fn let_go(&self, key: &str, token: Token, after: Option<u64>) -> Result<(), Error> {
        let request = ReleaseTarget {
            target: key_of(key),
            token,
            retry_after: after.map(Duration::from_secs),
        };
        let released = self.store.build_targets().release(&ns(), &request).await;
        released.map(|_| ())
    }

    /// All targets, in pages of two.
    async fn selected(&self, selector: &TargetSelector) -> Vec<TargetEntry> {
        let mut items = Vec::new();
        let mut page = PageRequest {
            size: 2,
            token: String::new(),
        };
        loop {
            let targets = self.store.build_targets();
            let found = targets.list(&ns(), selector, &page).await.unwrap();
            assert!(found.items.len() <= 2);
            items.extend(found.items);
            if found.next_token.is_empty() {
                return items;
            }
            page.token = found.next_token;
        }
    }

    async fn keys(&self) -> String {
        let all = self.selected(&all()).await;
        line(all.iter().map(|entry| entry.target.key()))
    }

    async fn observe(
        &self,
        key: &str,
        local: Presence,
        published: Presence,
    ) -> Result<ObservedTarget, Error> {
        let observation = TargetObservation {
            target: key_of(key),
            seen: Observation {
                location: place("host:a"),
                local,
                published,
            },
            if_etag: None,
        };
        let request = ObserveTargets::new(Mode::RegistryFirst, vec![observation]);
        let observed = self.store.build_targets().observe(&ns(), &request).await;
        observed.map(|mut observed| observed.value.remove(0))
    }
}

fn token(claimed: &ClaimedTarget) -> Token {
    claimed.entry.claim.as_ref().unwrap().token
}

fn is_aborted<T: std::fmt::Debug>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Claim { .. }))
}
