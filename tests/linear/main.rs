//! Linearizability: histories of concurrent clients of the real binary, each checked as a whole.
//!
//! `IMAGESTORE_HISTORIES` sets the number of histories (20), `IMAGESTORE_SEED`
//! repeats what the clients ask, as far as their answers do not change it.

#[path = "../common/mod.rs"]
mod common;

mod by_hand;
mod check;
mod client;
mod history;
mod log;
mod model;
mod plan;
mod rejected;
mod wire;

use std::env;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{PATIENCE, Server, folder, random};
use futures::stream::{self, StreamExt};
use rustix::process::Signal;

use crate::check::Tally;
use crate::history::History;
use crate::log::Log;

/// Histories of one server: few, so that a bad one is told of soon, and the log keeps all that they do.
const A_SERVER: usize = 10;

/// Histories that a server has under way at once, each in a namespace of its own.
const AT_ONCE: usize = 2;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

fn histories() -> u64 {
    number("IMAGESTORE_HISTORIES").unwrap_or(20)
}

fn seed() -> u64 {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
    };
    number("IMAGESTORE_SEED").unwrap_or_else(now)
}

/// What some histories took.
#[derive(Default)]
struct Took {
    calling: Duration,
    checking: Duration,
}

/// Records histories on a server of their own, and checks them when it has ended, so that what was cut
/// off has happened by then or never will.
async fn recorded_and_checked(seeds: Vec<u64>, took: &mut Took) -> Vec<Tally> {
    let began = Instant::now();
    let root = folder();
    let mut server = Server::at(root.path()).await;
    let socket = Path::new(server.address().trim_start_matches("unix://")).to_owned();
    let namespace = |seed: &u64| format!("h{seed}");
    let recorded: Vec<_> = stream::iter(seeds.iter().copied())
        .map(|seed| {
            let socket = socket.clone();
            async move { client::record(&socket, &namespace(&seed), seed).await }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    server.signal(Signal::TERM);
    assert!(
        server.ended(PATIENCE).await.success(),
        "{}",
        server.stderr()
    );
    took.calling += began.elapsed();

    let began = Instant::now();
    let mut log = Log::of(root.path()).await;
    let mut tallies = Vec::with_capacity(seeds.len());
    for (seed, calls) in seeds.iter().zip(recorded) {
        let history = History {
            calls,
            log: log.namespaces.remove(&namespace(seed)).unwrap_or_default(),
            newest: log.newest,
        };
        match check::check(&history) {
            Ok(tally) => tallies.push(tally),
            Err(violation) => panic!("{violation}\n{}", kept(&history, *seed)),
        }
    }
    took.checking += began.elapsed();
    tallies
}

/// Keeps a history that was rejected, and says where.
fn kept(history: &History, seed: u64) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{seed}.txt"));
    std::fs::write(&path, history.to_string()).unwrap();
    format!(
        "the whole history is in {}; IMAGESTORE_SEED={seed} IMAGESTORE_HISTORIES=1 asks the same again",
        path.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_calls_are_linearizable_and_their_revisions_are_the_order() {
    let (histories, seed) = (histories(), seed());
    eprintln!("linear: {histories} histories from IMAGESTORE_SEED={seed} on");
    let seeds: Vec<u64> = (0..histories).map(|nth| seed.wrapping_add(nth)).collect();
    let (mut total, mut took) = (Tally::default(), Took::default());
    for seeds in seeds.chunks(A_SERVER) {
        for tally in recorded_and_checked(seeds.to_vec(), &mut took).await {
            total += tally;
        }
    }
    eprintln!(
        "linear: {total:?}, {:?} to call and {:?} to check",
        took.calling, took.checking
    );
    if histories >= 10 {
        assert!(total.happened > 0 && total.vanished > 0, "{total:?}");
    }
}
