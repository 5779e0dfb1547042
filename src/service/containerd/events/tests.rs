//! The service through its own client: what is told, in which order, to whom, and what is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use prost_types::Any;
use tonic::{Code, Streaming};
use tower::Layer;

use super::exchange::{MAX_BYTES, MAX_EVENTS};
use super::*;
use crate::domain::{
    Algorithm, Dating, Descriptor, Digest, ImageChange, Labels, NamespaceChange, Size,
};
use crate::kv::{Kv, Memory, Options, Redb};
use crate::proto::containerd::events as payload;
use crate::proto::containerd::services::events::v1::events_client::EventsClient;
use crate::proto::containerd::services::events::v1::events_server::EventsServer;
use crate::proto::containerd::services::images::v1 as images;
use crate::service::fixture;
use crate::service::layer::{MAX_UNARY_TIME, RequestLayer, RequestService};
use crate::store::{
    DeleteImage, DeleteNamespace, Precondition, PutImage, PutNamespace, RollbackImage,
};

type Server = RequestService<EventsServer<Service>>;

/// A store and its events.
struct On {
    store: Store,
    exchange: Arc<Exchange>,
    server: Server,
}

/// More than any message here has.
const LARGE: usize = 4 * MAX_BYTES;

/// As a payload, it leaves some room for the envelope.
const LARGEST: usize = MAX_EVENT_BYTES - 100;

/// How long a test waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

impl On {
    async fn kv(kv: Arc<dyn Kv>) -> Self {
        let store = fixture::store(kv).await;
        let service = Service::new(&store);
        let exchange = service.exchange.clone();
        let server = EventsServer::new(service).max_decoding_message_size(LARGE);
        Self {
            exchange,
            server: RequestLayer::CONTAINERD.layer(server),
            store,
        }
    }

    async fn memory() -> Self {
        Self::kv(Arc::new(Memory::new())).await
    }

    fn client(&self) -> EventsClient<Server> {
        EventsClient::new(self.server.clone()).max_decoding_message_size(LARGE)
    }

    async fn subscribe(&self, filters: &[&str]) -> Result<Streaming<Envelope>, Status> {
        let filters = filters.iter().map(|text| (*text).to_owned()).collect();
        let request = pb::SubscribeRequest { filters };
        Ok(self.client().subscribe(request).await?.into_inner())
    }

    async fn publish(&self, topic: &str, event: Any) {
        let request = publication(Some("ns"), topic, Some(event));
        self.client().publish(request).await.unwrap();
    }

    async fn put(&self, name: &str, content: &str, labels: &[(&str, &str)]) {
        let target = Descriptor::new(
            "a/b".parse().unwrap(),
            Digest::of(Algorithm::Sha256, content.as_bytes()),
            Size::try_from(1u64).unwrap(),
        );
        let labels = Labels::try_from(map(labels)).unwrap();
        let change = ImageChange::Replace { target, labels };
        let put = PutImage::new(name.parse().unwrap(), change);
        let namespace = "ns".parse().unwrap();
        self.store.images().put(&namespace, put).await.unwrap();
    }

    async fn put_namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let labels = Labels::try_from(map(labels)).unwrap();
        let put = PutNamespace {
            name: name.parse().unwrap(),
            change: NamespaceChange::Replace {
                labels,
                history_limit: None,
            },
            dating: Dating::Changes,
            when: Precondition::None,
            validate_only: false,
            request: None,
        };
        self.store.namespaces().put(&put).await.unwrap();
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    owned.collect()
}

fn publication(
    namespace: Option<&'static str>,
    topic: &str,
    event: Option<Any>,
) -> Request<pb::PublishRequest> {
    let mut request = Request::new(pb::PublishRequest {
        topic: topic.to_owned(),
        event,
    });
    if let Some(namespace) = namespace {
        let namespace = namespace.parse().unwrap();
        request
            .metadata_mut()
            .insert("containerd-namespace", namespace);
    }
    request
}

fn any(type_url: &str, value: impl Into<Vec<u8>>) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: value.into(),
    }
}

