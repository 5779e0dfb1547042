//! Writes that are done together, and writes that are sent again.

use super::*;

on_every_engine![
    an_apply_does_all_at_one_revision,
    an_apply_that_fails_in_one_item_says_which_and_does_nothing,
    an_apply_refuses_none_too_many_and_a_name_twice,
    an_apply_that_is_only_validated_answers_and_writes_nothing,
    sixty_four_applies_to_the_same_names_all_succeed_and_none_is_seen_in_half,
    a_retry_gets_the_first_answer_and_writes_nothing,
    a_retry_of_what_changed_nothing_gets_the_first_answer_too,
    an_id_of_another_request_is_refused,
    what_failed_is_not_remembered,
    answers_are_kept_for_a_day_at_least_and_dropped_after_two,
    an_answer_counts_also_when_the_clock_is_set_back_over_midnight,
    a_batch_that_reads_or_answers_too_much_is_refused_before_anything_is_written,
    the_same_request_sent_many_times_at_once_is_done_once,
];

fn put(called: &str, content: &str) -> ImageWrite {
    ImageWrite {
        name: name(called),
        act: Act::Put(replace(content), Dating::Changes),
        when: Precondition::None,
    }
}

fn delete(called: &str, allow_missing: bool) -> ImageWrite {
    ImageWrite {
        name: name(called),
        act: Act::Delete { allow_missing },
        when: Precondition::None,
    }
}

async fn apply(on: &On, writes: Vec<ImageWrite>) -> Result<At<Vec<Applied>>, Error> {
    let request = ApplyImages::new(writes)?;
    on.store.images().apply(&namespace("ns"), &request).await
}

fn once(id: &str, asked: &str) -> Option<RequestId> {
    Some(RequestId::new(id, asked.as_bytes()).unwrap())
}

async fn an_apply_does_all_at_one_revision(on: &On) {
    let before = on.put("ns/a", "one").await;
    on.put("ns/b", "one").await;
    let applied = apply(
        on,
        vec![
            put("a", "two"),
            delete("b", false),
            put("c", "three"),
            delete("d", true),
        ],
    )
    .await
    .unwrap();
    assert_eq!(applied.revision.0, before.revision.0 + 2);
    let [a, b, c, d] = &applied.value[..] else {
        panic!("one result an item");
    };
    assert!(a.changed && !a.created && c.created && b.changed);
    assert_eq!(a.stored.as_ref().unwrap().revision, applied.revision);
    assert_eq!(b.stored.as_ref().unwrap().record.target, target("one"));
    assert!(!d.changed && d.stored.is_none());
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("two"));
    assert!(on.get("ns/b").await.is_err());
    assert_eq!(on.get("ns/c").await.unwrap().revision, applied.revision);
}

async fn an_apply_that_fails_in_one_item_says_which_and_does_nothing(on: &On) {
    let stored = on.put("ns/a", "one").await.value.stored;
    let must_not_exist = ImageWrite {
        when: Precondition::MustNotExist,
        ..put("a", "two")
    };
    let refused = apply(on, vec![put("b", "x"), must_not_exist]).await;
    let Err(Error::Item { index: 1, cause }) = refused else {
        panic!("{refused:?}");
    };
    assert!(matches!(*cause, Error::Exists(_)));
    let refused = apply(on, vec![delete("c", false), put("b", "x")]).await;
    assert!(matches!(refused, Err(Error::Item { index: 0, .. })));
    assert_eq!(on.get("ns/a").await.unwrap(), stored);
    assert!(on.get("ns/b").await.is_err());
}

