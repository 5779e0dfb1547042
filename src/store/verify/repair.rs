//! Rebuilding the indexes from the records.

use bytes::Bytes;

use super::Check;
use crate::error::Error;
use crate::kv::{Batch, Guard, Key, Op};
use crate::store::Store;

/// Rows that are mended in one batch: with keys of 4 KiB, a quarter of what an engine takes.
const FIXES_AT_ONCE: usize = 1000;

/// What makes a row what the others say.
#[derive(Clone)]
pub(super) struct Fix {
    /// Holds while they still say so.
    pub guard: Guard,
    pub key: Key,
    pub op: Op,
}

impl Fix {
    pub fn add(guard: Guard, key: Key) -> Self {
        Self::put(guard, key, Bytes::new())
    }

    pub fn put(guard: Guard, key: Key, value: Bytes) -> Self {
        Self {
            guard,
            key,
            op: Op::Put(value),
        }
    }

    pub fn remove(guard: Guard, key: Key) -> Self {
        Self {
            guard,
            key,
            op: Op::Delete,
        }
    }
}

impl Store {
    /// Makes the indexes of digests, of removed names and of leases that expire what the records and their
    /// history say, the counts of leases what they hold, and the indexes of configs what these and their marks
    /// say, removes claims and pins that lead nowhere or cannot be read, and generations without a builder, and build
    /// targets that cannot be read, which are to be declared again; and returns how many rows were wrong. Other records that
    /// cannot be read are left as they are. A
    /// config whose summary has to be written anew loses its children; one whose marks are lost has none.
    ///
    /// For a store that nobody writes to: [`Error::Contended`] when what is mended changes meanwhile.
    pub async fn repair(&self) -> Result<u64, Error> {
        let mut mended = 0;
        // Each pass mends all that it finds, up to a bound; one that finds as much again mends nothing.
        let mut before = u64::MAX;
        loop {
            let mut check = Check::new(self.snapshot().await?);
            check.records().await?;
            if check.fixes.is_empty() || check.found.count >= before {
                return Ok(mended);
            }
            before = check.found.count;
            mended += check.fixes.len() as u64;
            for fixes in check.fixes.chunks(FIXES_AT_ONCE) {
                let mut batch = Batch::new(self.now().millis());
                for fix in fixes.iter().cloned() {
                    batch.guard(fix.guard);
                    match fix.op {
                        Op::Put(value) => batch.put(fix.key, value),
                        Op::Delete => batch.delete(fix.key),
                    };
                }
                batch.frees_space();
                self.inner.kv.commit(batch).await?;
            }
        }
    }
}
