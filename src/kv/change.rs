//! What one revision did, as the change log keeps it.

use bytes::Bytes;
use prost::Message;

use super::{ReadError, Revision};
use crate::proto::storage;

/// All that one batch did to the logged tables. Empty for a batch that touched only others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub revision: Revision,
    /// When it was committed, in milliseconds since 1970, by the committer's clock.
    pub at_millis: i64,
    pub effects: Vec<Effect>,
}

/// What a batch did to a row or to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `value` is `None` when the row was deleted, `previous` when it is new.
    Row {
        table: String,
        row: Bytes,
        value: Option<Bytes>,
        previous: Option<Bytes>,
    },
    /// The table lost all its rows at once.
    Cleared { table: String, rows: u64 },
}

impl Change {
    /// Bytes that the change takes in the log, about.
    pub(super) fn weight(&self) -> usize {
        let bytes = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let effects = self.effects.iter().map(|effect| match effect {
            Effect::Row {
                table,
                row,
                value,
                previous,
            } => table.len() + row.len() + bytes(value) + bytes(previous) + 16,
            Effect::Cleared { table, .. } => table.len() + 16,
        });
        effects.sum::<usize>() + 24
    }

    fn into_stored(self) -> storage::Revision {
        storage::Revision {
            revision: self.revision.0,
            at_millis: self.at_millis,
            changes: self.effects.into_iter().map(Effect::into_stored).collect(),
        }
    }

    fn from_stored(stored: storage::Revision) -> Self {
        Self {
            revision: Revision(stored.revision),
            at_millis: stored.at_millis,
            effects: stored
                .changes
                .into_iter()
                .map(Effect::from_stored)
                .collect(),
        }
    }
}

/// A log row.
pub(super) fn encode(changes: Vec<Change>) -> Vec<u8> {
    let revisions = changes.into_iter().map(Change::into_stored).collect();
    storage::ChangeRecord { revisions }.encode_to_vec()
}

pub(super) fn decode(row: Bytes) -> Result<Vec<Change>, ReadError> {
    let stored = storage::ChangeRecord::decode(row)
        .map_err(|cause| ReadError::corrupt(format!("a row of the change log: {cause}")))?;
    Ok(stored
        .revisions
        .into_iter()
        .map(Change::from_stored)
        .collect())
}

impl Effect {
    fn into_stored(self) -> storage::Change {
        match self {
            Self::Row {
                table,
                row,
                value,
                previous,
            } => storage::Change {
                table,
                row,
                value,
                previous,
                cleared: None,
            },
            Self::Cleared { table, rows } => storage::Change {
                table,
                cleared: Some(rows),
                ..storage::Change::default()
            },
        }
    }

    fn from_stored(stored: storage::Change) -> Self {
        match stored.cleared {
            Some(rows) => Self::Cleared {
                table: stored.table,
                rows,
            },
            None => Self::Row {
                table: stored.table,
                row: stored.row,
                value: stored.value,
                previous: stored.previous,
            },
        }
    }
}
