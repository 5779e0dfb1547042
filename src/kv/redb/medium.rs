//! Where the files are: the operating system's, or a test's with faults; and a shadow that keeps
//! writes in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file as the engine needs it.
pub trait Medium: Debug + Send + Sync {
    /// How many bytes it has.
    fn size(&self) -> io::Result<u64>;
    /// Fills `out`, or fails.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts, or grows with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// What was written survives a power loss once this returns.
    fn sync(&self) -> io::Result<()>;
    /// Bytes that the file system has left; `None` where that means nothing.
    fn free_bytes(&self) -> io::Result<Option<u64>>;
}

/// A file of the operating system, readable by its owner alone.
#[derive(Debug)]
pub struct FileMedium(File);

/// What is not followed: a link in the store's folder could lead to anybody's file.
pub(super) const NO_LINKS: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

impl FileMedium {
    /// Opens, or creates.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NO_LINKS);
        Ok(Self(options.open(path)?))
    }
}

impl Medium for FileMedium {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let stat = rustix::fs::fstatvfs(&self.0)?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }
}

/// Bytes free on the file system of a path.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes that a file takes on disk; redb's file has holes.
pub(super) fn allocated(meta: &Metadata) -> u64 {
    meta.blocks() * 512
}

/// A medium as redb wants it. Locks nothing: the store has a lock of its own.
#[derive(Debug)]
pub(super) struct Backend(pub Arc<dyn Medium>);

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Another medium as it is, and writes over it that stay in memory.
#[derive(Debug)]
pub(super) struct Shadow {
    below: Arc<dyn Medium>,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    /// Blocks that differ from below, by number.
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
    len: u64,
    /// From here on, nothing of what is below counts.
    below_ends: u64,
}

pub(super) const BLOCK: usize = 4096;

impl Shadow {
    pub fn of(below: Arc<dyn Medium>) -> io::Result<Self> {
        let len = below.size()?;
        Ok(Self {
            below,
            over: Mutex::new(Over {
                blocks: BTreeMap::new(),
                len,
                below_ends: len,
            }),
        })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it is now, zeros past the end.
    fn block(&self, over: &Over, number: u64) -> io::Result<Box<[u8; BLOCK]>> {
        if let Some(block) = over.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = Box::new([0; BLOCK]);
        let start = number * BLOCK as u64;
        let there = over.below_ends.saturating_sub(start).min(BLOCK as u64);
        let there = usize::try_from(there).expect("no more than a block");
        self.below.read(start, &mut block[..there])?;
        Ok(block)
    }
}

impl Medium for Shadow {
    fn size(&self) -> io::Result<u64> {
        Ok(self.over().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over();
        if offset + out.len() as u64 > over.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, part) in parts(offset, out.len()) {
            let block = self.block(&over, number)?;
            let bytes = part.len();
            out[part].copy_from_slice(&block[within..within + bytes]);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over();
        over.len = over.len.max(offset + data.len() as u64);
        for (number, within, part) in parts(offset, data.len()) {
            let mut block = self.block(&over, number)?;
            block[within..within + part.len()].copy_from_slice(&data[part]);
            over.blocks.insert(number, block);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut over = self.over();
        if len < over.len {
            let (last, within) = (len / BLOCK as u64, len % BLOCK as u64);
            over.blocks.retain(|number, _| *number <= last);
            if let Some(block) = over.blocks.get_mut(&last) {
                block[usize::try_from(within).expect("less than a block")..].fill(0);
            }
            over.below_ends = over.below_ends.min(len);
        }
        over.len = len;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// The blocks that a stretch of bytes lies in: number, offset within, and which of the bytes.
pub(super) fn parts(
    offset: u64,
    len: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK as u64).expect("less than a block");
        let bytes = (BLOCK - within).min(len - done);
        done += bytes;
        Some((at / BLOCK as u64, within, done - bytes..done))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..20_000u64, prop::collection::vec(any::<u8>(), 1..9000))
                .prop_map(|(at, data)| Step::Write(at, data)),
            1 => (0..30_000u64).prop_map(Step::SetLen),
        ]
    }

    proptest! {
        #[test]
        fn a_shadow_reads_as_the_file_would_and_leaves_it_alone(
            first in prop::collection::vec(any::<u8>(), 0..12_000),
            steps in prop::collection::vec(step(), 0..12),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let file = |name| Arc::new(FileMedium::open(&dir.path().join(name)).unwrap());
            let (below, real) = (file("below"), file("real"));
            below.write(0, &first).unwrap();
            real.write(0, &first).unwrap();
            let shadow = Shadow::of(below.clone()).unwrap();
            for step in steps {
                for medium in [&shadow as &dyn Medium, &*real] {
                    match &step {
                        Step::Write(at, data) => medium.write(*at, data).unwrap(),
                        Step::SetLen(len) => medium.set_len(*len).unwrap(),
                    }
                }
                let all = |medium: &dyn Medium| {
                    let mut out = vec![0; medium.size().unwrap() as usize];
                    medium.read(0, &mut out).unwrap();
                    out
                };
                prop_assert!(all(&shadow) == all(&*real));
            }
            prop_assert_eq!(below.size().unwrap(), first.len() as u64);
        }
    }
}
