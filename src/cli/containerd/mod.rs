//! A client of containerd, or of whatever else speaks its API.

mod part;
mod raw;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use self::part::Part;
use self::raw::{Answered, Listed, RawLease, RawResource, RawResourcesRequest};
pub use self::raw::{RawImage, RawNamespace};
use super::address::Address;
use super::connect;
use super::failure::{Failure, with_causes};
use crate::proto::containerd::services::events::v1::{PublishRequest, SubscribeRequest};
use crate::proto::containerd::services::images::v1 as images;
use crate::proto::containerd::services::leases::v1 as leases;
use crate::proto::containerd::services::namespaces::v1 as namespaces;
use crate::proto::containerd::services::version::v1::VersionResponse;
use crate::proto::containerd::types::Envelope;
use crate::proto::v1::{ImportedLease, ImportedResource};

/// A connection to a containerd.
#[derive(Clone)]
pub struct Containerd {
    channel: Channel,
    /// What it is called in failures.
    name: String,
}

/// containerd sends 16 MiB where it is not configured otherwise.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

const NAMESPACE: &str = "containerd-namespace";

impl Containerd {
    /// Connects, and finds out that it is a containerd: asks for its version.
    pub async fn connect(address: Address) -> Result<Self, Failure> {
        const NEXT: &str =
            "Give the address of its socket, such as /run/containerd/containerd.sock";
        let channel = connect::dial(&address).await.map_err(|why| {
            Failure::new(format!("cannot reach containerd at {address}: {why}")).next(NEXT)
        })?;
        let containerd = Self {
            channel,
            name: format!("containerd at {address}"),
        };
        let version: Result<VersionResponse, _> = containerd
            .call("/containerd.services.version.v1.Version/Version", "", ())
            .await;
        let Err(status) = version else {
            return Ok(containerd);
        };
        let is_other = match status.code() {
            Code::Unimplemented | Code::Unknown | Code::Internal => true,
            // The connection broke: under which code depends on how far it had come.
            _ => status.source_text().is_some(),
        };
        Err(match is_other {
            true => Failure::new(format!("what listens at {address} is no containerd")).next(NEXT),
            false => containerd.failure("asking for its version", &status),
        })
    }

    /// The store's own server, which speaks this API too.
    pub fn of_store(channel: Channel) -> Self {
        let name = "imagestore".to_owned();
        Self { channel, name }
    }

    /// All namespaces.
    pub async fn namespaces(&self) -> Result<Vec<RawNamespace>, Failure> {
        let listed: Result<Listed<RawNamespace>, _> = self
            .call(
                "/containerd.services.namespaces.v1.Namespaces/List",
                "",
                namespaces::ListNamespacesRequest::default(),
            )
            .await;
        match listed {
            Ok(listed) => Ok(listed.all),
            Err(status) => Err(self.failure("reading its namespaces", &status)),
        }
    }

    pub async fn namespace(&self, name: &str) -> Result<RawNamespace, Status> {
        let request = namespaces::GetNamespaceRequest {
            name: name.to_owned(),
        };
        let found: Answered<RawNamespace> = self
            .call(
                "/containerd.services.namespaces.v1.Namespaces/Get",
                "",
                request,
            )
            .await?;
        Ok(found.one.unwrap_or_default())
    }

