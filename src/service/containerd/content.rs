//! `containerd.services.content.v1.Content`: there is none. Enough for clients that look for an
//! image's content before they go on.

use futures::stream;
use tonic::{Request, Response, Status, Streaming};

use super::digest::digest;
use super::error::{Fault, Kind, quoted};
use super::namespace;
use crate::domain::{Dialect, Digest, Filter, Subject, Value};
use crate::proto::containerd::services::content::v1 as pb;

/// The service.
pub struct Service;

/// Content as its fields, none of which any has.
struct NoContent;

/// What there is not.
fn no_content(digest: &Digest) -> Fault {
    Fault::new(Kind::NotFound, format!("content digest {digest}"))
}

fn no_write(name: &str) -> Fault {
    Fault::new(Kind::NotFound, format!("reference {name}"))
}

/// How Info and Update refuse a digest.
fn validated(text: &str) -> Result<Digest, Fault> {
    digest(text).map_err(|_| {
        let why = format!("{} failed validation", quoted(text));
        Fault::bare(Kind::InvalidArgument, why)
    })
}

fn filters(texts: &[String]) -> Result<(), Fault> {
    match Filter::parse::<NoContent>(texts, Dialect::Containerd) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new(Kind::InvalidArgument, error.to_string())),
    }
}

#[tonic::async_trait]
impl pb::content_server::Content for Service {
    async fn info(
        &self,
        request: Request<pb::InfoRequest>,
    ) -> Result<Response<pb::InfoResponse>, Status> {
        let digest = validated(&request.get_ref().digest)?;
        namespace(request.metadata())?;
        Err(no_content(&digest).into())
    }

    async fn update(
        &self,
        request: Request<pb::UpdateRequest>,
    ) -> Result<Response<pb::UpdateResponse>, Status> {
        let info = request.get_ref().info.as_ref();
        let digest = validated(info.map_or("", |info| &info.digest))?;
        namespace(request.metadata())?;
        Err(no_content(&digest).into())
    }

    type ListStream = stream::Empty<Result<pb::ListContentResponse, Status>>;

    async fn list(
        &self,
        request: Request<pb::ListContentRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        namespace(request.metadata())?;
        filters(&request.get_ref().filters)?;
        Ok(Response::new(stream::empty()))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteContentRequest>,
    ) -> Result<Response<()>, Status> {
        let digest = digest(&request.get_ref().digest)
            .map_err(|why| Fault::bare(Kind::InvalidArgument, why))?;
        namespace(request.metadata())?;
        Err(no_content(&digest).into())
    }

    type ReadStream = stream::Empty<Result<pb::ReadContentResponse, Status>>;

    async fn read(
        &self,
        request: Request<pb::ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let text = &request.get_ref().digest;
        let digest = digest(text)
            .map_err(|why| Fault::bare(Kind::InvalidArgument, format!("{text}: {why}")))?;
        namespace(request.metadata())?;
        Err(no_content(&digest).into())
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let name = &request.get_ref().r#ref;
        let fault = match namespace(request.metadata()) {
            Ok(_) => no_write(name),
            Err(fault) => fault,
        };
        let what = format!("could not get status for ref {}", quoted(name));
        Err(fault.within(&what).into())
    }

    async fn list_statuses(
        &self,
        request: Request<pb::ListStatusesRequest>,
    ) -> Result<Response<pb::ListStatusesResponse>, Status> {
        namespace(request.metadata())?;
        filters(&request.get_ref().filters)?;
        Ok(Response::new(pb::ListStatusesResponse::default()))
    }

    type WriteStream = stream::Empty<Result<pb::WriteContentResponse, Status>>;

    async fn write(
        &self,
        _: Request<Streaming<pb::WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let why = "content is not kept here";
        Err(Fault::new(Kind::NotImplemented, why).into())
    }

