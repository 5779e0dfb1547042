//! Containerd's API beside the real containerd 1.6.20 and its `ctr`, both from Debian's package.
//!
//! `IMAGESTORE_CALLS` sets how many calls are generated (10,000). They are the same each time; a number in
//! `IMAGESTORE_SEED` gives others, and `IMAGESTORE_SEED=random` others each time. The seed is told, to repeat them.
//! `IMAGESTORE_STAND_IN=1` puts a second containerd in imagestore's place, which must pass all that
//! compares the two: what does not is not deterministic, and a fault of the test.
//!
//! containerd and ctr are looked for in `CONTAINERD` and `CTR`, then in `PATH`. Where there is none, each
//! test that needs one says so and passes, unless `IMAGESTORE_REQUIRE_PEERS` is `1`.

#[path = "../common/mod.rs"]
mod common;

mod answer;
mod call;
mod ctr;
mod daemon;
mod differential;
mod events;
mod filters;
mod health;
mod known;
mod lasting;
mod peer_client;
mod plan;
mod tagging;

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

/// The calls of a run of which nothing else is said.
const SEED: u64 = 1620;

fn seed() -> u64 {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
    };
    match env::var("IMAGESTORE_SEED").as_deref() {
        Ok("random") => now(),
        _ => number("IMAGESTORE_SEED").unwrap_or(SEED),
    }
}
