//! Dependencies: what a target is built on.

use std::fmt;
use std::str::FromStr;

use super::{TargetName, TargetVersion};
use crate::domain::{ImageName, Invalid};

/// Something that a target is built on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// The newest target of that name whose version is so. Several of one name hold together:
    /// `a (>= 2)` and `a (<< 3)` is one target between the two.
    Target {
        name: TargetName,
        version: Option<(Relation, TargetVersion)>,
    },
    /// An image that is built elsewhere. It stays external where a target is called so as well.
    External(ImageName),
}

/// How a version is to be compared, in Debian's signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    Earlier,
    AtMost,
    Exactly,
    AtLeast,
    Later,
}

// === impl Dependency ===

impl Dependency {
    /// On the newest target of that name.
    pub fn on(name: TargetName) -> Self {
        Self::Target {
            name,
            version: None,
        }
    }

    /// Whether it is on a target of that name, whatever its version.
    pub fn is_on(&self, name: &TargetName) -> bool {
        match self {
            Self::Target { name: own, .. } => own == name,
            Self::External(_) => false,
        }
    }

    /// Whether a target of that name and version would do, as far as this dependency says.
    pub fn allows(&self, name: &TargetName, version: &TargetVersion) -> bool {
        match self {
            Self::Target {
                name: own,
                version: bound,
            } => {
                let holds = |(relation, bound): &(Relation, _)| relation.holds(version, bound);
                own == name && bound.as_ref().is_none_or(holds)
            }
            Self::External(_) => false,
        }
    }
}

impl From<TargetName> for Dependency {
    fn from(name: TargetName) -> Self {
        Self::on(name)
    }
}

/// `NAME`, `NAME (>= VERSION)` as in a Debian control file, or `NAME@VERSION`. External ones have no text of their own.
impl FromStr for Dependency {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (name, relation, version) = parts(text)?;
        let within = |e: Invalid| e.at("dependency");
        let name = name.trim_end().parse().map_err(within)?;
        let Some(relation) = relation else {
            return Ok(Self::on(name));
        };
        let version = version.trim().parse().map_err(within)?;
        Ok(Self::Target {
            name,
            version: Some((relation, version)),
        })
    }
}

/// The name, the relation where there is one, and then the version.
fn parts(text: &str) -> Result<(&str, Option<Relation>, &str), Invalid> {
    if let Some((name, version)) = text.split_once('@') {
        return Ok((name, Some(Relation::Exactly), version));
    }
    let Some((name, bound)) = text.split_once('(') else {
        return Ok((text, None, ""));
    };
    let bound = bound.trim_end().strip_suffix(')').unwrap_or_default();
    let (sign, version) = bound.split_at(bound.find(|c| !"<=>".contains(c)).unwrap_or(0));
    match Relation::named(sign) {
        Some(relation) => Ok((name, Some(relation), version)),
        None => Err(Invalid::new(
            "dependency",
            format!("{text:?} must be NAME, or NAME (>= VERSION) with one of <<, <=, =, >=, >>"),
        )),
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target {
                name,
                version: None,
            } => name.fmt(f),
            Self::Target {
                name,
                version: Some((relation, version)),
            } => write!(f, "{name} ({} {version})", relation.sign()),
            Self::External(name) => name.fmt(f),
        }
    }
}

// === impl Relation ===

impl Relation {
    pub const ALL: [Self; 5] = [
        Self::Earlier,
        Self::AtMost,
        Self::Exactly,
        Self::AtLeast,
        Self::Later,
    ];

    pub const fn sign(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::AtMost => "<=",
            Self::Exactly => "=",
            Self::AtLeast => ">=",
            Self::Later => ">>",
        }
    }

    fn named(sign: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.sign() == sign)
    }

    pub fn holds(self, version: &TargetVersion, bound: &TargetVersion) -> bool {
        match self {
            Self::Earlier => version < bound,
            Self::AtMost => version <= bound,
            Self::Exactly => version == bound,
            Self::AtLeast => version >= bound,
            Self::Later => version > bound,
        }
    }
}
