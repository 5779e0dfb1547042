//! `containerd.services.transfer.v1.Transfer`: from one image of the store to another, which gives what
//! the one points to the other's name too. No bytes are moved, so all else is not implemented.

use prost::Message;
use prost_types::Any;
use tonic::{Request, Response, Status};

use super::error::{Fault, Kind};
use super::{images, namespace, wire};
use crate::domain::{Dating, ImageName, Labels, Namespace};
use crate::proto::containerd::services::transfer::v1 as pb;
use crate::proto::containerd::types::transfer::ImageStore;
use crate::service::caller;
use crate::store::{Store, TagImage};

/// The labels of an image that a transfer makes of another, where the request brings none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransferLabels {
    /// Those of the other, as for who tags with containerd 1.
    #[default]
    Keep,
    /// None, as containerd 2 does it; what had the name before loses its labels too.
    Drop,
}

/// The service over a store.
pub struct Service {
    store: Store,
    labels: TransferLabels,
}

impl Service {
    pub fn new(store: &Store, labels: TransferLabels) -> Self {
        Self {
            store: store.clone(),
            labels,
        }
    }

    /// The record that is made; checked only once its source is known to be there, as containerd does.
    fn tag(&self, from: ImageName, to: ImageStore) -> Result<TagImage, Fault> {
        if to.extra_references.iter().any(|extra| !extra.is_prefix) {
            let why = "transfer of one image to several names";
            return Err(Fault::new(Kind::NotImplemented, why));
        }
        if to.name.is_empty() {
            return Err(Fault::new(Kind::NotFound, "no image name found"));
        }
        for (key, value) in &to.labels {
            wire::check_label(key, value).map_err(|fault| fault.within("image.Labels"))?;
        }
        if let Some(fault) = wire::keyless(&to.name, to.labels.get(""), None) {
            return Err(fault);
        }
        let labels: Labels = wire::labels(wire::with_values(to.labels))?;
        let brings_none = labels.is_empty() && self.labels == TransferLabels::Keep;
        Ok(TagImage {
            from,
            name: images::new_name(&to.name)?,
            labels: (!brings_none).then_some(labels),
            dating: Dating::Writes(None),
        })
    }

    async fn must_be(&self, namespace: &Namespace, name: &ImageName) -> Result<(), Fault> {
        self.store.images().get(namespace, name).await?;
        Ok(())
    }
}

/// An image of the store, if that is what it is.
fn image_store(any: &Any) -> Result<Option<ImageStore>, Fault> {
    // A path before the name says only who gave it.
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    if name != "containerd.types.transfer.ImageStore" {
        return Ok(None);
    }
    let image = ImageStore::decode(&any.value[..]);
    image.map(Some).map_err(|why| {
        let why = format!("not a {name}: {why}");
        Fault::new(Kind::InvalidArgument, why)
    })
}

