//! Our own API, `imagestore.v1`: check, call, translate.

mod build_cache;
mod build_targets;
mod builders;
mod claims;
mod configs;
mod images;
mod import;
mod listing;
mod namespaces;
mod store;
mod verify;
mod watch;
mod wire;

use prost::Message;
use tonic::metadata::MetadataMap;
use tracing::{Span, field};

use crate::domain::{Invalid, Namespace};
use crate::kv::Revision;
use crate::proto::v1::build_cache_server::BuildCacheServer;
use crate::proto::v1::build_targets_server::BuildTargetsServer;
use crate::proto::v1::builders_server::BuildersServer;
use crate::proto::v1::configs_server::ConfigsServer;
use crate::proto::v1::images_server::ImagesServer;
use crate::proto::v1::namespaces_server::NamespacesServer;
use crate::proto::v1::store_server::StoreServer;
use crate::store::{RequestId, Scope, Store};

/// The most bytes that a request may have.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;

/// The same about configs, so that one that is too large is refused as what it is.
const MAX_CONFIG_REQUEST_BYTES: usize = 8 << 20;

/// The same about build targets: all of a namespace may come at once, and too many of them are refused as what they are.
const MAX_TARGETS_REQUEST_BYTES: usize = 32 << 20;

pub fn images(store: &Store) -> ImagesServer<images::Service> {
    ImagesServer::new(images::Service::new(store)).max_decoding_message_size(MAX_REQUEST_BYTES)
}

pub fn namespaces(store: &Store) -> NamespacesServer<namespaces::Service> {
    NamespacesServer::new(namespaces::Service::new(store))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
}

pub fn configs(store: &Store) -> ConfigsServer<configs::Service> {
    ConfigsServer::new(configs::Service::new(store))
        .max_decoding_message_size(MAX_CONFIG_REQUEST_BYTES)
}

pub fn build_cache(store: &Store) -> BuildCacheServer<build_cache::Service> {
    BuildCacheServer::new(build_cache::Service::new(store))
        .max_decoding_message_size(MAX_CONFIG_REQUEST_BYTES)
}

pub fn builders(store: &Store) -> BuildersServer<builders::Service> {
    BuildersServer::new(builders::Service::new(store)).max_decoding_message_size(MAX_REQUEST_BYTES)
}

pub fn build_targets(store: &Store) -> BuildTargetsServer<build_targets::Service> {
    BuildTargetsServer::new(build_targets::Service::new(store))
        .max_decoding_message_size(MAX_TARGETS_REQUEST_BYTES)
        .max_encoding_message_size(usize::MAX)
}

pub fn store(store: &Store) -> StoreServer<store::Service> {
    StoreServer::new(store::Service::new(store)).max_decoding_message_size(MAX_REQUEST_BYTES)
}

/// Where a request that names no namespace goes.
const DEFAULT_NAMESPACE: &str = "default";

/// The metadata that names a namespace where the field does not; containerd's.
const NAMESPACE_HEADER: &str = "containerd-namespace";

/// The one namespace that a request is about.
fn namespace(field: &str, metadata: &MetadataMap) -> Result<Namespace, Invalid> {
    match scope(field, metadata)? {
        Scope::One(namespace) => Ok(namespace),
        Scope::All => Err(Invalid::new(
            "namespace",
            "must name one namespace here, not `-`",
        )),
    }
}

/// The namespaces that a request is about.
fn scope(field: &str, metadata: &MetadataMap) -> Result<Scope, Invalid> {
    let asked = asked(field, metadata)?;
    Span::current().record("namespace", asked);
    match asked {
        "-" => Ok(Scope::All),
        name => Ok(Scope::One(name.parse()?)),
    }
}

/// The id that a request has, if it has one, and what it asks for: the method, the namespace that it
/// goes to, and all of its message.
fn once(
    id: &str,
    method: &str,
    namespace: &Namespace,
    request: &impl Message,
) -> Result<Option<RequestId>, Invalid> {
    if id.is_empty() {
        return Ok(None);
    }
    let mut asked = format!("{method}/{namespace}/").into_bytes();
    asked.extend(request.encode_to_vec());
    RequestId::new(id, &asked).map(Some)
}

/// Notes the revision that an answer holds at.
fn at(revision: Revision) -> u64 {
    Span::current().record("revision", field::display(revision));
    revision.0
}

fn asked<'a>(field: &'a str, metadata: &'a MetadataMap) -> Result<&'a str, Invalid> {
    let Some(header) = metadata.get(NAMESPACE_HEADER) else {
        return Ok(if field.is_empty() {
            DEFAULT_NAMESPACE
        } else {
            field
        });
    };
    let header = header.to_str().map_err(|_| {
        Invalid::new(
            "namespace",
            format!("in the metadata {NAMESPACE_HEADER} must be ASCII"),
        )
    })?;
    match (field, header) {
        ("", "") => Ok(DEFAULT_NAMESPACE),
        ("", header) => Ok(header),
        (field, "") => Ok(field),
        (field, header) if field == header => Ok(field),
        (field, header) => Err(Invalid::new(
            "namespace",
            format!(
                "is {field:?}, and the metadata {NAMESPACE_HEADER} says {header:?}; send one of them"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(header: Option<&str>) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        if let Some(header) = header {
            metadata.insert(NAMESPACE_HEADER, header.parse().unwrap());
        }
        metadata
    }

    #[test]
    fn the_field_names_the_namespace_then_the_metadata_then_the_default() {
        for (field, header, wanted) in [
            ("", None, "default"),
            ("a", None, "a"),
            ("", Some("b"), "b"),
            ("a", Some("a"), "a"),
            ("a", Some(""), "a"),
        ] {
            assert_eq!(namespace(field, &with(header)).unwrap().as_str(), wanted);
        }
        for (field, header) in [
            ("a", Some("b")),
            ("-", None),
            ("a/b", None),
            ("", Some("a/b")),
            ("-", Some("a")),
        ] {
            assert_eq!(
                namespace(field, &with(header)).unwrap_err().field(),
                "namespace"
            );
        }
        assert_eq!(scope("-", &with(None)), Ok(Scope::All));
        assert_eq!(scope("", &with(Some("-"))), Ok(Scope::All));
        assert!(scope("-", &with(Some("a"))).is_err());
    }
}
