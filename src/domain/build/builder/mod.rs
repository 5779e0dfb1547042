//! Builders: images made from a base by a recipe, to build in, and made again when they get old.

mod backoff;
mod freshness;
mod generation;
mod policy;
mod prune;
#[cfg(test)]
mod tests;

pub use backoff::Failures;
pub use freshness::{Decision, Hold, Reason, Standing, decide};
pub use generation::{Built, Effect, Generation, Generations, Reach, Removal, Sequence, Sighting};
pub use policy::{Ages, KeepLast, Policy, Probe};
pub use prune::{Keep, Pin, PinId, Prune, PruneDecision, Verdict};

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::domain::name::{bounded, text};
use crate::domain::{ImageName, Invalid, RunPlatform};

/// Which builder: what its images are made from, what they run on, and how they are made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuilderKey {
    base: ImageName,
    platform: RunPlatform,
    recipe: Recipe,
}

/// What is done to the base, such as the digest of a script; empty where nobody says. At most 4,096 bytes of text
/// without NUL.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recipe(Arc<str>);

// === impl BuilderKey ===

impl BuilderKey {
    /// The base stays as it is written; the platform is normalized. Refuses a platform without an architecture, and
    /// parts of it that are more than letters, digits, `.`, `_`, `-` and `+`.
    pub fn new(base: ImageName, platform: &RunPlatform, recipe: Recipe) -> Result<Self, Invalid> {
        let platform = platform.normalized();
        if platform.architecture.is_empty() {
            return Err(Invalid::new("platform.architecture", "must not be empty"));
        }
        let parts = [
            &platform.os,
            &platform.architecture,
            &platform.variant,
            &platform.os_version,
        ];
        let is_inner = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
        if !parts
            .into_iter()
            .chain(&platform.os_features)
            .all(|part| part.chars().all(is_inner))
        {
            let reason = "must be of letters, digits, `.`, `_`, `-` and `+`";
            return Err(Invalid::new("platform", reason));
        }
        Ok(Self {
            base,
            platform,
            recipe,
        })
    }

    pub fn base(&self) -> &ImageName {
        &self.base
    }

    pub fn platform(&self) -> &RunPlatform {
        &self.platform
    }

    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }
}

impl fmt::Display for BuilderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.base, self.platform)?;
        if !self.recipe.as_str().is_empty() {
            write!(f, " by {}", self.recipe)?;
        }
        Ok(())
    }
}

// === impl Recipe ===

text!(Recipe);

impl Recipe {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Recipe {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        bounded("recipe", text).map(Self)
    }
}
