//! Builders as records.

use super::*;
use crate::domain::Contents;

on_every_engine![
    a_put_creates_a_builder_or_changes_its_policy,
    what_a_put_expects_is_checked,
    a_list_has_pages_by_base_and_recipe,
    a_builder_with_images_goes_by_force_only_and_says_which_they_were,
    whoever_builds_for_what_has_gone_is_told_so,
    one_whose_recipe_begins_anothers_is_another,
    a_namespace_with_builders_goes_by_force_only,
    what_is_only_validated_is_not_written,
    what_there_is_not_is_not_found,
];

async fn a_put_creates_a_builder_or_changes_its_policy(on: &On) {
    let put = on.put_builder(policy(100, None)).await;
    assert!(put.created && put.changed);
    assert_eq!(put.entry.revision, on.store.revision().await.unwrap());
    let again = on.put_builder(policy(100, None)).await;
    assert!(!again.created && !again.changed);
    assert_eq!(again.entry, put.entry);
    on.build_in("reg").await;
    let changed = on.put_builder(policy(200, Some(1))).await;
    assert!(!changed.created && changed.changed);
    let builder = on.builder().await;
    assert_eq!(builder.entry, changed.entry);
    assert_eq!(builder.generations.len(), 1, "they stay");
    // What is stored counts milliseconds.
    let fine = Policy {
        ages: Ages::new(Some(Duration::from_nanos(1_500_999)), None).unwrap(),
        ..Policy::default()
    };
    let put = on.put_builder(fine).await;
    assert_eq!(
        put.entry.policy.ages.max_age(),
        Some(Duration::from_millis(1))
    );
    assert!(!on.put_builder(fine).await.changed);
}

async fn what_a_put_expects_is_checked(on: &On) {
    let put = |when| {
        let request = PutBuilder {
            when,
            ..PutBuilder::new(key(), Policy::default())
        };
        async move { on.store.builders().put(&ns(), &request).await }
    };
    let of = |etag| Precondition::of_etag(Some(etag));
    let unknown = put(of(Revision(1))).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))));
    let made = put(Precondition::MustNotExist).await.unwrap().value.entry;
    let again = put(Precondition::MustNotExist).await;
    assert!(matches!(again, Err(Error::Exists(Subject::Builder(..)))));
    assert!(put(of(made.revision)).await.is_ok());
    on.build_in("reg").await;
    let stale = put(of(made.revision)).await;
    assert!(matches!(stale, Err(Error::EtagMismatch { .. })));
}

async fn a_list_has_pages_by_base_and_recipe(on: &On) {
    let keys = [
        ("alpine", ""),
        ("alpine", "r"),
        ("alpine:3", ""),
        ("debian", ""),
    ];
    for (base, recipe) in keys {
        let request = PutBuilder::new(key_of(base, recipe), Policy::default());
        on.store.builders().put(&ns(), &request).await.unwrap();
    }
    let claim = AcquireBuilder {
        key: key_of("alpine", "r"),
        ..acquire("a")
    };
    on.ask(&claim).await;
    let mut page = PageRequest {
        size: 2,
        token: String::new(),
    };
    let mut found = Vec::new();
    loop {
        let listed = on.store.builders().list(&ns(), "alpine", &page).await;
        let listed = listed.unwrap();
        found.extend(listed.items.into_iter().map(|entry| {
            let who = entry.claim.map(|claim| claim.holder.as_str().to_owned());
            (entry.key.to_string(), who)
        }));
        if listed.next_token.is_empty() {
            break;
        }
        page.token = listed.next_token;
    }
    assert_eq!(
        found,
        [
            ("alpine for linux/amd64".to_owned(), None),
            (
                "alpine for linux/amd64 by r".to_owned(),
                Some("a".to_owned())
            ),
            ("alpine:3 for linux/amd64".to_owned(), None),
        ]
    );
}

async fn a_builder_with_images_goes_by_force_only_and_says_which_they_were(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    on.ask(&acquire("a")).await;
    let builders = on.store.builders();
    let mut request = DeleteBuilder::new(key());
    let kept = builders.delete(&ns(), &request).await;
    assert!(matches!(kept, Err(Error::InUse(_))));
    request.force = true;
    request.if_etag = Some(Revision(1));
    let stale = builders.delete(&ns(), &request).await;
    assert!(matches!(stale, Err(Error::EtagMismatch { .. })));
    request.if_etag = Some(on.builder().await.entry.revision);
    let was = on.builder().await;
    assert_eq!(builders.delete(&ns(), &request).await.unwrap().value, was);
    assert_eq!((was.generations.len(), was.pins.len()), (1, 1));
    let gone = builders.get(&ns(), &key()).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
    // One that is made again begins anew.
    on.put_builder(Policy::default()).await;
    assert_eq!(on.ask_as("a").await, "build never built");
}

async fn whoever_builds_for_what_has_gone_is_told_so(on: &On) {
    on.put_builder(Policy::default()).await;
    let token = token_of(&on.ask(&acquire("a")).await);
    let mut request = DeleteBuilder::new(key());
    let kept = on.store.builders().delete(&ns(), &request).await;
    assert!(
        matches!(kept, Err(Error::InUse(_))),
        "somebody makes an image"
    );
    request.force = true;
    on.store.builders().delete(&ns(), &request).await.unwrap();
    let late = on.complete(token, "reg").await;
    assert!(matches!(late, Err(Error::NotFound(_))));
    on.put_builder(Policy::default()).await;
    assert_eq!(
        refusal(on.complete(token, "reg").await),
        ClaimRefused::NotHeld
    );
    let next = token_of(&on.ask(&acquire("b")).await);
    assert!(next > token);
}

