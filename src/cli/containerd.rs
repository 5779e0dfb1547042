//! A client of containerd, or of whatever else speaks its API.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::address::Address;
use super::connect;
use super::failure::{Failure, with_causes};
use crate::proto::containerd::services::events::v1::{PublishRequest, SubscribeRequest};
use crate::proto::containerd::services::images::v1 as images;
use crate::proto::containerd::services::leases::v1 as leases;
use crate::proto::containerd::services::namespaces::v1 as namespaces;
use crate::proto::containerd::services::version::v1::VersionResponse;
use crate::proto::containerd::types::Envelope;
use crate::proto::v1;

/// A connection to a containerd.
#[derive(Clone)]
pub struct Containerd {
    channel: Channel,
    /// What it is called in failures.
    name: String,
}

/// An image as it comes: containerd does not check that texts are UTF-8, and one that is not would spoil
/// the whole list.
#[derive(Clone, PartialEq, Message)]
pub struct RawImage {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    #[prost(message, repeated, tag = "2")]
    labels: Vec<RawPair>,
    #[prost(message, optional, tag = "3")]
    target: Option<RawTarget>,
    #[prost(message, optional, tag = "7")]
    pub created_at: Option<prost_types::Timestamp>,
    #[prost(message, optional, tag = "8")]
    pub updated_at: Option<prost_types::Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct RawTarget {
    #[prost(bytes = "bytes", tag = "1")]
    media_type: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    digest: Bytes,
    #[prost(int64, tag = "3")]
    size: i64,
    #[prost(message, repeated, tag = "5")]
    annotations: Vec<RawPair>,
}

/// An entry of a map.
#[derive(Clone, PartialEq, Message)]
struct RawPair {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RawImages {
    #[prost(message, repeated, tag = "1")]
    images: Vec<RawImage>,
}

#[derive(Clone, PartialEq, Message)]
struct RawAnswer {
    #[prost(message, optional, tag = "1")]
    image: Option<RawImage>,
}

/// A lease and what it holds.
pub struct Lease {
    pub lease: leases::Lease,
    pub resources: Vec<leases::Resource>,
}

/// A part of all names that a list can be asked for: those that have these bits. See [`split_filter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Part {
    bits: Vec<bool>,
}

/// containerd sends 16 MiB where it is not configured otherwise.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// How often a list is halved.
const MAX_BITS: usize = 16;

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
            Code::Unavailable => status.source_text().is_some(),
            _ => false,
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

