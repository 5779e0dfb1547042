//! A metadata store for container images: which digest a name points to, served over gRPC, from one
//! embedded database file.
//!
//! An embedder opens a [`Store`] and calls it directly, or adds [`service::routes`] to a tonic server
//! of its own; `examples/embed.rs` does both.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use imagestore::domain::{Descriptor, ImageChange, Labels, Size};
//! use imagestore::store::PutImage;
//!
//! let store = imagestore::Store::in_memory().await?;
//! let namespace = "default".parse()?;
//! let target = Descriptor::new(
//!     "application/vnd.oci.image.index.v1+json".parse()?,
//!     "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse()?,
//!     Size::try_from(3700u64)?,
//! );
//! let change = ImageChange::Replace { target, labels: Labels::default() };
//! let put = store.images().put(&namespace, PutImage::new("alpine:3".parse()?, change)).await?;
//! assert!(put.value.created);
//! # Ok(())
//! # }
//! ```
//!
//! # The map
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | [`Error`]: what can go wrong, in the store's own terms |
//! | [`domain`] | valid values and pure rules; no I/O, no clock, no protocol |
//! | [`kv`] | the seam to storage, and its engines |
//! | [`store`] | what the service means, written once for every engine |
//! | [`service`] | the gRPC faces |
//! | [`server`] | a process that serves: addresses, health, reflection, drain |
//! | [`cli`] | the command line |
//! | [`proto`] | what is generated from `proto/` |
//!
//! `domain, kv <- store <- service <- server <- cli`: each may use what stands left of it, and
//! `domain` and `kv` do not know each other.

#![forbid(unsafe_code)]

pub mod cli;
pub mod domain;
pub mod error;
pub mod kv;
pub mod proto;
pub mod server;
pub mod service;
pub mod store;

pub use error::Error;
pub use store::Store;
