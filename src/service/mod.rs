//! The gRPC faces of the store.

#[cfg(test)]
mod fixture;
mod layer;
mod native;
mod status;

use tonic::service::Routes;
use tower::Layer;

use crate::proto::v1;
use crate::store::Store;

pub use self::layer::{RequestLayer, RequestService};

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
    let routes = Routes::new(RequestLayer.layer(native::images(store)))
        .add_service(RequestLayer.layer(native::namespaces(store)))
        .add_service(RequestLayer.layer(native::store(store)));
    Routes::from(routes.into_axum_router().fallback(layer::unknown_service))
}

/// The full names of the services that [`routes`] serves.
pub const NAMES: [&str; 3] = [
    v1::images_server::SERVICE_NAME,
    v1::namespaces_server::SERVICE_NAME,
    v1::store_server::SERVICE_NAME,
];
