//! Who builds: one at a time, and another when that one dies.

use super::*;

on_every_engine![
    of_32_who_ask_at_once_one_builds_v6,
    a_builder_that_dies_is_followed_and_is_refused_afterwards,
    what_a_late_builder_is_told_does_not_depend_on_the_sweeper,
    a_claim_that_is_renewed_lasts,
    while_one_builds_the_others_use_the_old_one_until_it_expires,
    after_a_failure_nobody_builds_for_a_while,
    a_claim_that_is_given_back_is_anothers_at_once,
    another_base_makes_another_image,
    a_base_that_a_build_found_is_not_built_for_again,
    whoever_forces_a_build_waits_for_another_build_only,
    that_a_place_could_not_be_asked_drops_nothing,
    what_is_gone_is_built_again_and_not_replaced_by_what_is_older,
    an_agent_is_given_what_it_can_reach,
    dead_pins_make_room_and_live_ones_do_not,
    what_has_ended_is_swept,
];

async fn of_32_who_ask_at_once_one_builds_v6(on: &On) {
    on.put_builder(Policy::default()).await;
    let asking = (0..32).map(|n| on.ask_as(if n % 2 == 0 { "a" } else { "b" }));
    let mut answers = join_all(asking).await;
    answers.sort();
    let builds = answers
        .iter()
        .filter(|answer| *answer == "build never built");
    assert_eq!(builds.count(), 1, "{answers:?}");
    assert!(
        answers[1..]
            .iter()
            .all(|answer| answer.starts_with("busy "))
    );
}

async fn a_builder_that_dies_is_followed_and_is_refused_afterwards(on: &On) {
    on.put_builder(Policy::default()).await;
    let first = token_of(&on.ask(&acquire("a")).await);
    on.at(1009);
    assert_eq!(on.ask_as("b").await, "busy a");
    on.at(1010);
    let second = token_of(&on.ask(&acquire("b")).await);
    assert!(second > first);
    let superseded = ClaimRefused::Superseded {
        holder: holder("b"),
    };
    let before = on.store.revision().await.unwrap();
    assert_eq!(refusal(on.complete(first, "reg").await), superseded);
    assert_eq!(refusal(on.fail(first, "x").await), superseded);
    assert_eq!(refusal(on.give_back(first).await), superseded);
    assert_eq!(refusal(on.renew(first).await), superseded);
    assert_eq!(
        on.store.revision().await.unwrap(),
        before,
        "nothing is written"
    );
    assert_eq!(on.complete(second, "reg").await.unwrap(), Sequence(1));
    assert_eq!(on.ask_as("a").await, "use 1 pinned");
}

async fn what_a_late_builder_is_told_does_not_depend_on_the_sweeper(on: &On) {
    on.put_builder(Policy::default()).await;
    let token = token_of(&on.ask(&acquire("a")).await);
    on.at(1010);
    assert!(matches!(
        refusal(on.complete(token, "reg").await),
        ClaimRefused::Late { .. }
    ));
    on.at(1010 + 3600);
    assert_eq!(on.store.sweep().await.unwrap().claims, 1);
    assert_eq!(
        refusal(on.complete(token, "reg").await),
        ClaimRefused::NotHeld
    );
    assert_eq!(on.builder().await.generations, []);
}

async fn a_claim_that_is_renewed_lasts(on: &On) {
    on.put_builder(Policy::default()).await;
    let token = token_of(&on.ask(&acquire("a")).await);
    on.at(1009);
    assert_eq!(
        on.renew(token).await.unwrap(),
        Timestamp::new(1019, 7).unwrap()
    );
    on.at(1018);
    assert_eq!(on.ask_as("b").await, "busy a");
    assert!(on.renew(token).await.is_ok(), "a second before its end");
    on.at(1028);
    assert!(
        matches!(refusal(on.renew(token).await), ClaimRefused::Late { .. }),
        "at its end"
    );
    assert_eq!(on.ask_as("b").await, "build never built");
}

