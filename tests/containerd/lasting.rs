//! What holds of imagestore alone: what containerd's clients must not destroy, what containerd itself does
//! not survive, and what came after 1.6.

use imagestore::proto::containerd::services::events::v1 as events;
use imagestore::proto::containerd::services::events::v1::events_client::EventsClient;
use imagestore::proto::containerd::services::images::v1 as pb;
use imagestore::proto::containerd::services::images::v1::images_client::ImagesClient;
use imagestore::proto::containerd::services::leases::v1 as leases;
use imagestore::proto::containerd::services::leases::v1::leases_client::LeasesClient;
use imagestore::proto::containerd::services::namespaces::v1 as namespaces;
use imagestore::proto::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use imagestore::proto::containerd::services::transfer::v1 as transfer;
use imagestore::proto::containerd::services::transfer::v1::transfer_client::TransferClient;
use imagestore::proto::containerd::types::{Descriptor, Envelope};
use imagestore::proto::v1 as native;
use prost::Message;
use prost_types::{FieldMask, Timestamp};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::call::{MAX_MESSAGE, with_metadata};
use crate::common::{Server, digest};
use crate::daemon::Daemon;

const NAMESPACE: &str = "default";

fn request<T>(message: T) -> Request<T> {
    with_metadata(message, &[NAMESPACE.to_owned()], None)
}

async fn images(server: &Server) -> ImagesClient<Channel> {
    let images = ImagesClient::new(server.channel().await);
    images.max_decoding_message_size(2 * MAX_MESSAGE)
}

fn target(of: &str) -> Descriptor {
    Descriptor {
        media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
        digest: digest(of),
        size: 3700,
        ..Default::default()
    }
}

fn image(name: &str, target: Descriptor) -> pb::Image {
    pb::Image {
        name: name.to_owned(),
        target: Some(target),
        ..Default::default()
    }
}

fn create(image: pb::Image) -> Request<pb::CreateImageRequest> {
    request(pb::CreateImageRequest {
        image: Some(image),
        ..Default::default()
    })
}

