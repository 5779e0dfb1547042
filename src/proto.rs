//! The code generated from `proto/`.

mod codec;
mod listing;

pub(crate) use self::codec::Codec;

/// The API, `imagestore.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("imagestore.v1");
    pub use crate::proto::listing::native::{ListImagesResponse, StreamImagesResponse};
}

/// Containerd's API, as far as it is served: its packages as modules.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod containerd {
    pub mod events {
        tonic::include_proto!("containerd.events");
    }
    pub mod types {
        tonic::include_proto!("containerd.types");
        pub mod transfer {
            tonic::include_proto!("containerd.types.transfer");
        }
    }
    pub mod services {
        pub mod content {
            pub mod v1 {
                tonic::include_proto!("containerd.services.content.v1");
            }
        }
        pub mod events {
            pub mod v1 {
                tonic::include_proto!("containerd.services.events.v1");
            }
        }
        pub mod images {
            pub mod v1 {
                tonic::include_proto!("containerd.services.images.v1");
                pub use crate::proto::listing::ListImagesResponse;
            }
        }
        pub mod introspection {
            pub mod v1 {
                tonic::include_proto!("containerd.services.introspection.v1");
            }
        }
        pub mod leases {
            pub mod v1 {
                tonic::include_proto!("containerd.services.leases.v1");
            }
        }
        pub mod namespaces {
            pub mod v1 {
                tonic::include_proto!("containerd.services.namespaces.v1");
            }
        }
        pub mod transfer {
            pub mod v1 {
                tonic::include_proto!("containerd.services.transfer.v1");
            }
        }
        pub mod version {
            pub mod v1 {
                tonic::include_proto!("containerd.services.version.v1");
            }
        }
    }
}

/// What the database file holds, `imagestore.storage.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub(crate) mod storage {
    include!(concat!(env!("OUT_DIR"), "/imagestore.storage.v1.rs"));
}

/// The API's descriptors, as reflection serves them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
