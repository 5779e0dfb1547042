//! `imagestore import`: puts images that a file lists, takes over what a containerd holds, or takes in
//! real images with their configs.

mod account;
mod file;
mod live;
mod meta_db;
mod oci;
mod take;

use std::path::PathBuf;

use clap::ArgGroup;

use self::account::How;
use self::oci::Source;
use super::address::Address;
use super::connect::Common;
use super::failure::Failure;

/// Put the images that a file lists, take over what a containerd holds, or take in real images
///
/// A FILE has one JSON object a line, as `export` writes them, with the fields name, digest, media_type
/// and size. A line goes to the namespace that it names, unless -n is given. Of two lines with the same
/// name the last one counts.
///
/// From a containerd come all namespaces, or the one of -n, with their labels, images and leases, and the
/// times that they have there. What is there is put in the place of what is here; what is only here
/// stays. Of an image that points to the same content here as there stays what containerd does not know:
/// urls, platform, artifact type and data. Labels and annotations without a value go.
///
/// From an OCI layout or an archive come the names, with what they point to, and the configs of the
/// images, so that `config`, `lineage` and `cache` know them; no layer is read. What is read is held
/// against its digest. A name is that of the annotation io.containerd.image.name, else that of
/// org.opencontainers.image.ref.name; what has none is taken without. A `docker save` without a layout
/// in it has no manifests: its names point to the configs.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("source").args(SOURCES).required(true))]
pub struct Import {
    /// The file, plain or gzip; - for standard input
    file: Option<PathBuf>,
    /// The socket of a running containerd. Changes there that are made meanwhile are taken too
    #[arg(
        long,
        value_name = "SOCKET",
        value_parser = Address::of_containerd
    )]
    from_containerd: Option<Address>,
    /// The meta.db of a containerd that is stopped. It is only read
    #[arg(long, value_name = "FILE")]
    from_containerd_db: Option<PathBuf>,
    /// A folder that is an OCI layout, as umoci, skopeo and buildah make them
    #[arg(long, value_name = "DIR")]
    oci_layout: Option<PathBuf>,
    /// A tar archive, plain or gzip, of `docker save` or of an OCI layout; - for standard input
    #[arg(long, value_name = "FILE")]
    docker_archive: Option<PathBuf>,
    /// How often to read again what changes there meanwhile, before the import ends with code 1
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        requires = "from_containerd"
    )]
    rounds: u32,
    /// Go on past what cannot be imported; the exit code is 1 all the same
    #[arg(long)]
    keep_going: bool,
    /// Only say what would be taken, from a containerd, a layout or an archive
    #[arg(long, conflicts_with = "file")]
    dry_run: bool,
}

/// From where it may come: one of them.
const SOURCES: [&str; 5] = [
    "file",
    "from_containerd",
    "from_containerd_db",
    "oci_layout",
    "docker_archive",
];

impl Import {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let only = common.given_namespace();
        let how = How {
            keep_going: self.keep_going,
            dry_run: self.dry_run,
        };
        if let Some(address) = self.from_containerd {
            return live::run(address, only, how, self.rounds, common).await;
        }
        if let Some(path) = self.from_containerd_db {
            return meta_db::run(path, only, how, common).await;
        }
        if let Some(path) = self.oci_layout {
            return oci::run(Source::Layout(path), how, common).await;
        }
        if let Some(path) = self.docker_archive {
            return oci::run(Source::Archive(path), how, common).await;
        }
        let file = self.file.expect("clap sees to it that there is one");
        file::run(&file, self.keep_going, common).await
    }
}
