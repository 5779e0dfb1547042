//! Where the documents of images come from: a folder that is an OCI layout, or an archive.
//!
//! Both may come from anybody. Nothing outside of them is read, and nothing without a bound.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::archive::Archive;
use super::document::Descriptor;
use crate::cli::failure::system_reason;
use crate::domain::{Digest, ImageConfig};

/// The documents of images, by their paths and by their digests.
pub enum Blobs {
    /// A folder, by its real path.
    Folder(PathBuf),
    Archive(Archive),
}

/// Why a document cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it is not there")]
    Missing,
    #[error("its path leads out of the {0}")]
    Outside(&'static str),
    #[error("it is no file")]
    NoFile,
    #[error("it has {size} bytes, and at most {most} are read")]
    TooLarge { size: u64, most: u64 },
    #[error("it has {size} bytes, and should have {said}")]
    OtherSize { size: u64, said: u64 },
    #[error("its content has the digest {is}")]
    OtherDigest { is: Box<Digest> },
    #[error("it cannot be read: {0}")]
    Io(String),
    #[error("it is no JSON document")]
    NoJson,
    /// What is wrong with it, in words.
    #[error("{0}")]
    Senseless(String),
}

/// What an index or a manifest may have; containerd reads 8 MiB, registries take 4.
pub const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
/// What a config may have, as in the API.
pub const MAX_CONFIG_BYTES: u64 = ImageConfig::MAX_BYTES as u64;

impl Blobs {
    pub fn in_folder(path: &Path) -> io::Result<Self> {
        path.canonicalize().map(Self::Folder)
    }

    /// The content that a descriptor points to, which has its digest and its size.
    pub fn blob(&self, descriptor: &Descriptor, most: u64) -> Result<Vec<u8>, Unreadable> {
        let digest = descriptor.digest().map_err(Unreadable::Senseless)?;
        let said = descriptor.size().map_err(Unreadable::Senseless)?;
        let path = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
        let content = self.file(&path, most)?;
        let size = content.len() as u64;
        if size != said {
            return Err(Unreadable::OtherSize { size, said });
        }
        check(&digest, &content)?;
        Ok(content)
    }

    /// The content of a file, by its path from the root.
    pub fn file(&self, path: &str, most: u64) -> Result<Vec<u8>, Unreadable> {
        match self {
            Self::Folder(root) => read(root, path, most),
            Self::Archive(archive) => {
                let content = archive.document(path)?;
                let size = content.len() as u64;
                match size <= most {
                    true => Ok(content.to_vec()),
                    false => Err(Unreadable::TooLarge { size, most }),
                }
            }
        }
    }
}

/// Refuses content that has another digest.
pub fn check(digest: &Digest, content: &[u8]) -> Result<(), Unreadable> {
    let is = Digest::of(digest.algorithm(), content);
    match is == *digest {
        true => Ok(()),
        false => Err(Unreadable::OtherDigest { is: Box::new(is) }),
    }
}

fn read(root: &Path, path: &str, most: u64) -> Result<Vec<u8>, Unreadable> {
    let unreadable = |why: io::Error| match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unreadable::Missing,
        _ => Unreadable::Io(system_reason(&why)),
    };
    // Links count within the folder only.
    let path = root.join(path).canonicalize().map_err(unreadable)?;
    if !path.starts_with(root) {
        return Err(Unreadable::Outside("folder"));
    }
    // Without these flags a pipe would be waited for, and a link followed that was put there meanwhile.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).expect("flags of open(2) are those of an int");
    let mut open = OpenOptions::new();
    let file = open.read(true).custom_flags(flags).open(&path);
    let file = file.map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(Unreadable::NoFile);
    }
    if about.len() > most {
        let size = about.len();
        return Err(Unreadable::TooLarge { size, most });
    }
    let mut content = Vec::new();
    let size = file
        .take(most + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)? as u64;
    match size <= most {
        true => Ok(content),
        false => Err(Unreadable::TooLarge { size, most }),
    }
}
