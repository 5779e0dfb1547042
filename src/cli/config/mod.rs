//! `imagestore config`: shows, lists, stores and removes the configs of images.

mod create;
mod ls;
mod record;
mod reference;
mod relatives;
mod rm;
mod show;

pub use self::create::read;
pub use self::record::platform_record;
pub use self::reference::{candidates, get, id, whole_name};

use super::connect::Common;
use super::failure::Failure;

/// Show, list, store and remove the configs of images
///
/// A config is the JSON that describes an image. Its id is the SHA-256 of its bytes. Where a REF is
/// asked for, it may be a whole id, with or without sha256:, or the name of an image, or how an id
/// begins: at least 4 hex digits.
#[derive(Debug, clap::Args)]
pub struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Show(show::Show),
    Ls(ls::Ls),
    Heads(ls::Heads),
    Create(create::Create),
    Rm(rm::Rm),
    Parent(relatives::Parent),
    Children(relatives::Children),
    Ancestors(relatives::Ancestors),
}

impl Config {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        match self.command {
            Command::Show(show) => show.run(common).await,
            Command::Ls(ls) => ls.run(common).await,
            Command::Heads(heads) => heads.run(common).await,
            Command::Create(create) => create.run(common).await,
            Command::Rm(rm) => rm.run(common).await,
            Command::Parent(parent) => parent.run(common).await,
            Command::Children(children) => children.run(common).await,
            Command::Ancestors(ancestors) => ancestors.run(common).await,
        }
    }
}
