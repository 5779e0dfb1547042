//! What happens to a builder, at random.

use proptest::prelude::*;

#[derive(Clone, Debug)]
pub enum Step {
    Put {
        max_age: u64,
        refresh: u64,
        keep: u32,
    },
    Acquire {
        agent: usize,
        force: bool,
    },
    Complete {
        agent: usize,
        pins: bool,
    },
    Abandon {
        agent: usize,
        fails: bool,
    },
    Renew {
        agent: usize,
    },
    RenewPin {
        agent: usize,
    },
    Unpin {
        agent: usize,
    },
    Report {
        back: u64,
        place: usize,
        presence: usize,
    },
    Prune {
        place: usize,
    },
    Confirm {
        back: u64,
        place: usize,
        removal: usize,
    },
    Delete {
        force: bool,
    },
    Pass {
        seconds: i64,
    },
    Restart,
    Sweep,
}

pub const PLACES: [&str; 3] = ["reg", "host/a", "host/b"];

pub fn step() -> impl Strategy<Value = Step> {
    let agent = || 0..3usize;
    prop_oneof![
        1 => (20..80u64, 0..20u64, 1..3u32).prop_map(|(max_age, refresh, keep)| Step::Put { max_age, refresh, keep }),
        8 => (agent(), prop::bool::weighted(0.2)).prop_map(|(agent, force)| Step::Acquire { agent, force }),
        5 => (agent(), any::<bool>()).prop_map(|(agent, pins)| Step::Complete { agent, pins }),
        2 => (agent(), any::<bool>()).prop_map(|(agent, fails)| Step::Abandon { agent, fails }),
        2 => agent().prop_map(|agent| Step::Renew { agent }),
        1 => agent().prop_map(|agent| Step::RenewPin { agent }),
        1 => agent().prop_map(|agent| Step::Unpin { agent }),
        3 => (0..3u64, 0..3usize, 0..3usize).prop_map(|(back, place, presence)| Step::Report { back, place, presence }),
        2 => (0..4usize).prop_map(|place| Step::Prune { place }),
        2 => (0..3u64, 0..3usize, 0..4usize).prop_map(|(back, place, removal)| Step::Confirm { back, place, removal }),
        1 => any::<bool>().prop_map(|force| Step::Delete { force }),
        4 => (0..15i64).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Restart),
        1 => Just(Step::Sweep),
    ]
}
