//! Namespaces, and the store as a whole.

use super::*;

on_every_engine![
    the_first_put_makes_the_namespace,
    namespaces_are_put_got_and_listed,
    a_namespace_that_holds_images_goes_only_by_force,
    a_put_that_races_a_forced_delete_leaves_no_orphan,
    the_status_counts_what_there_is,
];

async fn the_first_put_makes_the_namespace(on: &On) {
    assert!(on.store.namespaces().get(&namespace("ns")).await.is_err());
    on.put("ns/a", "one").await;
    on.put("ns/b", "one").await;
    on.delete("ns/a").await.unwrap();
    on.delete("ns/b").await.unwrap();
    let kept = on
        .store
        .namespaces()
        .get(&namespace("ns"))
        .await
        .unwrap()
        .value;
    assert_eq!(kept.contents.images, 0);
    assert_eq!(kept.stored.record.created_at.seconds(), 1000);
}

async fn namespaces_are_put_got_and_listed(on: &On) {
    let put = async |name: &str, change, when| {
        let request = PutNamespace {
            name: namespace(name),
            change,
            dating: Dating::Changes,
            when,
            validate_only: false,
            request: None,
        };
        on.store.namespaces().put(&request).await
    };
    let labels = |value: &str| {
        Labels::try_from(BTreeMap::from([("k".to_owned(), value.to_owned())])).unwrap()
    };
    let first = put("b", relabel(labels("1")), Precondition::None)
        .await
        .unwrap();
    assert!(first.value.created);
    let same = put("b", relabel(labels("1")), Precondition::None)
        .await
        .unwrap();
    assert!(!same.value.changed && same.revision == first.revision);
    let exists = put("b", relabel(labels("2")), Precondition::MustNotExist).await;
    assert!(matches!(exists, Err(Error::Exists(Subject::Namespace(_)))));
    let stale = Precondition::Matches {
        etag: Some(Revision(1)),
        target: None,
    };
    assert!(matches!(
        put("b", relabel(labels("2")), stale).await,
        Err(Error::EtagMismatch { .. })
    ));
    on.at(2000);
    let edit = NamespaceChange::Edit(vec![NamespaceEdit::Label("l".into(), Some("2".into()))]);
    put("b", edit, Precondition::None).await.unwrap();
    let got = on
        .store
        .namespaces()
        .get(&namespace("b"))
        .await
        .unwrap()
        .value
        .stored
        .record;
    assert_eq!(
        got.labels.iter().collect::<Vec<_>>(),
        [("k", "1"), ("l", "2")]
    );
    assert_eq!(
        (got.created_at.seconds(), got.updated_at.seconds()),
        (1000, 2000)
    );

    for name in ["a", "c", "bb"] {
        put(name, relabel(Labels::default()), Precondition::None)
            .await
            .unwrap();
    }
    on.put("bb/x", "one").await;
    let mut page = PageRequest {
        size: 2,
        token: String::new(),
    };
    let first = on.store.namespaces().list("", &page).await.unwrap();
    page.token = first.next_token;
    let second = on.store.namespaces().list("", &page).await.unwrap();
    let names: Vec<_> = first
        .items
        .iter()
        .chain(&second.items)
        .map(|n| (n.stored.record.name.to_string(), n.contents.images))
        .collect();
    assert_eq!(
        names,
        [
            ("a".into(), 0),
            ("b".into(), 0),
            ("bb".into(), 1),
            ("c".into(), 0)
        ]
    );
    let under = on
        .store
        .namespaces()
        .list("b", &PageRequest::default())
        .await
        .unwrap();
    assert_eq!(under.items.len(), 2);
}

async fn a_namespace_that_holds_images_goes_only_by_force(on: &On) {
    on.put("ns/a", "one").await;
    on.put("other/a", "one").await;
    let mut delete = DeleteNamespace {
        name: namespace("ns"),
        force: false,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    let refused = on.store.namespaces().delete(&delete).await;
    assert!(matches!(refused, Err(Error::NotEmpty { contents, .. }) if contents.images == 1));
    delete.force = true;
    let gone = on.store.namespaces().delete(&delete).await.unwrap();
    assert_eq!(gone.value.contents.images, 1);
    assert!(matches!(
        on.store.namespaces().delete(&delete).await,
        Err(Error::NotFound(Subject::Namespace(_)))
    ));
    assert_eq!(on.find(&ImageQuery::all(Scope::All)).await, ["other/a"]);
    on.put("ns/b", "two").await;
    assert_eq!(
        on.find(&one("ns")).await,
        ["ns/b"],
        "what was there before does not come back"
    );
    on.delete("ns/b").await.unwrap();
    delete.force = false;
    on.store.namespaces().delete(&delete).await.unwrap();
}

async fn a_put_that_races_a_forced_delete_leaves_no_orphan(on: &On) {
    for round in 0..20 {
        on.put("ns/seed", "one").await;
        let puts = (0..8).map(|i| {
            let change = replace(&format!("{round} {i}"));
            let request = PutImage::new(name(&format!("n{i}")), change);
            async move {
                on.store
                    .images()
                    .put(&namespace("ns"), request)
                    .await
                    .map(|_| ())
            }
        });
        let delete = DeleteNamespace {
            name: namespace("ns"),
            force: true,
            when: Precondition::None,
            validate_only: false,
            request: None,
        };
        let namespaces = on.store.namespaces();
        // Whichever is polled first is queued first; the others decided on what was before it.
        let (puts, deleted) = if round % 2 == 0 {
            tokio::join!(join_all(puts), namespaces.delete(&delete))
        } else {
            let (deleted, puts) = tokio::join!(namespaces.delete(&delete), join_all(puts));
            (puts, deleted)
        };
        deleted.unwrap();
        puts.into_iter().for_each(|put| put.unwrap());
        assert_eq!(
            on.store.verify().await.unwrap().problems,
            [],
            "round {round}"
        );
    }
}

async fn the_status_counts_what_there_is(on: &On) {
    on.put("a/1", "one").await;
    on.put("a/2", "one").await;
    let put = on.put("b/1", "one").await;
    let status = on.store.status().await.unwrap();
    assert_eq!((status.namespaces, status.images, status.tables), (2, 3, 6));
    assert_eq!(
        (status.revision, status.oldest_revision),
        (put.revision, Revision(1))
    );
    assert_eq!(
        (status.schema_version, status.id, status.stopped),
        (1, StoreId([9; 16]), None)
    );
}
