//! Listing, streaming and counting.

use super::*;

on_every_engine![
    names_are_listed_in_byte_order_by_prefix,
    a_digest_finds_its_names_and_only_those,
    filters_find_what_a_look_at_each_record_finds,
    all_namespaces_are_walked_in_order,
    a_page_token_of_another_query_or_store_is_refused,
    a_page_is_at_most_a_mebibyte_and_reads_at_most_ten_thousand_rows,
    a_stream_is_one_revision_while_writes_go_on,
    too_many_long_reads_are_refused_until_one_ends,
];

async fn names_are_listed_in_byte_order_by_prefix(on: &On) {
    for name in [
        "foo",
        "docker.io/library/a:3",
        "docker.io/library/a:10",
        "bar",
        "a-b_c",
        "Zed",
        "10x",
        "é",
    ] {
        on.put(&format!("ns/{name}"), name).await;
    }
    let all = [
        "10x",
        "Zed",
        "a-b_c",
        "bar",
        "docker.io/library/a:10",
        "docker.io/library/a:3",
        "foo",
        "é",
    ];
    assert_eq!(
        on.find(&one("ns")).await,
        all.map(|name| format!("ns/{name}"))
    );
    let under = one("ns").under("docker.io/library/a:");
    assert_eq!(
        on.find(&under).await,
        ["ns/docker.io/library/a:10", "ns/docker.io/library/a:3"]
    );
    let nothing = one("ns").under("docker.io/x");
    assert_eq!(on.find(&nothing).await, [""; 0]);
    assert_eq!(on.find(&one("none")).await, [""; 0]);
}

async fn a_digest_finds_its_names_and_only_those(on: &On) {
    for i in 0..20 {
        on.put(&format!("ns/n{i:02}"), &format!("content {}", i % 5))
            .await;
        on.put(&format!("other/n{i:02}"), &format!("content {}", i % 5))
            .await;
    }
    on.put("ns/n00", "content 4").await;
    let digest = *target("content 4").digest();
    let is = one("ns").pointing_to(DigestQuery::Is(digest));
    assert_eq!(
        on.find(&is).await,
        ["ns/n00", "ns/n04", "ns/n09", "ns/n14", "ns/n19"]
    );
    let under = is.clone().under("n1");
    assert_eq!(on.find(&under).await, ["ns/n14", "ns/n19"]);
    let filtered = is
        .clone()
        .filtered(vec!["name!=n04".into()], Dialect::Native)
        .unwrap();
    assert_eq!(
        on.find(&filtered).await,
        ["ns/n00", "ns/n09", "ns/n14", "ns/n19"]
    );
    for prefix in [
        digest.hex()[..6].to_owned(),
        format!("sha256:{}", &digest.hex()[..7]),
    ] {
        let starts = DigestQuery::StartsWith(prefix.parse().unwrap());
        let query = one("ns").pointing_to(starts);
        assert_eq!(on.find(&query).await.len(), 5, "{prefix}");
        let under = query.under("n1");
        assert_eq!(on.find(&under).await, ["ns/n14", "ns/n19"]);
    }
}

async fn filters_find_what_a_look_at_each_record_finds(on: &On) {
    for i in 0..30 {
        on.at(1000 + i);
        on.put(&format!("ns/repo{}:{i}", i % 3), &"x".repeat(i as usize))
            .await;
    }
    let ask = async |filters: &[&str]| {
        let filters = filters.iter().map(|f| (*f).to_owned()).collect();
        on.find(&one("ns").filtered(filters, Dialect::Native).unwrap())
            .await
    };
    assert_eq!(ask(&["name==\"repo1:4\""]).await, ["ns/repo1:4"]);
    assert_eq!(
        ask(&["name==repo1:4", "name==repo0:3"]).await,
        ["ns/repo0:3", "ns/repo1:4"]
    );
    assert_eq!(ask(&["name~=^repo2:"]).await.len(), 10);
    assert_eq!(
        ask(&["target.size>25,name~=^repo2:"]).await,
        ["ns/repo2:26", "ns/repo2:29"]
    );
    assert_eq!(
        ask(&["created_at>=1970-01-01T00:17:08Z"]).await.len(),
        2,
        "1970 plus 1,028 seconds"
    );
    assert_eq!(ask(&["labels.none"]).await, [""; 0]);
    assert_eq!(ask(&["!labels.none"]).await.len(), 30);
    let digest = target("xxx").digest().text();
    assert_eq!(
        ask(&[&format!("target.digest=={digest}")]).await,
        ["ns/repo0:3"]
    );
    assert_eq!(ask(&["target.digest==sha256:none"]).await, [""; 0]);
    assert_eq!(
        ask(&[&format!("target.digest~=^{}", &digest[..15])]).await,
        ["ns/repo0:3"]
    );
}