    pub async fn create_namespace(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<(), Status> {
        let request = namespaces::CreateNamespaceRequest {
            namespace: Some(namespace(name, labels)),
        };
        // The event of the change goes to the namespace of the metadata, without which the call fails
        // after it is done.
        let created: Result<namespaces::CreateNamespaceResponse, _> = self
            .call(
                "/containerd.services.namespaces.v1.Namespaces/Create",
                name,
                request,
            )
            .await;
        created.map(drop)
    }

    /// Gives a namespace these labels and no others.
    pub async fn update_namespace(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<(), Status> {
        let request = namespaces::UpdateNamespaceRequest {
            namespace: Some(namespace(name, labels)),
            update_mask: None,
        };
        let updated: Result<namespaces::UpdateNamespaceResponse, _> = self
            .call(
                "/containerd.services.namespaces.v1.Namespaces/Update",
                name,
                request,
            )
            .await;
        updated.map(drop)
    }

    /// All images of a namespace. A list that is too large for one message is read in parts, whichever side
    /// finds it so; what changes between them is the matter of the events.
    pub async fn images(&self, namespace: &str) -> Result<Vec<RawImage>, Failure> {
        let mut all = Vec::new();
        let mut parts = vec![Part::default()];
        while let Some(part) = parts.pop() {
            let request = images::ListImagesRequest {
                filters: part.filter().into_iter().collect(),
            };
            let listed: Result<Listed<RawImage>, _> = self
                .call(
                    "/containerd.services.images.v1.Images/List",
                    namespace,
                    request,
                )
                .await;
            match listed {
                Ok(listed) => all.extend(listed.all),
                Err(status) if is_too_large(&status) => match part.split() {
                    Some(halves) => parts.extend(halves),
                    None => return Err(self.failure(&reading_images(namespace), &status)),
                },
                Err(status) => return Err(self.failure(&reading_images(namespace), &status)),
            }
        }
        Ok(all)
    }

    /// An image, where there is one of that name.
    pub async fn image(&self, namespace: &str, name: &str) -> Result<Option<RawImage>, Failure> {
        let found = self.find_image(namespace, name).await;
        found.map_err(|status| self.failure(&reading_images(namespace), &status))
    }

    pub async fn find_image(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<RawImage>, Status> {
        let request = images::GetImageRequest {
            name: name.to_owned(),
        };
        let found: Result<Answered<RawImage>, _> = self
            .call(
                "/containerd.services.images.v1.Images/Get",
                namespace,
                request,
            )
            .await;
        match found {
            // Not to be taken for one that is gone.
            Ok(Answered { one: None }) => Err(Status::internal("it answered without the image")),
            Ok(found) => Ok(found.one),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    pub async fn create_image(
        &self,
        namespace: &str,
        request: images::CreateImageRequest,
    ) -> Result<RawImage, Status> {
        let answer: Answered<RawImage> = self
            .call(
                "/containerd.services.images.v1.Images/Create",
                namespace,
                request,
            )
            .await?;
        Ok(answer.one.unwrap_or_default())
    }

    pub async fn update_image(
        &self,
        namespace: &str,
        request: images::UpdateImageRequest,
    ) -> Result<RawImage, Status> {
        let answer: Answered<RawImage> = self
            .call(
                "/containerd.services.images.v1.Images/Update",
                namespace,
                request,
            )
            .await?;
        Ok(answer.one.unwrap_or_default())
    }

    /// All leases of a namespace, with what they hold, each in the native API's form or by its id and what
    /// is wrong with it.
    pub async fn leases(
        &self,
        namespace: &str,
    ) -> Result<Vec<Result<ImportedLease, (Bytes, String)>>, Failure> {
        let reading = format!("reading the leases of {namespace}");
        let failed = |status: Status| self.failure(&reading, &status);
        let listed: Listed<RawLease> = self
            .call(
                "/containerd.services.leases.v1.Leases/List",
                namespace,
                leases::ListRequest::default(),
            )
            .await
            .map_err(failed)?;
        let mut found = Vec::with_capacity(listed.all.len());
        for lease in listed.all {
            let request = RawResourcesRequest {
                id: lease.id.clone(),
            };
            let held: Result<Listed<RawResource>, _> = self
                .call(
                    "/containerd.services.leases.v1.Leases/ListResources",
                    namespace,
                    request,
                )
                .await;
            match held {
                Ok(held) => {
                    let id = lease.id.clone();
                    found.push(lease.record(held.all).map_err(|why| (id, why)));
                }
                // It ended meanwhile.
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => return Err(failed(status)),
            }
        }
        Ok(found)
    }

    pub async fn create_lease(&self, namespace: &str, lease: &ImportedLease) -> Result<(), Status> {
        let request = leases::CreateRequest {
            id: lease.id.clone(),
            labels: lease.labels.clone(),
        };
        let created: Result<leases::CreateResponse, _> = self
            .call(
                "/containerd.services.leases.v1.Leases/Create",
                namespace,
                request,
            )
            .await;
        created.map(drop)
    }

    pub async fn add_resource(
        &self,
        namespace: &str,
        lease: &str,
        resource: ImportedResource,
    ) -> Result<(), Status> {
        let request = leases::AddResourceRequest {
            id: lease.to_owned(),
            resource: Some(leases::Resource {
                id: resource.id,
                r#type: resource.r#type,
            }),
        };
        self.call(
            "/containerd.services.leases.v1.Leases/AddResource",
            namespace,
            request,
        )
        .await
    }

    /// Sends an event without content.
    pub async fn publish(&self, namespace: &str, topic: String) -> Result<(), Failure> {
        let request = PublishRequest {
            topic,
            event: Some(prost_types::Any {
                type_url: "google.protobuf.Empty".to_owned(),
                value: Vec::new(),
            }),
        };
        self.call(
            "/containerd.services.events.v1.Events/Publish",
            namespace,
            request,
        )
        .await
        .map_err(|status| self.failure("publishing an event", &status))
    }

    /// What happens from now on. Answers only when the first event comes.
    pub async fn subscribe(&self, filters: Vec<String>) -> Result<Streaming<Envelope>, Status> {
        let mut grpc = self.ready().await?;
        let path = PathAndQuery::from_static("/containerd.services.events.v1.Events/Subscribe");
        let codec = ProstCodec::<SubscribeRequest, Envelope>::default();
        let request = Request::new(SubscribeRequest { filters });
        let answer = grpc.server_streaming(request, path, codec).await?;
        Ok(answer.into_inner())
    }

    /// What containerd refused, or did not answer, while something was being done.
    pub fn failure(&self, doing: &str, status: &Status) -> Failure {
        let why = match (status.source_text(), status.message()) {
            (Some(cause), _) => format!("the connection broke ({cause})"),
            (None, "") => format!("it answered {:?}", status.code()),
            (None, said) => said.to_owned(),
        };
        Failure::new(format!("{}, {doing}: {why}", self.name))
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        grpc.ready()
            .await
            .map_err(|why| Status::from_error(why.into()))?;
        Ok(grpc)
    }

    async fn call<Q, A>(
        &self,
        method: &'static str,
        namespace: &str,
        request: Q,
    ) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut request = Request::new(request);
        if !namespace.is_empty() {
            let value = MetadataValue::try_from(namespace)
                .map_err(|_| Status::invalid_argument("a namespace is ASCII"))?;
            request.metadata_mut().insert(NAMESPACE, value);
        }
        let mut grpc = self.ready().await?;
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<Q, A>::default();
        Ok(grpc.unary(request, path, codec).await?.into_inner())
    }
}

/// What broke on this side of the connection.
trait Source {
    fn source_text(&self) -> Option<String>;
}

impl Source for Status {
    fn source_text(&self) -> Option<String> {
        std::error::Error::source(self).map(with_causes)
    }
}

fn namespace(name: &str, labels: BTreeMap<String, String>) -> namespaces::Namespace {
    namespaces::Namespace {
        name: name.to_owned(),
        labels,
    }
}

/// Whether an answer was too large: for containerd to send it, or for us to take it.
fn is_too_large(status: &Status) -> bool {
    matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange)
}

fn reading_images(namespace: &str) -> String {
    format!("reading the images of {namespace}")
}

#[cfg(test)]
mod tests;
