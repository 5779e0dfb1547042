//! One call, as it is sent to either daemon.

use imagestore::proto::containerd::services as pb;
use imagestore::proto::containerd::services::images::v1::images_client::ImagesClient;
use imagestore::proto::containerd::services::leases::v1::leases_client::LeasesClient;
use imagestore::proto::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::answer::Reply;

/// Stands in namespaces for the part of a namespace's name that is a lane's own; as long as that is.
pub const LANE: &str = "LANE";

/// Stands, with a number, for the id that a daemon made up for a lease.
pub const MADE: &str = "made#";

/// What is asked.
#[derive(Clone, Debug)]
pub enum Ask {
    GetImage(pb::images::v1::GetImageRequest),
    ListImages(pb::images::v1::ListImagesRequest),
    CreateImage(pb::images::v1::CreateImageRequest),
    UpdateImage(pb::images::v1::UpdateImageRequest),
    DeleteImage(pb::images::v1::DeleteImageRequest),
    GetNamespace(pb::namespaces::v1::GetNamespaceRequest),
    ListNamespaces(pb::namespaces::v1::ListNamespacesRequest),
    CreateNamespace(pb::namespaces::v1::CreateNamespaceRequest),
    UpdateNamespace(pb::namespaces::v1::UpdateNamespaceRequest),
    DeleteNamespace(pb::namespaces::v1::DeleteNamespaceRequest),
    CreateLease(pb::leases::v1::CreateRequest),
    DeleteLease(pb::leases::v1::DeleteRequest),
    ListLeases(pb::leases::v1::ListRequest),
    AddResource(pb::leases::v1::AddResourceRequest),
    DeleteResource(pb::leases::v1::DeleteResourceRequest),
    ListResources(pb::leases::v1::ListResourcesRequest),
}

/// A call: what is asked, and the metadata that goes with it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Values of `containerd-namespace`, in order.
    pub namespaces: Vec<String>,
    pub lease: Option<String>,
    pub ask: Ask,
}

impl Call {
    /// The same as a lane sends it: with the lane's name in namespaces, and with `lease` saying the ids
    /// that the daemon made up.
    pub fn of_lane(&self, lane: &str, lease: impl Fn(&str) -> String) -> Self {
        assert_eq!(lane.len(), LANE.len());
        let mut call = self.clone();
        for namespace in &mut call.namespaces {
            *namespace = namespace.replace(LANE, lane);
        }
        if let Some(named) = call.ask.namespace_mut() {
            *named = named.replace(LANE, lane);
        }
        let header = call.lease.as_mut();
        for id in header.into_iter().chain(call.ask.lease_mut()) {
            if id.starts_with(MADE) {
                *id = lease(id);
            }
        }
        call
    }

    /// Sends it.
    pub async fn send(self, channel: &Channel) -> Result<Reply, Status> {
        let mut images = ImagesClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        let mut namespaces = NamespacesClient::new(channel.clone());
        let mut leases = LeasesClient::new(channel.clone());
        let (header, lease) = (self.namespaces, self.lease);
        macro_rules! send {
            ($client:ident.$method:ident($message:expr)) => {
                $client
                    .$method(with_metadata($message, &header, lease.as_deref()))
                    .await
                    .map(Response::into_inner)
            };
        }
        Ok(match self.ask {
            Ask::GetImage(ask) => Reply::Image(send!(images.get(ask))?.image),
            Ask::ListImages(ask) => Reply::Images(send!(images.list(ask))?.images),
            Ask::CreateImage(ask) => Reply::Image(send!(images.create(ask))?.image),
            Ask::UpdateImage(ask) => Reply::Image(send!(images.update(ask))?.image),
            Ask::DeleteImage(ask) => Reply::of_nothing(send!(images.delete(ask))?),
            Ask::GetNamespace(ask) => Reply::Namespace(send!(namespaces.get(ask))?.namespace),
            Ask::ListNamespaces(ask) => Reply::Namespaces(send!(namespaces.list(ask))?.namespaces),
            Ask::CreateNamespace(ask) => Reply::Namespace(send!(namespaces.create(ask))?.namespace),
            Ask::UpdateNamespace(ask) => Reply::Namespace(send!(namespaces.update(ask))?.namespace),
            Ask::DeleteNamespace(ask) => Reply::of_nothing(send!(namespaces.delete(ask))?),
            Ask::CreateLease(ask) => Reply::Lease(send!(leases.create(ask))?.lease),
            Ask::DeleteLease(ask) => Reply::of_nothing(send!(leases.delete(ask))?),
            Ask::ListLeases(ask) => Reply::Leases(send!(leases.list(ask))?.leases),
            Ask::AddResource(ask) => Reply::of_nothing(send!(leases.add_resource(ask))?),
            Ask::DeleteResource(ask) => Reply::of_nothing(send!(leases.delete_resource(ask))?),
            Ask::ListResources(ask) => {
                Reply::Resources(send!(leases.list_resources(ask))?.resources)
            }
        })
    }

