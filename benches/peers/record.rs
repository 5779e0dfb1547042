//! The records that every server is loaded with and asked for, each made from its number.

use std::sync::atomic::{AtomicU64, Ordering};

/// The first so many records are in a namespace of their own, which is what a list lists.
pub const LISTED: u64 = 10_000;

pub const MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";
pub const LABEL: &str = "org.opencontainers.image.revision";
pub const SIZE: i64 = 10_229;

/// The record of a number.
#[derive(Clone, Copy, Debug)]
pub struct Record(pub u64);

impl Record {
    pub fn namespace(self) -> &'static str {
        if self.0 < LISTED { "listed" } else { "rest" }
    }

    /// A name of 46 bytes. Names are unique below 10^8 and do not come in the order of the
    /// numbers, as names of real images would not.
    pub fn name(self) -> String {
        format!("{}:1.36.1-bookworm", self.repository())
    }

    /// The name up to the tag; no two records have the same.
    pub fn repository(self) -> String {
        let scattered = self.0 * 61_803_399 % 100_000_000;
        format!("docker.io/library/app-{scattered:08}")
    }

    pub fn digest(self) -> String {
        let word = |part| mix(self.0 * 8 + part);
        let (a, b, c, d) = (word(0), word(1), word(2), word(3));
        format!("sha256:{a:016x}{b:016x}{c:016x}{d:016x}")
    }

    /// A git commit, as the value of [`LABEL`].
    pub fn commit(self) -> String {
        let word = |part| mix(self.0 * 8 + part);
        let (a, b, c) = (word(4), word(5), word(6) as u32);
        format!("{a:016x}{b:016x}{c:08x}")
    }
}

/// Numbers from 0 to a bound, each sequence of its own.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Self {
        static THROWN: AtomicU64 = AtomicU64::new(0);
        Self(mix(THROWN.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0) % bound
    }
}

/// The finishing step of splitmix64.
fn mix(seed: u64) -> u64 {
    let x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
