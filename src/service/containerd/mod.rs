//! Containerd's API over the same records: its checks in its order, its words, and what its clients
//! take for granted. `ctr` and clients built on containerd's packages cannot tell the difference,
//! but for what `tests/containerd/known.rs` lists with its reasons.
//!
//! Unlike in our own API there is no default namespace, and an error is a code and a text only.

mod answers;
mod content;
mod digest;
mod error;
mod events;
mod images;
mod introspection;
mod leases;
mod listing;
mod namespaces;
mod transfer;
mod version;
mod wire;

use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::service::RoutesBuilder;
use tower::Layer;
use tracing::Span;

use self::answers::Answers;
pub use self::error::{Fault, Kind};
pub use self::transfer::TransferLabels;
use super::Options;
use super::layer::RequestLayer;
use crate::domain::Namespace;
use crate::proto::containerd::services as pb;
use crate::store::Store;

/// The most bytes that a message may have, either way; containerd's limit.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// The metadata that names the namespace of a request.
const NAMESPACE_HEADER: &str = "containerd-namespace";

/// The full names of the services.
pub const NAMES: [&str; 8] = [
    pb::content::v1::content_server::SERVICE_NAME,
    pb::events::v1::events_server::SERVICE_NAME,
    pb::images::v1::images_server::SERVICE_NAME,
    pb::introspection::v1::introspection_server::SERVICE_NAME,
    pb::leases::v1::leases_server::SERVICE_NAME,
    pb::namespaces::v1::namespaces_server::SERVICE_NAME,
    pb::transfer::v1::transfer_server::SERVICE_NAME,
    pb::version::v1::version_server::SERVICE_NAME,
];

/// Adds the services.
pub fn add_to(routes: &mut RoutesBuilder, store: &Store, options: &Options) {
    macro_rules! add {
        ($server:path, $service:expr) => {{
            use $server as Server;
            let server = Server::new($service).max_decoding_message_size(MAX_MESSAGE_BYTES);
            routes.add_service(RequestLayer::CONTAINERD.layer(server));
        }};
    }
    let answers = Answers::new();
    add!(
        pb::content::v1::content_server::ContentServer,
        content::Service
    );
    add!(
        pb::events::v1::events_server::EventsServer,
        events::Service::new(store)
    );
    add!(
        pb::images::v1::images_server::ImagesServer,
        images::Service::new(store, &answers)
    );
    add!(
        pb::introspection::v1::introspection_server::IntrospectionServer,
        introspection::Service::new(store, options.process)
    );
    add!(
        pb::leases::v1::leases_server::LeasesServer,
        leases::Service::new(store, &answers)
    );
    add!(
        pb::namespaces::v1::namespaces_server::NamespacesServer,
        namespaces::Service::new(store, &answers)
    );
    add!(
        pb::transfer::v1::transfer_server::TransferServer,
        transfer::Service::new(store, options.transfer_labels)
    );
    add!(
        pb::version::v1::version_server::VersionServer,
        version::Service
    );
}

/// Refuses an answer of more bytes than a message may have, in the words of containerd's gRPC.
fn fits(message: &impl Message) -> Result<usize, Fault> {
    match message.encoded_len() {
        bytes if bytes > MAX_MESSAGE_BYTES => Err(too_large(bytes)),
        bytes => Ok(bytes),
    }
}

fn too_large(bytes: usize) -> Fault {
    let what = "grpc: trying to send message larger than max";
    Fault::bare(
        Kind::ResourceExhausted,
        format!("{what} ({bytes} vs. {MAX_MESSAGE_BYTES})"),
    )
}

/// The namespace that a request is about; of several the first counts.
fn namespace(metadata: &MetadataMap) -> Result<Namespace, Fault> {
    let required = || Fault::new(Kind::FailedPrecondition, "namespace is required");
    let value = metadata.get(NAMESPACE_HEADER).ok_or_else(required)?;
    // Other bytes are no identifier either; what they are is not told apart.
    let text = String::from_utf8_lossy(value.as_bytes());
    Span::current().record("namespace", &*text);
    if text.is_empty() {
        return Err(required());
    }
    identifier(&text).map_err(|fault| fault.within("namespace validation"))
}

/// A namespace by containerd's rule for identifiers, in its words.
fn identifier(text: &str) -> Result<Namespace, Fault> {
    let why = || match text.len() {
        0 => "identifier must not be empty".to_owned(),
        1..=Namespace::MAX_BYTES => format!(
            "identifier {} must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$",
            error::quoted(text)
        ),
        _ => format!(
            "identifier {} greater than maximum length ({} characters)",
            error::quoted(text),
            Namespace::MAX_BYTES
        ),
    };
    text.parse()
        .map_err(|_| Fault::new(Kind::InvalidArgument, why()))
}
