//! `imagestore.v1.Images`.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::Span;

use super::wire::{self, QueryFields};
use super::{at, listing, namespace, once, scope, watch};
use crate::domain::{Dating, ImageName, Invalid, Namespace};
use crate::kv::Revision;
use crate::proto::v1 as pb;
use crate::service::caller;
use crate::service::status::refused;
use crate::store::{Act, ApplyImages, DeleteImage, ImageWrite, PutImage, RollbackImage, Store};

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
) -> Result<(Namespace, PutImage), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let request_id = once(&request.request_id, "Put", &namespace, &request)?;
    let image = request
        .image
        .ok_or_else(|| Invalid::new("image", "must be set"))?;
    let name = name(&image.name, "image.name")?;
    let when = wire::precondition(request.must_not_exist, &request.if_etag, &request.if_target)?;
    let change = wire::image_change(request.update_mask, image)?;
    let put = PutImage {
        name,
        change,
        dating: Dating::Changes,
        when,
        validate_only: request.validate_only,
        request: request_id,
    };
    Ok((namespace, put))
}

fn delete(
    metadata: &MetadataMap,
    request: &pb::DeleteImageRequest,
) -> Result<(Namespace, DeleteImage), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let delete = DeleteImage {
        name: name(&request.name, "name")?,
        when: wire::precondition(false, &request.if_etag, &request.if_target)?,
        validate_only: request.validate_only,
        request: once(&request.request_id, "Delete", &namespace, request)?,
    };
    Ok((namespace, delete))
}

fn rollback(
    metadata: &MetadataMap,
    request: &pb::RollbackImageRequest,
) -> Result<(Namespace, RollbackImage), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let rollback = RollbackImage {
        name: name(&request.name, "name")?,
        to: (request.generation > 0).then_some(Revision(request.generation)),
        when: wire::precondition(false, &request.if_etag, &request.if_target)?,
        validate_only: request.validate_only,
        request: once(&request.request_id, "Rollback", &namespace, request)?,
    };
    Ok((namespace, rollback))
}

fn apply(
    metadata: &MetadataMap,
    request: pb::ApplyImagesRequest,
) -> Result<(Namespace, ApplyImages), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let request_id = once(&request.request_id, "Apply", &namespace, &request)?;
    let mut writes = Vec::with_capacity(request.items.len().min(ApplyImages::MAX_ITEMS));
    for (i, item) in request.items.into_iter().enumerate() {
        if i == ApplyImages::MAX_ITEMS {
            let most = ApplyImages::MAX_ITEMS;
            return Err(Invalid::new("items", format!("has more than {most} items")));
        }
        writes.push(write(item).map_err(|e| e.within(&format!("items[{i}]")))?);
    }
    let mut apply = ApplyImages::new(writes)?;
    apply.validate_only = request.validate_only;
    apply.request = request_id;
    Ok((namespace, apply))
}

fn write(item: pb::ApplyItem) -> Result<ImageWrite, Invalid> {
    match item.item {
        None => Err(Invalid::new("item", "must be set")),
        Some(pb::apply_item::Item::Put(put)) => {
            let write = || {
                let image = put
                    .image
                    .ok_or_else(|| Invalid::new("image", "must be set"))?;
                let name: ImageName = image
                    .name
                    .parse()
                    .map_err(|e: Invalid| e.at("image.name"))?;
                Ok(ImageWrite {
                    name,
                    when: wire::precondition(put.must_not_exist, &put.if_etag, &put.if_target)?,
                    act: Act::Put(wire::image_change(put.update_mask, image)?, Dating::Changes),
                })
            };
            write().map_err(|e: Invalid| e.within("put"))
        }
        Some(pb::apply_item::Item::Delete(delete)) => {
            let write = || {
                Ok(ImageWrite {
                    name: delete.name.parse()?,
                    when: wire::precondition(false, &delete.if_etag, &delete.if_target)?,
                    act: Act::Delete {
                        allow_missing: delete.allow_missing,
                    },
                })
            };
            write().map_err(|e: Invalid| e.within("delete"))
        }
    }
}

/// What List, Stream and Count ask for, in fields of the same names.
macro_rules! query {
    ($metadata:expr, $request:expr) => {
        scope(&$request.namespace, $metadata).and_then(|scope| {
            wire::query(QueryFields {
                scope,
                name_prefix: $request.name_prefix,
                digest: $request.digest,
                digest_prefix: $request.digest_prefix,
                filters: $request.filters,
            })
        })
    };
}

