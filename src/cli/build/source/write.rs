//! Writing new versions where the images say their own: all of them, or none.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::changelog::{self, Entry};
use super::{SourceImage, VersionIn, dockerfile, read_file, read_text, scan};
use crate::cli::build::config::Config;
use crate::cli::failure::{Failure, system_reason};
use crate::domain::Timestamp;
use crate::domain::build::TargetVersion;

/// A new version of an image.
#[derive(Debug)]
pub struct Update<'a> {
    pub image: &'a SourceImage,
    pub version: TargetVersion,
    /// Why, in one or more lines. A plain Dockerfile has no place for it.
    pub reason: String,
}

/// Writes the new versions where each image says its own. `author` is `Name <mail>`.
///
/// Fails with all files as they were where an image does not say its version any more, where two have it in the
/// same file, and where a file cannot be written. Files keep their permissions; links stay links.
pub fn write_changelogs(
    updates: &[Update<'_>],
    config: &Config,
    author: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let write = || {
        let mut seen = BTreeSet::new();
        let mut changes = Vec::with_capacity(updates.len());
        for update in updates {
            let change = update.change(config, author, now)?;
            if !seen.insert(change.path.clone()) {
                return Err(format!(
                    "{} is the file of two images",
                    change.path.display()
                ));
            }
            changes.push(change);
        }
        let staged: Vec<Staged> = changes
            .iter()
            .map(Change::stage)
            .collect::<Result<_, _>>()?;
        commit(&changes, staged)
    };
    write().map_err(Failure::new)
}

/// What becomes of a file.
pub(super) struct Change {
    /// Where it is, behind all links.
    pub path: PathBuf,
    pub old: Vec<u8>,
    pub new: Vec<u8>,
}

/// A file beside the one that it is to take the place of. Removed when dropped before that.
pub(super) struct Staged(PathBuf);

impl Update<'_> {
    fn change(&self, config: &Config, author: &str, now: Timestamp) -> Result<Change, String> {
        let SourceImage { key, file, .. } = self.image;
        let moved = |path: &Path, found: &dyn std::fmt::Display| {
            format!(
                "{} says {found} by now, not {}; scan again",
                path.display(),
                key.version
            )
        };
        let (path, old, new) = match &self.image.version_in {
            VersionIn::Changelog(path) => {
                let old = read_file(path)?;
                let found = changelog::newest(&old).map_err(|why| why.in_file(path))?;
                if found != *key {
                    return Err(moved(path, &found));
                }
                let entry = Entry {
                    old: key,
                    version: &self.version,
                    distribution: &config.distribution,
                    reason: &self.reason,
                    author,
                    now,
                };
                let new = entry.above(&old);
                (path, old, new)
            }
            VersionIn::File(path) => {
                let found = scan::version_file(path)?;
                if found != key.version {
                    return Err(moved(path, &found));
                }
                (
                    path,
                    read_file(path)?,
                    format!("{}\n", self.version).into_bytes(),
                )
            }
            VersionIn::Label => {
                let text = read_text(file)?;
                let read =
                    dockerfile::read(&text, &config.build_args).map_err(|why| why.in_file(file))?;
                let said = read
                    .version
                    .filter(|said| said.text == key.version.as_str());
                let Some(said) = said else {
                    return Err(moved(file, &"another version"));
                };
                let mut new = text.clone();
                new.replace_range(said.at, self.version.as_str());
                (file, text.into_bytes(), new.into_bytes())
            }
        };
        let path = path
            .canonicalize()
            .map_err(|why| cannot_write(path, &why))?;
        Ok(Change { path, old, new })
    }
}

fn cannot_write(path: &Path, why: &io::Error) -> String {
    format!("cannot write {}: {}", path.display(), system_reason(why))
}

impl Change {
    pub fn stage(&self) -> Result<Staged, String> {
        Staged::write(&self.path, &self.new).map_err(|why| cannot_write(&self.path, &why))
    }
}

/// Puts all files in their places, and that to disk. What was put before one that fails gets its old bytes back.
///
/// A loss of power may leave some new and some old, but each of them whole: what is put was synced before.
pub(super) fn commit(changes: &[Change], staged: Vec<Staged>) -> Result<(), String> {
    let mut put = 0;
    let put_all = || {
        for (change, staged) in changes.iter().zip(staged) {
            let moved = staged.put(&change.path);
            moved.map_err(|why| cannot_write(&change.path, &why))?;
            put += 1;
        }
        let dirs: BTreeSet<&Path> = changes.iter().filter_map(|it| it.path.parent()).collect();
        dirs.into_iter().try_for_each(|dir| {
            match File::open(dir).and_then(|dir| dir.sync_all()) {
                // Some file systems sync no folders.
                Err(why) if why.kind() == io::ErrorKind::InvalidInput => Ok(()),
                synced => synced.map_err(|why| cannot_write(dir, &why)),
            }
        })
    };
    let Err(mut told) = put_all() else {
        return Ok(());
    };
    for done in &changes[..put] {
        let restored =
            Staged::write(&done.path, &done.old).and_then(|staged| staged.put(&done.path));
        if let Err(why) = restored {
            told = format!(
                "{told}; {} has a new version, and {why}",
                done.path.display()
            );
        }
    }
    Err(told)
}

impl Staged {
    fn write(path: &Path, content: &[u8]) -> io::Result<Self> {
        let (staged, mut file) = Self::create_beside(path)?;
        file.write_all(content)?;
        let old = fs::metadata(path)?;
        // Only root can give files away; for others it is their own already, or will be.
        let _ = chown(&staged.0, Some(old.uid()), Some(old.gid()));
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
        file.sync_all()?;
        Ok(staged)
    }

    /// A new file, by a name that no other has: not that of one that was left behind either.
    fn create_beside(path: &Path) -> io::Result<(Self, File)> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut n = 0;
        loop {
            let beside =
                path.with_file_name(format!(".{name}.imagestore-{}-{n}", std::process::id()));
            match File::create_new(&beside) {
                Ok(file) => return Ok((Self(beside), file)),
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => n += 1,
                Err(why) => return Err(why),
            }
        }
    }

    fn put(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)?;
        self.0 = PathBuf::new();
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Nobody is called nothing.
        let _ = fs::remove_file(&self.0);
    }
}
