//! The calls on builders: who makes a new image, who uses which one, and which ones may go.
//!
//! Whatever adds a generation writes the builder's own row too. So a write that guards that row, the claim and the
//! generations that it saw has seen all that it decided by; who takes an image away looks for new pins beside.

mod acquire;
mod answer;
mod batch;
mod change;
mod claim;
mod delete;
mod prune;
mod read;
mod request;
mod rows;

use std::collections::BTreeSet;
use std::time::Duration;

use super::Store;
use super::precondition::Precondition;
use super::request::RequestId;
use crate::domain::build::{
    BuilderKey, Built, Claim, Effect, Failures, Generation, Holder, KeepLast, Location, Pin, PinId,
    Policy, Presence, Reach, Reason, Removal, Sequence, Token, Ttl, Verdict,
};
use crate::domain::{Digest, Namespace, Timestamp};
use crate::kv::Revision;

/// The calls on builders; from [`Store::builders`]. Ages and deadlines are by the store's steady clock, which never
/// goes back.
#[derive(Clone, Copy)]
pub struct Builders<'a> {
    pub(super) store: &'a Store,
}

/// A builder, but for its generations and its pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderEntry {
    pub namespace: Namespace,
    pub key: BuilderKey,
    pub policy: Policy,
    /// What the base was when somebody last told.
    pub base_digest: Option<Digest>,
    /// The last number that a generation got; 0 where nothing was ever built.
    pub last: Sequence,
    pub failures: Option<Failures>,
    /// Nobody is told to build before.
    pub retry_at: Option<Timestamp>,
    /// Who makes a new image; none that has ended.
    pub claim: Option<Claim>,
    /// The revision that last wrote the builder's own row, and its etag. [`Revision::ZERO`] for one that a
    /// `validate_only` call would have written.
    pub revision: Revision,
}

/// A builder, all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBuilder {
    pub entry: BuilderEntry,
    /// The oldest first.
    pub generations: Vec<Generation>,
    /// None that has ended.
    pub pins: Vec<Pinned>,
}

/// A pin and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    pub id: PinId,
    pub pin: Pin,
}

/// A Put: a builder with this policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBuilder {
    pub key: BuilderKey,
    pub policy: Policy,
    pub when: Precondition,
    /// Answers as the Put would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// What a Put of a builder did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderPut {
    pub entry: BuilderEntry,
    /// Whether anything was written.
    pub changed: bool,
    /// Whether the builder is new.
    pub created: bool,
}

/// A Delete of a builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteBuilder {
    pub key: BuilderKey,
    /// The etag that it must have.
    pub if_etag: Option<Revision>,
    /// Also while it has images, or somebody makes one.
    pub force: bool,
    /// Answers as the Delete would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// An Acquire: somebody needs an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquireBuilder {
    pub key: BuilderKey,
    pub holder: Holder,
    /// Where the caller can use an image.
    pub reach: Reach,
    /// Of the claim, or of the pin.
    pub ttl: Ttl,
    /// Wants a new image, whatever there is.
    pub force: bool,
    /// What the base is now, where the caller knows.
    pub base_digest: Option<Digest>,
    /// Answers as the Acquire would, and writes nothing: there is neither claim nor pin.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent. Only a claim or a pin is remembered.
    pub request: Option<RequestId>,
}

/// What an Acquire answers, and what the steady clock showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquired {
    pub decision: Acquisition,
    pub now: Timestamp,
}

/// What a caller who needs an image does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquisition {
    /// Use this one.
    Use {
        generation: Generation,
        pin: Option<Pinned>,
        /// A new one is due, and somebody is at it, or will be when builds do not fail any more.
        is_stale: bool,
        /// Seen as recently as the policy asks. Otherwise look first, and report what was found.
        is_confirmed: bool,
        /// When it will be stale by its age; none for never, and where it is stale.
        fresh_until: Option<Timestamp>,
        /// When it is used no more; none for never.
        usable_until: Option<Timestamp>,
    },
    /// Build a new one, and complete or abandon it.
    Build {
        claim: Option<Claim>,
        reason: Reason,
        previous: Option<Generation>,
    },
    /// There is none to use, and nobody else may build now.
    Busy {
        /// Who builds; none while nobody does since builds have failed.
        holder: Option<Holder>,
        /// Ask again then.
        until: Timestamp,
        /// Why the last build failed, where nobody builds now.
        last_error: String,
        /// The image to use meanwhile, at the caller's own risk, and its pin.
        previous: Option<Generation>,
        pin: Option<Pinned>,
    },
}

/// A Complete: what was built under a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteBuilder {
    pub key: BuilderKey,
    pub token: Token,
    pub built: Built,
    /// Also pins the image for so long.
    pub pin: Option<Ttl>,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// What a Complete made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    pub generation: Generation,
    pub pin: Option<Pinned>,
}

/// An Abandon: a claim is given back without an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbandonBuilder {
    pub key: BuilderKey,
    pub token: Token,
    /// Without it, the next who asks is told to build.
    pub failure: Option<Failure>,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// Why a build failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub error: String,
    /// How long nobody builds, where the caller knows; up to [`Failures::MAX_DELAY`].
    pub retry_after: Option<Duration>,
}

/// A Report: where images were found, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportBuilder {
    pub key: BuilderKey,
    pub observations: Vec<BuilderObservation>,
    /// What the base is now, where the caller knows.
    pub base_digest: Option<Digest>,
    /// Answers as the Report would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// What a place answered when it was asked for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderObservation {
    pub generation: Sequence,
    pub location: Location,
    pub presence: Presence,
}

/// What a Report made of each observation, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    pub effects: Vec<Effect>,
    /// Whether anything was written.
    pub changed: bool,
}

/// A Prune: which images may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneBuilder {
    pub key: BuilderKey,
    /// Instead of the policy's.
    pub keep_last: Option<KeepLast>,
    /// Only what is at least so old goes.
    pub older_than: Option<Duration>,
    /// Where the caller can remove. What is elsewhere is not judged.
    pub reach: Reach,
    /// What the caller knows to be in use.
    pub in_use: BTreeSet<Sequence>,
    /// Answers as the Prune would, and writes nothing.
    pub validate_only: bool,
}

/// What a Prune decided, the newest generation first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    pub judged: Vec<Judged>,
    /// Whether anything was written.
    pub changed: bool,
}

/// What becomes of some copies of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// With the copies only that the verdict is about. To be removed means that the caller may, and confirms what became
    /// of each.
    pub generation: Generation,
    pub verdict: Verdict,
}

/// A ConfirmRemoved: what became of the attempt to remove a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmRemoved {
    pub key: BuilderKey,
    pub generation: Sequence,
    pub location: Location,
    pub removal: Removal,
    /// Answers as the call would, and writes nothing.
    pub validate_only: bool,
}

/// What a ConfirmRemoved did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    pub effect: Effect,
    /// Whether anything was written.
    pub changed: bool,
}

impl Builders<'_> {
    /// Generations that a builder has at most.
    pub const MAX_GENERATIONS: usize = 1000;

    /// Pins that a builder has at most.
    pub const MAX_PINS: usize = 1000;

    /// Bytes that the generations and the live pins of a builder take as records, with what may be noted of each copy:
    /// all of it fits one answer.
    pub const MAX_BYTES: usize = 4 << 20;

    /// Observations that a Report has at most.
    pub const MAX_OBSERVATIONS: usize = 1000;
}
