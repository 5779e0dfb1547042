//! Restoring: a new store of the bytes of a backup.

use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::backup::MAGIC;
use super::epoch::Gap;
use super::{StoreId, Surroundings, schema};
use crate::kv::{Key, OpenError, Options, Redb, Revision, Table, Versioned};
use crate::proto::storage as pb;

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The id of the new store.
    pub id: StoreId,
    /// Where the new store's revisions begin; it has no revision between the backup's and this one.
    pub revision: Revision,
    /// The revision of the backup.
    pub backup: Revision,
    pub rows: u64,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("this is no backup of imagestore")]
    NoBackup,
    #[error("the backup ends too early; it was cut short, make or copy it again")]
    Cut,
    #[error("the backup is damaged ({0}); use another one")]
    Damaged(&'static str),
    #[error(
        "the backup has schema version {found}, and this release knows up to {known}; \
         use the release that wrote it, or a later one"
    )]
    SchemaTooNew { found: u32, known: u32 },
    #[error("the backup cannot be read")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Revisions of a restored store begin at a multiple of this.
const EPOCH: u64 = 1 << 40;

/// How many multiples ahead they begin: 1 to 4,096 of them, by the new store's id, which is random. So two
/// stores that are made of one backup hardly ever give out the same revisions.
fn epochs_ahead(id: StoreId) -> u64 {
    1 + u64::from(u16::from_be_bytes([id.0[0], id.0[1]]) >> 4)
}

/// The most bytes that a record of a backup has: more than one row may take.
const MAX_RECORD_BYTES: u32 = 64 << 20;

/// Makes a store of a backup in a folder that is empty or missing. The store has an id of its own, and
/// its revisions go on far above those of the backup, so that nothing is taken for what it is not.
///
/// Reads all of the backup, and has no store to show before it has found it whole.
pub fn restore(
    root: &Path,
    from: impl Read,
    surroundings: &Surroundings,
    options: Options,
) -> Result<Restored, RestoreError> {
    let backup = Backup::begin(from)?;
    let head = backup.head.clone();
    let found = head.schema_version;
    if found != schema::VERSION {
        let known = schema::VERSION;
        return Err(RestoreError::SchemaTooNew { found, known });
    }
    let id = (surroundings.new_id)();
    let at = (head.revision / EPOCH + epochs_ahead(id))
        .checked_mul(EPOCH)
        .ok_or(RestoreError::Damaged("its revision is too high"))?;
    let at = Revision(at);
    let rows = head.rows;
    let changed = Changed {
        backup,
        id,
        at,
        gaps: Some(Vec::new()),
    };
    let now = (surroundings.clock)().millis();
    Redb::restore(root, options, changed, at, now)?;
    Ok(Restored {
        id,
        revision: at,
        backup: Revision(head.revision),
        rows,
    })
}

/// The rows of a backup, as the new store has them.
struct Changed<R> {
    backup: Backup<R>,
    id: StoreId,
    at: Revision,
    /// The revisions that the backup's store never had. `None` when they have been written.
    gaps: Option<Vec<u8>>,
}

impl<R: Read> Iterator for Changed<R> {
    type Item = Result<(Key, Versioned), RestoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, mut row) = match self.backup.next_row() {
                Ok(Some(found)) => found,
                Ok(None) => {
                    let mut gaps = self.gaps.take()?;
                    let gap = schema::gap_value(Gap {
                        after: self.backup.revision(),
                        before: self.at,
                    });
                    gaps.extend_from_slice(&gap);
                    return Some(Ok((schema::gaps(), self.new_row(gaps.into()))));
                }
                Err(failure) => return Some(Err(failure)),
            };
            if key == schema::last_backup() {
                continue;
            }
            if key == schema::gaps() {
                self.gaps = Some(row.value.to_vec());
                continue;
            }
            if key == schema::store_id() {
                row = self.new_row(Bytes::copy_from_slice(&self.id.0));
            }
            return Some(Ok((key, row)));
        }
    }
}

impl<R> Changed<R> {
    fn new_row(&self, value: Bytes) -> Versioned {
        Versioned {
            revision: self.at,
            value,
        }
    }
}

