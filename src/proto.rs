//! The code generated from `proto/`.

/// The API, `imagestore.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("imagestore.v1");
}

/// What the database file holds, `imagestore.storage.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub(crate) mod storage {
    include!(concat!(env!("OUT_DIR"), "/imagestore.storage.v1.rs"));
}

/// The API's descriptors, as reflection serves them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
