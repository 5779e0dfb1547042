//! What tests of the faces share: a store whose clock stands, and a client without a network.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Request, Response, Status};

use crate::domain::Timestamp;
use crate::kv::Kv;
use crate::store::{Store, StoreId, Surroundings};

pub async fn store(kv: Arc<dyn Kv>) -> Store {
    let surroundings = Surroundings {
        clock: Arc::new(|| Timestamp::new(1000, 0).unwrap()),
        uptime: Arc::new(|| Duration::from_secs(1000)),
        new_id: Arc::new(|| StoreId([9; 16])),
    };
    Store::on(kv, surroundings).await.unwrap()
}

/// A request that names a namespace as containerd's clients do.
pub fn in_namespace<T>(namespace: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let namespace = namespace.parse().unwrap();
    request
        .metadata_mut()
        .append("containerd-namespace", namespace);
    request
}

/// What a call answered, or the code and the text of its refusal.
pub fn said<T>(answer: Result<Response<T>, Status>) -> Result<T, (Code, String)> {
    answer.map(Response::into_inner).map_err(|status| {
        assert_eq!(
            status.details(),
            b"",
            "containerd's clients know no details"
        );
        (status.code(), status.message().to_owned())
    })
}

/// The service behind the layer, called without a network and its timers.
macro_rules! client {
    ($store:expr) => {
        crate::proto::v1::images_client::ImagesClient::new(tower::Layer::layer(
            &crate::service::RequestLayer::NATIVE,
            crate::service::native::images($store),
        ))
    };
}
pub(super) use client;
