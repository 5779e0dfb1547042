//! A folder for the files of one command.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::again::request_id;
use super::written::read_text;
use crate::cli::failure::system_reason;

/// A folder that nobody else reads, and that goes away.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Made where the system keeps such things. The reason continues a sentence.
    pub fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("imagestore-{}", request_id()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|why| format!("cannot make {}: {}", path.display(), system_reason(&why)))?;
        Ok(Self(path))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    pub fn write(&self, name: &str, content: &str) -> Result<(), String> {
        let path = self.path(name);
        let written = std::fs::write(&path, content);
        written.map_err(|why| format!("cannot write {}: {}", path.display(), system_reason(&why)))
    }

    /// The first word of a file that a command may have written.
    pub fn word<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        let text = read_text(&self.path(name)).ok()?;
        text.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A path as the commands get it: whole, so that it means the same wherever they run.
pub fn whole(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .to_string_lossy()
        .into_owned()
}
