//! Putting, getting and deleting image records.

use super::*;

on_every_engine![
    what_was_put_is_got,
    created_at_survives_an_overwrite_and_updated_at_moves,
    a_put_that_changes_nothing_writes_nothing,
    a_put_of_containerds_always_writes_and_dates_the_record_as_it_says,
    a_put_that_keeps_its_times_changes_nothing_when_done_again,
    validate_only_answers_and_writes_nothing,
    preconditions_say_what_they_found,
    a_tag_is_the_whole_target_under_another_name,
    a_tag_and_a_put_of_its_source_are_never_half_seen,
    one_label_is_changed_beside_the_rest,
    an_edit_of_what_is_not_there_is_not_found,
    a_deleted_image_is_gone_from_every_lookup,
    sixty_four_writers_of_one_name_all_succeed,
    a_record_too_large_is_refused_and_nothing_changes,
];

async fn what_was_put_is_got(on: &On) {
    let put = on.put("ns/a:1", "one").await;
    assert!(put.value.changed && put.value.created);
    assert_eq!(put.value.stored.revision, put.revision);
    let got = on.get("ns/a:1").await.unwrap();
    assert_eq!(got, put.value.stored);
    assert_eq!(got.record.target, target("one"));
    assert!(matches!(
        on.get("ns/a").await,
        Err(Error::NotFound(Subject::Image(..)))
    ));
    assert!(matches!(on.get("other/a:1").await, Err(Error::NotFound(_))));
}

async fn created_at_survives_an_overwrite_and_updated_at_moves(on: &On) {
    let first = on.put("ns/a", "one").await.value.stored.record;
    on.at(2000);
    let second = on.put("ns/a", "two").await;
    assert!(second.value.changed && !second.value.created);
    let second = second.value.stored.record;
    assert_eq!(second.created_at, first.created_at);
    assert_eq!(second.updated_at.seconds(), 2000);
    assert_eq!(second.updated_at.nanos(), 7);
}

async fn a_put_that_changes_nothing_writes_nothing(on: &On) {
    let first = on.put("ns/a", "one").await;
    on.at(2000);
    let again = on.put("ns/a", "one").await;
    assert!(!again.value.changed && !again.value.created);
    assert_eq!(again.value.stored, first.value.stored);
    assert_eq!(again.revision, first.revision);
}

async fn a_put_of_containerds_always_writes_and_dates_the_record_as_it_says(on: &On) {
    let put = async |dating| {
        let put = PutImage {
            dating,
            ..PutImage::new(name("a"), replace("one"))
        };
        let put = on.store.images().put(&namespace("ns"), put).await.unwrap();
        assert!(put.value.changed);
        assert_eq!(put.value.stored.revision, put.revision);
        assert_eq!(on.get("ns/a").await.unwrap(), put.value.stored);
        let image = put.value.stored.record;
        (image.created_at.seconds(), image.updated_at.seconds())
    };
    let epoch = Dating::Writes(Some(Timestamp::new(5, 0).unwrap()));
    assert_eq!(put(Dating::Writes(None)).await, (1000, 1000));
    on.at(2000);
    assert_eq!(put(Dating::Writes(None)).await, (1000, 2000));
    assert_eq!(put(epoch).await, (1000, 5));
    assert_eq!(put(epoch).await, (1000, 5), "the same again is written too");
    assert_eq!(put(Dating::Writes(None)).await, (1000, 2000));
    let page = PageRequest::default();
    let (ns, a) = (namespace("ns"), name("a"));
    let history = on.store.images().history(&ns, &a, &page).await.unwrap();
    assert_eq!(history.items.len(), 5);
}

async fn a_put_that_keeps_its_times_changes_nothing_when_done_again(on: &On) {
    let put = async || {
        let put = PutImage {
            dating: Dating::Kept {
                created_at: Timestamp::new(3, 1).unwrap(),
                updated_at: Timestamp::new(9, 2).unwrap(),
            },
            ..PutImage::new(name("a"), replace("one"))
        };
        on.store.images().put(&namespace("ns"), put).await.unwrap()
    };
    on.put("ns/a", "one").await;
    let first = put().await;
    let image = &first.value.stored.record;
    let times = (image.created_at.seconds(), image.updated_at.nanos());
    assert_eq!((first.value.changed, times), (true, (3, 2)));
    on.at(2000);
    let again = put().await;
    assert!(!again.value.changed);
    assert_eq!(again.value.stored, first.value.stored);
}

