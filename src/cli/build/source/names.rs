//! What the images of a scan are called: which of the names in their files are one another's.

use std::collections::{BTreeMap, BTreeSet};

use super::reference::{Reference, is_docker};
use crate::cli::build::config::Config;
use crate::domain::ImageName;
use crate::domain::build::{Dependency, Label, TargetKey, TargetName, TargetVersion};

/// The names and versions of a scan, and the images that are built elsewhere.
#[derive(Debug)]
pub struct Names<'a> {
    config: &'a Config,
    versions: BTreeMap<TargetName, BTreeSet<TargetVersion>>,
}

/// What a reference in a Dockerfile stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Referred {
    Target(TargetName, Option<TargetVersion>),
    Elsewhere,
    /// An image of the scan's, but a version that is not there.
    OtherVersion,
}

/// The tag that stands for no tag.
const LATEST: &str = "latest";

impl<'a> Names<'a> {
    pub fn new<'k>(config: &'a Config, keys: impl IntoIterator<Item = &'k TargetKey>) -> Self {
        let mut versions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for TargetKey { name, version } in keys {
            versions
                .entry(name.clone())
                .or_default()
                .insert(version.clone());
        }
        Self { config, versions }
    }

    /// The label of the newest version of a name.
    pub fn label(&self, name: &TargetName) -> Option<String> {
        let key = TargetKey {
            name: name.clone(),
            version: self.versions.get(name)?.last()?.clone(),
        };
        let label = Label::new(
            self.config.registry.as_ref(),
            self.config.prefix.as_ref(),
            &key,
        );
        label.ok().map(|label| label.to_string())
    }

    /// A dependency as it was declared, on an image that is built elsewhere where it is so.
    pub fn declared(&self, dependency: Dependency) -> Dependency {
        let Dependency::Target { name, .. } = &dependency else {
            return dependency;
        };
        match base_image(self.config, name) {
            Some(base) if !self.versions.contains_key(name) => Dependency::External(base.clone()),
            Some(_) | None => dependency,
        }
    }

    /// What a reference in the Dockerfile of `own` stands for.
    ///
    /// Without a tag, or as `latest`, the newest version; with another tag that version. An image is not built on
    /// itself: what has its name is another one, built elsewhere.
    pub fn referred(&self, own: &TargetName, reference: &str) -> Referred {
        let reference = Reference::parse(reference);
        let Some((name, versions)) = self.target(&reference) else {
            return Referred::Elsewhere;
        };
        if name == own || reference.has_digest {
            return Referred::Elsewhere;
        }
        let Some(tag) = reference.tag.filter(|&tag| tag != LATEST) else {
            return Referred::Target(name.clone(), None);
        };
        match versions.iter().find(|version| version.as_str() == tag) {
            Some(version) => Referred::Target(name.clone(), Some(version.clone())),
            None => Referred::OtherVersion,
        }
    }

    fn target(&self, reference: &Reference<'_>) -> Option<(&TargetName, &BTreeSet<TargetVersion>)> {
        let registry = self
            .config
            .registry
            .as_ref()
            .map(AsRef::as_ref)
            .filter(|host| !is_docker(host));
        let within = match &self.config.prefix {
            Some(prefix) => reference
                .path
                .strip_prefix(prefix.as_str())
                .and_then(|rest| rest.strip_prefix('/')),
            None => Some(reference.path),
        };
        let by_label = within.filter(|_| reference.registry == registry);
        let by_name = reference.registry.is_none().then_some(reference.path);
        [by_label, by_name].into_iter().flatten().find_map(|name| {
            self.versions
                .get_key_value(&name.parse::<TargetName>().ok()?)
        })
    }
}

/// The image that is built elsewhere and has that name, whatever its registry, prefix and tag.
pub fn base_image<'a>(config: &'a Config, name: &TargetName) -> Option<&'a ImageName> {
    let prefix = config.prefix.as_ref().map_or("", AsRef::as_ref);
    config.base_images.iter().find(|base| {
        let path = Reference::parse(base.as_str()).path;
        let within = path
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('/'));
        path == name.as_str() || within == Some(name.as_str())
    })
}
