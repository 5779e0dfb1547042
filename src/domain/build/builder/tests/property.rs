//! What holds whatever callers, clocks and machines do.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::domain::build::ClaimRefused;

const HOSTS: [&str; 2] = ["host:0", "host:1"];

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Acquire {
        agent: usize,
        is_forced: bool,
    },
    Complete {
        agent: usize,
    },
    Abandon {
        agent: usize,
    },
    Renew {
        agent: usize,
    },
    Report {
        back: u64,
        place: usize,
        presence: usize,
    },
    Pass(i64),
    NewBase(u8),
    Prune {
        place: usize,
        keep_last: u32,
        removal: usize,
    },
    Restart,
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0..4usize, prop::bool::weighted(0.1)).prop_map(|(agent, is_forced)| Happening::Acquire { agent, is_forced }),
        4 => (0..4usize).prop_map(|agent| Happening::Complete { agent }),
        1 => (0..4usize).prop_map(|agent| Happening::Abandon { agent }),
        1 => (0..4usize).prop_map(|agent| Happening::Renew { agent }),
        2 => (0..3u64, 0..3usize, 0..3usize).prop_map(|(back, place, presence)| Happening::Report { back, place, presence }),
        3 => (-20..40i64).prop_map(Happening::Pass),
        1 => (0..3u8).prop_map(Happening::NewBase),
        2 => (0..3usize, 1..3u32, 0..4usize).prop_map(|(place, keep_last, removal)| Happening::Prune { place, keep_last, removal }),
        1 => Just(Happening::Restart),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let age = || prop::option::of(0..60i64);
    let probe = prop_oneof![
        Just(Probe::Never),
        Just(Probe::Always),
        (1..30i64).prop_map(|d| Probe::IfOlderThan(seconds(d)))
    ];
    (age(), age(), any::<bool>(), probe).prop_map(|(max_age, refresh_after, tracks_base, probe)| {
        let refresh_after = refresh_after.map(|after| after.min(max_age.unwrap_or(after)));
        let ages = Ages::new(max_age.map(seconds), refresh_after.map(seconds)).unwrap();
        Policy {
            ages,
            tracks_base,
            probe,
            ..Policy::default()
        }
    })
}

/// A builder as a store would keep it, and what its agents believe.
struct World {
    policy: Policy,
    now: i64,
    generations: Generations,
    claim: Option<Claim>,
    failures: Option<Failures>,
    base: Option<Digest>,
    next_token: u64,
    tokens: [Option<Token>; 4],
    dropped: BTreeSet<Sequence>,
}

fn reach_of(agent: usize) -> Reach {
    match agent {
        0 => only(&["reg", HOSTS[0]]),
        1 => only(&["reg", HOSTS[1]]),
        _ => Reach::Anywhere,
    }
}

fn place_of(n: usize) -> Location {
    place(["reg", HOSTS[0], HOSTS[1]][n])
}

impl World {
    fn acquire(&mut self, agent: usize, is_forced: bool) -> Result<(), TestCaseError> {
        let now = at(self.now);
        let reach = reach_of(agent);
        let (generations, last) = (self.generations.clone(), self.claim.clone());
        let standing = Standing {
            policy: &self.policy,
            generations: &generations,
            base_digest: self.base.as_ref(),
            claim: last.as_ref(),
            failures: self.failures.as_ref(),
            reach: &reach,
            is_forced,
        };
        let is_live = last.as_ref().is_some_and(|claim| claim.is_live(now));
        match decide(now, &standing) {
            Decision::Use {
                generation,
                is_stale,
                fresh_until,
                usable_until,
                ..
            } => {
                let age = now.since(generation.built_at);
                prop_assert!(
                    self.policy
                        .ages
                        .max_age()
                        .is_none_or(|max_age| age < max_age)
                );
                prop_assert!(
                    generation.is_within(&reach) && !self.dropped.contains(&generation.sequence)
                );
                prop_assert!(generations.newest(&reach) == Some(generation) && !is_forced);
                let waits = self
                    .failures
                    .as_ref()
                    .is_some_and(|failures| failures.retry_at(now).is_some());
                prop_assert!(!is_stale || is_live || waits);
                prop_assert!(
                    usable_until.is_none_or(|until| until > now || generation.built_at > now)
                );
                prop_assert!(
                    fresh_until
                        .is_none_or(|fresh| usable_until.is_none_or(|usable| fresh <= usable))
                );
            }
            Decision::Build { previous, .. } => {
                prop_assert!(!is_live, "one builds at a time");
                prop_assert!(previous == generations.newest(&reach));
                self.next_token += 1;
                let ttl = Ttl::try_from(seconds(15)).unwrap();
                let token = Token(self.next_token);
                let granted =
                    Claim::grant(last.as_ref(), "agent".parse().unwrap(), token, ttl, now);
                let granted =
                    granted.map_err(|refused| TestCaseError::fail(refused.to_string()))?;
                prop_assert!(last.is_none_or(|last| last.token < granted.token));
                self.claim = Some(granted);
                self.tokens[agent] = Some(token);
            }
            Decision::Busy { hold, previous } => {
                match hold {
                    Hold::Claimed(_) => prop_assert!(is_live),
                    Hold::BackingOff { until, failures } => {
                        prop_assert!(!is_live && !is_forced && until > now);
                        prop_assert!(until <= now.plus(failures.delay));
                    }
                }
                let expired = |generation: &Generation| {
                    self.policy.ages.is_expired(now.since(generation.built_at))
                };
                prop_assert!(is_forced || previous.is_none_or(expired));
            }
        }
        Ok(())
    }

