//! What every request passes through: its deadline, its trace, and words for what tonic refuses.

mod deadline;
mod held;
mod words;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderMap, Request, Response};
use tonic::Code;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

#[cfg(test)]
pub(super) use self::deadline::MAX_UNARY_TIME;
use self::deadline::{Deadline, UntilDeadline, parse, within};
pub(super) use self::held::Held;
use self::held::until_read;
use self::words::worded;
use super::status::{Face, Refusal};

/// Applies [`RequestService`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLayer {
    face: Face,
}

/// Answers DEADLINE_EXCEEDED when the caller's `grpc-timeout` is over, for streams too, or 30 s after
/// the call began without an answer; opens a trace span for the call; and gives a code and words to
/// what tonic refuses by itself.
#[derive(Clone, Debug)]
pub struct RequestService<S> {
    inner: S,
    face: Face,
}

impl RequestLayer {
    /// For services of our own API, whose errors have details for programs.
    pub const NATIVE: Self = Self { face: Face::Native };

    /// For services of containerd's API, whose errors are a code and a text.
    pub const CONTAINERD: Self = Self {
        face: Face::Containerd,
    };
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestService {
            inner,
            face: self.face,
        }
    }
}

impl<S: NamedService> NamedService for RequestService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for RequestService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + NamedService,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = tracing::debug_span!(
            "rpc",
            method = request.uri().path().trim_start_matches('/'),
            namespace = field::Empty,
            name = field::Empty,
            revision = field::Empty,
            outcome = field::Empty,
        );
        // Needed as text only where the method is unknown.
        let path = request.uri().path_and_query().cloned();
        let asked = request.headers().get("grpc-timeout").map(parse);
        let face = self.face;
        let inner = self.inner.call(request);
        let answer = async move {
            let asked = match asked {
                Some(None) => return Ok(Refusal::MalformedTimeout.status(face).into_http()),
                Some(Some(asked)) => Some(Deadline::new(asked)),
                None => None,
            };
            let response = within(asked.as_ref(), face, inner).await?;
            let response = until_read(worded(response, face, S::NAME, path.as_ref()));
            Ok(match asked {
                Some(asked) => {
                    response.map(|body| Body::new(UntilDeadline::new(body, asked, face)))
                }
                None => response,
            })
        };
        if span.is_disabled() {
            return Box::pin(answer);
        }
        let traced = span.clone();
        let began = Instant::now();
        let answer = async move {
            let response = answer.await?;
            trace(&traced, response.headers(), began);
            Ok(response)
        };
        Box::pin(answer.instrument(span))
    }
}

