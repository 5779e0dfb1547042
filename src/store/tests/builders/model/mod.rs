//! Any sequence of calls, against what the rules say of them.

mod rules;
mod steps;

use std::collections::BTreeSet;

use proptest::prelude::*;

use self::rules::{Model, reach_of};
use self::steps::{PLACES, Step, step};
use super::*;
use crate::domain::build::{Decision as Decided, Failures, Prune, Standing, decide};

async fn take(on: &mut On, model: &mut Model, step: Step) {
    let builders = on.store.builders();
    let now = model.at();
    let is_there = model.policy.is_some();
    let not_found = |what: &dyn std::fmt::Debug| assert!(!is_there, "{what:?}");
    let agent_name = |agent: usize| ["zero", "one", "two"][agent];
    match step {
        Step::Put {
            max_age,
            refresh,
            keep,
        } => {
            let policy = Policy {
                keep_last: keep.try_into().unwrap(),
                ..policy(max_age, Some(refresh))
            };
            let put = on.put_builder(policy).await;
            assert_eq!(put.created, !is_there);
            assert_eq!(put.changed, model.policy != Some(policy));
            model.policy = Some(policy);
        }
        Step::Acquire { agent, force } => {
            let reach = reach_of(agent);
            let request = AcquireBuilder {
                reach: reach.clone(),
                force,
                ..acquire(agent_name(agent))
            };
            let answer = builders.acquire(&ns(), &request).await;
            let Some(policy) = &model.policy else {
                return not_found(&answer);
            };
            let decision = answer.unwrap().value.decision;
            let standing = Standing {
                policy,
                generations: &model.generations,
                base_digest: None,
                claim: model.claim.as_ref(),
                failures: model.failures.as_ref(),
                reach: &reach,
                is_forced: force,
            };
            match (decide(now, &standing), &decision) {
                (
                    Decided::Use {
                        generation,
                        is_stale,
                        ..
                    },
                    Acquisition::Use {
                        generation: used,
                        is_stale: stale,
                        ..
                    },
                ) => {
                    assert_eq!((used, *stale), (generation, is_stale));
                }
                (
                    Decided::Build { reason, .. },
                    Acquisition::Build {
                        reason: why, claim, ..
                    },
                ) => {
                    assert_eq!(*why, reason);
                    let claim = claim.clone().unwrap();
                    assert!(claim.token.0 > model.highest, "tokens grow");
                    model.highest = claim.token.0;
                    model.tokens[agent] = Some(claim.token);
                    model.claim = Some(claim);
                }
                (Decided::Busy { previous, .. }, Acquisition::Busy { previous: old, .. }) => {
                    assert_eq!(old.as_ref(), previous);
                }
                (expected, got) => panic!("{expected:?} and not {got:?}"),
            }
            if let Acquisition::Use {
                pin: Some(pinned), ..
            }
            | Acquisition::Busy {
                pin: Some(pinned), ..
            } = decision
            {
                assert!(model.pins.insert(pinned.id, pinned.pin).is_none());
                model.mine[agent] = Some(pinned.id);
            }
        }
        Step::Complete { agent, pins } => {
            let token = model.tokens[agent].unwrap_or(Token(0));
            let location = PLACES[agent];
            let request = CompleteBuilder {
                pin: pins.then(|| ttl(10)),
                ..CompleteBuilder::new(key(), token, built(location))
            };
            let answer = builders.complete(&ns(), &request).await;
            if !is_there {
                return not_found(&answer);
            }
            if !model.holds(agent) {
                refusal(answer);
                return;
            }
            let completed = answer.unwrap().value;
            let added = model.generations.add(built(location), now);
            assert_eq!(&completed.generation, added);
            model.failures = None;
            model.claim = model.claim.take().map(|claim| claim.ended(now));
            if let Some(pinned) = completed.pin {
                model.pins.insert(pinned.id, pinned.pin);
                model.mine[agent] = Some(pinned.id);
            }
        }
        Step::Abandon { agent, fails } => {
            let token = model.tokens[agent].unwrap_or(Token(0));
            let answer = match fails {
                true => on.fail(token, "x").await.map(|_| ()),
                false => on.give_back(token).await,
            };
            if !is_there {
                return not_found(&answer);
            }
            if !model.holds(agent) {
                refusal(answer);
                return;
            }
            answer.unwrap();
            model.claim = model.claim.take().map(|claim| claim.ended(now));
            if fails {
                let before = model.failures.as_ref();
                model.failures = Some(Failures::after(before, "x".to_owned(), None, now));
            }
        }
        Step::Renew { agent } => {
            let token = model.tokens[agent].unwrap_or(Token(0));
            let answer = on.renew(token).await;
            if !is_there {
                return not_found(&answer);
            }
            if !model.holds(agent) {
                refusal(answer);
                return;
            }
            let claim = model.claim.as_ref().unwrap().renewed(now);
            assert_eq!(answer.unwrap(), claim.deadline);
            model.claim = Some(claim);
        }
        Step::RenewPin { agent } => {
            let id = model.mine[agent].unwrap_or(PinId(0));
            let answer = builders.renew_pin(&ns(), &key(), id).await;
            if !is_there {
                return not_found(&answer);
            }
            match model.pins.get_mut(&id).filter(|pin| pin.is_live(now)) {
                Some(pin) => {
                    *pin = pin.renewed(now);
                    assert_eq!(&answer.unwrap().value.pin, pin);
                }
                None => assert_eq!(refusal(answer), ClaimRefused::PinEnded),
            }
        }
        Step::Unpin { agent } => {
            let id = model.mine[agent].unwrap_or(PinId(0));
            let answer = builders.unpin(&ns(), &key(), id).await.unwrap().value;
            let was_live = model.pins.remove(&id).is_some_and(|pin| pin.is_live(now));
            assert!(answer || !was_live);
        }
        Step::Report {
            back,
            place: at,
            presence,
        } => {
            let sequence = model.generations.last().0.saturating_sub(back);
            let presence = [Presence::Present(None), Presence::Absent, Presence::Unknown][presence];
            let request = ReportBuilder::new(key(), vec![observed(sequence, PLACES[at], presence)]);
            let answer = builders.report(&ns(), &request).await;
            if !is_there {
                return not_found(&answer);
            }
            let location = place(PLACES[at]);
            let effect = model
                .generations
                .observe(Sequence(sequence), &location, presence, now);
            assert_eq!(answer.unwrap().value.effects, [effect]);
            model.forget_lost();
        }
        Step::Prune { place: at } => {
            let reach = PLACES.get(at).map_or(Reach::Anywhere, |name| only(&[name]));
            let request = PruneBuilder {
                reach: reach.clone(),
                ..PruneBuilder::new(key())
            };
            let answer = builders.prune(&ns(), &request).await;
            let Some(policy) = &model.policy else {
                return not_found(&answer);
            };
            let pins = model.live_pins();
            let prune = Prune {
                keep_last: policy.keep_last,
                older_than: None,
                reach: &reach,
                pins: &pins,
                in_use: &BTreeSet::new(),
            };
            let before = model.generations.clone();
            let decided = prune.decide(now, &before);
            let removed = |judged: &&Judged| judged.verdict == Verdict::Remove;
            let judged = answer.unwrap().value.judged;
            assert_eq!(judged.len(), decided.len());
            let gone = decided
                .iter()
                .filter(|decision| decision.verdict == Verdict::Remove);
            assert_eq!(judged.iter().filter(removed).count(), gone.clone().count());
            for decision in gone {
                let copies = decision.copies.iter().copied().cloned().collect();
                let sequence = decision.generation.sequence;
                model
                    .generations
                    .retire(sequence, &Reach::Only(copies), now);
            }
        }
        Step::Confirm {
            back,
            place: at,
            removal,
        } => {
            let sequence = model.generations.last().0.saturating_sub(back);
            let removal = [
                Removal::Removed,
                Removal::NotFound,
                Removal::InUse,
                Removal::Failed,
            ][removal];
            let location = place(PLACES[at]);
            let request = ConfirmRemoved::new(key(), Sequence(sequence), location.clone(), removal);
            let answer = builders.confirm_removed(&ns(), &request).await;
            if !is_there {
                return not_found(&answer);
            }
            let effect = model
                .generations
                .confirm(Sequence(sequence), &location, removal, now);
            assert_eq!(answer.unwrap().value.effect, effect);
            model.forget_lost();
        }
        Step::Delete { force } => {
            let request = DeleteBuilder {
                force,
                ..DeleteBuilder::new(key())
            };
            let answer = builders.delete(&ns(), &request).await;
            if !is_there {
                return not_found(&answer);
            }
            let is_claimed = model.claim.as_ref().is_some_and(|claim| claim.is_live(now));
            let is_in_use = is_claimed || model.generations.iter().len() > 0;
            assert_eq!(answer.is_ok(), force || !is_in_use);
            if answer.is_ok() {
                let (now, highest, tokens) = (model.now, model.highest, model.tokens);
                *model = Model {
                    now,
                    highest,
                    tokens,
                    ..Model::default()
                };
            }
        }
        Step::Pass { seconds } => {
            model.now += seconds;
            on.at(model.now);
        }
        Step::Restart => {
            on.store.note_time().await.unwrap();
            let clock = on.clock.clone();
            let (shown, counted) = (clock.clone(), clock.clone());
            let surroundings = Surroundings {
                clock: Arc::new(move || Timestamp::new(*shown.lock().unwrap(), 7).unwrap()),
                uptime: Arc::new(move || {
                    Duration::from_secs(u64::try_from(*counted.lock().unwrap()).unwrap())
                }),
                new_id: Arc::new(|| StoreId([9; 16])),
            };
            let kv = on.store.inner.kv.clone();
            on.store = Store::on(kv, surroundings).await.unwrap();
            // All that was alive has its whole time again.
            if let Some(claim) = model.claim.take() {
                let is_live = claim.is_live(now);
                model.claim = Some(if is_live { claim.renewed(now) } else { claim });
            }
            for pin in model.pins.values_mut().filter(|pin| pin.is_live(now)) {
                *pin = pin.renewed(now);
            }
        }
        Step::Sweep => {
            on.store.sweep().await.unwrap();
        }
    }
}

