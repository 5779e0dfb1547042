//! Events: the same operations give the same envelopes, and what cannot be published is refused alike.

use imagestore::proto::containerd::services::events::v1 as pb;
use imagestore::proto::containerd::services::events::v1::events_client::EventsClient;
use imagestore::proto::containerd::services::images::v1 as images;
use imagestore::proto::containerd::services::leases::v1 as leases;
use imagestore::proto::containerd::services::namespaces::v1 as namespaces;
use imagestore::proto::containerd::types::{Descriptor, Envelope};
use prost::Message;
use prost_types::{Any, FieldMask, Timestamp};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::call::{Ask, Call, with_metadata};
use crate::common::{PATIENCE, digest};
use crate::daemon::Daemon;
use crate::differential::Lane;
use crate::plan::Planner;
use crate::seed;

/// Marks where a comparison begins and ends; no filter of a test is about it.
const MARK: &str = "/mark";

/// What is compared of an envelope: its namespace, topic, and the type and fields of its event.
type Told = (String, String, Option<(String, images::ImageCreate, usize)>);

/// A subscription that is under way.
struct Subscription {
    channel: Channel,
    stream: Streaming<Envelope>,
}

fn mark(word: &str) -> Any {
    Any {
        type_url: "test.Mark".to_owned(),
        value: word.as_bytes().to_vec(),
    }
}

async fn publish(channel: &Channel, topic: &str, event: Option<Any>) -> Result<(), Status> {
    let request = pb::PublishRequest {
        topic: topic.to_owned(),
        event,
    };
    let request = with_metadata(request, &["marks".to_owned()], None);
    EventsClient::new(channel.clone()).publish(request).await?;
    Ok(())
}

