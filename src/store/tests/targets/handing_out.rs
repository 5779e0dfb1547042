//! Which target each worker gets, and what it waits for.

use std::collections::BTreeSet;

use super::*;

on_every_engine![
    each_target_is_handed_out_once,
    what_is_left_half_way_elsewhere_is_built_again,
    nothing_is_built_on_what_somebody_is_at,
    who_finds_nothing_is_told_what_to_wait_for,
    a_worker_gets_only_what_it_can_work_on_and_waits_for_what_is_below_that,
    a_claim_names_what_it_is_built_on,
    workers_build_a_graph_each_target_once,
];

async fn each_target_is_handed_out_once(on: &On) {
    let all: Vec<_> = (0..40).map(|n| format!("t{n}")).collect();
    on.declare(&all.join(";")).await;
    let ask = async |n: usize| {
        let request = claiming(&format!("w{n}"), BUILD);
        match on.next(&request).await {
            NextTarget::Claimed(claimed) => Some(short(claimed.entry.target.key())),
            NextTarget::Idle(_) => None,
        }
    };
    let given: Vec<_> = join_all((0..32).map(ask)).await;
    let given: BTreeSet<_> = given.into_iter().flatten().collect();
    assert_eq!(given.len(), 32);
    let given: Vec<_> = join_all((0..32).map(ask))
        .await
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(given.len(), 8, "the others found nothing");
    assert_eq!(on.idle(BUILD).await.running.count, 40);
}

async fn what_is_left_half_way_elsewhere_is_built_again(on: &On) {
    use Work::{Build, Verify};
    on.declare("a").await;
    let at = |location: &str, works: &[Work]| ClaimTarget {
        location: place(location),
        ..claiming("w", works)
    };
    let first = on.claimed("w1", &[Build, Verify]).await;
    let built = TransitionTarget {
        token: Some(token(&first)),
        keep_claim: true,
        ..TransitionTarget::new(key_of("a"), event(EventKind::BuildOk))
    };
    on.store
        .build_targets()
        .transition(&ns(), &built)
        .await
        .unwrap();
    let other = at("host:b", &[Build, Verify]);
    assert!(
        matches!(on.next(&other).await, NextTarget::Idle(_)),
        "it is at it"
    );
    on.at(1010);
    let NextTarget::Idle(idle) = on.next(&at("host:b", &[Verify])).await else {
        panic!("it is not there")
    };
    assert_eq!((idle.waiting.count, idle.retry_at), (1, None));
    let NextTarget::Claimed(again) = on.next(&other).await else {
        panic!("its worker died")
    };
    assert_eq!(
        (again.work, again.entry.progress.state),
        (Build, State::ToBuild)
    );
    let stored = on.entry("a").await;
    assert_eq!(
        (stored.progress.state, stored.revision),
        (State::ToBuild, again.entry.revision)
    );
    assert!(stored.progress.locations.is_empty());
    on.let_go("a", token(&again), None).await.unwrap();

    // Where it is, somebody goes on from where it was left.
    on.bring("a", State::Built).await;
    let onward = on.claimed("w3", &[Build, Verify]).await;
    assert_eq!(
        (onward.work, onward.entry.progress.state),
        (Verify, State::Built)
    );
}

async fn nothing_is_built_on_what_somebody_is_at(on: &On) {
    on.declare("a; b<-a").await;
    let claimed = on.claimed("w", BUILD).await;
    let built = TransitionTarget {
        token: Some(token(&claimed)),
        keep_claim: true,
        ..TransitionTarget::new(key_of("a"), event(EventKind::BuildOk))
    };
    on.store
        .build_targets()
        .transition(&ns(), &built)
        .await
        .unwrap();
    let idle = on.idle(BUILD).await;
    assert_eq!((idle.running.count, idle.waiting.count), (1, 1));
    assert_eq!(idle.waiting.first[0].on, Some(key_of("a")));
    assert!(idle.retry_at.is_some());
    on.let_go("a", token(&claimed), None).await.unwrap();
    assert_eq!(short(on.claimed("w", BUILD).await.entry.target.key()), "b");
}