    /// Whether the agent still holds the claim; if so it holds the last one.
    fn is_holder(&self, agent: usize) -> Result<bool, TestCaseError> {
        let Some(token) = self.tokens[agent] else {
            return Ok(false);
        };
        match Claim::check(self.claim.as_ref(), token, at(self.now)) {
            Ok(claim) => prop_assert!(claim.token == token && token.0 == self.next_token),
            Err(ClaimRefused::Held { .. }) => prop_assert!(false, "not a reason to refuse work"),
            Err(
                ClaimRefused::Superseded { .. }
                | ClaimRefused::Late { .. }
                | ClaimRefused::NotHeld
                | ClaimRefused::PinEnded,
            ) => return Ok(false),
        }
        Ok(true)
    }

    fn prune(&mut self, n: usize, keep_last: u32, removal: usize) -> Result<(), TestCaseError> {
        let (here, reach) = (place_of(n), Reach::Only([place_of(n)].into()));
        let now = at(self.now);
        let generations = self.generations.clone();
        let pins: Vec<_> = generations
            .iter()
            .filter(|g| g.sequence.0 % 3 == 0)
            .map(|g| {
                let ttl = Ttl::try_from(seconds(10)).unwrap();
                Pin::grant(g.sequence, "pin".parse().unwrap(), ttl, now)
            })
            .collect();
        let prune = Prune {
            keep_last: keep_last.try_into().unwrap(),
            older_than: None,
            reach: &reach,
            pins: &pins,
            in_use: &BTreeSet::new(),
        };
        let decisions = prune.decide(now, &generations);
        let newest = generations.newest(&reach);
        for decision in decisions.iter().filter(|decision| decision.is_removal()) {
            let sequence = decision.generation.sequence;
            prop_assert!(Some(decision.generation) != newest);
            prop_assert!(Some(decision.generation) != generations.newest(&Reach::Anywhere));
            prop_assert!(pins.iter().all(|pin| pin.generation != sequence));
            prop_assert_eq!(&decision.copies, &[&here]);
            self.generations.retire(sequence, &reach, now);
        }
        // Who can use images here is given none that goes, and the one that was the newest still.
        prop_assert_eq!(
            self.generations
                .newest(&reach)
                .map(|newest| newest.sequence),
            newest.map(|newest| newest.sequence)
        );
        let usable = |generations: &Generations| {
            let within = generations
                .iter()
                .filter(|generation| generation.is_within(&reach));
            within.count()
        };
        let kept = usable(&generations).min(keep_last as usize);
        prop_assert!(usable(&self.generations) >= kept);
        let outcome = [
            Removal::Removed,
            Removal::NotFound,
            Removal::InUse,
            Removal::Failed,
        ][removal];
        for decision in decisions.iter().filter(|decision| decision.is_removal()) {
            let sequence = decision.generation.sequence;
            if self.generations.confirm(sequence, &here, outcome, now) == Effect::Dropped {
                self.dropped.insert(sequence);
            }
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), TestCaseError> {
        match happening {
            Happening::Acquire { agent, is_forced } => self.acquire(agent, is_forced)?,
            Happening::Complete { agent } => {
                if self.is_holder(agent)? {
                    let location = place_of(agent.min(2)).to_string();
                    let built = Built {
                        base_digest: self.base,
                        ..built(&location, None)
                    };
                    let sequence = self.generations.add(built, at(self.now)).sequence;
                    prop_assert!(!self.dropped.contains(&sequence));
                    (self.claim, self.failures) = (None, None);
                }
            }
            Happening::Abandon { agent } => {
                if self.is_holder(agent)? {
                    let before = self.generations.clone();
                    self.failures = Some(Failures::after(
                        self.failures.as_ref(),
                        String::new(),
                        None,
                        at(self.now),
                    ));
                    self.claim = None;
                    prop_assert_eq!(before, self.generations.clone());
                }
            }
            Happening::Renew { agent } => {
                if self.is_holder(agent)? {
                    self.claim = self.claim.as_ref().map(|claim| claim.renewed(at(self.now)));
                }
            }
            Happening::Report {
                back,
                place,
                presence,
            } => {
                let sequence = Sequence(self.generations.last().0.saturating_sub(back));
                let presence =
                    [Presence::Present(None), Presence::Absent, Presence::Unknown][presence];
                let before = self.generations.iter().count();
                let effect =
                    self.generations
                        .observe(sequence, &place_of(place), presence, at(self.now));
                let dropped = before - self.generations.iter().count();
                prop_assert_eq!(dropped == 1, effect == Effect::Dropped);
                prop_assert!(effect != Effect::Dropped || presence == Presence::Absent);
                if effect == Effect::Dropped {
                    self.dropped.insert(sequence);
                }
            }
            Happening::Pass(seconds) => self.now += seconds,
            Happening::NewBase(base) => self.base = (base > 0).then(|| digest(&base.to_string())),
            Happening::Prune {
                place,
                keep_last,
                removal,
            } => self.prune(place, keep_last, removal)?,
            Happening::Restart => {
                let kept = self.generations.iter().cloned().collect();
                self.generations = Generations::restore(self.generations.last(), kept).unwrap();
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn one_builds_and_nobody_gets_what_is_gone_or_expired(policy in any_policy(), happenings in prop::collection::vec(any_happening(), 1..80)) {
        let mut world = World {
            policy, now: 0, generations: Generations::default(), claim: None, failures: None, base: None,
            next_token: 0, tokens: [None; 4], dropped: BTreeSet::new(),
        };
        for happening in happenings {
            world.happen(happening)?;
        }
    }
}