    /// Asks in the same namespaces.
    pub fn beside(&self, ask: Ask) -> Self {
        Self {
            namespaces: self.namespaces.clone(),
            lease: None,
            ask,
        }
    }
}

impl Ask {
    pub fn method(&self) -> &'static str {
        match self {
            Self::GetImage(_) => "Images.Get",
            Self::ListImages(_) => "Images.List",
            Self::CreateImage(_) => "Images.Create",
            Self::UpdateImage(_) => "Images.Update",
            Self::DeleteImage(_) => "Images.Delete",
            Self::GetNamespace(_) => "Namespaces.Get",
            Self::ListNamespaces(_) => "Namespaces.List",
            Self::CreateNamespace(_) => "Namespaces.Create",
            Self::UpdateNamespace(_) => "Namespaces.Update",
            Self::DeleteNamespace(_) => "Namespaces.Delete",
            Self::CreateLease(_) => "Leases.Create",
            Self::DeleteLease(_) => "Leases.Delete",
            Self::ListLeases(_) => "Leases.List",
            Self::AddResource(_) => "Leases.AddResource",
            Self::DeleteResource(_) => "Leases.DeleteResource",
            Self::ListResources(_) => "Leases.ListResources",
        }
    }

    /// The image that it is about; empty where it names none.
    pub fn image(&self) -> &str {
        match self {
            Self::GetImage(ask) => &ask.name,
            Self::DeleteImage(ask) => &ask.name,
            Self::CreateImage(ask) => ask.image.as_ref().map_or("", |image| &image.name),
            Self::UpdateImage(ask) => ask.image.as_ref().map_or("", |image| &image.name),
            _ => "",
        }
    }

    /// The namespace that it is about, in the request itself.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::GetNamespace(ask) => Some(&ask.name),
            Self::DeleteNamespace(ask) => Some(&ask.name),
            Self::CreateNamespace(ask) => ask.namespace.as_ref().map(|named| named.name.as_str()),
            Self::UpdateNamespace(ask) => ask.namespace.as_ref().map(|named| named.name.as_str()),
            _ => None,
        }
    }

    fn namespace_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::GetNamespace(ask) => Some(&mut ask.name),
            Self::DeleteNamespace(ask) => Some(&mut ask.name),
            Self::CreateNamespace(ask) => ask.namespace.as_mut().map(|named| &mut named.name),
            Self::UpdateNamespace(ask) => ask.namespace.as_mut().map(|named| &mut named.name),
            _ => None,
        }
    }

    fn lease_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::DeleteLease(ask) => Some(&mut ask.id),
            Self::AddResource(ask) => Some(&mut ask.id),
            Self::DeleteResource(ask) => Some(&mut ask.id),
            Self::ListResources(ask) => Some(&mut ask.id),
            _ => None,
        }
    }
}

/// What containerd's own clients accept.
pub const MAX_MESSAGE: usize = 16 << 20;

/// A request with metadata; values may be any bytes that a header can hold.
pub fn with_metadata<T>(message: T, namespaces: &[String], lease: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    let value = |text: &str| MetadataValue::try_from(text.as_bytes()).unwrap();
    let metadata = request.metadata_mut();
    for namespace in namespaces {
        metadata.append("containerd-namespace", value(namespace));
    }
    if let Some(lease) = lease {
        metadata.insert("containerd-lease", value(lease));
    }
    request
}
