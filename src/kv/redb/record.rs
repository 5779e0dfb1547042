//! Batches as the journal keeps them. Their guards have held, and are left out.

use std::collections::HashMap;

use crate::kv::{Batch, Op, Revision, Table};
use crate::proto::storage as pb;

/// Batches and the revisions that they were applied at.
pub(super) fn encode(batches: &[(Revision, &Batch)]) -> pb::JournalRecord {
    let mut tables: Vec<&Table> = Vec::new();
    let mut positions: HashMap<(&str, bool), u32> = HashMap::new();
    let mut position = |table| {
        *positions.entry(identity(table)).or_insert_with(|| {
            tables.push(table);
            u32::try_from(tables.len() - 1).expect("a group has less than 2^32 operations")
        })
    };
    let mut encoded = Vec::with_capacity(batches.len());
    for (revision, batch) in batches {
        encoded.push(pb::JournalBatch {
            revision: revision.0,
            at_millis: batch.at_millis(),
            clears: batch.cleared().iter().map(&mut position).collect(),
            ops: batch
                .ops()
                .iter()
                .map(|(key, op)| pb::JournalOp {
                    table: position(&key.table),
                    row: key.row.clone(),
                    value: match op {
                        Op::Put(value) => Some(value.clone()),
                        Op::Delete => None,
                    },
                })
                .collect(),
        });
    }
    let tables = tables.into_iter().map(|table| pb::JournalTable {
        path: table.path().to_owned(),
        logged: table.is_logged(),
    });
    pb::JournalRecord {
        tables: tables.collect(),
        batches: encoded,
    }
}

/// Two handles of one path may differ in whether they are logged.
fn identity(table: &Table) -> (&str, bool) {
    (table.path(), table.is_logged())
}

/// `None` for a record that names a table that it does not list.
pub(super) fn decode(record: pb::JournalRecord) -> Option<Vec<(Revision, Batch)>> {
    let table = |listed: pb::JournalTable| {
        if listed.logged {
            Table::logged(listed.path)
        } else {
            Table::new(listed.path)
        }
    };
    let tables: Vec<Table> = record.tables.into_iter().map(table).collect();
    let listed = |position: u32| tables.get(usize::try_from(position).ok()?);
    let mut batches = Vec::with_capacity(record.batches.len());
    for stored in record.batches {
        let mut batch = Batch::new(stored.at_millis);
        for position in stored.clears {
            batch.clear(listed(position)?.clone());
        }
        for op in stored.ops {
            let key = listed(op.table)?.key(op.row);
            match op.value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        batches.push((Revision(stored.revision), batch));
    }
    Some(batches)
}

/// The most bytes that a batch takes in a record.
pub(super) fn bytes(batch: &Batch) -> usize {
    const FIELDS: usize = 32;
    let ops = batch.ops().iter().map(|(key, op)| {
        let value = match op {
            Op::Put(value) => value.len(),
            Op::Delete => 0,
        };
        key.table.path().len() + key.row.len() + value + FIELDS
    });
    let clears = batch
        .cleared()
        .iter()
        .map(|table| table.path().len() + FIELDS);
    ops.sum::<usize>() + clears.sum::<usize>() + FIELDS
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn batches_come_back_as_they_were_and_take_no_more_than_was_said() {
        let (images, index) = (Table::logged("v1/a/images"), Table::new("v1/a/digests"));
        let mut first = Batch::new(7);
        first
            .put(images.key("x"), "1")
            .put(index.key("y"), "")
            .delete(images.key("z"));
        let mut second = Batch::new(-8);
        second.clear(index.clone()).put(index.key("y"), "2");
        let record = encode(&[(Revision(4), &first), (Revision(5), &second)]);
        assert_eq!(record.tables.len(), 2);
        assert!(record.encoded_len() <= bytes(&first) + bytes(&second));
        let decoded = decode(record).unwrap();
        assert_eq!(decoded, [(Revision(4), first), (Revision(5), second)]);
        assert!(
            decoded[0]
                .1
                .ops()
                .keys()
                .all(|key| key.table.is_logged() == (key.table == images))
        );
    }

    #[test]
    fn a_record_keeps_its_bytes() {
        let (images, index) = (Table::logged("v1/a/images"), Table::new("v1/a/digests"));
        let mut first = Batch::new(1_795_293_550_934);
        first.put(images.key("x"), "1").delete(images.key("z"));
        let mut second = Batch::new(-1);
        second.clear(index.clone()).put(index.key("y"), "");
        let record = encode(&[(Revision(4), &first), (Revision(1 << 40), &second)]);
        assert_eq!(
            record.encode_to_vec().escape_ascii().to_string(),
            concat!(
                r#"\n\x0f\n\x0bv1/a/images\x10\x01"#,
                r#"\n\x0e\n\x0cv1/a/digests"#,
                r#"\x12\x16\x08\x04\x10\xd6\xb2\xd6\xfe\x9f4\"\x06\x12\x01x\x1a\x011\"\x03\x12\x01z"#,
                r#"\x12\x1e\x08\x80\x80\x80\x80\x80 \x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x01\x01\"\x07\x08\x01\x12\x01y\x1a\x00"#,
            )
        );
    }

    #[test]
    fn a_record_that_names_an_unlisted_table_is_none() {
        let mut batch = Batch::new(0);
        batch.put(Table::new("t").key("x"), "1");
        let mut record = encode(&[(Revision(1), &batch)]);
        record.tables.clear();
        assert_eq!(decode(record), None);
    }
}