impl Subscription {
    /// Subscribes, and waits until the daemon has: containerd does not say so.
    async fn start(daemon: &Daemon, filters: &[&str]) -> Self {
        let channel = daemon.channel().await;
        let mut filters: Vec<String> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        if !filters.is_empty() {
            filters.push(format!("topic==\"{MARK}\""));
        }
        let marks = async {
            loop {
                publish(&channel, MARK, Some(mark("begin"))).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let subscribed = async {
            let request = pb::SubscribeRequest { filters };
            let answer = EventsClient::new(channel.clone()).subscribe(request).await;
            let mut stream = answer.unwrap().into_inner();
            let first = stream.message().await.unwrap().unwrap();
            assert_eq!(first.topic, MARK);
            stream
        };
        let stream = tokio::select! {
            stream = tokio::time::timeout(PATIENCE, subscribed) => stream.expect("a mark"),
            () = marks => unreachable!(),
        };
        Self { channel, stream }
    }

    /// All that came until now.
    async fn told(mut self) -> Vec<Envelope> {
        publish(&self.channel, MARK, Some(mark("end")))
            .await
            .unwrap();
        let mut told = Vec::new();
        loop {
            let next = tokio::time::timeout(PATIENCE, self.stream.message()).await;
            let envelope = next.expect("an event").unwrap().expect("no end");
            if envelope.topic != MARK {
                told.push(envelope);
            } else if envelope.event.as_ref() == Some(&mark("end")) {
                return told;
            }
        }
    }
}

/// All events of both images and namespaces have the shape of an ImageCreate, as far as they have fields.
fn compared(envelope: Envelope) -> Told {
    let timestamp = envelope.timestamp.expect("a time");
    assert!(timestamp.seconds > 1_600_000_000, "{timestamp:?}");
    let event = envelope.event.map(|event| {
        // Go writes the pairs of a map in any order, so the bytes themselves may differ where there are several.
        let fields = images::ImageCreate::decode(&*event.value).unwrap_or_default();
        (event.type_url, fields, event.value.len())
    });
    (envelope.namespace, envelope.topic, event)
}

async fn both() -> Option<[Daemon; 2]> {
    Some([Daemon::containerd().await?, Daemon::imagestore().await])
}

fn call(namespace: &str, ask: Ask) -> Call {
    Call {
        namespaces: vec![namespace.to_owned()],
        lease: None,
        ask,
    }
}

fn image(name: &str, of: &str, labels: &[(&str, &str)]) -> images::Image {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    images::Image {
        name: name.to_owned(),
        labels: labels.collect(),
        target: Some(Descriptor {
            media_type: "application/vnd.test".to_owned(),
            digest: digest(of),
            size: 10,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn create(image: images::Image) -> Ask {
    Ask::CreateImage(images::CreateImageRequest {
        image: Some(image),
        ..Default::default()
    })
}

fn update(image: images::Image, paths: &[&str]) -> Ask {
    Ask::UpdateImage(images::UpdateImageRequest {
        image: Some(image),
        update_mask: Some(FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
        ..Default::default()
    })
}

fn delete(name: &str) -> Ask {
    Ask::DeleteImage(images::DeleteImageRequest {
        name: name.to_owned(),
        ..Default::default()
    })
}

fn namespace(name: &str, labels: &[(&str, &str)]) -> namespaces::Namespace {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    namespaces::Namespace {
        name: name.to_owned(),
        labels: labels.collect(),
    }
}

/// Some of everything that publishes, and of what does not.
fn operations() -> Vec<Call> {
    let bare = |name: &str| images::Image {
        name: name.to_owned(),
        ..Default::default()
    };
    let create_namespace = |named| {
        Ask::CreateNamespace(namespaces::CreateNamespaceRequest {
            namespace: Some(named),
        })
    };
    vec![
        call("one", create(image("a", "1", &[("app", "web")]))),
        call("one", create(image("a", "1", &[]))),
        call(
            "one",
            create(image(
                "b",
                "1",
                &[("app", "db"), ("empty", ""), ("tier", "1")],
            )),
        ),
        call("two", create(image("a", "2", &[]))),
        call("one", update(image("a", "2", &[]), &["target"])),
        call("one", update(image("a", "2", &[]), &["target"])),
        call(
            "one",
            update(image("a", "2", &[("app", "db"), ("x", "")]), &["labels"]),
        ),
        call("one", update(bare("a"), &["labels.app"])),
        call("one", update(bare("a"), &["labels.app", "name"])),
        call("one", update(bare("absent"), &["labels.app"])),
        call("one", update(image("a", "3", &[("k", "\u{fc}")]), &[])),
        call("three", create_namespace(namespace("three", &[("a", "b")]))),
        call("three", create_namespace(namespace("three", &[]))),
        call(
            "three",
            Ask::UpdateNamespace(namespaces::UpdateNamespaceRequest {
                namespace: Some(namespace("three", &[("c", "d")])),
                update_mask: None,
            }),
        ),
        call(
            "three",
            Ask::CreateLease(leases::CreateRequest {
                id: "l".to_owned(),
                ..Default::default()
            }),
        ),
        call("two", delete("a")),
        call("two", delete("a")),
        call("one", delete("b")),
        call(
            "two",
            Ask::DeleteNamespace(namespaces::DeleteNamespaceRequest {
                name: "two".to_owned(),
            }),
        ),
        call(
            "one",
            Ask::DeleteNamespace(namespaces::DeleteNamespaceRequest {
                name: "one".to_owned(),
            }),
        ),
        call(
            "three",
            Ask::DeleteNamespace(namespaces::DeleteNamespaceRequest {
                name: "three".to_owned(),
            }),
        ),
        call("one", delete("a")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_operations_give_the_same_envelopes() {
    let Some(daemons) = both().await else {
        return;
    };
    let filters: [&[&str]; 14] = [
        &[],
        &[""],
        &["topic~=\"/images/\""],
        &["topic==\"/images/create\""],
        &["topic~=|^/namespaces/|"],
        &["namespace==one"],
        &["namespace==one,topic~=|^/images/|"],
        &["namespace==two", "topic==\"/images/delete\""],
        &["event.name==a"],
        &["event.name~=^b$"],
        &["event.labels.app==web"],
        &["event.labels.app!=web"],
        &["event.nothing==x"],
        &["timestamp"],
    ];
    let mut told: Vec<Vec<Vec<Told>>> = Vec::new();
    for daemon in &daemons {
        let mut subscriptions = Vec::new();
        for filters in filters {
            subscriptions.push(Subscription::start(daemon, filters).await);
        }
        let channel = daemon.channel().await;
        for call in operations() {
            // What is refused is to publish nothing.
            let _ = call.send(&channel).await;
        }
        let mut of_daemon = Vec::new();
        for subscription in subscriptions {
            let envelopes = subscription.told().await;
            of_daemon.push(envelopes.into_iter().map(compared).collect());
        }
        told.push(of_daemon);
    }
    for (nth, filters) in filters.iter().enumerate() {
        assert_eq!(told[0][nth], told[1][nth], "left: containerd; {filters:?}");
    }
    assert!(told[0][0].len() > 12, "{:?}", told[0][0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_calls_give_the_same_envelopes_of_images() {
    let Some(daemons) = both().await else {
        return;
    };
    let seed = seed();
    eprintln!("IMAGESTORE_SEED={seed}");
    let filter = "topic~=\"/images/\"";
    let channels = [daemons[0].channel().await, daemons[1].channel().await];
    let subscriptions = [
        Subscription::start(&daemons[0], &[filter]).await,
        Subscription::start(&daemons[1], &[filter]).await,
    ];
    let mut planner = Planner::new(seed, true);
    let mut lane = Lane::new(&channels, "even");
    for _ in 0..2000 {
        lane.ask_and_heal(&planner.next()).await;
    }
    let [containerd, imagestore] = subscriptions;
    let [containerd, imagestore] = [containerd.told().await, imagestore.told().await];
    let is_kept = |envelope: &Told| {
        envelope
            .2
            .as_ref()
            .is_none_or(|(_, fields, _)| !lane.healed(&fields.name))
    };
    let kept = |told: Vec<Envelope>| -> Vec<Told> {
        told.into_iter().map(compared).filter(is_kept).collect()
    };
    let (containerd, imagestore) = (kept(containerd), kept(imagestore));
    for (nth, (one, other)) in containerd.iter().zip(&imagestore).enumerate() {
        assert_eq!(one, other, "left: containerd; event {nth}");
    }
    assert_eq!(containerd.len(), imagestore.len());
    assert!(containerd.len() > 50, "{containerd:?}");
}

fn any() -> Option<Any> {
    Some(mark("x"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_is_refused_alike() {
    let Some(daemons) = both().await else {
        return;
    };
    // An absent event, and Forward without an envelope, end containerd itself.
    let topics = [
        "",
        "x",
        "/",
        "/x",
        "/x/y",
        "//",
        "/a//b",
        "/a/",
        "x/y",
        "/a b",
        "/\u{fc}",
        "/a.b-c_d",
        "/-a",
        "/a__b",
        " /a",
        "/a\n",
        "/images/create",
    ];
    let headers: [&[&str]; 5] = [&["one"], &[], &[""], &["no/name"], &["one", "no/name"]];
    let times = [
        None,
        Some((0, 0)),
        Some((-62_135_596_800, 0)),
        Some((1_700_000_000, 5)),
        Some((-5, 5)),
    ];
    let [containerd, imagestore] = [daemons[0].channel().await, daemons[1].channel().await];
    for topic in topics {
        for header in headers {
            let header: Vec<String> = header.iter().map(|value| (*value).to_owned()).collect();
            let publish = async |channel: &Channel| {
                let request = pb::PublishRequest {
                    topic: topic.to_owned(),
                    event: any(),
                };
                let request = with_metadata(request, &header, None);
                said(
                    EventsClient::new(channel.clone())
                        .publish(request)
                        .await
                        .map(drop),
                )
            };
            let (one, other) = (publish(&containerd).await, publish(&imagestore).await);
            assert_eq!(one, other, "left: containerd; Publish {topic:?} {header:?}");
        }
        for namespace in ["one", "", "no/name", &"n".repeat(77)] {
            for time in times {
                let forward = async |channel: &Channel| {
                    let envelope = Envelope {
                        timestamp: time.map(|(seconds, nanos)| Timestamp { seconds, nanos }),
                        namespace: namespace.to_owned(),
                        topic: topic.to_owned(),
                        event: any(),
                    };
                    let request = pb::ForwardRequest {
                        envelope: Some(envelope),
                    };
                    said(
                        EventsClient::new(channel.clone())
                            .forward(request)
                            .await
                            .map(drop),
                    )
                };
                let (one, other) = (forward(&containerd).await, forward(&imagestore).await);
                assert_eq!(
                    one, other,
                    "left: containerd; Forward {namespace:?} {topic:?} {time:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_comes_out_as_it_went_in() {
    let Some(daemons) = both().await else {
        return;
    };
    let create = images::ImageCreate {
        name: "published".to_owned(),
        ..Default::default()
    };
    let events = [
        mark("anything"),
        Any {
            type_url: "containerd.services.images.v1.ImageCreate".to_owned(),
            value: create.encode_to_vec(),
        },
        Any {
            type_url: "type.googleapis.com/containerd.services.images.v1.ImageCreate".to_owned(),
            value: create.encode_to_vec(),
        },
        Any {
            type_url: "containerd.services.images.v1.ImageCreate".to_owned(),
            value: vec![0xff; 3],
        },
        Any::default(),
    ];
    let filters: [&[&str]; 5] = [
        &[],
        &["event.name==published"],
        &["event.name!=published"],
        &["namespace==elsewhere"],
        &["topic==\"/custom/topic\""],
    ];
    let mut told = Vec::new();
    for daemon in &daemons {
        let mut subscriptions = Vec::new();
        for filters in filters {
            subscriptions.push(Subscription::start(daemon, filters).await);
        }
        let channel = daemon.channel().await;
        for event in &events {
            publish(&channel, "/custom/topic", Some(event.clone()))
                .await
                .unwrap();
            let envelope = Envelope {
                timestamp: Some(Timestamp {
                    seconds: 1_700_000_000,
                    nanos: 5,
                }),
                namespace: "elsewhere".to_owned(),
                topic: "/forwarded".to_owned(),
                event: Some(event.clone()),
            };
            let request = pb::ForwardRequest {
                envelope: Some(envelope),
            };
            EventsClient::new(channel.clone())
                .forward(request)
                .await
                .unwrap();
        }
        let mut of_daemon = Vec::new();
        for subscription in subscriptions {
            let mut envelopes = subscription.told().await;
            // The time of a Publish is the daemon's; that of a Forward is kept.
            for envelope in &mut envelopes {
                if envelope.topic == "/custom/topic" {
                    envelope.timestamp = None;
                }
            }
            of_daemon.push(envelopes);
        }
        told.push(of_daemon);
    }
    for (nth, filters) in filters.iter().enumerate() {
        assert_eq!(told[0][nth], told[1][nth], "left: containerd; {filters:?}");
    }
    assert_eq!(told[0][0].len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_filters_of_a_subscription_are_refused_alike() {
    let Some(daemons) = both().await else {
        return;
    };
    for filter in [
        "topic==/images/create",
        "=",
        "topic=x",
        "a,",
        "namespace==\"x",
        "event.a/b==c",
    ] {
        let subscribe = async |daemon: &Daemon| {
            let request = pb::SubscribeRequest {
                filters: vec![String::new(), filter.to_owned()],
            };
            let answer = EventsClient::new(daemon.channel().await)
                .subscribe(request)
                .await;
            match answer {
                Ok(stream) => said(stream.into_inner().message().await.map(drop)),
                Err(status) => said(Err(status)),
            }
        };
        let (one, other) = (subscribe(&daemons[0]).await, subscribe(&daemons[1]).await);
        assert_eq!(one, other, "left: containerd; {filter:?}");
        assert!(one.is_err());
    }
}

fn said(answer: Result<(), Status>) -> Result<(), (Code, String)> {
    answer.map_err(|status| (status.code(), status.message().to_owned()))
}
