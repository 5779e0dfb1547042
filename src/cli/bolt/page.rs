//! What stands in a page.
//!
//! ```text
//! header   id u64, kind u16, count u16, overflow u32
//! meta     header, magic u32, version u32, page size u32, flags u32,
//!          root u64, sequence u64, freelist u64, pages u64, transaction u64, checksum u64
//! branch   header, count x { position u32, key bytes u32, child u64 }
//! leaf     header, count x { flags u32, position u32, key bytes u32, value bytes u32 }
//! bucket   root u64, sequence u64, and where root is 0 a leaf page: the value of a leaf's element
//! ```
//!
//! A position counts from the element that has it, to its key; a value follows its key.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::bytes::{u16_at, u32_at, u64_at};
use super::{BoltError, Bounds, Bucket, Entry, damaged};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Branch,
    Leaf,
    Meta,
    Freelist,
}

#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub id: u64,
    pub kind: Kind,
    pub count: u16,
    /// Pages after this one that belong to it.
    pub overflow: u64,
}

/// A state of the file.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    pub page_bytes: u64,
    /// The page of the bucket that holds all others.
    pub root: u64,
    /// The page with the list of free ones, where it was written.
    pub freelist: Option<u64>,
    /// Pages up to the last one in use.
    pub pages: u64,
    pub transaction: u64,
}

/// A page between two levels of a tree.
pub struct Branch<'a> {
    page: &'a [u8],
    count: usize,
}

/// A page with what the keys hold.
pub struct Leaf<'a> {
    page: &'a [u8],
    count: usize,
}

/// A key and the number of its page.
type Child<'a> = (&'a [u8], u64);

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// Sizes that a page can have.
const PAGE_BYTES: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 24;
/// What a meta page says from its header on, and how much of it the checksum covers.
const META_BYTES: usize = 64;
const SUMMED: std::ops::Range<usize> = Header::BYTES..Header::BYTES + 56;
/// Where no list of free pages was written.
const NO_FREELIST: u64 = u64::MAX;
/// A page with those that it runs over into. The largest are lists of free pages, of 32 GiB here, and
/// records, which have come in one message of 16 MiB.
const MAX_RUN_BYTES: usize = 64 << 20;
const ELEMENT: usize = 16;
const BUCKET_HEADER: usize = 16;
const IS_BUCKET: u32 = 1;

const OUTSIDE: &str = "an element points outside";
const DISORDER: &str = "keys are not in their order";

impl Header {
    pub const BYTES: usize = 16;

    pub fn parse(page: &[u8]) -> Option<Self> {
        let kind = match u16_at(page, 8)? {
            0x01 => Kind::Branch,
            0x02 => Kind::Leaf,
            0x04 => Kind::Meta,
            0x10 => Kind::Freelist,
            _ => return None,
        };
        Some(Self {
            id: u64_at(page, 0)?,
            kind,
            count: u16_at(page, 10)?,
            overflow: u32_at(page, 12)?.into(),
        })
    }
}

impl Meta {
    /// The meta pages that are whole: the first one knows how large a page is; where it is not whole,
    /// the second one is looked for at every size.
    pub fn find(file: &File) -> io::Result<Vec<Self>> {
        let at = |position: u64| -> io::Result<Option<Self>> {
            let mut page = [0; Header::BYTES + META_BYTES];
            match file.read_exact_at(&mut page, position) {
                Ok(()) => Ok(Self::parse(&page)),
                Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(why) => Err(why),
            }
        };
        let first = at(0)?;
        let mut position = first.map_or(*PAGE_BYTES.start(), |first| first.page_bytes);
        loop {
            let second = at(position)?.filter(|second| second.page_bytes == position);
            if first.is_some() || second.is_some() || position >= *PAGE_BYTES.end() {
                return Ok(first.into_iter().chain(second).collect());
            }
            position *= 2;
        }
    }

    /// `None` for a page that is not whole, or no meta page.
    fn parse(page: &[u8]) -> Option<Self> {
        let header = Header::parse(page)?;
        let word = |at| u64_at(page, Header::BYTES + at);
        let half = |at| u32_at(page, Header::BYTES + at);
        let page_bytes = half(8)?.into();
        let is_whole = header.kind == Kind::Meta
            && header.id <= 1
            && half(0)? == MAGIC
            && half(4)? == VERSION
            && PAGE_BYTES.contains(&page_bytes)
            && page_bytes.is_power_of_two()
            && word(56)? == fnv1a(page.get(SUMMED)?);
        is_whole.then_some(Self {
            page_bytes,
            root: word(16)?,
            freelist: Some(word(32)?).filter(|id| *id != NO_FREELIST),
            pages: word(40)?,
            transaction: word(48)?,
        })
    }