/// The status that a response without a body carries in its headers.
fn status_of(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// Answers for the services that there are not, and for paths that name no method.
pub(super) async fn unknown_service(uri: http::Uri) -> Response<Body> {
    let path = uri.path().trim_start_matches('/');
    let (service, method) = path.rsplit_once('/').unwrap_or((path, ""));
    let refusal = match super::names().find(|known| *known == service) {
        Some(service) => Refusal::UnknownMethod {
            service,
            method: method.to_owned(),
        },
        None => Refusal::UnknownService(service.to_owned()),
    };
    // Of the many services that containerd has more than we do, its clients ask too.
    let face = match service.starts_with("containerd.") {
        true => Face::Containerd,
        false => Face::Native,
    };
    refusal.status(face).into_http()
}

fn trace(span: &Span, headers: &HeaderMap, began: Instant) {
    let code = status_of(headers).unwrap_or(Code::Ok);
    span.record("outcome", field::debug(code));
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(micros, "answered");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tonic::{Request as Asked, Status};
    use tonic_types::StatusExt;

    use super::*;
    use crate::kv::{Fault, Faulty, Memory};
    use crate::proto::v1 as pb;
    use crate::service::fixture::{client, store};
    use crate::store::Store;

    fn put(name: &str) -> pb::PutImageRequest {
        let target = pb::Descriptor {
            media_type: "a/b".to_owned(),
            digest: format!("sha256:{}", "ab".repeat(32)),
            size: 1,
            annotations: [("weight".to_owned(), "x".repeat(200_000))].into(),
            ..Default::default()
        };
        let image = pb::Image {
            name: name.to_owned(),
            target: Some(target),
            ..Default::default()
        };
        pb::PutImageRequest {
            image: Some(image),
            ..Default::default()
        }
    }

    fn with_timeout<T>(message: T, timeout: Option<&'static str>) -> Asked<T> {
        let mut request = Asked::new(message);
        if let Some(timeout) = timeout {
            let timeout = timeout.parse().unwrap();
            request.metadata_mut().insert("grpc-timeout", timeout);
        }
        request
    }

    #[tokio::test]
    async fn an_unknown_service_is_named_to_clients_of_either_face() {
        for (path, said, has_details) in [
            ("/a.b.C/Get", "unknown service a.b.C", true),
            (
                "/containerd.services.tasks.v1.Tasks/List",
                "unknown service containerd.services.tasks.v1.Tasks",
                false,
            ),
            (
                "/containerd.services.images.v1.Images/",
                "unknown method  for service containerd.services.images.v1.Images",
                false,
            ),
            ("/a/b/C", "unknown service a/b", true),
            ("/", "unknown service ", true),
        ] {
            let answer = unknown_service(path.parse().unwrap()).await;
            let status = Status::from_header_map(answer.headers()).unwrap();
            assert_eq!(status.code(), Code::Unimplemented);
            assert_eq!(status.message(), said);
            assert_eq!(!status.details().is_empty(), has_details, "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_ends_at_its_deadline_or_after_30_s() {
        for (timeout, at_least, at_most, said) in [
            (Some("50m"), 39, 50, "50ms"),
            (Some("2S"), 1_989, 2_000, "2s"),
            (None, 30_000, 30_001, "30s"),
            (Some("1H"), 30_000, 30_001, "30s"),
        ] {
            let kv = Arc::new(Faulty::new(Memory::new()));
            let store = store(kv.clone()).await;
            kv.plan(0, Fault::Stall(Arc::new(Notify::new())));
            let began = tokio::time::Instant::now();
            let answer = client!(&store).put(with_timeout(put("a"), timeout)).await;
            let refused = answer.unwrap_err();
            assert_eq!(refused.code(), Code::DeadlineExceeded, "{timeout:?}");
            let info = refused.get_error_details().error_info().cloned();
            assert_eq!(info.unwrap().reason, "DEADLINE_EXCEEDED");
            assert!(refused.message().contains(said), "{refused:?}");
            let took = began.elapsed().as_millis();
            assert!((at_least..=at_most).contains(&took), "{timeout:?}: {took}");
            client!(&store)
                .put(put("a"))
                .await
                .expect("the name is not held");
        }
    }

    async fn streamed(store: &Store, timeout: Option<&'static str>) -> Vec<pb::Image> {
        let all = with_timeout(pb::StreamImagesRequest::default(), timeout);
        let mut stream = client!(store).stream(all).await.unwrap().into_inner();
        let mut images = Vec::new();
        while let Some(chunk) = stream.message().await.unwrap() {
            images.extend(chunk.images);
        }
        images
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_ends_in_time_is_passed_unchanged() {
        let store = store(Arc::new(Memory::new())).await;
        for i in 0..30 {
            let request = with_timeout(put(&format!("n{i}")), Some("1S"));
            let answer = client!(&store).put(request).await.unwrap();
            assert!(answer.into_inner().created);
        }
        let all = streamed(&store, None).await;
        assert_eq!(all.len(), 30);
        assert_eq!(streamed(&store, Some("10S")).await, all);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_to_its_end_says_that_its_deadline_is_over() {
        let store = store(Arc::new(Memory::new())).await;
        for i in 0..30 {
            client!(&store).put(put(&format!("n{i}"))).await.unwrap();
        }
        let all = with_timeout(pb::StreamImagesRequest::default(), Some("10S"));
        let mut stream = client!(&store).stream(all).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        tokio::time::advance(Duration::from_secs(10)).await;
        let ended = loop {
            match stream.message().await {
                Ok(chunk) => assert!(chunk.is_some(), "it must not end as if it were whole"),
                Err(status) => break status,
            }
        };
        assert_eq!(ended.code(), Code::DeadlineExceeded);
        assert!(ended.message().contains("10s"), "{ended:?}");
    }
}
