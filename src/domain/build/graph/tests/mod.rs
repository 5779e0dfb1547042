//! What docker-pkg's chains do here, and what they did wrong there.

mod bump;
mod claimable;
mod order;
mod property;
mod refusals;

use std::collections::BTreeSet;

use super::*;
use crate::domain::Labels;
use crate::domain::build::target::{Glob, Work, WorkSet};

/// `NAME[@VERSION][=STATE][<-DEPENDENCY,...]` with `;` between; version 1 and `to_build` where nothing is said. A
/// dependency in capitals is external.
fn targets(text: &str) -> Vec<(Target, State)> {
    text.split(';').map(|one| target(one.trim())).collect()
}

fn target(text: &str) -> (Target, State) {
    let (head, needs) = text.split_once("<-").unwrap_or((text, ""));
    let (key, state) = head.split_once('=').unwrap_or((head, "to_build"));
    let key = key_of(key);
    let needs = needs.split(',').filter(|need| !need.is_empty());
    let dependency = |need: &str| match need.chars().all(|c| c.is_ascii_uppercase()) {
        true => Dependency::External(need.parse().unwrap()),
        false => need.parse().unwrap(),
    };
    let label = format!("reg.example:5000/ns/{}:{}", key.name, key.version);
    let target = Target::new(
        key,
        label.parse().unwrap(),
        needs.map(dependency).collect(),
        Labels::default(),
    );
    (target.unwrap(), state.parse().unwrap())
}

fn graph(text: &str) -> Graph {
    Graph::new(targets(text)).unwrap()
}

fn key_of(text: &str) -> TargetKey {
    match text.contains('@') {
        true => text.parse().unwrap(),
        false => format!("{text}@1").parse().unwrap(),
    }
}

fn works(all: &[Work]) -> WorkSet {
    WorkSet::new(all.iter().copied()).unwrap()
}

fn all(_: &Target, _: State) -> bool {
    true
}

fn globbed(text: &str) -> impl Fn(&Target, State) -> bool {
    let glob: Glob = text.parse().unwrap();
    move |target, _| glob.matches(target)
}

/// Keys in one line, without the usual version.
fn line<'a>(keys: impl IntoIterator<Item = &'a TargetKey>) -> String {
    let keys: Vec<_> = keys.into_iter().map(short).collect();
    keys.join(" ")
}

fn short(key: &TargetKey) -> String {
    let text = key.to_string();
    text.strip_suffix("@1").map(str::to_owned).unwrap_or(text)
}

/// Waves in one line.
fn waves(order: &BuildOrder) -> String {
    let waves: Vec<_> = order.waves.iter().map(line).collect();
    waves.join(" | ")
}

/// `TARGET: FAILED[ through BELOW]`.
fn blocked(all: &[Blocked]) -> String {
    let one = |blocked: &Blocked| {
        let through = blocked
            .through
            .as_ref()
            .map(|below| format!(" through {}", short(below)));
        format!(
            "{}: {}{}",
            short(&blocked.target),
            short(&blocked.failed),
            through.unwrap_or_default()
        )
    };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}
