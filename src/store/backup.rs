//! Backups: all rows of one snapshot, as the bytes of a file that `restore` reads.
//!
//! The format is that of `imagestore/storage/v1/backup.proto`.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::stream::{LongRead, long_read};
use super::{Store, StoreId, schema};
use crate::domain::{Algorithm, Digest, Timestamp};
use crate::error::Error;
use crate::kv::{Batch, Revision, Rows, Snapshot, Table};
use crate::proto::storage as pb;

/// A backup under way. One that ends without [`BackupPart::End`] is none.
pub type BackupStream = LongRead<BackupPart>;

/// A part of a backup, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupPart {
    Head {
        id: StoreId,
        revision: Revision,
        /// How many rows will be in it.
        rows: u64,
    },
    /// The next bytes of the file.
    Chunk {
        bytes: Bytes,
        /// How many rows have been gathered so far.
        rows: u64,
    },
    End {
        revision: Revision,
        rows: u64,
        /// Bytes of all chunks, and their digest.
        bytes: u64,
        digest: Digest,
    },
}

/// The backup that was completed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBackup {
    pub at: Timestamp,
    /// The revision that it holds.
    pub revision: Revision,
}

/// What a backup file begins with.
pub(super) const MAGIC: &[u8; 8] = b"imgstbk1";

/// Bytes of rows that are gathered in a record, but for one row.
const RECORD_BYTES: usize = 64 << 10;

/// The most bytes that a chunk has.
const CHUNK_BYTES: usize = 256 << 10;

/// Rows that are read at once.
const STEP: usize = 1000;

impl Store {
    /// All rows of the newest revision. Counts as a long read until it is dropped.
    pub async fn backup(&self) -> Result<BackupStream, Error> {
        let store = self.clone();
        long_read(self, |snapshot, send| async move {
            let Some(revision) = produce(store.id(), snapshot, &send).await? else {
                return Ok(());
            };
            store.remember_backup(revision).await;
            Ok(())
        })
        .await
    }

    async fn remember_backup(&self, revision: Revision) {
        let at = self.now();
        let mut batch = Batch::new(at.millis());
        let last = LastBackup { at, revision };
        batch.put(schema::last_backup(), schema::last_backup_value(&last));
        if let Err(cause) = self.inner.kv.commit(batch).await {
            // The backup is whole all the same.
            tracing::warn!(%cause, "that a backup was completed could not be noted");
        }
    }
}

/// Bytes on their way into chunks.
struct Writer<'a> {
    pending: BytesMut,
    digest: Sha256,
    bytes: u64,
    rows: u64,
    send: &'a mpsc::Sender<Result<BackupPart, Error>>,
}

/// Nobody reads any more.
struct Gone;

/// Sends the snapshot up to the end, and returns its revision; `None` when nobody reads any more.
async fn produce(
    id: StoreId,
    snapshot: Arc<dyn Snapshot>,
    send: &mpsc::Sender<Result<BackupPart, Error>>,
) -> Result<Option<Revision>, Error> {
    let revision = snapshot.revision();
    let tables = tables(&*snapshot).await?;
    let mut rows = 0;
    for table in &tables {
        rows += snapshot.count(table).await?;
    }
    let mut out = Writer {
        pending: BytesMut::new(),
        digest: Sha256::new(),
        bytes: 0,
        rows: 0,
        send,
    };
    let written = async {
        let head = BackupPart::Head { id, revision, rows };
        if send.send(Ok(head)).await.is_err() {
            return Ok(Err(Gone));
        }
        out.pending.put_slice(MAGIC);
        out.record(pb::backup_record::Part::Head(pb::BackupHead {
            store_id: Bytes::copy_from_slice(&id.0),
            schema_version: schema::VERSION,
            revision: revision.0,
            rows,
        }));
        for table in tables {
            if let Err(gone) = copy_table(&*snapshot, table, &mut out).await? {
                return Ok(Err(gone));
            }
        }
        out.record(pb::backup_record::Part::End(pb::BackupEnd {
            revision: revision.0,
            rows,
        }));
        // The snapshot pins pages; what is left is in memory.
        drop(snapshot);
        Ok::<_, Error>(out.end(revision, rows).await)
    };
    Ok(written.await?.is_ok().then_some(revision))
}

