//! Telling what the directory has from what others have.

use std::collections::BTreeSet;

use super::crew::Crew;
use crate::cli::build::telling::say;
use crate::cli::build::wire;
use crate::domain::build::State;
use crate::proto::v1::TargetWork;

/// How many targets a sentence names.
const NAMED: usize = 10;

impl Crew {
    /// Says which of the targets that were asked for other directories have, and returns what of this one the server
    /// does not know. Nothing where it cannot be asked.
    pub(super) async fn tell_apart(&self) -> Vec<String> {
        let selector = self.plan.selector.clone();
        let is_of_all = selector.glob.is_empty();
        let mut client = self.client.clone();
        let all = wire::all(&mut client, &self.plan.namespace, selector);
        let Some(Ok(all)) = self.stop.unless_asked(all).await else {
            return Vec::new();
        };
        let goal = self.plan.work.iter().map(|work| done_with(*work)).max();
        let mut unknown: BTreeSet<String> = match is_of_all {
            true => self.images.keys().map(ToString::to_string).collect(),
            false => BTreeSet::new(),
        };
        let mut others = Vec::new();
        for target in all {
            let name = wire::name(&target);
            let is_own = wire::key(&name).is_ok_and(|key| self.images.contains_key(&key));
            let state = wire::state(target.state());
            if !is_own && state.is_some_and(|state| goal.is_some_and(|goal| state < goal)) {
                others.push(name.clone());
            }
            unknown.remove(&name);
        }
        if !others.is_empty() {
            let others = some_of(&others);
            say(&format!(
                "imagestore: {others}: not in the directory, and left to whoever has it."
            ));
        }
        unknown.into_iter().collect()
    }
}

/// The state of a target that the work was done with.
fn done_with(work: TargetWork) -> State {
    match work {
        TargetWork::Unspecified => State::ToBuild,
        TargetWork::Build => State::Built,
        TargetWork::Verify => State::Verified,
        TargetWork::Publish => State::Published,
    }
}

/// The first few names of many.
fn some_of(names: &[String]) -> String {
    let first = names.iter().take(NAMED).map(String::as_str);
    let first = first.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
