//! `containerd.services.version.v1.Version`.

use tonic::{Request, Response, Status};

use crate::proto::containerd::services::version::v1 as pb;

/// The service.
pub struct Service;

#[tonic::async_trait]
impl pb::version_server::Version for Service {
    async fn version(&self, _: Request<()>) -> Result<Response<pb::VersionResponse>, Status> {
        Ok(Response::new(pb::VersionResponse {
            version: concat!(env!("CARGO_PKG_VERSION"), "+imagestore").to_owned(),
            revision: String::new(),
        }))
    }
}