async fn validate_only_answers_and_writes_nothing(on: &On) {
    let ns = namespace("ns");
    let put = PutImage {
        validate_only: true,
        ..PutImage::new(name("a"), replace("one"))
    };
    let would = on.store.images().put(&ns, put).await.unwrap();
    assert!(would.value.changed && would.value.created);
    assert_eq!(would.value.stored.revision, Revision::ZERO);
    assert!(on.get("ns/a").await.is_err());
    assert!(on.store.namespaces().get(&ns).await.is_err());

    on.put("ns/a", "one").await;
    let delete = DeleteImage {
        validate_only: true,
        ..DeleteImage::new(name("a"))
    };
    on.store.images().delete(&ns, &delete).await.unwrap();
    let delete = DeleteNamespace {
        name: ns.clone(),
        force: true,
        when: Precondition::None,
        validate_only: true,
        request: None,
    };
    on.store.namespaces().delete(&delete).await.unwrap();
    let change = relabel(Labels::try_from(BTreeMap::from([("k".into(), "v".into())])).unwrap());
    let put = PutNamespace {
        name: ns.clone(),
        change,
        dating: Dating::Changes,
        when: Precondition::None,
        validate_only: true,
        request: None,
    };
    on.store.namespaces().put(&put).await.unwrap();
    assert!(on.get("ns/a").await.is_ok());
    assert!(
        on.store
            .namespaces()
            .get(&ns)
            .await
            .unwrap()
            .value
            .stored
            .record
            .labels
            .is_empty()
    );
}

async fn preconditions_say_what_they_found(on: &On) {
    let ns = namespace("ns");
    let attempt = async |when: Precondition| {
        let put = PutImage {
            when,
            ..PutImage::new(name("a"), replace("two"))
        };
        on.store.images().put(&ns, put).await
    };
    let matches = |etag, target: Option<&str>| Precondition::Matches {
        etag,
        target: target.map(|content| *self::target(content).digest()),
    };
    assert!(matches!(
        attempt(matches(Some(Revision(1)), None)).await,
        Err(Error::NotFound(_))
    ));
    assert!(matches!(
        attempt(matches(None, Some("one"))).await,
        Err(Error::NotFound(_))
    ));

    let etag = on.put("ns/a", "one").await.revision;
    assert!(matches!(
        attempt(Precondition::MustNotExist).await,
        Err(Error::Exists(_))
    ));
    let stale = attempt(matches(Some(Revision(etag.0 - 1)), None)).await;
    assert!(matches!(stale, Err(Error::EtagMismatch { current, .. }) if current == etag));
    let other = attempt(matches(None, Some("three"))).await;
    assert!(
        matches!(other, Err(Error::TargetMismatch { current, .. }) if *current == *target("one").digest())
    );
    let future = attempt(matches(Some(Revision(etag.0 + 1)), None)).await;
    assert!(matches!(future, Err(Error::UnknownRevision { newest, .. }) if newest == etag));
    let half = attempt(matches(Some(etag), Some("three"))).await;
    assert!(matches!(half, Err(Error::TargetMismatch { .. })));
    assert_eq!(
        on.get("ns/a").await.unwrap().revision,
        etag,
        "nothing of that wrote"
    );

    let delete = DeleteImage {
        when: matches(Some(Revision(1)), None),
        ..DeleteImage::new(name("a"))
    };
    assert!(matches!(
        on.store.images().delete(&ns, &delete).await,
        Err(Error::EtagMismatch { .. })
    ));
    let put = attempt(matches(Some(etag), Some("one"))).await.unwrap();
    assert!(put.value.changed);
    let delete = DeleteImage {
        when: matches(Some(put.revision), Some("two")),
        ..DeleteImage::new(name("a"))
    };
    on.store.images().delete(&ns, &delete).await.unwrap();
}

async fn a_tag_is_the_whole_target_under_another_name(on: &On) {
    let ns = namespace("ns");
    let labels = |value: &str| {
        Labels::try_from(BTreeMap::from([("k".to_owned(), value.to_owned())])).unwrap()
    };
    let put = async |to: &str, target: &Descriptor, label: &str| {
        let change = ImageChange::Replace {
            target: target.clone(),
            labels: labels(label),
        };
        let put = PutImage::new(name(to), change);
        on.store.images().put(&ns, put).await.unwrap();
    };
    let tag = async |from: &str, to: &str, labels: Option<Labels>| {
        let tag = TagImage {
            from: name(from),
            name: name(to),
            labels,
            dating: Dating::Writes(None),
        };
        on.store.images().tag(&ns, tag).await
    };
    let whole = target("one")
        .with_urls(vec!["https://example.org/one".into()])
        .unwrap()
        .with_artifact_type(Some("a/chart".parse().unwrap()));
    put("a", &whole, "of a").await;
    put("c", &target("two"), "of c").await;
    on.at(2000);
    let made = tag("a", "b", None).await.unwrap().value;
    assert!(made.created);
    let made = made.stored.record;
    assert_eq!((&made.target, &made.labels), (&whole, &labels("of a")));
    assert_eq!(made.created_at.seconds(), 2000);
    let moved = tag("a", "c", Some(labels("mine"))).await.unwrap().value;
    assert!(!moved.created);
    let moved = moved.stored.record;
    assert_eq!((&moved.target, &moved.labels), (&whole, &labels("mine")));
    assert_eq!(moved.created_at.seconds(), 1000);
    let itself = tag("a", "a", Some(Labels::default())).await.unwrap().value;
    assert_eq!(itself.stored.record.target, whole);
    assert!(on.get("ns/a").await.unwrap().record.labels.is_empty());
    match tag("none", "a", None).await {
        Err(Error::NotFound(subject)) => assert_eq!(subject.name(), "none"),
        other => panic!("{other:?}"),
    }
}

