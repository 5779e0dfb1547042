//! How long a claim lasts, and what may be done without it.

use super::*;

on_every_engine![
    a_claim_that_ended_is_given_to_another_and_its_holder_is_refused,
    a_claim_ends_at_its_deadline_unless_it_is_renewed,
    a_claim_protects_its_target,
    success_goes_on_under_the_claim_where_asked_and_failure_ends_it,
    who_is_at_what_changes_is_told_so,
    what_is_declared_the_same_keeps_its_claim,
    what_fails_is_let_go_of_and_a_reset_leaves_what_somebody_is_at,
    tokens_only_grow,
];

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

async fn what_fails_is_let_go_of_and_a_reset_leaves_what_somebody_is_at(on: &On) {
    use EventKind::{BuildFailed, BuildOk, PublishFailed, VerifyFailed, VerifyOk};
    on.declare("a; b; c; d; e").await;
    let claimed = async |key: &str, kinds: &[EventKind]| {
        let claimed = on.claimed("w", &Work::ALL).await;
        assert_eq!(short(claimed.entry.target.key()), key);
        for kind in kinds {
            let request = TransitionTarget {
                token: Some(token(&claimed)),
                keep_claim: true,
                ..TransitionTarget::new(key_of(key), event(*kind))
            };
            let told = on.store.build_targets().transition(&ns(), &request).await;
            let is_held = told.unwrap().value.entry.claim.is_some();
            assert_eq!(is_held, !event(*kind).is_failure(), "{kind}");
        }
        token(&claimed)
    };
    let mut late = Vec::new();
    for (key, kinds) in [
        ("a", &[BuildFailed][..]),
        ("b", &[BuildOk, VerifyFailed]),
        ("c", &[BuildOk, VerifyOk, PublishFailed]),
    ] {
        late.push((key, claimed(key, kinds).await));
    }
    let held = [
        ("d", claimed("d", &[BuildOk]).await),
        ("e", claimed("e", &[]).await),
    ];
    let before = [on.entry("d").await, on.entry("e").await];
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
    assert_eq!(line(&reset(globbed("[ade]:*")).await), "a");
    let progress = on.entry("a").await.progress;
    assert_eq!(
        (progress.attempts, progress.last_error.as_deref()),
        (1, Some("exit code 1"))
    );
    assert_eq!(line(&reset(all()).await), "b c");
    assert_eq!(line(&reset(all()).await), "");
    assert_eq!([on.entry("d").await, on.entry("e").await], before);
    for (key, token) in held {
        on.keep(key, token).await.unwrap();
    }
    for (key, token) in late {
        assert!(is_aborted(&on.keep(key, token).await), "{key}");
    }
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