async fn must_be(on: &On, model: &Model) {
    assert_eq!(on.wrongs().await, [""; 0]);
    let now = model.at();
    let found = on.store.builders().get(&ns(), &key()).await;
    let Some(policy) = model.policy else {
        assert!(matches!(found, Err(Error::NotFound(_))));
        return;
    };
    let builder = found.unwrap().value;
    assert_eq!(builder.entry.policy, policy);
    assert_eq!(builder.entry.failures, model.failures);
    assert_eq!(builder.entry.last, model.generations.last());
    let generations: Vec<_> = model.generations.iter().cloned().collect();
    assert_eq!(builder.generations, generations);
    let live = model.claim.clone().filter(|claim| claim.is_live(now));
    assert_eq!(builder.entry.claim, live);
    let pins = model.pins.iter().filter(|(_, pin)| pin.is_live(now));
    let pins: Vec<_> = pins.map(|(id, pin)| (*id, pin.clone())).collect();
    let found = builder
        .pins
        .into_iter()
        .map(|pinned| (pinned.id, pinned.pin));
    assert_eq!(found.collect::<Vec<_>>(), pins);
}

async fn run(mut on: On, steps: Vec<Step>) {
    let mut model = Model {
        now: 1000,
        ..Model::default()
    };
    for step in steps {
        take(&mut on, &mut model, step).await;
        must_be(&on, &model).await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_calls_leave_what_the_rules_say_on_memory(steps in prop::collection::vec(step(), 1..60)) {
        runtime().block_on(async { run(On::memory().await, steps).await });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_calls_leave_what_the_rules_say_on_redb(steps in prop::collection::vec(step(), 1..40)) {
        runtime().block_on(async { run(On::redb().await, steps).await });
    }
}