async fn while_one_builds_the_others_use_the_old_one_until_it_expires(on: &On) {
    on.put_builder(policy(100, Some(60))).await;
    on.build_in("reg").await;
    on.at(1059);
    assert_eq!(on.ask_as("a").await, "use 1 pinned");
    on.at(1060);
    let long = AcquireBuilder {
        ttl: ttl(1000),
        ..acquire("b")
    };
    let decision = on.ask(&long).await;
    assert_eq!(word(&decision), "build refresh due over 1");
    assert_eq!(on.ask_as("a").await, "use 1 stale pinned");
    on.at(1099);
    assert_eq!(on.ask_as("a").await, "use 1 stale pinned");
    on.at(1100);
    assert_eq!(on.ask_as("a").await, "busy b over 1 pinned");
    on.complete(token_of(&decision), "reg").await.unwrap();
    assert_eq!(on.ask_as("a").await, "use 2 pinned");
}

async fn after_a_failure_nobody_builds_for_a_while(on: &On) {
    on.put_builder(Policy::default()).await;
    let token = token_of(&on.ask(&acquire("a")).await);
    let until = on.fail(token, "exit code 1").await.unwrap();
    assert_eq!(until, Some(Timestamp::new(1010, 7).unwrap()));
    assert_eq!(on.ask_as("b").await, "busy after exit code 1");
    let builder = on.builder().await.entry;
    assert_eq!((builder.claim, builder.retry_at), (None, until));
    on.at(1010);
    let token = token_of(&on.ask(&acquire("b")).await);
    let until = on.fail(token, "exit code 2").await.unwrap();
    assert_eq!(
        until,
        Some(Timestamp::new(1030, 7).unwrap()),
        "twice as long"
    );
    assert_eq!(on.builder().await.entry.failures.unwrap().count, 2);
    on.at(1030);
    let token = token_of(&on.ask(&acquire("b")).await);
    on.complete(token, "reg").await.unwrap();
    assert_eq!(on.builder().await.entry.failures, None);
}

async fn a_claim_that_is_given_back_is_anothers_at_once(on: &On) {
    on.put_builder(Policy::default()).await;
    let first = token_of(&on.ask(&acquire("a")).await);
    on.give_back(first).await.unwrap();
    assert!(matches!(
        refusal(on.complete(first, "reg").await),
        ClaimRefused::Late { .. }
    ));
    let second = token_of(&on.ask(&acquire("b")).await);
    assert!(second > first);
}

async fn a_base_that_a_build_found_is_not_built_for_again(on: &On) {
    let tracking = Policy {
        tracks_base: true,
        ..Policy::default()
    };
    on.put_builder(tracking).await;
    let base = |text: &str| Some(*target(text).digest());
    let report = async |text| {
        let report = ReportBuilder {
            base_digest: base(text),
            ..ReportBuilder::new(key(), Vec::new())
        };
        on.store.builders().report(&ns(), &report).await.unwrap();
    };
    let complete = async |token, text| {
        let request = CompleteBuilder::new(
            key(),
            token,
            Built {
                base_digest: base(text),
                ..built("reg")
            },
        );
        on.store.builders().complete(&ns(), &request).await.unwrap();
    };
    report("one").await;
    let token = token_of(&on.ask(&acquire("a")).await);
    complete(token, "two").await;
    assert_eq!(on.builder().await.entry.base_digest, base("two"));
    assert_eq!(on.ask_as("a").await, "use 1 pinned");
    // What is told while it is built is newer.
    report("three").await;
    let token = token_of(&on.ask(&acquire("a")).await);
    report("four").await;
    complete(token, "three").await;
    assert_eq!(on.builder().await.entry.base_digest, base("four"));
    assert_eq!(on.ask_as("a").await, "build base changed over 2");
}

async fn another_base_makes_another_image(on: &On) {
    let tracking = Policy {
        tracks_base: true,
        ..Policy::default()
    };
    on.put_builder(tracking).await;
    let base = |text: &str| Some(*target(text).digest());
    let told = |text| AcquireBuilder {
        base_digest: base(text),
        ..acquire("a")
    };
    let token = token_of(&on.ask(&told("one")).await);
    let request = CompleteBuilder {
        built: Built {
            base_digest: base("one"),
            ..built("reg")
        },
        ..CompleteBuilder::new(key(), token, built("reg"))
    };
    on.store.builders().complete(&ns(), &request).await.unwrap();
    assert_eq!(on.ask_as("a").await, "use 1 pinned");
    let report = ReportBuilder {
        base_digest: base("two"),
        ..ReportBuilder::new(key(), Vec::new())
    };
    let reported = on.store.builders().report(&ns(), &report).await.unwrap();
    assert!(reported.value.changed);
    assert_eq!(on.builder().await.entry.base_digest, base("two"));
    let decision = on.ask(&acquire("a")).await;
    assert_eq!(word(&decision), "build base changed over 1");
    on.give_back(token_of(&decision)).await.unwrap();
    assert_eq!(
        word(&on.ask(&told("one")).await),
        "use 1 pinned",
        "who has just asked knows"
    );
}

