//! The journal: groups of batches that redb may not have on disk yet, in one file that is written
//! over and over.
//!
//! ```text
//! 0     head, padded to 512 bytes: magic, identity of the database it belongs to u64, size of the file
//!       as it was made u64
//! 512   records, each padded to 512 bytes: checksum u32, length u32, first revision u64, body
//! ```
//!
//! Numbers are big-endian. The checksum (CRC-32) covers identity, length, first revision and body.
//! Revisions go on from record to record without a gap. After a checkpoint the next record is
//! written at the start again; what is left of older records beyond it is recognised by its lower
//! revisions. The file is filled with zeros when it is made, so that syncing a record never has to
//! sync the file's size or its extents. One record that is larger than that makes it grow until the
//! next checkpoint.

use std::io;
use std::sync::Arc;

use prost::Message;

use super::medium::Medium;
use super::record;
use crate::kv::{Batch, Revision};
use crate::proto::storage;

pub(super) struct Journal {
    medium: Arc<dyn Medium>,
    identity: u64,
    capacity: u64,
    /// Where the next record goes.
    end: u64,
    buffer: Vec<u8>,
}

/// Why a journal would not be read or replayed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoverError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the journal does not begin as one")]
    Headless,
    #[error("the journal belongs to another database")]
    Foreign,
    #[error("the journal has {bytes} bytes, and was made with {capacity}")]
    Cut { bytes: usize, capacity: u64 },
    #[error("the journal lacks revisions between {have} and {next}")]
    Gap { have: Revision, next: Revision },
    #[error("the journal is damaged after revision {after}, before revision {next}")]
    Damaged { after: Revision, next: Revision },
    #[error("a record of the journal names a table that it does not list")]
    Unlisted,
    #[error("a record of the journal does not decode")]
    Decode(#[from] prost::DecodeError),
    #[error(transparent)]
    Redb(#[from] redb::Error),
}

const BLOCK: u64 = 512;
const MAGIC: [u8; 8] = *b"imgstjn1";
/// Magic, identity, capacity.
const HEAD: usize = 24;
/// Checksum, length, first revision.
const HEADER: usize = 16;

/// The header of a record.
#[derive(Clone, Copy)]
struct Header {
    checksum: u32,
    len: u32,
    first: Revision,
}

impl Journal {
    /// `capacity` counts the whole file.
    pub fn new(medium: Arc<dyn Medium>, identity: u64, capacity: u64) -> Self {
        Self {
            medium,
            identity,
            capacity: capacity.next_multiple_of(BLOCK).max(2 * BLOCK),
            end: BLOCK,
            buffer: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.end == BLOCK
    }

    /// Whether a record of so many bytes fits before a checkpoint. An empty journal takes any.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.is_empty() || self.end + padded(bytes) <= self.capacity
    }

    /// Appends batches as one record and syncs it. After an error the record may or may not be there.
    pub fn append(&mut self, batches: &[(Revision, &Batch)]) -> io::Result<()> {
        let Some((first, _)) = batches.first() else {
            return Ok(());
        };
        let record = record::encode(batches);
        let len = u32::try_from(record.encoded_len())
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&len.to_be_bytes());
        self.buffer.extend_from_slice(&first.0.to_be_bytes());
        record.encode_raw(&mut self.buffer);
        let checksum = self.checksum(&self.buffer[4..]);
        self.buffer[..4].copy_from_slice(&checksum.to_be_bytes());
        self.buffer
            .resize(self.buffer.len().next_multiple_of(BLOCK as usize), 0);
        self.medium.write(self.end, &self.buffer)?;
        self.medium.sync()?;
        self.end += self.buffer.len() as u64;
        Ok(())
    }

    /// Starts over: everything in it is durable elsewhere.
    pub fn reset(&mut self) -> io::Result<()> {
        if self.end > self.capacity {
            self.medium.set_len(self.capacity)?;
        }
        self.end = BLOCK;
        self.buffer.shrink_to(KEPT_BUFFER);
        Ok(())
    }

    /// Makes the file, filled with zeros, and syncs it.
    pub fn create(&self) -> io::Result<()> {
        let mut zeros = vec![
            0;
            usize::try_from(self.capacity)
                .unwrap_or(1 << 20)
                .min(1 << 20)
        ];
        self.medium.set_len(0)?;
        let mut at = 0;
        while at < self.capacity {
            let part = (self.capacity - at).min(zeros.len() as u64);
            zeros.truncate(usize::try_from(part).expect("no more than there are"));
            self.medium.write(at, &zeros)?;
            at += part;
        }
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&self.identity.to_be_bytes());
        head.extend_from_slice(&self.capacity.to_be_bytes());
        self.medium.write(0, &head)?;
        self.medium.sync()
    }

    /// The batches that a database at revision `have` lacks, in order. Refuses a file that is not as
    /// [`Journal::create`] made it and [`Journal::append`] left it.
    ///
    /// With `renew`, what was read is written and synced again: a sync that failed before a crash may
    /// have left it in memory only.
    pub fn recover(
        &mut self,
        mut have: Revision,
        renew: bool,
    ) -> Result<Vec<(Revision, Batch)>, RecoverError> {
        let bytes = self.read_all()?;
        let mut lacking = Vec::new();
        let Some((identity, capacity)) = head(&bytes) else {
            return Err(RecoverError::Headless);
        };
        if identity != self.identity {
            return Err(RecoverError::Foreign);
        }
        // As it was made, whatever would be chosen today.
        self.capacity = capacity;
        if (bytes.len() as u64) < capacity {
            return Err(RecoverError::Cut {
                bytes: bytes.len(),
                capacity,
            });
        }
        let mut next: Option<Revision> = None;
        while let Some((header, body)) = self.record_at(&bytes, self.end) {
            // What is left of an earlier round has revisions that do not go on.
            if next.is_some_and(|next| header.first != next) {
                break;
            }
            let batches = record::decode(storage::JournalRecord::decode(body)?)
                .ok_or(RecoverError::Unlisted)?;
            let Some(last) = batches.last().map(|(revision, _)| *revision) else {
                break;
            };
            for (revision, batch) in batches {
                if revision > have.next() {
                    return Err(RecoverError::Gap {
                        have,
                        next: revision,
                    });
                }
                if revision > have {
                    have = revision;
                    lacking.push((revision, batch));
                }
            }
            next = Some(last.next());
            self.end += padded(body.len());
        }
        // One record is written at a time, so only the last can be unfinished.
        if let Some(lost) = self.newer_than(have, &bytes) {
            return Err(RecoverError::Damaged {
                after: have,
                next: lost,
            });
        }
        if next != Some(have.next()) {
            // The database is past all of it. What comes next must not follow it.
            self.end = BLOCK;
        }
        if renew && !self.is_empty() {
            // A file that grew and was cut within the last record's padding is shorter.
            let end = usize::try_from(self.end).map_or(bytes.len(), |end| end.min(bytes.len()));
            self.medium.write(0, &bytes[..end])?;
            self.medium.sync()?;
        }
        Ok(lacking)
    }

    fn read_all(&self) -> io::Result<Vec<u8>> {
        let len = self.medium.size()?;
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut bytes = vec![0; len];
        self.medium.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// The first revision of a whole record further on that the database does not have.
    fn newer_than(&self, have: Revision, bytes: &[u8]) -> Option<Revision> {
        let blocks = (self.end..bytes.len() as u64).step_by(BLOCK as usize);
        let newer = |at: &u64| header_at(bytes, *at).is_some_and(|header| header.first > have);
        blocks
            .filter(newer)
            .find_map(|at| self.record_at(bytes, at))
            .map(|(header, _)| header.first)
    }

    fn record_at<'a>(&self, bytes: &'a [u8], at: u64) -> Option<(Header, &'a [u8])> {
        let header = header_at(bytes, at)?;
        let start = usize::try_from(at).ok()?;
        let end = (start + HEADER).checked_add(usize::try_from(header.len).ok()?)?;
        let body = bytes.get(start + HEADER..end)?;
        let is_whole = header.len > 0 && self.checksum(&bytes[start + 4..end]) == header.checksum;
        is_whole.then_some((header, body))
    }

    fn checksum(&self, covered: &[u8]) -> u32 {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&self.identity.to_be_bytes());
        checksum.update(covered);
        checksum.finalize()
    }
}

