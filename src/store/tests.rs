//! What the store promises, on every engine, with the whole store checked against itself after each
//! test.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures::StreamExt;
use futures::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::domain::{
    Algorithm, Descriptor, Dialect, Digest, Image, ImageChange, ImageEdit, ImageName, Invalid,
    Labels, NamespaceChange, Size,
};
use crate::error::Subject;
use crate::kv::{Fault, Faulty, Memory, Options, Redb, Revision};

/// A store with a clock that the test moves.
struct On {
    store: Store,
    clock: Arc<Mutex<i64>>,
    _dir: Option<tempfile::TempDir>,
}

fn surroundings() -> (Surroundings, Arc<Mutex<i64>>) {
    let clock = Arc::new(Mutex::new(1000));
    let shown = clock.clone();
    let surroundings = Surroundings {
        clock: Arc::new(move || Timestamp::new(*shown.lock().unwrap(), 7).unwrap()),
        new_id: Arc::new(|| StoreId([9; 16])),
    };
    (surroundings, clock)
}

impl On {
    async fn kv(kv: Arc<dyn Kv>, dir: Option<tempfile::TempDir>) -> Self {
        let (surroundings, clock) = surroundings();
        let store = Store::on(kv, surroundings).await.unwrap();
        Self {
            store,
            clock,
            _dir: dir,
        }
    }

    async fn memory() -> Self {
        Self::kv(Arc::new(Memory::new()), None).await
    }

    async fn redb() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kv = Redb::open(dir.path(), Options::default()).unwrap();
        Self::kv(Arc::new(kv), Some(dir)).await
    }

    async fn faulty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kv = Faulty::new(Redb::open(dir.path(), Options::default()).unwrap());
        Self::kv(Arc::new(kv), Some(dir)).await
    }

    fn at(&self, seconds: i64) {
        *self.clock.lock().unwrap() = seconds;
    }

    async fn put(&self, place: &str, content: &str) -> At<Put<Image>> {
        let (namespace, name) = place.split_once('/').unwrap();
        let request = PutImage::new(name.parse().unwrap(), replace(content));
        self.store
            .images()
            .put(&namespace.parse().unwrap(), request)
            .await
            .unwrap()
    }

    async fn delete(&self, place: &str) -> Result<At<Stored<Image>>, Error> {
        let (namespace, name) = place.split_once('/').unwrap();
        let request = DeleteImage::new(name.parse().unwrap());
        self.store
            .images()
            .delete(&namespace.parse().unwrap(), &request)
            .await
    }

    async fn get(&self, place: &str) -> Result<Stored<Image>, Error> {
        let (namespace, name) = place.split_once('/').unwrap();
        let got = self
            .store
            .images()
            .get(&namespace.parse().unwrap(), &name.parse().unwrap())
            .await;
        got.map(|got| got.value)
    }

    /// The places of all that a query finds, by List, Stream and Count alike.
    async fn find(&self, query: &ImageQuery) -> Vec<String> {
        let place = |stored: &Stored<Image>| format!("{}/{}", stored.namespace, stored.record.name);
        let mut listed = Vec::new();
        let mut page = PageRequest {
            size: 3,
            token: String::new(),
        };
        loop {
            let found = self.store.images().list(query, &page).await.unwrap();
            assert!(found.items.len() <= 3);
            listed.extend(found.items.iter().map(place));
            if found.next_token.is_empty() {
                break;
            }
            page.token = found.next_token;
        }
        let mut streamed = Vec::new();
        let mut stream = self.store.images().stream(query.clone()).await.unwrap();
        while let Some(chunk) = stream.next().await {
            streamed.extend(chunk.unwrap().images.iter().map(place));
        }
        assert_eq!(listed, streamed);
        let count = self.store.images().count(query).await.unwrap().value;
        assert_eq!(count, listed.len() as u64);
        listed
    }

    async fn must_be_sound(self) {
        assert_eq!(self.store.verify().await.unwrap(), []);
        self.store.close().await;
    }
}

fn target(content: &str) -> Descriptor {
    let size = Size::try_from(content.len() as u64 + 1).unwrap();
    Descriptor::new(
        "a/b".parse().unwrap(),
        Digest::of(Algorithm::Sha256, content.as_bytes()),
        size,
    )
}

