//! Transitions: what an event makes of a target, and which events are refused.

use thiserror::Error;

use super::super::Location;
use super::{Event, EventKind, Progress, State};
use crate::domain::{Digest, Timestamp};

/// What an event makes of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    To(Box<Progress>),
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
    /// published already; a digest that was not known is learnt. With another state doubts end, and so does waiting.
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
            in_doubt: false,
            not_before: None,
            ..self.clone()
        };
        after.note(event);
        Ok(Transition::To(Box::new(after)))
    }

    /// The target with another time before which nobody is given it.
    #[must_use]
    pub fn put_off(&self, until: Timestamp) -> Self {
        Self {
            not_before: Some(until),
            ..self.clone()
        }
    }

    /// What is said again. Each digest is compared with its like.
    fn again(&self, event: &Event) -> Result<Transition, IllegalEvent> {
        let mut after = self.clone();
        let (known, told) = match event {
            Event::BuildOk { digest, .. } | Event::SeenLocal { digest, .. } => {
                (&mut after.digest, *digest)
            }
            Event::PublishOk { digest } | Event::SeenPublished { digest } => {
                (&mut after.published, *digest)
            }
            Event::BuildFailed { .. }
            | Event::VerifyOk
            | Event::VerifyFailed { .. }
            | Event::PublishFailed { .. }
            | Event::Lost
            | Event::Reset => return Ok(Transition::Unchanged),
        };
        match (*known, told) {
            (Some(known), Some(told)) if known != told => Err(IllegalEvent::OtherDigest {
                state: self.state,
                known: Box::new(known),
                told: Box::new(told),
            }),
            (None, Some(_)) => {
                *known = told;
                Ok(Transition::To(Box::new(after)))
            }
            (Some(_) | None, _) => Ok(Transition::Unchanged),
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::BuildOk { digest, location } => {
                self.attempts = self.attempts.saturating_add(1);
                self.found_at(*digest, location);
            }
            Event::SeenLocal { digest, location } => self.found_at(*digest, location),
            Event::BuildFailed { error } => {
                self.attempts = self.attempts.saturating_add(1);
                self.fail(error);
            }
            Event::VerifyFailed { error } | Event::PublishFailed { error } => self.fail(error),
            Event::VerifyOk => self.last_error = None,
            Event::PublishOk { digest } => {
                self.published = *digest;
                self.locations.clear();
                self.last_error = None;
            }
            // What is published need not be what was built here.
            Event::SeenPublished { digest } => {
                self.forget_images();
                self.published = *digest;
                self.last_error = None;
            }
            Event::Lost => self.forget_images(),
            Event::Reset => {}
        }
    }

    fn found_at(&mut self, digest: Option<Digest>, location: &Location) {
        self.digest = digest;
        self.published = None;
        self.locations = [location.clone()].into();
        self.last_error = None;
    }

    fn fail(&mut self, error: &str) {
        self.forget_images();
        self.last_error = Some(error.to_owned());
    }

    fn forget_images(&mut self) {
        self.digest = None;
        self.published = None;
        self.locations.clear();
    }
}
