//! A batch: what must still hold, and what then changes, all at once.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{CommitError, Key, Revision, Table};

/// Applies whole, at one revision, if every guard still holds; otherwise changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    guards: Vec<Guard>,
    cleared: BTreeSet<Table>,
    ops: BTreeMap<Key, Op>,
    at_millis: i64,
    frees_space: bool,
}

/// What must hold when the batch is applied. Checking one never creates a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// There is no such row.
    Absent(Key),
    /// The row is there, and was last written at this revision.
    Unchanged(Key, Revision),
    /// No row of the table starts with the key's row; with an empty row, the table has none at all.
    Empty(Key),
    /// No row of the table that starts with the key's row was written after this revision; with an empty
    /// row, none at all. Rows may have gone. Costs a look at each row that starts so: for few.
    Quiet(Key, Revision),
}

/// What happens to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put(Bytes),
    Delete,
}

/// How large a batch may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations and guards together.
    pub ops: usize,
    /// Bytes of keys and values together.
    pub bytes: usize,
}

impl Batch {
    /// `at_millis` (since 1970) is when the change log says that it happened.
    pub fn new(at_millis: i64) -> Self {
        Self {
            at_millis,
            ..Self::default()
        }
    }

    pub fn guard(&mut self, guard: Guard) -> &mut Self {
        self.guards.push(guard);
        self
    }

    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) -> &mut Self {
        self.ops.insert(key, Op::Put(value.into()));
        self
    }

    pub fn delete(&mut self, key: Key) -> &mut Self {
        self.ops.insert(key, Op::Delete);
        self
    }

    /// Empties a table, however large, before the batch's other operations.
    pub fn clear(&mut self, table: Table) -> &mut Self {
        self.cleared.insert(table);
        self
    }

    /// Lets the batch through when the disk is nearly full.
    pub fn frees_space(&mut self) -> &mut Self {
        self.frees_space = true;
        self
    }

    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }

    pub fn ops(&self) -> &BTreeMap<Key, Op> {
        &self.ops
    }

    pub fn cleared(&self) -> &BTreeSet<Table> {
        &self.cleared
    }

    pub fn at_millis(&self) -> i64 {
        self.at_millis
    }

    pub fn is_freeing_space(&self) -> bool {
        self.frees_space
    }

    /// Whether it would do nothing even if its guards hold.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.cleared.is_empty()
    }

    /// Refuses a batch that an engine cannot take whole.
    pub(crate) fn check(&self, limits: Limits) -> Result<(), CommitError> {
        let ops = self.guards.len() + self.ops.len() + self.cleared.len();
        if ops > limits.ops {
            return Err(CommitError::TooLarge {
                what: "operations",
                size: ops,
                limit: limits.ops,
            });
        }
        let bytes = self.bytes();
        if bytes > limits.bytes {
            return Err(CommitError::TooLarge {
                what: "bytes",
                size: bytes,
                limit: limits.bytes,
            });
        }
        Ok(())
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        let ops = self.ops.iter().map(|(key, op)| {
            key.row.len()
                + match op {
                    Op::Put(value) => value.len(),
                    Op::Delete => 0,
                }
        });
        ops.sum()
    }
}