async fn whoever_forces_a_build_waits_for_another_build_only(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    let force = AcquireBuilder {
        force: true,
        ..acquire("a")
    };
    let token = token_of(&on.ask(&force).await);
    on.fail(token, "x").await.unwrap();
    let token = token_of(&on.ask(&force).await);
    assert_eq!(word(&on.ask(&force).await), "busy a over 1 pinned");
    assert_eq!(on.ask_as("b").await, "use 1 pinned");
    on.complete(token, "reg").await.unwrap();
}

async fn that_a_place_could_not_be_asked_drops_nothing(on: &On) {
    let probing = Policy {
        probe: Probe::IfOlderThan(seconds(100)),
        ..Policy::default()
    };
    on.put_builder(probing).await;
    on.build_in("reg").await;
    on.at(1050);
    let unknown = on.report(vec![observed(1, "reg", Presence::Unknown)]).await;
    assert_eq!(unknown, [Effect::Kept]);
    assert_eq!(on.ask_as("a").await, "use 1 pinned");
    on.at(1100);
    let decision = on.ask(&acquire("a")).await;
    assert_eq!(word(&decision), "build unconfirmed over 1");
    assert_eq!(on.ask_as("b").await, "use 1 stale unconfirmed pinned");
    on.give_back(token_of(&decision)).await.unwrap();
    let present = on
        .report(vec![observed(1, "reg", Presence::Present(None))])
        .await;
    assert_eq!(present, [Effect::Kept]);
    assert_eq!(on.ask_as("b").await, "use 1 pinned");
}

async fn what_is_gone_is_built_again_and_not_replaced_by_what_is_older(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    on.build_in("reg").await;
    assert_eq!(on.ask_as("a").await, "use 2 pinned");
    let effects = on
        .report(vec![
            observed(2, "elsewhere", Presence::Absent),
            observed(2, "reg", Presence::Absent),
            observed(7, "reg", Presence::Absent),
        ])
        .await;
    assert_eq!(effects, [Effect::Kept, Effect::Dropped, Effect::NotFound]);
    assert_eq!(on.builder().await.pins, [], "they go with their image");
    assert_eq!(on.ask_as("a").await, "build gone over 1");
}

async fn an_agent_is_given_what_it_can_reach(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("host/a").await;
    let asking = |places| AcquireBuilder {
        reach: only(places),
        ..acquire("b")
    };
    assert_eq!(
        word(&on.ask(&asking(&["host/a", "host/b"])).await),
        "use 1 pinned"
    );
    assert_eq!(
        word(&on.ask(&asking(&["host/b"])).await),
        "build out of reach"
    );
}

async fn dead_pins_make_room_and_live_ones_do_not(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    for _ in 0..Builders::MAX_PINS {
        on.ask(&acquire("a")).await;
    }
    let full = on.store.builders().acquire(&ns(), &acquire("b")).await;
    assert!(
        matches!(full, Err(Error::BuilderFull { what: "pins", .. })),
        "{full:?}"
    );
    // What was built is not lost for that.
    let force = AcquireBuilder {
        force: true,
        ..acquire("b")
    };
    let request = CompleteBuilder {
        pin: Some(ttl(10)),
        ..CompleteBuilder::new(key(), token_of(&on.ask(&force).await), built("reg"))
    };
    let completed = on.store.builders().complete(&ns(), &request).await;
    assert_eq!(completed.unwrap().value.pin, None);
    on.at(1010);
    assert_eq!(on.ask_as("b").await, "use 2 pinned");
    assert_eq!(on.builder().await.pins.len(), 1);
    assert_eq!(on.store.sweep().await.unwrap().pins, 0, "they have gone");
}

async fn what_has_ended_is_swept(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    on.ask(&acquire("a")).await;
    let swept = on.store.sweep().await.unwrap();
    assert_eq!((swept.claims, swept.pins), (0, 0));
    on.at(1010);
    let swept = on.store.sweep().await.unwrap();
    assert_eq!((swept.claims, swept.pins), (0, 1));
    on.at(1000 + 3600);
    let swept = on.store.sweep().await.unwrap();
    assert_eq!((swept.claims, swept.pins), (1, 0));
}
