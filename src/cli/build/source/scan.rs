//! Reading the images of a directory, and what they are built on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::dockerfile::{self, Dockerfile, Used};
use super::found::{self, CHANGELOG, CONTAINERFILE, CONTROL, DOCKERFILE, Found, TEMPLATE, VERSION};
use super::names::{Names, Referred, base_image};
use super::{
    Engine, Form, Scanned, SourceImage, VersionIn, changelog, control, read_file, read_text,
    template,
};
use crate::cli::build::config::Config;
use crate::cli::failure::Failure;
use crate::domain::build::{Dependency, Label, Relation, TargetKey, TargetName, TargetVersion};

/// An image as its own files say, before it is known what the others are called.
struct Alone {
    image: SourceImage,
    says: Says,
}

enum Says {
    /// What is declared in the control file.
    Template(BTreeSet<Dependency>),
    Dockerfile(Dockerfile),
}

/// How many directories with something wrong are told of.
const MAX_TOLD: usize = 10;

/// Reads the images of a directory and of all below it. Links to directories are not followed.
///
/// Fails, and names the files and lines, where what an image is called or built on cannot be told, and where two are
/// called the same. A dependency that is no image here is left to the service, which may know it. `engine` renders
/// templates.
pub fn scan(dir: &Path, config: &Config, engine: Engine<'_>) -> Result<Scanned, Failure> {
    let mut warnings = Vec::new();
    let mut wrong = Vec::new();
    let mut read = Vec::new();
    for found in found::find(dir).map_err(Failure::new)? {
        match alone(&found, dir, config, &mut warnings) {
            Ok(alone) => read.extend(alone),
            Err(why) => wrong.push(why),
        }
    }
    refuse(wrong)?;
    read.sort_by(|a, b| a.image.key.cmp(&b.image.key));
    let same = read
        .windows(2)
        .filter(|two| two[0].image.key == two[1].image.key);
    refuse(same.map(|two| {
        let [a, b] = [&two[0].image, &two[1].image].map(|image| image.dir.display());
        format!("{a} and {b} are both {}", two[0].image.key)
    }))?;

    let keys: Vec<TargetKey> = read.iter().map(|alone| alone.image.key.clone()).collect();
    let names = Names::new(config, &keys);
    let mut wrong = Vec::new();
    let mut images = Vec::with_capacity(read.len());
    for Alone { mut image, says } in read {
        let linked = match says {
            Says::Template(declared) => {
                image.link_template(declared, &names, config, engine, &mut warnings)
            }
            Says::Dockerfile(file) => image.link_dockerfile(file, &names, &mut warnings),
        };
        match linked {
            Ok(()) => images.push(image),
            Err(why) => wrong.push(why),
        }
    }
    refuse(wrong)?;
    Ok(Scanned { images, warnings })
}

/// Fails with all that is wrong, where anything is.
fn refuse(wrong: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let mut wrong: Vec<String> = wrong.into_iter().collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let more = wrong.len().saturating_sub(MAX_TOLD);
    wrong.truncate(MAX_TOLD);
    let mut text = wrong.join("; ");
    if more > 0 {
        text = format!("{text}; and {more} more");
    }
    Err(Failure::new(text))
}

/// Reads one directory; none where it is no image.
fn alone(
    found: &Found,
    root: &Path,
    config: &Config,
    warnings: &mut Vec<String>,
) -> Result<Option<Alone>, String> {
    let shown = found.dir.display();
    let lacks = match (found.has_template, found.has_changelog) {
        (true, true) => {
            if let Some(name) = found.dockerfile {
                warnings.push(format!(
                    "{shown}: {name} is passed over, since there is {TEMPLATE}"
                ));
            }
            return of_template(found, config).map(Some);
        }
        (true, false) => Some((TEMPLATE, CHANGELOG)),
        (false, true) => Some((CHANGELOG, TEMPLATE)),
        (false, false) => None,
    };
    if let Some((has, lacks)) = lacks {
        warnings.push(format!(
            "{shown}: {has} is passed over, since there is no {lacks}"
        ));
    }
    let Some(name) = found.dockerfile else {
        return Ok(None);
    };
    if found.has_containerfile_as_well {
        warnings.push(format!(
            "{shown}: {CONTAINERFILE} is passed over, since there is {DOCKERFILE}"
        ));
    }
    of_dockerfile(found, name, root, config).map(Some)
}

fn of_template(found: &Found, config: &Config) -> Result<Alone, String> {
    let changelog = found.dir.join(CHANGELOG);
    let key = changelog::newest(&read_file(&changelog)?).map_err(|why| why.in_file(&changelog))?;
    let declared = match found.has_control {
        true => {
            let path = found.dir.join(CONTROL);
            control::dependencies(&read_text(&path)?).map_err(|why| why.in_file(&path))?
        }
        false => BTreeSet::new(),
    };
    let file = found.dir.join(TEMPLATE);
    let image = image(
        found,
        key,
        Form::Template,
        &file,
        VersionIn::Changelog(changelog),
        config,
    )?;
    let says = Says::Template(declared);
    Ok(Alone { image, says })
}

fn of_dockerfile(found: &Found, name: &str, root: &Path, config: &Config) -> Result<Alone, String> {
    let file = found.dir.join(name);
    let read = dockerfile::read(&read_text(&file)?, &config.build_args);
    let read = read.map_err(|why| why.in_file(&file))?;
    let (version, version_in) = version(found, &file, &read)?;
    let key = TargetKey {
        name: name_of(found, root)?,
        version,
    };
    let image = image(found, key, Form::Dockerfile, &file, version_in, config)?;
    let says = Says::Dockerfile(read);
    Ok(Alone { image, says })
}

