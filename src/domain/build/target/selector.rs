//! Selectors: which targets are meant.

use std::collections::BTreeSet;

use super::{Glob, State, Target};

/// Which targets; all where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetSelector {
    /// A pattern of the label, or of its `NAME:VERSION`.
    pub glob: Option<Glob>,
    /// Those in one of these; in any where there are none.
    pub states: BTreeSet<State>,
}

impl TargetSelector {
    pub fn selects(&self, target: &Target, state: State) -> bool {
        let is_in_state = self.states.is_empty() || self.states.contains(&state);
        is_in_state && self.glob.as_ref().is_none_or(|glob| glob.matches(target))
    }
}
