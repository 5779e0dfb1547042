//! Signals: what is under way finishes, nothing new begins, health says so first.

use std::time::Duration;

use imagestore::proto::containerd::services::events::v1::SubscribeRequest;
use imagestore::proto::containerd::services::events::v1::events_client::EventsClient;
use imagestore::proto::v1 as pb;
use imagestore::proto::v1::images_client::ImagesClient;
use imagestore::proto::v1::watch_images_response::Kind;
use rustix::process::Signal;
use tonic::{Code, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::HealthCheckResponse;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::common::{Server, assert_refused, eventually, folder, get, put};

/// Less than the 30 s that calls may take in a drain, and far more than a drain without calls takes.
const NO_WAIT: Duration = Duration::from_secs(15);

/// Records so heavy that a stream of them has to wait for its reader.
async fn fill(server: &Server) {
    let mut images = server.images().await;
    for i in 0..30 {
        let mut request = put(&format!("h{i:02}"), "x");
        let target = request.image.as_mut().unwrap().target.as_mut().unwrap();
        target
            .annotations
            .insert("weight".to_owned(), "x".repeat(200_000));
        images.put(request).await.unwrap();
    }
}

/// A stream of all that [`fill`] put, with its first chunk read.
async fn begun(server: &Server) -> (Streaming<pb::StreamImagesResponse>, Vec<pb::Image>) {
    let channel = server
        .endpoint()
        .initial_stream_window_size(65_535)
        .connect()
        .await
        .unwrap();
    let mut images = ImagesClient::new(channel);
    let all = pb::StreamImagesRequest::default();
    let mut stream = images.stream(all).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap().images;
    (stream, first)
}

async fn watch(server: &Server) -> Streaming<HealthCheckResponse> {
    let mut health = HealthClient::new(server.channel().await);
    let request = HealthCheckRequest {
        service: "imagestore.v1.Images".to_owned(),
    };
    health.watch(request).await.unwrap().into_inner()
}

async fn drains(signal: Signal) {
    let root = folder();
    let mut server = Server::at(root.path()).await;
    fill(&server).await;
    let (mut stream, mut found) = begun(&server).await;
    let mut watched = watch(&server).await;
    let first = watched.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);

    server.signal(signal);
    let next = watched.message().await.unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
    drop(watched);
    eventually("new connections are refused", async || {
        server.endpoint().connect().await.is_err()
    })
    .await;
    assert!(
        !server.has_ended(),
        "a stream is under way: {}",
        server.stderr()
    );

    loop {
        match stream.message().await {
            Ok(Some(chunk)) => found.extend(chunk.images),
            Ok(None) => break,
            Err(why) => panic!("{why:?} after {}: {}", found.len(), server.stderr()),
        }
    }
    assert_eq!(found.len(), 30);
    drop(stream);
    let status = server.ended(NO_WAIT).await;
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());

    let again = Server::at(root.path()).await;
    assert_eq!(again.status().await.images, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_calls_finish_and_lets_none_begin() {
    drains(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_lets_calls_finish_and_lets_none_begin() {
    drains(Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_and_health_watches_do_not_hold_up_the_end() {
    let mut server = Server::start().await;
    let mut idle = server.images().await;
    idle.put(put("a", "a")).await.unwrap();
    let mut watched = watch(&server).await;
    watched.message().await.unwrap().unwrap();
    server.signal(Signal::TERM);
    let status = server.ended(NO_WAIT).await;
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
    assert!(idle.get(get("a")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_of_images_end_at_once_and_say_that_the_server_goes_away() {
    let mut server = Server::start().await;
    let mut images = server.images().await;
    let request = pb::WatchImagesRequest::default();
    let mut idle = images.watch(request).await.unwrap().into_inner();
    idle.message().await.unwrap().unwrap();
    let last = images.put(put("a", "a")).await.unwrap().into_inner();
    let told = idle.message().await.unwrap().unwrap().kind;
    let Some(Kind::Changes(changes)) = told else {
        panic!("{told:?}");
    };
    assert_eq!(changes.revision, last.revision);
    server.signal(Signal::TERM);
    let ended = idle.message().await.unwrap_err();
    assert_refused(&ended, Code::Unavailable, "GOING_AWAY", None);
    drop(idle);
    let status = server.ended(NO_WAIT).await;
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
    assert!(!server.stderr().contains("cut off"), "{}", server.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_of_containerds_clients_end_at_once_with_a_code_and_a_text() {
    let mut server = Server::start().await;
    let mut events = EventsClient::new(server.channel().await);
    let request = SubscribeRequest::default();
    let mut subscription = events.subscribe(request).await.unwrap().into_inner();
    let mut images = server.images().await;
    images.put(put("a", "a")).await.unwrap();
    let told = subscription.message().await.unwrap().unwrap();
    assert_eq!(
        (&*told.namespace, &*told.topic),
        ("default", "/images/create")
    );
    assert_eq!(server.status().await.watchers, 1);
    server.signal(Signal::TERM);
    let ended = subscription.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(
        ended.message(),
        "the server is going away; subscribe again: unavailable"
    );
    assert_eq!(ended.details(), b"");
    drop(subscription);
    let status = server.ended(NO_WAIT).await;
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
    assert!(!server.stderr().contains("cut off"), "{}", server.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let root = folder();
    let mut server = Server::at(root.path()).await;
    fill(&server).await;
    let (stream, _) = begun(&server).await;
    server.signal(Signal::TERM);
    eventually("it drains", async || {
        server.endpoint().connect().await.is_err()
    })
    .await;
    server.signal(Signal::TERM);
    let status = server.ended(NO_WAIT).await;
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
    drop(stream);
    assert_eq!(Server::at(root.path()).await.status().await.images, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_were_answered_before_the_end_are_there_after_it() {
    let root = folder();
    let mut server = Server::at(root.path()).await;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let endpoint = server.endpoint();
            tokio::spawn(async move {
                let mut images = ImagesClient::new(endpoint.connect().await.unwrap());
                let mut acknowledged = 0;
                while images
                    .put(put(&format!("{writer}/{acknowledged:06}"), "x"))
                    .await
                    .is_ok()
                {
                    acknowledged += 1;
                }
                acknowledged
            })
        })
        .collect();
    eventually("there is something to lose", async || {
        server.status().await.images > 100
    })
    .await;
    server.signal(Signal::TERM);
    let status = server.ended(NO_WAIT).await;
    assert_eq!(status.code(), Some(0), "{}", server.stderr());

    let server = Server::at(root.path()).await;
    let mut images = server.images().await;
    for (writer, acknowledged) in writers.into_iter().enumerate() {
        let acknowledged: i64 = acknowledged.await.unwrap();
        let of_writer = pb::CountImagesRequest {
            name_prefix: format!("{writer}/"),
            ..Default::default()
        };
        let there = images.count(of_writer).await.unwrap().into_inner().count;
        assert!(
            (acknowledged..=acknowledged + 1).contains(&there),
            "{there} of {acknowledged}"
        );
    }
}
