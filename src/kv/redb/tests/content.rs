//! The bytes of a file in memory, in blocks that copies of it share.

use std::io;
use std::sync::Arc;

use crate::kv::redb::medium::{BLOCK, parts};

/// Copied for each image of a disk, so copying costs little whatever its length.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// A missing block is zeros.
    blocks: Vec<Option<Arc<[u8; BLOCK]>>>,
    len: u64,
}

/// What one call does to a file.
#[derive(Clone, Debug)]
pub enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

// === impl Content ===

impl Content {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, part) in parts(offset, out.len()) {
            let bytes = part.len();
            match self.blocks.get(number as usize) {
                Some(Some(block)) => {
                    out[part].copy_from_slice(&block[within..within + bytes]);
                }
                _ => out[part].fill(0),
            }
        }
        Ok(())
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(0, &mut bytes).expect("it has as many bytes");
        bytes
    }

    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(at, data) => self.write(*at, data),
            Change::SetLen(len) => self.set_len(*len),
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        self.grow(offset + data.len() as u64);
        for (number, within, part) in parts(offset, data.len()) {
            let block = self.blocks[number as usize].get_or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[within..within + part.len()].copy_from_slice(&data[part]);
        }
    }

    fn set_len(&mut self, len: u64) {
        if len >= self.len {
            return self.grow(len);
        }
        self.blocks.truncate(len.div_ceil(BLOCK as u64) as usize);
        let within = (len % BLOCK as u64) as usize;
        if within > 0
            && let Some(Some(last)) = self.blocks.last_mut()
        {
            Arc::make_mut(last)[within..].fill(0);
        }
        self.len = len;
    }

    fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
        self.blocks
            .resize(self.len.div_ceil(BLOCK as u64) as usize, None);
    }
}

// === impl Change ===

impl Change {
    /// What a disk writes whole or not at all: the parts of a write between multiples of `grain`.
    pub fn torn(self, grain: u64) -> Vec<Self> {
        let (mut at, data) = match self {
            Self::Write(at, data) => (at, data),
            Self::SetLen(_) => return vec![self],
        };
        let mut rest = &data[..];
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let whole = (grain - at % grain).min(rest.len() as u64);
            let (piece, after) = rest.split_at(whole as usize);
            pieces.push(Self::Write(at, piece.to_vec()));
            at += whole;
            rest = after;
        }
        pieces
    }
}
