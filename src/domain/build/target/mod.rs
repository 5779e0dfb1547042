//! Targets: what is to be built, under which name and version, and on what.

mod dependency;
mod glob;
mod label;
mod observe;
mod selector;
mod state;
#[cfg(test)]
mod tests;
mod transition;
mod version;
mod work;

pub use dependency::{Dependency, Relation};
pub use glob::Glob;
pub use label::{Label, Registry, Repository};
pub use observe::{Mode, Observation, Observed};
pub use selector::TargetSelector;
pub use state::{Event, EventKind, Progress, State};
pub use transition::{IllegalEvent, Transition};
pub use version::{NotBumpable, TargetVersion, UpdateId};
pub use work::{Work, WorkSet};

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::domain::name::{bounded, text};
use crate::domain::{Invalid, Labels};

/// An image that is to be built, as it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    key: TargetKey,
    label: Label,
    dependencies: BTreeSet<Dependency>,
    labels: Labels,
}

/// Which target: `NAME@VERSION`. One name may have many versions, the oldest first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    pub name: TargetName,
    pub version: TargetVersion,
}

/// What declares targets, such as a repository: at most 4,096 bytes of text without NUL, or nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Arc<str>);

/// What a target is called: a repository path without registry and without the namespace in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName(Arc<str>);

// === impl Target ===

impl Target {
    pub const MAX_DEPENDENCIES: usize = 1000;

    /// Refuses a label that does not end with the target's name and version, more than
    /// [`Self::MAX_DEPENDENCIES`] dependencies, and NUL in a key or value of the labels.
    pub fn new(
        key: TargetKey,
        label: Label,
        dependencies: BTreeSet<Dependency>,
        labels: Labels,
    ) -> Result<Self, Invalid> {
        if !label.is_of(&key) {
            let reason = format!("{label} must end with {}:{}", key.name, key.version);
            return Err(Invalid::new("label", reason));
        }
        if dependencies.len() > Self::MAX_DEPENDENCIES {
            let reason = format!(
                "are {} of {key}, more than {}",
                dependencies.len(),
                Self::MAX_DEPENDENCIES
            );
            return Err(Invalid::new("dependencies", reason));
        }
        for (name, value) in labels.iter() {
            if name.contains('\0') || value.contains('\0') {
                let shown: String = name.chars().take(64).collect();
                let reason = format!("must not contain NUL, at key {shown:?}");
                return Err(Invalid::new("labels", reason));
            }
        }
        Ok(Self {
            key,
            label,
            dependencies,
            labels,
        })
    }

    pub fn key(&self) -> &TargetKey {
        &self.key
    }

    /// What the image is called where it is published.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// `NAME:VERSION`, the end of the label.
    pub fn short_label(&self) -> &str {
        let label = self.label.as_str();
        let bytes = self.key.name.as_str().len() + 1 + self.key.version.as_str().len();
        &label[label.len() - bytes..]
    }

    pub fn dependencies(&self) -> &BTreeSet<Dependency> {
        &self.dependencies
    }

    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The same target in another version.
    #[must_use]
    pub fn at_version(&self, version: TargetVersion) -> Self {
        Self {
            label: self.label.at_version(&version),
            key: TargetKey {
                name: self.key.name.clone(),
                version,
            },
            dependencies: self.dependencies.clone(),
            labels: self.labels.clone(),
        }
    }
}

// === impl TargetKey ===

impl FromStr for TargetKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Some((name, version)) = text.split_once('@') else {
            return Err(Invalid::new("target", "must be NAME@VERSION"));
        };
        Ok(Self {
            name: name.parse()?,
            version: version.parse()?,
        })
    }
}

impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl fmt::Debug for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Source ===

text!(Source, TargetName);

impl Source {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Nothing.
impl Default for Source {
    fn default() -> Self {
        Self("".into())
    }
}

impl FromStr for Source {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "" => Ok(Self::default()),
            text => bounded("source", text).map(Self),
        }
    }
}

// === impl TargetName ===

impl TargetName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TargetName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        label::repository_path("name", text).map(Self)
    }
}