/// The identity and the capacity that a file begins with.
fn head(bytes: &[u8]) -> Option<(u64, u64)> {
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    let head = bytes.get(..HEAD)?.strip_prefix(&MAGIC)?;
    Some((number(&head[..8])?, number(&head[8..])?))
}

/// Memory that is kept for the next record.
const KEPT_BUFFER: usize = 256 << 10;

fn padded(body: usize) -> u64 {
    ((HEADER + body) as u64).next_multiple_of(BLOCK)
}

fn header_at(bytes: &[u8], at: u64) -> Option<Header> {
    let start = usize::try_from(at).ok()?;
    let header: &[u8; HEADER] = bytes.get(start..start + HEADER)?.try_into().ok()?;
    let number = |from: usize| {
        u32::from_be_bytes([
            header[from],
            header[from + 1],
            header[from + 2],
            header[from + 3],
        ])
    };
    Some(Header {
        checksum: number(0),
        len: number(4),
        first: Revision(u64::from(number(8)) << 32 | u64::from(number(12))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Table;
    use crate::kv::redb::FileMedium;

    #[test]
    fn a_file_keeps_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let medium = Arc::new(FileMedium::open(&dir.path().join("journal")).unwrap());
        let mut journal = Journal::new(medium, 0x0102_0304_0506_0708, 0);
        journal.create().unwrap();
        let mut batch = Batch::new(7);
        batch.put(Table::logged("t").key("x"), "1");
        journal.append(&[(Revision(9), &batch)]).unwrap();
        let bytes = journal.read_all().unwrap();
        let (head, record) = bytes.split_at(BLOCK as usize);
        assert_eq!(
            head[..HEAD].escape_ascii().to_string(),
            r"imgstjn1\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x00\x00\x00\x00\x04\x00"
        );
        assert_eq!(
            record[..HEADER + 21].escape_ascii().to_string(),
            concat!(
                r"\x0c\x15O<\x00\x00\x00\x15\x00\x00\x00\x00\x00\x00\x00\t",
                r#"\n\x05\n\x01t\x10\x01\x12\x0c\x08\t\x10\x07\"\x06\x12\x01x\x1a\x011"#
            )
        );
        let is_padding = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        assert!(is_padding(&head[HEAD..]) && is_padding(&record[HEADER + 21..]));
    }

    #[test]
    fn what_comes_after_a_gap_begins_the_journal_anew_and_is_found() {
        let mut batch = Batch::new(7);
        batch.put(Table::logged("t").key("x"), "1");
        let batch = &batch;
        for renew in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let medium = Arc::new(FileMedium::open(&dir.path().join("journal")).unwrap());
            let journal = || Journal::new(medium.clone(), 1, 8 * BLOCK);
            let mut first = journal();
            first.create().unwrap();
            first.append(&[(Revision(4), batch)]).unwrap();
            first.append(&[(Revision(5), batch)]).unwrap();

            // The database is past both, and a record that was torn lay between.
            let mut second = journal();
            assert_eq!(second.recover(Revision(7), renew).unwrap(), []);
            second.append(&[(Revision(8), batch)]).unwrap();
            second.append(&[(Revision(9), batch)]).unwrap();

            let found = journal().recover(Revision(7), renew).unwrap();
            let wanted = [8, 9].map(|revision| (Revision(revision), batch.clone()));
            assert_eq!(found, wanted);
        }
    }
}
