//! How a target stands, for whoever asks what can be done.

use super::State;

/// How a target stands, for whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetStanding {
    pub state: State,
    /// Its image is where the one who asks can use it without a registry.
    pub is_here: bool,
    /// Somebody is at it.
    pub is_held: bool,
    /// Its time has not come.
    pub is_put_off: bool,
}

/// Of a target that nobody is at, where all use one daemon.
impl From<State> for TargetStanding {
    fn from(state: State) -> Self {
        Self {
            state,
            is_here: matches!(state, State::Built | State::Verified),
            is_held: false,
            is_put_off: false,
        }
    }
}
