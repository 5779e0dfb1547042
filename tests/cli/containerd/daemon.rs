//! A real containerd of one's own, and what it says it holds.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use http::uri::PathAndQuery;
use imagestore::proto::containerd::services::images::v1 as images;
use imagestore::proto::containerd::services::images::v1::images_client::ImagesClient;
use imagestore::proto::containerd::services::leases::v1 as leases;
use imagestore::proto::containerd::services::leases::v1::leases_client::LeasesClient;
use imagestore::proto::containerd::services::namespaces::v1 as namespaces;
use imagestore::proto::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use imagestore::proto::containerd::services::version::v1::version_client::VersionClient;
use imagestore::proto::containerd::types::Descriptor;
use imagestore::proto::v1;
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::{Held, Holding, Holdings, Record};
use crate::harness::eventually;

const CONTAINERD: &str = "/usr/bin/containerd";
/// Memory, where containerd does not wait for a disk.
const MEMORY: &str = "/dev/shm";

/// A running containerd without CRI. Killed when dropped.
pub struct Containerd {
    process: Child,
    place: TempDir,
    pub client: Client,
}

/// Calls, one after another.
pub struct Client {
    runtime: Runtime,
    channel: Channel,
}

/// A message whose texts are bytes of any kind. One inside another is encoded.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Raw {
    #[prost(bytes = "vec", tag = "1")]
    pub one: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub two: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub three: Vec<u8>,
}

