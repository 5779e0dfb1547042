//! The `imagestore` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    imagestore::cli::main()
}
