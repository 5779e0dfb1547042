//! `imagestore serve`: runs the server.

use std::io;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::failure::{Failure, with_causes};
use crate::server::{self, Config, Listen, ServeError};
use crate::service::{Options, TransferLabels};

/// Run the server, until SIGTERM or SIGINT
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Where the store is kept [default: /var/lib/imagestore for root, else the XDG data directory]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where to listen, tcp://HOST:PORT or unix:///PATH; may be repeated [default: for root
    /// unix:///run/imagestore/imagestore.sock, else imagestore/imagestore.sock in the XDG runtime
    /// directory and tcp://127.0.0.1:7870]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<Listen>,
    /// The labels of an image that `ctr images tag` of containerd 2 makes of another: the other's, or
    /// none, as containerd does it
    #[arg(long, value_name = "LABELS", value_enum, default_value_t)]
    transfer_labels: Labels,
}

/// What becomes of labels where nobody says.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Labels {
    #[default]
    Keep,
    Drop,
}

/// What is logged where `RUST_LOG` does not say.
const DEFAULT_LOG: &str = "info";

impl Serve {
    pub async fn run(self) -> Result<(), Failure> {
        let filter =
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .init();
        let config = Config {
            root: self.root,
            listen: self.listen,
            options: Options {
                transfer_labels: match self.transfer_labels {
                    Labels::Keep => TransferLabels::Keep,
                    Labels::Drop => TransferLabels::Drop,
                },
                ..Options::default()
            },
        };
        server::serve(config).await.map_err(|why| match why {
            // Says itself what to do about its cause.
            ServeError::Listen { .. } => Failure::new(why.to_string()),
            _ => Failure::new(with_causes(&why)),
        })
    }
}
