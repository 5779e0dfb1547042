//! When a call must have answered, and what its caller is told when it has not.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use crate::service::status::{Face, Refusal};

/// How long a call may take until it answers, whatever its caller allows.
pub const MAX_UNARY_TIME: Duration = Duration::from_secs(30);

/// When a caller stops waiting.
pub struct Deadline {
    at: Instant,
    asked: Duration,
}

/// A body that ends with DEADLINE_EXCEEDED when time is up.
pub struct UntilDeadline {
    body: Body,
    deadline: Deadline,
    face: Face,
    /// Made when the body first has to be waited for.
    sleep: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

/// The answer, or DEADLINE_EXCEEDED. Most calls answer at once, and then no timer is made.
pub async fn within<E>(
    deadline: Option<&Deadline>,
    face: Face,
    answer: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    let mut answer = pin!(answer);
    if let Poll::Ready(answer) = futures::poll!(&mut answer) {
        return answer;
    }
    let cap = Instant::now() + MAX_UNARY_TIME;
    let at = deadline.map_or(cap, |deadline| deadline.at.min(cap));
    match tokio::time::timeout_at(at, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let limit = deadline.map_or(MAX_UNARY_TIME, |deadline| deadline.asked);
            Ok(exceeded(limit.min(MAX_UNARY_TIME), face).into_http())
        }
    }
}

/// `grpc-timeout`: up to 8 digits and a unit (gRPC over HTTP/2, "Timeout").
pub fn parse(header: &HeaderValue) -> Option<Duration> {
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

fn exceeded(limit: Duration, face: Face) -> Status {
    Refusal::DeadlineExceeded { limit }.status(face)
}

/// How much before the caller's deadline we answer. tonic has a timer of its own around ours, which
/// answers CANCELLED; ours must be first.
fn head_start(timeout: Duration) -> Duration {
    (timeout / 4).min(Duration::from_millis(10))
}

// === impl Deadline ===

impl Deadline {
    pub fn new(asked: Duration) -> Self {
        Self {
            at: Instant::now() + asked.saturating_sub(head_start(asked)),
            asked,
        }
    }
}

// === impl UntilDeadline ===

impl UntilDeadline {
    pub fn new(body: Body, deadline: Deadline, face: Face) -> Self {
        Self {
            body,
            deadline,
            face,
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
        if Instant::now() < self.deadline.at {
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
        let over = exceeded(self.deadline.asked, self.face);
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
    use tonic::Code;

    use super::super::status_of;
    use super::*;

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
        let deadline = Deadline::new(limit);
        let mut body = UntilDeadline::new(Body::new(Endless), deadline, Face::Native);
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
