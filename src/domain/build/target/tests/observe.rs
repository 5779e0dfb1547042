//! What is concluded from the answers of daemons and registries.

use super::*;

const HERE: Presence = Presence::Present(None);
const GONE: Presence = Presence::Absent;
const SILENT: Presence = Presence::Unknown;

fn seen(location: &str, local: Presence, published: Presence) -> Observation {
    Observation {
        location: place(location),
        local,
        published,
    }
}

fn observed(from: &Progress, mode: Mode, local: Presence, published: Presence) -> Observed {
    from.observed(mode, &seen("host:a", local, published))
        .unwrap()
}

/// The state after an observation; none where it stays undecided.
fn state_after(from: State, mode: Mode, local: Presence, published: Presence) -> Option<State> {
    match observed(&in_state(from), mode, local, published) {
        Observed::To(after) => Some(after.state),
        Observed::Unchanged => Some(from),
        Observed::Undecided { possible, after } => {
            assert!(possible.len() > 1);
            assert_eq!(
                (after.state, after.in_doubt),
                (from, from == State::ToBuild)
            );
            None
        }
    }
}

#[test]
fn the_first_state_is_what_daemon_and_registry_say() {
    use Mode::*;
    use State::*;
    for (local, published, registry_first, local_required) in [
        (HERE, HERE, Some(Published), Some(Published)),
        (HERE, GONE, Some(Built), Some(Built)),
        (GONE, HERE, Some(Published), Some(ToBuild)),
        (GONE, GONE, Some(ToBuild), Some(ToBuild)),
        (SILENT, HERE, Some(Published), None),
        (SILENT, GONE, None, None),
        (HERE, SILENT, None, None),
        (GONE, SILENT, None, Some(ToBuild)),
        (SILENT, SILENT, None, None),
    ] {
        let from = State::ToBuild;
        assert_eq!(
            state_after(from, RegistryFirst, local, published),
            registry_first,
            "{local:?} {published:?}"
        );
        assert_eq!(
            state_after(from, LocalRequired, local, published),
            local_required,
            "{local:?} {published:?}"
        );
    }
}

#[test]
fn what_could_not_be_asked_is_not_missing() {
    // docker-pkg took 401, 429 and 500 for "not published", and built and pushed anew.
    for state in State::ALL {
        for mode in [Mode::RegistryFirst, Mode::LocalRequired] {
            let target = in_state(state);
            for (local, published) in [(SILENT, SILENT), (HERE, SILENT)] {
                match observed(&target, mode, local, published) {
                    Observed::Unchanged => {}
                    Observed::Undecided { after, .. } => assert_eq!(after.state, state),
                    Observed::To(after) => panic!("{target:?} became {after:?}"),
                }
            }
        }
    }
    let undecided = observed(&in_state(State::ToBuild), Mode::RegistryFirst, GONE, SILENT);
    let Observed::Undecided { possible, .. } = undecided else {
        panic!("{undecided:?}")
    };
    assert_eq!(possible, [State::ToBuild, State::Published]);
    assert_eq!(
        state_after(State::Published, Mode::RegistryFirst, GONE, SILENT),
        None
    );
    assert_eq!(
        state_after(State::Built, Mode::RegistryFirst, SILENT, GONE),
        None
    );
}

#[test]
fn what_is_published_is_lost_only_when_the_registry_says_so() {
    for mode in [Mode::RegistryFirst, Mode::LocalRequired] {
        let after = |local, published| state_after(State::Published, mode, local, published);
        assert_eq!(after(GONE, HERE), Some(State::Published));
        assert_eq!(after(GONE, SILENT), None);
        assert_eq!(after(GONE, GONE), Some(State::ToBuild));
        assert_eq!(after(SILENT, GONE), Some(State::ToBuild));
        assert_eq!(after(HERE, GONE), Some(State::Built));
    }
}

#[test]
fn another_image_under_a_published_tag_is_refused() {
    let published = Progress {
        published: Some(digest("old")),
        ..in_state(State::Published)
    };
    let of = |content: &str| seen("host:a", GONE, Presence::Present(Some(digest(content))));
    assert_eq!(
        published.observed(Mode::RegistryFirst, &of("old")),
        Ok(Observed::Unchanged)
    );
    let refused = published
        .observed(Mode::RegistryFirst, &of("new"))
        .unwrap_err();
    assert!(matches!(refused, IllegalEvent::OtherDigest { .. }));
}