async fn one_whose_recipe_begins_anothers_is_another(on: &On) {
    let keys = ["", "a", "ab"].map(|recipe| key_of("base", recipe));
    for key in &keys {
        let request = PutBuilder::new(key.clone(), Policy::default());
        on.store.builders().put(&ns(), &request).await.unwrap();
    }
    // Enough that a number has the byte 0, as the end of a recipe has.
    for (n, key) in keys.iter().enumerate() {
        for _ in 0..=n {
            let asked = AcquireBuilder {
                key: key.clone(),
                force: true,
                ..acquire("a")
            };
            let token = token_of(&on.ask(&asked).await);
            let request = CompleteBuilder {
                pin: Some(ttl(10)),
                ..CompleteBuilder::new(key.clone(), token, built("reg"))
            };
            on.store.builders().complete(&ns(), &request).await.unwrap();
        }
    }
    for (n, key) in keys.iter().enumerate() {
        let builder = on.store.builders().get(&ns(), key).await.unwrap().value;
        assert_eq!(
            (builder.generations.len(), builder.pins.len()),
            (n + 1, n + 1)
        );
    }
    let request = DeleteBuilder {
        force: true,
        ..DeleteBuilder::new(keys[1].clone())
    };
    on.store.builders().delete(&ns(), &request).await.unwrap();
    let left = on.store.builders().get(&ns(), &keys[2]).await.unwrap();
    assert_eq!(left.value.generations.len(), 3);
}

async fn a_namespace_with_builders_goes_by_force_only(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    let mut request = DeleteNamespace {
        name: ns(),
        force: false,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    let held = Contents {
        builders: 1,
        ..Contents::default()
    };
    let kept = on.store.namespaces().delete(&request).await;
    assert!(matches!(kept, Err(Error::NotEmpty { contents, .. }) if contents == held));
    let status = on.store.status().await.unwrap();
    assert_eq!((status.builders, status.targets), (1, 0));
    request.force = true;
    let gone = on.store.namespaces().delete(&request).await.unwrap();
    assert_eq!(gone.value.contents, held);
    let unknown = on.store.builders().acquire(&ns(), &acquire("a")).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))));
}

async fn what_is_only_validated_is_not_written(on: &On) {
    let builders = on.store.builders();
    let put = PutBuilder {
        validate_only: true,
        ..PutBuilder::new(key(), Policy::default())
    };
    let would = builders.put(&ns(), &put).await.unwrap().value;
    assert!(would.created && would.entry.revision == Revision::ZERO);
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    on.build_in("reg").await;
    let before = on.store.revision().await.unwrap();
    let asked = AcquireBuilder {
        validate_only: true,
        base_digest: Some(*target("x").digest()),
        ..acquire("a")
    };
    assert_eq!(word(&on.ask(&asked).await), "use 2");
    let forced = AcquireBuilder {
        force: true,
        ..asked
    };
    let build = on.ask(&forced).await;
    assert!(matches!(build, Acquisition::Build { claim: None, .. }));
    let prune = PruneBuilder {
        validate_only: true,
        ..PruneBuilder::new(key())
    };
    assert_eq!(on.prune(&prune).await, "2 newest, 1 remove at reg");
    let report = ReportBuilder {
        validate_only: true,
        base_digest: Some(*target("x").digest()),
        ..ReportBuilder::new(key(), vec![observed(2, "reg", Presence::Absent)])
    };
    let would = builders.report(&ns(), &report).await.unwrap().value;
    assert_eq!(
        (&would.effects[..], would.changed),
        (&[Effect::Dropped][..], true)
    );
    let confirm = ConfirmRemoved {
        validate_only: true,
        ..ConfirmRemoved::new(key(), Sequence(1), place("reg"), Removal::Removed)
    };
    let would = builders.confirm_removed(&ns(), &confirm).await.unwrap();
    assert_eq!(would.value.effect, Effect::Dropped);
    let delete = DeleteBuilder {
        validate_only: true,
        force: true,
        ..DeleteBuilder::new(key())
    };
    builders.delete(&ns(), &delete).await.unwrap();
    assert_eq!(on.store.revision().await.unwrap(), before);
    assert_eq!(on.builder().await.generations.len(), 2);
}

async fn what_there_is_not_is_not_found(on: &On) {
    let builders = on.store.builders();
    let no_builder = |answer: Result<(), Error>| {
        assert!(
            matches!(answer, Err(Error::NotFound(Subject::Builder(..)))),
            "{answer:?}"
        );
    };
    let (ns, key) = (ns(), key());
    no_builder(builders.get(&ns, &key).await.map(|_| ()));
    no_builder(builders.acquire(&ns, &acquire("a")).await.map(|_| ()));
    no_builder(on.complete(Token(1), "reg").await.map(|_| ()));
    no_builder(on.give_back(Token(1)).await);
    no_builder(on.renew(Token(1)).await.map(|_| ()));
    no_builder(builders.renew_pin(&ns, &key, PinId(1)).await.map(|_| ()));
    let prune = PruneBuilder::new(key.clone());
    no_builder(builders.prune(&ns, &prune).await.map(|_| ()));
    let report = ReportBuilder::new(key.clone(), Vec::new());
    no_builder(builders.report(&ns, &report).await.map(|_| ()));
    let confirm = ConfirmRemoved::new(key.clone(), Sequence(1), place("reg"), Removal::Removed);
    no_builder(builders.confirm_removed(&ns, &confirm).await.map(|_| ()));
    let delete = DeleteBuilder::new(key.clone());
    no_builder(builders.delete(&ns, &delete).await.map(|_| ()));
    assert!(!builders.unpin(&ns, &key, PinId(1)).await.unwrap().value);
}
