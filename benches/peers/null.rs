//! The limit: a tonic server that answers the Get of imagestore's clients and does no work.

use std::convert::Infallible;
use std::error::Error;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use imagestore::proto::v1::{GetImageRequest, GetImageResponse, Image};
use prost_types::Timestamp;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::client;
use crate::record::Record;

/// Serves until it is killed, on as many threads as `imagestore serve` uses.
pub fn serve(socket: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let incoming = UnixListenerStream::new(UnixListener::bind(socket)?);
        let handler = Handler(sample());
        let server = Server::builder().add_service(handler);
        server.serve_with_incoming(incoming).await?;
        Ok(())
    })
}

/// A record as imagestore would answer it, with what the store itself fills in.
fn sample() -> Image {
    let moment = Timestamp {
        seconds: 1_787_000_000,
        nanos: 123_456_789,
    };
    Image {
        namespace: Record(0).namespace().into(),
        etag: "0000000000002710".into(),
        revision: 10_000,
        created_at: Some(moment),
        updated_at: Some(moment),
        ..client::native(Record(0), Record(0))
    }
}

/// The same steps as a service that tonic generates.
#[derive(Clone)]
struct Handler(Image);

impl NamedService for Handler {
    const NAME: &'static str = "imagestore.v1.Images";
}

impl Service<http::Request<Body>> for Handler {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = Get(self.0.clone());
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.unary(method, request).await)
        })
    }
}

/// Answers the same record under whichever name was asked for.
struct Get(Image);

impl UnaryService<GetImageRequest> for Get {
    type Response = GetImageResponse;
    type Future = std::future::Ready<Result<Response<GetImageResponse>, Status>>;

    fn call(&mut self, request: Request<GetImageRequest>) -> Self::Future {
        let mut image = std::mem::take(&mut self.0);
        image.name = request.into_inner().name;
        let revision = image.revision;
        let image = Some(image);
        std::future::ready(Ok(Response::new(GetImageResponse { image, revision })))
    }
}
