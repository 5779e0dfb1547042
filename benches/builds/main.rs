//! `cargo bench --bench builds`: what planning and claiming cost in a large graph of build targets. It reports; it fails
//! only when it cannot run.

#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use imagestore::Store;
use imagestore::domain::Labels;
use imagestore::domain::build::{
    Dependency, Event, Label, Target, TargetKey, TargetSelector, Ttl, Work, WorkSet,
};
use imagestore::store::{ApplyTargets, ClaimTarget, NextTarget, TransitionTarget};
use tempfile::TempDir;

use self::common::{Failure, median, namespace};

/// Measures the build side and prints a table for the README.
#[derive(Parser)]
#[command(name = "builds")]
struct Options {
    /// Targets of the graph; each is built on five others
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=50_000))]
    targets: u32,
    /// Workers that claim at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,
    /// Targets that they build together
    #[arg(long, default_value_t = 2000)]
    claims: u32,
    /// A folder on a real disk for the store; it is removed
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// What cargo adds under `cargo bench`, and not under `cargo test`
    #[arg(long, hide = true)]
    bench: bool,
}

/// What planning 10,000 targets with 50,000 dependencies may take.
const PLAN_BAR: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let options = Options::parse();
    common::main("builds", options.bench, run(&options))
}

async fn run(options: &Options) -> Result<(), Failure> {
    let folder = TempDir::with_prefix_in("builds-", &options.dir)?;
    let set = (0..options.targets)
        .map(target)
        .collect::<Result<Vec<_>, _>>()?;
    let edges: usize = set.iter().map(|target| target.dependencies().len()).sum();
    println!(
        "| {} targets, {edges} dependencies | |\n|---|--:|",
        set.len()
    );
    let store = Store::open(folder.path()).await?;
    let began = Instant::now();
    store
        .build_targets()
        .apply(&namespace(), &ApplyTargets::new(set))
        .await?;
    say("declared, durably", began.elapsed());
    let store = reopened(store, folder.path()).await?;
    let first = plan(&store).await?;
    say("planned, read for the first time", first);
    let mut took = Vec::new();
    for _ in 0..20 {
        took.push(plan(&store).await?);
    }
    say("planned again, median", median(took));
    let began = Instant::now();
    let claimed = claim(&store, options).await?;
    let each = began.elapsed() / claimed.max(1);
    say(
        &format!("claimed and built by {} workers, each", options.workers),
        each,
    );
    let is_met = if first < PLAN_BAR { "met" } else { "missed" };
    println!("\n- planned, with the first read (bar < {PLAN_BAR:?}): {is_met}");
    store.close().await;
    Ok(())
}

fn say(what: &str, took: Duration) {
    println!("| {what} | {:.2} ms |", took.as_secs_f64() * 1e3);
}

async fn reopened(store: Store, root: &Path) -> Result<Store, Failure> {
    store.close().await;
    drop(store);
    Ok(Store::open(root).await?)
}

/// Built on five others of lower numbers.
fn target(n: u32) -> Result<Target, Failure> {
    let key: TargetKey = format!("team/image-{n}@1.0").parse()?;
    let below = [2, 3, 5, 7, 11].map(|divisor| n / divisor);
    let below = below.into_iter().filter(|below| *below != n);
    let on = |below: u32| format!("team/image-{below}").parse::<Dependency>();
    let dependencies = below.map(on).collect::<Result<_, _>>()?;
    let label = Label::new(None, None, &key)?;
    Ok(Target::new(key, label, dependencies, Labels::default())?)
}

async fn plan(store: &Store) -> Result<Duration, Failure> {
    let began = Instant::now();
    let targets = store.build_targets();
    let order = targets
        .build_order(&namespace(), &TargetSelector::default())
        .await?;
    let took = began.elapsed();
    if order.value.value.waves.is_empty() {
        return Err("nothing is to be built".into());
    }
    Ok(took)
}

/// How many targets the workers have built.
async fn claim(store: &Store, options: &Options) -> Result<u32, Failure> {
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..options.workers {
        let (store, share) = (store.clone(), options.claims / options.workers);
        workers.spawn(async move {
            let mut built = 0;
            while built < share {
                if !build_one(&store, worker).await? {
                    tokio::task::yield_now().await;
                    continue;
                }
                built += 1;
            }
            Ok::<_, Failure>(built)
        });
    }
    let mut built = 0;
    while let Some(worker) = workers.join_next().await {
        built += worker??;
    }
    Ok(built)
}

async fn build_one(store: &Store, worker: u32) -> Result<bool, Failure> {
    let request = ClaimTarget {
        selector: TargetSelector::default(),
        own: Default::default(),
        works: WorkSet::new([Work::Build])?,
        location: "host".parse()?,
        holder: format!("worker {worker}").parse()?,
        ttl: Ttl::try_from(Duration::from_secs(60))?,
        request: None,
    };
    let targets = store.build_targets();
    let NextTarget::Claimed(claimed) = targets.claim_next(&namespace(), &request).await?.value
    else {
        return Ok(false);
    };
    let event = Event::BuildOk {
        digest: None,
        location: request.location,
    };
    let done = TransitionTarget {
        token: claimed.entry.claim.map(|claim| claim.token),
        ..TransitionTarget::new(claimed.entry.target.key().clone(), event)
    };
    targets.transition(&namespace(), &done).await?;
    Ok(true)
}
