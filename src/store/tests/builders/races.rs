//! Writes that overtake each other, and writes that fail.

use super::*;

/// A change to a builder with two images, that somebody makes a third of.
#[derive(Clone, Copy, Debug)]
enum Change {
    Put(u64),
    Acquire,
    AcquireAt(&'static str),
    Force,
    Complete,
    Fail,
    GiveBack,
    Renew,
    RenewPin,
    Unpin,
    Lose(u64, &'static str),
    See(u64, &'static str),
    Prune,
    PruneAt(&'static str),
    Confirm(u64, &'static str),
    Delete,
    ForceDelete,
    DropAll,
    Sweep,
}

const CHANGES: [Change; 22] = [
    Change::Put(50),
    Change::Put(0),
    Change::Acquire,
    Change::AcquireAt("host/a"),
    Change::Force,
    Change::Complete,
    Change::Fail,
    Change::GiveBack,
    Change::Renew,
    Change::RenewPin,
    Change::Unpin,
    Change::Lose(2, "reg"),
    Change::Lose(1, "host/a"),
    Change::See(1, "host/b"),
    Change::Prune,
    Change::PruneAt("host/a"),
    Change::Confirm(1, "host/a"),
    Change::Confirm(2, "reg"),
    Change::Delete,
    Change::ForceDelete,
    Change::DropAll,
    Change::Sweep,
];

/// The claim and the pin that there are.
#[derive(Clone, Copy)]
struct Held {
    token: Token,
    pin: PinId,
}

async fn prepare(on: &On, has_claim: bool) -> Held {
    on.put_builder(policy(1000, Some(20))).await;
    on.build_in("host/a").await;
    on.build_in("reg").await;
    let pin = pin_of(&on.ask(&acquire("user")).await).unwrap();
    let force = AcquireBuilder {
        force: true,
        ttl: ttl(1000),
        ..acquire("builder")
    };
    let token = token_of(&on.ask(&force).await);
    if !has_claim {
        on.give_back(token).await.unwrap();
    }
    Held { token, pin }
}

async fn change(store: &Store, held: Held, change: Change) -> Result<String, Error> {
    let on = store.builders();
    let key = key();
    let at_place = |places| AcquireBuilder {
        reach: only(&[places]),
        ..acquire("late")
    };
    let asked = async |request: AcquireBuilder| {
        let answer = on.acquire(&ns(), &request).await;
        answer.map(|answer| word(&answer.value.decision))
    };
    let abandon = async |failure| {
        let request = AbandonBuilder {
            failure,
            ..AbandonBuilder::new(key.clone(), held.token)
        };
        let answer = on.abandon(&ns(), &request).await;
        answer.map(|answer| format!("{:?}", answer.value))
    };
    let report = async |observation| {
        let request = ReportBuilder::new(key.clone(), vec![observation]);
        let answer = on.report(&ns(), &request).await;
        answer.map(|answer| format!("{:?}", answer.value))
    };
    let delete = async |force| {
        let request = DeleteBuilder {
            force,
            ..DeleteBuilder::new(key.clone())
        };
        let answer = on.delete(&ns(), &request).await;
        answer.map(|answer| told(answer.value))
    };
    let answer = match change {
        Change::Put(max_age) => {
            let request = PutBuilder::new(key, policy(max_age, None));
            let answer = on.put(&ns(), &request).await;
            answer.map(|answer| format!("{} {}", answer.value.created, answer.value.changed))
        }
        Change::Acquire => asked(acquire("late")).await,
        Change::AcquireAt(location) => asked(at_place(location)).await,
        Change::Force => {
            let force = true;
            asked(AcquireBuilder {
                force,
                ..acquire("late")
            })
            .await
        }
        Change::Complete => {
            let request = CompleteBuilder {
                pin: Some(ttl(10)),
                ..CompleteBuilder::new(key, held.token, built("reg"))
            };
            let answer = on.complete(&ns(), &request).await;
            answer.map(|answer| format!("{:?}", answer.value.generation))
        }
        Change::Fail => {
            let failure = Failure {
                error: "x".to_owned(),
                retry_after: None,
            };
            abandon(Some(failure)).await
        }
        Change::GiveBack => abandon(None).await,
        Change::Renew => {
            let answer = on.renew(&ns(), &key, held.token).await;
            answer.map(|answer| answer.value.deadline.to_string())
        }
        Change::RenewPin => {
            let answer = on.renew_pin(&ns(), &key, held.pin).await;
            answer.map(|answer| answer.value.pin.deadline.to_string())
        }
        Change::Unpin => {
            let answer = on.unpin(&ns(), &key, held.pin).await;
            answer.map(|answer| answer.value.to_string())
        }
        Change::Lose(sequence, location) => {
            report(observed(sequence, location, Presence::Absent)).await
        }
        Change::See(sequence, location) => {
            report(observed(sequence, location, Presence::Present(None))).await
        }
        Change::Prune | Change::PruneAt(_) => {
            let reach = match change {
                Change::PruneAt(location) => only(&[location]),
                _ => Reach::Anywhere,
            };
            let request = PruneBuilder {
                reach,
                ..PruneBuilder::new(key)
            };
            let answer = on.prune(&ns(), &request).await;
            answer.map(|answer| judged(&answer.value))
        }
        Change::Confirm(sequence, location) => {
            let request =
                ConfirmRemoved::new(key, Sequence(sequence), place(location), Removal::Removed);
            let answer = on.confirm_removed(&ns(), &request).await;
            answer.map(|answer| format!("{:?}", answer.value))
        }
        Change::Delete => delete(false).await,
        Change::ForceDelete => delete(true).await,
        Change::DropAll => {
            let request = DeleteNamespace {
                name: ns(),
                force: true,
                when: Precondition::None,
                validate_only: false,
                request: None,
            };
            let deleted = store.namespaces().delete(&request).await;
            deleted.map(|_| "dropped".to_owned())
        }
        Change::Sweep => store.sweep().await.map(|_| "swept".to_owned()),
    };
    match answer {
        Err(error @ (Error::OutcomeUnknown(_) | Error::Stopped(_) | Error::Contended { .. })) => {
            Err(error)
        }
        Err(refused) => Ok(refused.to_string()),
        answered => answered,
    }
}

/// A builder but for revisions, tokens and ids.
fn told(mut builder: StoredBuilder) -> String {
    builder.entry.revision = Revision::ZERO;
    if let Some(claim) = &mut builder.entry.claim {
        claim.token = Token(0);
    }
    let pins = builder.pins.iter().map(|pinned| &pinned.pin);
    let mut pins: Vec<_> = pins.map(|pin| format!("{pin:?}")).collect();
    pins.sort();
    format!("{:?} {:?} {pins:?}", builder.entry, builder.generations)
}

async fn state(on: &On) -> String {
    assert_eq!(on.wrongs().await, [""; 0]);
    match on.store.builders().get(&ns(), &key()).await {
        Ok(got) => told(got.value),
        Err(none) => none.to_string(),
    }
}

/// The same store as another process would have it, which waits for nobody here.
async fn beside(kv: Arc<dyn Kv>) -> On {
    let on = On::kv(kv, None).await;
    on.at(1005);
    on
}

#[tokio::test]
async fn a_write_that_is_overtaken_does_what_it_would_have_done_afterwards_v2() {
    let mut pairs = 0;
    for has_claim in [false, true] {
        for slow in CHANGES {
            for fast in CHANGES {
                let kv = Arc::new(Faulty::new(Memory::new()));
                let (one, other) = (beside(kv.clone()).await, beside(kv.clone()).await);
                let held = prepare(&one, has_claim).await;
                let slowly = change(&one.store, held, slow);
                let raced = overtaken(&kv, slowly, change(&other.store, held, fast)).await;
                let Some((slowly, fast_answer)) = raced else {
                    continue;
                };
                let raced = (slowly.unwrap(), fast_answer.unwrap());
                let after = state(&one).await;

                let on = beside(Arc::new(Memory::new())).await;
                let held = prepare(&on, has_claim).await;
                let first = change(&on.store, held, fast).await.unwrap();
                let in_turn = (change(&on.store, held, slow).await.unwrap(), first);
                let which = format!("{slow:?}, overtaken by {fast:?}, claimed: {has_claim}");
                assert_eq!(raced, in_turn, "{which}");
                assert_eq!(after, state(&on).await, "{which}");
                pairs += 1;
            }
        }
    }
    assert!(pairs > 20 * CHANGES.len(), "{pairs} pairs");
}

#[tokio::test]
async fn a_write_that_fails_has_done_all_or_nothing() {
    for what in CHANGES {
        let kv = Arc::new(Faulty::new(Memory::new()));
        let on = beside(kv.clone()).await;
        let held = prepare(&on, true).await;
        let before = state(&on).await;
        for fault in [Fault::Refuse, Fault::LoseWrite] {
            kv.plan(0, fault);
            if change(&on.store, held, what).await.is_ok() {
                // It had nothing to write, and the fault waits for the next one.
                assert!(kv.commit(Batch::new(0)).await.is_err(), "{what:?}");
            }
            assert_eq!(state(&on).await, before, "{what:?}");
        }
        let after = beside(Arc::new(Memory::new())).await;
        let same = prepare(&after, true).await;
        change(&after.store, same, what).await.unwrap();
        kv.plan(0, Fault::LoseAnswer);
        let _ = change(&on.store, held, what).await;
        assert_eq!(state(&on).await, state(&after).await, "{what:?}");
    }
}

#[tokio::test]
async fn whoever_looked_before_a_claim_was_granted_is_never_given_its_token() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let (one, other) = (beside(kv.clone()).await, beside(kv.clone()).await);
    one.put_builder(Policy::default()).await;
    let request = acquire("slow");
    let fast = async {
        let token = token_of(&other.ask(&acquire("fast")).await);
        other.give_back(token).await.unwrap();
        other.store.sweep().await.unwrap();
        token
    };
    let (slow, fast) = overtaken(&kv, one.ask(&request), fast).await.unwrap();
    assert!(token_of(&slow) > fast);
}

#[tokio::test]
async fn a_prune_and_a_pin_at_once_agree_whoever_comes_first_v3() {
    for prune_is_slow in [false, true] {
        let kv = Arc::new(Faulty::new(Memory::new()));
        let (one, other) = (beside(kv.clone()).await, beside(kv.clone()).await);
        one.put_builder(Policy::default()).await;
        one.build_in("host/a").await;
        one.build_in("reg").await;
        let request = AcquireBuilder {
            reach: only(&["host/a"]),
            ..acquire("user")
        };
        let prune = PruneBuilder::new(key());
        let (pruned, used) = match prune_is_slow {
            true => overtaken(&kv, one.prune(&prune), other.ask(&request))
                .await
                .unwrap(),
            false => {
                let raced = overtaken(&kv, one.ask(&request), other.prune(&prune)).await;
                let (used, pruned) = raced.unwrap();
                (pruned, used)
            }
        };
        match prune_is_slow {
            true => {
                assert_eq!(word(&used), "use 1 pinned");
                assert_eq!(pruned, "2 newest, 1 pinned by user");
            }
            false => {
                assert_eq!(pruned, "2 newest, 1 remove at host/a");
                assert_eq!(word(&used), "build out of reach");
            }
        }
    }
}
