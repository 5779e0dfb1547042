//! The build side: targets that are built in order, and builder images that stay fresh.

mod builder;
mod claim;
mod graph;
mod presence;
mod steady;
mod target;

pub use builder::{
    Ages, BuilderKey, Built, Decision, Effect, Failures, Generation, Generations, Hold, Keep,
    KeepLast, Pin, PinId, Policy, Probe, Prune, PruneDecision, Reach, Reason, Recipe, Removal,
    Sequence, Sighting, Standing, Verdict, decide,
};
pub use claim::{Claim, ClaimRefused, Holder, Token, Ttl};
pub use graph::{
    Because, Blocked, BuildOrder, Bump, BumpRefused, Bumped, Claimable, Cycle, Graph, GraphError,
    NoBump, Ready, Span, TargetStanding, UnknownDependency, Waiting,
};
pub use presence::{Location, Presence};
pub use steady::{Moment, Steady};
pub use target::{
    Dependency, Event, EventKind, Glob, IllegalEvent, Label, Mode, NotBumpable, Observation,
    Observed, Progress, Registry, Relation, Repository, Source, State, Target, TargetKey,
    TargetName, TargetSelector, TargetVersion, Transition, UpdateId, Work, WorkSet,
};
