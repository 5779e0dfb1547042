//! The gRPC faces of the store.

mod containerd;
mod encode;
#[cfg(test)]
mod fixture;
mod layer;
mod native;
mod status;

use tonic::Extensions;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::server::UdsConnectInfo;
use tower::Layer;

use crate::domain::Timestamp;
use crate::proto::v1;
use crate::store::Store;

pub use self::containerd::TransferLabels;
pub use self::layer::{RequestLayer, RequestService};

/// What users may choose of how the services behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub transfer_labels: TransferLabels,
    /// What `containerd.services.introspection.v1.Introspection/Server` says of the server.
    pub process: Process,
}

/// A process, for those who ask who serves them. All zero where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// The inode of its PID namespace.
    pub pidns: u64,
}

/// The services, to be added to a tonic server, beside others or alone.
///
/// ```no_run
/// # async fn example(store: imagestore::Store) -> Result<(), tonic::transport::Error> {
/// tonic::transport::Server::builder()
///     .add_routes(imagestore::service::routes(&store))
///     .serve(([127, 0, 0, 1], 7870).into())
///     .await
/// # }
/// ```
pub fn routes(store: &Store) -> Routes {
    routes_with(store, &Options::default())
}

/// The same, otherwise than by default.
pub fn routes_with(store: &Store, options: &Options) -> Routes {
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(RequestLayer::NATIVE.layer(native::images(store)))
        .add_service(RequestLayer::NATIVE.layer(native::namespaces(store)))
        .add_service(RequestLayer::NATIVE.layer(native::configs(store)))
        .add_service(RequestLayer::NATIVE.layer(native::build_cache(store)))
        .add_service(RequestLayer::NATIVE.layer(native::builders(store)))
        .add_service(RequestLayer::NATIVE.layer(native::build_targets(store)))
        .add_service(RequestLayer::NATIVE.layer(native::store(store)));
    containerd::add_to(&mut routes, store, options);
    let routes = routes.routes().into_axum_router();
    Routes::from(routes.fallback(layer::unknown_service))
}

/// The full names of the services that [`routes`] serves.
pub fn names() -> impl Iterator<Item = &'static str> {
    [
        v1::images_server::SERVICE_NAME,
        v1::namespaces_server::SERVICE_NAME,
        v1::configs_server::SERVICE_NAME,
        v1::build_cache_server::SERVICE_NAME,
        v1::builders_server::SERVICE_NAME,
        v1::build_targets_server::SERVICE_NAME,
        v1::store_server::SERVICE_NAME,
    ]
    .into_iter()
    .chain(containerd::NAMES)
}

/// Who sends a request, where that is known: the peer of a Unix socket, by its user id.
fn caller(extensions: &Extensions) -> Option<String> {
    let peer = extensions.get::<UdsConnectInfo>()?.peer_cred?;
    Some(format!("uid:{}", peer.uid()))
}

fn time_message(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.seconds(),
        nanos: i32::try_from(time.nanos()).expect("less than 1,000,000,000"),
    }
}
