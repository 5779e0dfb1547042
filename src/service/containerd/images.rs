//! `containerd.services.images.v1.Images`.
//!
//! As containerd 1.6 does it, with `source_date_epoch` and the expected target of a Delete beside, which
//! came later. What differs is listed in `tests/containerd/known.rs`.

use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};
use tracing::Span;

use super::answers::{Answers, sharing};
use super::error::{Fault, Kind, bad_filter, not_found, quoted};
use super::listing::Listing;
use super::{namespace, wire};
use crate::domain::{Dating, Dialect, Digest, ImageChange, ImageName, Namespace};
use crate::error::{Error, Subject};
use crate::proto::containerd::services::images::v1 as pb;
use crate::service::caller;
use crate::store::{DeleteImage, ImageQuery, Precondition, PutImage, Scope, Store};

/// The service over a store.
pub struct Service {
    store: Store,
    answers: Answers,
}

impl Service {
    pub fn new(store: &Store, answers: &Answers) -> Self {
        Self {
            store: store.clone(),
            answers: answers.clone(),
        }
    }

    /// Refuses a request for what is found to be wrong with it, unless there is no such image, which
    /// containerd says first.
    async fn refuse(&self, namespace: &Namespace, name: &ImageName, fault: Fault) -> Fault {
        match self.store.images().get(namespace, name).await {
            Ok(_) => fault,
            Err(cause) => cause.into(),
        }
    }

    async fn put(
        &self,
        namespace: &Namespace,
        put: PutImage,
        extensions: &Extensions,
    ) -> Result<Option<pb::Image>, Fault> {
        let caller = caller(extensions);
        let images = self.store.images().for_caller(caller.as_deref());
        let put = images.put(namespace, put).await?;
        Ok(Some(wire::image_message(put.value.stored.record)))
    }
}

/// The image of a request that must have a name.
fn named(image: Option<pb::Image>) -> Result<pb::Image, Fault> {
    image
        .filter(|image| !image.name.is_empty())
        .ok_or_else(|| Fault::bare(Kind::InvalidArgument, "Image.Name required"))
}

/// The name of an image that must be there. There is none of a name that none can have.
pub(super) fn existing(name: &str) -> Result<ImageName, Fault> {
    let name: ImageName = name.parse().map_err(|_| not_found("image", name))?;
    Span::current().record("name", name.as_str());
    Ok(name)
}

/// The name of an image that shall be there.
pub(super) fn new_name(name: &str) -> Result<ImageName, Fault> {
    let name = name.parse::<ImageName>();
    let name = name.map_err(|e| wire::refused(e.at("image name")))?;
    Span::current().record("name", name.as_str());
    Ok(name)
}

/// A Create, and what containerd would come by only after finding that there is no such image.
fn create(
    mut image: pb::Image,
    epoch: Option<prost_types::Timestamp>,
) -> Result<(PutImage, Option<Fault>), Fault> {
    for (key, value) in &image.labels {
        wire::check_label(key, value).map_err(|fault| fault.within("image.Labels"))?;
    }
    let mut target = image.target.take().unwrap_or_default();
    let (label, annotation) = (image.labels.remove(""), target.annotations.remove(""));
    let late = wire::keyless(&image.name, label.as_ref(), annotation.as_ref());
    let change = ImageChange::Replace {
        target: wire::target(target)?,
        labels: wire::labels(wire::with_values(image.labels))?,
    };
    let put = PutImage {
        dating: Dating::Writes(wire::epoch(epoch)?),
        when: Precondition::MustNotExist,
        ..PutImage::new(new_name(&image.name)?, change)
    };
    Ok((put, late))
}

/// An Update of an image that is there.
fn update(
    name: &ImageName,
    image: pb::Image,
    mask: Option<prost_types::FieldMask>,
    epoch: Option<prost_types::Timestamp>,
) -> Result<PutImage, Fault> {
    let edits = wire::Mask::parse(&image.name, mask)?.edits(image)?;
    Ok(PutImage {
        dating: Dating::Writes(wire::epoch(epoch)?),
        ..PutImage::new(name.clone(), ImageChange::Edit(edits))
    })
}

