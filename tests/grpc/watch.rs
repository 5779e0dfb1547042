//! Watch over a real socket.

use std::time::Duration;

use imagestore::proto::v1 as pb;
use imagestore::proto::v1::image_event::Event;
use imagestore::proto::v1::images_client::ImagesClient;
use imagestore::proto::v1::watch_images_response::Kind;
use tonic::{Code, Request, Streaming};

use crate::common::{
    PATIENCE, Server, assert_refused, delete, digest, eventually, fact, folder, get, put,
};
use crate::listing::heavy;

type Watch = Streaming<pb::WatchImagesResponse>;

async fn watch(server: &Server, request: pb::WatchImagesRequest) -> Watch {
    let mut images = server.images().await;
    images.watch(request).await.unwrap().into_inner()
}

async fn next(watch: &mut Watch) -> Kind {
    let message = tokio::time::timeout(PATIENCE, watch.message()).await;
    let message = message.expect("it says something").unwrap();
    message.expect("it goes on").kind.unwrap()
}

/// The next changes.
async fn changes(watch: &mut Watch) -> pb::ImageChanges {
    match next(watch).await {
        Kind::Changes(changes) => changes,
        other => panic!("{other:?}"),
    }
}

fn from_now() -> pb::WatchImagesRequest {
    pb::WatchImagesRequest::default()
}

fn after(revision: u64) -> pb::WatchImagesRequest {
    pb::WatchImagesRequest {
        after_revision: revision,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_watcher_is_told_of_puts_deletes_and_a_namespace_that_goes_with_all_in_it() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let with_previous = pb::WatchImagesRequest {
        with_previous: true,
        ..from_now()
    };
    let mut watched = watch(&server, with_previous).await;
    let Kind::Progress(begun) = next(&mut watched).await else {
        panic!("it says where it begins");
    };
    assert_eq!(begun.revision, server.status().await.revision);

    let first = images.put(put("a", "one")).await.unwrap().into_inner();
    let elsewhere = pb::PutImageRequest {
        namespace: "elsewhere".to_owned(),
        ..put("a", "one")
    };
    images.put(elsewhere).await.unwrap();
    let second = images.put(put("a", "two")).await.unwrap().into_inner();
    let gone = images.delete(delete("a")).await.unwrap().into_inner();
    images.put(put("b", "one")).await.unwrap();
    let force = pb::DeleteNamespaceRequest {
        name: "default".to_owned(),
        force: true,
        ..Default::default()
    };
    let forced = server.namespaces().await.delete(force).await.unwrap();

    let told = changes(&mut watched).await;
    assert_eq!(told.revision, first.revision);
    assert_eq!(told.events[0].event, first.image.clone().map(Event::Put));
    assert!(told.events[0].is_match && told.events[0].previous.is_none());
    assert!(told.committed_at.unwrap().seconds > 1_700_000_000);
    let told = changes(&mut watched).await;
    assert_eq!(told.revision, second.revision);
    assert_eq!(told.events[0].event, second.image.clone().map(Event::Put));
    assert_eq!(
        told.events[0].previous, first.image,
        "etag and revision too"
    );
    let told = changes(&mut watched).await;
    let name = pb::ImageName {
        namespace: "default".to_owned(),
        name: "a".to_owned(),
    };
    assert_eq!(told.revision, gone.revision);
    assert_eq!(told.events[0].event, Some(Event::Deleted(name)));
    assert_eq!(told.events[0].previous, second.image);
    assert_eq!(changes(&mut watched).await.events.len(), 1);
    let told = changes(&mut watched).await;
    let removed = pb::NamespaceRemoved {
        namespace: "default".to_owned(),
        images: 1,
    };
    assert_eq!(told.revision, forced.into_inner().revision);
    assert_eq!(told.events.len(), 1);
    assert_eq!(told.events[0].event, Some(Event::NamespaceRemoved(removed)));
}

#[tokio::test]
async fn initial_records_their_end_and_then_what_changes() {
    let server = Server::start().await;
    let mut images = server.images().await;
    for name in ["a1", "a2", "b"] {
        images.put(put(name, "one")).await.unwrap();
    }
    let initial = pb::WatchImagesRequest {
        name_prefix: "a".to_owned(),
        send_initial: true,
        ..from_now()
    };
    let mut watched = watch(&server, initial).await;
    let Kind::Initial(records) = next(&mut watched).await else {
        panic!("no records");
    };
    let read = images.get(get("a1")).await.unwrap().into_inner();
    assert_eq!(records.images.len(), 2);
    assert_eq!(records.images.first(), read.image.as_ref());
    let end = pb::InitialEnd {
        revision: read.revision,
    };
    assert_eq!(next(&mut watched).await, Kind::InitialEnd(end));
    images.put(put("b", "two")).await.unwrap();
    let new = images.put(put("a3", "one")).await.unwrap().into_inner();
    let told = changes(&mut watched).await;
    assert_eq!(told.revision, new.revision);
    assert_eq!(told.events[0].event, new.image.map(Event::Put));
}

#[tokio::test]
async fn the_namespace_comes_from_the_metadata_too_and_a_dash_is_all() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let mut by_metadata = Request::new(from_now());
    let header = "prod".parse().unwrap();
    by_metadata
        .metadata_mut()
        .insert("containerd-namespace", header);
    let mut prod = images.watch(by_metadata).await.unwrap().into_inner();
    let all = pb::WatchImagesRequest {
        namespace: "-".to_owned(),
        filters: vec![format!("target.digest=={}", digest("one"))],
        ..from_now()
    };
    let mut all = watch(&server, all).await;
    for (namespace, of) in [("test", "one"), ("prod", "two"), ("prod", "one")] {
        let put = pb::PutImageRequest {
            namespace: namespace.to_owned(),
            ..put("a", of)
        };
        images.put(put).await.unwrap();
    }
    let namespaces = async |watch: &mut Watch| {
        assert!(matches!(next(watch).await, Kind::Progress(_)));
        let mut namespaces = Vec::new();
        for _ in 0..2 {
            for event in changes(watch).await.events {
                let Some(Event::Put(image)) = event.event else {
                    panic!("{event:?}");
                };
                namespaces.push(image.namespace);
            }
        }
        namespaces
    };
    assert_eq!(namespaces(&mut prod).await, ["prod", "prod"]);
    assert_eq!(namespaces(&mut all).await, ["test", "prod"]);
}

