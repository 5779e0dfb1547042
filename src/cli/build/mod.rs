//! `imagestore build`: builds the images of a directory in the order of what they are built on.

pub mod again;
pub mod config;
mod eyes;
mod graph;
pub mod keeper;
pub mod local;
mod ls;
mod plan;
pub mod process;
mod prune;
pub mod registry;
mod reset;
mod run;
mod scan;
pub mod scratch;
pub mod source;
pub mod stop;
pub mod telling;
mod update;
pub mod wire;
pub mod written;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use self::eyes::host_platform;
pub use self::ls::{ClaimRecord, first_line};
pub use self::run::holder;

use self::config::Config;
use self::source::{Renderer, SourceImage};
use super::connect::Common;
use super::failure::{Failure, say};
use crate::domain::Invalid;
use crate::domain::build::{Glob, TargetKey};
use crate::proto::v1::TargetSelector;

/// Build the images of a directory, in the order of what they are built on
///
/// A directory with a Dockerfile.template and a changelog is an image, as docker-pkg has them; so is one with a
/// Dockerfile and a version: a file called version, or LABEL org.opencontainers.image.version. imagestore.toml says
/// how images are built, tested, pushed and removed; without one, with Docker. The server keeps what is to be built
/// and who is at it, so that many workers can build at once.
#[derive(Debug, clap::Args)]
pub struct Build {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Scan(scan::Scan),
    Plan(plan::Plan),
    Run(run::Run),
    Verify(run::Verify),
    Publish(run::Publish),
    Prune(prune::Prune),
    Update(update::Update),
    Graph(graph::Graph),
    Reset(reset::Reset),
    Ls(ls::Ls),
    /// Render templates for another process of this program
    #[command(hide = true)]
    Render,
}

/// Where the images are, and how they are built.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The directory with the images
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// How to build and so on [default: imagestore.toml in DIR]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Which targets.
#[derive(Debug, clap::Args)]
pub struct Select {
    /// Only images whose label, or its NAME:VERSION, is so: * is any text, ? one character, [a-z] one of them
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    select: Option<Glob>,
}

/// A directory that was read.
pub struct Site {
    pub config: Config,
    pub images: BTreeMap<TargetKey, SourceImage>,
}

impl Build {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        match self.command {
            Command::Scan(scan) => scan.run(common).await,
            Command::Plan(plan) => plan.run(common).await,
            Command::Run(run) => run.run(common).await,
            Command::Verify(verify) => verify.run(common).await,
            Command::Publish(publish) => publish.run(common).await,
            Command::Prune(prune) => prune.run(common).await,
            Command::Update(update) => update.run(common).await,
            Command::Graph(graph) => graph.run(common).await,
            Command::Reset(reset) => reset.run(common).await,
            Command::Ls(ls) => ls.run(common).await,
            Command::Render => source::serve()
                .map_err(|why| Failure::new(format!("cannot render templates: {why}"))),
        }
    }

    /// Whether it has results that are a graph.
    pub fn is_graph(&self) -> bool {
        matches!(self.command, Command::Graph(_))
    }
}

// === impl Place ===

impl Place {
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn config(&self) -> Result<Config, Failure> {
        Config::find(self.config.as_deref(), &self.dir)
    }

    /// Reads the directory, and tells what was passed over in it.
    pub async fn read(&self) -> Result<Site, Failure> {
        let config = self.config()?;
        let images = images(self.dir.clone(), config.clone()).await?;
        Ok(Site { config, images })
    }
}

/// The images of a directory, and on standard error what was passed over.
async fn images(dir: PathBuf, config: Config) -> Result<BTreeMap<TargetKey, SourceImage>, Failure> {
    let scan = move || {
        let mut renderer = Renderer::default();
        source::scan(&dir, &config, &mut |order| renderer.render(order))
    };
    let scanned = tokio::task::spawn_blocking(scan).await;
    let scanned = scanned.map_err(|why| Failure::new(format!("cannot scan: {why}")))??;
    for warning in &scanned.warnings {
        say(&format!("imagestore: {warning}"));
    }
    let images = scanned.images.into_iter();
    Ok(images.map(|image| (image.key.clone(), image)).collect())
}

// === impl Select ===

impl Select {
    pub fn selector(&self) -> TargetSelector {
        TargetSelector {
            glob: match &self.select {
                Some(glob) => glob.as_str().to_owned(),
                None => String::new(),
            },
            states: Vec::new(),
        }
    }
}

fn glob(text: &str) -> Result<Glob, String> {
    text.parse().map_err(|why: Invalid| why.reason().to_owned())
}
