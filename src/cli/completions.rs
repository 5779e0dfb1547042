//! `imagestore completions`: a script that completes commands in a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::failure::Failure;
use super::{Args, output};

/// Print a shell's completion script
#[derive(Debug, clap::Args)]
pub struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<(), Failure> {
        // Into memory first: clap_complete panics when its writer fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Args::command(), "imagestore", &mut script);
        output::text(&String::from_utf8_lossy(&script))
    }
}