fn replace(content: &str) -> ImageChange {
    ImageChange::Replace {
        target: target(content),
        labels: Labels::default(),
    }
}

fn namespace(name: &str) -> Namespace {
    name.parse().unwrap()
}

fn name(name: &str) -> ImageName {
    name.parse().unwrap()
}

fn one(name: &str) -> ImageQuery {
    ImageQuery::all(Scope::One(namespace(name)))
}

macro_rules! on_every_engine {
    ($($test:ident),* $(,)?) => {
        mod on_memory { $(#[tokio::test] async fn $test() { let on = super::On::memory().await; super::$test(&on).await; on.must_be_sound().await; })* }
        mod on_redb { $(#[tokio::test] async fn $test() { let on = super::On::redb().await; super::$test(&on).await; on.must_be_sound().await; })* }
        mod on_faulty_redb { $(#[tokio::test] async fn $test() { let on = super::On::faulty().await; super::$test(&on).await; on.must_be_sound().await; })* }
    };
}

on_every_engine![
    what_was_put_is_got,
    created_at_survives_an_overwrite_and_updated_at_moves,
    a_put_that_changes_nothing_writes_nothing,
    validate_only_answers_and_writes_nothing,
    preconditions_say_what_they_found,
    one_label_is_changed_beside_the_rest,
    an_edit_of_what_is_not_there_is_not_found,
    a_deleted_image_is_gone_from_every_lookup,
    the_first_put_makes_the_namespace,
    names_are_listed_in_byte_order_by_prefix,
    a_digest_finds_its_names_and_only_those,
    filters_find_what_a_look_at_each_record_finds,
    all_namespaces_are_walked_in_order,
    a_page_token_of_another_query_or_store_is_refused,
    a_page_is_at_most_a_mebibyte_and_reads_at_most_ten_thousand_rows,
    a_stream_is_one_revision_while_writes_go_on,
    too_many_long_reads_are_refused_until_one_ends,
    namespaces_are_put_got_and_listed,
    a_namespace_that_holds_images_goes_only_by_force,
    a_put_that_races_a_forced_delete_leaves_no_orphan,
    sixty_four_writers_of_one_name_all_succeed,
    a_record_too_large_is_refused_and_nothing_changes,
    the_status_counts_what_there_is,
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
    };
    on.store.namespaces().delete(&delete).await.unwrap();
    let change = NamespaceChange::Replace(
        Labels::try_from(BTreeMap::from([("k".into(), "v".into())])).unwrap(),
    );
    let put = PutNamespace {
        name: ns.clone(),
        change,
        when: Precondition::None,
        validate_only: true,
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
    let change = NamespaceChange::Edit(vec![("k".into(), Some("v".into()))]);
    let put = PutNamespace {
        name: namespace("ns"),
        change,
        when: Precondition::None,
        validate_only: false,
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
    assert_eq!(kept.images, 0);
    assert_eq!(kept.stored.record.created_at.seconds(), 1000);
}

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

async fn namespaces_are_put_got_and_listed(on: &On) {
    let put = async |name: &str, change, when| {
        let request = PutNamespace {
            name: namespace(name),
            change,
            when,
            validate_only: false,
        };
        on.store.namespaces().put(&request).await
    };
    let labels = |value: &str| {
        Labels::try_from(BTreeMap::from([("k".to_owned(), value.to_owned())])).unwrap()
    };
    let first = put(
        "b",
        NamespaceChange::Replace(labels("1")),
        Precondition::None,
    )
    .await
    .unwrap();
    assert!(first.value.created);
    let same = put(
        "b",
        NamespaceChange::Replace(labels("1")),
        Precondition::None,
    )
    .await
    .unwrap();
    assert!(!same.value.changed && same.revision == first.revision);
    let exists = put(
        "b",
        NamespaceChange::Replace(labels("2")),
        Precondition::MustNotExist,
    )
    .await;
    assert!(matches!(exists, Err(Error::Exists(Subject::Namespace(_)))));
    let stale = Precondition::Matches {
        etag: Some(Revision(1)),
        target: None,
    };
    assert!(matches!(
        put("b", NamespaceChange::Replace(labels("2")), stale).await,
        Err(Error::EtagMismatch { .. })
    ));
    on.at(2000);
    let edit = NamespaceChange::Edit(vec![("l".into(), Some("2".into()))]);
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
        put(
            name,
            NamespaceChange::Replace(Labels::default()),
            Precondition::None,
        )
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
        .map(|n| (n.stored.record.name.to_string(), n.images))
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
    };
    let refused = on.store.namespaces().delete(&delete).await;
    assert!(matches!(refused, Err(Error::NotEmpty { images: 1, .. })));
    delete.force = true;
    let gone = on.store.namespaces().delete(&delete).await.unwrap();
    assert_eq!(gone.value.images, 1);
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
        };
        let namespaces = on.store.namespaces();
        let (puts, deleted) = tokio::join!(join_all(puts), namespaces.delete(&delete));
        deleted.unwrap();
        puts.into_iter().for_each(|put| put.unwrap());
        assert_eq!(on.store.verify().await.unwrap(), [], "round {round}");
    }
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

// === faults ===

#[tokio::test]
async fn a_lost_answer_is_an_unknown_outcome_and_the_write_is_found_by_reading() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    let put = async |content: &str| {
        let request = PutImage::new(name("a"), replace(content));
        on.store.images().put(&namespace("ns"), request).await
    };
    kv.plan(0, Fault::LoseAnswer);
    assert!(matches!(put("one").await, Err(Error::OutcomeUnknown(_))));
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("one"));
    kv.plan(0, Fault::LoseWrite);
    assert!(matches!(put("two").await, Err(Error::OutcomeUnknown(_))));
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("one"));
    kv.plan(0, Fault::Refuse);
    assert!(matches!(put("two").await, Err(Error::Stopped(_))));
    put("two").await.unwrap();
    on.must_be_sound().await;
}

#[tokio::test]
async fn a_write_that_waits_does_not_hold_up_reads_or_other_names() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    on.put("ns/a", "one").await;
    let until = Arc::new(tokio::sync::Notify::new());
    kv.plan(0, Fault::Stall(until.clone()));
    let store = on.store.clone();
    let waiting = tokio::spawn(async move {
        let request = PutImage::new(name("a"), replace("two"));
        store.images().put(&namespace("ns"), request).await
    });
    tokio::task::yield_now().await;
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("one"));
    on.put("ns/b", "one").await;
    assert!(!waiting.is_finished());
    until.notify_one();
    waiting.await.unwrap().unwrap();
    on.must_be_sound().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_an_unreadable_one_too() {
    for (version, newer) in [
        (&2u32.to_be_bytes()[..], true),
        (b"x", false),
        (&0u32.to_be_bytes(), false),
    ] {
        let kv = Arc::new(Memory::new());
        drop(On::kv(kv.clone(), None).await);
        let mut batch = Batch::new(0);
        batch.put(schema::schema_version(), version.to_vec());
        kv.commit(batch).await.unwrap();
        match Store::on(kv, surroundings().0).await.err().unwrap() {
            Error::SchemaTooNew { found: 2, known: 1 } => assert!(newer),
            Error::Corrupt(_) => assert!(!newer),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_store_opened_again_is_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let open = async || Store::open(dir.path()).await.unwrap();
    let store = open().await;
    let id = store.id();
    let request = PutImage::new(name("a"), replace("one"));
    let put = store.images().put(&namespace("ns"), request).await.unwrap();
    store.close().await;
    drop(store);
    let store = open().await;
    assert_eq!(store.id(), id);
    let got = store
        .images()
        .get(&namespace("ns"), &name("a"))
        .await
        .unwrap();
    assert_eq!(got.value, put.value.stored);
    assert_ne!(
        Store::in_memory().await.unwrap().id(),
        Store::in_memory().await.unwrap().id()
    );
}

type Breakage<'a> = &'a dyn Fn(&mut Batch);

#[tokio::test]
async fn verify_names_what_does_not_fit() {
    let breakages: [(&str, Breakage); 5] = [
        ("is not in the digest index", &|batch| {
            batch.delete(schema::digest_key(
                &namespace("ns"),
                target("one").digest(),
                &name("a"),
            ));
        }),
        ("names an image that does not point there", &|batch| {
            batch.put(
                schema::digest_key(&namespace("ns"), target("two").digest(), &name("a")),
                "",
            );
        }),
        ("belongs to no namespace", &|batch| {
            batch.delete(schema::namespace_key(&namespace("ns")));
        }),
        ("the record of image a", &|batch| {
            batch.put(
                schema::image_key(&namespace("ns"), &name("a")),
                "\u{1}garbage",
            );
        }),
        ("is not what the change log says", &|batch| {
            // An unlogged write to a logged table.
            let unlogged = crate::kv::Table::new("v1/ns/images");
            batch.put(unlogged.key("b"), "");
        }),
    ];
    for (what, break_it) in breakages {
        let on = On::memory().await;
        on.put("ns/a", "one").await;
        on.put("ns/b", "one").await;
        assert_eq!(on.store.verify().await.unwrap(), []);
        let mut batch = Batch::new(0);
        break_it(&mut batch);
        on.store.inner.kv.commit(batch).await.unwrap();
        let problems = on.store.verify().await.unwrap();
        assert!(
            problems
                .iter()
                .any(|problem| problem.to_string().contains(what)),
            "{what}: {problems:?}"
        );
    }
}

// === any sequence, against a map ===

#[derive(Clone, Debug)]
enum Step {
    Put {
        place: (u8, u8),
        content: u8,
        must_not_exist: bool,
    },
    Label {
        place: (u8, u8),
        value: Option<u8>,
    },
    Delete {
        place: (u8, u8),
    },
    Drop {
        namespace: u8,
        force: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..3u8, 0..4u8);
    prop_oneof![
        6 => (place(), 0..3u8, prop::bool::weighted(0.2))
            .prop_map(|(place, content, must_not_exist)| Step::Put { place, content, must_not_exist }),
        2 => (place(), prop::option::of(0..3u8)).prop_map(|(place, value)| Step::Label { place, value }),
        3 => place().prop_map(|place| Step::Delete { place }),
        1 => (0..3u8, any::<bool>()).prop_map(|(namespace, force)| Step::Drop { namespace, force }),
    ]
}

type Model = BTreeMap<(u8, u8), (u8, Option<u8>)>;

async fn apply(
    store: &Store,
    model: &mut Model,
    made: &mut std::collections::BTreeSet<u8>,
    step: Step,
) {
    let ns = |n: u8| namespace(&format!("n{n}"));
    let img = |i: u8| name(&format!("i{i}"));
    match step {
        Step::Put {
            place,
            content,
            must_not_exist,
        } => {
            let old = model.get(&place).copied();
            let when = if must_not_exist {
                Precondition::MustNotExist
            } else {
                Precondition::None
            };
            // A label set before is part of what a replacement wipes.
            let put = PutImage {
                when,
                ..PutImage::new(img(place.1), replace(&content.to_string()))
            };
            let answer = store.images().put(&ns(place.0), put).await;
            if must_not_exist && old.is_some() {
                assert!(matches!(answer, Err(Error::Exists(_))));
                return;
            }
            let answer = answer.unwrap().value;
            assert_eq!(answer.created, old.is_none());
            assert_eq!(answer.changed, old != Some((content, None)));
            model.insert(place, (content, None));
            made.insert(place.0);
        }
        Step::Label { place, value } => {
            let edit = ImageEdit::Label("l".into(), value.map(|value| value.to_string()));
            let put = PutImage::new(img(place.1), ImageChange::Edit(vec![edit]));
            let answer = store.images().put(&ns(place.0), put).await;
            match model.get_mut(&place) {
                None => assert!(matches!(answer, Err(Error::NotFound(_)))),
                Some((_, label)) => {
                    assert_eq!(answer.unwrap().value.changed, *label != value);
                    *label = value;
                }
            }
        }
        Step::Delete { place } => {
            let answer = store
                .images()
                .delete(&ns(place.0), &DeleteImage::new(img(place.1)))
                .await;
            assert_eq!(answer.is_ok(), model.remove(&place).is_some());
        }
        Step::Drop { namespace, force } => {
            let holds = model.keys().any(|(n, _)| *n == namespace);
            let delete = DeleteNamespace {
                name: ns(namespace),
                force,
                when: Precondition::None,
                validate_only: false,
            };
            match store.namespaces().delete(&delete).await {
                Ok(_) => {
                    assert!(made.remove(&namespace) && (force || !holds));
                    model.retain(|(n, _), _| *n != namespace);
                }
                Err(Error::NotFound(_)) => assert!(!made.contains(&namespace)),
                Err(Error::NotEmpty { .. }) => assert!(holds && !force),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

async fn holds_exactly(store: &Store, model: &Model) {
    let mut stream = store
        .images()
        .stream(ImageQuery::all(Scope::All))
        .await
        .unwrap();
    let mut found = Model::new();
    while let Some(chunk) = stream.next().await {
        for stored in chunk.unwrap().images {
            let digit = |text: &str| text[1..].parse::<u8>().unwrap();
            let place = (
                digit(stored.namespace.as_str()),
                digit(stored.record.name.as_str()),
            );
            let content = (0..3u8)
                .find(|c| target(&c.to_string()) == stored.record.target)
                .unwrap();
            let label = stored
                .record
                .labels
                .get("l")
                .map(|value| value.parse().unwrap());
            found.insert(place, (content, label));
        }
    }
    assert_eq!(&found, model);
    assert_eq!(store.verify().await.unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn state_index_and_log_agree_with_a_map_after_any_sequence(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for on in [On::memory().await, On::redb().await] {
                let (mut model, mut made) = (Model::new(), std::collections::BTreeSet::new());
                for step in steps.clone() {
                    apply(&on.store, &mut model, &mut made, step).await;
                }
                holds_exactly(&on.store, &model).await;
            }
        });
    }
}

// === stored bytes ===

/// A record with everything, whose bytes must never change.
fn everything() -> Image {
    let annotations = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    let platform = crate::domain::Platform::new("arm".into(), "linux".into())
        .unwrap()
        .with_variant("v7".into())
        .with_os_version("1.2".into())
        .with_os_features(vec!["f".into()]);
    let build = || -> Result<Descriptor, Invalid> {
        Descriptor::new(
            "application/vnd.oci.image.manifest.v1+json".parse()?,
            Digest::of(Algorithm::Sha512, b"{}"),
            Size::try_from(2u64)?,
        )
        .with_annotations(annotations)?
        .with_urls(vec!["https://example.com/x".into()])?
        .with_platform(Some(platform))
        .with_artifact_type(Some("x/y".parse()?))
        .with_data(bytes::Bytes::from_static(b"{}"))
    };
    Image {
        name: name("docker.io/library/all:1"),
        target: build().unwrap(),
        labels: Labels::try_from(BTreeMap::from([
            ("k".to_owned(), "v".to_owned()),
            ("l".to_owned(), String::new()),
        ]))
        .unwrap(),
        created_at: Timestamp::new(-62_135_596_800, 0).unwrap(),
        updated_at: Timestamp::new(1_795_293_550, 934_010_079).unwrap(),
    }
}

#[test]
fn stored_bytes_are_as_they_were_and_read_back_as_they_were_put() {
    let image = everything();
    let namespace = crate::domain::NamespaceRecord {
        name: namespace("ns"),
        labels: image.labels.clone(),
        created_at: image.created_at,
        updated_at: image.updated_at,
    };
    let image_bytes = wire::encode_image(&image).unwrap();
    let namespace_bytes = wire::encode_namespace(&namespace).unwrap();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let rows = [
        ("image", hex(&image_bytes)),
        ("namespace", hex(&namespace_bytes)),
        (
            "digest row",
            hex(&schema::digest_row(image.target.digest(), &image.name)),
        ),
        (
            "sha256 digest row",
            hex(&schema::digest_row(target("one").digest(), &image.name)),
        ),
    ];
    let text: String = rows
        .iter()
        .map(|(what, hex)| format!("{what}: {hex}\n"))
        .collect();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/records.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap());
    assert_eq!(
        wire::decode_image(image.name.clone(), image_bytes).unwrap(),
        image
    );
    assert_eq!(
        wire::decode_namespace(namespace.name.clone(), namespace_bytes).unwrap(),
        namespace
    );
}

#[test]
fn a_record_of_an_unknown_version_is_corrupt_and_never_a_guess() {
    for bytes in [&b""[..], b"\x12\x00", b"\x0a\x00", b"\xff"] {
        let image = wire::decode_image(name("a"), bytes::Bytes::copy_from_slice(bytes));
        assert!(matches!(image, Err(Error::Corrupt(_))), "{bytes:?}");
        let namespace =
            wire::decode_namespace(namespace("a"), bytes::Bytes::copy_from_slice(bytes));
        assert!(matches!(namespace, Err(Error::Corrupt(_))), "{bytes:?}");
    }
}
