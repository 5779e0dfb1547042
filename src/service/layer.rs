//! What every request passes through: its deadline, its trace, and words for what tonic refuses.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use super::status::DOMAIN;

/// How long a call may take until it answers, whatever its caller allows.
pub const MAX_UNARY_TIME: Duration = Duration::from_secs(30);

/// Applies [`RequestService`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestLayer;

/// Answers DEADLINE_EXCEEDED when the caller's `grpc-timeout` is over, for streams too, or 30 s after
/// the call began without an answer; opens a trace span for the call; and gives a code and words to
/// what tonic refuses by itself.
#[derive(Clone, Debug)]
pub struct RequestService<S> {
    inner: S,
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestService { inner }
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
        let inner = self.inner.call(request);
        let answer = async move {
            let asked = match asked {
                Some(None) => return Ok(malformed_timeout().into_http()),
                Some(Some(asked)) => Some(Deadline::new(asked)),
                None => None,
            };
            let response = worded(within(asked.as_ref(), inner).await?, S::NAME, path.as_ref());
            Ok(match asked {
                Some(asked) => response.map(|body| Body::new(UntilDeadline::new(body, asked))),
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

/// When a caller stops waiting.
struct Deadline {
    at: tokio::time::Instant,
    asked: Duration,
}

impl Deadline {
    fn new(asked: Duration) -> Self {
        Self {
            at: tokio::time::Instant::now() + asked.saturating_sub(head_start(asked)),
            asked,
        }
    }
}

/// The answer, or DEADLINE_EXCEEDED. Most calls answer at once, and then no timer is made.
async fn within<E>(
    deadline: Option<&Deadline>,
    answer: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    let mut answer = pin!(answer);
    if let Poll::Ready(answer) = futures::poll!(&mut answer) {
        return answer;
    }
    let cap = tokio::time::Instant::now() + MAX_UNARY_TIME;
    let at = deadline.map_or(cap, |deadline| deadline.at.min(cap));
    match tokio::time::timeout_at(at, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let limit = deadline.map_or(MAX_UNARY_TIME, |deadline| deadline.asked);
            Ok(deadline_exceeded(limit.min(MAX_UNARY_TIME)).into_http())
        }
    }
}

/// How much before the caller's deadline we answer. tonic has a timer of its own around ours, which
/// answers CANCELLED; ours must be first.
fn head_start(timeout: Duration) -> Duration {
    (timeout / 4).min(Duration::from_millis(10))
}

/// `grpc-timeout`: up to 8 digits and a unit (gRPC over HTTP/2, "Timeout").
fn parse(header: &HeaderValue) -> Option<Duration> {
    let text = header.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

fn malformed_timeout() -> Status {
    said(
        Code::InvalidArgument,
        "MALFORMED_REQUEST",
        "grpc-timeout must be up to 8 digits and one of H M S m u n".to_owned(),
    )
}

fn deadline_exceeded(limit: Duration) -> Status {
    said(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        format!("no answer within {limit:?}; a write may still happen"),
    )
}

fn said(code: Code, reason: &str, message: String) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, std::collections::HashMap::new());
    Status::with_error_details(code, message, details)
}

/// The status that a response without a body carries in its headers.
fn status_of(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// tonic answers by itself what it cannot decode (INTERNAL), what is too large (OUT_OF_RANGE without
/// details) and what it does not know (UNIMPLEMENTED without words). We never answer INTERNAL.
fn worded(response: Response<Body>, service: &str, path: Option<&PathAndQuery>) -> Response<Body> {
    let headers = response.headers();
    let Some(code) =
        status_of(headers).filter(|_| !headers.contains_key("grpc-status-details-bin"))
    else {
        return response;
    };
    let message = || Status::from_header_map(headers).map(|status| status.message().to_owned());
    let (code, reason, message) = match code {
        Code::Internal => (
            Code::InvalidArgument,
            "MALFORMED_REQUEST",
            message().unwrap_or_default(),
        ),
        Code::OutOfRange => (
            Code::ResourceExhausted,
            "REQUEST_TOO_LARGE",
            message().unwrap_or_default(),
        ),
        Code::Unimplemented if !headers.contains_key("grpc-message") => {
            (Code::Unimplemented, "UNIMPLEMENTED", unknown(service, path))
        }
        _ => return response,
    };
    said(code, reason, message).into_http()
}

fn unknown(service: &str, path: Option<&PathAndQuery>) -> String {
    let method = path
        .and_then(|path| path.path().rsplit('/').next())
        .unwrap_or_default();
    format!("unknown method {method} for service {service}")
}

/// Answers for the services that there are not.
pub(super) async fn unknown_service(uri: http::Uri) -> Response<Body> {
    let service = uri
        .path()
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    let message = format!("unknown service {service}");
    said(Code::Unimplemented, "UNIMPLEMENTED", message).into_http()
}

fn trace(span: &Span, headers: &HeaderMap, began: Instant) {
    let code = status_of(headers).unwrap_or(Code::Ok);
    span.record("outcome", field::debug(code));
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(micros, "answered");
}

/// A body that ends with DEADLINE_EXCEEDED when time is up.
struct UntilDeadline {
    body: Body,
    deadline: Deadline,
    /// Made when the body first has to be waited for.
    sleep: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl UntilDeadline {
    fn new(body: Body, deadline: Deadline) -> Self {
        Self {
            body,
            deadline,
            sleep: None,
            is_over: false,
        }
    }
}

impl HttpBody for UntilDeadline {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // The time first: behind a slow reader the next frame is always ready.
        if tokio::time::Instant::now() < self.deadline.at {
            if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
                return Poll::Ready(frame);
            }
            let at = self.deadline.at;
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.is_over = true;
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        let over = deadline_exceeded(self.deadline.asked);
        Poll::Ready(Some(match over.add_header(&mut trailers) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(status) => Err(status),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_over {
            SizeHint::with_exact(0)
        } else {
            self.body.size_hint()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;
    use tonic::Request as Asked;

    use super::*;
    use crate::domain::Timestamp;
    use crate::kv::{Fault, Faulty, Kv, Memory};
    use crate::proto::v1 as pb;
    use crate::proto::v1::images_client::ImagesClient;
    use crate::service::native;
    use crate::store::{Store, StoreId, Surroundings};

    async fn store(kv: Arc<dyn Kv>) -> Store {
        let surroundings = Surroundings {
            clock: Arc::new(|| Timestamp::new(1000, 0).unwrap()),
            new_id: Arc::new(|| StoreId([9; 16])),
        };
        Store::on(kv, surroundings).await.unwrap()
    }

    /// The service behind the layer, called without a network and its timers.
    macro_rules! client {
        ($store:expr) => {
            ImagesClient::new(RequestLayer.layer(native::images($store)))
        };
    }

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

    /// Its next frame is always ready, as behind a slow reader.
    struct Endless;

    impl HttpBody for Endless {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_always_ready_ends_at_its_deadline_too() {
        let limit = Duration::from_secs(10);
        let mut body = UntilDeadline::new(Body::new(Endless), Deadline::new(limit));
        let mut next =
            async || std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        for _ in 0..3 {
            assert!(next().await.unwrap().unwrap().is_data());
        }
        tokio::time::advance(limit).await;
        let last = next().await.unwrap().unwrap();
        let trailers = last.into_trailers().unwrap_or_default();
        assert_eq!(status_of(&trailers), Some(Code::DeadlineExceeded));
        assert!(next().await.is_none());
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

    #[test]
    fn a_timeout_is_up_to_8_digits_and_a_unit() {
        let parsed = |text: &str| parse(&HeaderValue::from_str(text).unwrap());
        assert_eq!(parsed("15S"), Some(Duration::from_secs(15)));
        assert_eq!(parsed("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(
            parsed("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        for bad in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789S", "1é"] {
            assert_eq!(
                HeaderValue::from_str(bad)
                    .ok()
                    .and_then(|header| parse(&header)),
                None,
                "{bad}"
            );
        }
    }
}
