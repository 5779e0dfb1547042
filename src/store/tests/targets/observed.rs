//! Where targets were found: what that makes of them, and what it does not.

use super::*;

const HERE: Presence = Presence::Present(None);
const GONE: Presence = Presence::Absent;
const SILENT: Presence = Presence::Unknown;

on_every_engine![
    the_first_state_is_what_daemon_and_registry_say,
    a_registry_that_does_not_answer_rebuilds_nothing,
    what_is_in_doubt_is_looked_for_before_it_is_built,
    what_somebody_is_at_is_not_observed,
    what_was_seen_before_it_changed_does_not_count,
    each_target_is_answered_and_none_twice,
];

async fn the_first_state_is_what_daemon_and_registry_say(on: &On) {
    use Mode::*;
    use State::*;
    for (mode, local, published, state) in [
        (RegistryFirst, HERE, HERE, Published),
        (RegistryFirst, HERE, GONE, Built),
        (RegistryFirst, GONE, HERE, Published),
        (RegistryFirst, GONE, GONE, ToBuild),
        (LocalRequired, HERE, HERE, Published),
        (LocalRequired, HERE, GONE, Built),
        (LocalRequired, GONE, HERE, ToBuild),
        (LocalRequired, GONE, GONE, ToBuild),
    ] {
        let name = format!("t{}", on.store.revision().await.unwrap());
        on.declare(&name).await;
        let observation = TargetObservation {
            target: key_of(&name),
            seen: Observation {
                location: place("host:a"),
                local,
                published,
            },
            if_etag: Some(on.entry(&name).await.revision),
        };
        let request = ObserveTargets::new(mode, vec![observation]);
        let observed = on.store.build_targets().observe(&ns(), &request).await;
        let observed = observed.unwrap().value.remove(0);
        assert_eq!(
            observed.state,
            Some(state),
            "{mode:?} {local:?} {published:?}"
        );
        assert_eq!(on.entry(&name).await.progress.state, state);
    }
}

async fn a_registry_that_does_not_answer_rebuilds_nothing(on: &On) {
    // docker-pkg took 401, 429 and 500 for "not published", and built and pushed anew.
    for state in [
        State::Built,
        State::Verified,
        State::Published,
        State::Error,
    ] {
        let name = format!("t{}", state as u8);
        on.declare(&name).await;
        on.bring(&name, state).await;
        let before = on.entry(&name).await;
        for local in [HERE, GONE, SILENT] {
            let seen = on.observe(&name, local, SILENT).await.unwrap();
            assert_eq!(seen.state, Some(state), "{local:?}");
        }
        let after = on.entry(&name).await;
        assert_eq!(after.progress, before.progress, "{state}");
        assert!(!after.progress.in_doubt);
    }
    assert_eq!(on.idle(BUILD).await.waiting.count, 0);
}

async fn what_is_in_doubt_is_looked_for_before_it_is_built(on: &On) {
    on.declare("a; b").await;
    let seen = on.observe("a", GONE, SILENT).await.unwrap();
    let possible = vec![State::ToBuild, State::Published];
    assert_eq!(seen.kind, ObservedKind::Undecided(possible));
    assert!(on.entry("a").await.progress.in_doubt);
    let claimed = on.claimed("w", BUILD).await;
    assert_eq!(short(claimed.entry.target.key()), "a");
    assert!(claimed.entry.progress.in_doubt, "look first");
    // Nobody could tell: later again, and meanwhile the other one.
    on.let_go("a", token(&claimed), Some(60)).await.unwrap();
    let other = on.claimed("w", BUILD).await;
    assert_eq!(short(other.entry.target.key()), "b");
    let idle = on.idle(BUILD).await;
    assert_eq!((idle.running.count, idle.waiting.count), (1, 1));
    assert_eq!(
        idle.retry_at.unwrap().seconds(),
        1010,
        "the claim ends first"
    );
    on.let_go("b", token(&other), None).await.unwrap();
    on.at(1059);
    assert_eq!(short(on.claimed("w", BUILD).await.entry.target.key()), "b");
    on.at(1060);
    let claimed = on.claimed("w", BUILD).await;
    assert_eq!(short(claimed.entry.target.key()), "a");
    let found = on
        .happen_under("a", EventKind::SeenPublished, Some(token(&claimed)))
        .await
        .unwrap();
    assert_eq!(found.entry.progress.state, State::Published);
    assert!(!found.entry.progress.in_doubt);
    assert_eq!(
        (found.entry.progress.not_before, found.entry.claim),
        (None, None)
    );
}

async fn what_somebody_is_at_is_not_observed(on: &On) {
    on.declare("a").await;
    let claimed = on.claimed("w", BUILD).await;
    let seen = on.observe("a", GONE, HERE).await.unwrap();
    assert_eq!(
        (seen.kind, seen.state),
        (ObservedKind::Claimed, Some(State::ToBuild))
    );
    on.let_go("a", token(&claimed), None).await.unwrap();
    let seen = on.observe("a", GONE, HERE).await.unwrap();
    assert_eq!(seen.kind, ObservedKind::Changed);
}

/// Absent was seen before the push, and is told after it.
async fn what_was_seen_before_it_changed_does_not_count(on: &On) {
    on.declare("a").await;
    on.bring("a", State::Verified).await;
    let observation = TargetObservation {
        target: key_of("a"),
        seen: Observation {
            location: place("host:b"),
            local: GONE,
            published: GONE,
        },
        if_etag: Some(on.entry("a").await.revision),
    };
    on.happen("a", EventKind::PublishOk).await.unwrap();
    let request = ObserveTargets::new(Mode::RegistryFirst, vec![observation]);
    let observed = on.store.build_targets().observe(&ns(), &request).await;
    assert_eq!(observed.unwrap().value[0].kind, ObservedKind::Outdated);
    assert_eq!(on.entry("a").await.progress.state, State::Published);
}

async fn each_target_is_answered_and_none_twice(on: &On) {
    on.declare("a; b").await;
    let observation = |key: &str| TargetObservation {
        target: key_of(key),
        seen: Observation {
            location: place("host:a"),
            local: HERE,
            published: GONE,
        },
        if_etag: None,
    };
    let targets = on.store.build_targets();
    let ask = async |keys: &[&str]| {
        let all = keys.iter().map(|key| observation(key)).collect();
        let request = ObserveTargets::new(Mode::RegistryFirst, all);
        targets.observe(&ns(), &request).await
    };
    let observed = ask(&["b", "x", "a"]).await.unwrap().value;
    let kinds: Vec<_> = observed.into_iter().map(|one| one.kind).collect();
    use ObservedKind::{Changed, NotFound};
    assert_eq!(kinds, [Changed, NotFound, Changed]);
    let before = on.store.revision().await.unwrap();
    for (keys, field) in [
        (&["a", "b", "a"][..], "observations[2].target"),
        (&[], "observations"),
    ] {
        let refused = ask(keys).await;
        let is_said = matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == field);
        assert!(is_said, "{refused:?}");
    }
    assert_eq!(on.store.revision().await.unwrap(), before);
}
