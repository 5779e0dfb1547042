//! The documents in a tar archive, which is read once from its beginning to its end, plain or gzip.
//!
//! An archive of images is mostly layers. What is kept of it is what looks like JSON, within bounds; layers
//! are passed over, without reading them where the file can be sought in.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use tar::{Entries, EntryType};

use super::blobs::{MAX_DOCUMENT_BYTES, Unreadable};

/// What an archive has, by path.
pub struct Archive {
    entries: HashMap<String, Entry>,
}

enum Entry {
    Document(Vec<u8>),
    /// Another path of the archive; `None` for one that leads out of it.
    Link(Option<String>),
    TooLarge(u64),
    /// A layer, or a folder.
    Other,
}

/// A reader that gives no more than was allowed.
struct Allowed<R> {
    inner: R,
    bytes: Rc<Cell<u64>>,
}

/// Bytes of all documents and names together.
const MAX_BYTES: usize = 128 << 20;
/// What the headers of one entry may have, with long names in them.
const MAX_HEADER_BYTES: u64 = 1 << 20;
/// Links that lead to links.
const MAX_LINKS: usize = 8;
/// What a gzip file begins with, and no archive's first name does.
const GZIP_MAGIC: u8 = 0x1f;

impl Archive {
    /// Reads a file, which is passed over by seeking where it is not packed.
    pub fn in_file(mut file: File) -> io::Result<Self> {
        let mut first = [0];
        let is_packed = file.read(&mut first)? == 1 && first == [GZIP_MAGIC];
        let can_seek = file.seek(SeekFrom::Start(0)).is_ok();
        match is_packed || !can_seek {
            true => Self::in_stream(file),
            false => {
                let (file, allowance) = Allowed::new(file);
                let mut archive = tar::Archive::new(file);
                Self::read(archive.entries_with_seek()?, &allowance, |_| 0)
            }
        }
    }

    /// Reads what cannot be sought in.
    pub fn in_stream(stream: impl Read) -> io::Result<Self> {
        let mut stream = BufReader::new(stream);
        let unpacked: Box<dyn Read + '_> = match stream.fill_buf()?.first() {
            Some(&GZIP_MAGIC) => Box::new(MultiGzDecoder::new(stream)),
            _ => Box::new(stream),
        };
        let (stream, allowance) = Allowed::new(unpacked);
        let mut archive = tar::Archive::new(stream);
        // What is left of an entry is read to come to the next.
        Self::read(archive.entries()?, &allowance, |size| size)
    }

    fn read<R: Read>(
        mut entries: Entries<'_, R>,
        allowance: &Cell<u64>,
        to_pass: impl Fn(u64) -> u64,
    ) -> io::Result<Self> {
        let mut found = HashMap::new();
        let mut room = MAX_BYTES;
        let mut last_size = 0;
        loop {
            allowance.set(to_pass(last_size).saturating_add(MAX_HEADER_BYTES));
            let Some(entry) = entries.next() else {
                return Ok(Self { entries: found });
            };
            let mut entry = entry?;
            let kind = entry.header().entry_type();
            if kind == EntryType::GNUSparse {
                return Err(io::Error::other("it has a sparse entry"));
            }
            last_size = entry.size();
            let Some(path) = inside(Path::new(""), &entry.path()?) else {
                // Nothing inside asks for it.
                continue;
            };
            allowance.set(MAX_DOCUMENT_BYTES + 1);
            let what = match kind {
                EntryType::Regular | EntryType::Continuous => document(&mut entry, last_size)?,
                EntryType::Symlink | EntryType::Link => {
                    let folder = match kind {
                        EntryType::Symlink => Path::new(&path).parent(),
                        _ => None,
                    };
                    let target = entry.link_name()?.unwrap_or_default();
                    Entry::Link(inside(folder.unwrap_or(Path::new("")), &target))
                }
                _ => Entry::Other,
            };
            let bytes = path.len() + what.bytes() + size_of::<(String, Entry)>();
            room = room.checked_sub(bytes).ok_or_else(|| {
                io::Error::other(format!(
                    "its documents and names have more than {MAX_BYTES} bytes"
                ))
            })?;
            found.insert(path, what);
        }
    }

    pub fn document(&self, path: &str) -> Result<&[u8], Unreadable> {
        let outside = Unreadable::Outside("archive");
        let mut path = inside(Path::new(""), Path::new(path)).ok_or(outside.clone())?;
        for _ in 0..=MAX_LINKS {
            match self.entries.get(&path).ok_or(Unreadable::Missing)? {
                Entry::Document(content) => return Ok(content),
                Entry::Link(target) => path = target.clone().ok_or(outside.clone())?,
                Entry::TooLarge(size) => {
                    let (size, most) = (*size, MAX_DOCUMENT_BYTES);
                    return Err(Unreadable::TooLarge { size, most });
                }
                Entry::Other => return Err(Unreadable::NoJson),
            }
        }
        Err(Unreadable::Senseless(
            "its links lead in a circle".to_owned(),
        ))
    }

    pub fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }
}

/// Reads an entry that looks like JSON, which no layer does.
fn document(entry: &mut impl Read, size: u64) -> io::Result<Entry> {
    let mut content = Vec::new();
    let mut start = [0; 64];
    let is_json = loop {
        let read = entry.read(&mut start)?;
        content.extend_from_slice(&start[..read]);
        match content.trim_ascii_start().first() {
            Some(first) => break matches!(first, b'{' | b'['),
            None if read == 0 || content.len() > start.len() => break false,
            None => (),
        }
    };
    if !is_json {
        return Ok(Entry::Other);
    }
    let left = MAX_DOCUMENT_BYTES + 1 - content.len() as u64;
    entry.take(left).read_to_end(&mut content)?;
    match content.len() as u64 > MAX_DOCUMENT_BYTES {
        true => Ok(Entry::TooLarge(size)),
        false => Ok(Entry::Document(content)),
    }
}

/// A path of the archive, written in one way; `None` for one that leads out of it.
fn inside(folder: &Path, path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in folder.components().chain(path.components()) {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => (),
            Component::ParentDir => drop(parts.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Document(content) => content.len(),
            Self::Link(target) => target.as_ref().map_or(0, String::len),
            Self::TooLarge(_) | Self::Other => 0,
        }
    }
}

// === impl Allowed ===

impl<R> Allowed<R> {
    fn new(inner: R) -> (Self, Rc<Cell<u64>>) {
        let bytes = Rc::new(Cell::new(MAX_HEADER_BYTES));
        let allowance = Rc::clone(&bytes);
        (Self { inner, bytes }, allowance)
    }
}

impl<R: Read> Read for Allowed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.bytes.get()).unwrap_or(usize::MAX);
        if most == 0 && !into.is_empty() {
            let why = format!("the headers of an entry have more than {MAX_HEADER_BYTES} bytes");
            return Err(io::Error::other(why));
        }
        let most = most.min(into.len());
        let read = self.inner.read(&mut into[..most])?;
        self.bytes.set(self.bytes.get() - read as u64);
        Ok(read)
    }
}

impl<R: Seek> Seek for Allowed<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
