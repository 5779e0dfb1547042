//! Targets with as much of everything as there may be.

use super::*;

/// A target that takes about so many times 4 KiB.
fn large(key: &str, many: usize) -> Target {
    let labels = (0..many).map(|n| (format!("{n:04}"), "x".repeat(4088)));
    let labels: BTreeMap<String, String> = labels.collect();
    let small = declared(key);
    let labels = Labels::try_from(labels).unwrap();
    Target::new(
        small.key().clone(),
        small.label().clone(),
        Default::default(),
        labels,
    )
    .unwrap()
}

fn failed(bytes: usize) -> Event {
    Event::VerifyFailed {
        error: "x".repeat(bytes),
    }
}

#[tokio::test]
async fn a_target_that_can_be_declared_and_built_can_also_fail() {
    let on = On::memory().await;
    let calls = on.store.build_targets();
    let apply = async |many| {
        calls
            .apply(&ns(), &ApplyTargets::new(vec![large("a", many)]))
            .await
    };
    let mut many = 64;
    while let Err(refused) = apply(many).await {
        assert!(matches!(refused, Error::Invalid(_)), "{refused}");
        many -= 1;
    }
    assert!(many > 40, "{many}");
    let happen = async |event| {
        let request = TransitionTarget::new(key_of("a"), event);
        calls.transition(&ns(), &request).await
    };
    let observe = async |n| {
        let observation = TargetObservation {
            target: key_of("a"),
            seen: Observation {
                location: place(&format!("{n:04000}")),
                local: Presence::Present(Some(hash("built"))),
                published: Presence::Absent,
            },
            if_etag: None,
        };
        let request = ObserveTargets::new(Mode::RegistryFirst, vec![observation]);
        calls
            .observe(&ns(), &request)
            .await
            .unwrap()
            .value
            .remove(0)
    };
    let built = Event::BuildOk {
        digest: Some(hash("built")),
        location: place(&format!("{:04000}", 0)),
    };
    happen(built).await.unwrap();
    let is_taken = |seen: &ObservedTarget| !matches!(seen.kind, ObservedKind::Refused(_));
    let mut places = 1;
    while places < 100 && is_taken(&observe(places).await) {
        places += 1;
    }
    assert!(places < 100, "there is an end");
    assert!(places > 10, "{places}");
    let request = ClaimTarget {
        location: place(&format!("{:04000}", 0)),
        ..claiming("w", &[Work::Verify])
    };
    let NextTarget::Claimed(claimed) = on.next(&request).await else {
        panic!()
    };
    on.let_go("a", token(&claimed), Some(60)).await.unwrap();
    assert!(matches!(happen(failed(4097)).await, Err(Error::Invalid(_))));
    happen(failed(4096)).await.unwrap();
    assert_eq!(on.entry("a").await.progress.state, State::Error);
    on.happen("a", EventKind::Reset).await.unwrap();
}

/// So many targets that are built on this.
fn all_on(count: usize, below: &str) -> ApplyTargets {
    let one = |n: usize| declared(&format!("t{n}<-{below}"));
    ApplyTargets::new((0..count).map(one).collect())
}

#[tokio::test]
async fn an_apply_writes_what_changes_and_no_more_than_it_says() {
    let on = On::memory().await;
    let calls = on.store.build_targets();
    let apply = async |request: &ApplyTargets| calls.apply(&ns(), request).await;
    let many = 32_800;
    apply(&all_on(many, "X")).await.unwrap();
    let first = on.entry("t1").await.revision;

    let mut one_new = all_on(many, "X");
    one_new.targets[0] = declared("t0<-Y");
    let applied = apply(&one_new).await.unwrap().value;
    assert_eq!((applied.updated, applied.unchanged as usize), (1, many - 1));
    assert_eq!(on.entry("t1").await.revision, first);

    let before = on.store.revision().await.unwrap();
    let refused = apply(&all_on(21_860, "Z")).await;
    assert!(
        matches!(refused, Err(Error::TooLarge { .. })),
        "{refused:?}"
    );
    let forgetting = |left| ApplyTargets {
        replace_all: true,
        ..all_on(left, "X")
    };
    let refused = apply(&forgetting(1)).await;
    assert!(
        matches!(refused, Err(Error::TooLarge { .. })),
        "{refused:?}"
    );
    assert_eq!(on.store.revision().await.unwrap(), before);

    let applied = apply(&all_on(21_840, "Z")).await.unwrap().value;
    assert_eq!(applied.updated, 21_840);
    let less = ApplyTargets {
        replace_all: true,
        ..all_on(many - 32_760, "Z")
    };
    assert_eq!(apply(&less).await.unwrap().value.deleted, 32_760);
}
