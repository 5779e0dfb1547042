//! Words and details for what tonic refuses by itself.

use http::Response;
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::{Code, Status};

use super::status_of;
use crate::service::status::{Face, Refusal};

/// tonic answers by itself what it cannot decode (INTERNAL), what is too large (OUT_OF_RANGE without
/// details) and what it does not know (UNIMPLEMENTED without words). Our services answer neither of
/// the first two, nor the third without words.
pub fn worded(
    response: Response<Body>,
    face: Face,
    service: &'static str,
    path: Option<&PathAndQuery>,
) -> Response<Body> {
    let headers = response.headers();
    let Some(code) =
        status_of(headers).filter(|_| !headers.contains_key("grpc-status-details-bin"))
    else {
        return response;
    };
    let said = || {
        let status = Status::from_header_map(headers);
        status.map_or_else(String::new, |status| status.message().to_owned())
    };
    let refusal = match code {
        Code::Internal => Refusal::Malformed(said()),
        Code::OutOfRange => Refusal::RequestTooLarge(said()),
        Code::Unimplemented if !headers.contains_key("grpc-message") => Refusal::UnknownMethod {
            service,
            method: method(path).to_owned(),
        },
        _ => return response,
    };
    refusal.status(face).into_http()
}

fn method(path: Option<&PathAndQuery>) -> &str {
    path.and_then(|path| path.path().rsplit('/').next())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tonic::{Request, Response, Status};
    use tonic_prost::ProstCodec;
    use tower::Layer;

    use super::*;
    use crate::proto::containerd::services::namespaces::v1 as pb;
    use crate::proto::containerd::services::namespaces::v1::namespaces_server::{
        Namespaces, NamespacesServer,
    };
    use crate::service::RequestLayer;

    /// Refuses by itself what its bytes are.
    struct Never;

    macro_rules! never {
        ($($method:ident: $asked:ty => $answer:ty,)*) => {
            #[tonic::async_trait]
            impl Namespaces for Never {
                $(async fn $method(&self, _: Request<$asked>) -> Result<Response<$answer>, Status> {
                    Err(Status::unknown("it came through"))
                })*
            }
        };
    }

    never! {
        get: pb::GetNamespaceRequest => pb::GetNamespaceResponse,
        list: pb::ListNamespacesRequest => pb::ListNamespacesResponse,
        create: pb::CreateNamespaceRequest => pb::CreateNamespaceResponse,
        update: pb::UpdateNamespaceRequest => pb::UpdateNamespaceResponse,
        delete: pb::DeleteNamespaceRequest => (),
    }

    /// What a method answers to a message that may not be its own.
    async fn answer(layer: RequestLayer, method: &str, message: pb::Namespace) -> Status {
        let server = NamespacesServer::new(Never).max_decoding_message_size(100);
        let mut client = tonic::client::Grpc::new(layer.layer(server));
        let path = format!("/containerd.services.namespaces.v1.Namespaces/{method}");
        let codec = ProstCodec::<_, ()>::default();
        let answer = client.unary(Request::new(message), path.parse().unwrap(), codec);
        answer.await.unwrap_err()
    }

    #[tokio::test]
    async fn what_tonic_refuses_is_said_as_each_face_says_it() {
        let named = |bytes: usize| pb::Namespace {
            name: "x".repeat(bytes),
            ..Default::default()
        };
        // A text where a message has to be.
        let malformed = named(3);
        let bytes = 200 + 3;
        for (layer, method, message, code, said) in [
            (
                RequestLayer::NATIVE,
                "Create",
                &malformed,
                Code::InvalidArgument,
                "failed to decode",
            ),
            (
                RequestLayer::CONTAINERD,
                "Create",
                &malformed,
                Code::Internal,
                "grpc: error unmarshalling request: failed to decode",
            ),
            (
                RequestLayer::NATIVE,
                "Get",
                &named(200),
                Code::ResourceExhausted,
                "Error, ",
            ),
            (
                RequestLayer::CONTAINERD,
                "Get",
                &named(200),
                Code::ResourceExhausted,
                &format!("grpc: received message larger than max ({bytes} vs. 100)"),
            ),
            (
                RequestLayer::CONTAINERD,
                "Burn",
                &named(1),
                Code::Unimplemented,
                "unknown method Burn for service containerd.services.namespaces.v1.Namespaces",
            ),
            (
                RequestLayer::CONTAINERD,
                "Get",
                &named(1),
                Code::Unknown,
                "it came through",
            ),
        ] {
            let refused = answer(layer, method, message.clone()).await;
            assert_eq!(refused.code(), code, "{refused:?}");
            assert!(refused.message().starts_with(said), "{refused:?}");
            let has_details = layer == RequestLayer::NATIVE;
            assert_eq!(!refused.details().is_empty(), has_details, "{refused:?}");
        }
    }
}
