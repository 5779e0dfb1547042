//! Running the store as a service: where it listens, its health, its reflection, its end.

mod defaults;
mod linger;
mod listen;
mod open;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use futures::TryStreamExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::Store;
use crate::error::Error;
use crate::proto::DESCRIPTORS;
use crate::service;
use crate::store::Swept;

pub use self::defaults::{default_addresses, default_root};
use self::linger::Lingering;
pub use self::listen::{Listen, ParseListenError};
pub(crate) use self::open::uptime;
pub use self::open::{restore, system};

/// What a server serves, and where.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The store's folder; by default [`default_root`].
    pub root: Option<PathBuf>,
    /// Where to listen; by default [`default_addresses`].
    pub listen: Vec<Listen>,
    /// How the services behave. Their `process` is always this one.
    pub options: service::Options,
}

/// Why a server did not start, or ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "no folder to keep the store in: neither XDG_DATA_HOME nor HOME is set; give one with --root"
    )]
    NoRoot,
    #[error(transparent)]
    Store(#[from] Error),
    #[error("cannot listen on {address}: {why}", why = why(cause))]
    Listen {
        address: Listen,
        cause: std::io::Error,
    },
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    #[error("cannot set up reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the server failed")]
    Transport(#[from] tonic::transport::Error),
}

fn why(cause: &std::io::Error) -> String {
    match cause.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another process listens there; stop it, or choose another address with --listen".into()
        }
        std::io::ErrorKind::PermissionDenied => {
            "it is not allowed; choose another address with --listen".into()
        }
        _ => cause.to_string(),
    }
}

/// How long calls may go on after the server is asked to end.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// How often what has expired is removed.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// How often the time is noted that claims go by.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// Calls that one connection may have under way.
const MAX_CALLS: u32 = 1024;

/// Pings idle connections, so that dead ones are noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT, then lets calls finish and closes the store.
///
/// A second signal ends it at once; nothing acknowledged is lost by that either.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    let root = config
        .root
        .or_else(default_root)
        .ok_or(ServeError::NoRoot)?;
    let mut ended = Signals::new().map_err(ServeError::Signals)?;
    let store = Store::open(&root).await?;
    let mut stopped = store.stopped();
    let addresses = if config.listen.is_empty() {
        default_addresses()
    } else {
        config.listen
    };

    let (mut reporter, health) = tonic_health::server::health_reporter();
    set_health(&reporter, ServingStatus::NotServing).await;
    let options = service::Options {
        process: process(),
        ..config.options
    };
    let routes = service::routes_with(&store, &options)
        .add_service(health)
        .add_service(described().build_v1()?)
        .add_service(described().build_v1alpha()?);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(MAX_CALLS))
        .add_routes(routes);

    let draining = CancellationToken::new();
    let mut listeners = JoinSet::new();
    for address in addresses {
        let server = server.clone();
        let drained = draining.clone().cancelled_owned();
        let failed = |cause| ServeError::Listen {
            address: address.clone(),
            cause,
        };
        match &address {
            Listen::Tcp(tcp) => {
                let listener = TcpListener::bind(tcp.as_str()).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                tracing::info!(address = %Listen::Tcp(bound.to_string()), "listening");
                let incoming = TcpIncoming::from(listener)
                    .with_nodelay(Some(true))
                    .map_ok(Lingering::new);
                listeners.spawn(server.serve_with_incoming_shutdown(incoming, drained));
            }
            Listen::Unix(path) => {
                let listener: UnixListener = listen::bind_unix(path).await.map_err(failed)?;
                tracing::info!(%address, "listening");
                let incoming = UnixListenerStream::new(listener).map_ok(Lingering::new);
                listeners.spawn(server.serve_with_incoming_shutdown(incoming, drained));
            }
        }
    }
    set_health(&reporter, ServingStatus::Serving).await;
    tracing::info!(root = %root.display(), store = %store.id(), "serving");

    let sweeping = tokio::spawn(sweep(store.clone()));
    let failure = loop {
        tokio::select! {
            () = ended.next() => break None,
            Some(done) = listeners.join_next() => break Some(done),
            Ok(()) = stopped.changed() => set_health(&reporter, ServingStatus::NotServing).await,
        }
    };

    sweeping.abort();
    tracing::info!("draining");
    set_health(&reporter, ServingStatus::NotServing).await;
    draining.cancel();
    store.end_watches();
    end_watches(&mut reporter).await;
    let all_done = async { while listeners.join_next().await.is_some() {} };
    tokio::select! {
        () = all_done => {}
        () = tokio::time::sleep(DRAIN_TIME) => tracing::warn!("some calls were cut off"),
        () = ended.next() => tracing::warn!("asked twice; calls were cut off"),
    }
    listeners.shutdown().await;
    store.close().await;
    tracing::info!("closed");
    match failure {
        None => Ok(()),
        Some(Ok(result)) => Ok(result?),
        Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Removes what has expired, now and then.
async fn sweep(store: Store) {
    loop {
        match store.sweep().await {
            Ok(swept) if swept.has_more => continue,
            Ok(swept) if swept != Swept::default() => {
                tracing::info!(
                    days = swept.days,
                    names = swept.names,
                    leases = swept.leases,
                    parents = swept.parents,
                    claims = swept.claims,
                    pins = swept.pins,
                    "removed what had expired"
                );
            }
            Ok(_) => {}
            Err(cause) => tracing::warn!(%cause, "could not remove what has expired"),
        }
        for _ in 0..SWEEP_EVERY.as_secs() / NOTE_EVERY.as_secs() {
            tokio::time::sleep(NOTE_EVERY).await;
            if let Err(cause) = store.note_time().await {
                tracing::warn!(%cause, "could not note the time that claims go by");
            }
        }
    }
}

/// What reflection describes: our services, health, and the details of errors.
fn described() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

/// Ends the watches of health, which would go on for ever. They have been told.
async fn end_watches(reporter: &mut HealthReporter) {
    for name in service::names().chain([""]) {
        reporter.clear_service_status(name).await;
        reporter
            .set_service_status(name, ServingStatus::NotServing)
            .await;
    }
}

/// The whole serves once all its services do, and no longer than they.
async fn set_health(reporter: &HealthReporter, status: ServingStatus) {
    if status != ServingStatus::Serving {
        reporter.set_service_status("", status).await;
    }
    for name in service::names() {
        reporter.set_service_status(name, status).await;
    }
    if status == ServingStatus::Serving {
        reporter.set_service_status("", status).await;
    }
}

/// This process; outside of Linux there are no PID namespaces.
fn process() -> service::Process {
    let pidns = std::fs::metadata("/proc/self/ns/pid").map_or(0, |file| file.ino());
    service::Process {
        pid: std::process::id(),
        pidns,
    }
}

/// The signals that ask the process to end.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