/// Which images a List is about.
fn query(metadata: &MetadataMap, filters: Vec<String>) -> Result<ImageQuery, Fault> {
    ImageQuery::all(Scope::One(namespace(metadata)?))
        .filtered(filters, Dialect::Containerd)
        .map_err(|error| bad_filter(&error))
}

#[tonic::async_trait]
impl pb::images_server::Images for Service {
    async fn get(
        &self,
        request: Request<pb::GetImageRequest>,
    ) -> Result<Response<pb::GetImageResponse>, Status> {
        let namespace = namespace(request.metadata())?;
        let name = existing(&request.get_ref().name)?;
        let found = self.store.images().get(&namespace, &name).await;
        let found = found.map_err(Fault::from)?;
        Ok(Response::new(pb::GetImageResponse {
            image: Some(wire::image_message(found.value.record)),
        }))
    }

    async fn list(
        &self,
        request: Request<pb::ListImagesRequest>,
    ) -> Result<Response<pb::ListImagesResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let query = query(&metadata, request.filters)?;
        let mut walk = self
            .store
            .images()
            .walk(&query)
            .await
            .map_err(Fault::from)?;
        let mut listing = Listing::new();
        let mut share = None;
        while let Some(found) = walk.next().await.map_err(Fault::from)? {
            for image in found {
                listing.add(image)?;
            }
            self.answers.share(&mut share, listing.bytes()).await?;
        }
        Ok(sharing(listing.answer(), share))
    }

    async fn create(
        &self,
        request: Request<pb::CreateImageRequest>,
    ) -> Result<Response<pb::CreateImageResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let image = named(request.image)?;
        let namespace = namespace(&metadata)?;
        let (put, late) = create(image, request.source_date_epoch)?;
        if let Some(late) = late {
            let fault = match self.store.images().get(&namespace, &put.name).await {
                Ok(found) => {
                    let name = found.value.record.name;
                    Error::Exists(Subject::Image(namespace, name)).into()
                }
                Err(Error::NotFound(_)) => late,
                Err(cause) => cause.into(),
            };
            return Err(fault.into());
        }
        let image = self.put(&namespace, put, &extensions).await?;
        Ok(Response::new(pb::CreateImageResponse { image }))
    }

    async fn update(
        &self,
        request: Request<pb::UpdateImageRequest>,
    ) -> Result<Response<pb::UpdateImageResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let image = named(request.image)?;
        let namespace = namespace(&metadata)?;
        let name = existing(&image.name)?;
        let put = match update(&name, image, request.update_mask, request.source_date_epoch) {
            Ok(put) => put,
            Err(fault) => return Err(self.refuse(&namespace, &name, fault).await.into()),
        };
        let image = self.put(&namespace, put, &extensions).await?;
        Ok(Response::new(pb::UpdateImageResponse { image }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteImageRequest>,
    ) -> Result<Response<()>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let namespace = namespace(&metadata)?;
        let name = existing(&request.name)?;
        let expected = request.target.map(|target| target.digest);
        let expected = expected.filter(|digest| !digest.is_empty());
        let mut delete = DeleteImage::new(name);
        if let Some(text) = expected {
            match text.parse::<Digest>() {
                Ok(digest) => {
                    delete.when = Precondition::Matches {
                        etag: None,
                        target: Some(digest),
                    };
                }
                // No image's digest is so; containerd does not ask whether it is one.
                Err(_) => {
                    let found = self.store.images().get(&namespace, &delete.name).await;
                    let image = found.map_err(Fault::from)?.value.record;
                    let (name, current) = (quoted(image.name.as_str()), image.target.digest());
                    let why = format!("image {name} has target {current}, not {text}");
                    return Err(Fault::new(Kind::NotFound, why).into());
                }
            }
        }
        let caller = caller(&extensions);
        let images = self.store.images().for_caller(caller.as_deref());
        let deleted = images.delete(&namespace, &delete).await;
        deleted.map_err(Fault::from)?;
        Ok(Response::new(()))
    }
}

#[cfg(test)]
mod tests;
