//! Who is at what: one at each, whatever happens.

use std::collections::BTreeSet;

use super::*;

on_every_engine![
    each_target_is_handed_out_once,
    a_claim_that_ended_is_given_to_another_and_its_holder_is_refused,
    a_claim_ends_at_its_deadline_unless_it_is_renewed,
    a_claim_protects_its_target,
    success_goes_on_under_the_claim_where_asked_and_failure_ends_it,
    who_is_at_what_changes_is_told_so,
    what_is_declared_the_same_keeps_its_claim,
    a_reset_passes_over_what_somebody_is_at,
    what_is_left_half_way_elsewhere_is_built_again,
    tokens_only_grow,
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

async fn a_claim_that_ended_is_given_to_another_and_its_holder_is_refused(on: &On) {
    on.declare("a").await;
    let first = on.claimed("w1", BUILD).await;
    assert_eq!(on.idle(BUILD).await.retry_at.unwrap().seconds(), 1010);
    on.at(1010);
    let before = on.store.revision().await.unwrap();
    let zombie = token(&first);
    // Also before anybody else came.
    let late = on.happen_under("a", EventKind::BuildOk, Some(zombie)).await;
    assert!(is_aborted(&late), "{late:?}");
    let second = on.claimed("w2", BUILD).await;
    assert!(token(&second) > zombie);
    for result in [
        on.happen_under("a", EventKind::BuildOk, Some(zombie))
            .await
            .map(|_| ()),
        on.happen_under("a", EventKind::BuildFailed, Some(zombie))
            .await
            .map(|_| ()),
        on.happen("a", EventKind::BuildOk).await.map(|_| ()),
        on.keep("a", zombie).await,
        on.let_go("a", zombie, None).await,
        on.let_go("a", zombie, Some(9)).await,
    ] {
        assert!(is_aborted(&result), "{result:?}");
    }
    assert_eq!(on.store.revision().await.unwrap().0, before.0 + 1);
    let done = on
        .happen_under("a", EventKind::BuildOk, Some(token(&second)))
        .await;
    assert_eq!(done.unwrap().entry.progress.attempts, 1, "built once");
}

async fn a_claim_ends_at_its_deadline_unless_it_is_renewed(on: &On) {
    on.declare("a").await;
    let claimed = on.claimed("w", BUILD).await;
    on.at(1009);
    on.keep("a", token(&claimed)).await.unwrap();
    let claim = on.entry("a").await.claim.unwrap();
    assert_eq!(
        (claim.token, claim.deadline.seconds()),
        (token(&claimed), 1019)
    );
    on.at(1018);
    on.keep("a", token(&claimed)).await.unwrap();
    on.at(1028);
    assert_eq!(on.entry("a").await.claim, None);
    assert!(is_aborted(&on.keep("a", token(&claimed)).await));
    on.claimed("other", BUILD).await;
}

async fn a_claim_protects_its_target(on: &On) {
    on.declare("a").await;
    let claimed = on.claimed("w", BUILD).await;
    let before = on.store.revision().await.unwrap();
    for token in [None, Some(Token(token(&claimed).0 + 1)), Some(Token(1))] {
        let refused = on.happen_under("a", EventKind::BuildOk, token).await;
        assert!(is_aborted(&refused), "{token:?}");
    }
    assert_eq!(on.store.revision().await.unwrap(), before);
    on.let_go("a", token(&claimed), None).await.unwrap();
    on.happen("a", EventKind::BuildOk).await.unwrap();
}

async fn success_goes_on_under_the_claim_where_asked_and_failure_ends_it(on: &On) {
    on.declare("a; b").await;
    let claimed = on.claimed("w", &Work::ALL).await;
    let request = |kind, keep_claim| TransitionTarget {
        token: Some(token(&claimed)),
        keep_claim,
        ..TransitionTarget::new(key_of("a"), event(kind))
    };
    let targets = on.store.build_targets();
    let told = async |kind, keep| {
        let told = targets.transition(&ns(), &request(kind, keep)).await;
        told.map(|told| told.value.entry.claim.is_some())
    };
    assert!(told(EventKind::BuildOk, true).await.unwrap());
    assert!(told(EventKind::BuildOk, true).await.unwrap(), "said again");
    assert!(told(EventKind::VerifyOk, true).await.unwrap());
    assert!(!told(EventKind::PublishOk, false).await.unwrap());
    assert!(is_aborted(&told(EventKind::PublishOk, false).await));
    let claimed = on.claimed("w", BUILD).await;
    let failed = TransitionTarget {
        token: Some(token(&claimed)),
        keep_claim: true,
        ..TransitionTarget::new(key_of("b"), event(EventKind::BuildFailed))
    };
    let failed = targets.transition(&ns(), &failed).await.unwrap().value;
    assert_eq!(failed.entry.claim, None);
    let idle = on.idle(BUILD).await;
    assert_eq!((idle.running.count, idle.blocked.count), (0, 1));
}

/// What was built as it was declared before is not what is declared now.
async fn who_is_at_what_changes_is_told_so(on: &On) {
    let elsewhere = Target::new(
        key_of("a"),
        "other.example/a:1".parse().unwrap(),
        Default::default(),
        Labels::default(),
    );
    let moved = ApplyTargets::new(vec![elsewhere.unwrap()]);
    let forgotten = ApplyTargets {
        replace_all: true,
        ..ApplyTargets::new(targets("z"))
    };
    let rebuilt = ApplyTargets::new(targets("a<-X"));
    for change in [moved, forgotten, rebuilt] {
        on.declare("a").await;
        let claimed = on.claimed("w", BUILD).await;
        assert_eq!(short(claimed.entry.target.key()), "a");
        on.store
            .build_targets()
            .apply(&ns(), &change)
            .await
            .unwrap();
        let late = on
            .happen_under("a", EventKind::BuildOk, Some(token(&claimed)))
            .await;
        assert!(is_aborted(&late), "{late:?}");
        assert!(is_aborted(&on.keep("a", token(&claimed)).await));
        on.declare("a").await;
        // One that comes again under its name is another one.
        let late = on
            .happen_under("a", EventKind::BuildOk, Some(token(&claimed)))
            .await;
        assert!(is_aborted(&late), "{late:?}");
        assert_eq!(on.entry("a").await.claim, None);
    }
    on.declare("a").await;
    let claimed = on.claimed("w", BUILD).await;
    let deleted = DeleteTarget::new(key_of("a"));
    let deleted = on
        .store
        .build_targets()
        .delete(&ns(), &deleted)
        .await
        .unwrap();
    assert_eq!(deleted.value.claim, claimed.entry.claim);
    let late = on
        .happen_under("a", EventKind::BuildOk, Some(token(&claimed)))
        .await;
    assert!(is_aborted(&late), "{late:?}");
}

async fn what_is_declared_the_same_keeps_its_claim(on: &On) {
    on.declare("a; b<-a").await;
    let claimed = on.claimed("w", BUILD).await;
    on.declare("a; b<-a,X; c").await;
    let labels = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let [target] = &targets("a")[..] else {
        panic!()
    };
    let labelled = Target::new(
        target.key().clone(),
        target.label().clone(),
        Default::default(),
        Labels::try_from(labels).unwrap(),
    );
    let request = ApplyTargets::new(vec![labelled.unwrap()]);
    let applied = on
        .store
        .build_targets()
        .apply(&ns(), &request)
        .await
        .unwrap();
    assert_eq!(applied.value.updated, 1);
    on.happen_under("a", EventKind::BuildOk, Some(token(&claimed)))
        .await
        .unwrap();
}

async fn a_reset_passes_over_what_somebody_is_at(on: &On) {
    on.declare("a; b; c; d").await;
    for key in ["a", "b", "c"] {
        on.bring(key, State::Error).await;
    }
    let claimed = on.claimed("w", BUILD).await;
    assert_eq!(short(claimed.entry.target.key()), "d");
    let reset = async |selector| {
        let request = ResetTargets {
            selector,
            ..ResetTargets::default()
        };
        on.store
            .build_targets()
            .reset(&ns(), &request)
            .await
            .unwrap()
            .value
    };
    assert_eq!(line(&reset(globbed("[ad]:*")).await), "a");
    let before = on.entry("a").await.progress;
    assert_eq!(
        (before.attempts, before.last_error.as_deref()),
        (1, Some("exit code 1"))
    );
    assert_eq!(line(&reset(all()).await), "b c");
    assert_eq!(line(&reset(all()).await), "");
    on.keep("d", token(&claimed)).await.unwrap();
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

async fn tokens_only_grow(on: &On) {
    on.declare("a").await;
    let mut last = Token(0);
    for round in 0..5 {
        let claimed = on.claimed("w", BUILD).await;
        assert!(token(&claimed) > last);
        last = token(&claimed);
        match round % 2 {
            0 => on.let_go("a", last, None).await.unwrap(),
            _ => on.at(2000 + 100 * round),
        }
    }
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
async fn a_claim_outlives_the_store_it_was_granted_by() {
    let kv: Arc<dyn Kv> = Arc::new(Memory::new());
    let on = On::kv(kv.clone(), None).await;
    on.declare("a").await;
    let claimed = on.claimed("w", BUILD).await;
    // Twice within its time: what was promised at each opening holds.
    for seconds in [1008, 1016] {
        let (surroundings, clock) = surroundings();
        *clock.lock().unwrap() = seconds;
        let store = Store::on(kv.clone(), surroundings).await.unwrap();
        let again = On {
            store,
            clock,
            _dir: None,
        };
        again.at(seconds + 9);
        assert!(again.entry("a").await.claim.is_some());
        again.keep("a", token(&claimed)).await.unwrap();
        again.at(seconds);
    }
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_given_again_to_who_asks_again() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    on.declare("a; b").await;
    let request = ClaimTarget {
        request: Some(RequestId::new("r1", b"x").unwrap()),
        ..claiming("w", BUILD)
    };
    kv.plan(0, Fault::LoseAnswer);
    let lost = on.store.build_targets().claim_next(&ns(), &request).await;
    assert!(matches!(lost, Err(Error::OutcomeUnknown(_))));
    let NextTarget::Claimed(again) = on.next(&request).await else {
        panic!("it has one")
    };
    assert_eq!(short(again.entry.target.key()), "a");
    on.keep("a", token(&again)).await.unwrap();
    assert_eq!(on.entry("b").await.claim, None);
    // Also after it ended; the first Renew tells.
    on.at(5000);
    assert!(matches!(on.next(&request).await, NextTarget::Claimed(_)));
    assert!(is_aborted(&on.keep("a", token(&again)).await));
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
