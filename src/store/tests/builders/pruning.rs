//! Which images may go, and what becomes of those that do.

use super::*;

on_every_engine![
    the_newest_and_what_somebody_uses_stays,
    what_may_go_is_given_to_nobody_and_named_until_it_has_gone,
    what_is_pruned_in_one_place_is_used_in_another,
    where_the_newer_ones_are_lost_the_last_one_stays,
    a_prune_keeps_what_it_is_told_to,
    what_was_removed_goes_and_what_is_in_use_comes_back,
    the_last_image_of_what_nobody_builds_any_more_is_named_when_it_is_forgotten_v13,
];

fn within(places: &[&str]) -> PruneBuilder {
    PruneBuilder {
        reach: only(places),
        ..PruneBuilder::new(key())
    }
}

async fn the_newest_and_what_somebody_uses_stays(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    let pin = pin_of(&on.ask(&acquire("a")).await).unwrap();
    on.build_in("reg").await;
    let prune = PruneBuilder::new(key());
    assert_eq!(on.prune(&prune).await, "2 newest, 1 pinned by a");
    on.at(1009);
    let builders = on.store.builders();
    builders.renew_pin(&ns(), &key(), pin).await.unwrap();
    on.at(1018);
    assert_eq!(on.prune(&prune).await, "2 newest, 1 pinned by a");
    on.at(1019);
    let late = builders.renew_pin(&ns(), &key(), pin).await;
    assert_eq!(refusal(late), ClaimRefused::PinEnded);
    assert_eq!(on.prune(&prune).await, "2 newest, 1 remove at reg");
    assert!(builders.unpin(&ns(), &key(), pin).await.unwrap().value);
    assert!(!builders.unpin(&ns(), &key(), pin).await.unwrap().value);
}

async fn what_may_go_is_given_to_nobody_and_named_until_it_has_gone(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    on.build_in("reg").await;
    let prune = PruneBuilder::new(key());
    for _ in 0..2 {
        assert_eq!(on.prune(&prune).await, "2 newest, 1 remove at reg");
    }
    let again = on.store.builders().prune(&ns(), &prune).await.unwrap();
    assert!(!again.value.changed);
    // Seen or not: whoever removes it may be at it.
    on.report(vec![observed(1, "reg", Presence::Present(None))])
        .await;
    on.report(vec![observed(2, "reg", Presence::Absent)]).await;
    assert_eq!(on.ask_as("a").await, "build gone");
}

async fn what_is_pruned_in_one_place_is_used_in_another(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("host/a").await;
    on.report(vec![observed(1, "host/c", Presence::Present(None))])
        .await;
    on.build_in("host/a").await;
    assert_eq!(
        on.prune(&within(&["host/a"])).await,
        "2 newest, 1 remove at host/a"
    );
    let at_c = AcquireBuilder {
        reach: only(&["host/c"]),
        ..acquire("c")
    };
    assert_eq!(word(&on.ask(&at_c).await), "use 1 pinned");
    assert_eq!(
        on.confirm(1, "host/a", Removal::Removed).await,
        Effect::CopyGone
    );
    assert_eq!(word(&on.ask(&at_c).await), "use 1 pinned");
    // It is the newest that C has.
    assert_eq!(on.prune(&within(&["host/c"])).await, "1 newest");
}

async fn where_the_newer_ones_are_lost_the_last_one_stays(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    on.build_in("reg").await;
    let prune = PruneBuilder::new(key());
    assert_eq!(on.prune(&prune).await, "2 newest, 1 remove at reg");
    on.report(vec![observed(2, "reg", Presence::Absent)]).await;
    assert_eq!(on.prune(&prune).await, "1 newest");
    on.build_in("reg").await;
    assert_eq!(on.prune(&prune).await, "3 newest, 1 remove at reg");
}

async fn a_prune_keeps_what_it_is_told_to(on: &On) {
    let keeping = Policy {
        keep_last: 2.try_into().unwrap(),
        ..Policy::default()
    };
    on.put_builder(keeping).await;
    for n in 0..4 {
        on.at(1000 + 10 * n);
        on.build_in("reg").await;
    }
    let mut prune = PruneBuilder {
        older_than: Some(seconds(30)),
        validate_only: true,
        ..PruneBuilder::new(key())
    };
    assert_eq!(
        on.prune(&prune).await,
        "4 newest, 3 keep last, 2 too young, 1 remove at reg"
    );
    prune.keep_last = Some(1.try_into().unwrap());
    prune.older_than = None;
    prune.in_use = [Sequence(2)].into();
    assert_eq!(
        on.prune(&prune).await,
        "4 newest, 3 remove at reg, 2 in use, 1 remove at reg"
    );
}

async fn what_was_removed_goes_and_what_is_in_use_comes_back(on: &On) {
    on.put_builder(Policy::default()).await;
    for _ in 0..5 {
        on.build_in("reg").await;
    }
    let prune = PruneBuilder::new(key());
    on.prune(&prune).await;
    for (generation, removal, effect) in [
        (1, Removal::Removed, Effect::Dropped),
        (2, Removal::NotFound, Effect::Dropped),
        (3, Removal::InUse, Effect::Kept),
        (4, Removal::Failed, Effect::Kept),
        (1, Removal::Removed, Effect::NotFound),
        (1, Removal::InUse, Effect::NotFound),
        (1, Removal::Failed, Effect::NotFound),
    ] {
        assert_eq!(on.confirm(generation, "reg", removal).await, effect);
    }
    let retired = |generation: &crate::domain::build::Generation| {
        let copies = generation.copies.values();
        copies.filter(|copy| copy.retired_at.is_some()).count()
    };
    let generations = on.builder().await.generations;
    let told: Vec<_> = generations
        .iter()
        .map(|generation| (generation.sequence.0, retired(generation)))
        .collect();
    assert_eq!(told, [(3, 0), (4, 1), (5, 0)]);
    let asked = PruneBuilder {
        validate_only: true,
        ..prune
    };
    assert_eq!(
        on.prune(&asked).await,
        "5 newest, 4 remove at reg, 3 remove at reg"
    );
}

async fn the_last_image_of_what_nobody_builds_any_more_is_named_when_it_is_forgotten_v13(on: &On) {
    // vieter kept the newest for ever, and removed nothing while no job ended.
    on.put_builder(policy(60, None)).await;
    on.build_in("reg").await;
    on.build_in("reg").await;
    on.at(1_000_000);
    let prune = PruneBuilder::new(key());
    assert_eq!(on.prune(&prune).await, "2 newest, 1 remove at reg");
    on.confirm(1, "reg", Removal::Removed).await;
    assert_eq!(on.prune(&prune).await, "2 newest");
    let let_go = DeleteBuilder {
        force: true,
        ..DeleteBuilder::new(key())
    };
    let was = on.store.builders().delete(&ns(), &let_go).await.unwrap();
    let left = was.value.generations.iter().map(|left| {
        let places = left.copies.keys().cloned();
        (left.sequence, places.collect::<Vec<_>>())
    });
    assert_eq!(
        left.collect::<Vec<_>>(),
        [(Sequence(2), vec![place("reg")])]
    );
    assert!(on.wrongs().await.is_empty());
}
