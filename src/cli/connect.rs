//! Finding the server and connecting to it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::address::Address;
use super::failure::{Failure, system_reason, with_causes};
use super::output::{Form, Output};
use crate::proto::v1::build_cache_client::BuildCacheClient;
use crate::proto::v1::build_targets_client::BuildTargetsClient;
use crate::proto::v1::builders_client::BuildersClient;
use crate::proto::v1::configs_client::ConfigsClient;
use crate::proto::v1::images_client::ImagesClient;
use crate::proto::v1::namespaces_client::NamespacesClient;
use crate::proto::v1::store_client::StoreClient;
use crate::server;

/// What every command that talks to a server takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Where the server is: unix:///PATH, /PATH, tcp://HOST:PORT or HOST:PORT [default: where
    /// `serve` listens by default]
    #[arg(
        short,
        long,
        global = true,
        env = "IMAGESTORE_ADDRESS",
        hide_env_values = true
    )]
    address: Option<Address>,
    /// Whose names; `-` means all namespaces, for ls, count, watch and export. From a containerd and to one
    /// go all of them unless one is given here
    #[arg(
        short,
        long,
        global = true,
        env = "IMAGESTORE_NAMESPACE",
        hide_env_values = true,
        default_value = "default"
    )]
    pub namespace: String,
    /// How results are written
    #[arg(short = 'o', long = "output", global = true, value_enum, default_value_t = Form::Table)]
    pub form: Form,
    /// Whether the command line itself names the namespace.
    #[arg(skip)]
    pub namespace_given: bool,
}

/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long a call may take until it answers, or begins to.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Finds out that the host on the other side has gone, during a long stream.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A message of a stream has about 1 MiB of records; one record has at most 256 KiB.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Asks for the largest page that the service gives.
pub const PAGE_SIZE: i32 = 1000;

/// The order of 100,000 targets, each named by up to 384 bytes, is one message.
const MAX_TARGETS_BYTES: usize = 64 << 20;

/// All namespaces, where that is meaningful.
pub const ALL_NAMESPACES: &str = "-";

impl Common {
    pub async fn images(&self) -> Result<ImagesClient<Channel>, Failure> {
        let client = ImagesClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    pub async fn configs(&self) -> Result<ConfigsClient<Channel>, Failure> {
        let client = ConfigsClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    pub async fn builders(&self) -> Result<BuildersClient<Channel>, Failure> {
        let client = BuildersClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    pub async fn build_targets(&self) -> Result<BuildTargetsClient<Channel>, Failure> {
        let client = BuildTargetsClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MAX_TARGETS_BYTES))
    }

    pub async fn build_cache(&self) -> Result<BuildCacheClient<Channel>, Failure> {
        let client = BuildCacheClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    pub async fn namespaces(&self) -> Result<NamespacesClient<Channel>, Failure> {
        let client = NamespacesClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    pub async fn store(&self) -> Result<StoreClient<Channel>, Failure> {
        let client = StoreClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// How results are written, by a command that has no other form of its own.
    pub fn output(&self) -> Output {
        match self.form {
            Form::Table | Form::Dot | Form::Mermaid => Output::Table,
            Form::Json => Output::Json,
            Form::Ndjson => Output::Ndjson,
        }
    }

    pub fn all_namespaces(&self) -> bool {
        self.namespace == ALL_NAMESPACES
    }

    /// The namespace, for a command that is about names of one.
    pub fn one_namespace(&self) -> Result<&str, Failure> {
        match self.all_namespaces() {
            false => Ok(&self.namespace),
            true => Err(Failure::usage(
                "--namespace - means all namespaces, and this is about one",
            )
            .next("Say which with -n")),
        }
    }

    /// The one namespace that the command line itself names.
    pub fn given_namespace(&self) -> Option<&str> {
        let is_given = self.namespace_given && !self.all_namespaces();
        is_given.then_some(self.namespace.as_str())
    }

    /// Connects to the address that was given, or else to the first default one that answers.
    pub async fn channel(&self) -> Result<Channel, Failure> {
        let candidates = match &self.address {
            Some(address) => vec![address.clone()],
            None => server::default_addresses()
                .into_iter()
                .map(Address::from)
                .collect(),
        };
        let mut tried = Vec::new();
        for address in candidates {
            match dial(&address).await {
                Ok(channel) => return Ok(channel),
                Err(why) => tried.push(format!("{address}: {why}")),
            }
        }
        let next = match self.address {
            Some(_) => "Start it with 'imagestore serve', or give its address with -a",
            None => "Start it with 'imagestore serve', or say where it is with -a",
        };
        Err(Failure::new(format!(
            "cannot reach imagestore at {}",
            tried.join(", nor at ")
        ))
        .next(next))
    }
}

/// Connects, or says why not.
pub async fn dial(address: &Address) -> Result<Channel, String> {
    let connected = match address {
        Address::Unix(path) => {
            // The connector knows the way; the URI only gives HTTP/2 an authority that it accepts.
            let endpoint = tuned(Endpoint::from_static("http://localhost"));
            let path = path.clone();
            let connector = service_fn(move |_: Uri| connect_unix(path.clone()));
            time::timeout(CONNECT_TIME, endpoint.connect_with_connector(connector)).await
        }
        Address::Tcp(authority) => {
            let endpoint = Endpoint::from_shared(format!("http://{authority}"))
                .map_err(|why| with_causes(&why))?;
            time::timeout(CONNECT_TIME, tuned(endpoint).connect()).await
        }
    };
    match connected {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(why(&error)),
        Err(_) => Err(format!(
            "no answer within {} seconds",
            CONNECT_TIME.as_secs()
        )),
    }
}

async fn connect_unix(path: PathBuf) -> io::Result<TokioIo<UnixStream>> {
    Ok(TokioIo::new(UnixStream::connect(path).await?))
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .timeout(ANSWER_TIME)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE))
}

/// The reason that a person can do something about.
fn why(error: &tonic::transport::Error) -> String {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(deeper) = cause {
        if let Some(io) = deeper.downcast_ref::<io::Error>() {
            return system_reason(io);
        }
        cause = deeper.source();
    }
    with_causes(error)
}
