//! What docker-pkg's targets do here, and what they did wrong there.

mod glob;
mod names;
mod observe;
mod transition;
mod version;

use proptest::prelude::*;

use super::*;
use crate::domain::build::{Location, Presence};
use crate::domain::{Algorithm, Digest};

fn key(text: &str) -> TargetKey {
    text.parse().unwrap()
}

fn version(text: &str) -> TargetVersion {
    text.parse().unwrap()
}

/// A target that is published as the label says: its name is what follows the last slash.
fn published_as(label: &str) -> Target {
    let label: Label = label.parse().unwrap();
    let name = label.repository().rsplit('/').next().unwrap();
    let key = key(&format!("{name}@{}", label.version()));
    Target::new(key, label, BTreeSet::new(), Labels::default()).unwrap()
}

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

fn place(name: &str) -> Location {
    name.parse().unwrap()
}

fn in_state(state: State) -> Progress {
    let locations = match state {
        State::Built | State::Verified => [place("host:a")].into(),
        State::ToBuild | State::Published | State::Error => BTreeSet::new(),
    };
    Progress {
        state,
        locations,
        attempts: 3,
        ..Progress::default()
    }
}
