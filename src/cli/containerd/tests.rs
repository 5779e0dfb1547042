use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Response;
use tonic::transport::Server;

use super::*;
use crate::proto::containerd::services::images::v1 as pb;
use crate::proto::containerd::services::images::v1::images_server::{Images, ImagesServer};

/// Answers a Get with nothing.
struct Blank;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Images for Blank {
    async fn get(&self, _: Request<pb::GetImageRequest>) -> Answer<pb::GetImageResponse> {
        Ok(Response::new(pb::GetImageResponse::default()))
    }

    async fn list(&self, _: Request<pb::ListImagesRequest>) -> Answer<pb::ListImagesResponse> {
        Err(Status::unimplemented(""))
    }

    async fn create(&self, _: Request<pb::CreateImageRequest>) -> Answer<pb::CreateImageResponse> {
        Err(Status::unimplemented(""))
    }

    async fn update(&self, _: Request<pb::UpdateImageRequest>) -> Answer<pb::UpdateImageResponse> {
        Err(Status::unimplemented(""))
    }

    async fn delete(&self, _: Request<pb::DeleteImageRequest>) -> Answer<()> {
        Err(Status::not_found("it is gone"))
    }
}

#[tokio::test]
async fn an_answer_without_its_image_is_not_taken_for_an_image_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
    let served = Server::builder().add_service(ImagesServer::new(Blank));
    tokio::spawn(served.serve_with_incoming(listener));
    let address = Address::of_containerd(path.to_str().unwrap()).unwrap();
    let channel = connect::dial(&address).await.unwrap();
    let found = Containerd::of_store(channel).find_image("ns", "a").await;
    let why = found.unwrap_err();
    assert_eq!(why.message(), "it answered without the image");
}