async fn an_apply_refuses_none_too_many_and_a_name_twice(on: &On) {
    let field = |refused: Result<_, Error>| match refused {
        Err(Error::Invalid(invalid)) => invalid.field().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(field(apply(on, vec![]).await), "items");
    let many: Vec<_> = (0..=1000).map(|i| put(&i.to_string(), "x")).collect();
    assert_eq!(field(apply(on, many.clone()).await), "items");
    let twice = vec![put("a", "x"), put("b", "x"), delete("a", true)];
    assert_eq!(field(apply(on, twice).await), "items[2]");
    let most = apply(on, many[..1000].to_vec()).await.unwrap();
    assert_eq!(most.value.len(), 1000);
    let gone = (0..1000).map(|i| delete(&i.to_string(), false)).collect();
    apply(on, gone).await.unwrap();
}

async fn an_apply_that_is_only_validated_answers_and_writes_nothing(on: &On) {
    let mut request = ApplyImages::new(vec![put("a", "one"), put("b", "two")]).unwrap();
    request.validate_only = true;
    request.request = once("id", "x");
    let images = on.store.images();
    let ns = namespace("ns");
    let would = images.apply(&ns, &request).await.unwrap();
    assert!(would.value.iter().all(|applied| applied.created));
    assert!(on.get("ns/a").await.is_err());
    request.validate_only = false;
    let done = images.apply(&ns, &request).await.unwrap();
    assert_ne!(done.revision, would.revision, "a trial is no answer");
}

async fn sixty_four_applies_to_the_same_names_all_succeed_and_none_is_seen_in_half(on: &On) {
    let writers = (0..64).map(|i| {
        let store = on.store.clone();
        tokio::spawn(async move {
            let content = i.to_string();
            let mut writes = vec![put("a", &content), put("b", &content), put("c", &content)];
            writes.rotate_left(i % 3);
            let request = ApplyImages::new(writes).unwrap();
            store
                .images()
                .apply(&namespace("ns"), &request)
                .await
                .map(|done| done.revision)
        })
    });
    let reader = {
        let store = on.store.clone();
        tokio::spawn(async move {
            let images = store.images();
            for _ in 0..50 {
                let page = images
                    .list(&one("ns"), &PageRequest::default())
                    .await
                    .unwrap();
                let revisions: Vec<_> = page.items.iter().map(|stored| stored.revision).collect();
                assert!(
                    revisions.windows(2).all(|pair| pair[0] == pair[1]),
                    "{revisions:?}"
                );
                tokio::task::yield_now().await;
            }
        })
    };
    let mut revisions = std::collections::BTreeSet::new();
    for done in join_all(writers).await {
        revisions.insert(done.unwrap().unwrap());
    }
    assert_eq!(revisions.len(), 64);
    reader.await.unwrap();
}

async fn a_retry_gets_the_first_answer_and_writes_nothing(on: &On) {
    let ns = namespace("ns");
    let images = on.store.images();
    let request = PutImage {
        request: once("r1", "put one"),
        ..PutImage::new(name("a"), replace("one"))
    };
    let first = images.put(&ns, request.clone()).await.unwrap();
    on.put("ns/a", "two").await;
    let newest = on.put("ns/b", "x").await.revision;
    on.at(1000 + 3600);
    assert_eq!(images.put(&ns, request).await.unwrap(), first);
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("two"));

    let remove = DeleteImage {
        request: once("r2", "delete"),
        ..DeleteImage::new(name("a"))
    };
    let removed = images.delete(&ns, &remove).await.unwrap();
    assert!(removed.revision > newest);
    assert_eq!(images.delete(&ns, &remove).await.unwrap(), removed);

    let mut both =
        ApplyImages::new(vec![put("c", "x"), delete("b", false), delete("d", true)]).unwrap();
    both.request = once("r3", "apply");
    let applied = images.apply(&ns, &both).await.unwrap();
    assert_eq!(images.apply(&ns, &both).await.unwrap(), applied);

    let back = RollbackImage {
        request: once("r4", "rollback"),
        ..RollbackImage::new(name("a"))
    };
    let rolled = images.rollback(&ns, back.clone()).await.unwrap();
    assert_eq!(images.rollback(&ns, back).await.unwrap(), rolled);

    let made = PutNamespace {
        name: namespace("made"),
        change: NamespaceChange::Edit(vec![]),
        dating: Dating::Changes,
        when: Precondition::None,
        validate_only: false,
        request: once("r5", "ns"),
    };
    let made = PutNamespace {
        dating: Dating::Changes,
        change: NamespaceChange::Replace {
            labels: Labels::default(),
            history_limit: None,
        },
        ..made
    };
    let namespaces = on.store.namespaces();
    let put = namespaces.put(&made).await.unwrap();
    assert!(put.value.created);
    assert_eq!(namespaces.put(&made).await.unwrap(), put);
    let gone = DeleteNamespace {
        name: namespace("made"),
        force: false,
        when: Precondition::None,
        validate_only: false,
        request: once("r6", "ns gone"),
    };
    let deleted = namespaces.delete(&gone).await.unwrap();
    assert_eq!(namespaces.delete(&gone).await.unwrap(), deleted);
}

async fn a_retry_of_what_changed_nothing_gets_the_first_answer_too(on: &On) {
    let ns = namespace("ns");
    on.put("ns/a", "one").await;
    let request = PutImage {
        request: once("r1", "put one"),
        ..PutImage::new(name("a"), replace("one"))
    };
    let images = on.store.images();
    let first = images.put(&ns, request.clone()).await.unwrap();
    assert!(!first.value.changed);
    on.put("ns/a", "two").await;
    assert_eq!(images.put(&ns, request).await.unwrap(), first);
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("two"));
}

async fn an_id_of_another_request_is_refused(on: &On) {
    let ns = namespace("ns");
    let images = on.store.images();
    let with = |content: &str, asked: &str| PutImage {
        request: once("r1", asked),
        ..PutImage::new(name("a"), replace(content))
    };
    images.put(&ns, with("one", "put one")).await.unwrap();
    let other = images.put(&ns, with("two", "put two")).await;
    assert!(matches!(other, Err(Error::Invalid(invalid)) if invalid.field() == "request_id"));
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("one"));
    for bad in ["", "a b", "é", &"x".repeat(129)] {
        assert_eq!(RequestId::new(bad, b"").unwrap_err().field(), "request_id");
    }
}

