//! An answer that holds something until it has been read.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;

/// What an answer holds; an extension of it.
#[derive(Clone)]
pub struct Held {
    _until_dropped: Arc<dyn Any + Send + Sync>,
}

struct Holding {
    body: Body,
    /// What is left of the data that came last.
    rest: Bytes,
    _held: Held,
}

/// Data goes out in pieces: whatever a body gives is taken at once, and waits outside of it for the reader.
const PIECE_BYTES: usize = 128 << 10;
/// The end is copied, so that what still waits when the body is gone, about 400 KiB and a piece, does not
/// keep all of it.
const END_BYTES: usize = 5 * PIECE_BYTES;

impl Held {
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self {
            _until_dropped: Arc::new(held),
        }
    }
}

/// Lets go of what the answer holds with its body, which goes when the last of it is on its way.
pub fn until_read(mut response: Response<Body>) -> Response<Body> {
    match response.extensions_mut().remove::<Held>() {
        Some(held) => response.map(|body| {
            Body::new(Holding {
                body,
                rest: Bytes::new(),
                _held: held,
            })
        }),
        None => response,
    }
}

impl HttpBody for Holding {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let before = self.rest.len();
        let piece = self.rest.split_to(before.min(PIECE_BYTES));
        if before > END_BYTES && self.rest.len() <= END_BYTES {
            self.rest = Bytes::copy_from_slice(&self.rest);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}