async fn a_tag_and_a_put_of_its_source_are_never_half_seen(on: &On) {
    let ns = namespace("ns");
    on.put("ns/a", "one").await;
    let rounds = (0..20).map(async |i| {
        let content = i.to_string();
        let tag = TagImage {
            from: name("a"),
            name: name("b"),
            labels: None,
            dating: Dating::Changes,
        };
        let images = on.store.images();
        let (_, tagged) = futures::join!(on.put("ns/a", &content), images.tag(&ns, tag));
        let tagged = tagged.unwrap();
        // What it read is what stood when it was written.
        let source = images.get_at(&ns, &name("a"), tagged.revision).await;
        assert_eq!(
            source.unwrap().value.record.target,
            tagged.value.stored.record.target
        );
    });
    join_all(rounds).await;
}

async fn one_label_is_changed_beside_the_rest(on: &On) {
    let ns = namespace("ns");
    on.put("ns/a", "one").await;
    let edit = async |edits| {
        let request = PutImage::new(name("a"), ImageChange::Edit(edits));
        on.store
            .images()
            .put(&ns, request)
            .await
            .unwrap()
            .value
            .stored
            .record
    };
    edit(vec![ImageEdit::Label("x".into(), Some("1".into()))]).await;
    let record = edit(vec![ImageEdit::Label("y".into(), Some("2".into()))]).await;
    assert_eq!(
        record.labels.iter().collect::<Vec<_>>(),
        [("x", "1"), ("y", "2")]
    );
    let record = edit(vec![
        ImageEdit::Target(target("two")),
        ImageEdit::Label("x".into(), None),
    ])
    .await;
    assert_eq!(record.labels.iter().collect::<Vec<_>>(), [("y", "2")]);
    assert_eq!(record.target, target("two"));
}

async fn an_edit_of_what_is_not_there_is_not_found(on: &On) {
    let edit = ImageChange::Edit(vec![ImageEdit::Label("x".into(), Some("1".into()))]);
    let put = on
        .store
        .images()
        .put(&namespace("ns"), PutImage::new(name("a"), edit))
        .await;
    assert!(matches!(put, Err(Error::NotFound(_))));
    assert!(
        on.store.namespaces().get(&namespace("ns")).await.is_err(),
        "no namespace was made"
    );
    let change = NamespaceChange::Edit(vec![NamespaceEdit::Label("k".into(), Some("v".into()))]);
    let put = PutNamespace {
        name: namespace("ns"),
        change,
        dating: Dating::Changes,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    assert!(matches!(
        on.store.namespaces().put(&put).await,
        Err(Error::NotFound(_))
    ));
}

async fn a_deleted_image_is_gone_from_every_lookup(on: &On) {
    on.put("ns/a", "one").await;
    on.put("ns/b", "one").await;
    let deleted = on.delete("ns/a").await.unwrap();
    assert_eq!(deleted.value.record.name.as_str(), "a");
    assert!(on.get("ns/a").await.is_err());
    assert!(matches!(on.delete("ns/a").await, Err(Error::NotFound(_))));
    assert_eq!(on.find(&one("ns")).await, ["ns/b"]);
    let by_digest = one("ns").pointing_to(DigestQuery::Is(*target("one").digest()));
    assert_eq!(on.find(&by_digest).await, ["ns/b"]);
}

async fn sixty_four_writers_of_one_name_all_succeed(on: &On) {
    let puts = (0..64).map(|i| {
        let request = PutImage::new(name("a"), replace(&format!("content {i}")));
        async move {
            on.store
                .images()
                .put(&namespace("ns"), request)
                .await
                .unwrap()
        }
    });
    let puts = join_all(puts).await;
    let mut revisions: Vec<_> = puts.iter().map(|put| put.revision).collect();
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), 64);
    assert_eq!(puts.iter().filter(|put| put.value.created).count(), 1);
    let last = puts.iter().max_by_key(|put| put.revision).unwrap();
    assert_eq!(on.get("ns/a").await.unwrap(), last.value.stored);
}

async fn a_record_too_large_is_refused_and_nothing_changes(on: &On) {
    let ns = namespace("ns");
    let labels = |count| {
        let labels: BTreeMap<_, _> = (0..count)
            .map(|k| (format!("k{k:03}"), "v".repeat(4000)))
            .collect();
        ImageChange::Replace {
            target: target("one"),
            labels: Labels::try_from(labels).unwrap(),
        }
    };
    on.store
        .images()
        .put(&ns, PutImage::new(name("a"), labels(60)))
        .await
        .unwrap();
    let before = on.get("ns/a").await.unwrap();
    let refused = on
        .store
        .images()
        .put(&ns, PutImage::new(name("a"), labels(70)))
        .await;
    assert!(matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == "image"));
    assert_eq!(on.get("ns/a").await.unwrap(), before);
}
