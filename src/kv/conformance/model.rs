//! redb and the model do the same.

use proptest::prelude::*;

use super::*;

fn any_key() -> impl Strategy<Value = Key> {
    (0..3usize, "[ab]{0,2}").prop_map(|(table, row)| table_of(table).key(row))
}

fn table_of(table: usize) -> Table {
    [
        Table::logged("v1/x"),
        Table::logged("v1/y"),
        Table::new("v1/z"),
    ][table]
        .clone()
}

fn any_guard() -> impl Strategy<Value = Guard> {
    prop_oneof![
        any_key().prop_map(Guard::Absent),
        (any_key(), 0..20u64).prop_map(|(key, revision)| Guard::Unchanged(key, Revision(revision))),
        any_key().prop_map(Guard::Empty),
        (any_key(), 0..20u64).prop_map(|(key, revision)| Guard::Quiet(key, Revision(revision))),
    ]
}

prop_compose! {
    fn any_batch()(
        guards in prop::collection::vec(any_guard(), 0..2),
        clears in prop::collection::vec(0..3usize, 0..2),
        ops in prop::collection::vec((any_key(), prop::option::of("[a-z]{0,3}")), 0..4),
        clear in prop::bool::weighted(0.2),
        at in 0..1000i64,
    ) -> Batch {
        let mut batch = Batch::new(at);
        for guard in guards {
            batch.guard(guard);
        }
        for table in clears.into_iter().filter(|_| clear) {
            batch.clear(table_of(table));
        }
        for (key, value) in ops {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        batch
    }
}

/// All that one can see of an engine.
async fn everything(kv: &dyn Kv) -> (Revision, Vec<(String, Bytes, Versioned)>, Vec<Change>) {
    let view = kv.snapshot().await.unwrap();
    let mut rows = Vec::new();
    for table in view.tables("").await.unwrap() {
        let found = view
            .scan(&Rows::all(table.clone()), 999)
            .await
            .unwrap()
            .rows;
        assert_eq!(view.count(&table).await.unwrap(), found.len() as u64);
        let reversed = Rows::all(table.clone()).reversed();
        let mut backwards = view.scan(&reversed, 999).await.unwrap().rows;
        backwards.reverse();
        assert_eq!(backwards, found);
        rows.extend(
            found
                .into_iter()
                .map(|(row, value)| (table.to_string(), row, value)),
        );
    }
    (
        view.revision(),
        rows,
        view.changes(Revision::ZERO, 999).await.unwrap(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn redb_does_what_the_model_does_also_after_closing_and_opening(
        batches in prop::collection::vec((any_batch(), prop::bool::weighted(0.1)), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let model = Memory::new();
            let mut redb = redb_in(&dir);
            for (batch, reopen) in batches {
                let ours = redb.commit(batch.clone()).await;
                let models = model.commit(batch).await;
                assert_eq!(format!("{ours:?}"), format!("{models:?}"));
                if reopen {
                    redb.close().await;
                    drop(redb);
                    redb = redb_in(&dir);
                }
            }
            assert_eq!(everything(&redb).await, everything(&model).await);
        });
    }
}