    /// Reads a page that says itself that it is the one, with those that it runs over into.
    pub fn page(&self, file: &File, id: u64) -> Result<(Header, Vec<u8>), BoltError> {
        let here = |what| damaged(id, what);
        if !(2..self.pages).contains(&id) {
            return Err(here("there is no such page"));
        }
        // What is below `pages` lies in the file, so that no number is too large.
        let mut start = [0; Header::BYTES];
        file.read_exact_at(&mut start, id * self.page_bytes)?;
        let header = Header::parse(&start).ok_or(here("it is of no kind"))?;
        if header.id != id {
            return Err(here("it says that it is another"));
        }
        if header.overflow >= self.pages - id {
            return Err(here("it runs over the end of the file"));
        }
        // Of a file with holes only the length is large, and not what would have to be kept.
        let bytes = usize::try_from((1 + header.overflow) * self.page_bytes)
            .ok()
            .filter(|bytes| *bytes <= MAX_RUN_BYTES)
            .ok_or(here("it is larger than any that containerd writes"))?;
        let mut page = vec![0; bytes];
        file.read_exact_at(&mut page, id * self.page_bytes)?;
        Ok((header, page))
    }
}

impl<'a> Branch<'a> {
    pub fn new(page: &'a [u8], count: u16) -> Result<Self, &'static str> {
        let count = elements(page, count)?;
        match count {
            0 => Err("it has no children"),
            _ => Ok(Self { page, count }),
        }
    }

    /// Where each child's keys begin, and its page.
    pub fn children(&self, bounds: Bounds<'_>) -> Result<Vec<Child<'a>>, &'static str> {
        let mut children: Vec<Child<'a>> = Vec::with_capacity(self.count);
        for i in 0..self.count {
            let at = Header::BYTES + i * ELEMENT;
            let element = || {
                let key = text(
                    self.page,
                    at,
                    u32_at(self.page, at)?,
                    u32_at(self.page, at + 4)?,
                )?;
                Some((key, u64_at(self.page, at + 8)?))
            };
            let (key, child) = element().ok_or(OUTSIDE)?;
            let ascends = children.last().is_none_or(|(last, _)| *last < key);
            if !ascends || !bounds.contain(key) {
                return Err(DISORDER);
            }
            children.push((key, child));
        }
        Ok(children)
    }
}

impl<'a> Leaf<'a> {
    pub fn new(page: &'a [u8], count: u16) -> Result<Self, &'static str> {
        let count = elements(page, count)?;
        Ok(Self { page, count })
    }

    /// Adds what the page holds.
    pub fn entries(
        &self,
        bounds: Bounds<'_>,
        entries: &mut Vec<(Vec<u8>, Entry)>,
    ) -> Result<(), &'static str> {
        let mut room = self.page.len();
        for i in 0..self.count {
            let at = Header::BYTES + i * ELEMENT;
            let element = || {
                let flags = u32_at(self.page, at)?;
                let position = u32_at(self.page, at + 4)?;
                let key_bytes = u32_at(self.page, at + 8)?;
                let value_bytes = u32_at(self.page, at + 12)?;
                let key = text(self.page, at, position, key_bytes)?;
                let value = text(self.page, at, position.checked_add(key_bytes)?, value_bytes)?;
                Some((flags, key, value))
            };
            let (flags, key, value) = element().ok_or(OUTSIDE)?;
            let ascends = entries.last().is_none_or(|(last, _)| last.as_slice() < key);
            if !ascends || !bounds.contain(key) {
                return Err(DISORDER);
            }
            // So that a page gives no more than it has.
            room = room
                .checked_sub(key.len() + value.len())
                .ok_or("elements lie over each other")?;
            let entry = match flags {
                0 => Entry::Value(value.to_vec()),
                IS_BUCKET => Entry::Bucket(bucket(value).ok_or("a bucket has no root")?),
                _ => return Err("an element is of no kind"),
            };
            entries.push((key.to_vec(), entry));
        }
        Ok(())
    }
}

fn bucket(value: &[u8]) -> Option<Bucket> {
    match u64_at(value, 0)? {
        0 => Some(Bucket::Inline(value.get(BUCKET_HEADER..)?.to_vec())),
        root => Some(Bucket::Rooted(root)),
    }
}

/// The number of elements, whose table lies in the page.
fn elements(page: &[u8], count: u16) -> Result<usize, &'static str> {
    let count = usize::from(count);
    match Header::BYTES + count * ELEMENT <= page.len() {
        true => Ok(count),
        false => Err("it has more elements than fit"),
    }
}

/// Bytes at a position that counts from an element.
fn text(page: &[u8], element: usize, position: u32, bytes: u32) -> Option<&[u8]> {
    let start = element.checked_add(usize::try_from(position).ok()?)?;
    page.get(start..start.checked_add(usize::try_from(bytes).ok()?)?)
}

/// The checksum of a meta page: FNV-1a of 64 bits.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
