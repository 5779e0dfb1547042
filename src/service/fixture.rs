//! What tests of the faces share: a store whose clock stands, and a client without a network.

use std::sync::Arc;

use crate::domain::Timestamp;
use crate::kv::Kv;
use crate::store::{Store, StoreId, Surroundings};

pub async fn store(kv: Arc<dyn Kv>) -> Store {
    let surroundings = Surroundings {
        clock: Arc::new(|| Timestamp::new(1000, 0).unwrap()),
        new_id: Arc::new(|| StoreId([9; 16])),
    };
    Store::on(kv, surroundings).await.unwrap()
}

/// The service behind the layer, called without a network and its timers.
macro_rules! client {
    ($store:expr) => {
        crate::proto::v1::images_client::ImagesClient::new(tower::Layer::layer(
            &crate::service::RequestLayer,
            crate::service::native::images($store),
        ))
    };
}
pub(super) use client;
