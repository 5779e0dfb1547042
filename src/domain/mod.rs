//! Valid values and pure rules: what an image record is, with no I/O, clock or protocol in sight.

pub mod build;
mod change;
mod config;
mod descriptor;
mod digest;
mod filter;
mod image;
mod invalid;
mod labels;
mod lease;
mod name;
mod namespace;
mod natural;
mod oci;
mod platform;
mod timestamp;

pub use change::{
    Dating, ImageChange, ImageEdit, ImagePath, NamespaceChange, NamespaceEdit, NamespacePath,
};
pub use config::{
    ChainId, ConfigId, ContainerConfig, DiffId, Fingerprint, Healthcheck, HistoryEntry, IdPrefix,
    ImageConfig, NotBuiltOn, Otherwise, Reference, Step, chain_ids, next_step,
};
pub use descriptor::{Annotations, Descriptor, MediaType, Platform, Size};
pub use digest::{Algorithm, Digest, DigestPrefix};
pub use filter::{Dialect, Filter, FilterError, Hint, Kind, Subject, Value};
pub use image::Image;
pub use invalid::Invalid;
pub use labels::Labels;
pub use lease::{Lease, LeaseId, Resource, ResourceId, Snapshotter};
pub use name::{ImageName, Namespace};
pub use namespace::{Contents, HistoryLimit, NamespaceRecord};
pub use platform::{Preference, RunPlatform};
pub use timestamp::Timestamp;
