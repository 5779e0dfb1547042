//! Requests as most callers send them.

use std::collections::BTreeSet;

use super::{
    AbandonBuilder, AcquireBuilder, BuilderObservation, CompleteBuilder, ConfirmRemoved,
    DeleteBuilder, PruneBuilder, PutBuilder, ReportBuilder,
};
use crate::domain::build::{
    BuilderKey, Built, Holder, Location, Policy, Reach, Removal, Sequence, Token, Ttl,
};
use crate::store::Precondition;

impl PutBuilder {
    /// Creates it, or changes its policy.
    pub fn new(key: BuilderKey, policy: Policy) -> Self {
        Self {
            key,
            policy,
            when: Precondition::None,
            validate_only: false,
            request: None,
        }
    }
}

impl DeleteBuilder {
    /// Removes it if it has no images and nobody makes one.
    pub fn new(key: BuilderKey) -> Self {
        Self {
            key,
            if_etag: None,
            force: false,
            validate_only: false,
            request: None,
        }
    }
}

impl AcquireBuilder {
    /// Whoever can use any image.
    pub fn new(key: BuilderKey, holder: Holder, ttl: Ttl) -> Self {
        Self {
            key,
            holder,
            reach: Reach::Anywhere,
            ttl,
            force: false,
            base_digest: None,
            validate_only: false,
            request: None,
        }
    }
}

impl CompleteBuilder {
    pub fn new(key: BuilderKey, token: Token, built: Built) -> Self {
        Self {
            key,
            token,
            built,
            pin: None,
            request: None,
        }
    }
}

impl AbandonBuilder {
    /// The claim is just given back.
    pub fn new(key: BuilderKey, token: Token) -> Self {
        Self {
            key,
            token,
            failure: None,
            request: None,
        }
    }
}

impl ReportBuilder {
    pub fn new(key: BuilderKey, observations: Vec<BuilderObservation>) -> Self {
        Self {
            key,
            observations,
            base_digest: None,
            validate_only: false,
            request: None,
        }
    }
}

impl PruneBuilder {
    /// As the policy says, anywhere.
    pub fn new(key: BuilderKey) -> Self {
        Self {
            key,
            keep_last: None,
            older_than: None,
            reach: Reach::Anywhere,
            in_use: BTreeSet::new(),
            validate_only: false,
        }
    }
}

impl ConfirmRemoved {
    pub fn new(
        key: BuilderKey,
        generation: Sequence,
        location: Location,
        removal: Removal,
    ) -> Self {
        Self {
            key,
            generation,
            location,
            removal,
            validate_only: false,
        }
    }
}
