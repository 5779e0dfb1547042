//! Bumps: new versions for a target and for all that is built on it.

use std::fmt;

use thiserror::Error;

use super::super::target::{NotBumpable, UpdateId};
use super::{Graph, TargetKey, TargetVersion};

/// What is to get a new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bump {
    pub target: TargetKey,
    /// Of the target itself; the others get the next one.
    pub version: Option<TargetVersion>,
    pub update_id: UpdateId,
}

/// A target and its new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bumped {
    pub target: TargetKey,
    pub version: TargetVersion,
    pub because: Because,
}

/// Why a target gets a new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    Asked,
    /// It is built on this one, which gets one too.
    DependsOn(TargetKey),
}

/// No target gets a new version, since these cannot have one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", joined(.refused))]
pub struct BumpRefused {
    pub refused: Vec<(TargetKey, NoBump)>,
}

/// Why a target cannot have a new version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoBump {
    #[error("there is no such target")]
    NotFound,
    #[error(transparent)]
    Version(#[from] NotBumpable),
    #[error("version {0} is there already; say another one")]
    Exists(TargetVersion),
}

impl Graph {
    /// New versions for a target and for all that is built on it, in the order in which they could be built: of all of
    /// them, or of none.
    ///
    /// Passed over are a dependent that does not follow, since it asks for another version than the new one, and one
    /// whose next version is there already: that one follows in its place.
    pub fn bump(&self, bump: &Bump) -> Result<Vec<Bumped>, BumpRefused> {
        let Some(asked) = self.position(&bump.target) else {
            let refused = vec![(bump.target.clone(), NoBump::NotFound)];
            return Err(BumpRefused { refused });
        };
        let mut versions: Vec<Option<TargetVersion>> = vec![None; self.len()];
        let (mut bumped, mut refused) = (Vec::new(), Vec::new());
        for &n in &self.links.topological {
            let because = if n == asked {
                Because::Asked
            } else {
                match self.followed(n, &versions) {
                    Some(below) => Because::DependsOn(self.key(below)),
                    None => continue,
                }
            };
            match self.next_version(n, bump, &because) {
                Ok(Some(version)) => {
                    versions[n] = Some(version.clone());
                    bumped.push(Bumped {
                        target: self.key(n),
                        version,
                        because,
                    });
                }
                Ok(None) => {}
                Err(reason) => {
                    // As though it had one, to learn what else is refused.
                    versions[n] = Some(self.key(n).version);
                    refused.push((self.key(n), reason));
                }
            }
        }
        if !refused.is_empty() {
            return Err(BumpRefused { refused });
        }
        Ok(bumped)
    }

    /// The first of those it is built on that gets a version which suits it.
    fn followed(&self, n: usize, versions: &[Option<TargetVersion>]) -> Option<usize> {
        let node = self.node(n);
        let follows = |below: usize| {
            let Some(version) = &versions[below] else {
                return false;
            };
            let name = &self.node(below).target.key().name;
            let dependencies = node.target.dependencies().iter();
            let mut of_it = dependencies.filter(|dependency| dependency.is_on(name));
            of_it.all(|dependency| dependency.allows(name, version))
        };
        node.needs.iter().copied().find(|&below| follows(below))
    }

    /// None where it is there already and nobody asked for it.
    fn next_version(
        &self,
        n: usize,
        bump: &Bump,
        because: &Because,
    ) -> Result<Option<TargetVersion>, NoBump> {
        let TargetKey { name, version } = self.node(n).target.key();
        let asked = match because {
            Because::Asked => bump.version.clone(),
            Because::DependsOn(_) => None,
        };
        let next = match asked {
            Some(asked) => asked,
            None => version.bumped(&bump.update_id)?,
        };
        let key = TargetKey {
            name: name.clone(),
            version: next,
        };
        match (self.position(&key), because) {
            (None, _) => Ok(Some(key.version)),
            (Some(_), Because::DependsOn(_)) => Ok(None),
            (Some(_), Because::Asked) => Err(NoBump::Exists(key.version)),
        }
    }
}

fn joined(refused: &[(TargetKey, NoBump)]) -> impl fmt::Display {
    let all: Vec<_> = refused
        .iter()
        .map(|(key, reason)| format!("{key}: {reason}"))
        .collect();
    all.join("; ")
}