    async fn abort(&self, request: Request<pb::AbortRequest>) -> Result<Response<()>, Status> {
        namespace(request.metadata())?;
        Err(no_write(&request.get_ref().r#ref).into())
    }
}

// === impl NoContent ===

impl Subject for NoContent {
    fn kind(_: &[String]) -> Option<crate::domain::Kind> {
        None
    }

    fn value(&self, _: &[String]) -> Option<Value<'_>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tonic::Code;

    use super::*;
    use crate::proto::containerd::services::content::v1::content_client::ContentClient;
    use crate::proto::containerd::services::content::v1::content_server::ContentServer;
    use crate::service::fixture::{in_namespace, said};

    type Client = ContentClient<ContentServer<Service>>;

    fn client() -> Client {
        ContentClient::new(ContentServer::new(Service))
    }

    fn asked<T>(message: T, namespace: Option<&'static str>) -> Request<T> {
        match namespace {
            Some(namespace) => in_namespace(namespace, message),
            None => Request::new(message),
        }
    }

    const REQUIRED: &str = "namespace is required: failed precondition";

    fn refused<T>(answer: Result<Response<T>, Status>) -> (Code, String) {
        said(answer).err().expect("it is refused")
    }

    #[tokio::test]
    async fn no_content_is_there_and_a_bad_digest_is_said_first() {
        let good = format!("sha256:{}", "ab".repeat(32));
        let absent = format!("content digest {good}: not found");
        for (digest, namespace, code, info, read, delete) in [
            (
                &*good,
                Some("ns"),
                Code::NotFound,
                &*absent,
                &*absent,
                &*absent,
            ),
            (
                &*good,
                None,
                Code::FailedPrecondition,
                REQUIRED,
                REQUIRED,
                REQUIRED,
            ),
            (
                "md5:\"c",
                None,
                Code::InvalidArgument,
                r#""md5:\"c" failed validation"#,
                "md5:\"c: invalid checksum digest format",
                "invalid checksum digest format",
            ),
        ] {
            let digest = digest.to_owned();
            let request = asked(
                pb::InfoRequest {
                    digest: digest.clone(),
                },
                namespace,
            );
            let answer = refused(client().info(request).await);
            assert_eq!(answer, (code, info.to_owned()));

            let of = pb::Info {
                digest: digest.clone(),
                ..Default::default()
            };
            let request = pb::UpdateRequest {
                info: Some(of),
                update_mask: None,
            };
            let answer = refused(client().update(asked(request, namespace)).await);
            assert_eq!(answer, (code, info.to_owned()));

            let request = pb::ReadContentRequest {
                digest: digest.clone(),
                ..Default::default()
            };
            let answer = refused(client().read(asked(request, namespace)).await);
            assert_eq!(answer, (code, read.to_owned()));

            let request = asked(pb::DeleteContentRequest { digest }, namespace);
            let answer = refused(client().delete(request).await);
            assert_eq!(answer, (code, delete.to_owned()));
        }
        let answer = refused(client().update(pb::UpdateRequest::default()).await);
        assert_eq!(
            answer,
            (Code::InvalidArgument, r#""" failed validation"#.into())
        );
    }

    #[tokio::test]
    async fn nothing_is_being_written() {
        for (name, namespace, code, why) in [
            (
                "a\"b",
                Some("ns"),
                Code::NotFound,
                "reference a\"b: not found",
            ),
            ("a\"b", None, Code::FailedPrecondition, REQUIRED),
        ] {
            let request = pb::AbortRequest {
                r#ref: name.to_owned(),
            };
            let answer = refused(client().abort(asked(request, namespace)).await);
            assert_eq!(answer, (code, why.to_owned()));
            let request = pb::StatusRequest {
                r#ref: name.to_owned(),
            };
            let answer = refused(client().status(asked(request, namespace)).await);
            let why = format!(r#"could not get status for ref "a\"b": {why}"#);
            assert_eq!(answer, (code, why));
        }
    }

    #[tokio::test]
    async fn lists_are_empty() {
        let bad = "filters: parse error: [a >|=|< b]: unsupported operator \"=\": invalid argument";
        let bad = Err((Code::InvalidArgument, bad.to_owned()));
        let required = Err((Code::FailedPrecondition, REQUIRED.to_owned()));
        for (filters, namespace, said) in [
            (&["labels.a==b"][..], Some("ns"), Ok(())),
            (&[], Some("ns"), Ok(())),
            (&["a=b"], Some("ns"), bad),
            (&["a=b"], None, required),
        ] {
            let filters: Vec<_> = filters.iter().map(|text| (*text).to_owned()).collect();
            let request = pb::ListContentRequest {
                filters: filters.clone(),
            };
            match client().list(asked(request, namespace)).await {
                Ok(found) => assert_eq!(
                    (found.into_inner().count().await, Ok(())),
                    (0, said.clone())
                ),
                refusal => assert_eq!(Err(refused(refusal)), said),
            }
            let request = pb::ListStatusesRequest { filters };
            match client().list_statuses(asked(request, namespace)).await {
                Ok(found) => assert_eq!((found.into_inner().statuses, Ok(())), (vec![], said)),
                refusal => assert_eq!(Err(refused(refusal)), said),
            }
        }
    }
}
