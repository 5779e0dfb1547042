//! The worker's settings: `imagestore.toml`, and what holds without one.

mod argv;
mod file;
#[cfg(test)]
mod tests;

pub use self::argv::{Argv, Var, Vars};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cli::build::written::read_text;
use crate::cli::failure::Failure;
use crate::domain::ImageName;
use crate::domain::build::{Location, Mode, Registry, Repository, Ttl, UpdateId};

/// What a worker does with a directory of images.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where images are published. Without it nothing is published, nor asked for.
    pub registry: Option<Registry>,
    /// The path before the name, in the registry.
    pub prefix: Option<Repository>,
    /// References of images that are built elsewhere.
    pub base_images: Vec<ImageName>,
    pub mode: Mode,
    /// How long a claim lasts without being renewed.
    pub ttl: Ttl,
    pub update_id: UpdateId,
    /// What a new changelog entry is for.
    pub distribution: String,
    /// Certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What templates may name.
    pub variables: BTreeMap<String, toml::Value>,
    /// The numbers of users, for templates.
    pub uids: BTreeMap<String, u32>,
    pub build_args: BTreeMap<String, String>,
    pub commands: Commands,
    pub builder: BuilderCommands,
    author: Option<String>,
    location: Option<Location>,
    insecure_registries: BTreeSet<Registry>,
}

/// What is wrong in a text that a person wrote: on which line where that is known, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub line: Option<usize>,
    pub reason: String,
}

/// How the images of targets are built and so on.
#[derive(Clone, Debug)]
pub struct Commands {
    pub build: Argv,
    pub verify: Argv,
    pub push: Argv,
    /// Success and a line: present, the line its digest where it is one. Success without a line: absent. Else unknown.
    pub exists: Argv,
    /// One image a line, as `REPOSITORY:TAG`.
    pub list: Argv,
    pub remove: Argv,
    pub pull: Argv,
}

/// How builder images are.
#[derive(Clone, Debug)]
pub struct BuilderCommands {
    pub build: Argv,
    /// As that of [`Commands`].
    pub exists: Argv,
    pub remove: Argv,
}

/// Where settings are looked for in the directory of the images.
pub const FILE_NAME: &str = "imagestore.toml";
/// What tells machines apart.
const MACHINE_ID: &str = "/etc/machine-id";

impl Config {
    /// The settings in `given`, else in [`FILE_NAME`] of `dir`, else what holds without a file.
    ///
    /// Fails for a file that cannot be read, and names the line of what is wrong in it.
    pub fn find(given: Option<&Path>, dir: &Path) -> Result<Self, Failure> {
        if let Some(path) = given {
            return Self::read(path);
        }
        let path = dir.join(FILE_NAME);
        match path.try_exists() {
            Ok(false) => Ok(Self::default()),
            Ok(true) | Err(_) => Self::read(&path),
        }
    }

    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = read_text(path).map_err(Failure::new)?;
        let mut config = Self::parse(&text).map_err(|why| Failure::new(why.in_file(path)))?;
        if let (Some(file), Some(dir)) = (&mut config.ca_file, path.parent()) {
            *file = dir.join(&*file);
        }
        Ok(config)
    }

    /// Which daemon builds here: what the file says, else this machine.
    pub fn location(&self) -> Result<Location, Failure> {
        match &self.location {
            Some(location) => Ok(location.clone()),
            None => machine(Path::new(MACHINE_ID)),
        }
    }

    /// Whether a registry is asked without TLS: those that the file names, and those of this machine.
    #[cfg_attr(not(feature = "registry"), allow(dead_code))]
    pub fn is_insecure(&self, registry: &Registry) -> bool {
        self.insecure_registries.contains(registry) || is_loopback(registry.as_str())
    }

    /// Who writes changelogs: `Name <mail>`, from DEBFULLNAME and DEBEMAIL, else from the file.
    pub fn author(&self, env: impl Fn(&str) -> Option<String>) -> Result<String, Failure> {
        let given = |name| env(name).filter(|text| !text.trim().is_empty());
        let author = match (given("DEBFULLNAME"), given("DEBEMAIL")) {
            (_, Some(mail)) if mail.contains('<') => Some(mail),
            (Some(name), Some(mail)) => Some(format!("{name} <{mail}>")),
            (Some(_) | None, None) | (None, Some(_)) => self.author.clone(),
        };
        author.ok_or_else(|| {
            Failure::new("nobody said who writes the changelogs").next(format!(
                "Set DEBFULLNAME and DEBEMAIL, or author = \"Name <mail>\" in {FILE_NAME}"
            ))
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::parse("").expect("an empty file has nothing wrong in it")
    }
}

// === impl Wrong ===

impl Wrong {
    pub fn at(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            reason: reason.into(),
        }
    }

    /// `PATH:LINE: REASON`.
    pub fn in_file(&self, path: &Path) -> String {
        let path = path.display();
        match self.line {
            Some(line) => format!("{path}:{line}: {}", self.reason),
            None => format!("{path}: {}", self.reason),
        }
    }
}

/// Of a whole text.
impl From<String> for Wrong {
    fn from(reason: String) -> Self {
        Self { line: None, reason }
    }
}

/// This machine, by what stands in its machine-id.
fn machine(path: &Path) -> Result<Location, Failure> {
    let id = std::fs::read_to_string(path).unwrap_or_default();
    match id.trim() {
        "" => Err(Failure::new(format!(
            "{} does not tell this machine from others",
            path.display()
        ))
        .next(format!(
            "Set location in {FILE_NAME}: one text for each daemon"
        ))),
        id => format!("host/{id}")
            .parse()
            .map_err(|why| Failure::new(format!("{}: {why}", path.display()))),
    }
}

/// Whether a registry is on this machine, whatever its port.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rfind([':', ']']) {
        Some(at) if registry.as_bytes()[at] == b':' => &registry[..at],
        Some(_) | None => registry,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_local = |ip: std::net::IpAddr| ip.is_loopback();
    host == "localhost" || host.parse().is_ok_and(is_local)
}
