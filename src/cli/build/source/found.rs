//! The directories that may be images.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::failure::system_reason;

/// A directory with at least one file that an image has.
#[derive(Debug)]
pub struct Found {
    pub dir: PathBuf,
    /// The path from where the search began, in parts; none for that directory itself.
    pub relative: PathBuf,
    pub has_template: bool,
    pub has_changelog: bool,
    pub has_control: bool,
    pub has_version: bool,
    /// `Dockerfile`, and else `Containerfile`.
    pub dockerfile: Option<&'static str>,
    pub has_containerfile_as_well: bool,
}

pub const TEMPLATE: &str = "Dockerfile.template";
pub const CHANGELOG: &str = "changelog";
pub const CONTROL: &str = "control";
pub const DOCKERFILE: &str = "Dockerfile";
pub const CONTAINERFILE: &str = "Containerfile";
pub const VERSION: &str = "version";
/// Where nobody's images are.
const PASSED_OVER: &str = ".git";

/// The directories below `root`, and itself, by path. Links to directories are not followed.
///
/// Fails for a directory that cannot be read: its images would count as removed.
pub fn find(root: &Path) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        // Joined with nothing, a path gets a slash at its end.
        let dir = match relative.as_os_str().is_empty() {
            true => root.to_owned(),
            false => root.join(&relative),
        };
        let wrong = |why| format!("cannot read {}: {}", dir.display(), system_reason(&why));
        let mut files = Vec::new();
        for entry in fs::read_dir(&dir).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name();
            match entry.file_type().map_err(wrong)? {
                kind if kind.is_dir() && name != PASSED_OVER => open.push(relative.join(name)),
                kind if kind.is_dir() => {}
                // What a link leads to decides.
                _ => files.extend(name.into_string()),
            }
        }
        let has = |name: &str| files.iter().any(|file| file == name) && dir.join(name).is_file();
        let (has_dockerfile, has_containerfile) = (has(DOCKERFILE), has(CONTAINERFILE));
        let directory = Found {
            has_template: has(TEMPLATE),
            has_changelog: has(CHANGELOG),
            has_control: has(CONTROL),
            has_version: has(VERSION),
            dockerfile: match (has_dockerfile, has_containerfile) {
                (true, _) => Some(DOCKERFILE),
                (false, true) => Some(CONTAINERFILE),
                (false, false) => None,
            },
            has_containerfile_as_well: has_dockerfile && has_containerfile,
            dir,
            relative,
        };
        if directory.has_template || directory.has_changelog || directory.dockerfile.is_some() {
            found.push(directory);
        }
    }
    found.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok(found)
}
