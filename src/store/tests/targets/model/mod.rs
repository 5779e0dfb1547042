//! Any sequence of calls, against a map.

mod rules;
mod steps;

use proptest::prelude::*;

use self::rules::{Entry, Model, graph, key, location, of, source};
use self::steps::{Step, step};
use super::*;
use crate::domain::build::{Observed, Progress, TargetStanding, Transition};

async fn take(on: &On, model: &mut Model, step: Step) {
    let calls = on.store.build_targets();
    let revision = on.store.revision().await.unwrap();
    let is_same = async || on.store.revision().await.unwrap() == revision;
    match step {
        Step::Apply {
            set,
            source: from,
            replace_all,
        } => {
            let named: Vec<_> = set
                .iter()
                .map(|(name, needs)| of(&key(*name), needs))
                .collect();
            let request = ApplyTargets {
                source: source(from),
                replace_all,
                ..ApplyTargets::new(named)
            };
            let applied = calls.apply(&ns(), &request).await;
            let mut after = model.entries.clone();
            let mut told = AppliedTargets::default();
            if replace_all {
                after.retain(|key, entry| {
                    let is_named = set.keys().any(|name| self::key(*name) == *key);
                    let stays = entry.source != from || is_named;
                    told.deleted += u32::from(!stays);
                    stays
                });
            }
            for (name, needs) in set {
                match after.get_mut(&key(name)) {
                    None => {
                        told.created += 1;
                        let entry = Entry {
                            needs,
                            source: from,
                            progress: Progress::default(),
                            claim: None,
                        };
                        after.insert(key(name), entry);
                    }
                    Some(entry) if entry.needs == needs && entry.source == from => {
                        told.unchanged += 1;
                    }
                    Some(entry) => {
                        told.updated += 1;
                        if entry.needs != needs {
                            entry.claim = None;
                        }
                        (entry.needs, entry.source) = (needs, from);
                    }
                }
            }
            let changes = told.created + told.updated + told.deleted > 0;
            match graph(&after) {
                Err(cause) if changes => {
                    assert!(matches!(applied, Err(Error::Graph(found)) if *found == cause));
                    assert!(is_same().await);
                }
                Err(_) | Ok(_) => {
                    let applied = applied.unwrap();
                    told.graph_revision = applied.value.graph_revision;
                    assert_eq!(applied.value, told);
                    assert_eq!(is_same().await, !changes);
                    model.entries = after;
                }
            }
        }
        Step::Delete(name) => {
            let deleted = calls.delete(&ns(), &DeleteTarget::new(key(name))).await;
            if !model.entries.contains_key(&key(name)) {
                assert!(matches!(deleted, Err(Error::NotFound(_))));
            } else if model
                .graph()
                .unwrap()
                .needed_by(&key(name))
                .next()
                .is_some()
            {
                assert!(matches!(deleted, Err(Error::HasDependents { .. })));
            } else {
                deleted.unwrap();
                model.entries.remove(&key(name));
            }
        }
        Step::Happen(name, kind, whose) => {
            let (key, token) = (key(name), model.token(&key(name), whose));
            let request = TransitionTarget {
                token,
                ..TransitionTarget::new(key.clone(), event(kind))
            };
            let told = calls.transition(&ns(), &request).await;
            if !model.may(&key, token) {
                assert!(is_aborted(&told), "{told:?}");
                return;
            }
            let Some(entry) = model.entries.get_mut(&key) else {
                assert!(matches!(told, Err(Error::NotFound(_))));
                return;
            };
            match entry.progress.after(&event(kind)) {
                Err(_) => assert!(matches!(told, Err(Error::IllegalTransition { .. }))),
                Ok(after) => {
                    let told = told.unwrap().value;
                    assert_eq!(told.changed, after != Transition::Unchanged);
                    if let Transition::To(after) = after {
                        entry.progress = *after;
                    }
                    if token.is_some() {
                        entry.claim = None;
                    }
                }
            }
        }
        Step::Claim {
            location: at,
            works,
            ttl,
        } => {
            let works = Work::ALL
                .into_iter()
                .enumerate()
                .filter(|(n, _)| works & (1 << n) != 0);
            let works: Vec<Work> = works.map(|(_, work)| work).collect();
            let request = ClaimTarget {
                location: location(at),
                ttl: Ttl::try_from(Duration::from_secs(ttl)).unwrap(),
                ..claiming("w", &works)
            };
            let next = calls.claim_next(&ns(), &request).await.unwrap();
            let keys: Vec<_> = model.entries.keys().cloned().collect();
            let standing = |n: usize| {
                let progress = &model.entries[&keys[n]].progress;
                TargetStanding {
                    state: progress.state,
                    is_here: progress.locations.contains(&location(at)),
                    is_held: model.is_held(&keys[n]),
                    is_put_off: progress
                        .not_before
                        .is_some_and(|at| model.now < at.seconds()),
                }
            };
            let graph = model.graph().unwrap().standing(standing);
            let expected = graph.claimable(request.works, |_, _| true);
            match next.value {
                NextTarget::Claimed(claimed) => {
                    let ready = &expected.ready[0];
                    assert_eq!(
                        (claimed.entry.target.key(), claimed.work),
                        (&ready.target, ready.work)
                    );
                    let token = token(&claimed);
                    assert!(model.tokens.values().flatten().all(|given| *given < token));
                    model
                        .tokens
                        .entry(ready.target.clone())
                        .or_default()
                        .push(token);
                    let deadline = model.now + i64::try_from(ttl).unwrap();
                    let entry = model.entries.get_mut(&ready.target).unwrap();
                    entry.claim = Some((token, deadline, ttl));
                    if ready.work == Work::Build && entry.progress.state != State::ToBuild {
                        let Ok(Transition::To(lost)) = entry.progress.after(&Event::Lost) else {
                            panic!("{entry:?} cannot be lost")
                        };
                        entry.progress = *lost;
                    }
                }
                NextTarget::Idle(idle) => {
                    assert_eq!(expected.ready, []);
                    assert_eq!(idle.running.count as usize, expected.running.len());
                    assert_eq!(idle.waiting.count as usize, expected.waiting.len());
                    assert_eq!(idle.blocked.count as usize, expected.blocked.len());
                    assert!(is_same().await);
                }
            }
        }
        Step::Renew(name, whose) => {
            let (key, token) = (key(name), model.token(&key(name), whose));
            let token = token.unwrap_or(Token(1));
            let renewed = on.keep(&key.to_string(), token).await;
            if !model.may(&key, Some(token)) {
                assert!(is_aborted(&renewed));
                assert!(is_same().await);
                return;
            }
            renewed.unwrap();
            let now = model.now;
            let entry = model.entries.get_mut(&key).unwrap();
            let (_, deadline, ttl) = entry.claim.as_mut().unwrap();
            *deadline = (*deadline).max(now + i64::try_from(*ttl).unwrap());
        }
        Step::Release(name, whose, after) => {
            let (key, token) = (key(name), model.token(&key(name), whose));
            let token = token.unwrap_or(Token(1));
            let released = on.let_go(&key.to_string(), token, after).await;
            if !model.may(&key, Some(token)) {
                assert!(is_aborted(&released));
                assert!(is_same().await);
                return;
            }
            released.unwrap();
            let now = model.now;
            let entry = model.entries.get_mut(&key).unwrap();
            entry.claim = None;
            if let Some(after) = after {
                let until = now + i64::try_from(after).unwrap();
                entry.progress = entry.progress.put_off(Timestamp::new(until, 7).unwrap());
            }
        }
        Step::Reset => {
            let reset = calls
                .reset(&ns(), &ResetTargets::default())
                .await
                .unwrap()
                .value;
            let keys: Vec<_> = model.entries.keys().cloned().collect();
            let failed = keys.into_iter().filter(|key| {
                model.entries[key].progress.state == State::Error && !model.is_held(key)
            });
            let failed: Vec<_> = failed.collect();
            assert_eq!(reset, failed);
            for key in failed {
                let entry = model.entries.get_mut(&key).unwrap();
                entry.progress.state = State::ToBuild;
                entry.progress.not_before = None;
            }
        }
        Step::Observe(name, local, published, is_first) => {
            let mode = match is_first {
                true => Mode::RegistryFirst,
                false => Mode::LocalRequired,
            };
            let seen = Observation {
                location: location(true),
                local,
                published,
            };
            let observation = TargetObservation {
                target: key(name),
                seen: seen.clone(),
                if_etag: None,
            };
            let request = ObserveTargets::new(mode, vec![observation]);
            let observed = calls
                .observe(&ns(), &request)
                .await
                .unwrap()
                .value
                .remove(0);
            let is_held = model.is_held(&key(name));
            let Some(entry) = model.entries.get_mut(&key(name)) else {
                assert_eq!(observed.kind, ObservedKind::NotFound);
                return;
            };
            let kind = match entry.progress.observed(mode, &seen) {
                _ if is_held => ObservedKind::Claimed,
                Err(refused) => ObservedKind::Refused(refused.to_string()),
                Ok(Observed::Unchanged) => ObservedKind::Unchanged,
                Ok(Observed::To(after)) => {
                    entry.progress = after;
                    ObservedKind::Changed
                }
                Ok(Observed::Undecided { possible, after }) => {
                    entry.progress = after;
                    ObservedKind::Undecided(possible)
                }
            };
            assert_eq!(
                (observed.kind, observed.state),
                (kind, Some(entry.progress.state))
            );
        }
        Step::Bump(name) => {
            let request = BumpTarget::new(key(name), "why");
            let bumped = calls.bump(&ns(), &request).await;
            let expected = model.graph().unwrap().bump(&crate::domain::build::Bump {
                target: key(name),
                version: None,
                update_id: Default::default(),
            });
            let Ok(expected) = expected else {
                let is_said = matches!(bumped, Err(Error::NotFound(_) | Error::NotBumpable(_)));
                assert!(is_said);
                assert!(is_same().await);
                return;
            };
            let told = bumped.unwrap().value.bumped;
            assert_eq!(told.len(), expected.len());
            for bumped in expected {
                let old = model.entries[&bumped.target].clone();
                let key = TargetKey {
                    name: bumped.target.name,
                    version: bumped.version,
                };
                let entry = Entry {
                    progress: Progress::default(),
                    claim: None,
                    ..old
                };
                model.entries.insert(key, entry);
            }
        }
        Step::Wait(seconds) => {
            model.now += seconds;
            on.at(model.now);
        }
    }
}

