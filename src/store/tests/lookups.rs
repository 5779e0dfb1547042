//! Listing, streaming and counting.

use super::watched::Watched;
use super::*;

on_every_engine![
    names_are_listed_in_byte_order_by_prefix,
    a_digest_finds_its_names_and_only_those,
    filters_find_what_a_look_at_each_record_finds,
    filters_reach_every_field_of_a_record,
    all_namespaces_are_walked_in_order,
    a_page_token_of_another_query_or_store_is_refused,
    a_page_is_at_most_a_mebibyte_and_reads_at_most_ten_thousand_rows,
    a_stream_is_one_revision_while_writes_go_on,
    too_many_long_reads_are_refused_until_one_ends,
    a_walk_over_names_and_digests_comes_by_each_image_once,
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

async fn filters_reach_every_field_of_a_record(on: &On) {
    let ns = namespace("ns");
    let put = async |image: &str, target: Descriptor, label: &str| {
        let labels = BTreeMap::from([("a.b/stage".to_owned(), label.to_owned())]);
        let change = ImageChange::Replace {
            target,
            labels: Labels::try_from(labels).unwrap(),
        };
        let request = PutImage::new(name(image), change);
        on.store.images().put(&ns, request).await.unwrap();
    };
    let described = |media_type: &str, artifact_type: Option<&str>, annotation: &str| {
        let plain = target("x");
        Descriptor::new(media_type.parse().unwrap(), *plain.digest(), plain.size())
            .with_artifact_type(artifact_type.map(|of| of.parse().unwrap()))
            .with_annotations(BTreeMap::from([("x.y/note".to_owned(), annotation.into())]))
            .unwrap()
    };
    put("index", described("m/index", None, "first"), "prod").await;
    on.at(2000);
    put(
        "chart",
        described("m/manifest", Some("a/chart"), "second"),
        "test",
    )
    .await;
    on.at(3000);
    put("plain", target("y"), "test").await;
    put("index", described("m/index", None, "third"), "prod").await;

    let ask = async |filter: &str| {
        let query = one("ns").filtered(vec![filter.to_owned()], Dialect::Native);
        on.find(&query.unwrap()).await
    };
    let (index, chart, plain) = ("ns/index", "ns/chart", "ns/plain");
    let cases: [(&str, &[&str]); 19] = [
        ("target.mediatype==m/index", &[index]),
        ("target.mediatype!=m/index", &[chart, plain]),
        ("target.mediatype~=^m/", &[chart, index]),
        ("target.artifacttype==a/chart", &[chart]),
        ("target.artifacttype", &[chart]),
        ("!target.artifacttype", &[index, plain]),
        ("target.artifacttype!=a/chart", &[index, plain]),
        ("annotations.\"x.y/note\"==second", &[chart]),
        ("annotations.\"x.y/note\"==first", &[]),
        ("annotations.\"x.y/note\"", &[chart, index]),
        ("!annotations.\"x.y/note\"", &[plain]),
        ("labels.\"a.b/stage\"==prod", &[index]),
        ("labels.\"a.b/stage\"~=^t", &[chart, plain]),
        ("updated_at>1970-01-01T00:33:21Z", &[index, plain]),
        ("updated_at<1970-01-01T00:33:21Z", &[chart]),
        ("created_at<1970-01-01T00:33:20Z", &[index]),
        ("target.size==2", &[chart, index, plain]),
        ("target.size>2", &[]),
        (
            "created_at<1970-01-01T00:33:20Z,updated_at>1970-01-01T00:33:21Z",
            &[index],
        ),
    ];
    for (filter, found) in cases {
        assert_eq!(ask(filter).await, found, "{filter}");
    }
}

async fn all_namespaces_are_walked_in_order(on: &On) {
    for place in ["b/2", "a/1", "c/9", "a.a/5", "a/3", "b/1"] {
        on.put(place, "one").await;
    }
    on.store
        .namespaces()
        .put(&PutNamespace {
            name: namespace("empty"),
            change: relabel(Labels::default()),
            dating: Dating::Changes,
            when: Precondition::None,
            validate_only: false,
            request: None,
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
    for i in 0..10 {
        let put = heavy(&format!("big{i}"));
        on.store.images().put(&ns, put).await.unwrap();
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
            wire::encode_image(&image, 0).unwrap(),
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
    let ns = namespace("ns");
    for i in 0..16 {
        let put = heavy(&format!("big{i}"));
        on.store.images().put(&ns, put).await.unwrap();
    }
    let open = async || on.store.images().stream(one("ns")).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_LONG_READS {
        streams.push(open().await.unwrap());
    }
    for _ in 0..2 {
        assert!(matches!(
            open().await,
            Err(Error::TooManySnapshots {
                limit: MAX_LONG_READS
            })
        ));
        streams.pop();
        streams.push(open().await.unwrap());
    }
    let read: usize = streams
        .pop()
        .unwrap()
        .map(|chunk| chunk.unwrap().images.len())
        .fold(0, async |sum, images| sum + images)
        .await;
    assert_eq!(read, 16, "those that were let in are whole");
}

#[tokio::test]
async fn a_lookup_touches_what_it_finds_and_no_more() {
    let kv = Arc::new(Watched::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    for i in 0..ALL {
        let name = format!("ns/repo{:03}/image:{:02}", i / 30, i % 30);
        on.put(&name, &(i % 1000).to_string()).await;
    }
    let digest = *target("500").digest();
    let filtered = |filter: String| {
        let filtered = one("ns").filtered(vec![filter], Dialect::Native);
        filtered.unwrap()
    };
    let starts = |prefix: &str| DigestQuery::StartsWith(prefix.parse().unwrap());
    let hex = digest.hex();
    let lookups = [
        (30, one("ns").under("repo042/")),
        (3, one("ns").pointing_to(DigestQuery::Is(digest))),
        (3, one("ns").pointing_to(starts(&hex[..10]))),
        (
            3,
            one("ns").pointing_to(starts(&format!("sha256:{}", &hex[..10]))),
        ),
        (1, filtered("name==\"repo042/image:07\"".into())),
        (30, filtered("name~=^repo042/".into())),
        (3, filtered(format!("target.digest=={}", digest.text()))),
        (
            1,
            filtered("name==\"repo042/image:07\",target.size>0".into()),
        ),
        (0, one("ns").under("none")),
        (0, filtered("name==none".into())),
        (0, filtered("target.digest==sha256:none".into())),
    ];
    let touched = async |query: &ImageQuery| {
        kv.take();
        let page = PageRequest {
            size: 1000,
            token: String::new(),
        };
        let listed = on.store.images().list(query, &page).await.unwrap();
        assert!(listed.next_token.is_empty());
        let by_list = kv.take();
        let mut streamed = 0;
        let mut stream = on.store.images().stream(query.clone()).await.unwrap();
        while let Some(chunk) = stream.next().await {
            streamed += chunk.unwrap().images.len();
        }
        let by_stream = kv.take();
        let counted = on.store.images().count(query).await.unwrap().value;
        assert_eq!((streamed, counted), (listed.items.len(), streamed as u64));
        (streamed, [by_list, by_stream, kv.take()])
    };
    for (matches, query) in &lookups {
        let (found, calls) = touched(query).await;
        assert_eq!(found, *matches, "{query:?}");
        for call in calls {
            let most = matches + FEW;
            assert!(
                call.scanned <= most && call.got <= most,
                "{call:?} for {matches}: {query:?}"
            );
        }
    }

    let page = PageRequest {
        size: 10,
        token: String::new(),
    };
    kv.take();
    on.store.images().list(&one("ns"), &page).await.unwrap();
    let of_a_page = kv.take();
    assert!(of_a_page.scanned <= 10 + FEW, "{of_a_page:?}");
    // What has to look at everything does, so the counting counts.
    let all = filtered("labels.none".into());
    assert_eq!(on.store.images().count(&all).await.unwrap().value, 0);
    assert!(kv.take().scanned >= ALL);
    on.must_be_sound().await;
}

/// All that a walk finds, by name.
async fn walked(store: &Store, query: &ImageQuery) -> Vec<String> {
    let mut walk = store.images().walk(query).await.unwrap();
    let mut names = Vec::new();
    while let Some(images) = walk.next().await.unwrap() {
        let name = |image: StoredImage| image.read().unwrap().name.to_string();
        names.extend(images.into_iter().map(name));
    }
    names.sort();
    names
}

fn containerds(filters: &[String]) -> ImageQuery {
    let filtered = one("ns").filtered(filters.to_vec(), Dialect::Containerd);
    filtered.unwrap()
}

async fn a_walk_over_names_and_digests_comes_by_each_image_once(on: &On) {
    for i in 0..9 {
        on.put(&format!("ns/a:{i}"), &(i % 3).to_string()).await;
    }
    let digest = target("1").digest().text();
    let filters = [
        "name==a:1".to_owned(),
        "name~=^a:[23]$".to_owned(),
        format!("target.digest~=^{}.*$", &digest[..12]),
        format!("target.digest=={digest}"),
    ];
    let found = walked(&on.store, &containerds(&filters)).await;
    assert_eq!(found, ["a:1", "a:2", "a:3", "a:4", "a:7"]);
    assert_eq!(walked(&on.store, &one("ns")).await.len(), 9);
}

#[tokio::test]
async fn the_lookups_of_containerds_clients_touch_what_they_find_and_no_more() {
    let kv = Arc::new(Watched::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    for i in 0..ALL {
        let host = if i / 30 % 2 == 0 { "" } else { "a.b.c/" };
        let name = format!("ns/{host}repo{:03}:{:02}", i / 30, i % 30);
        on.put(&name, &(i % 1000).to_string()).await;
    }
    let digest = target("500").digest().text();
    let hex = &digest["sha256:".len()..];
    let lookups: [(usize, &[String]); 11] = [
        (1, &["name==repo042:07".into()]),
        // With dots that are not escaped.
        (30, &["name~=^a.b.c/repo043:".into()]),
        (1, &["name~=^a.b.c/repo043:07$".into()]),
        (3, &[format!("target.digest=={digest}")]),
        (0, &[format!("target.digest=={digest},labels.none")]),
        (3, &[format!("target.digest~=^{digest}$")]),
        // moby's.
        (30, &[r#"name~="^repo042:[\\w][\\w.-]{0,127}$""#.into()]),
        (
            3,
            &[format!(
                r#"target.digest~="^sha256:{}[0-9a-fA-F]{{{}}}$""#,
                &hex[..8],
                56
            )],
        ),
        // nerdctl's.
        (30, &["name~=^repo042:".into()]),
        (
            4,
            &[
                "name==docker.io/library/abcdef:latest".into(),
                "name==repo042:07".into(),
                format!("target.digest~=^sha256:{}.*$", &hex[..8]),
                format!("target.digest~=^{}.*$", &hex[..8]),
            ],
        ),
        (
            1,
            &[
                "name==repo002:01".into(),
                "target.digest~=^sha256:repo002:01.*$".into(),
                "target.digest~=^repo002:01.*$".into(),
            ],
        ),
    ];
    for (matches, filters) in lookups {
        kv.take();
        let found = walked(&on.store, &containerds(filters)).await;
        let calls = kv.take();
        assert_eq!(found.len(), matches, "{filters:?}");
        // Those that a further selector refuses are read too.
        let most = matches.max(3) + FEW;
        assert!(
            calls.scanned <= most && calls.got <= most,
            "{calls:?}: {filters:?}"
        );
    }
    // A few digits are few digests.
    kv.take();
    let few = walked(
        &on.store,
        &containerds(&["target.digest~=^sha256:abc.*$".into()]),
    )
    .await;
    let calls = kv.take();
    assert!(
        calls.scanned <= few.len() + FEW && few.len() < ALL / 100,
        "{calls:?}"
    );
    on.must_be_sound().await;
}

/// Images in the store that lookups must not walk through.
const ALL: usize = 3000;

/// Rows that a lookup may touch beside those that it finds.
const FEW: usize = 4;
