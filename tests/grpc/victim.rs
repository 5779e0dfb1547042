//! A server that is sent bad input, and must not change by it.

use std::fmt::Debug;

use imagestore::proto::v1 as pb;
use imagestore::proto::v1::images_client::ImagesClient;
use imagestore::proto::v1::namespaces_client::NamespacesClient;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::common::{Server, assert_refused, get, put};

/// A server with one image, `kept` in `default`, that must stay as it is.
pub struct Victim {
    pub server: Server,
    pub images: ImagesClient<Channel>,
    pub namespaces: NamespacesClient<Channel>,
    before: [i64; 4],
    kept: pb::Image,
}

impl Victim {
    pub async fn new() -> Self {
        let server = Server::start().await;
        let (mut images, namespaces) = (server.images().await, server.namespaces().await);
        let kept = images
            .put(put("kept", "kept"))
            .await
            .unwrap()
            .into_inner()
            .image
            .unwrap();
        Self {
            before: server.state().await,
            server,
            images,
            namespaces,
            kept,
        }
    }

    /// The answer is an error with this code, reason and field; nothing has changed, and the server
    /// still serves.
    pub async fn refused<T: Debug>(
        &mut self,
        answer: Result<Response<T>, Status>,
        code: Code,
        reason: &str,
        field: Option<&str>,
    ) -> Status {
        let status = answer.expect_err("it was taken");
        assert_refused(&status, code, reason, field);
        assert_eq!(self.server.state().await, self.before);
        let kept = self
            .images
            .get(get("kept"))
            .await
            .unwrap()
            .into_inner()
            .image
            .unwrap();
        assert_eq!(kept, self.kept);
        assert!(
            !self.server.stderr().contains("panicked"),
            "{}",
            self.server.stderr()
        );
        status
    }

    pub async fn put_refused(&mut self, request: pb::PutImageRequest, field: &str) -> Status {
        let answer = self.images.put(request).await;
        self.refused(answer, Code::InvalidArgument, "INVALID_FIELD", Some(field))
            .await
    }

    pub async fn list_refused(&mut self, request: pb::ListImagesRequest, field: &str) -> Status {
        let stream = pb::StreamImagesRequest {
            namespace: request.namespace.clone(),
            name_prefix: request.name_prefix.clone(),
            digest: request.digest.clone(),
            digest_prefix: request.digest_prefix.clone(),
            filters: request.filters.clone(),
        };
        let count = pb::CountImagesRequest {
            namespace: request.namespace.clone(),
            name_prefix: request.name_prefix.clone(),
            digest: request.digest.clone(),
            digest_prefix: request.digest_prefix.clone(),
            filters: request.filters.clone(),
        };
        let streamed = self.images.stream(stream).await;
        let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
        self.refused(streamed, code, reason, Some(field)).await;
        let counted = self.images.count(count).await;
        self.refused(counted, code, reason, Some(field)).await;
        let listed = self.images.list(request).await;
        self.refused(listed, code, reason, Some(field)).await
    }

    pub async fn namespace_refused(
        &mut self,
        request: pb::PutNamespaceRequest,
        field: &str,
    ) -> Status {
        let answer = self.namespaces.put(request).await;
        self.refused(answer, Code::InvalidArgument, "INVALID_FIELD", Some(field))
            .await
    }
}