async fn all_namespaces_are_walked_in_order(on: &On) {
    for place in ["b/2", "a/1", "c/9", "a.a/5", "a/3", "b/1"] {
        on.put(place, "one").await;
    }
    on.store
        .namespaces()
        .put(&PutNamespace {
            name: namespace("empty"),
            change: NamespaceChange::Replace(Labels::default()),
            when: Precondition::None,
            validate_only: false,
        })
        .await
        .unwrap();
    let all = ImageQuery::all(Scope::All);
    assert_eq!(
        on.find(&all).await,
        ["a/1", "a/3", "a.a/5", "b/1", "b/2", "c/9"]
    );
    let by_digest = all
        .clone()
        .pointing_to(DigestQuery::Is(*target("one").digest()));
    assert_eq!(on.find(&by_digest).await.len(), 6);
    let ones = all
        .filtered(vec!["name==1".into()], Dialect::Native)
        .unwrap();
    assert_eq!(on.find(&ones).await, ["a/1", "b/1"]);
}

async fn a_page_token_of_another_query_or_store_is_refused(on: &On) {
    for i in 0..5 {
        on.put(&format!("ns/{i}"), "one").await;
    }
    let page = PageRequest {
        size: 2,
        token: String::new(),
    };
    let token = on
        .store
        .images()
        .list(&one("ns"), &page)
        .await
        .unwrap()
        .next_token;
    let with = |token: String| PageRequest { size: 2, token };
    let refused = async |query: &ImageQuery, token: String| match on
        .store
        .images()
        .list(query, &with(token))
        .await
    {
        Err(Error::Invalid(invalid)) => assert_eq!(invalid.field(), "page_token"),
        other => panic!("{other:?}"),
    };
    refused(&one("other"), token.clone()).await;
    refused(&one("ns").under("1"), token.clone()).await;
    refused(&one("ns"), token[..token.len() - 1].to_owned()).await;
    refused(&one("ns"), "xyz".into()).await;
    let other_store = format!("{}AAAA{}", &token[..4], &token[8..]);
    refused(&one("ns"), other_store).await;
    assert_eq!(
        on.store
            .images()
            .list(&one("ns"), &with(token))
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    let namespaces = on.store.namespaces().list("", &with("AQAA".into())).await;
    assert!(matches!(namespaces, Err(Error::Invalid(_))));
}

async fn a_page_is_at_most_a_mebibyte_and_reads_at_most_ten_thousand_rows(on: &On) {
    let ns = namespace("ns");
    // Ten records of 200 KiB, made of labels.
    for i in 0..10 {
        let labels: BTreeMap<_, _> = (0..50)
            .map(|k| (format!("k{k}"), "v".repeat(4000)))
            .collect();
        let change = ImageChange::Replace {
            target: target("one"),
            labels: Labels::try_from(labels).unwrap(),
        };
        on.store
            .images()
            .put(&ns, PutImage::new(name(&format!("big{i}")), change))
            .await
            .unwrap();
    }
    let page = on
        .store
        .images()
        .list(&one("ns"), &PageRequest::default())
        .await
        .unwrap();
    assert_eq!(page.items.len(), 5);
    assert!(!page.next_token.is_empty());
    assert_eq!(on.find(&one("ns")).await.len(), 10);

    // Straight into the engine: what counts is the reading.
    let mut batch = Batch::new(0);
    for i in 0..10_050 {
        let name = name(&format!("small{i:05}"));
        let image = Image {
            name: name.clone(),
            target: target("one"),
            labels: Labels::default(),
            created_at: on.store.now(),
            updated_at: on.store.now(),
        };
        batch.put(
            schema::image_key(&ns, &name),
            wire::encode_image(&image).unwrap(),
        );
        batch.put(schema::digest_key(&ns, image.target.digest(), &name), "");
    }
    on.store.inner.kv.commit(batch).await.unwrap();
    let rare = one("ns")
        .filtered(vec!["name~=9$,name~=small1004".into()], Dialect::Native)
        .unwrap();
    let page = on
        .store
        .images()
        .list(&rare, &PageRequest::default())
        .await
        .unwrap();
    assert!(
        page.items.is_empty() && !page.next_token.is_empty(),
        "a short page is not the end"
    );
    assert_eq!(on.find(&rare).await, ["ns/small10049"]);
}

async fn a_stream_is_one_revision_while_writes_go_on(on: &On) {
    for i in 0..2500 {
        on.put(&format!("ns/{i:04}"), "one").await;
    }
    let mut stream = on.store.images().stream(one("ns")).await.unwrap();
    on.put("ns/zzz", "late").await;
    for i in 0..100 {
        on.delete(&format!("ns/{i:04}")).await.unwrap();
    }
    let mut seen = 0;
    let mut revisions = std::collections::BTreeSet::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        revisions.insert(chunk.revision);
        seen += chunk.images.len();
    }
    assert_eq!((seen, revisions.len()), (2500, 1));
}

async fn too_many_long_reads_are_refused_until_one_ends(on: &On) {
    on.put("ns/a", "one").await;
    let mut streams = Vec::new();
    for _ in 0..MAX_LONG_READS {
        // Held back by a chunk that nobody reads, and the end behind it.
        streams.push(
            on.store
                .inner
                .long_reads
                .clone()
                .try_acquire_owned()
                .unwrap(),
        );
    }
    let refused = on.store.images().stream(one("ns")).await;
    assert!(matches!(
        refused,
        Err(Error::TooManySnapshots {
            limit: MAX_LONG_READS
        })
    ));
    streams.pop();
    assert!(on.store.images().stream(one("ns")).await.is_ok());
}
