//! How much memory large answers take, until their readers have them.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::Response;

use super::MAX_MESSAGE_BYTES;
use super::error::{Fault, Kind};
use crate::service::layer::Held;

/// The memory for large answers; all lists of a server share it.
#[derive(Clone)]
pub struct Answers {
    /// In units of [`UNIT`].
    free: Arc<Semaphore>,
    /// How long a list waits for others to be read.
    patience: Duration,
}

/// What one answer may take of it.
pub struct Share(OwnedSemaphorePermit);

const UNIT: usize = 1 << 10;
/// What large answers take together.
const MAX_HELD_BYTES: usize = 256 << 20;
/// An answer of so many bytes is not large: others have as many, and no share.
pub const SMALL_BYTES: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

impl Answers {
    pub fn new() -> Self {
        Self::of(MAX_HELD_BYTES)
    }

    fn of(bytes: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(bytes / UNIT)),
            patience: PATIENCE,
        }
    }

    /// Sees to it that an answer, of so many bytes so far, has a share if it needs one: as much as any can
    /// take, so that nobody waits for more while others wait for what he has.
    pub async fn share(&self, share: &mut Option<Share>, bytes: usize) -> Result<(), Fault> {
        if share.is_some() || bytes <= SMALL_BYTES {
            return Ok(());
        }
        let most = u32::try_from(MAX_MESSAGE_BYTES / UNIT).expect("it is small");
        let waited = timeout(self.patience, self.free.clone().acquire_many_owned(most)).await;
        let granted = waited.map_err(|_| {
            let why = "lists that have not been read yet take all the memory that there is for them; \
                       ask again, or for less with a filter";
            Fault::bare(Kind::ResourceExhausted, why)
        })?;
        *share = Some(Share(granted.expect("nobody closes it")));
        Ok(())
    }
}

/// An answer that keeps as much of its share as it needs, until it has been read.
pub fn sharing<M: Message>(message: M, share: Option<Share>) -> Response<M> {
    let kept = share.map(|Share(mut granted)| {
        let needed = message.encoded_len().div_ceil(UNIT);
        drop(granted.split(granted.num_permits().saturating_sub(needed)));
        Held::new(granted)
    });
    let mut response = Response::new(message);
    if let Some(kept) = kept {
        response.extensions_mut().insert(kept);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::Arc;

    use http::{Request, Response as HttpResponse};
    use http_body::Body as _;
    use tokio::net::UnixListener;
    use tokio_stream::wrappers::UnixListenerStream;
    use tonic::body::Body;
    use tonic::transport::{Endpoint, Server};
    use tonic::{Code, Status};
    use tower::{Layer, ServiceExt};

    use super::*;
    use crate::domain::{Algorithm, Descriptor, Digest, ImageChange, Labels, Size};
    use crate::kv::Memory;
    use crate::proto::containerd::services::images::v1::images_server::ImagesServer;
    use crate::service::containerd::images::Service;
    use crate::service::fixture::store;
    use crate::service::layer::RequestLayer;
    use crate::store::{PutImage, Store};

    /// A namespace whose List has more than 1 MiB and less than 2.
    async fn filled() -> Store {
        let store = store(Arc::new(Memory::new())).await;
        for name in ["a", "b", "c", "d", "e", "f"] {
            let digest = Digest::of(Algorithm::Sha256, b"");
            let size = Size::try_from(1u64).unwrap();
            let annotations = [("k".to_owned(), "v".repeat(200_000))];
            let target = Descriptor::new("a/b".parse().unwrap(), digest, size)
                .with_annotations(annotations.into())
                .unwrap();
            let change = ImageChange::Replace {
                target,
                labels: Labels::default(),
            };
            let put = PutImage::new(name.parse().unwrap(), change);
            let namespace = "ns".parse().unwrap();
            store.images().put(&namespace, put).await.unwrap();
        }
        store
    }

    fn request(filter: &str) -> Request<Body> {
        let bytes = u8::try_from(filter.len()).unwrap();
        // The head of a message, and its field 1.
        let message = format!(
            "\0\0\0\0{}\n{}{filter}",
            char::from(bytes + 2),
            char::from(bytes)
        );
        Request::post("/containerd.services.images.v1.Images/List")
            .header("content-type", "application/grpc")
            .header("containerd-namespace", "ns")
            .body(Body::new(message))
            .unwrap()
    }

    fn said(answer: HttpResponse<Body>) -> Result<HttpResponse<Body>, Status> {
        match Status::from_header_map(answer.headers()) {
            Some(status) => Err(status),
            None => Ok(answer),
        }
    }

    /// An answer of which nothing has been read, or why there is none.
    async fn listed(
        store: &Store,
        answers: &Answers,
        filter: &str,
    ) -> Result<HttpResponse<Body>, Status> {
        let service = ImagesServer::new(Service::new(store, answers));
        let layered = RequestLayer::CONTAINERD.layer(service);
        said(layered.oneshot(request(filter)).await.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn lists_that_nobody_reads_take_so_much_memory_and_no_more() {
        const MANY: usize = 32 << 20;
        let (store, answers) = (filled().await, Answers::of(MANY));
        let mut unread = Vec::new();
        let refused = loop {
            match listed(&store, &answers, "").await {
                Ok(answer) => unread.push(answer),
                Err(status) => break status,
            }
            assert!(unread.len() <= MANY >> 20, "{}", unread.len());
        };
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().contains("not been read"), "{refused}");
        assert!(
            unread.len() > 8,
            "each keeps what it needs: {}",
            unread.len()
        );
        let small = listed(&store, &answers, "name==a").await;
        assert!(small.is_ok(), "{small:?}");

        // Whoever waits goes on as soon as one has been read, or is given up.
        let (waited, ()) = futures::join!(listed(&store, &answers, ""), async {
            tokio::time::sleep(PATIENCE / 2).await;
            unread.pop();
        });
        assert!(waited.is_ok(), "{waited:?}");
    }

    /// The server takes from an answer's body whatever there is at once, and keeps it until it is sent.
    #[tokio::test]
    async fn an_answer_that_is_being_sent_has_its_share_until_it_has_been_read() {
        let store = filled().await;
        // Enough for one, and not for another beside the least of it.
        let answers = Answers {
            patience: Duration::from_millis(200),
            ..Answers::of(17 << 20)
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
        let service = ImagesServer::new(Service::new(&store, &answers));
        let served = Server::builder().add_service(RequestLayer::CONTAINERD.layer(service));
        tokio::spawn(served.serve_with_incoming(listener));
        let address = format!("unix://{}", path.display());
        let endpoint = Endpoint::from_shared(address).unwrap();
        let channel = endpoint.initial_stream_window_size(65_535).connect_lazy();
        let list = async || said(channel.clone().oneshot(request("")).await.unwrap());
        let unread = list().await.unwrap();
        let refused = list().await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        drop(unread);
        let mut body = list().await.unwrap().into_body();
        let (mut bytes, mut trailers) = (0, None);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame.unwrap().into_data() {
                Ok(data) => bytes += data.len(),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        assert!(bytes > 1_200_000, "{bytes}");
        let status = Status::from_header_map(&trailers.unwrap()).unwrap();
        assert_eq!(status.code(), Code::Ok);
        list().await.expect("what has been read holds nothing");
    }
}
