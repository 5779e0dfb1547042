//! `imagestore.v1.Images`.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::Span;

use super::wire::{self, QueryFields};
use super::{at, namespace, scope};
use crate::domain::{ImageName, Invalid};
use crate::proto::v1 as pb;
use crate::service::status::refused;
use crate::store::{DeleteImage, ImageQuery, PutImage, Store};

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

fn name(text: &str, field: &'static str) -> Result<ImageName, Invalid> {
    let name: ImageName = text.parse().map_err(|e: Invalid| e.at(field))?;
    Span::current().record("name", name.as_str());
    Ok(name)
}

fn put(
    metadata: &MetadataMap,
    request: pb::PutImageRequest,
) -> Result<(crate::domain::Namespace, PutImage), Invalid> {
    let image = request
        .image
        .ok_or_else(|| Invalid::new("image", "must be set"))?;
    let namespace = namespace(&request.namespace, metadata)?;
    let name = name(&image.name, "image.name")?;
    let when = wire::precondition(request.must_not_exist, &request.if_etag, &request.if_target)?;
    let change = wire::image_change(request.update_mask, image)?;
    let put = PutImage {
        name,
        change,
        when,
        validate_only: request.validate_only,
    };
    Ok((namespace, put))
}

fn delete(
    metadata: &MetadataMap,
    request: &pb::DeleteImageRequest,
) -> Result<(crate::domain::Namespace, DeleteImage), Invalid> {
    let delete = DeleteImage {
        name: name(&request.name, "name")?,
        when: wire::precondition(false, &request.if_etag, &request.if_target)?,
        validate_only: request.validate_only,
    };
    Ok((namespace(&request.namespace, metadata)?, delete))
}

fn list_query(
    metadata: &MetadataMap,
    request: pb::ListImagesRequest,
) -> Result<ImageQuery, Invalid> {
    wire::query(QueryFields {
        scope: scope(&request.namespace, metadata)?,
        name_prefix: request.name_prefix,
        digest: request.digest,
        digest_prefix: request.digest_prefix,
        filters: request.filters,
    })
}

fn stream_query(
    metadata: &MetadataMap,
    request: pb::StreamImagesRequest,
) -> Result<ImageQuery, Invalid> {
    wire::query(QueryFields {
        scope: scope(&request.namespace, metadata)?,
        name_prefix: request.name_prefix,
        digest: request.digest,
        digest_prefix: request.digest_prefix,
        filters: request.filters,
    })
}

fn count_query(
    metadata: &MetadataMap,
    request: pb::CountImagesRequest,
) -> Result<ImageQuery, Invalid> {
    wire::query(QueryFields {
        scope: scope(&request.namespace, metadata)?,
        name_prefix: request.name_prefix,
        digest: request.digest,
        digest_prefix: request.digest_prefix,
        filters: request.filters,
    })
}

#[tonic::async_trait]
impl pb::images_server::Images for Service {
    async fn put(
        &self,
        request: Request<pb::PutImageRequest>,
    ) -> Result<Response<pb::PutImageResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = put(&metadata, request).map_err(refused)?;
        let put = self.store.images().put(&namespace, request).await?;
        Ok(Response::new(pb::PutImageResponse {
            image: Some(wire::image_message(put.value.stored)),
            changed: put.value.changed,
            created: put.value.created,
            revision: at(put.revision),
        }))
    }

    async fn get(
        &self,
        request: Request<pb::GetImageRequest>,
    ) -> Result<Response<pb::GetImageResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let name = name(&request.name, "name").map_err(refused)?;
        let image = self.store.images().get(&namespace, &name).await?;
        Ok(Response::new(pb::GetImageResponse {
            image: Some(wire::image_message(image.value)),
            revision: at(image.revision),
        }))
    }

    async fn list(
        &self,
        request: Request<pb::ListImagesRequest>,
    ) -> Result<Response<pb::ListImagesResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        let token = std::mem::take(&mut request.page_token);
        let page = wire::page(request.page_size, token).map_err(refused)?;
        let query = list_query(&metadata, request).map_err(refused)?;
        let page = self.store.images().list(&query, &page).await?;
        Ok(Response::new(pb::ListImagesResponse {
            images: page.items.into_iter().map(wire::image_message).collect(),
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }

    type StreamStream =
        Pin<Box<dyn Stream<Item = Result<pb::StreamImagesResponse, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<pb::StreamImagesRequest>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let query = stream_query(&metadata, request).map_err(refused)?;
        let chunks = self.store.images().stream(query).await?;
        let messages = chunks.map(|chunk| {
            let chunk = chunk?;
            Ok(pb::StreamImagesResponse {
                images: chunk.images.into_iter().map(wire::image_message).collect(),
                revision: chunk.revision.0,
            })
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn count(
        &self,
        request: Request<pb::CountImagesRequest>,
    ) -> Result<Response<pb::CountImagesResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let query = count_query(&metadata, request).map_err(refused)?;
        let count = self.store.images().count(&query).await?;
        Ok(Response::new(pb::CountImagesResponse {
            count: wire::count_message(count.value),
            revision: at(count.revision),
        }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteImageRequest>,
    ) -> Result<Response<pb::DeleteImageResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = delete(&metadata, &request).map_err(refused)?;
        let deleted = self.store.images().delete(&namespace, &request).await?;
        Ok(Response::new(pb::DeleteImageResponse {
            image: Some(wire::image_message(deleted.value)),
            revision: at(deleted.revision),
        }))
    }
}
