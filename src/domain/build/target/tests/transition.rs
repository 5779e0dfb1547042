//! Every state with every event.

use super::*;
use crate::domain::Timestamp;

fn event(kind: EventKind) -> Event {
    let error = String::from("exit code 1");
    match kind {
        EventKind::BuildOk => Event::BuildOk {
            digest: Some(digest("new")),
            location: place("host:b"),
        },
        EventKind::BuildFailed => Event::BuildFailed { error },
        EventKind::VerifyOk => Event::VerifyOk,
        EventKind::VerifyFailed => Event::VerifyFailed { error },
        EventKind::PublishOk => Event::PublishOk {
            digest: Some(digest("new")),
        },
        EventKind::PublishFailed => Event::PublishFailed { error },
        EventKind::SeenLocal => Event::SeenLocal {
            digest: None,
            location: place("host:b"),
        },
        EventKind::SeenPublished => Event::SeenPublished { digest: None },
        EventKind::Lost => Event::Lost,
        EventKind::Reset => Event::Reset,
    }
}

fn after(from: &Progress, event: &Event) -> Progress {
    match from.after(event).unwrap() {
        Transition::To(after) => *after,
        Transition::Unchanged => from.clone(),
    }
}

#[test]
fn every_state_takes_its_events_and_no_other() {
    use EventKind::*;
    use State::*;
    let rows: [(State, &[(EventKind, State)]); 5] = [
        (
            ToBuild,
            &[
                (BuildOk, Built),
                (BuildFailed, Error),
                (SeenLocal, Built),
                (SeenPublished, Published),
            ],
        ),
        (
            Built,
            &[
                (BuildOk, Built),
                (VerifyOk, Verified),
                (VerifyFailed, Error),
                (SeenPublished, Published),
                (Lost, ToBuild),
            ],
        ),
        (
            Verified,
            &[
                (VerifyOk, Verified),
                (PublishOk, Published),
                (PublishFailed, Error),
                (Lost, ToBuild),
            ],
        ),
        (Published, &[(PublishOk, Published), (Lost, ToBuild)]),
        (Error, &[(Reset, ToBuild)]),
    ];
    for (state, legal) in rows {
        for kind in EventKind::ALL {
            let from = in_state(state);
            let expected = legal.iter().find(|(event, _)| *event == kind);
            match (from.after(&event(kind)), expected) {
                (Ok(Transition::To(after)), Some((_, next))) => {
                    assert_eq!(after.state, *next, "{state} {kind}")
                }
                (Ok(Transition::Unchanged), Some((_, next))) => {
                    assert_eq!(state, *next, "{state} {kind}")
                }
                (Err(refused), None) => {
                    assert_eq!(refused, IllegalEvent::InState { state, event: kind });
                    let mut told: Vec<_> = refused.legal().collect();
                    told.sort();
                    assert_eq!(
                        told,
                        legal.iter().map(|(event, _)| *event).collect::<Vec<_>>()
                    );
                }
                (outcome, expected) => panic!("{state} {kind}: {outcome:?}, not {expected:?}"),
            }
        }
    }
}

#[test]
fn a_refusal_says_what_would_be_legal() {
    let refused = in_state(State::Verified).after(&Event::Reset).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a target that is verified does not take reset, but publish_ok, publish_failed, lost, verify_ok"
    );
}

#[test]
fn a_target_goes_from_its_build_to_its_registry() {
    let built = after(&Progress::default(), &event(EventKind::BuildOk));
    assert_eq!((built.attempts, built.digest), (1, Some(digest("new"))));
    assert_eq!(built.locations, [place("host:b")].into());
    let verified = after(&built, &Event::VerifyOk);
    assert_eq!(
        verified.locations, built.locations,
        "verified where it was built"
    );
    let pushed = Event::PublishOk {
        digest: Some(digest("as pushed")),
    };
    let published = after(&verified, &pushed);
    assert_eq!(
        (published.state, published.digest, published.published),
        (
            State::Published,
            Some(digest("new")),
            Some(digest("as pushed"))
        )
    );
    assert!(published.locations.is_empty());
}

#[test]
fn what_is_told_twice_changes_nothing() {
    let built = after(&Progress::default(), &event(EventKind::BuildOk));
    assert_eq!(
        built.after(&event(EventKind::BuildOk)),
        Ok(Transition::Unchanged)
    );
    let verified = after(&built, &Event::VerifyOk);
    assert_eq!(verified.after(&Event::VerifyOk), Ok(Transition::Unchanged));
    let published = after(&verified, &event(EventKind::PublishOk));
    assert_eq!(
        published.after(&event(EventKind::PublishOk)),
        Ok(Transition::Unchanged)
    );
    assert_eq!(
        published.after(&Event::PublishOk { digest: None }),
        Ok(Transition::Unchanged)
    );
}