async fn who_finds_nothing_is_told_what_to_wait_for(on: &On) {
    let idle = on.idle(&Work::ALL).await;
    assert_eq!(
        (idle.running.count, idle.waiting.count, idle.blocked.count),
        (0, 0, 0)
    );
    assert_eq!(idle.retry_at, None);
    let many: Vec<_> = (0..12).map(|n| format!("t{n}<-base")).collect();
    on.declare(&format!("base; {}; bad; worse<-bad", many.join(";")))
        .await;
    on.bring("bad", State::Error).await;
    on.claimed("w1", BUILD).await;
    let idle = on.idle(BUILD).await;
    assert_eq!(
        (idle.running.count, idle.waiting.count, idle.blocked.count),
        (1, 12, 2)
    );
    assert_eq!(idle.waiting.first.len(), BuildTargets::MAX_NAMED);
    let blocked = idle
        .blocked
        .first
        .iter()
        .map(|one| (short(&one.target), short(&one.failed)));
    let blocked: Vec<_> = blocked.collect();
    let same = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(blocked, [same("bad", "bad"), same("worse", "bad")]);
    assert_eq!(idle.running.first[0].holder.as_str(), "w1");
    assert_eq!(
        (idle.now.seconds(), idle.retry_at.unwrap().seconds()),
        (1000, 1010)
    );
    let selected = ClaimTarget {
        selector: globbed("nothing"),
        ..claiming("w", BUILD)
    };
    let NextTarget::Idle(idle) = on.next(&selected).await else {
        panic!("nothing is selected")
    };
    assert_eq!((idle.running.count, idle.waiting.count), (0, 0));
}

/// Two workers of two directories, one above the other.
async fn a_worker_gets_only_what_it_can_work_on_and_waits_for_what_is_below_that(on: &On) {
    on.declare("other; below; mine<-below").await;
    let own = |names: &[&str], works: &[Work]| ClaimTarget {
        own: names.iter().map(|name| key_of(name)).collect(),
        ..claiming("w", works)
    };
    let mine = own(&["mine", "gone"], BUILD);
    let NextTarget::Idle(idle) = on.next(&mine).await else {
        panic!("it is not given what is below its own")
    };
    let waiting: Vec<_> = idle.waiting.first.iter().collect();
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    assert_eq!(waiting[0].on, Some(key_of("below")));
    assert_eq!(
        (&waiting[1].target, &waiting[1].on),
        (&key_of("below"), &None)
    );
    assert_eq!(idle.retry_at, None);
    let NextTarget::Claimed(below) = on.next(&own(&["below"], BUILD)).await else {
        panic!("it is nobody's")
    };
    assert_eq!(below.entry.target.key(), &key_of("below"));
    let NextTarget::Idle(idle) = on.next(&mine).await else {
        panic!("it waits for the other worker")
    };
    assert_eq!((idle.running.count, idle.waiting.count), (1, 1));
    let built = TransitionTarget {
        token: Some(token(&below)),
        ..TransitionTarget::new(key_of("below"), event(EventKind::BuildOk))
    };
    on.store
        .build_targets()
        .transition(&ns(), &built)
        .await
        .unwrap();
    let NextTarget::Claimed(claimed) = on.next(&mine).await else {
        panic!("what is below is ready")
    };
    assert_eq!(claimed.entry.target.key(), &key_of("mine"));
}

async fn a_claim_names_what_it_is_built_on(on: &On) {
    on.declare("a@1; a@2; b; c<-a,b,X").await;
    on.bring("a@2", State::Published).await;
    on.bring("b", State::Built).await;
    on.bring("a@1", State::Error).await;
    let claimed = on.claimed("w", BUILD).await;
    assert_eq!(short(claimed.entry.target.key()), "c");
    let named = claimed.dependencies.iter();
    let named: Vec<_> = named.map(|one| (one.label.as_str(), one.digest)).collect();
    assert_eq!(
        named,
        [
            ("reg.example:5000/a:2", Some(hash("pushed"))),
            ("reg.example:5000/b:1", Some(hash("built"))),
        ]
    );
}

