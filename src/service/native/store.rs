//! `imagestore.v1.Store`.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use super::import;
use super::verify::verify;
use super::wire::count_message;
use crate::proto::v1 as pb;
use crate::service::status::refused;
use crate::service::{caller, time_message};
use crate::store::{BackupPart, Store};

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
            configs: count_message(status.configs),
            builders: count_message(status.builders),
            build_targets: count_message(status.targets),
            tables: count_message(status.tables),
            size_bytes: count_message(status.size_bytes),
            free_bytes: count_message(status.free_bytes),
            degraded: status.stopped.as_deref().unwrap_or_default().to_owned(),
            opened_at: Some(time_message(status.opened_at)),
            engine: status.engine.to_owned(),
            reusable_bytes: count_message(status.reusable_bytes),
            last_backup_at: status.last_backup.map(|last| time_message(last.at)),
            last_backup_revision: status.last_backup.map_or(0, |last| last.revision.0),
            watchers: count_message(self.store.watchers() as u64),
            records: count_message(status.records),
        }))
    }

    type BackupStream = Pin<Box<dyn Stream<Item = Result<pb::BackupResponse, Status>> + Send>>;

    async fn backup(
        &self,
        _: Request<pb::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let parts = self.store.backup().await?;
        let messages = parts.map(|part| Ok(part_message(part?)));
        Ok(Response::new(Box::pin(messages)))
    }

    type VerifyStream = Pin<Box<dyn Stream<Item = Result<pb::VerifyResponse, Status>> + Send>>;

    async fn verify(
        &self,
        _: Request<pb::VerifyRequest>,
    ) -> Result<Response<Self::VerifyStream>, Status> {
        let told = verify(self.store.clone());
        Ok(Response::new(Box::pin(told)))
    }

    type CompactStream = Pin<Box<dyn Stream<Item = Result<pb::CompactResponse, Status>> + Send>>;

    async fn compact(
        &self,
        _: Request<pb::CompactRequest>,
    ) -> Result<Response<Self::CompactStream>, Status> {
        let store = self.store.clone();
        let done = stream::once(async move {
            let compacted = store.compact().await?;
            Ok(pb::CompactResponse {
                bytes_before: count_message(compacted.value.before),
                bytes_after: count_message(compacted.value.after),
                revision: compacted.revision.0,
            })
        });
        Ok(Response::new(Box::pin(done)))
    }

    async fn import(
        &self,
        request: Request<pb::ImportRequest>,
    ) -> Result<Response<pb::ImportResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let import = import::parse(&metadata, request).map_err(refused)?;
        let caller = caller(&extensions);
        let imported = import.run(&self.store, caller.as_deref()).await?;
        Ok(Response::new(imported))
    }
}

fn part_message(part: BackupPart) -> pb::BackupResponse {
    use pb::backup_response::Part;
    let (part, rows) = match part {
        BackupPart::Head { id, revision, rows } => {
            let head = pb::BackupHead {
                store_id: id.to_string(),
                revision: revision.0,
                rows,
            };
            (Part::Head(head), 0)
        }
        BackupPart::Chunk { bytes, rows } => (Part::Chunk(bytes), rows),
        BackupPart::End {
            revision,
            rows,
            bytes,
            digest,
        } => {
            let end = pb::BackupEnd {
                revision: revision.0,
                rows,
                bytes,
                digest: digest.to_string(),
            };
            (Part::End(end), rows)
        }
    };
    pb::BackupResponse {
        part: Some(part),
        rows,
    }
}
