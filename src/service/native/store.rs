//! `imagestore.v1.Store`.

use tonic::{Request, Response, Status};

use super::wire::{count_message, time_message};
use crate::proto::v1 as pb;
use crate::store::Store;

/// The service over a store.
pub struct Service {
    store: Store,
}

impl Service {
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
        }
    }
}

#[tonic::async_trait]
impl pb::store_server::Store for Service {
    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let status = self.store.status().await?;
        Ok(Response::new(pb::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store_id: status.id.to_string(),
            schema_version: status.schema_version,
            revision: status.revision.0,
            oldest_revision: status.oldest_revision.0,
            namespaces: count_message(status.namespaces),
            images: count_message(status.images),
            tables: count_message(status.tables),
            size_bytes: count_message(status.size_bytes),
            free_bytes: count_message(status.free_bytes),
            degraded: status.stopped.as_deref().unwrap_or_default().to_owned(),
            opened_at: Some(time_message(status.opened_at)),
            engine: status.engine.to_owned(),
        }))
    }
}
