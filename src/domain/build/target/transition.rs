//! Transitions: what an event makes of a target, and which events are refused.

use thiserror::Error;

use super::{Event, EventKind, Progress, State};
use crate::domain::Digest;

/// What an event makes of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    To(Progress),
    /// The event says what is so already.
    Unchanged,
}

/// An event that cannot happen to a target as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IllegalEvent {
    #[error("a target that is {state} does not take {event}, but {}", names(.state.legal()))]
    InState { state: State, event: EventKind },
    /// A tag that was published, or an image that was built, is not exchanged for another one.
    #[error("the target is {state} as {known}, and not as {told}; it takes {}", names(.state.legal()))]
    OtherDigest {
        state: State,
        known: Box<Digest>,
        told: Box<Digest>,
    },
}

// === impl IllegalEvent ===

impl IllegalEvent {
    pub const fn state(&self) -> State {
        match self {
            Self::InState { state, .. } | Self::OtherDigest { state, .. } => *state,
        }
    }

    /// What would be legal instead.
    pub fn legal(&self) -> impl Iterator<Item = EventKind> {
        self.state().legal().iter().map(|(event, _)| *event)
    }
}

fn names(legal: &[(EventKind, State)]) -> String {
    let names: Vec<_> = legal.iter().map(|(event, _)| event.name()).collect();
    names.join(", ")
}

// === impl Progress ===

impl Progress {
    /// What the event makes of the target. Refuses all but [`State::legal`], and another digest for what is built or
    /// published already; a digest that was not known is learnt.
    pub fn after(&self, event: &Event) -> Result<Transition, IllegalEvent> {
        let kind = event.kind();
        let state = self.state;
        let mut legal = state.legal().iter();
        let Some((_, next)) = legal.find(|(legal, _)| *legal == kind) else {
            return Err(IllegalEvent::InState { state, event: kind });
        };
        if *next == state {
            return self.again(event);
        }
        let mut after = Self {
            state: *next,
            ..self.clone()
        };
        after.note(event);
        Ok(Transition::To(after))
    }

    /// What is said again.
    fn again(&self, event: &Event) -> Result<Transition, IllegalEvent> {
        match (self.digest, event.digest()) {
            (Some(known), Some(told)) if known != told => Err(IllegalEvent::OtherDigest {
                state: self.state,
                known: Box::new(known),
                told: Box::new(told),
            }),
            (None, Some(told)) => Ok(Transition::To(Self {
                digest: Some(told),
                ..self.clone()
            })),
            (Some(_) | None, _) => Ok(Transition::Unchanged),
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::BuildOk { digest, location } => {
                self.attempts = self.attempts.saturating_add(1);
                self.digest = *digest;
                self.locations = [location.clone()].into();
                self.last_error = None;
            }
            Event::SeenLocal { digest, location } => {
                self.digest = *digest;
                self.locations = [location.clone()].into();
                self.last_error = None;
            }
            Event::BuildFailed { error } => {
                self.attempts = self.attempts.saturating_add(1);
                self.fail(error);
            }
            Event::VerifyFailed { error } | Event::PublishFailed { error } => self.fail(error),
            Event::VerifyOk => self.last_error = None,
            Event::PublishOk { digest } => {
                self.digest = digest.or(self.digest);
                self.locations.clear();
                self.last_error = None;
            }
            // What is published need not be what was built here.
            Event::SeenPublished { digest } => {
                self.digest = *digest;
                self.locations.clear();
                self.last_error = None;
            }
            Event::Lost => {
                self.digest = None;
                self.locations.clear();
            }
            Event::Reset => {}
        }
    }

    fn fail(&mut self, error: &str) {
        self.digest = None;
        self.locations.clear();
        self.last_error = Some(error.to_owned());
    }
}