/// What makes up a store: not the answers to requests that had an id, which belong to its clients.
async fn tables(snapshot: &dyn Snapshot) -> Result<Vec<Table>, Error> {
    let mut tables = snapshot.tables("").await?;
    tables.retain(|table| schema::parse_requests(table).is_none());
    Ok(tables)
}

async fn copy_table(
    snapshot: &dyn Snapshot,
    table: Table,
    out: &mut Writer<'_>,
) -> Result<Result<(), Gone>, Error> {
    let mut rest = Rows::all(table.clone());
    let mut gathered = Vec::new();
    let mut bytes = 0;
    loop {
        let found = snapshot.scan(&rest, STEP).await?;
        let last = found.rows.last().map(|(row, _)| row.clone());
        for (row, value) in found.rows {
            bytes += row.len() + value.value.len();
            gathered.push(pb::BackupRow {
                row,
                revision: value.revision.0,
                value: value.value,
            });
            if bytes >= RECORD_BYTES {
                out.rows(&table, std::mem::take(&mut gathered));
                bytes = 0;
                if let Err(gone) = out.flush(CHUNK_BYTES).await {
                    return Ok(Err(gone));
                }
            }
        }
        match last {
            Some(last) if !found.is_end => rest = rest.after(last),
            _ => break,
        }
    }
    if !gathered.is_empty() {
        out.rows(&table, gathered);
    }
    Ok(Ok(()))
}

impl Writer<'_> {
    fn rows(&mut self, table: &Table, rows: Vec<pb::BackupRow>) {
        self.rows += rows.len() as u64;
        self.record(pb::backup_record::Part::Rows(pb::BackupRows {
            table: table.path().to_owned(),
            rows,
        }));
    }

    fn record(&mut self, part: pb::backup_record::Part) {
        let record = pb::BackupRecord { part: Some(part) };
        let len = u32::try_from(record.encoded_len()).expect("a row has at most 16 MiB");
        self.pending.put_u32(len);
        record.encode_raw(&mut self.pending);
    }

    /// Sends what fills chunks of so many bytes.
    async fn flush(&mut self, chunk: usize) -> Result<(), Gone> {
        while self.pending.len() >= chunk {
            let chunk = self.pending.split_to(chunk).freeze();
            self.send_chunk(chunk).await?;
        }
        Ok(())
    }

    async fn send_chunk(&mut self, chunk: Bytes) -> Result<(), Gone> {
        self.digest.update(&chunk);
        self.bytes += chunk.len() as u64;
        let part = BackupPart::Chunk {
            bytes: chunk,
            rows: self.rows,
        };
        let sent = self.send.send(Ok(part)).await;
        sent.map_err(|_| Gone)
    }

    /// Sends the rest, and what all of it was.
    async fn end(mut self, revision: Revision, rows: u64) -> Result<(), Gone> {
        self.flush(CHUNK_BYTES).await?;
        let mut all = self.digest.clone();
        all.update(&self.pending);
        self.pending.put_slice(&all.finalize());
        self.flush(CHUNK_BYTES).await?;
        let rest = self.pending.split().freeze();
        if !rest.is_empty() {
            self.send_chunk(rest).await?;
        }
        let digest = Digest::from_bytes(Algorithm::Sha256, &self.digest.finalize())
            .expect("SHA-256 has as many bytes as it has");
        let end = BackupPart::End {
            revision,
            rows,
            bytes: self.bytes,
            digest,
        };
        self.send.send(Ok(end)).await.map_err(|_| Gone)
    }
}
