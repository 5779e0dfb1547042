//! Reads the files of bbolt, the engine below containerd's metadata, and never writes to one.
//!
//! A file is pages of one size. Pages 0 and 1 are *meta* pages: each has a checksum, and of the whole
//! ones the one with the higher transaction counts. It names the root page of a tree of buckets; a
//! bucket is a tree of *branch* and *leaf* pages, or lies *inline* in its parent where it is small.
//!
//! Pages of trees have no checksum. What can be checked is: that each page says that it is the one that
//! was asked for, that nothing in it points out of it, that keys ascend and lie in the range that the
//! parent promises, that no page has two parents, and that none is in the list of free pages. So bytes
//! that no engine wrote are an error here, and neither a panic nor an endless loop.

mod bytes;
mod page;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use self::bytes::u64_at;
use self::page::{Branch, Header, Kind, Leaf, Meta};

/// A file that no engine has open, locked against them as long as it is read.
pub struct Bolt {
    file: File,
    meta: Meta,
    /// Pages that are free, or have been read already.
    spent: HashSet<u64>,
}

/// A tree of keys and what they hold. Read once, since a page belongs to one tree.
#[derive(Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Has pages of its own, below this one.
    Rooted(u64),
    /// Is a leaf page inside the value that holds it.
    Inline(Vec<u8>),
}

/// What a key holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    Value(Vec<u8>),
    Bucket(Bucket),
}

#[derive(Debug, thiserror::Error)]
pub enum BoltError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("another process has it open")]
    Busy,
    #[error("it is no bbolt file: {0}")]
    NotBolt(&'static str),
    /// It was, once: copied while it was written, cut, or damaged.
    #[error("it is torn or damaged, at page {page}: {what}")]
    Damaged { page: u64, what: &'static str },
}

/// Levels of one tree. A page of 4 KiB that is not a leaf has at least two children.
const MAX_DEPTH: usize = 64;

impl Bolt {
    /// Takes a shared lock, without waiting for it, and finds the newest state that was written whole.
    ///
    /// [`BoltError::Busy`] when a process has the file open for writing, as containerd does while it runs.
    pub fn open(path: &Path) -> Result<Self, BoltError> {
        // What is no file may not open before another end comes, or not at all.
        let without_waiting = i32::try_from(OFlags::NONBLOCK.bits()).expect("it is a low bit");
        let mut options = File::options();
        let file = options
            .read(true)
            .custom_flags(without_waiting)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(BoltError::NotBolt("it is not even a file"));
        }
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BoltError::Busy),
            Err(TryLockError::Error(other)) => return Err(other.into()),
        }
        let meta = newest_meta(&file)?;
        let mut bolt = Self {
            file,
            meta,
            spent: HashSet::new(),
        };
        bolt.note_free_pages()?;
        Ok(bolt)
    }

    /// The bucket that holds all others.
    pub fn root(&self) -> Bucket {
        Bucket::Rooted(self.meta.root)
    }

    /// What a bucket holds, in the order of the keys.
    pub fn read(&mut self, bucket: Bucket) -> Result<Vec<(Vec<u8>, Entry)>, BoltError> {
        let mut entries = Vec::new();
        match bucket {
            Bucket::Inline(page) => {
                let what = "a bucket inside a page is no leaf";
                let header = Header::parse(&page)
                    .filter(|header| header.kind == Kind::Leaf)
                    .ok_or(damaged(0, what))?;
                Leaf::new(&page, header.count)
                    .and_then(|leaf| leaf.entries(Bounds::default(), &mut entries))
                    .map_err(|what| damaged(0, what))?;
            }
            Bucket::Rooted(id) => self.descend(id, Bounds::default(), MAX_DEPTH, &mut entries)?,
        }
        Ok(entries)
    }

    fn descend(
        &mut self,
        id: u64,
        bounds: Bounds<'_>,
        depth: usize,
        entries: &mut Vec<(Vec<u8>, Entry)>,
    ) -> Result<(), BoltError> {
        let here = |what| damaged(id, what);
        let depth = depth.checked_sub(1).ok_or(here("the tree is too deep"))?;
        let (header, page) = self.page(id)?;
        match header.kind {
            Kind::Leaf => Leaf::new(&page, header.count)
                .and_then(|leaf| leaf.entries(bounds, entries))
                .map_err(here),
            Kind::Branch => {
                let branch = Branch::new(&page, header.count).map_err(here)?;
                let children = branch.children(bounds).map_err(here)?;
                for (i, (first, child)) in children.iter().enumerate() {
                    let bounds = Bounds {
                        from: Some(first),
                        below: children.get(i + 1).map(|(next, _)| *next).or(bounds.below),
                    };
                    self.descend(*child, bounds, depth, entries)?;
                }
                Ok(())
            }
            Kind::Meta | Kind::Freelist => Err(here("it is not of a tree")),
        }
    }

    /// A page with those that it runs over into. Each is given once.
    fn page(&mut self, id: u64) -> Result<(Header, Vec<u8>), BoltError> {
        let (header, page) = self.meta.page(&self.file, id)?;
        for id in id..=id + header.overflow {
            if !self.spent.insert(id) {
                return Err(damaged(id, "it is free, or belongs to two trees"));
            }
        }
        Ok((header, page))
    }

    /// Reads the list of free pages, where the engine wrote one.
    fn note_free_pages(&mut self) -> Result<(), BoltError> {
        let Some(id) = self.meta.freelist else {
            return Ok(());
        };
        let (header, page) = self.page(id)?;
        let here = |what| damaged(id, what);
        if header.kind != Kind::Freelist {
            return Err(here("it is no list of free pages"));
        }
        // A count that does not fit in the header is the first number of the list.
        let (count, first) = match header.count {
            u16::MAX => (
                u64_at(&page, Header::BYTES).ok_or(here("the list has no count"))?,
                Header::BYTES + 8,
            ),
            count => (count.into(), Header::BYTES),
        };
        let listed = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(8))
            .and_then(|bytes| page.get(first..first.checked_add(bytes)?))
            .ok_or(here("the list is longer than its page"))?;
        for number in listed.chunks_exact(8) {
            let free = u64_at(number, 0).expect("eight bytes");
            if !(2..self.meta.pages).contains(&free) {
                return Err(here("the list names a page that there is not"));
            }
            if !self.spent.insert(free) {
                return Err(here("the list names a page twice"));
            }
        }
        Ok(())
    }
}

/// The range that a page's keys must lie in.
#[derive(Clone, Copy, Default)]
struct Bounds<'a> {
    from: Option<&'a [u8]>,
    below: Option<&'a [u8]>,
}

impl Bounds<'_> {
    fn contain(&self, key: &[u8]) -> bool {
        self.from.is_none_or(|from| from <= key) && self.below.is_none_or(|below| key < below)
    }
}

/// Of the meta pages that are whole, the one with the higher transaction: the other one is the state
/// before, and is what counts where the last write did not come to its end.
fn newest_meta(file: &File) -> Result<Meta, BoltError> {
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Err(BoltError::NotBolt("it is empty"));
    }
    let found = Meta::find(file)?;
    let newest = found
        .into_iter()
        .max_by_key(|meta| meta.transaction)
        .ok_or(BoltError::NotBolt("neither of its first pages says so"))?;
    let reaches = newest.pages.checked_mul(newest.page_bytes);
    if reaches.is_none_or(|reaches| reaches > bytes) {
        return Err(damaged(newest.pages, "the file ends before its last page"));
    }
    Ok(newest)
}

fn damaged(page: u64, what: &'static str) -> BoltError {
    BoltError::Damaged { page, what }
}