#[test]
fn a_daemon_that_has_it_not_says_nothing_of_another_daemon() {
    // With two machines, "built" is true of one of them.
    let built = in_state(State::Built);
    let elsewhere = seen("host:b", GONE, GONE);
    assert_eq!(
        built.observed(Mode::RegistryFirst, &elsewhere),
        Ok(Observed::Unchanged)
    );
    let both = built
        .observed(Mode::RegistryFirst, &seen("host:b", HERE, GONE))
        .unwrap();
    let Observed::To(both) = both else {
        panic!("{both:?}")
    };
    assert_eq!(both.locations, [place("host:a"), place("host:b")].into());
    let one = both
        .observed(Mode::RegistryFirst, &seen("host:a", GONE, GONE))
        .unwrap();
    let Observed::To(one) = one else {
        panic!("{one:?}")
    };
    assert_eq!(
        (one.state, one.locations.clone()),
        (State::Built, [place("host:b")].into())
    );
    let none = one.observed(Mode::RegistryFirst, &elsewhere).unwrap();
    let Observed::To(none) = none else {
        panic!("{none:?}")
    };
    assert_eq!(
        (none.state, none.locations),
        (State::ToBuild, BTreeSet::new())
    );
}

#[test]
fn another_image_of_the_same_name_is_not_another_copy() {
    let built = Progress {
        digest: Some(digest("one")),
        ..in_state(State::Built)
    };
    let other = seen("host:b", Presence::Present(Some(digest("other"))), GONE);
    assert_eq!(
        built.observed(Mode::RegistryFirst, &other),
        Ok(Observed::Unchanged)
    );
}

#[test]
fn a_push_that_nobody_told_of_is_found() {
    let pushed = Presence::Present(Some(digest("new")));
    for from in [State::ToBuild, State::Built, State::Verified] {
        let Observed::To(after) = observed(&in_state(from), Mode::RegistryFirst, GONE, pushed)
        else {
            panic!("{from}")
        };
        assert_eq!(
            (after.state, after.published),
            (State::Published, Some(digest("new")))
        );
    }
}

#[test]
fn what_is_to_be_built_is_in_doubt_until_somebody_can_tell() {
    let first = Mode::RegistryFirst;
    let Observed::Undecided { after, .. } =
        observed(&in_state(State::ToBuild), first, GONE, SILENT)
    else {
        panic!("it could be published")
    };
    assert!(after.in_doubt);
    let again = observed(&after, first, SILENT, SILENT);
    assert!(matches!(again, Observed::Undecided { after: same, .. } if same == after));
    for (local, published, state) in [
        (GONE, GONE, State::ToBuild),
        (HERE, GONE, State::Built),
        (SILENT, HERE, State::Published),
    ] {
        let Observed::To(told) = observed(&after, first, local, published) else {
            panic!("{local:?} {published:?} changes nothing")
        };
        assert_eq!((told.state, told.in_doubt), (state, false));
    }
    let decided = observed(&in_state(State::ToBuild), first, GONE, GONE);
    assert_eq!(decided, Observed::Unchanged);
}

#[test]
fn what_a_daemon_calls_an_image_is_not_compared_with_what_a_registry_calls_it() {
    let built = Progress {
        digest: Some(digest("as built")),
        ..in_state(State::Verified)
    };
    let pushed = Presence::Present(Some(digest("as pushed")));
    let local = Presence::Present(Some(digest("as built")));
    let Observed::To(after) = observed(&built, Mode::RegistryFirst, local, pushed) else {
        panic!("it is published")
    };
    assert_eq!(
        (after.digest, after.published),
        (Some(digest("as built")), Some(digest("as pushed")))
    );
    let again = observed(&after, Mode::RegistryFirst, local, pushed);
    assert_eq!(again, Observed::Unchanged);
}

#[test]
fn what_was_verified_stays_so_and_an_error_stays_one() {
    for mode in [Mode::RegistryFirst, Mode::LocalRequired] {
        assert_eq!(
            state_after(State::Verified, mode, HERE, GONE),
            Some(State::Verified)
        );
        for (local, published) in [(HERE, HERE), (GONE, GONE), (HERE, GONE)] {
            assert_eq!(
                observed(&in_state(State::Error), mode, local, published),
                Observed::Unchanged
            );
        }
    }
}

proptest! {
    #[test]
    fn seeing_the_same_twice_changes_nothing_more(state in 0..5usize, local in 0..3usize, published in 0..3usize, is_first in any::<bool>()) {
        let presences = [HERE, GONE, SILENT];
        let mode = if is_first { Mode::RegistryFirst } else { Mode::LocalRequired };
        let seen = seen("host:b", presences[local], presences[published]);
        if let Ok(Observed::To(after)) = in_state(State::ALL[state]).observed(mode, &seen) {
            prop_assert!(!matches!(after.observed(mode, &seen), Ok(Observed::To(_))), "{:?}", after);
        }
    }
}
