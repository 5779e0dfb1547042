//! The change log against the state.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{Check, STEP};
use crate::error::Error;
use crate::kv::{Effect, Revision, Table, Versioned};
use crate::store::schema;

/// What the log says last of each row; `None` where it was deleted. Values by their digest: all of them
/// could be too many to hold.
type Last = BTreeMap<(String, Bytes), Option<(Revision, [u8; 32])>>;

impl Check {
    /// What the log says last of a row is what the row is; revisions follow each other without a gap.
    pub(super) async fn log(&mut self) -> Result<(), Error> {
        let log = Table::new(schema::CHANGES);
        let oldest = self.snapshot.oldest_change().await?;
        let mut last = Last::new();
        let mut at = Revision(oldest.0.saturating_sub(1));
        loop {
            let changes = self.snapshot.changes(at, STEP).await?;
            if changes.is_empty() {
                break;
            }
            self.found.rows += changes.len() as u64;
            for change in changes {
                if change.revision != at.next() {
                    let what = format!("revision {} follows {at}", change.revision);
                    self.report(&log, b"", what);
                }
                at = change.revision;
                for effect in change.effects {
                    self.effect(at, effect, &mut last);
                }
            }
        }
        let newest = self.found.revision;
        if at != newest {
            let what = format!("ends at revision {at}, and the store is at {newest}");
            self.report(&log, b"", what);
        }
        for ((table, row), logged) in last {
            let table = Table::new(table);
            let key = table.key(row.clone());
            let is = self.snapshot.get(&[key]).await?.pop().flatten();
            if is.as_ref().map(summed) != logged {
                self.report(&table, &row, "is not what the change log says");
            }
        }
        Ok(())
    }

    fn effect(&mut self, at: Revision, effect: Effect, last: &mut Last) {
        match effect {
            Effect::Row {
                table,
                row,
                value,
                previous,
            } => {
                let now = value.map(|value| {
                    summed(&Versioned {
                        revision: at,
                        value,
                    })
                });
                let before = last.insert((table.clone(), row.clone()), now);
                if before.is_some_and(|before| before != previous.as_ref().map(summed)) {
                    let what = format!("revision {at} had another previous value");
                    self.report(&Table::new(table), &row, what);
                }
            }
            Effect::Cleared { table, .. } => {
                let of_table = last
                    .range_mut((table.clone(), Bytes::new())..)
                    .take_while(|((of, _), _)| *of == table);
                of_table.for_each(|(_, now)| *now = None);
            }
        }
    }
}

fn summed(row: &Versioned) -> (Revision, [u8; 32]) {
    (row.revision, Sha256::digest(&row.value).into())
}
