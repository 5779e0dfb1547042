//! Deadlines, health, reflection, and what the server does not know.

use std::time::{Duration, Instant};

use bytes::Bytes;
use imagestore::proto::v1 as pb;
use imagestore::proto::v1::images_client::ImagesClient;
use prost::Message;
use tonic::{Code, Request};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::common::{Server, assert_refused, get};
use crate::listing::heavy;
use crate::malformed::call;
use crate::victim::Victim;

const SERVICES: [&str; 5] = [
    "imagestore.v1.BuildCache",
    "imagestore.v1.Configs",
    "imagestore.v1.Images",
    "imagestore.v1.Namespaces",
    "imagestore.v1.Store",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_read_too_slowly_ends_at_its_deadline() {
    let server = Server::start().await;
    let mut images = server.images().await;
    for i in 0..40 {
        images
            .put(heavy(&format!("h{i:02}"), 200_000))
            .await
            .unwrap();
    }
    // So little is under way that the server soon has to wait for the reader.
    let channel = server
        .endpoint()
        .initial_stream_window_size(65_535)
        .connect()
        .await
        .unwrap();
    let mut images = ImagesClient::new(channel);
    let mut request = Request::new(pb::StreamImagesRequest::default());
    let deadline = Duration::from_millis(500);
    request
        .metadata_mut()
        .insert("grpc-timeout", "500m".parse().unwrap());
    let began = Instant::now();
    let mut stream = images.stream(request).await.unwrap().into_inner();
    stream.message().await.unwrap().expect("the first chunk");
    tokio::time::sleep_until((began + deadline * 3 / 2).into()).await;
    let status = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it went on to its end after its deadline"),
            Err(status) => break status,
        }
    };
    assert_refused(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None);
    assert_eq!(
        server
            .images()
            .await
            .get(get("h00"))
            .await
            .unwrap()
            .into_inner()
            .revision,
        41
    );
}

#[tokio::test]
async fn a_deadline_that_is_none_is_refused() {
    let mut victim = Victim::new().await;
    for timeout in ["", "1", "S", "1s", "-1S", "1.5S", "123456789S", "soon"] {
        let mut request = Request::new(get("kept"));
        request
            .metadata_mut()
            .insert("grpc-timeout", timeout.parse().unwrap());
        let answer = victim.images.get(request).await;
        victim
            .refused(answer, Code::InvalidArgument, "MALFORMED_REQUEST", None)
            .await;
    }
    let mut request = Request::new(get("kept"));
    request
        .metadata_mut()
        .insert("grpc-timeout", "99999999H".parse().unwrap());
    victim.images.get(request).await.unwrap();
}

#[tokio::test]
async fn what_is_not_served_is_named() {
    let mut victim = Victim::new().await;
    for (path, wanted) in [
        (
            "/imagestore.v1.Images/Nope",
            "unknown method Nope for service imagestore.v1.Images",
        ),
        (
            "/imagestore.v1.Store/Backup2",
            "unknown method Backup2 for service imagestore.v1.Store",
        ),
        (
            "/imagestore.v9.Images/Get",
            "unknown service imagestore.v9.Images",
        ),
        ("/nope.Nope/Get", "unknown service nope.Nope"),
        ("/nope", "unknown service nope"),
    ] {
        let channel = victim.server.channel().await;
        let answer = call(&channel, path, vec![Bytes::new()]).await;
        let status = victim
            .refused(answer, Code::Unimplemented, "UNIMPLEMENTED", None)
            .await;
        assert!(status.message().contains(wanted), "{path}: {status:?}");
    }
}

#[tokio::test]
async fn health_knows_every_service_and_no_other() {
    let server = Server::start().await;
    for service in SERVICES.into_iter().chain([""]) {
        assert_eq!(
            server.health(service).await,
            Ok(ServingStatus::Serving),
            "{service}"
        );
    }
    assert_eq!(
        server.health("imagestore.v1.Nope").await,
        Err(Code::NotFound)
    );
}

/// The same questions to either version of the reflection service.
macro_rules! reflection {
    ($test:ident, $pb:path) => {
        #[tokio::test]
        async fn $test() {
            use reflection::server_reflection_client::ServerReflectionClient;
            use reflection::server_reflection_request::MessageRequest;
            use reflection::server_reflection_response::MessageResponse;
            use $pb as reflection;

            let server = Server::start().await;
            let mut client = ServerReflectionClient::new(server.channel().await);
            let questions = [
                MessageRequest::ListServices(String::new()),
                MessageRequest::FileContainingSymbol("imagestore.v1.Configs.Create".to_owned()),
                MessageRequest::FileContainingSymbol("imagestore.v1.LookupResponse".to_owned()),
                MessageRequest::FileContainingSymbol("imagestore.v1.Images".to_owned()),
                MessageRequest::FileContainingSymbol("imagestore.v1.Images.Put".to_owned()),
                MessageRequest::FileByFilename("imagestore/v1/image.proto".to_owned()),
                MessageRequest::FileByFilename("google/protobuf/timestamp.proto".to_owned()),
                MessageRequest::FileContainingSymbol("grpc.health.v1.Health".to_owned()),
                MessageRequest::FileContainingSymbol(
                    "imagestore.storage.v1.ImageRecord".to_owned(),
                ),
            ];
            let requests = questions.map(|question| reflection::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(question),
            });
            let mut answers = client
                .server_reflection_info(futures::stream::iter(requests))
                .await
                .unwrap()
                .into_inner();
            let mut next = async || answers.message().await;

            let Some(MessageResponse::ListServicesResponse(list)) =
                next().await.unwrap().unwrap().message_response
            else {
                panic!("no list");
            };
            let mut served: Vec<_> = list
                .service
                .into_iter()
                .map(|service| service.name)
                .collect();
            served.sort();
            for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
                assert!(
                    served.iter().any(|name| name == service),
                    "{service} in {served:?}"
                );
            }
            for wanted in [
                "imagestore/v1/configs.proto",
                "imagestore/v1/build_cache.proto",
                "imagestore/v1/images.proto",
                "imagestore/v1/images.proto",
                "imagestore/v1/image.proto",
                "google/protobuf/timestamp.proto",
                "",
            ] {
                let answer = next().await.unwrap().unwrap().message_response;
                let Some(MessageResponse::FileDescriptorResponse(files)) = answer else {
                    panic!("no file for {wanted}: {answer:?}");
                };
                let file = &files.file_descriptor_proto[0][..];
                let file = prost_types::FileDescriptorProto::decode(file).unwrap();
                assert!(
                    wanted.is_empty() || file.name() == wanted,
                    "{}",
                    file.name()
                );
                if wanted == "imagestore/v1/images.proto" {
                    let methods = &file.service[0].method;
                    let names: Vec<_> = methods.iter().map(|method| method.name()).collect();
                    let wanted = [
                        "Put", "Get", "List", "Stream", "Count", "Delete", "Apply", "History",
                        "Rollback", "Watch",
                    ];
                    assert_eq!(names, wanted);
                }
            }
            // What is stored is nobody's business.
            match next().await {
                Ok(Some(answer)) => {
                    let error = matches!(
                        answer.message_response,
                        Some(MessageResponse::ErrorResponse(_))
                    );
                    assert!(error, "{answer:?}");
                }
                Ok(None) => panic!("no answer"),
                Err(status) => assert_eq!(status.code(), Code::NotFound),
            }
        }
    };
}

reflection!(
    reflection_v1_describes_every_service,
    tonic_reflection::pb::v1
);
reflection!(
    reflection_v1alpha_describes_every_service,
    tonic_reflection::pb::v1alpha
);
