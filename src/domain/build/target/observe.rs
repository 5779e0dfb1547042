//! Observations of targets: where a target stands by what its daemon and its registry answer.

use super::super::{Location, Presence};
use super::{Event, IllegalEvent, Progress, State, Transition};
use crate::domain::Digest;

/// Who is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What the registry has is done; the daemon counts where the registry has nothing. docker-pkg with `--pull`.
    RegistryFirst,
    /// Only what the daemon has is done, published or not. docker-pkg without `--pull`.
    LocalRequired,
}

/// What a daemon and the registry answered, asked for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    pub location: Location,
    pub local: Presence,
    pub published: Presence,
}

/// What an observation makes of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    To(Progress),
    /// It is as it was thought to be. A target in error stays so until it is reset.
    Unchanged,
    /// What could not be asked could make it any of these; so it stays as it is, but for the doubt.
    Undecided {
        possible: Vec<State>,
        after: Progress,
    },
}

impl Mode {
    /// What a target is that is there, or published, or not.
    const fn state(self, is_local: bool, is_published: bool) -> State {
        match (self, is_local, is_published) {
            (Self::RegistryFirst, _, true) | (Self::LocalRequired, true, true) => State::Published,
            (_, true, false) => State::Built,
            (Self::RegistryFirst, false, false) | (Self::LocalRequired, false, _) => State::ToBuild,
        }
    }

    /// All states in which a target may be after such answers: one where what is unknown makes no difference.
    pub fn states(self, local: Presence, published: Presence) -> Vec<State> {
        let mut states = Vec::new();
        for is_local in possible(local) {
            for is_published in possible(published) {
                states.push(self.state(*is_local, *is_published));
            }
        }
        states.sort();
        states.dedup();
        states
    }
}

fn possible(presence: Presence) -> &'static [bool] {
    match presence {
        Presence::Present(_) => &[true],
        Presence::Absent => &[false],
        Presence::Unknown => &[true, false],
    }
}

impl Progress {
    /// What an observation makes of the target.
    ///
    /// What is unknown is never taken for missing. An image that one daemon has not is not lost while another one has
    /// it; what is published is lost only where the registry says so. Refuses another digest than the one that was
    /// published.
    pub fn observed(&self, mode: Mode, seen: &Observation) -> Result<Observed, IllegalEvent> {
        match self.state {
            State::Error => return Ok(Observed::Unchanged),
            State::Published => return self.observed_published(mode, seen),
            State::ToBuild | State::Built | State::Verified => {}
        }
        match *mode.states(seen.local, seen.published) {
            [State::Published] => self.then(&self.found_published(seen)),
            [State::Built] => match self.state {
                State::Built | State::Verified => Ok(self.also_at(seen)),
                State::ToBuild | State::Published | State::Error => self.then(&found_local(seen)),
            },
            [State::ToBuild] => match self.state {
                State::Built | State::Verified => self.no_longer_at(&seen.location),
                State::ToBuild => Ok(self
                    .doubted(false)
                    .map_or(Observed::Unchanged, Observed::To)),
                State::Published | State::Error => Ok(Observed::Unchanged),
            },
            ref many => Ok(self.undecided(many.to_vec())),
        }
    }

    fn observed_published(&self, mode: Mode, seen: &Observation) -> Result<Observed, IllegalEvent> {
        match (seen.published, seen.local) {
            (Presence::Present(digest), _) => self.then(&Event::PublishOk { digest }),
            (Presence::Unknown, local) => {
                let mut states = mode.states(local, Presence::Absent);
                states.push(State::Published);
                Ok(self.undecided(states))
            }
            (Presence::Absent, Presence::Present(_)) => match self.after(&Event::Lost)? {
                Transition::To(lost) => lost.then(&found_local(seen)),
                Transition::Unchanged => Ok(Observed::Unchanged),
            },
            (Presence::Absent, Presence::Absent | Presence::Unknown) => self.then(&Event::Lost),
        }
    }

    /// Only of what is to be built it matters that it could be there.
    fn undecided(&self, possible: Vec<State>) -> Observed {
        let doubted = match self.state {
            State::ToBuild => self.doubted(true),
            State::Built | State::Verified | State::Published | State::Error => None,
        };
        Observed::Undecided {
            possible,
            after: doubted.unwrap_or_else(|| self.clone()),
        }
    }

    /// None where it is so already.
    fn doubted(&self, in_doubt: bool) -> Option<Self> {
        (self.in_doubt != in_doubt).then(|| Self {
            in_doubt,
            ..self.clone()
        })
    }

    fn then(&self, event: &Event) -> Result<Observed, IllegalEvent> {
        Ok(match self.after(event)? {
            Transition::To(after) => Observed::To(*after),
            Transition::Unchanged => Observed::Unchanged,
        })
    }

    /// Whoever published a verified image may have died before telling; for all others it is a find.
    fn found_published(&self, seen: &Observation) -> Event {
        let digest = digest(seen.published);
        match self.state {
            State::Verified => Event::PublishOk { digest },
            State::ToBuild | State::Built | State::Published | State::Error => {
                Event::SeenPublished { digest }
            }
        }
    }

    fn also_at(&self, seen: &Observation) -> Observed {
        let is_other =
            digest(seen.local).is_some_and(|its| self.digest.is_some_and(|own| own != its));
        if is_other || self.locations.contains(&seen.location) {
            return Observed::Unchanged;
        }
        let mut after = self.clone();
        after.locations.insert(seen.location.clone());
        Observed::To(after)
    }

    fn no_longer_at(&self, location: &Location) -> Result<Observed, IllegalEvent> {
        let mut after = self.clone();
        if !after.locations.remove(location) {
            return Ok(Observed::Unchanged);
        }
        if after.locations.is_empty() {
            return self.then(&Event::Lost);
        }
        Ok(Observed::To(after))
    }
}

fn found_local(seen: &Observation) -> Event {
    Event::SeenLocal {
        digest: digest(seen.local),
        location: seen.location.clone(),
    }
}

fn digest(presence: Presence) -> Option<Digest> {
    match presence {
        Presence::Present(digest) => digest,
        Presence::Absent | Presence::Unknown => None,
    }
}
