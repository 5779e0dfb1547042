//! The images of a directory: what they are called, what they are built on, and the Dockerfile of each.

mod changelog;
mod control;
mod dockerfile;
mod filters;
mod found;
mod names;
mod reference;
mod renderer;
mod scan;
mod template;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use self::renderer::{Renderer, serve};
pub use self::scan::scan;
pub use self::template::Engine;
pub use self::write::{Update, write_changelogs};

use self::names::base_image;
use super::config::Config;
use super::written::{read_file, read_text};
use crate::cli::failure::Failure;
use crate::domain::build::{Dependency, Label, TargetKey, TargetName};

/// What there is to build below a directory.
#[derive(Debug)]
pub struct Scanned {
    /// By name and version; no two are the same.
    pub images: Vec<SourceImage>,
    /// What was passed over or cannot be followed, and why: a line each.
    pub warnings: Vec<String>,
}

/// An image that is built from a directory.
#[derive(Clone, Debug)]
pub struct SourceImage {
    pub key: TargetKey,
    pub label: Label,
    pub dir: PathBuf,
    pub form: Form,
    pub dependencies: BTreeSet<Dependency>,
    /// The Dockerfile, or its template.
    file: PathBuf,
    version_in: VersionIn,
    /// The targets that references in a Dockerfile stand for.
    references: BTreeMap<String, TargetName>,
}

/// How a directory says what is built from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// docker-pkg's: `Dockerfile.template`, `changelog` and perhaps `control`.
    Template,
    /// A `Dockerfile` or a `Containerfile`, and a version.
    Dockerfile,
}

/// Where an image says its version.
#[derive(Clone, Debug)]
enum VersionIn {
    Changelog(PathBuf),
    File(PathBuf),
    /// In the Dockerfile itself.
    Label,
}

/// What a build command is given.
#[derive(Debug)]
pub struct Rendered {
    /// The text of the Dockerfile. It belongs into a file outside of the context: the command that builds
    /// reads `.dockerignore` there itself.
    pub dockerfile: String,
    /// The directory to build.
    pub context: PathBuf,
}

impl SourceImage {
    /// The file that says what it is built on.
    pub fn dependencies_in(&self) -> PathBuf {
        let control = self.dir.join("control");
        match self.form {
            Form::Template if control.exists() => control,
            Form::Template | Form::Dockerfile => self.file.clone(),
        }
    }

    /// The text of the Dockerfile, where each target that it is built on is named by its label. `labels` gives the
    /// label of the version that the graph resolved a name to; `engine` renders templates.
    ///
    /// Fails for a file that cannot be read, a template that cannot be rendered, and a target without a label.
    pub fn render(
        &self,
        config: &Config,
        labels: &dyn Fn(&TargetName) -> Option<String>,
        engine: Engine<'_>,
    ) -> Result<Rendered, Failure> {
        let dockerfile = match self.form {
            Form::Template => {
                let label = |name: &TargetName| self.label_of(config, name, labels);
                template::render(&self.dir, config, &label, engine).map(|rendering| rendering.text)
            }
            Form::Dockerfile => self.replaced(config, labels),
        };
        let dockerfile = dockerfile.map_err(Failure::new)?;
        Ok(Rendered {
            dockerfile,
            context: self.dir.clone(),
        })
    }

    /// The Dockerfile with the labels of targets in place of what stands for them.
    fn replaced(
        &self,
        config: &Config,
        labels: &dyn Fn(&TargetName) -> Option<String>,
    ) -> Result<String, String> {
        let mut text = read_text(&self.file)?;
        let read = dockerfile::read(&text, &config.build_args);
        let read = read.map_err(|why| why.in_file(&self.file))?;
        for used in read.images.into_iter().rev() {
            let Some(name) = self.references.get(&used.reference) else {
                continue;
            };
            let label = self.label_of(config, name, labels)?;
            text.replace_range(used.at, &label);
        }
        Ok(text)
    }

    /// The label of a target that the image is built on, or of the image in its place that is built elsewhere.
    fn label_of(
        &self,
        config: &Config,
        name: &TargetName,
        labels: &dyn Fn(&TargetName) -> Option<String>,
    ) -> Result<String, String> {
        let is_on = self
            .dependencies
            .iter()
            .any(|dependency| dependency.is_on(name));
        match base_image(config, name) {
            Some(base) if !is_on => Ok(base.as_str().to_owned()),
            Some(_) | None => labels(name).ok_or_else(|| {
                format!(
                    "{} is built on {name}, and nobody knows its label",
                    self.key
                )
            }),
        }
    }
}