/// A diamond upon a diamond, built by many who ask at once; some die.
async fn workers_build_a_graph_each_target_once(on: &On) {
    let mut set = vec!["t0".to_owned()];
    for n in 1..40 {
        set.push(format!("t{n}<-t{},t{}", n / 2, n / 3));
    }
    on.declare(&set.join(";")).await;
    let work = async |worker: usize| {
        loop {
            let request = claiming(&format!("w{worker}"), &[Work::Build, Work::Verify]);
            match on.next(&request).await {
                NextTarget::Idle(idle) if idle.running.count + idle.waiting.count == 0 => return,
                NextTarget::Idle(_) => {
                    // Whoever died is not waited for: time passes.
                    *on.clock.lock().unwrap() += 3;
                    tokio::task::yield_now().await;
                }
                NextTarget::Claimed(claimed) => {
                    let name = short(claimed.entry.target.key());
                    // Some die before they have built, some after.
                    if worker == 0 && claimed.entry.progress.attempts == 0 && name.ends_with('3') {
                        return;
                    }
                    let token = token(&claimed);
                    let told = TransitionTarget {
                        token: Some(token),
                        keep_claim: true,
                        ..TransitionTarget::new(
                            claimed.entry.target.key().clone(),
                            event(match claimed.work {
                                Work::Build => EventKind::BuildOk,
                                Work::Verify | Work::Publish => EventKind::VerifyOk,
                            }),
                        )
                    };
                    let told = on.store.build_targets().transition(&ns(), &told).await;
                    if told.is_err() {
                        continue;
                    }
                    if worker == 1 && name.ends_with('7') {
                        return;
                    }
                    if claimed.work == Work::Build {
                        let _ = on
                            .happen_under(&name, EventKind::VerifyOk, Some(token))
                            .await;
                    }
                }
            }
        }
    };
    join_all((0..8).map(work)).await;
    for entry in on.selected(&all()).await {
        assert_eq!(
            entry.progress.state,
            State::Verified,
            "{:?}",
            entry.target.key()
        );
        assert_eq!(entry.progress.attempts, 1, "{:?}", entry.target.key());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_two_workers_at_once_never_hold_the_same() {
    let on = Arc::new(On::redb().await);
    let all: Vec<_> = (0..100).map(|n| format!("t{n}")).collect();
    on.declare(&all.join(";")).await;
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..32 {
        let on = on.clone();
        workers.spawn(async move {
            let mut mine = Vec::new();
            while let NextTarget::Claimed(claimed) =
                on.next(&claiming(&format!("w{worker}"), BUILD)).await
            {
                let name = short(claimed.entry.target.key());
                mine.push(name.clone());
                let told = on
                    .happen_under(&name, EventKind::BuildOk, Some(token(&claimed)))
                    .await;
                assert!(told.unwrap().changed);
            }
            mine
        });
    }
    let mut given = Vec::new();
    while let Some(mine) = workers.join_next().await {
        given.extend(mine.unwrap());
    }
    given.sort();
    let before = given.len();
    given.dedup();
    assert_eq!((before, given.len()), (100, 100));
    let Ok(on) = Arc::try_unwrap(on) else {
        panic!("all workers have ended")
    };
    on.must_be_sound().await;
}

#[tokio::test]
async fn who_finds_nothing_writes_nothing_and_asks_again() {
    let on = On::memory().await;
    on.declare("a").await;
    on.claimed("w", BUILD).await;
    let before = on.store.revision().await.unwrap();
    let request = ClaimTarget {
        request: Some(RequestId::new("r1", b"x").unwrap()),
        ..claiming("w2", BUILD)
    };
    assert!(matches!(on.next(&request).await, NextTarget::Idle(_)));
    assert_eq!(on.store.revision().await.unwrap(), before);
    on.at(1010);
    assert!(matches!(on.next(&request).await, NextTarget::Claimed(_)));
}