/// `None` where it is not installed.
fn installed() -> Option<()> {
    if Path::new(CONTAINERD).exists() {
        return Some(());
    }
    let missing = "PEER MISSING: containerd; this test took nothing over\n";
    let required = env::var_os("IMAGESTORE_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "{missing}");
    // Not eprintln!, which the test harness hides when the test passes.
    io::stderr().write_all(missing.as_bytes()).unwrap();
    None
}

fn spawn(place: &Path) -> Child {
    let config = place.join("config.toml");
    let text = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
         [grpc]\naddress = {:?}\n",
        place.join("root"),
        place.join("state"),
        place.join("s"),
    );
    fs::write(&config, text).unwrap();
    let log = File::create(place.join("log")).unwrap();
    Command::new(CONTAINERD)
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

pub fn digest(number: u64) -> String {
    format!("sha256:{number:064x}")
}

pub fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

/// An image whose digest is a number.
pub fn image(name: &str, number: u64, labels: &[(&str, &str)]) -> images::Image {
    images::Image {
        name: name.to_owned(),
        labels: self::labels(labels),
        target: Some(Descriptor {
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            digest: digest(number),
            size: 1000 + i64::try_from(number).unwrap(),
            annotations: BTreeMap::new(),
        }),
        ..images::Image::default()
    }
}

// === impl Raw ===

impl Raw {
    fn pair(one: &[u8], two: &[u8]) -> Self {
        Self {
            one: one.to_vec(),
            two: two.to_vec(),
            three: Vec::new(),
        }
    }
}

// === impl Containerd ===

impl Containerd {
    /// `None` where it is not installed.
    pub fn start() -> Option<Self> {
        installed()?;
        let place = TempDir::with_prefix_in("imagestore-", MEMORY)
            .unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let mut process = spawn(place.path());
        let socket = place.path().join("s");
        eventually("containerd has its socket", || {
            if let Some(status) = process.try_wait().unwrap() {
                let log = fs::read_to_string(place.path().join("log")).unwrap();
                panic!("containerd ended with {status}: {log}");
            }
            socket.exists()
        });
        let client = Client::connect(&socket);
        eventually("containerd answers", || client.answers());
        Some(Self {
            process,
            place,
            client,
        })
    }

    pub fn socket(&self) -> PathBuf {
        self.place.path().join("s")
    }

    pub fn address(&self) -> String {
        self.socket().to_str().unwrap().to_owned()
    }

    /// Where it keeps its records.
    pub fn meta_db(&self) -> PathBuf {
        let root = self.place.path().join("root");
        root.join("io.containerd.metadata.v1.bolt/meta.db")
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// === impl Client ===

impl Client {
    pub fn connect(socket: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let address = format!("unix://{}", socket.display());
        let channel = {
            let _inside = runtime.enter();
            Endpoint::from_shared(address).unwrap().connect_lazy()
        };
        Self { runtime, channel }
    }

    fn answers(&self) -> bool {
        let mut client = VersionClient::new(self.channel.clone());
        self.runtime.block_on(client.version(())).is_ok()
    }

    fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub fn create(&self, namespace: &str, image: images::Image) {
        let request = images::CreateImageRequest {
            image: Some(image),
            ..images::CreateImageRequest::default()
        };
        let created = async { self.images().create(of(namespace, request)).await };
        self.runtime.block_on(created).unwrap();
    }

    /// Creates them, many at once.
    pub fn create_all(&self, namespace: &str, all: impl Iterator<Item = images::Image>) {
        use futures::StreamExt;
        let created = futures::stream::iter(all).for_each_concurrent(16, |image| async {
            let request = images::CreateImageRequest {
                image: Some(image),
                ..images::CreateImageRequest::default()
            };
            self.images().create(of(namespace, request)).await.unwrap();
        });
        self.runtime.block_on(created);
    }

    /// Replaces labels and target.
    pub fn update(&self, namespace: &str, image: images::Image) {
        let request = images::UpdateImageRequest {
            image: Some(image),
            ..images::UpdateImageRequest::default()
        };
        let updated = async { self.images().update(of(namespace, request)).await };
        self.runtime.block_on(updated).unwrap();
    }

    pub fn delete(&self, namespace: &str, name: &str) {
        let request = images::DeleteImageRequest {
            name: name.to_owned(),
            ..images::DeleteImageRequest::default()
        };
        let deleted = async { self.images().delete(of(namespace, request)).await };
        self.runtime.block_on(deleted).unwrap();
    }

    /// Calls a method of which nothing is to be known but that it was done.
    pub fn call(&self, method: &'static str, namespace: &str, request: Raw) {
        let done: Result<_, Status> = self.runtime.block_on(async {
            let mut grpc = Grpc::new(self.channel.clone());
            grpc.ready().await.unwrap();
            let path = PathAndQuery::from_static(method);
            let codec = ProstCodec::<Raw, ()>::default();
            grpc.unary(of(namespace, request), path, codec).await
        });
        done.unwrap();
    }

    /// Creates an image whose name is bytes of any kind.
    pub fn create_raw(&self, namespace: &str, name: &[u8]) {
        let target = image("", 7, &[]).target.unwrap();
        let image = Raw {
            one: name.to_vec(),
            three: target.encode_to_vec(),
            ..Raw::default()
        };
        let request = Raw {
            one: image.encode_to_vec(),
            ..Raw::default()
        };
        let create = "/containerd.services.images.v1.Images/Create";
        self.call(create, namespace, request);
    }

    /// Creates a namespace of any name, as containerd does when one is updated.
    pub fn update_raw_namespace(&self, name: &[u8], label: &[u8]) {
        let pair = Raw::pair(b"label", label).encode_to_vec();
        let request = Raw {
            one: Raw::pair(name, &pair).encode_to_vec(),
            ..Raw::default()
        };
        let update = "/containerd.services.namespaces.v1.Namespaces/Update";
        self.call(update, "default", request);
    }

    /// Creates a lease whose texts are bytes of any kind, with something that it holds.
    pub fn create_raw_lease(&self, namespace: &str, id: &[u8], label: &[u8], ingest: &[u8]) {
        let create = Raw {
            one: id.to_vec(),
            three: Raw::pair(b"label", label).encode_to_vec(),
            ..Raw::default()
        };
        let method = "/containerd.services.leases.v1.Leases/Create";
        self.call(method, namespace, create);
        let resource = Raw::pair(ingest, b"ingests").encode_to_vec();
        let method = "/containerd.services.leases.v1.Leases/AddResource";
        self.call(method, namespace, Raw::pair(id, &resource));
    }

    pub fn create_namespace(&self, name: &str, pairs: &[(&str, &str)]) {
        let request = namespaces::CreateNamespaceRequest {
            namespace: Some(namespaces::Namespace {
                name: name.to_owned(),
                labels: labels(pairs),
            }),
        };
        let mut client = NamespacesClient::new(self.channel.clone());
        let created = async { client.create(of(name, request)).await };
        self.runtime.block_on(created).unwrap();
    }

    pub fn update_namespace(&self, name: &str, pairs: &[(&str, &str)]) {
        let request = namespaces::UpdateNamespaceRequest {
            namespace: Some(namespaces::Namespace {
                name: name.to_owned(),
                labels: labels(pairs),
            }),
            update_mask: None,
        };
        let mut client = NamespacesClient::new(self.channel.clone());
        let updated = async { client.update(of(name, request)).await };
        self.runtime.block_on(updated).unwrap();
    }

    pub fn delete_namespace(&self, name: &str) {
        let request = namespaces::DeleteNamespaceRequest {
            name: name.to_owned(),
        };
        let mut client = NamespacesClient::new(self.channel.clone());
        let deleted = async { client.delete(of(name, request)).await };
        self.runtime.block_on(deleted).unwrap();
    }

    pub fn create_lease(
        &self,
        namespace: &str,
        id: &str,
        pairs: &[(&str, &str)],
        resources: &[(&str, &str)],
    ) {
        let mut client = LeasesClient::new(self.channel.clone());
        let created = async {
            let request = leases::CreateRequest {
                id: id.to_owned(),
                labels: labels(pairs),
            };
            client.create(of(namespace, request)).await?;
            for (kind, resource) in resources {
                let request = leases::AddResourceRequest {
                    id: id.to_owned(),
                    resource: Some(leases::Resource {
                        id: (*resource).to_owned(),
                        r#type: (*kind).to_owned(),
                    }),
                };
                client.add_resource(of(namespace, request)).await?;
            }
            Ok::<_, Status>(())
        };
        self.runtime.block_on(created).unwrap();
    }

    /// How many images an imagestore has of a namespace.
    pub fn count(&self, namespace: &str) -> i64 {
        let request = v1::CountImagesRequest {
            namespace: namespace.to_owned(),
            ..v1::CountImagesRequest::default()
        };
        let mut client = v1::images_client::ImagesClient::new(self.channel.clone());
        let counted = async { client.count(request).await };
        self.runtime.block_on(counted).unwrap().into_inner().count
    }

    /// All that it holds, as its lists say.
    pub fn holdings(&self) -> Holdings {
        let mut client = NamespacesClient::new(self.channel.clone());
        let request = namespaces::ListNamespacesRequest::default();
        let listed = async { client.list(request).await };
        let listed = self.runtime.block_on(listed).unwrap().into_inner();
        let mut all = Holdings::new();
        for namespace in listed.namespaces {
            let holding = Holding {
                images: self.list(&namespace.name, &[]).unwrap(),
                leases: self.leases(&namespace.name),
                labels: namespace.labels,
            };
            all.insert(namespace.name, holding);
        }
        all
    }

    pub fn list(
        &self,
        namespace: &str,
        filters: &[String],
    ) -> Result<BTreeMap<String, Record>, Status> {
        let request = images::ListImagesRequest {
            filters: filters.to_vec(),
        };
        let listed = async { self.images().list(of(namespace, request)).await };
        let listed = self.runtime.block_on(listed)?.into_inner();
        let pair = |image: images::Image| {
            let target = image.target.unwrap();
            let record = Record {
                media_type: target.media_type,
                digest: target.digest,
                size: target.size,
                annotations: target.annotations,
                labels: image.labels,
                created_at: time(image.created_at),
                updated_at: time(image.updated_at),
            };
            (image.name, record)
        };
        Ok(listed.images.into_iter().map(pair).collect())
    }

    pub fn leases(&self, namespace: &str) -> BTreeMap<String, Held> {
        let mut client = LeasesClient::new(self.channel.clone());
        let listed = async {
            let request = of(namespace, leases::ListRequest::default());
            let listed = client.list(request).await?.into_inner();
            let mut all = BTreeMap::new();
            for lease in listed.leases {
                let request = leases::ListResourcesRequest {
                    id: lease.id.clone(),
                };
                let held = client.list_resources(of(namespace, request)).await?;
                let held = held.into_inner().resources.into_iter();
                let held = Held {
                    labels: lease.labels,
                    created_at: time(lease.created_at),
                    resources: held.map(|held| (held.r#type, held.id)).collect(),
                };
                all.insert(lease.id, held);
            }
            Ok::<_, Status>(all)
        };
        self.runtime.block_on(listed).unwrap()
    }
}

fn of<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = namespace.parse().unwrap();
    request.metadata_mut().insert("containerd-namespace", value);
    request
}

fn time(time: Option<prost_types::Timestamp>) -> (i64, i32) {
    let time = time.unwrap();
    (time.seconds, time.nanos)
}
