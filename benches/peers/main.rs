//! `cargo bench --bench peers`: imagestore beside a null handler, containerd and etcd, all driven
//! by the same client. It reports; it fails only when it cannot run.

mod client;
mod containerd;
mod contest;
mod lineup;
mod load;
mod machine;
mod null;
mod process;
mod record;
mod report;
mod scale;
mod watch;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use lineup::Work;
use process::Place;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Threads of the client.
const THREADS: usize = 2;
/// The peers are loaded with no more than this; containerd takes 4.4 KB and a sync a record.
const PEER_RECORDS: u64 = 100_000;

/// Races imagestore against its peers and prints tables for the README.
#[derive(Parser)]
#[command(name = "peers")]
struct Options {
    /// Records to load first; the peers get 100,000 of them at most
    #[arg(long, default_value_t = record::LISTED, value_parser = clap::value_parser!(u64).range(record::LISTED..=50_000_000))]
    records: u64,
    /// Seconds for each peer in each cell, in three rounds
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Only these parts
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Requests in flight at a time
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256], value_parser = clap::value_parser!(u16).range(1..=1024))]
    in_flight: Vec<u16>,
    /// A folder on a real disk for the servers' files; they are removed
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// What cargo adds under `cargo bench`, and not under `cargo test`
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is besides the client.
#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    NullServer { socket: PathBuf },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Get,
    Digest,
    Stream,
    List,
    Put,
    Overwrite,
    Scale,
    Watch,
    Containerd,
}

impl Part {
    /// Readers first: what they read must be what was loaded.
    const ALL: [Part; 9] = [
        Part::Get,
        Part::Digest,
        Part::Stream,
        Part::List,
        Part::Put,
        Part::Overwrite,
        Part::Scale,
        Part::Watch,
        Part::Containerd,
    ];

    fn work(self) -> Option<Work> {
        match self {
            Part::Get => Some(Work::Get),
            Part::Digest => Some(Work::ByDigest),
            Part::Stream => Some(Work::Stream),
            Part::List => Some(Work::Pages),
            Part::Put => Some(Work::Put),
            Part::Overwrite => Some(Work::Overwrite),
            Part::Scale | Part::Watch | Part::Containerd => None,
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.role {
        Some(Role::NullServer { socket }) => null::serve(socket),
        None if !options.bench => {
            println!("nothing measured: run me as `cargo bench --bench peers`");
            Ok(())
        }
        None => race(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn race(options: &Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        // Dropping the race ends its servers and removes its files.
        tokio::select! {
            outcome = run(options) => outcome,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            _ = terminated.recv() => Err("terminated".into()),
        }
    })
}

async fn run(options: &Options) -> Result<(), Failure> {
    let place = Place::new(&options.dir)?;
    let machine = machine::describe(place.path())?;
    let time = Duration::from_secs_f64(options.seconds);
    let in_flight: Vec<usize> = options.in_flight.iter().copied().map(usize::from).collect();
    let mut parts = Part::ALL.to_vec();
    parts.retain(|part| options.only.is_empty() || options.only.contains(part));
    let works: Vec<Work> = parts.iter().filter_map(|part| part.work()).collect();

    println!("Machine: {machine}\n");
    let mut contest = None;
    if !works.is_empty() {
        let records = options.records.min(PEER_RECORDS);
        let done = contest::run(&place, records, &works, &in_flight, time).await?;
        println!("{}\n", report::peers(&done));
        contest = Some(done);
    }
    let mut scale = None;
    if parts.contains(&Part::Scale) {
        let done = scale::run(&place, options.records, time).await?;
        println!("{}\n", report::sizes(&done, contest.as_ref()));
        scale = Some(done);
    }
    if parts.contains(&Part::Watch) {
        eprintln!("{} watchers", watch::WATCHERS);
        let done = watch::run(&place, options.records).await?;
        println!("{done}\n");
        if done.lost > 0 {
            return Err(format!("{} changes were lost", done.lost).into());
        }
    }
    if parts.contains(&Part::Containerd) {
        for records in containerd::sizes(options.records.min(PEER_RECORDS)) {
            let done = containerd::run(&place, records, time).await?;
            println!("{done}\n");
        }
    }

    println!("{}", report::bars(contest.as_ref(), scale.as_ref()));
    if let Some(contest) = contest.filter(|contest| !contest.remarks.is_empty()) {
        println!("\nMissing or failed:\n- {}", contest.remarks.join("\n- "));
    }
    Ok(())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("from 0.1 to 600".to_owned()),
    }
}