fn forwarded(topic: &str, event: Any) -> Envelope {
    Envelope {
        timestamp: Some(prost_types::Timestamp {
            seconds: 1,
            nanos: 2,
        }),
        namespace: "elsewhere".to_owned(),
        topic: topic.to_owned(),
        event: Some(event),
    }
}

async fn next(stream: &mut Streaming<Envelope>) -> Result<Option<Envelope>, Status> {
    let next = tokio::time::timeout(PATIENCE, stream.message());
    next.await.expect("it is told")
}

async fn topics(stream: &mut Streaming<Envelope>, count: usize) -> Vec<String> {
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(next(stream).await.unwrap().unwrap().topic);
    }
    topics
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("it is refused");
    assert_eq!(status.details(), b"", "{status:?}");
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn what_happens_to_images_and_namespaces_is_told_whichever_api_did_it() {
    let on = On::memory().await;
    let mut stream = on.subscribe(&[]).await.unwrap();
    let labels = [("a", "b"), ("k", "")];
    let delete = DeleteNamespace {
        name: "ns".parse().unwrap(),
        force: true,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    on.put_namespace("ns", &labels).await;
    on.put_namespace("ns", &[]).await;
    on.put("x", "one", &labels).await;
    on.put("x", "two", &[]).await;
    let (images, namespace) = (on.store.images(), "ns".parse().unwrap());
    let gone = DeleteImage::new("x".parse().unwrap());
    images.delete(&namespace, &gone).await.unwrap();
    let again = RollbackImage::new("x".parse().unwrap());
    images.rollback(&namespace, again).await.unwrap();
    on.store.namespaces().delete(&delete).await.unwrap();

    let labels = map(&labels);
    let named = |labels: &BTreeMap<_, _>| payload::NamespaceCreate {
        name: "ns".to_owned(),
        labels: labels.clone(),
    };
    let image = |labels: &BTreeMap<_, _>| images::ImageCreate {
        name: "x".to_owned(),
        labels: labels.clone(),
    };
    let image_gone = images::ImageDelete {
        name: "x".to_owned(),
    };
    let namespace_gone = payload::NamespaceDelete {
        name: "ns".to_owned(),
    };
    let none = BTreeMap::new();
    let image_name = |what: &str| format!("containerd.services.images.v1.Image{what}");
    let namespace_name = |what: &str| format!("containerd.events.Namespace{what}");
    for (topic, name, value) in [
        (
            "/namespaces/create",
            namespace_name("Create"),
            named(&labels).encode_to_vec(),
        ),
        (
            "/namespaces/update",
            namespace_name("Update"),
            named(&none).encode_to_vec(),
        ),
        (
            "/images/create",
            image_name("Create"),
            image(&labels).encode_to_vec(),
        ),
        (
            "/images/update",
            image_name("Update"),
            image(&none).encode_to_vec(),
        ),
        (
            "/images/delete",
            image_name("Delete"),
            image_gone.encode_to_vec(),
        ),
        (
            "/images/create",
            image_name("Create"),
            image(&none).encode_to_vec(),
        ),
        (
            "/namespaces/delete",
            namespace_name("Delete"),
            namespace_gone.encode_to_vec(),
        ),
    ] {
        let told = next(&mut stream).await.unwrap().unwrap();
        let expected = Envelope {
            // Of the fixture's clock.
            timestamp: Some(prost_types::Timestamp {
                seconds: 1000,
                nanos: 0,
            }),
            namespace: "ns".to_owned(),
            topic: topic.to_owned(),
            event: Some(any(&name, value)),
        };
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn what_is_published_and_forwarded_is_told_to_all_who_subscribe() {
    let on = On::memory().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(on.subscribe(&[]).await.unwrap());
    }
    let odd = any("", [1]);
    on.publish("/odd/one-2.x", odd.clone()).await;
    let elsewhere = forwarded("/from", any("my/type", []));
    let request = pb::ForwardRequest {
        envelope: Some(elsewhere.clone()),
    };
    on.client().forward(request).await.unwrap();
    for stream in &mut streams {
        let told = next(stream).await.unwrap().unwrap();
        assert_eq!((&*told.namespace, &*told.topic), ("ns", "/odd/one-2.x"));
        assert_eq!(told.event, Some(odd.clone()));
        assert_eq!(told.timestamp.unwrap().seconds, 1000, "the fixture's clock");
        assert_eq!(next(stream).await.unwrap().unwrap(), elsewhere);
    }
}

#[tokio::test]
async fn events_come_in_the_order_in_which_they_happened() {
    let on = On::memory().await;
    let mut stream = on.subscribe(&[]).await.unwrap();
    let mut expected = Vec::new();
    for i in 0..300 {
        // No rhythm of the two keeps up with that of the reader.
        if i % 3 == 0 || i % 7 == 0 {
            let topic = format!("/n{i}");
            on.publish(&topic, any("", [])).await;
            expected.push(topic);
        } else {
            on.put(&format!("n{i}"), "one", &[]).await;
            expected.push("/images/create".to_owned());
        }
        if i % 50 == 49 {
            let some = expected.len() / 2;
            assert_eq!(topics(&mut stream, some).await, expected[..some]);
            expected.drain(..some);
        }
    }
    assert_eq!(topics(&mut stream, expected.len()).await, expected);
}

#[tokio::test]
async fn a_publisher_is_refused_in_containerds_words() {
    let on = On::memory().await;
    let must_match = "must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument";
    let long = "x".repeat(77);
    let too_long = "greater than maximum length (76 characters): invalid argument";
    for (topic, why) in [
        ("", "must not be empty: invalid argument".to_owned()),
        ("x", "must start with '/': invalid argument".to_owned()),
        (
            "/",
            "must have at least one component: invalid argument".to_owned(),
        ),
        (
            "/a//b",
            "failed validation on component \"\": identifier must not be empty: invalid argument"
                .to_owned(),
        ),
        (
            "/a/",
            "failed validation on component \"\": identifier must not be empty: invalid argument"
                .to_owned(),
        ),
        (
            "/a\"b",
            format!(r#"failed validation on component "a\"b": identifier "a\"b" {must_match}"#),
        ),
        (
            &format!("/{long}"),
            format!(r#"failed validation on component "{long}": identifier "{long}" {too_long}"#),
        ),
    ] {
        let why = format!("envelope topic {}: {why}", quoted(topic));
        let refusal = (Code::InvalidArgument, why);
        let request = publication(Some("ns"), topic, None);
        assert_eq!(refused(on.client().publish(request).await), refusal);
        let mut envelope = forwarded(topic, any("", []));
        envelope.timestamp = None;
        let envelope = Some(envelope);
        let answer = on.client().forward(pb::ForwardRequest { envelope }).await;
        assert_eq!(refused(answer), refusal);
    }
    for (namespace, code, why) in [
        (
            None,
            Code::FailedPrecondition,
            "namespace is required: failed precondition",
        ),
        (
            Some(""),
            Code::FailedPrecondition,
            "namespace is required: failed precondition",
        ),
        (
            Some("a/b"),
            Code::InvalidArgument,
            &format!("namespace validation: identifier \"a/b\" {must_match}"),
        ),
    ] {
        let answer = on.client().publish(publication(namespace, "x", None)).await;
        assert_eq!(
            refused(answer),
            (code, format!("failed publishing event: {why}"))
        );
    }
    let request = publication(Some("ns"), "/a", None);
    let answer = on.client().publish(request).await;
    let unset = (
        Code::InvalidArgument,
        "event must be set: invalid argument".to_owned(),
    );
    assert_eq!(refused(answer), unset);
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused_and_a_long_text_in_one_is_not_searched() {
    let on = On::memory().await;
    let large = || any("", vec![0; MAX_EVENT_BYTES]);
    let mut client = on.client();
    let published = client.publish(publication(Some("ns"), "/t", Some(large())));
    let (code, why) = refused(published.await);
    assert_eq!(code, Code::ResourceExhausted);
    assert!(why.ends_with("more than 1048576"), "{why}");
    let envelope = Some(forwarded("/t", large()));
    let forward = client.forward(pb::ForwardRequest { envelope }).await;
    assert_eq!(refused(forward).0, Code::ResourceExhausted);

    let mut found = on.subscribe(&["event.name~=a"]).await.unwrap();
    for bytes in [4097, 4096] {
        let created = images::ImageCreate {
            name: "a".repeat(bytes),
            ..Default::default()
        };
        let topic = format!("/t{bytes}");
        let event = any(
            "containerd.services.images.v1.ImageCreate",
            created.encode_to_vec(),
        );
        on.publish(&topic, event).await;
    }
    assert_eq!(topics(&mut found, 1).await, ["/t4096"]);
}

#[tokio::test]
async fn a_forwarder_is_refused_in_containerds_words() {
    let on = On::memory().await;
    let zero = prost_types::Timestamp {
        seconds: -62_135_596_800,
        nanos: 0,
    };
    let past_all = prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: -1,
    };
    let good = forwarded("/a", any("", []));
    let invalid = "event envelope has invalid namespace: identifier";
    let unset = "timestamp must be set on forwarded event: invalid argument";
    for (envelope, why) in [
        (None, "envelope must be set: invalid argument".to_owned()),
        (
            Some(Envelope {
                namespace: String::new(),
                topic: "x".to_owned(),
                ..good.clone()
            }),
            format!("{invalid} must not be empty: invalid argument"),
        ),
        (
            Some(Envelope {
                namespace: "a/b".to_owned(),
                ..good.clone()
            }),
            format!(
                "{invalid} \"a/b\" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: \
                 invalid argument"
            ),
        ),
        (
            Some(Envelope {
                timestamp: None,
                event: None,
                ..good.clone()
            }),
            unset.to_owned(),
        ),
        (
            Some(Envelope {
                timestamp: Some(zero),
                ..good.clone()
            }),
            unset.to_owned(),
        ),
        (
            Some(Envelope {
                timestamp: Some(past_all),
                ..good.clone()
            }),
            "timestamp must be of the years 1 to 9999: invalid argument".to_owned(),
        ),
        (
            Some(Envelope {
                event: None,
                ..good.clone()
            }),
            "event must be set: invalid argument".to_owned(),
        ),
    ] {
        let answer = on.client().forward(pb::ForwardRequest { envelope }).await;
        assert_eq!(refused(answer), (Code::InvalidArgument, why));
    }
}

/// Measured on containerd 1.6.20, but for the digest of ContentCreate, which it does not know.
#[tokio::test]
async fn filters_ask_for_the_fields_that_containerd_knows() {
    let on = On::memory().await;
    let content = payload::ContentCreate {
        digest: "d".to_owned(),
        size: 5,
    };
    let removed = payload::ContentDelete {
        digest: "d".to_owned(),
    };
    let image = images::ImageCreate {
        name: "n".to_owned(),
        labels: map(&[("a.b", "c"), ("e", "")]),
    };
    let namespace = payload::NamespaceCreate {
        name: "n".to_owned(),
        labels: map(&[("a.b", "c")]),
    };
    let deleted = images::ImageDelete {
        name: "n".to_owned(),
    };
    let events = [
        any("containerd.events.ContentCreate", content.encode_to_vec()),
        any(
            "type.googleapis.com/containerd.events.ContentDelete",
            removed.encode_to_vec(),
        ),
        any("containerd.events.ContentDelete", removed.encode_to_vec()),
        any(
            "containerd.services.images.v1.ImageCreate",
            image.encode_to_vec(),
        ),
        any(
            "containerd.events.NamespaceUpdate",
            namespace.encode_to_vec(),
        ),
        any("containerd.events.ContentDelete", [0xff]),
        any(
            "containerd.services.images.v1.ImageDelete",
            deleted.encode_to_vec(),
        ),
    ];
    for (filters, found) in [
        (&["topic==\"/t\""][..], &[0, 1, 2, 3, 4, 5, 6][..]),
        (&["topic.x~=t"], &[0, 1, 2, 3, 4, 5, 6]),
        (&["namespace==elsewhere"], &[0, 1, 2, 3, 4, 5, 6]),
        (&["namespace==other"], &[]),
        (&["event.digest==d"], &[0, 2]),
        (&["event.digest.x==d"], &[0, 2]),
        (&["event.digest!=d"], &[1, 3, 4, 5, 6]),
        (&["event.size"], &[]),
        (&["event"], &[]),
        (&["event.name==n"], &[3, 4, 6]),
        (&["event.labels"], &[]),
        (&["event.labels.a.b==c"], &[3, 4]),
        (&["event.labels.\"a.b\"==c"], &[3, 4]),
        (&["event.labels.e"], &[3]),
        (&["event.labels.e==\"\""], &[3]),
        (&["event.digest==d", "event.labels.e"], &[0, 2, 3]),
        (&["event.name~=n,event.labels.e!=x"], &[3, 4, 6]),
        (&["timestamp"], &[]),
        (&["nope!=x"], &[0, 1, 2, 3, 4, 5, 6]),
        (&["topic~=["], &[]),
        (&["", "nope"], &[0, 1, 2, 3, 4, 5, 6]),
    ] {
        // So that the end can be seen.
        let filters = [filters, &["topic==\"/end\""]].concat();
        let mut stream = on.subscribe(&filters).await.unwrap();
        let last = forwarded("/end", any("", []));
        let mut envelopes: Vec<_> = events
            .iter()
            .map(|event| forwarded("/t", event.clone()))
            .collect();
        envelopes.push(last.clone());
        for envelope in &envelopes {
            let request = pb::ForwardRequest {
                envelope: Some(envelope.clone()),
            };
            on.client().forward(request).await.unwrap();
        }
        for i in found {
            let told = next(&mut stream).await.unwrap().unwrap();
            assert_eq!(told, envelopes[*i], "{filters:?}");
        }
        assert_eq!(
            next(&mut stream).await.unwrap().unwrap(),
            last,
            "{filters:?}"
        );
    }
}

#[tokio::test]
async fn filters_ask_for_the_events_of_the_store_too() {
    let on = On::memory().await;
    let filters = ["topic~=|^/images/|,event.labels.k==v"];
    let mut stream = on.subscribe(&filters).await.unwrap();
    on.put("x", "one", &[("k", "w")]).await;
    on.put("y", "one", &[("k", "v")]).await;
    on.put_namespace("other", &[("k", "v")]).await;
    on.put("x", "one", &[("k", "v")]).await;
    assert_eq!(
        topics(&mut stream, 2).await,
        ["/images/create", "/images/update"]
    );
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_is_refused_with_the_first_answer() {
    let on = On::memory().await;
    for (filter, why) in [
        (
            "topic==/a",
            "[topic== >|/|< a]: quoted literal not terminated",
        ),
        ("%d=", "[ >|%|< d=]: expected field or quoted"),
    ] {
        let why = format!(
            "subscription error: failed parsing subscription filters: \
             filters: parse error: {why}: invalid argument"
        );
        let answer = on.subscribe(&["topic", filter]).await;
        assert_eq!(refused(answer), (Code::Unknown, why));
    }
    assert_eq!(on.store.watchers(), 0);
}

const LOST: &str =
    "events were lost because they were not read in time; subscribe again and list: unavailable";

#[tokio::test]
async fn who_reads_too_slowly_is_told_so_at_once_and_who_is_prompt_sees_all() {
    let on = On::memory().await;
    for (bytes, kept) in [(0, MAX_EVENTS), (LARGEST, MAX_BYTES / MAX_EVENT_BYTES)] {
        let mut slow = on.subscribe(&[]).await.unwrap();
        let mut whole = on.subscribe(&[]).await.unwrap();
        // One that asks for none of them is none the better for it.
        let mut elsewhere = on.subscribe(&["topic==\"/never\""]).await.unwrap();
        let mut prompt = on.subscribe(&[]).await.unwrap();
        on.publish("/first", any("", vec![0; bytes])).await;
        for stream in [&mut whole, &mut prompt] {
            assert_eq!(topics(stream, 1).await, ["/first"]);
        }
        for i in 0..kept {
            let topic = format!("/t{i}");
            on.publish(&topic, any("", vec![0; bytes])).await;
            assert_eq!(topics(&mut prompt, 1).await, [topic]);
        }
        // What the store does hides neither that there was more nor that there is.
        on.put("x", &bytes.to_string(), &[]).await;
        let mut rest: Vec<_> = (0..kept).map(|i| format!("/t{i}")).collect();
        rest.push(topics(&mut prompt, 1).await.remove(0));
        assert!(rest[kept].starts_with("/images/"), "{rest:?}");
        assert_eq!(topics(&mut whole, kept + 1).await, rest);
        for stream in [&mut slow, &mut elsewhere] {
            let ended = next(stream).await;
            assert_eq!(refused(ended), (Code::Unavailable, LOST.to_owned()));
            assert_eq!(next(stream).await.unwrap(), None);
        }
    }
    let mut late = on.subscribe(&[]).await.unwrap();
    on.publish("/u", any("", [])).await;
    assert_eq!(topics(&mut late, 1).await, ["/u"]);
}

#[tokio::test]
async fn subscribers_who_do_not_read_hold_nothing() {
    let on = On::memory().await;
    let mut stuck = Vec::new();
    let mut published = Vec::new();
    for i in 0..10 {
        // One has read nothing, one has begun and has a change of the store before it.
        stuck.push(on.subscribe(&[]).await.unwrap());
        let mut begun = on.subscribe(&[]).await.unwrap();
        for _ in 0..6 {
            on.publish("/t", any("", vec![0; LARGEST])).await;
            published.push(on.exchange.newest().unwrap());
        }
        on.put(&format!("n{i}"), "one", &[]).await;
        assert_eq!(topics(&mut begun, 1).await, ["/t"]);
        stuck.push(begun);
        let kept = published.iter().filter_map(std::sync::Weak::upgrade);
        let bytes: usize = kept.map(|kept| kept.told.envelope().encoded_len()).sum();
        assert!(bytes > 0 && bytes <= MAX_BYTES, "{bytes} after {i}");
    }
    for i in 0..=MAX_EVENTS {
        on.publish(&format!("/t{i}"), any("", [])).await;
        published.push(on.exchange.newest().unwrap());
    }
    let kept = published.iter().filter(|event| event.strong_count() > 0);
    assert_eq!(kept.count(), MAX_EVENTS);
    assert_eq!(on.exchange.subscribers(), stuck.len());
}

#[tokio::test]
async fn who_is_too_slow_for_the_change_log_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        keep_revisions: 5,
        ..Options::default()
    };
    let on = On::kv(Arc::new(Redb::open(dir.path(), options).unwrap())).await;
    let mut slow = on.subscribe(&[]).await.unwrap();
    for i in 0..300 {
        on.put("x", &i.to_string(), &[]).await;
    }
    let ended = loop {
        match next(&mut slow).await {
            Ok(told) => assert!(told.is_some(), "it must not end as if it were whole"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        refused::<()>(Err(ended)),
        (Code::Unavailable, LOST.to_owned())
    );
    on.store.close().await;
}

#[tokio::test]
async fn who_subscribes_and_goes_leaves_nothing_behind() {
    let on = On::memory().await;
    for _ in 0..3 {
        let stream = on.subscribe(&[]).await.unwrap();
        assert_eq!((on.store.watchers(), on.exchange.subscribers()), (1, 1));
        drop(stream);
        assert_eq!((on.store.watchers(), on.exchange.subscribers()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_outlives_the_time_that_a_unary_call_may_take() {
    let on = On::memory().await;
    let mut stream = on.subscribe(&[]).await.unwrap();
    for i in 0..3 {
        tokio::time::sleep(4 * MAX_UNARY_TIME).await;
        on.put(&format!("n{i}"), "one", &[]).await;
        on.publish("/t", any("", [])).await;
        assert_eq!(topics(&mut stream, 2).await, ["/images/create", "/t"]);
    }
}

#[tokio::test]
async fn subscriptions_end_when_the_store_goes_away_and_none_begins() {
    let on = On::memory().await;
    let mut idle = on.subscribe(&[]).await.unwrap();
    let mut slow = on.subscribe(&[]).await.unwrap();
    on.put("x", "one", &[]).await;
    on.publish("/t", any("", [])).await;
    assert_eq!(topics(&mut idle, 2).await, ["/images/create", "/t"]);
    on.store.end_watches();
    for stream in [&mut idle, &mut slow] {
        let why = "the server is going away; subscribe again: unavailable".to_owned();
        assert_eq!(refused(next(stream).await), (Code::Unavailable, why));
        assert_eq!(next(stream).await.unwrap(), None);
    }
    let (code, _) = refused(on.subscribe(&[]).await);
    assert_eq!(code, Code::Unavailable);
}
