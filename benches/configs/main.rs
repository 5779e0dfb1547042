//! `cargo bench --bench configs`: what a lookup in the build cache costs among few and among many children, beside
//! moby's way on the same data; and 10,000 configs opened and listed. It reports; it fails only when it cannot run.

#[path = "../common/mod.rs"]
mod common;
mod image;
mod lookup;
mod open;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::stream::{self, StreamExt, TryStreamExt};
use imagestore::Store;
use imagestore::store::CreateConfig;

use self::common::{Failure, median, namespace};

/// Measures the build cache and prints tables for the README.
#[derive(Parser)]
#[command(name = "configs")]
struct Options {
    /// Children of one parent, where there are many
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    children: u32,
    /// Configs to open and list
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    configs: u32,
    /// A folder on a real disk for the stores; they are removed
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// What cargo adds under `cargo bench`, and not under `cargo test`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::main("configs", options.bench, run(&options))
}

async fn run(options: &Options) -> Result<(), Failure> {
    println!("{}\n", lookup::run(&options.dir, options.children).await?);
    println!("{}", open::run(&options.dir, options.configs).await?);
    Ok(())
}

/// Configs that are stored at once: writes that come together are made durable together.
const TOGETHER: usize = 256;

/// Stores some configs.
async fn fill(store: &Store, configs: impl Iterator<Item = CreateConfig>) -> Result<(), Failure> {
    let stored = stream::iter(configs).map(|config| {
        let store = store.clone();
        async move {
            let work = async move { store.configs().create(&namespace(), &config).await };
            tokio::spawn(work).await??;
            Ok::<_, Failure>(())
        }
    });
    stored.buffer_unordered(TOGETHER).try_collect().await
}

/// Enough digits to compare by.
fn readable(took: Duration) -> String {
    match took.as_secs_f64() {
        seconds @ 1.0.. => format!("{seconds:.2} s"),
        seconds @ 0.001.. => format!("{:.2} ms", seconds * 1e3),
        seconds => format!("{:.1} µs", seconds * 1e6),
    }
}
