//! What one revision did, as the change log keeps it.

use bytes::Bytes;
use prost::Message;

use super::{ReadError, Revision, SCAN_BYTES, Versioned};
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
        previous: Option<Versioned>,
    },
    /// The table lost all its rows at once.
    Cleared { table: String, rows: u64 },
}

impl Change {
    /// Bytes that the change takes in the log, about.
    pub(crate) fn weight(&self) -> usize {
        let effects = self.effects.iter().map(|effect| match effect {
            Effect::Row {
                table,
                row,
                value,
                previous,
            } => {
                let new = value.as_ref().map_or(0, Bytes::len);
                let old = previous.as_ref().map_or(0, |old| old.value.len() + 8);
                table.len() + row.len() + new + old + 16
            }
            Effect::Cleared { table, .. } => table.len() + 16,
        });
        effects.sum::<usize>() + 24
    }

    /// Takes from the log as many as [`super::Snapshot::changes`] may have.
    pub(super) fn take<E>(
        mut from: impl Iterator<Item = Result<Self, E>>,
        limit: usize,
    ) -> Result<Vec<Self>, E> {
        let mut changes = Vec::new();
        let mut bytes = 0;
        while changes.len() < limit && bytes < SCAN_BYTES {
            let Some(change) = from.next().transpose()? else {
                break;
            };
            bytes += change.weight();
            changes.push(change);
        }
        Ok(changes)
    }

    fn to_stored(&self) -> storage::Revision {
        storage::Revision {
            revision: self.revision.0,
            at_millis: self.at_millis,
            changes: self.effects.iter().map(Effect::to_stored).collect(),
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

/// What the rows of the log are written as, and the only thing that they are read as.
const VERSION: u32 = 1;

/// A log row.
pub(super) fn encode(changes: &[Change]) -> Vec<u8> {
    let record = storage::ChangeRecord {
        version: VERSION,
        revisions: changes.iter().map(Change::to_stored).collect(),
    };
    record.encode_to_vec()
}

pub(super) fn decode(row: Bytes) -> Result<Vec<Change>, ReadError> {
    let corrupt =
        |why: &dyn std::fmt::Display| ReadError::corrupt(format!("a row of the change log: {why}"));
    let stored = storage::ChangeRecord::decode(row).map_err(|cause| corrupt(&cause))?;
    if stored.version != VERSION {
        return Err(corrupt(&"has a version that this release does not know"));
    }
    Ok(stored
        .revisions
        .into_iter()
        .map(Change::from_stored)
        .collect())
}

impl Effect {
    fn to_stored(&self) -> storage::Change {
        match self {
            Self::Row {
                table,
                row,
                value,
                previous,
            } => storage::Change {
                table: table.clone(),
                row: row.clone(),
                value: value.clone(),
                previous: previous.as_ref().map(|old| old.value.clone()),
                cleared: None,
                previous_revision: previous.as_ref().map_or(0, |old| old.revision.0),
            },
            Self::Cleared { table, rows } => storage::Change {
                table: table.clone(),
                cleared: Some(*rows),
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
                previous: stored.previous.map(|value| Versioned {
                    revision: Revision(stored.previous_revision),
                    value,
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_log_keeps_its_bytes() {
        let table = || "v1/a/images".to_owned();
        let row = |value: Option<&'static str>, previous: Option<&'static str>| Effect::Row {
            table: table(),
            row: "x".into(),
            value: value.map(Bytes::from),
            previous: previous.map(|value| Versioned {
                revision: Revision(3),
                value: value.into(),
            }),
        };
        let changes = vec![
            Change {
                revision: Revision(4),
                at_millis: 1_795_293_550_934,
                effects: vec![
                    Effect::Cleared {
                        table: table(),
                        rows: 300,
                    },
                    row(Some("new"), None),
                    row(Some(""), Some("old")),
                    row(None, Some("")),
                ],
            },
            Change {
                revision: Revision(1 << 40),
                at_millis: -1,
                effects: Vec::new(),
            },
        ];
        let bytes = encode(&changes);
        assert_eq!(
            bytes.escape_ascii().to_string(),
            concat!(
                r#"\x08\x01"#,
                r#"\x12c\x08\x04\x10\xd6\xb2\xd6\xfe\x9f4"#,
                r#"\x1a\x10\n\x0bv1/a/images(\xac\x02"#,
                r#"\x1a\x15\n\x0bv1/a/images\x12\x01x\x1a\x03new"#,
                r#"\x1a\x19\n\x0bv1/a/images\x12\x01x\x1a\x00\"\x03old0\x03"#,
                r#"\x1a\x14\n\x0bv1/a/images\x12\x01x\"\x000\x03"#,
                r#"\x12\x12\x08\x80\x80\x80\x80\x80 \x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"#,
            )
        );
        assert_eq!(decode(bytes.into()).unwrap(), changes);
    }

    #[test]
    fn a_row_of_another_version_is_corrupt_and_never_a_guess() {
        for row in [&b""[..], b"\x08\x00", b"\x08\x02", b"\x12\x02\x08\x04"] {
            let read = decode(Bytes::from_static(row));
            assert!(matches!(read, Err(ReadError::Corrupt(_))), "{row:?}");
        }
        assert_eq!(decode(Bytes::from_static(b"\x08\x01")).unwrap(), []);
    }
}
