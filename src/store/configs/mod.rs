//! The calls on image configs: what they are, what they were built from, and what they have in common.

mod answer;
pub(super) mod cache;
mod change;
pub(super) mod create;
mod delete;
pub(super) mod link;
mod names;
mod read;
mod relatives;
pub(super) mod resolve;
pub(super) mod rows;
mod sweep;
mod targets;

use bytes::Bytes;

pub(super) use self::sweep::sweep_links;
use super::Store;
use super::page::PageRequest;
use super::request::RequestId;
use crate::domain::{ChainId, ConfigId, DiffId, ImageConfig, Reference};
use crate::domain::{Digest, Namespace, RunPlatform, Timestamp};
use crate::kv::Revision;

/// The calls on configs; from [`Store::configs`].
#[derive(Clone, Copy)]
pub struct Configs<'a> {
    pub(super) store: &'a Store,
}

/// A config, but for its layers, its history and its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub namespace: Namespace,
    pub id: ConfigId,
    /// Bytes of the config.
    pub size: u64,
    /// As the config says it, not normalized.
    pub platform: RunPlatform,
    pub created: Option<Timestamp>,
    pub parent: Option<ConfigId>,
    pub built_locally: bool,
    /// When somebody last said that it was used.
    pub touched_at: Option<Timestamp>,
    pub stored_at: Timestamp,
    /// The revision that last changed its parent, its targets or whether it was built here, and its etag.
    /// [`Revision::ZERO`] for one that a `validate_only` call would have written.
    pub revision: Revision,
    /// What is stored of it makes no sense; what would be read from that is empty.
    pub is_corrupt: bool,
}

/// A config, all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConfig {
    pub entry: ConfigEntry,
    /// As they were given.
    pub bytes: Bytes,
    /// `None` where the bytes are not what the id says, or no config.
    pub config: Option<ImageConfig>,
    /// What was linked to it, in order.
    pub targets: Vec<Digest>,
}

/// A Create: a config to be stored under the digest of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateConfig {
    pub bytes: Bytes,
    /// What it was built from, where that is known.
    pub parent: Option<ConfigId>,
    pub built_locally: bool,
    /// Targets to link to it, also to one that is there already.
    pub targets: Vec<Digest>,
    /// Answers as the Create would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// What a Create did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedConfig {
    pub stored: StoredConfig,
    /// Whether it is new.
    pub created: bool,
    /// Whether anything was written.
    pub changed: bool,
}

/// A Delete of a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteConfig {
    pub id: ConfigId,
    /// The etag that it must have.
    pub if_etag: Option<Revision>,
    /// Only if it has no children.
    pub must_be_head: bool,
    /// Answers as the Delete would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// What a Delete did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedConfig {
    pub id: ConfigId,
    /// The layers that no config of the namespace has any more, the top one first.
    pub unreferenced: Vec<UnreferencedLayer>,
    /// How many configs lost their parent, counted up to [`Configs::MAX_ORPHANS`]; one that became its child at
    /// the same moment may be left out.
    pub orphans: u64,
}

/// A layer that no config has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreferencedLayer {
    pub chain_id: ChainId,
    pub diff_id: DiffId,
}

/// What a config was built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetParent {
    pub id: ConfigId,
    /// `None` where nothing is known of it.
    pub parent: Option<ConfigId>,
    /// The etag that the config must have.
    pub if_etag: Option<Revision>,
    /// Answers as the call would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// What a SetParent did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentSet {
    pub changed: bool,
    /// The parent before.
    pub previous: Option<ConfigId>,
}

/// What else is known of a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkConfig {
    pub id: ConfigId,
    /// Stays as it is where there is none.
    pub built_locally: Option<bool>,
    /// Whether it was used now.
    pub touch: bool,
    /// The etag that the config must have.
    pub if_etag: Option<Revision>,
    /// Answers as the call would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// What a Mark did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedConfig {
    pub entry: ConfigEntry,
    pub changed: bool,
}

/// A target, such as an image's manifest, that has a config; or had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    pub id: ConfigId,
    pub target: Digest,
    /// Answers as the call would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// A config that lies below or above another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relative {
    pub entry: ConfigEntry,
    /// By how many layers the upper one is higher. 0 where both have the same, and the history of the upper one
    /// goes on from that of the lower one.
    pub layers: u32,
    /// Only the layers tell it: the history of the upper one does not go on from that of the lower one.
    pub by_layers_only: bool,
    /// Names of image records that stand for it, the first [`Configs::MAX_NAMES`] of them.
    pub names: Vec<crate::domain::ImageName>,
    pub has_more_names: bool,
}

/// What a config is built on, at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bases {
    /// The config that was asked about.
    pub id: ConfigId,
    pub page: super::Page<Relative>,
}

/// What is built on one of the configs that a reference stands for, or stood for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descendant {
    pub relative: Relative,
    /// On which of them.
    pub base: ConfigId,
    /// The revision that made the newest generation of the name with that config; `None` for a reference that
    /// is no name.
    pub generation: Option<Revision>,
    /// It is built on no config that the reference stands for now.
    pub is_outdated: bool,
}

/// A Descendants: what is built on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descendants {
    pub reference: Reference,
    /// Without it, all configs count that a name stands for.
    pub platform: Option<RunPlatform>,
    /// Of a name, those that it stood for in its history count too.
    pub earlier_generations: bool,
    pub page: PageRequest,
}

impl Configs<'_> {
    /// Targets that a config has at most.
    pub const MAX_TARGETS: usize = 1000;

    /// Configs that a target has at most.
    pub const MAX_OF_TARGET: usize = 1000;

    /// Up to how many configs that lose their parent are counted.
    pub const MAX_ORPHANS: usize = 10_000;

    /// Names that are told of a relative at most.
    pub const MAX_NAMES: usize = 100;

    /// Candidates that are told of an ambiguous reference at most.
    pub const MAX_CANDIDATES: usize = 10;
}

impl CreateConfig {
    /// A config of which nothing is known but its bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self {
            bytes: bytes.into(),
            parent: None,
            built_locally: false,
            targets: Vec::new(),
            validate_only: false,
            request: None,
        }
    }
}

impl DeleteConfig {
    /// Removes it, whatever it is.
    pub fn new(id: ConfigId) -> Self {
        Self {
            id,
            if_etag: None,
            must_be_head: false,
            validate_only: false,
            request: None,
        }
    }
}

impl SetParent {
    pub fn new(id: ConfigId, parent: Option<ConfigId>) -> Self {
        Self {
            id,
            parent,
            if_etag: None,
            validate_only: false,
            request: None,
        }
    }
}

impl MarkConfig {
    /// Changes nothing as it is.
    pub fn new(id: ConfigId) -> Self {
        Self {
            id,
            built_locally: None,
            touch: false,
            if_etag: None,
            validate_only: false,
            request: None,
        }
    }
}

impl LinkConfig {
    pub fn new(id: ConfigId, target: Digest) -> Self {
        Self {
            id,
            target,
            validate_only: false,
            request: None,
        }
    }
}

impl Descendants {
    /// The first page of what is built on whatever it stands for now.
    pub fn of(reference: Reference) -> Self {
        Self {
            reference,
            platform: None,
            earlier_generations: false,
            page: PageRequest::default(),
        }
    }
}