#[tokio::test]
async fn a_request_that_cannot_be_is_refused_before_the_watch_begins() {
    let server = Server::start().await;
    let mut images = server.images().await;
    images.put(put("a", "one")).await.unwrap();
    let both = pb::WatchImagesRequest {
        send_initial: true,
        ..after(1)
    };
    let bad_filter = pb::WatchImagesRequest {
        filters: vec!["name==a".to_owned(), "nonsense==1".to_owned()],
        ..from_now()
    };
    let bad_namespace = pb::WatchImagesRequest {
        namespace: "a/b".to_owned(),
        ..from_now()
    };
    for (request, field) in [
        (both, "send_initial"),
        (bad_filter, "filters[1]"),
        (bad_namespace, "namespace"),
    ] {
        let status = images.watch(request).await.unwrap_err();
        assert_refused(&status, Code::InvalidArgument, "INVALID_FIELD", Some(field));
    }
    let newest = server.status().await.revision;
    let status = images.watch(after(newest + 1)).await.unwrap_err();
    assert_refused(&status, Code::OutOfRange, "UNKNOWN_REVISION", None);
    assert_eq!(fact(&status, "newest_revision"), newest.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_does_not_read_slows_no_writer_and_misses_nothing() {
    let server = Server::start().await;
    // So little is under way that the server soon has to wait for the reader.
    let channel = server
        .endpoint()
        .initial_stream_window_size(65_535)
        .connect()
        .await
        .unwrap();
    let mut slow = ImagesClient::new(channel)
        .max_decoding_message_size(16 << 20)
        .watch(from_now())
        .await
        .unwrap()
        .into_inner();
    let mut images = server.images().await;
    let mut revisions = Vec::new();
    for i in 0..200 {
        let put = images.put(heavy(&format!("n{i}"), 100_000)).await.unwrap();
        revisions.push(put.into_inner().revision);
    }
    assert!(matches!(next(&mut slow).await, Kind::Progress(_)));
    for revision in revisions {
        assert_eq!(changes(&mut slow).await.revision, revision);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_goes_on_after_the_server_was_killed() {
    let root = folder();
    let mut server = Server::at(root.path()).await;
    let mut images = server.images().await;
    let first = images.put(put("a", "one")).await.unwrap().into_inner();
    let mut watched = watch(&server, from_now()).await;
    assert!(matches!(next(&mut watched).await, Kind::Progress(_)));
    let second = images.put(put("b", "one")).await.unwrap().into_inner();
    assert_eq!(changes(&mut watched).await.revision, second.revision);
    server.kill();
    assert!(watched.message().await.is_err());

    let server = Server::at(root.path()).await;
    let mut images = server.images().await;
    let third = images.put(put("c", "one")).await.unwrap().into_inner();
    let mut watched = watch(&server, after(first.revision)).await;
    assert_eq!(changes(&mut watched).await.revision, second.revision);
    assert_eq!(changes(&mut watched).await.revision, third.revision);
}

#[tokio::test]
async fn the_status_counts_the_watches_under_way() {
    let server = Server::start().await;
    let watches = [
        watch(&server, from_now()).await,
        watch(&server, after(1)).await,
    ];
    assert_eq!(server.status().await.watchers, 2);
    drop(watches);
    eventually("those whose clients have gone end", async || {
        server.status().await.watchers == 0
    })
    .await;
}

#[tokio::test]
async fn a_watch_ends_at_its_callers_deadline() {
    let server = Server::start().await;
    let mut request = Request::new(from_now());
    request.set_timeout(Duration::from_millis(300));
    let mut images = server.images().await;
    let mut watched = images.watch(request).await.unwrap().into_inner();
    assert!(matches!(next(&mut watched).await, Kind::Progress(_)));
    let ended = watched.message().await.unwrap_err();
    assert_refused(&ended, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None);
}