#[tonic::async_trait]
impl pb::transfer_server::Transfer for Service {
    async fn transfer(
        &self,
        request: Request<pb::TransferRequest>,
    ) -> Result<Response<()>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let (from, to) = (
            request.source.unwrap_or_default(),
            request.destination.unwrap_or_default(),
        );
        let (Some(source), Some(destination)) = (image_store(&from)?, image_store(&to)?) else {
            let (from, to) = (from.type_url, to.type_url);
            let why = format!("method Transfer not implemented for {from} to {to}");
            return Err(Fault::bare(Kind::NotImplemented, why).into());
        };
        if request
            .options
            .is_some_and(|options| !options.progress_stream.is_empty())
        {
            let why = "progress of a transfer; leave out progress_stream";
            return Err(Fault::new(Kind::NotImplemented, why).into());
        }
        let namespace = namespace(&metadata)?;
        let from = images::existing(&source.name)?;
        let tag = match self.tag(from.clone(), destination) {
            Ok(tag) => tag,
            Err(fault) => {
                self.must_be(&namespace, &from).await?;
                return Err(fault.into());
            }
        };
        let caller = caller(&extensions);
        let images = self.store.images().for_caller(caller.as_deref());
        images.tag(&namespace, tag).await.map_err(Fault::from)?;
        Ok(Response::new(()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tonic::Code;

    use super::*;
    use crate::domain::{Algorithm, Descriptor, Digest, Image, ImageChange, Size};
    use crate::kv::Memory;
    use crate::proto::containerd::services::transfer::v1::transfer_client::TransferClient;
    use crate::proto::containerd::services::transfer::v1::transfer_server::TransferServer;
    use crate::proto::containerd::types::transfer::ImageReference;
    use crate::service::fixture::{in_namespace, said, store};
    use crate::store::PutImage;

    const IMAGE_STORE: &str = "containerd.types.transfer.ImageStore";

    fn target(content: &str) -> Descriptor {
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        Descriptor::new(
            "a/b".parse().unwrap(),
            digest,
            Size::try_from(1u64).unwrap(),
        )
        .with_urls(vec!["https://example.org/".to_owned() + content])
        .unwrap()
    }

    fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        let label = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        labels.iter().map(label).collect()
    }

    /// A store with the images `a` and `b`, each labelled with its name.
    async fn with_two() -> Store {
        let store = store(Arc::new(Memory::new())).await;
        for name in ["a", "b"] {
            let change = ImageChange::Replace {
                target: target(name),
                labels: Labels::try_from(labels(&[("of", name)])).unwrap(),
            };
            let put = PutImage::new(name.parse().unwrap(), change);
            store
                .images()
                .put(&"ns".parse().unwrap(), put)
                .await
                .unwrap();
        }
        store
    }

    async fn got(store: &Store, name: &str) -> Image {
        let (ns, name) = ("ns".parse().unwrap(), name.parse().unwrap());
        store.images().get(&ns, &name).await.unwrap().value.record
    }

    fn named(name: &str, with: &[(&str, &str)]) -> ImageStore {
        ImageStore {
            name: name.to_owned(),
            labels: labels(with),
            ..Default::default()
        }
    }

    fn any(type_url: &str, image: &ImageStore) -> Option<Any> {
        Some(Any {
            type_url: type_url.to_owned(),
            value: image.encode_to_vec(),
        })
    }

    async fn transfer(
        store: &Store,
        option: TransferLabels,
        request: pb::TransferRequest,
    ) -> Result<(), (Code, String)> {
        let service = TransferServer::new(Service::new(store, option));
        let request = in_namespace("ns", request);
        said(TransferClient::new(service).transfer(request).await)
    }

    async fn tag(
        store: &Store,
        option: TransferLabels,
        from: &str,
        to: ImageStore,
    ) -> Result<(), (Code, String)> {
        let request = pb::TransferRequest {
            source: any(IMAGE_STORE, &named(from, &[("ignored", "1")])),
            destination: any(IMAGE_STORE, &to),
            options: Some(pb::TransferOptions::default()),
        };
        transfer(store, option, request).await
    }

    #[tokio::test]
    async fn a_tag_has_the_whole_target_and_the_labels_that_it_brings_or_its_sources() {
        use TransferLabels::{Drop, Keep};
        for (option, to, with, left) in [
            (Keep, "new", &[][..], &[("of", "a")][..]),
            (Keep, "b", &[], &[("of", "a")]),
            (Keep, "b", &[("k", "")], &[("of", "a")]),
            (Keep, "b", &[("k", "v")], &[("k", "v")]),
            (Drop, "new", &[], &[]),
            (Drop, "b", &[], &[]),
            (Drop, "b", &[("k", "v")], &[("k", "v")]),
        ] {
            let store = with_two().await;
            tag(&store, option, "a", named(to, with)).await.unwrap();
            let made = got(&store, to).await;
            assert_eq!(made.target, target("a"));
            assert_eq!(
                made.labels.into_map(),
                labels(left),
                "{option:?} {to} {with:?}"
            );
            assert_eq!(got(&store, "a").await.target, target("a"));
        }
    }

    #[tokio::test]
    async fn a_tag_is_refused_in_containerds_order_and_words() {
        let store = with_two().await;
        let huge = "v".repeat(4096);
        let too_large = "image.Labels: label key and value greater than maximum size (4096 bytes), \
                         key: k: invalid argument";
        let several = ImageStore {
            extra_references: vec![ImageReference {
                name: "c".to_owned(),
                ..Default::default()
            }],
            ..named("new", &[])
        };
        for (from, to, code, text) in [
            (
                "none",
                named("new", &[("k", huge.as_str())]),
                Code::NotFound,
                "image \"none\": not found",
            ),
            (
                "a",
                named("new", &[("k", huge.as_str())]),
                Code::InvalidArgument,
                too_large,
            ),
            (
                "a",
                named("", &[]),
                Code::NotFound,
                "no image name found: not found",
            ),
            (
                "a",
                several,
                Code::Unimplemented,
                "transfer of one image to several names: not implemented",
            ),
        ] {
            let refused = tag(&store, TransferLabels::Keep, from, to).await;
            assert_eq!(refused, Err((code, text.to_owned())));
        }
    }

    #[tokio::test]
    async fn what_moves_bytes_is_not_implemented() {
        let store = with_two().await;
        const REGISTRY: &str = "containerd.types.transfer.OCIRegistry";
        let image = named("a", &[]);
        for (from, to) in [(REGISTRY, IMAGE_STORE), (IMAGE_STORE, REGISTRY), ("", "")] {
            let request = pb::TransferRequest {
                source: any(from, &image),
                destination: any(to, &image),
                options: None,
            };
            let text = format!("method Transfer not implemented for {from} to {to}");
            let refused = transfer(&store, TransferLabels::Keep, request).await;
            assert_eq!(refused, Err((Code::Unimplemented, text)));
        }
        let prefixed = format!("types.containerd.io/{IMAGE_STORE}");
        let mut request = pb::TransferRequest {
            source: any(&prefixed, &image),
            destination: any(&prefixed, &named("new", &[])),
            options: None,
        };
        let done = transfer(&store, TransferLabels::Keep, request.clone()).await;
        assert_eq!(done, Ok(()));
        request.source.as_mut().unwrap().value = vec![255];
        let (code, _) = transfer(&store, TransferLabels::Keep, request)
            .await
            .unwrap_err();
        assert_eq!(code, Code::InvalidArgument);
    }
}