    /// All namespaces with their labels.
    pub async fn namespaces(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>, Failure> {
        let listed: namespaces::ListNamespacesResponse = self
            .call(
                "/containerd.services.namespaces.v1.Namespaces/List",
                "",
                namespaces::ListNamespacesRequest::default(),
            )
            .await
            .map_err(|status| self.failure("reading its namespaces", &status))?;
        let pair = |namespace: namespaces::Namespace| (namespace.name, namespace.labels);
        Ok(listed.namespaces.into_iter().map(pair).collect())
    }

    pub async fn namespace_labels(&self, name: &str) -> Result<BTreeMap<String, String>, Status> {
        let request = namespaces::GetNamespaceRequest {
            name: name.to_owned(),
        };
        let found: namespaces::GetNamespaceResponse = self
            .call(
                "/containerd.services.namespaces.v1.Namespaces/Get",
                "",
                request,
            )
            .await?;
        Ok(found.namespace.unwrap_or_default().labels)
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

    /// All images of a namespace. A list that is too large for one message is read in parts; what
    /// changes between them is the matter of the events.
    pub async fn images(&self, namespace: &str) -> Result<Vec<RawImage>, Failure> {
        let mut all = Vec::new();
        let mut parts = vec![Part::default()];
        while let Some(part) = parts.pop() {
            let request = images::ListImagesRequest {
                filters: part.filter().into_iter().collect(),
            };
            let listed: Result<RawImages, _> = self
                .call(
                    "/containerd.services.images.v1.Images/List",
                    namespace,
                    request,
                )
                .await;
            match listed {
                Ok(listed) => all.extend(listed.images),
                Err(status) if status.code() == Code::ResourceExhausted => match part.split() {
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
        let found: Result<RawAnswer, _> = self
            .call(
                "/containerd.services.images.v1.Images/Get",
                namespace,
                request,
            )
            .await;
        match found {
            Ok(found) => Ok(found.image),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    pub async fn create_image(
        &self,
        namespace: &str,
        request: images::CreateImageRequest,
    ) -> Result<RawImage, Status> {
        let answer: RawAnswer = self
            .call(
                "/containerd.services.images.v1.Images/Create",
                namespace,
                request,
            )
            .await?;
        Ok(answer.image.unwrap_or_default())
    }

    pub async fn update_image(
        &self,
        namespace: &str,
        request: images::UpdateImageRequest,
    ) -> Result<RawImage, Status> {
        let answer: RawAnswer = self
            .call(
                "/containerd.services.images.v1.Images/Update",
                namespace,
                request,
            )
            .await?;
        Ok(answer.image.unwrap_or_default())
    }

    /// All leases of a namespace, with what they hold.
    pub async fn leases(&self, namespace: &str) -> Result<Vec<Lease>, Failure> {
        let reading = format!("reading the leases of {namespace}");
        let failed = |status: Status| self.failure(&reading, &status);
        let listed: leases::ListResponse = self
            .call(
                "/containerd.services.leases.v1.Leases/List",
                namespace,
                leases::ListRequest::default(),
            )
            .await
            .map_err(failed)?;
        let mut found = Vec::with_capacity(listed.leases.len());
        for lease in listed.leases {
            let request = leases::ListResourcesRequest {
                id: lease.id.clone(),
            };
            let held: Result<leases::ListResourcesResponse, _> = self
                .call(
                    "/containerd.services.leases.v1.Leases/ListResources",
                    namespace,
                    request,
                )
                .await;
            match held {
                Ok(leases::ListResourcesResponse { resources }) => {
                    found.push(Lease { lease, resources });
                }
                // It ended meanwhile.
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => return Err(failed(status)),
            }
        }
        Ok(found)
    }

    pub async fn create_lease(&self, namespace: &str, lease: &leases::Lease) -> Result<(), Status> {
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
        resource: leases::Resource,
    ) -> Result<(), Status> {
        let request = leases::AddResourceRequest {
            id: lease.to_owned(),
            resource: Some(resource),
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
            .map_err(|why| Status::unavailable(with_causes(&why)))?;
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

fn reading_images(namespace: &str) -> String {
    format!("reading the images of {namespace}")
}

// === impl RawImage ===

impl RawImage {
    /// The record, in the native API's form, or which text is not UTF-8.
    pub fn record(self) -> Result<v1::Image, String> {
        let target = self.target.unwrap_or_default();
        Ok(v1::Image {
            name: text("name", self.name)?,
            labels: pairs("labels", self.labels)?,
            target: Some(v1::Descriptor {
                media_type: text("target.media_type", target.media_type)?,
                digest: text("target.digest", target.digest)?,
                size: target.size,
                annotations: pairs("target.annotations", target.annotations)?,
                ..v1::Descriptor::default()
            }),
            created_at: self.created_at,
            updated_at: self.updated_at,
            ..v1::Image::default()
        })
    }
}

fn text(field: &str, bytes: Bytes) -> Result<String, String> {
    String::from_utf8(bytes.into()).map_err(|_| format!("{field} is not valid UTF-8"))
}

fn pairs(field: &str, pairs: Vec<RawPair>) -> Result<BTreeMap<String, String>, String> {
    pairs
        .into_iter()
        .map(|pair| Ok((text(field, pair.key)?, text(field, pair.value)?)))
        .collect()
}

// === impl Part ===

impl Part {
    /// The two halves; `None` for a part that has been halved often enough.
    fn split(&self) -> Option<[Self; 2]> {
        let half = |bit| {
            let mut bits = self.bits.clone();
            bits.push(bit);
            Self { bits }
        };
        (self.bits.len() < MAX_BITS).then(|| [half(false), half(true)])
    }

    /// The names of the part; `None` for all.
    fn filter(&self) -> Option<String> {
        let filters: Vec<String> = self
            .bits
            .iter()
            .zip(CLASSES.iter())
            .map(|(bit, class)| split_filter(class, *bit))
            .collect();
        (!filters.is_empty()).then(|| filters.join(","))
    }
}

/// Names in which letters and digits of a class stand an even number of times, or an odd one.
///
/// containerd has no pages, and what names begin with is of no use to halve them: thousands share it, and
/// it takes a scan of all to find out. Whether the characters of a class are even in number depends on
/// the whole of a name, is in the power of a regular expression, and sixteen classes make a hash.
fn split_filter(class: &str, odd: bool) -> String {
    let first = if odd {
        format!("[^{class}]*[{class}]")
    } else {
        String::new()
    };
    format!("name~=\"^{first}([^{class}]*[{class}][^{class}]*[{class}])*[^{class}]*$\"")
}

/// Half of the letters and digits each, chosen without a pattern.
static CLASSES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let characters = || ('0'..='9').chain('A'..='Z').chain('a'..='z');
    let is_in = |c: char, class: usize| {
        let mixed = (u64::from(c) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)) >> (20 + class) & 1 == 1
    };
    (0..MAX_BITS)
        .map(|class| {
            characters()
                .filter(|c| is_in(*c, class))
                .fold(String::new(), |mut set, c| {
                    let _ = write!(set, "{c}");
                    set
                })
        })
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Algorithm, Descriptor, Dialect, Digest, Filter, Image, Labels, Size, Timestamp,
    };

    /// The sizes of the parts of some names, each halved until it has at most so many.
    fn parts(names: &[String], most: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut parts = vec![Part::default()];
        while let Some(part) = parts.pop() {
            let classes = part.bits.iter().zip(CLASSES.iter());
            let classes: Vec<(bool, &String)> = classes.map(|(bit, class)| (*bit, class)).collect();
            let is_in = |name: &&String| {
                classes.iter().all(|(odd, class)| {
                    name.chars().filter(|c| class.contains(*c)).count() % 2 == usize::from(*odd)
                })
            };
            match names.iter().filter(is_in).count() {
                few if few <= most => sizes.push(few),
                many => match part.split() {
                    Some(halves) => parts.extend(halves),
                    None => panic!("{many} names are not told apart"),
                },
            }
        }
        sizes
    }

    #[test]
    fn names_that_differ_by_a_number_fall_into_parts() {
        let names: Vec<String> = (0..20_000)
            .map(|number| format!("registry.k8s.io/app-{number:06}:v1"))
            .collect();
        let sizes = parts(&names, 1000);
        assert_eq!(sizes.iter().sum::<usize>(), names.len());
        assert!(sizes.len() < 200, "{}", sizes.len());
    }

    #[test]
    fn each_name_is_in_one_half_and_in_that_of_its_bit() {
        for name in [
            "a",
            "docker.io/library/alpine:3.18",
            "\u{e4}\n/",
            "0123456789",
        ] {
            let digest = Digest::of(Algorithm::Sha256, b"");
            let size = Size::try_from(1u64).unwrap();
            let image = Image {
                name: name.parse().unwrap(),
                target: Descriptor::new("a/b".parse().unwrap(), digest, size),
                labels: Labels::default(),
                created_at: Timestamp::UNIX_EPOCH,
                updated_at: Timestamp::UNIX_EPOCH,
            };
            for class in CLASSES.iter() {
                let is_odd = name.chars().filter(|c| class.contains(*c)).count() % 2 == 1;
                for odd in [false, true] {
                    let filter = split_filter(class, odd);
                    let filter = Filter::parse::<Image>(&[filter], Dialect::Containerd).unwrap();
                    assert_eq!(filter.matches(&image), odd == is_odd, "{name:?} {class}");
                }
            }
        }
    }
}