/// A backup that is read.
struct Backup<R> {
    from: R,
    digest: Sha256,
    head: pb::BackupHead,
    /// Of which table, and the rows that are left of a record.
    current: (Table, std::vec::IntoIter<pb::BackupRow>),
    rows: u64,
    ended: bool,
}

impl<R: Read> Backup<R> {
    fn begin(from: R) -> Result<Self, RestoreError> {
        let mut backup = Self {
            from,
            digest: Sha256::new(),
            head: pb::BackupHead::default(),
            current: (Table::new(""), Vec::new().into_iter()),
            rows: 0,
            ended: false,
        };
        match backup.take(MAGIC.len()) {
            Ok(magic) if magic[..] == MAGIC[..] => {}
            Ok(_) | Err(RestoreError::Cut) => return Err(RestoreError::NoBackup),
            Err(failure) => return Err(failure),
        }
        match backup.next_record()? {
            pb::backup_record::Part::Head(head) => backup.head = head,
            pb::backup_record::Part::Rows(_) | pb::backup_record::Part::End(_) => {
                return Err(RestoreError::Damaged("it does not begin with a head"));
            }
        }
        Ok(backup)
    }

    fn revision(&self) -> Revision {
        Revision(self.head.revision)
    }

    /// `None` once, when all of it has been found whole.
    fn next_row(&mut self) -> Result<Option<(Key, Versioned)>, RestoreError> {
        while !self.ended {
            if let Some(found) = self.current.1.next() {
                self.rows += 1;
                let row = Versioned {
                    revision: Revision(found.revision),
                    value: found.value,
                };
                return Ok(Some((self.current.0.key(found.row), row)));
            }
            match self.next_record()? {
                pb::backup_record::Part::Rows(rows) => {
                    if !schema::may_be_backed_up(&rows.table) {
                        return Err(RestoreError::Damaged("it has a table that no store has"));
                    }
                    self.current = (Table::new(rows.table), rows.rows.into_iter());
                }
                pb::backup_record::Part::End(end) => self.end(&end)?,
                pb::backup_record::Part::Head(_) => {
                    return Err(RestoreError::Damaged("it has a second head"));
                }
            }
        }
        Ok(None)
    }

    fn end(&mut self, end: &pb::BackupEnd) -> Result<(), RestoreError> {
        self.ended = true;
        let wanted = self.digest.clone().finalize();
        let found = self.take(wanted.len())?;
        if found[..] != wanted[..] {
            return Err(RestoreError::Damaged("its digest does not match"));
        }
        let is_whole = end.rows == self.rows
            && self.head.rows == self.rows
            && end.revision == self.head.revision;
        if !is_whole {
            return Err(RestoreError::Damaged(
                "it has not the rows that it promises",
            ));
        }
        match self.take(1) {
            Err(RestoreError::Cut) => Ok(()),
            Err(failure) => Err(failure),
            Ok(_) => Err(RestoreError::Damaged("something follows its end")),
        }
    }

    fn next_record(&mut self) -> Result<pb::backup_record::Part, RestoreError> {
        let undecodable = RestoreError::Damaged("a record does not decode");
        let len: [u8; 4] = self.take(4)?[..]
            .try_into()
            .expect("it has as many bytes as were asked for");
        let len = u32::from_be_bytes(len);
        if len > MAX_RECORD_BYTES {
            return Err(undecodable);
        }
        let record = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        let record = pb::BackupRecord::decode(record);
        record
            .ok()
            .and_then(|record| record.part)
            .ok_or(undecodable)
    }

    /// The next bytes, which count for the digest.
    fn take(&mut self, len: usize) -> Result<Bytes, RestoreError> {
        let mut bytes = vec![0; len];
        self.from
            .read_exact(&mut bytes)
            .map_err(|cause| match cause.kind() {
                io::ErrorKind::UnexpectedEof => RestoreError::Cut,
                _ => RestoreError::Read(cause),
            })?;
        self.digest.update(&bytes);
        Ok(bytes.into())
    }
}
