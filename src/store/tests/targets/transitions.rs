//! Every state with every event, through the store.

use super::*;

on_every_engine![
    every_state_takes_its_events_and_no_other,
    what_is_illegal_writes_nothing_and_says_what_is_legal,
    a_target_goes_from_its_build_to_its_registry,
    only_the_etag_that_it_has_will_do,
    what_is_not_there_is_not_found,
    digests_of_a_daemon_and_of_a_registry_are_two,
];

async fn every_state_takes_its_events_and_no_other(on: &On) {
    for state in State::ALL {
        for kind in EventKind::ALL {
            let name = format!("t-{}-{}", state as u8, kind as u8);
            on.declare(&name).await;
            on.bring(&name, state).await;
            let before = on.entry(&name).await;
            let told = on.happen(&name, kind).await;
            let legal = state.legal().iter().find(|(legal, _)| *legal == kind);
            match (told, legal) {
                (Ok(told), Some((_, next))) => {
                    assert_eq!(told.entry.progress.state, *next, "{state} {kind}");
                    assert_eq!(told.changed, *next != state, "{state} {kind}");
                    assert_eq!(on.entry(&name).await, told.entry, "{state} {kind}");
                }
                (Err(Error::IllegalTransition { illegal, .. }), None) => {
                    let expected = IllegalEvent::InState { state, event: kind };
                    assert_eq!(illegal, expected);
                    assert_eq!(on.entry(&name).await, before, "{state} {kind}");
                }
                (told, legal) => panic!("{state} {kind}: {told:?}, not {legal:?}"),
            }
        }
    }
}

async fn what_is_illegal_writes_nothing_and_says_what_is_legal(on: &On) {
    on.declare("a").await;
    on.bring("a", State::Error).await;
    let before = on.store.revision().await.unwrap();
    let refused = on.happen("a", EventKind::BuildOk).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "build target a@1 in namespace ns: a target that is error does not take build_ok, but reset"
    );
    assert_eq!(on.store.revision().await.unwrap(), before);
}

async fn a_target_goes_from_its_build_to_its_registry(on: &On) {
    on.declare("a").await;
    on.at(1010);
    on.happen("a", EventKind::BuildOk).await.unwrap();
    let built = on.entry("a").await;
    assert_eq!(built.progress.locations, [place("host:a")].into());
    assert_eq!(
        (built.progress.attempts, built.updated_at.seconds()),
        (1, 1010)
    );
    on.happen("a", EventKind::VerifyOk).await.unwrap();
    on.happen("a", EventKind::PublishOk).await.unwrap();
    let published = on.entry("a").await.progress;
    assert_eq!(published.state, State::Published);
    assert!(published.locations.is_empty());
}

async fn only_the_etag_that_it_has_will_do(on: &On) {
    on.declare("a").await;
    let etag = on.entry("a").await.revision;
    let request = |if_etag| TransitionTarget {
        if_etag: Some(if_etag),
        ..TransitionTarget::new(key_of("a"), event(EventKind::BuildOk))
    };
    let targets = on.store.build_targets();
    let done = targets.transition(&ns(), &request(etag)).await.unwrap();
    assert_eq!(done.value.entry.revision, done.revision);
    let stale = targets.transition(&ns(), &request(etag)).await;
    assert!(matches!(stale, Err(Error::EtagMismatch { .. })));
    let unknown = targets.transition(&ns(), &request(Revision(9999))).await;
    assert!(matches!(unknown, Err(Error::UnknownRevision { .. })));
}

async fn what_is_not_there_is_not_found(on: &On) {
    let before = on.store.revision().await.unwrap();
    let got = on.store.build_targets().get(&ns(), &key_of("a")).await;
    assert!(matches!(got, Err(Error::NotFound(_))));
    let told = on.happen("a", EventKind::Lost).await;
    assert!(matches!(told, Err(Error::NotFound(_))));
    assert!(is_aborted(&on.keep("a", Token(7)).await));
    assert!(is_aborted(&on.let_go("a", Token(7), None).await));
    assert_eq!(on.store.revision().await.unwrap(), before);
}

async fn digests_of_a_daemon_and_of_a_registry_are_two(on: &On) {
    on.declare("a").await;
    on.bring("a", State::Published).await;
    let progress = on.entry("a").await.progress;
    assert_eq!(
        (progress.digest, progress.published),
        (Some(hash("built")), Some(hash("pushed")))
    );
    let there = Presence::Present(Some(hash("pushed")));
    let seen = on.observe("a", Presence::Absent, there).await.unwrap();
    assert_eq!(seen.kind, ObservedKind::Unchanged);
    let other = Presence::Present(Some(hash("other")));
    let seen = on.observe("a", Presence::Absent, other).await.unwrap();
    assert!(matches!(seen.kind, ObservedKind::Refused(_)));
    assert_eq!(on.entry("a").await.progress, progress);
}
