//! A small daemon that keeps an image store and serves it beside a service of its own.
//!
//! ```text
//! cargo run --example embed -- ROOT SOCKET
//! ```
//!
//! It prints `ready` when it serves, and ends on SIGTERM or SIGINT. Its own service is the standard
//! health service, over what it knows itself: whether a base image is there.

use std::env;
use std::error::Error;

use imagestore::Store;
use imagestore::domain::{Descriptor, ImageChange, ImageName, Labels, Namespace, Size};
use imagestore::store::{Precondition, PutImage};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic_health::ServingStatus;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let (Some(root), Some(socket)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed ROOT SOCKET".into());
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    // The store, called directly: no socket and no message in between.
    let store = Store::open(root).await?;
    let namespace: Namespace = "daemon".parse()?;
    let name: ImageName = "base:latest".parse()?;
    let target = Descriptor::new(
        "application/vnd.oci.image.index.v1+json".parse()?,
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse()?,
        Size::try_from(3700u64)?,
    );
    let change = ImageChange::Replace {
        target,
        labels: Labels::default(),
    };
    let put = PutImage {
        when: Precondition::MustNotExist,
        ..PutImage::new(name.clone(), change)
    };
    match store.images().put(&namespace, put).await {
        Ok(_) | Err(imagestore::Error::Exists(_)) => {}
        Err(other) => return Err(other.into()),
    }
    let base = store.images().get(&namespace, &name).await?.value;
    eprintln!("the base image points to {}", base.record.target.digest());

    // The same store over gRPC, beside a service of our own.
    let (reporter, own) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("embed.Base", ServingStatus::Serving)
        .await;
    let listener = UnixListener::bind(socket)?;
    println!("ready");
    Server::builder()
        .add_routes(imagestore::service::routes(&store))
        .add_service(own)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await?;
    store.close().await;
    Ok(())
}
