//! Where images are, and when they are gone.

use super::*;

#[test]
fn an_image_is_gone_with_its_last_copy() {
    let mut generations = generations(&[0]);
    let (reg, host) = (place("reg"), place("host:a"));
    let one = Sequence(1);
    assert_eq!(
        generations.observe(one, &host, Presence::Absent, at(1)),
        Effect::Kept
    );
    assert_eq!(
        generations.observe(one, &host, Presence::Present(None), at(1)),
        Effect::Kept
    );
    assert_eq!(
        generations.observe(one, &reg, Presence::Absent, at(2)),
        Effect::CopyGone
    );
    assert_eq!(
        generations.observe(one, &reg, Presence::Unknown, at(2)),
        Effect::Kept
    );
    assert!(!generations.has_lost_newest());
    assert_eq!(
        generations.observe(one, &host, Presence::Absent, at(3)),
        Effect::Dropped
    );
    assert_eq!(
        generations.observe(one, &host, Presence::Present(None), at(3)),
        Effect::NotFound
    );
    assert!(generations.has_lost_newest());
}

#[test]
fn unknown_and_present_drop_nothing() {
    let mut generations = generations(&[0, 1]);
    for presence in [
        Presence::Unknown,
        Presence::Present(Some(digest("x"))),
        Presence::Unknown,
    ] {
        assert_eq!(
            generations.observe(Sequence(1), &place("reg"), presence, at(5)),
            Effect::Kept
        );
    }
    let sighting = generations.get(Sequence(1)).unwrap().copies[&place("reg")];
    assert_eq!(
        (sighting.seen_at, sighting.unknown_at),
        (at(5), Some(at(5)))
    );
}

#[test]
fn a_record_goes_only_when_its_image_is_confirmed_to_be_gone() {
    for (removal, effect) in [
        (Removal::Removed, Effect::Dropped),
        (Removal::NotFound, Effect::Dropped),
        (Removal::InUse, Effect::Kept),
        (Removal::Failed, Effect::Kept),
    ] {
        let mut generations = generations(&[0, 1]);
        let reg = place("reg");
        assert_eq!(
            generations.confirm(Sequence(1), &reg, removal, at(9)),
            effect,
            "{removal:?}"
        );
        assert_eq!(
            generations.get(Sequence(1)).is_none(),
            effect == Effect::Dropped
        );
        assert!(generations.get(Sequence(2)).is_some());
        assert_eq!(
            generations.confirm(Sequence(3), &reg, removal, at(9)),
            Effect::NotFound
        );
    }
}

#[test]
fn a_number_is_given_once() {
    let mut generations = generations(&[0, 1]);
    generations.observe(Sequence(2), &place("reg"), Presence::Absent, at(2));
    assert_eq!(
        generations.add(built("reg", None), at(3)).sequence,
        Sequence(3)
    );
    let numbers: Vec<_> = generations
        .iter()
        .map(|generation| generation.sequence.0)
        .collect();
    assert_eq!(numbers, [1, 3]);
}

#[test]
fn what_was_stored_out_of_order_is_refused() {
    let kept: Vec<_> = generations(&[0, 1]).iter().cloned().collect();
    assert!(Generations::restore(Sequence(2), kept.clone()).is_ok());
    assert!(Generations::restore(Sequence(1), kept.clone()).is_err());
    assert!(Generations::restore(Sequence(2), kept.iter().rev().cloned().collect()).is_err());
    assert!(Generations::restore(Sequence(2), vec![kept[0].clone(), kept[0].clone()]).is_err());
    let mut nowhere = kept;
    nowhere[0].copies.clear();
    assert!(Generations::restore(Sequence(2), nowhere).is_err());
}

#[test]
fn what_is_retired_is_given_to_nobody_until_it_is_found_in_use() {
    let mut generations = generations(&[0, 1]);
    let (two, reg) = (Sequence(2), place("reg"));
    let newest = |generations: &Generations| generations.newest(&Reach::Anywhere).cloned();
    generations.retire(two, &only(&["elsewhere"]), at(2));
    assert_eq!(newest(&generations).unwrap().sequence, two);
    generations.retire(two, &Reach::Anywhere, at(3));
    generations.retire(two, &Reach::Anywhere, at(4));
    let copy = |generations: &Generations| generations.get(two).unwrap().copies[&reg];
    assert_eq!(copy(&generations).retired_at, Some(at(3)), "since then");
    assert_eq!(newest(&generations).unwrap().sequence, Sequence(1));
    assert!(!generations.has_lost_newest(), "it is there");
    for presence in [Presence::Present(None), Presence::Unknown] {
        generations.observe(two, &reg, presence, at(5));
        assert_eq!(copy(&generations).retired_at, Some(at(3)), "{presence:?}");
    }
    generations.confirm(two, &reg, Removal::Failed, at(6));
    assert_eq!(copy(&generations).retired_at, Some(at(3)));
    generations.confirm(two, &reg, Removal::InUse, at(7));
    assert_eq!(copy(&generations), Sighting::at(at(7)));
    assert_eq!(newest(&generations).unwrap().sequence, two);
}

#[test]
fn what_is_retired_in_one_place_is_used_in_another() {
    let mut generations = generations(&[0]);
    let one = Sequence(1);
    generations.observe(one, &place("host:c"), Presence::Present(None), at(1));
    generations.retire(one, &only(&["reg"]), at(2));
    let is_within = |places: &[&str]| generations.newest(&only(places)).is_some();
    assert!(is_within(&["host:c"]) && is_within(&["reg", "host:c"]));
    assert!(!is_within(&["reg"]));
}