fn update(image: pb::Image, paths: Option<&[&str]>) -> Request<pb::UpdateImageRequest> {
    request(pb::UpdateImageRequest {
        image: Some(image),
        update_mask: paths.map(|paths| FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
        ..Default::default()
    })
}

fn get(name: &str) -> Request<pb::GetImageRequest> {
    request(pb::GetImageRequest {
        name: name.to_owned(),
    })
}

fn labelled(mut image: pb::Image, key: &str, value: &str) -> pb::Image {
    image.labels.insert(key.to_owned(), value.to_owned());
    image
}

/// A native record with all that containerd's descriptor has no field for.
async fn put_rich(server: &Server, name: &str) -> native::Descriptor {
    let target = native::Descriptor {
        urls: vec!["https://example.org/blob".to_owned()],
        platform: Some(Box::new(native::Platform {
            architecture: "arm64".to_owned(),
            os: "linux".to_owned(),
            ..Default::default()
        })),
        artifact_type: "application/vnd.example.thing".to_owned(),
        annotations: [("k".to_owned(), "v".to_owned())].into(),
        ..crate::common::target("rich")
    };
    let mut put = crate::common::put(name, "rich");
    put.image.as_mut().unwrap().target = Some(target.clone());
    server.images().await.put(put).await.unwrap();
    target
}

async fn native_target(server: &Server, name: &str) -> native::Descriptor {
    let answer = server.images().await.get(crate::common::get(name)).await;
    answer.unwrap().into_inner().image.unwrap().target.unwrap()
}

#[tokio::test]
async fn what_containerd_cannot_say_survives_its_updates() {
    let server = Server::start().await;
    let mut containerd = images(&server).await;
    let rich = put_rich(&server, "rich").await;
    let seen = containerd.get(get("rich")).await.unwrap().into_inner();
    let seen = seen.image.unwrap().target.unwrap();
    assert_eq!(
        (&seen.digest, &seen.annotations),
        (&rich.digest, &rich.annotations)
    );

    let equal = || labelled(image("rich", seen.clone()), "app", "web");
    let bare = || labelled(image("rich", Descriptor::default()), "app", "db");
    for update in [
        update(bare(), Some(&["labels.app"])),
        update(bare(), Some(&["labels"])),
        update(equal(), Some(&["target"])),
        update(equal(), Some(&[])),
        update(equal(), None),
        update(equal(), Some(&["annotations.k", "annotations"])),
    ] {
        let said = format!("{:?}", update.get_ref());
        containerd.update(update).await.unwrap();
        assert_eq!(native_target(&server, "rich").await, rich, "{said}");
    }
    // Annotations are of the target, and containerd can say them.
    let mut annotated = seen.clone();
    annotated.annotations = [("other".to_owned(), "1".to_owned())].into();
    containerd
        .update(update(image("rich", annotated.clone()), None))
        .await
        .unwrap();
    let kept = native_target(&server, "rich").await;
    assert_eq!(kept.annotations, annotated.annotations);
    assert_eq!((kept.urls, kept.platform), (rich.urls, rich.platform));
}

#[tokio::test]
async fn what_containerd_cannot_say_goes_with_the_target_it_was_about() {
    let server = Server::start().await;
    let mut containerd = images(&server).await;
    let other_size = Descriptor {
        size: 3701,
        ..target("rich")
    };
    let other_type = Descriptor {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        ..target("rich")
    };
    for replaced in [target("other"), other_size, other_type] {
        put_rich(&server, "rich").await;
        containerd
            .update(update(image("rich", replaced.clone()), Some(&["target"])))
            .await
            .unwrap();
        let now = native_target(&server, "rich").await;
        let expected = native::Descriptor {
            media_type: replaced.media_type,
            digest: replaced.digest,
            size: replaced.size,
            ..Default::default()
        };
        assert_eq!(now, expected);
    }
}

#[tokio::test]
async fn what_ends_containerd_is_refused() {
    let server = Server::start().await;
    let mut containerd = images(&server).await;
    let mut events = EventsClient::new(server.channel().await);
    let mut namespaces = NamespacesClient::new(server.channel().await);
    let mut leases = LeasesClient::new(server.channel().await);
    let mut transfer = TransferClient::new(server.channel().await);
    leases
        .create(request(leases::CreateRequest {
            id: "l".to_owned(),
            ..Default::default()
        }))
        .await
        .unwrap();
    let publish = events::PublishRequest {
        topic: "/a".to_owned(),
        event: None,
    };
    let envelope = Envelope {
        timestamp: Some(Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        }),
        namespace: NAMESPACE.to_owned(),
        topic: "/a".to_owned(),
        event: None,
    };
    let forward = events::ForwardRequest {
        envelope: Some(envelope),
    };
    let add = leases::AddResourceRequest {
        id: "l".to_owned(),
        resource: None,
    };
    let answers: [(&str, Result<(), Status>); 9] = [
        (
            "Create",
            containerd
                .create(request(pb::CreateImageRequest::default()))
                .await
                .map(drop),
        ),
        (
            "Update",
            containerd
                .update(request(pb::UpdateImageRequest::default()))
                .await
                .map(drop),
        ),
        ("Publish", events.publish(request(publish)).await.map(drop)),
        (
            "Forward",
            events
                .forward(request(events::ForwardRequest::default()))
                .await
                .map(drop),
        ),
        (
            "Forward without an event",
            events.forward(request(forward)).await.map(drop),
        ),
        (
            "Create of a namespace",
            namespaces
                .create(request(namespaces::CreateNamespaceRequest::default()))
                .await
                .map(drop),
        ),
        (
            "Update of a namespace",
            namespaces
                .update(request(namespaces::UpdateNamespaceRequest::default()))
                .await
                .map(drop),
        ),
        (
            "AddResource",
            leases.add_resource(request(add)).await.map(drop),
        ),
        (
            "Transfer",
            transfer
                .transfer(request(transfer::TransferRequest::default()))
                .await
                .map(drop),
        ),
    ];
    for (what, answer) in answers {
        let status = answer.expect_err(what);
        let is_theirs = matches!(status.code(), Code::InvalidArgument | Code::Unimplemented);
        assert!(
            is_theirs && !status.message().is_empty(),
            "{what}: {status:?}"
        );
        assert!(status.details().is_empty(), "{what}: {status:?}");
    }
    containerd
        .list(request(pb::ListImagesRequest::default()))
        .await
        .unwrap();
}

