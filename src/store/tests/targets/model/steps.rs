//! Calls that are made in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::domain::build::{EventKind, Presence};

const NAMES: usize = 6;

#[derive(Clone, Debug)]
pub enum Step {
    Apply {
        /// Names, and on which others they are built.
        set: BTreeMap<usize, BTreeSet<usize>>,
        source: bool,
        replace_all: bool,
    },
    Delete(usize),
    Happen(usize, EventKind, Whose),
    Claim {
        location: bool,
        works: u8,
        ttl: u64,
    },
    Renew(usize, Whose),
    Release(usize, Whose, Option<u64>),
    Reset,
    Observe(usize, Presence, Presence, bool),
    Bump(usize),
    Wait(i64),
}

/// Under which claim.
#[derive(Clone, Copy, Debug)]
pub enum Whose {
    Nobody,
    /// The last one on that target.
    Last,
    /// The one before that.
    Stale,
}

pub fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES;
    let whose =
        || prop::sample::select(vec![Whose::Nobody, Whose::Last, Whose::Last, Whose::Stale]);
    let presence = || {
        prop::sample::select(vec![
            Presence::Present(None),
            Presence::Absent,
            Presence::Unknown,
        ])
    };
    let set = prop::collection::btree_map(name(), prop::collection::btree_set(name(), 0..3), 0..5);
    prop_oneof![
        4 => (set, any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(set, source, replace_all)| Step::Apply { set, source, replace_all }),
        1 => name().prop_map(Step::Delete),
        6 => (name(), prop::sample::select(EventKind::ALL.to_vec()), whose())
            .prop_map(|(name, kind, whose)| Step::Happen(name, kind, whose)),
        6 => (any::<bool>(), 1..8u8, 1..20u64)
            .prop_map(|(location, works, ttl)| Step::Claim { location, works, ttl }),
        2 => (name(), whose()).prop_map(|(name, whose)| Step::Renew(name, whose)),
        2 => (name(), whose(), prop::option::of(0..30u64))
            .prop_map(|(name, whose, after)| Step::Release(name, whose, after)),
        1 => Just(Step::Reset),
        3 => (name(), presence(), presence(), any::<bool>())
            .prop_map(|(name, local, published, mode)| Step::Observe(name, local, published, mode)),
        1 => name().prop_map(Step::Bump),
        2 => (0..15i64).prop_map(Step::Wait),
    ]
}
