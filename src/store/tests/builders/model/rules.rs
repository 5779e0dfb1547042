//! What there is by the rules alone.

use super::super::*;
use super::steps::PLACES;
use crate::domain::build::{Claim, Failures, Generations, Pin};

/// What is known of the builder, by the rules alone.
#[derive(Default)]
pub struct Model {
    pub now: i64,
    pub policy: Option<Policy>,
    pub generations: Generations,
    pub failures: Option<Failures>,
    pub claim: Option<Claim>,
    pub pins: BTreeMap<PinId, Pin>,
    /// The token and the pin that each agent had last.
    pub tokens: [Option<Token>; 3],
    pub mine: [Option<PinId>; 3],
    pub highest: u64,
}

pub fn reach_of(agent: usize) -> Reach {
    match agent {
        0 => Reach::Anywhere,
        agent => only(&["reg", PLACES[agent]]),
    }
}

impl Model {
    pub fn at(&self) -> Timestamp {
        Timestamp::new(self.now, 7).unwrap()
    }

    pub fn holds(&self, agent: usize) -> bool {
        let token = self.tokens[agent].unwrap_or(Token(0));
        let claim = self.claim.as_ref();
        Claim::check(claim, token, self.at()).is_ok()
    }

    pub fn forget_lost(&mut self) {
        let generations = &self.generations;
        self.pins
            .retain(|_, pin| generations.get(pin.generation).is_some());
    }

    pub fn live_pins(&self) -> Vec<Pin> {
        let now = self.at();
        let live = self.pins.values().filter(|pin| pin.is_live(now));
        live.cloned().collect()
    }
}