async fn is_exactly(on: &On, model: &Model) {
    let listed = on.selected(&all()).await;
    let keys: Vec<_> = listed.iter().map(|entry| entry.target.key()).collect();
    assert_eq!(keys, model.entries.keys().collect::<Vec<_>>());
    for (found, (key, entry)) in listed.iter().zip(&model.entries) {
        assert_eq!(*found.target, of(key, &entry.needs));
        assert_eq!(found.source, source(entry.source));
        assert_eq!(found.progress, entry.progress, "{key}");
        let claim = found
            .claim
            .as_ref()
            .map(|claim| (claim.token, claim.deadline.seconds()));
        let held = entry.claim.filter(|_| model.is_held(key));
        assert_eq!(
            claim,
            held.map(|(token, deadline, _)| (token, deadline)),
            "{key}"
        );
    }
    let calls = on.store.build_targets();
    let order = calls.build_order(&ns(), &all()).await.unwrap().value.value;
    assert_eq!(order, model.graph().unwrap().build_order(|_, _| true));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn targets_states_and_claims_agree_with_a_map_after_any_sequence(
        sequence in prop::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for (on, each) in [(On::memory().await, true), (On::redb().await, false)] {
                let mut model = Model { now: 1000, ..Model::default() };
                for step in sequence.clone() {
                    take(&on, &mut model, step).await;
                    if each {
                        is_exactly(&on, &model).await;
                    }
                }
                is_exactly(&on, &model).await;
                on.must_be_sound().await;
            }
        });
    }
}
