//! What benchmarks share: how they run, and how they say what something took.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use imagestore::domain::Namespace;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs a benchmark, unless only its tests were asked for.
pub fn main(
    name: &str,
    is_bench: bool,
    run: impl Future<Output = Result<(), Failure>>,
) -> ExitCode {
    if !is_bench {
        println!("nothing measured: run me as `cargo bench --bench {name}`");
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

pub fn namespace() -> Namespace {
    "default".parse().expect("it is a namespace")
}

/// The time that half of the calls take less than.
pub fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or_default()
}