async fn what_failed_is_not_remembered(on: &On) {
    let ns = namespace("ns");
    let images = on.store.images();
    let request = DeleteImage {
        request: once("r1", "delete"),
        ..DeleteImage::new(name("a"))
    };
    let missing = images.delete(&ns, &request).await;
    assert!(matches!(missing, Err(Error::NotFound(_))));
    on.put("ns/a", "one").await;
    images.delete(&ns, &request).await.unwrap();
}

async fn answers_are_kept_for_a_day_at_least_and_dropped_after_two(on: &On) {
    const DAY: i64 = 24 * 3600;
    let ns = namespace("ns");
    let images = on.store.images();
    let request = PutImage {
        request: once("r1", "put one"),
        ..PutImage::new(name("a"), replace("one"))
    };
    on.at(10 * DAY + DAY - 1);
    let first = images.put(&ns, request.clone()).await.unwrap();
    on.put("ns/a", "two").await;
    on.at(11 * DAY + DAY - 1);
    assert_eq!(on.store.sweep().await.unwrap(), Swept::default());
    assert_eq!(images.put(&ns, request.clone()).await.unwrap(), first);
    on.at(12 * DAY);
    assert_eq!(on.store.sweep().await.unwrap().days, 1);
    let again = images.put(&ns, request).await.unwrap();
    assert!(again.value.changed && again.revision > first.revision);
}

async fn an_answer_counts_also_when_the_clock_is_set_back_over_midnight(on: &On) {
    const DAY: i64 = 24 * 3600;
    let ns = namespace("ns");
    let images = on.store.images();
    let request = PutImage {
        request: once("r1", "put one"),
        ..PutImage::new(name("a"), replace("one"))
    };
    on.at(10 * DAY + 1);
    let first = images.put(&ns, request.clone()).await.unwrap();
    on.put("ns/a", "two").await;
    on.at(10 * DAY - 60);
    assert_eq!(images.put(&ns, request).await.unwrap(), first);
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("two"));
}

async fn a_batch_that_reads_or_answers_too_much_is_refused_before_anything_is_written(on: &On) {
    let ns = namespace("ns");
    let images = on.store.images();
    for i in 0..100 {
        images.put(&ns, heavy(&format!("n{i}"))).await.unwrap();
    }
    for many in [20, 100] {
        let writes = (0..many).map(|i| delete(&format!("n{i}"), false)).collect();
        let refused = apply(on, writes).await;
        assert!(
            matches!(
                refused,
                Err(Error::TooLarge { .. } | Error::ReadsTooMuch { .. })
            ),
            "{many}: {refused:?}"
        );
    }
    assert_eq!(images.count(&one("ns")).await.unwrap().value, 100);
    apply(
        on,
        (0..10).map(|i| delete(&format!("n{i}"), false)).collect(),
    )
    .await
    .unwrap();
}

async fn the_same_request_sent_many_times_at_once_is_done_once(on: &On) {
    let sent = (0..16).map(|_| {
        let store = on.store.clone();
        tokio::spawn(async move {
            let edit = ImageWrite {
                act: Act::Put(replace("one"), Dating::Changes),
                when: Precondition::MustNotExist,
                name: name("a"),
            };
            let mut request = ApplyImages::new(vec![edit]).unwrap();
            request.request = once("r1", "apply");
            store
                .images()
                .apply(&namespace("ns"), &request)
                .await
                .unwrap()
        })
    });
    let answers: Vec<_> = join_all(sent)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert_eq!(on.get("ns/a").await.unwrap().revision, answers[0].revision);
}

/// An answer that is remembered takes space too.
#[tokio::test]
async fn a_put_that_changes_nothing_is_no_way_past_a_full_disk_under_an_id_either() {
    let ns = namespace("ns");
    let dir = tempfile::tempdir().unwrap();
    let on = On::kv(
        Arc::new(Redb::open(dir.path(), Options::default()).unwrap()),
        None,
    )
    .await;
    on.put("ns/a", "one").await;
    on.store.close().await;
    drop(on);
    let full = Options {
        min_free_bytes: u64::MAX,
        ..Options::default()
    };
    let on = On::kv(Arc::new(Redb::open(dir.path(), full).unwrap()), None).await;
    let before = on.store.status().await.unwrap().revision;
    let images = on.store.images();
    let same = PutImage::new(name("a"), replace("one"));
    let remembered = PutImage {
        request: once("r1", "put one"),
        ..same.clone()
    };
    let refused = images.put(&ns, remembered).await;
    assert!(
        matches!(refused, Err(Error::DiskFull { .. })),
        "{refused:?}"
    );
    assert_eq!(on.store.status().await.unwrap().revision, before);
    assert!(!images.put(&ns, same).await.unwrap().value.changed);
    let removal = DeleteImage {
        request: once("r2", "delete"),
        ..DeleteImage::new(name("a"))
    };
    let removed = images.delete(&ns, &removal).await.unwrap();
    assert_eq!(images.delete(&ns, &removal).await.unwrap(), removed);
    on.must_be_sound().await;
}
