//! What can be claimed: targets below which all is ready.

use std::cmp::Reverse;

use super::super::target::{Work, WorkSet};
use super::{Blocked, Graph, State, Target, TargetKey};

/// What of a selection a worker can do now, and why not the rest. Nothing is left of it when all are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimable {
    /// What the longest chain of others waits for comes first.
    pub ready: Vec<Ready>,
    /// What somebody is at, of what is asked for and of what that is built on.
    pub running: Vec<TargetKey>,
    pub waiting: Vec<Waiting>,
    /// Also what failed itself.
    pub blocked: Vec<Blocked>,
}

/// A target that can be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    pub target: TargetKey,
    /// What is to be done first. To build one that was built elsewhere, and left there, is to begin anew.
    pub work: Work,
}

/// A target that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub target: TargetKey,
    /// The first that it is built on and is not ready; none where it waits for its time, or for another worker.
    pub on: Option<TargetKey>,
}

impl Claimable {
    /// With what is for other workers among what waits.
    #[must_use]
    pub fn leaving(mut self, is_others: impl Fn(&TargetKey) -> bool) -> Self {
        let (others, ready) = self
            .ready
            .into_iter()
            .partition(|ready| is_others(&ready.target));
        let others: Vec<Ready> = others;
        self.waiting.extend(others.into_iter().map(|ready| Waiting {
            target: ready.target,
            on: None,
        }));
        Self { ready, ..self }
    }
}

impl Graph {
    /// What a worker can do of a selection: what is selected and not finished, and what is below that and not finished.
    ///
    /// A target under a live claim is at work: nobody else gets it, and nothing is built on it meanwhile. One that is
    /// built or verified elsewhere, and that nobody is at, was left half-way: it is built again.
    pub fn claimable(
        &self,
        works: WorkSet,
        is_selected: impl Fn(&Target, State) -> bool,
    ) -> Claimable {
        let goal = works.goal();
        let wanted = self.wanted(|state| !state.is_at_least(goal), is_selected);
        let (mut ready, mut waiting) = (Vec::new(), Vec::new());
        let mut is_running = vec![false; self.len()];
        let asked = self.links.topological.iter().filter(|&&n| wanted.has(n));
        for &n in asked {
            let needs = &self.node(n).needs;
            for &below in needs.iter().chain([&n]) {
                is_running[below] |= self.standings[below].is_held;
            }
            if self.standings[n].is_held || !wanted.can_be_done(n) {
                continue;
            }
            let mut wait = |on: Option<usize>| {
                waiting.push(Waiting {
                    target: self.key(n),
                    on: on.map(|below| self.key(below)),
                });
            };
            let Some(work) = self.due(n, works) else {
                wait(None);
                continue;
            };
            let is_ready = |below: usize| self.is_foundation(below, work, works);
            match needs.iter().find(|&&below| !is_ready(below)) {
                Some(&below) => wait(Some(below)),
                None if self.standings[n].is_put_off => wait(None),
                None => ready.push((n, work)),
            }
        }
        let chains = self.chains(|n| wanted.can_be_done(n));
        ready.sort_by_key(|&(n, _)| (Reverse(chains[n]), n));
        let running = self.links.topological.iter().filter(|&&n| is_running[n]);
        Claimable {
            ready: ready
                .into_iter()
                .map(|(n, work)| Ready {
                    target: self.key(n),
                    work,
                })
                .collect(),
            running: running.map(|&n| self.key(n)).collect(),
            waiting,
            blocked: wanted.blocked_or_failed(self),
        }
    }

    /// What a worker has to do next for a target that is not finished and that nobody is at; none where it is another
    /// one's turn.
    fn due(&self, n: usize, works: WorkSet) -> Option<Work> {
        let standing = self.standings[n];
        let work = match standing.state {
            State::ToBuild => Work::Build,
            State::Built if standing.is_here => Work::Verify,
            State::Verified if standing.is_here => Work::Publish,
            State::Built | State::Verified => Work::Build,
            State::Published | State::Error => return None,
        };
        works.has(work).then_some(work)
    }

    /// Whether a dependency is as far as this work on what is built on it needs.
    fn is_foundation(&self, below: usize, work: Work, works: WorkSet) -> bool {
        let standing = self.standings[below];
        match (standing.state, work) {
            (State::Published, _) => true,
            (State::Built | State::Verified, Work::Build | Work::Verify) => {
                !standing.is_held
                    && standing.is_here
                    && standing.state.is_at_least(works.foundation())
            }
            (State::Built | State::Verified, Work::Publish)
            | (State::ToBuild | State::Error, _) => false,
        }
    }

    /// For each target how many are built one on the other from it upwards.
    fn chains(&self, counts: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut chains = vec![0; self.len()];
        for &n in self.links.topological.iter().rev().filter(|&&n| counts(n)) {
            let above = self.node(n).needed_by.iter().map(|&above| chains[above]);
            chains[n] = 1 + above.max().unwrap_or(0);
        }
        chains
    }
}