fn image(
    found: &Found,
    key: TargetKey,
    form: Form,
    file: &Path,
    version_in: VersionIn,
    config: &Config,
) -> Result<SourceImage, String> {
    let label = Label::new(config.registry.as_ref(), config.prefix.as_ref(), &key)
        .map_err(|why| format!("{}: {why}", found.dir.display()))?;
    Ok(SourceImage {
        key,
        label,
        dir: found.dir.clone(),
        form,
        dependencies: BTreeSet::new(),
        file: file.to_owned(),
        version_in,
        references: BTreeMap::new(),
    })
}

/// The path of a directory from where the scan began, as a name; that of the first directory is its own.
fn name_of(found: &Found, root: &Path) -> Result<TargetName, String> {
    let path = match found.relative.as_os_str().is_empty() {
        true => root
            .canonicalize()
            .ok()
            .and_then(|root| root.file_name().map(Into::into)),
        false => Some(found.relative.clone()),
    };
    let path = path.unwrap_or_default();
    path.to_string_lossy()
        .parse()
        .map_err(|why| format!("{}: its path is its name, but {why}", found.dir.display()))
}

/// The version of a plain Dockerfile: that of the file beside it, or of its label.
fn version(
    found: &Found,
    file: &Path,
    read: &Dockerfile,
) -> Result<(TargetVersion, VersionIn), String> {
    let beside = match found.has_version {
        true => Some(version_file(&found.dir.join(VERSION))?),
        false => None,
    };
    let said = match &read.version {
        Some(said) => {
            let version = said.text.parse().map_err(|why| {
                format!(
                    "{}:{}: org.opencontainers.image.version: {why}",
                    file.display(),
                    said.line
                )
            })?;
            Some(version)
        }
        None => None,
    };
    match (beside, said) {
        (Some(_), Some(_)) => Err(format!(
            "{}: the version stands in the file {VERSION} and in the Dockerfile; say it once",
            found.dir.display()
        )),
        (Some(version), None) => Ok((version, VersionIn::File(found.dir.join(VERSION)))),
        (None, Some(version)) => Ok((version, VersionIn::Label)),
        (None, None) => Err(format!(
            "{} has no version: write it to a file called {VERSION} beside it, or say LABEL \
             org.opencontainers.image.version=\"1.0\" in it",
            file.display()
        )),
    }
}

/// The version in a file that has nothing else in it.
pub(super) fn version_file(path: &Path) -> Result<TargetVersion, String> {
    let text = read_text(path)?;
    text.trim()
        .parse()
        .map_err(|why| format!("{}: {why}", path.display()))
}

impl SourceImage {
    /// Takes what the control file and the template name for what it is built on.
    fn link_template(
        &mut self,
        declared: BTreeSet<Dependency>,
        names: &Names<'_>,
        config: &Config,
        engine: Engine<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), String> {
        self.dependencies = declared
            .into_iter()
            .map(|one| names.declared(one))
            .collect();
        let label = |name: &TargetName| {
            let elsewhere = || base_image(config, name).map(ToString::to_string);
            // Of an image that is not here only the name is told yet.
            Ok(names
                .label(name)
                .or_else(elsewhere)
                .unwrap_or_else(|| format!("{name}:0")))
        };
        let rendering = template::render(&self.dir, config, &label, engine)?;
        for name in rendering.names {
            if !self.dependencies.iter().any(|one| one.is_on(&name)) {
                self.dependencies
                    .insert(names.declared(Dependency::on(name)));
            }
        }
        let at = self.file.display();
        warnings.extend(
            rendering
                .warnings
                .into_iter()
                .map(|why| format!("{at}: {why}")),
        );
        Ok(())
    }

    /// Takes what the Dockerfile names for what it is built on.
    fn link_dockerfile(
        &mut self,
        read: Dockerfile,
        names: &Names<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), String> {
        let at = self.file.display().to_string();
        warnings.extend(
            read.warnings
                .iter()
                .map(|(line, why)| format!("{at}:{line}: {why}")),
        );
        let mut exact: BTreeMap<TargetName, TargetVersion> = BTreeMap::new();
        for Used {
            line, reference, ..
        } in read.images
        {
            let external = match names.referred(&self.key.name, &reference) {
                Referred::Elsewhere => true,
                Referred::OtherVersion => {
                    warnings.push(format!(
                        "{at}:{line}: {reference} is no version that is here, and is taken from where it is"
                    ));
                    true
                }
                Referred::Target(name, version) => {
                    if let Some(version) = &version {
                        let other = exact.insert(name.clone(), version.clone());
                        if let Some(other) = other.filter(|other| other != version) {
                            return Err(format!(
                                "{at}:{line}: is built on {name} {version}, and on {other} above; only one of them \
                                 can be followed"
                            ));
                        }
                    }
                    self.dependencies.insert(Dependency::Target {
                        name: name.clone(),
                        version: version.map(|version| (Relation::Exactly, version)),
                    });
                    self.references.insert(reference.clone(), name);
                    false
                }
            };
            if external {
                let name = reference
                    .parse()
                    .map_err(|why| format!("{at}:{line}: {why}"))?;
                self.dependencies.insert(Dependency::External(name));
            }
        }
        Ok(())
    }
}
