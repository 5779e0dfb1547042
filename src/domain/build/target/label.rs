//! Labels: what an image is called where it is published (distribution's reference grammar).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use super::{TargetKey, TargetVersion};
use crate::domain::Invalid;
use crate::domain::name::text;

/// `REGISTRY/NAMESPACE/NAME:VERSION`, the first two where there are any.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    text: Arc<str>,
    /// Where the repository begins: after the slash of the registry.
    repository_at: usize,
    /// Where the version begins: after the last colon.
    version_at: usize,
}

/// The host of a registry, and its port where it has one: `reg.example`, `host:5000`, `localhost`, `[::1]:5000`.
///
/// As Docker tells it from a path: it has a dot, a port or a capital, or is `localhost`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registry(Arc<str>);

/// A path in a registry, at most 255 bytes: lowercase letters and digits, in runs joined by `.`, `_`, `__` or dashes,
/// in parts joined by `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(Arc<str>);

// === impl Label ===

impl Label {
    /// Refuses a repository that gets too long.
    pub fn new(
        registry: Option<&Registry>,
        namespace: Option<&Repository>,
        key: &TargetKey,
    ) -> Result<Self, Invalid> {
        let mut repository = String::new();
        if let Some(namespace) = namespace {
            repository.push_str(namespace.as_str());
            repository.push('/');
        }
        repository.push_str(key.name.as_str());
        let repository = repository.parse().map_err(|e: Invalid| e.at("label"))?;
        Ok(Self::of(registry, &repository, &key.version))
    }

    fn of(registry: Option<&Registry>, repository: &Repository, version: &TargetVersion) -> Self {
        let mut text = String::new();
        if let Some(registry) = registry {
            text.push_str(registry.as_str());
            text.push('/');
        }
        let repository_at = text.len();
        text.push_str(repository.as_str());
        text.push(':');
        let version_at = text.len();
        text.push_str(version.as_str());
        Self {
            text: text.into(),
            repository_at,
            version_at,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn registry(&self) -> Option<&str> {
        let end = self.repository_at.checked_sub(1)?;
        Some(&self.text[..end])
    }

    /// The path in the registry: the namespace and the name.
    pub fn repository(&self) -> &str {
        &self.text[self.repository_at..self.version_at - 1]
    }

    pub fn version(&self) -> &str {
        &self.text[self.version_at..]
    }

    /// The same with another version.
    #[must_use]
    pub fn at_version(&self, version: &TargetVersion) -> Self {
        let before = &self.text[..self.version_at];
        Self {
            text: format!("{before}{version}").into(),
            ..self.clone()
        }
    }

    /// Whether the target may be published so: the path ends with its name, and the version is its version.
    pub fn is_of(&self, key: &TargetKey) -> bool {
        let namespace = self.repository().strip_suffix(key.name.as_str());
        self.version() == key.version.as_str()
            && namespace.is_some_and(|path| path.is_empty() || path.ends_with('/'))
    }
}

impl FromStr for Label {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (registry, rest) = match text.split_once('/') {
            Some((host, rest)) if Registry::is_told_by(host) => (Some(host.parse()?), rest),
            Some(_) | None => (None, text),
        };
        // The colon of a port stands before a slash, and so before this one.
        let Some((repository, version)) = rest.rsplit_once(':') else {
            return Err(Invalid::new(
                "label",
                "must end with a version, as in a/b:1.0",
            ));
        };
        let repository = repository.parse()?;
        Ok(Self::of(registry.as_ref(), &repository, &version.parse()?))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

// === impl Registry ===

text!(Registry, Repository);

impl Registry {
    pub const MAX_BYTES: usize = 255;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_told_by(text: &str) -> bool {
        let tells = |c: char| c == '.' || c == ':' || c.is_ascii_uppercase();
        text == "localhost" || text.contains(tells)
    }
}

impl FromStr for Registry {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refused = |reason: &str| Err(Invalid::new("registry", format!("{text:?} {reason}")));
        if text.len() > Self::MAX_BYTES {
            let reason = format!(
                "is {} bytes long, more than {}",
                text.len(),
                Self::MAX_BYTES
            );
            return Err(Invalid::new("registry", reason));
        }
        let (host, port) = match text.rfind([':', ']']) {
            Some(at) if text.as_bytes()[at] == b':' => (&text[..at], Some(&text[at + 1..])),
            Some(_) | None => (text, None),
        };
        let is_port = |port: &str| {
            let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            is_number && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        if !port.is_none_or(is_port) {
            return refused("must have a port of 1 to 65535 after its colon");
        }
        if !is_host(host) {
            return refused("must be a host, such as reg.example:5000");
        }
        if !Self::is_told_by(text) {
            return refused(
                "must have a dot or a port: without, it is read as the first part of a path",
            );
        }
        Ok(Self(text.into()))
    }
}

fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[') {
        let address = address.strip_suffix(']');
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    text.split('.').all(|part| {
        let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let is_edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = part.as_bytes();
        is_edge(bytes.first()) && is_edge(bytes.last()) && part.bytes().all(is_inner)
    })
}

// === impl Repository ===

impl Repository {
    pub const MAX_BYTES: usize = 255;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Repository {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        repository_path("repository", text).map(Self)
    }
}

/// A text with the grammar of [`Repository`].
pub(super) fn repository_path(field: &'static str, text: &str) -> Result<Arc<str>, Invalid> {
    match text.len() {
        0 => Err(Invalid::new(field, "must not be empty")),
        1..=Repository::MAX_BYTES if text.split('/').all(is_path_part) => Ok(text.into()),
        1..=Repository::MAX_BYTES => Err(Invalid::new(
            field,
            format!(
                "{text:?} must be lowercase letters and digits, in runs joined by `.`, `_`, `__` or dashes, \
                 in parts joined by `/`"
            ),
        )),
        n => Err(Invalid::new(
            field,
            format!("is {n} bytes long, more than {}", Repository::MAX_BYTES),
        )),
    }
}

fn is_path_part(text: &str) -> bool {
    let is_run = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    // What stands before, between and after its letters and digits.
    let joints: Vec<&str> = text.split(is_run).collect();
    let [before, between @ .., after] = &*joints else {
        return false;
    };
    let joins =
        |joint: &&str| matches!(*joint, "." | "_" | "__") || joint.bytes().all(|b| b == b'-');
    before.is_empty() && after.is_empty() && between.iter().all(joins)
}