#[tonic::async_trait]
impl pb::images_server::Images for Service {
    async fn put(
        &self,
        request: Request<pb::PutImageRequest>,
    ) -> Result<Response<pb::PutImageResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let (namespace, request) = put(&metadata, request).map_err(refused)?;
        let caller = caller(&extensions);
        let images = self.store.images().for_caller(caller.as_deref());
        let put = images.put(&namespace, request).await?;
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
        let images = self.store.images();
        let image = match request.at_revision {
            0 => images.get(&namespace, &name).await?,
            then => images.get_at(&namespace, &name, Revision(then)).await?,
        };
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
        let query = query!(&metadata, request).map_err(refused)?;
        let page = self.store.images().list_stored(&query, &page).await?;
        let page = page.try_map(listing::encoded)?;
        Ok(Response::new(pb::ListImagesResponse {
            encoded: page.items,
            next_page_token: page.next_token,
            revision: at(page.revision),
            ..pb::ListImagesResponse::default()
        }))
    }

    type StreamStream =
        Pin<Box<dyn Stream<Item = Result<pb::StreamImagesResponse, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<pb::StreamImagesRequest>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let query = query!(&metadata, request).map_err(refused)?;
        let images = self.store.images();
        let chunks = images.stream_of(query, listing::encoded).await?;
        let messages = chunks.map(|chunk| {
            let chunk = chunk?;
            Ok(pb::StreamImagesResponse {
                encoded: chunk.images,
                revision: chunk.revision.0,
                ..pb::StreamImagesResponse::default()
            })
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn count(
        &self,
        request: Request<pb::CountImagesRequest>,
    ) -> Result<Response<pb::CountImagesResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let query = query!(&metadata, request).map_err(refused)?;
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
        let (metadata, extensions, request) = request.into_parts();
        let (namespace, request) = delete(&metadata, &request).map_err(refused)?;
        let caller = caller(&extensions);
        let images = self.store.images().for_caller(caller.as_deref());
        let deleted = images.delete(&namespace, &request).await?;
        Ok(Response::new(pb::DeleteImageResponse {
            image: Some(wire::image_message(deleted.value)),
            revision: at(deleted.revision),
        }))
    }

    async fn apply(
        &self,
        request: Request<pb::ApplyImagesRequest>,
    ) -> Result<Response<pb::ApplyImagesResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let (namespace, request) = apply(&metadata, request).map_err(refused)?;
        let caller = caller(&extensions);
        let images = self.store.images().for_caller(caller.as_deref());
        let applied = images.apply(&namespace, &request).await?;
        let results = applied.value.into_iter().map(|applied| pb::ApplyResult {
            image: applied.stored.map(wire::image_message),
            changed: applied.changed,
            created: applied.created,
        });
        Ok(Response::new(pb::ApplyImagesResponse {
            results: results.collect(),
            revision: at(applied.revision),
        }))
    }

    async fn history(
        &self,
        request: Request<pb::HistoryRequest>,
    ) -> Result<Response<pb::HistoryResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let name = name(&request.name, "name").map_err(refused)?;
        let page = wire::page(request.page_size, request.page_token).map_err(refused)?;
        let page = self
            .store
            .images()
            .history(&namespace, &name, &page)
            .await?;
        let generations = page.items.into_iter().map(wire::generation_message);
        Ok(Response::new(pb::HistoryResponse {
            generations: generations.collect(),
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }

    async fn rollback(
        &self,
        request: Request<pb::RollbackImageRequest>,
    ) -> Result<Response<pb::RollbackImageResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let (namespace, request) = rollback(&metadata, &request).map_err(refused)?;
        let caller = caller(&extensions);
        let images = self.store.images().for_caller(caller.as_deref());
        let put = images.rollback(&namespace, request).await?;
        Ok(Response::new(pb::RollbackImageResponse {
            image: Some(wire::image_message(put.value.stored)),
            changed: put.value.changed,
            created: put.value.created,
            revision: at(put.revision),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchImagesResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<pb::WatchImagesRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let request = watch::request(&metadata, request).map_err(refused)?;
        let watch = self.store.images().watch(request).await?;
        Ok(Response::new(Box::pin(watch::responses(watch))))
    }
}
