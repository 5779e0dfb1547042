//! What docker-pkg's builder lost, did wrong or could not do: each of its known defects, by what came of it. Those of
//! states alone are in the domain's tests.

use super::*;

on_every_engine![
    a_child_of_a_failed_target_is_not_built,
    an_error_is_left_by_a_reset_and_remembers_d4,
    two_versions_of_a_name_are_two_targets_d2,
    publishing_heeds_the_selection_and_the_order,
    a_published_image_is_not_published_again_as_another,
    an_update_that_cannot_be_is_not_half_done,
    an_update_is_of_the_very_name,
    pruning_changes_no_state,
    what_failed_to_be_verified_is_not_built_upon,
    a_scan_that_fails_leaves_what_there_was,
];

async fn a_child_of_a_failed_target_is_not_built(on: &On) {
    on.declare("a; b<-a; c<-b").await;
    on.bring("a", State::Error).await;
    let idle = on.idle(BUILD).await;
    assert_eq!((idle.blocked.count, idle.waiting.count), (3, 0));
    assert_eq!(idle.blocked.first[2].through, Some(key_of("b")));
    on.happen("a", EventKind::Reset).await.unwrap();
    assert_eq!(short(on.claimed("w", BUILD).await.entry.target.key()), "a");
}

async fn an_error_is_left_by_a_reset_and_remembers_d4(on: &On) {
    on.declare("a").await;
    for attempt in 1..=3 {
        on.happen("a", EventKind::BuildFailed).await.unwrap();
        on.happen("a", EventKind::Reset).await.unwrap();
        let progress = on.entry("a").await.progress;
        assert_eq!(
            (progress.state, progress.attempts),
            (State::ToBuild, attempt)
        );
        assert_eq!(progress.last_error.as_deref(), Some("exit code 1"));
    }
}

async fn two_versions_of_a_name_are_two_targets_d2(on: &On) {
    on.declare("a@1; a@2; b<-a; c<-a (= 1)").await;
    on.bring("a@2", State::Built).await;
    let order = on
        .store
        .build_targets()
        .build_order(&ns(), &all())
        .await
        .unwrap();
    let waves: Vec<_> = order.value.value.waves.iter().map(line).collect();
    assert_eq!(waves, ["a b", "c"]);
}

async fn publishing_heeds_the_selection_and_the_order(on: &On) {
    on.declare("a; b<-a; c").await;
    for key in ["a", "b", "c"] {
        on.bring(key, State::Verified).await;
    }
    let request = ClaimTarget {
        selector: globbed("b:*"),
        ..claiming("w", &[Work::Publish])
    };
    let next = async || match on.next(&request).await {
        NextTarget::Claimed(claimed) => {
            let key = short(claimed.entry.target.key());
            let done = on
                .happen_under(&key, EventKind::PublishOk, Some(token(&claimed)))
                .await;
            done.unwrap();
            key
        }
        NextTarget::Idle(_) => String::new(),
    };
    assert_eq!([next().await, next().await, next().await], ["a", "b", ""]);
    assert_eq!(on.entry("c").await.progress.state, State::Verified);
}

async fn a_published_image_is_not_published_again_as_another(on: &On) {
    on.declare("a").await;
    on.bring("a", State::Published).await;
    assert!(!on.happen("a", EventKind::PublishOk).await.unwrap().changed);
    let other = Event::PublishOk {
        digest: Some(hash("other")),
    };
    let request = TransitionTarget::new(key_of("a"), other);
    let refused = on.store.build_targets().transition(&ns(), &request).await;
    let is_said = matches!(
        refused,
        Err(Error::IllegalTransition {
            illegal: IllegalEvent::OtherDigest { .. },
            ..
        })
    );
    assert!(is_said);
}

async fn an_update_that_cannot_be_is_not_half_done(on: &On) {
    on.declare("a; b<-a; c@v1<-a; d<-b").await;
    let before = on.keys().await;
    let request = BumpTarget::new(key_of("a"), "CVE-1");
    let refused = on.store.build_targets().bump(&ns(), &request).await;
    assert!(matches!(refused, Err(Error::NotBumpable(_))));
    assert_eq!(on.keys().await, before);
}

async fn an_update_is_of_the_very_name(on: &On) {
    on.declare("python; foo-python; a<-python; b<-foo-python")
        .await;
    let request = BumpTarget::new(key_of("python"), "CVE-1");
    let done = on
        .store
        .build_targets()
        .bump(&ns(), &request)
        .await
        .unwrap()
        .value;
    assert_eq!(line(done.bumped.iter().map(|one| &one.target)), "python a");
}

async fn pruning_changes_no_state(on: &On) {
    on.declare("a; b<-a; c<-b").await;
    on.bring("b", State::Built).await;
    let before = on.store.revision().await.unwrap();
    let order = on
        .store
        .build_targets()
        .prune_order(&ns(), &globbed("[ac]:*"))
        .await;
    assert_eq!(line(&order.unwrap().value.value), "c a");
    assert_eq!(on.store.revision().await.unwrap(), before);
}

async fn what_failed_to_be_verified_is_not_built_upon(on: &On) {
    on.declare("a; b<-a").await;
    on.bring("a", State::Built).await;
    on.happen("a", EventKind::VerifyFailed).await.unwrap();
    let idle = on.idle(BUILD).await;
    assert_eq!((idle.blocked.count, idle.waiting.count), (2, 0));
    assert_eq!(
        on.entry("a").await.progress.digest,
        None,
        "it is not built any more"
    );
}

async fn a_scan_that_fails_leaves_what_there_was(on: &On) {
    on.declare("a; b<-a").await;
    let before = on.selected(&all()).await;
    let request = ApplyTargets {
        replace_all: true,
        ..ApplyTargets::new(targets("c; d<-c; e<-unknown"))
    };
    let refused = on.store.build_targets().apply(&ns(), &request).await;
    assert!(matches!(refused, Err(Error::Graph(_))));
    assert_eq!(on.selected(&all()).await, before);
}
