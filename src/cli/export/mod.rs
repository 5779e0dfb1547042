//! `imagestore export`: writes images to a file, or all records to a containerd.

mod containerd;
mod file;

use std::path::PathBuf;

use super::address::Address;
use super::connect::Common;
use super::failure::Failure;
use super::select::Conditions;

pub use self::file::Target;
use self::file::ToFile;

/// Write images of one snapshot, one JSON object a line, for `import`, or put all into a containerd
///
/// A file appears when it is complete; one that is there already is replaced then.
///
/// To a containerd go all namespaces, or the one of -n, with their labels, images and leases. What cannot
/// be kept there is told. A lease that is there already gets what it does not hold yet, and keeps its
/// labels: containerd cannot change them.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The file; standard output without one, and for -
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Pack with gzip; a FILE that ends in .gz is packed anyway
    #[arg(long)]
    gzip: bool,
    /// Only names that start so
    #[arg(long)]
    prefix: Option<String>,
    #[command(flatten)]
    conditions: Conditions,
    /// The socket of a running containerd
    #[arg(
        long,
        value_name = "SOCKET",
        value_parser = Address::of_containerd,
        conflicts_with_all = ["file", "gzip", "prefix", "digest", "filters"]
    )]
    to_containerd: Option<Address>,
    /// Go on past what containerd refuses; the exit code is 1 all the same
    #[arg(long, requires = "to_containerd")]
    keep_going: bool,
}

impl Export {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        if let Some(address) = self.to_containerd {
            let only = common.given_namespace();
            return containerd::run(address, only, self.keep_going, common).await;
        }
        let to_file = ToFile {
            file: self.file,
            gzip: self.gzip,
            prefix: self.prefix,
            conditions: self.conditions,
        };
        to_file.run(common).await
    }
}