#[test]
fn a_published_tag_is_not_moved() {
    // docker-pkg overwrote it whenever the registry did not answer 200.
    let published = Progress {
        published: Some(digest("old")),
        ..in_state(State::Published)
    };
    let refused = published.after(&event(EventKind::PublishOk)).unwrap_err();
    assert_eq!(refused.state(), State::Published);
    assert!(
        matches!(refused, IllegalEvent::OtherDigest { .. }),
        "{refused}"
    );
    assert_eq!(
        refused.legal().collect::<Vec<_>>(),
        [EventKind::Lost, EventKind::PublishOk]
    );
    let built = Progress {
        digest: Some(digest("old")),
        ..in_state(State::Built)
    };
    assert!(built.after(&event(EventKind::BuildOk)).is_err());
}

#[test]
fn a_digest_that_was_not_known_is_learnt() {
    let learnt = after(&in_state(State::Published), &event(EventKind::PublishOk));
    assert_eq!(
        (learnt.state, learnt.published),
        (State::Published, Some(digest("new")))
    );
    let learnt = after(&in_state(State::Built), &event(EventKind::BuildOk));
    assert_eq!(
        (learnt.state, learnt.digest),
        (State::Built, Some(digest("new")))
    );
}

#[test]
fn a_push_that_tells_no_digest_leaves_none_that_a_registry_would_not_tell() {
    let built = after(&Progress::default(), &event(EventKind::BuildOk));
    let verified = after(&built, &Event::VerifyOk);
    let published = after(&verified, &Event::PublishOk { digest: None });
    assert_eq!(published.published, None);
    let learnt = after(&published, &event(EventKind::PublishOk));
    assert_eq!(learnt.published, Some(digest("new")));
}

#[test]
fn doubt_and_waiting_end_with_another_state() {
    let waiting = Progress {
        in_doubt: true,
        ..Progress::default().put_off(Timestamp::UNIX_EPOCH)
    };
    assert!(waiting.not_before.is_some());
    for (kind, _) in State::ToBuild.legal() {
        let after = after(&waiting, &event(*kind));
        assert_eq!((after.in_doubt, after.not_before), (false, None), "{kind}");
    }
}

#[test]
fn an_error_is_left_by_a_reset_and_remembers_d4() {
    let mut target = Progress::default();
    for attempt in 1..=3 {
        let failed = after(&target, &event(EventKind::BuildFailed));
        assert_eq!(failed.state, State::Error);
        target = after(&failed, &Event::Reset);
        assert_eq!((target.state, target.attempts), (State::ToBuild, attempt));
        assert_eq!(target.last_error.as_deref(), Some("exit code 1"));
    }
    let built = after(&target, &event(EventKind::BuildOk));
    assert_eq!((built.attempts, built.last_error), (4, None));
}

#[test]
fn what_is_lost_or_failed_is_nowhere() {
    for (from, kind) in [
        (State::Built, EventKind::Lost),
        (State::Built, EventKind::VerifyFailed),
        (State::Verified, EventKind::Lost),
        (State::Verified, EventKind::PublishFailed),
        (State::Published, EventKind::Lost),
    ] {
        let from = Progress {
            digest: Some(digest("old")),
            published: Some(digest("pushed")),
            ..in_state(from)
        };
        let after = after(&from, &event(kind));
        assert_eq!(
            (after.digest, after.published, after.locations),
            (None, None, BTreeSet::new()),
            "{kind}"
        );
    }
}

#[test]
fn a_state_is_known_by_its_name() {
    for state in State::ALL {
        assert_eq!(state.name().parse::<State>().unwrap(), state);
    }
    for bad in ["", "Built", "building", "to-build"] {
        assert_eq!(bad.parse::<State>().unwrap_err().field(), "state");
    }
}

proptest! {
    #[test]
    fn whatever_happens_a_target_has_a_place_just_where_it_is_built(kinds in prop::collection::vec(0..10usize, 0..20)) {
        let mut target = Progress::default();
        for kind in kinds {
            let attempts = target.attempts;
            if let Ok(Transition::To(after)) = target.after(&event(EventKind::ALL[kind])) {
                target = *after;
            }
            let is_somewhere = matches!(target.state, State::Built | State::Verified);
            prop_assert_eq!(!target.locations.is_empty(), is_somewhere);
            prop_assert!(target.attempts >= attempts);
        }
    }
}