/// Calls a method that the clients have not, with a message of any bytes.
async fn call(channel: Channel, path: &'static str, message: Vec<u8>) -> Status {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    let codec = RawCodec;
    grpc.unary(request(message), path, codec)
        .await
        .map(drop)
        .unwrap_err()
}

/// Sends bytes as they are, and reads nothing.
#[derive(Default)]
struct RawCodec;

impl tonic::codec::Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = <ProstCodec<(), ()> as tonic::codec::Codec>::Decoder;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<(), ()>::default().decoder()
    }
}

impl tonic::codec::Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(
        &mut self,
        item: Vec<u8>,
        to: &mut tonic::codec::EncodeBuf<'_>,
    ) -> Result<(), Status> {
        bytes::BufMut::put_slice(to, &item);
        Ok(())
    }
}

#[tokio::test]
async fn what_no_service_answers_is_named_as_containerd_names_it() {
    let imagestore = Daemon::imagestore().await;
    let containerd = Daemon::containerd().await;
    for (path, message) in [
        (
            "/containerd.services.images.v1.Images/Nope",
            "unknown method Nope for service containerd.services.images.v1.Images",
        ),
        (
            "/containerd.services.introspection.v1.Introspection/PluginInfo",
            "unknown method PluginInfo for service containerd.services.introspection.v1.Introspection",
        ),
        ("/no.such.Service/Do", "unknown service no.such.Service"),
    ] {
        for daemon in std::iter::once(&imagestore).chain(&containerd) {
            let status = call(daemon.channel().await, path, Vec::new()).await;
            assert_eq!(
                (status.code(), status.message()),
                (Code::Unimplemented, message)
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_as_containerd_refuses_it() {
    let imagestore = Daemon::imagestore().await;
    let containerd = Daemon::containerd().await;
    let path = "/containerd.services.images.v1.Images/Get";
    // A name of five bytes, of which two came.
    let cut = vec![0x0a, 5, b'a', b'b'];
    let large = vec![0; MAX_MESSAGE + 1];
    for daemon in std::iter::once(&imagestore).chain(&containerd) {
        let status = call(daemon.channel().await, path, cut.clone()).await;
        assert_eq!(status.code(), Code::Internal);
        assert!(
            status
                .message()
                .starts_with("grpc: error unmarshalling request: "),
            "{status:?}"
        );
        let status = call(daemon.channel().await, path, large.clone()).await;
        let words = "grpc: received message larger than max (16777217 vs. 16777216)";
        assert_eq!(
            (status.code(), status.message()),
            (Code::ResourceExhausted, words)
        );
    }
}

#[tokio::test]
async fn messages_of_sixteen_mebibytes_go_through() {
    let server = Server::start().await;
    let mut containerd = images(&server).await;
    let annotated = |name: &str, bytes: usize| {
        let mut target = target(name);
        target.annotations.insert("k".to_owned(), "x".repeat(bytes));
        create(image(name, target))
    };
    let status = containerd
        .create(annotated("large", 5 << 20))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("262144"), "{status:?}");

    // Over four mebibytes are answered, and over sixteen refused.
    for nth in 0..50 {
        containerd
            .create(annotated(&format!("{nth}"), 200 << 10))
            .await
            .unwrap();
    }
    let all = || request(pb::ListImagesRequest::default());
    let listed = containerd.list(all()).await.unwrap().into_inner();
    assert_eq!(listed.images.len(), 50);
    assert!(listed.encoded_len() > 8 << 20);
    for nth in 50..90 {
        containerd
            .create(annotated(&format!("{nth}"), 200 << 10))
            .await
            .unwrap();
    }
    let status = containerd.list(all()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

#[tokio::test]
async fn a_source_date_is_the_time_of_a_record() {
    let server = Server::start().await;
    let mut containerd = images(&server).await;
    let at = |seconds| {
        Some(Timestamp {
            seconds,
            nanos: 123_456_789,
        })
    };
    let mut first = create(image("a", target("1")));
    first.get_mut().source_date_epoch = at(1_600_000_000);
    let made = containerd
        .create(first)
        .await
        .unwrap()
        .into_inner()
        .image
        .unwrap();
    assert_eq!(
        (made.created_at, made.updated_at),
        (at(1_600_000_000), at(1_600_000_000))
    );
    let mut earlier = update(image("a", target("2")), Some(&["target"]));
    earlier.get_mut().source_date_epoch = at(1_500_000_000);
    let changed = containerd
        .update(earlier)
        .await
        .unwrap()
        .into_inner()
        .image
        .unwrap();
    assert_eq!(
        (changed.created_at, changed.updated_at),
        (at(1_600_000_000), at(1_500_000_000))
    );
    let got = containerd
        .get(get("a"))
        .await
        .unwrap()
        .into_inner()
        .image
        .unwrap();
    assert_eq!(got, changed);
}

#[tokio::test]
async fn a_delete_with_a_target_deletes_no_other() {
    let server = Server::start().await;
    let mut containerd = images(&server).await;
    containerd
        .create(create(image("a", target("1"))))
        .await
        .unwrap();
    let delete = |target: Option<Descriptor>| {
        request(pb::DeleteImageRequest {
            name: "a".to_owned(),
            sync: true,
            target,
        })
    };
    let malformed = Descriptor {
        digest: "zz".to_owned(),
        ..Default::default()
    };
    for (other, said) in [(target("2"), digest("2")), (malformed, "zz".to_owned())] {
        let status = containerd.delete(delete(Some(other))).await.unwrap_err();
        let words = format!(
            "image \"a\" has target {}, not {said}: not found",
            digest("1")
        );
        assert_eq!((status.code(), status.message()), (Code::NotFound, &*words));
    }
    containerd.get(get("a")).await.unwrap();
    containerd.delete(delete(Some(target("1")))).await.unwrap();
    assert_eq!(
        containerd.get(get("a")).await.unwrap_err().code(),
        Code::NotFound
    );
    // A target without a digest is none.
    containerd
        .create(create(image("a", target("1"))))
        .await
        .unwrap();
    containerd
        .delete(delete(Some(Descriptor::default())))
        .await
        .unwrap();
}

#[tokio::test]
async fn native_changes_are_events_of_containerd() {
    let server = Server::start().await;
    let mut events = EventsClient::new(server.channel().await);
    let subscribe = events::SubscribeRequest {
        filters: vec![
            "topic~=\"/images/\"".to_owned(),
            "topic~=\"/namespaces/\"".to_owned(),
        ],
    };
    let mut stream = events.subscribe(subscribe).await.unwrap().into_inner();
    let mut native = server.images().await;
    native.put(crate::common::put("a", "1")).await.unwrap();
    native.put(crate::common::put("a", "2")).await.unwrap();
    native.delete(crate::common::delete("a")).await.unwrap();
    let named = native::Namespace {
        name: "made".to_owned(),
        ..Default::default()
    };
    let put = native::PutNamespaceRequest {
        namespace: Some(named),
        ..Default::default()
    };
    server.namespaces().await.put(put).await.unwrap();
    for (topic, namespace, type_url, name) in [
        (
            "/images/create",
            "default",
            "containerd.services.images.v1.ImageCreate",
            "a",
        ),
        (
            "/images/update",
            "default",
            "containerd.services.images.v1.ImageUpdate",
            "a",
        ),
        (
            "/images/delete",
            "default",
            "containerd.services.images.v1.ImageDelete",
            "a",
        ),
        (
            "/namespaces/create",
            "made",
            "containerd.events.NamespaceCreate",
            "made",
        ),
    ] {
        let envelope = stream.message().await.unwrap().unwrap();
        let event = envelope.event.unwrap();
        let fields = pb::ImageCreate::decode(&*event.value).unwrap();
        assert_eq!(
            (
                &*envelope.topic,
                &*envelope.namespace,
                &*event.type_url,
                &*fields.name
            ),
            (topic, namespace, type_url, name)
        );
    }
}
