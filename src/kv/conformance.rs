//! What every engine promises, as tests over any of them, and a comparison with the model.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// An engine, and what must outlive it.
struct Subject {
    kv: Arc<dyn Kv>,
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Subject {
    Subject {
        kv: Arc::new(Memory::new()),
        _dir: None,
    }
}

fn redb_in(dir: &tempfile::TempDir) -> Redb {
    Redb::open(dir.path(), Options::default()).unwrap()
}

fn redb() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    Subject {
        kv: Arc::new(redb_in(&dir)),
        _dir: Some(dir),
    }
}

fn faulty() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    Subject {
        kv: Arc::new(Faulty::new(redb_in(&dir))),
        _dir: Some(dir),
    }
}

/// Runs each test on each engine.
macro_rules! on_every_engine {
    ($($test:ident),* $(,)?) => {
        mod on_memory { $(#[tokio::test] async fn $test() { super::$test(super::memory()).await; })* }
        mod on_redb { $(#[tokio::test] async fn $test() { super::$test(super::redb()).await; })* }
        mod on_faulty_redb { $(#[tokio::test] async fn $test() { super::$test(super::faulty()).await; })* }
    };
}

on_every_engine![
    an_empty_engine_is_at_revision_zero,
    a_commit_is_seen_whole_at_its_revision,
    a_snapshot_stays_as_it_was,
    a_broken_guard_is_named_and_nothing_changes,
    guards_hold_against_the_rows_as_they_are,
    guards_hold_within_a_group_too,
    checking_a_guard_makes_no_table,
    a_batch_that_changes_nothing_takes_no_revision,
    clearing_a_table_comes_before_the_other_operations,
    a_cleared_table_is_one_change_in_the_log,
    the_log_has_new_and_previous_values_of_logged_tables_only,
    the_log_is_read_from_any_revision_on,
    a_scan_goes_through_its_range_in_order,
    a_reversed_scan_goes_through_its_range_backwards,
    changes_come_in_portions_and_none_only_at_the_end,
    the_tail_has_every_revision_once_and_in_order,
    the_tail_comes_after_the_view_and_before_the_answer,
    who_falls_behind_the_tail_is_told_and_finds_the_rest_in_the_log,
    rows_of_one_table_are_no_rows_of_another,
    a_batch_too_large_is_refused_and_names_the_limit,
    concurrent_commits_get_revisions_of_their_own,
    a_closed_engine_takes_no_commits,
];

impl Subject {
    async fn view(&self) -> Arc<dyn Snapshot> {
        self.kv.snapshot().await.unwrap()
    }

    async fn value(&self, key: &Key) -> Option<Versioned> {
        self.view()
            .await
            .get(std::slice::from_ref(key))
            .await
            .unwrap()
            .remove(0)
    }

    async fn put(&self, key: Key, value: &'static str) -> Revision {
        let mut batch = Batch::new(0);
        batch.put(key, value);
        self.kv.commit(batch).await.unwrap()
    }
}

fn key(row: &'static str) -> Key {
    Table::logged("v1/a/t").key(row)
}

async fn an_empty_engine_is_at_revision_zero(on: Subject) {
    let view = on.view().await;
    assert_eq!(view.revision(), Revision::ZERO);
    assert_eq!(view.tables("").await.unwrap(), []);
    assert_eq!(view.count(&key("").table).await.unwrap(), 0);
    assert_eq!(view.changes(Revision::ZERO, 9).await.unwrap(), []);
    assert!(on.value(&key("a")).await.is_none());
}

async fn a_commit_is_seen_whole_at_its_revision(on: Subject) {
    let mut batch = Batch::new(0);
    batch
        .put(key("a"), "1")
        .put(Table::new("v1/b/t").key("b"), "2");
    let revision = on.kv.commit(batch).await.unwrap();
    assert_eq!(revision, Revision(1));
    let view = on.view().await;
    assert_eq!(view.revision(), revision);
    let rows = view
        .get(&[key("a"), key("x"), Table::new("v1/b/t").key("b")])
        .await
        .unwrap();
    let row = |value: &'static str| {
        Some(Versioned {
            revision,
            value: value.into(),
        })
    };
    assert_eq!(rows, [row("1"), None, row("2")]);
    let tables: Vec<String> = view
        .tables("v1/")
        .await
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(tables, ["v1/a/t", "v1/b/t"]);
    assert_eq!(view.tables("v1/b/").await.unwrap().len(), 1);
}

async fn a_snapshot_stays_as_it_was(on: Subject) {
    on.put(key("a"), "1").await;
    let before = on.view().await;
    on.put(key("a"), "2").await;
    on.put(key("b"), "2").await;
    assert_eq!(before.revision(), Revision(1));
    assert_eq!(before.count(&key("").table).await.unwrap(), 1);
    assert_eq!(
        before.get(&[key("a")]).await.unwrap()[0]
            .as_ref()
            .unwrap()
            .value,
        "1"
    );
    assert_eq!(before.changes(Revision::ZERO, 9).await.unwrap().len(), 1);
}

async fn a_broken_guard_is_named_and_nothing_changes(on: Subject) {
    on.put(key("a"), "1").await;
    let mut batch = Batch::new(0);
    batch
        .guard(Guard::Absent(key("b")))
        .guard(Guard::Absent(key("a")))
        .put(key("b"), "2");
    assert!(matches!(
        on.kv.commit(batch).await,
        Err(CommitError::Broken(1))
    ));
    assert!(on.value(&key("b")).await.is_none());
    assert_eq!(on.view().await.revision(), Revision(1));
}

async fn guards_hold_against_the_rows_as_they_are(on: Subject) {
    let table = key("").table;
    let r1 = on.put(key("ab"), "1").await;
    let r2 = on.put(key("b"), "2").await;
    for (guard, holds) in [
        (Guard::Absent(key("x")), true),
        (Guard::Absent(key("ab")), false),
        (Guard::Unchanged(key("ab"), r1), true),
        (Guard::Unchanged(key("ab"), r2), false),
        (Guard::Unchanged(key("x"), r1), false),
        (Guard::Empty(table.key("")), false),
        (Guard::Empty(table.key("a")), false),
        (Guard::Empty(table.key("ab")), false),
        (Guard::Empty(table.key("abc")), true),
        (Guard::Empty(table.key("aa")), true),
        (Guard::Empty(table.key("c")), true),
        (Guard::Empty(Table::new("v1/none").key("")), true),
    ] {
        let mut batch = Batch::new(0);
        batch.guard(guard.clone());
        let held = on.kv.commit(batch).await;
        assert_eq!(held.is_ok(), holds, "{guard:?}");
    }
}

async fn guards_hold_within_a_group_too(on: Subject) {
    // All at once, so that an engine that groups them has them in one group.
    let commits = (0..50).map(|_| {
        let mut batch = Batch::new(0);
        batch
            .guard(Guard::Absent(key("one")))
            .put(key("one"), "mine");
        on.kv.commit(batch)
    });
    let outcomes = futures::future::join_all(commits).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let broken = |outcome: &Result<_, _>| matches!(outcome, Err(CommitError::Broken(0)));
    assert_eq!(
        outcomes.iter().filter(|outcome| broken(outcome)).count(),
        49
    );
    assert_eq!(on.view().await.revision(), Revision(1));
}

async fn checking_a_guard_makes_no_table(on: Subject) {
    let mut batch = Batch::new(0);
    batch
        .guard(Guard::Absent(Table::new("v1/x").key("a")))
        .guard(Guard::Empty(Table::new("v1/y").key("")))
        .put(key("a"), "1");
    on.kv.commit(batch).await.unwrap();
    assert_eq!(on.view().await.tables("").await.unwrap(), [key("").table]);
}

async fn a_batch_that_changes_nothing_takes_no_revision(on: Subject) {
    on.put(key("a"), "1").await;
    let mut nothing = Batch::new(0);
    nothing
        .delete(key("x"))
        .delete(Table::new("v1/none").key("x"))
        .clear(Table::new("v1/none"));
    assert_eq!(on.kv.commit(nothing).await.unwrap(), Revision(1));
    assert_eq!(on.kv.commit(Batch::new(0)).await.unwrap(), Revision(1));
    assert_eq!(on.view().await.tables("").await.unwrap().len(), 1);
    assert_eq!(
        on.put(key("a"), "1").await,
        Revision(2),
        "a Put always writes"
    );
}

async fn clearing_a_table_comes_before_the_other_operations(on: Subject) {
    on.put(key("a"), "1").await;
    on.put(key("b"), "1").await;
    let mut batch = Batch::new(0);
    batch.put(key("c"), "2").clear(key("").table);
    on.kv.commit(batch).await.unwrap();
    assert_eq!(on.view().await.count(&key("").table).await.unwrap(), 1);
    assert_eq!(on.value(&key("c")).await.unwrap().value, "2");
    let mut batch = Batch::new(0);
    batch.clear(key("").table);
    on.kv.commit(batch).await.unwrap();
    assert_eq!(on.view().await.tables("").await.unwrap(), []);
}

async fn a_cleared_table_is_one_change_in_the_log(on: Subject) {
    for row in ["a", "b", "c"] {
        on.put(key(row), "1").await;
    }
    let mut batch = Batch::new(7);
    batch.clear(key("").table);
    let revision = on.kv.commit(batch).await.unwrap();
    let changes = on.view().await.changes(Revision(3), 9).await.unwrap();
    let effects = vec![Effect::Cleared {
        table: "v1/a/t".into(),
        rows: 3,
    }];
    assert_eq!(
        changes,
        [Change {
            revision,
            at_millis: 7,
            effects
        }]
    );
}

async fn the_log_has_new_and_previous_values_of_logged_tables_only(on: Subject) {
    let index = Table::new("v1/a/index").key("i");
    for (value, at) in [(Some("1"), 10), (Some("2"), 20), (None, 30)] {
        let mut batch = Batch::new(at);
        match value {
            Some(value) => batch.put(key("a"), value).put(index.clone(), value),
            None => batch.delete(key("a")).delete(index.clone()),
        };
        on.kv.commit(batch).await.unwrap();
    }
    let mut unlogged = Batch::new(40);
    unlogged.put(index, "3");
    on.kv.commit(unlogged).await.unwrap();
    let change = |revision: u64,
                  at_millis,
                  value: Option<&'static str>,
                  previous: Option<&'static str>| Change {
        revision: Revision(revision),
        at_millis,
        effects: vec![Effect::Row {
            table: "v1/a/t".into(),
            row: "a".into(),
            value: value.map(Bytes::from),
            previous: previous.map(|value| Versioned {
                revision: Revision(revision - 1),
                value: value.into(),
            }),
        }],
    };
    let quiet = Change {
        revision: Revision(4),
        at_millis: 40,
        effects: vec![],
    };
    assert_eq!(
        on.view().await.changes(Revision::ZERO, 9).await.unwrap(),
        [
            change(1, 10, Some("1"), None),
            change(2, 20, Some("2"), Some("1")),
            change(3, 30, None, Some("2")),
            quiet,
        ]
    );
}

async fn the_log_is_read_from_any_revision_on(on: Subject) {
    // Groups and single commits alike.
    for round in 0..4 {
        let commits = (0..10 * round).map(|i| {
            let mut batch = Batch::new(0);
            batch.put(key("").table.key(format!("{round}/{i}")), "v".repeat(500));
            on.kv.commit(batch)
        });
        futures::future::join_all(commits).await;
    }
    let view = on.view().await;
    let newest = view.revision().0;
    assert_eq!(newest, 60);
    for after in 0..=newest {
        for limit in [1, 3, 100] {
            let changes = view.changes(Revision(after), limit).await.unwrap();
            let revisions: Vec<u64> = changes.iter().map(|change| change.revision.0).collect();
            let wanted: Vec<u64> = (after + 1..=newest).take(limit).collect();
            assert_eq!(revisions, wanted, "after {after}, {limit} at most");
        }
    }
    assert_eq!(view.oldest_change().await.unwrap(), Revision(1));
}

async fn a_scan_goes_through_its_range_in_order(on: Subject) {
    for row in ["b", "a", "ab", "abc", "ac"] {
        on.put(key(row), "1").await;
    }
    let view = on.view().await;
    let table = key("").table;
    let rows = async |rows: Rows, limit| -> Vec<Bytes> {
        view.scan(&rows, limit)
            .await
            .unwrap()
            .rows
            .into_iter()
            .map(|(row, _)| row)
            .collect()
    };
    assert_eq!(
        rows(Rows::all(table.clone()), 9).await,
        ["a", "ab", "abc", "ac", "b"]
    );
    assert_eq!(
        rows(Rows::all(table.clone()), 500).await.len(),
        5,
        "a long scan is the same"
    );
    assert_eq!(
        rows(Rows::starting_with(table.clone(), b"ab"), 9).await,
        ["ab", "abc"]
    );
    assert_eq!(
        rows(Rows::starting_with(table.clone(), b"a"), 2).await,
        ["a", "ab"]
    );
    assert_eq!(
        rows(
            Rows::starting_with(table.clone(), b"a").after("ab".into()),
            9
        )
        .await,
        ["abc", "ac"]
    );
    assert_eq!(
        rows(
            Rows::starting_with(table.clone(), b"a").after("z".into()),
            9
        )
        .await,
        [""; 0]
    );
    assert_eq!(
        rows(Rows::between(table.clone(), b"ab", b"ac"), 9).await,
        ["ab", "abc", "ac"]
    );
    assert_eq!(rows(Rows::all(Table::new("v1/none")), 9).await, [""; 0]);
}

async fn a_reversed_scan_goes_through_its_range_backwards(on: Subject) {
    for row in ["b", "a", "ab", "abc", "ac"] {
        on.put(key(row), "1").await;
    }
    let view = on.view().await;
    let table = key("").table;
    let scanned = async |rows: Rows, limit| {
        let found = view.scan(&rows.reversed(), limit).await.unwrap();
        let rows: Vec<Bytes> = found.rows.into_iter().map(|(row, _)| row).collect();
        (rows, found.is_end)
    };
    let all = || Rows::all(table.clone());
    let starting = |prefix: &str| Rows::starting_with(table.clone(), prefix.as_bytes());
    let backwards = ["b", "ac", "abc", "ab", "a"].map(Bytes::from).to_vec();
    assert_eq!(scanned(all(), 9).await, (backwards.clone(), true));
    assert_eq!(scanned(all(), 500).await, (backwards.clone(), true));
    assert_eq!(scanned(all(), 2).await, (backwards[..2].to_vec(), false));
    assert_eq!(
        scanned(starting("ab"), 9).await,
        (backwards[2..4].to_vec(), true)
    );
    // Page by page, each after the last row of the one before.
    let mut rest = all().reversed();
    let mut paged = Vec::new();
    loop {
        let page = view.scan(&rest, 2).await.unwrap();
        paged.extend(page.rows.into_iter().map(|(row, _)| row));
        if page.is_end {
            break;
        }
        rest = rest.after(paged.last().unwrap().clone());
    }
    assert_eq!(paged, backwards);
    let below_all = starting("a").reversed().after("a".into());
    assert_eq!(view.scan(&below_all, 9).await.unwrap().rows, []);
}

async fn changes_come_in_portions_and_none_only_at_the_end(on: Subject) {
    // One larger than a portion, and many that are smaller.
    let values = std::iter::once(2 * SCAN_BYTES).chain([SCAN_BYTES / 8; 30]);
    for value in values {
        let mut batch = Batch::new(0);
        batch.put(key("a"), vec![0; value]);
        on.kv.commit(batch).await.unwrap();
    }
    let view = on.view().await;
    let mut at = Revision::ZERO;
    let mut portions = 0;
    while at < view.revision() {
        let portion = view.changes(at, 999).await.unwrap();
        let bytes: usize = portion.iter().map(Change::weight).sum();
        let last = portion.last().expect("there are more").weight();
        assert!(bytes - last < SCAN_BYTES, "{bytes} bytes after {at}");
        for change in portion {
            assert_eq!(change.revision, at.next());
            at = change.revision;
        }
        portions += 1;
    }
    assert!(portions > 5, "{portions} portions");
    assert_eq!(view.changes(at, 999).await.unwrap(), []);
}

async fn the_tail_has_every_revision_once_and_in_order(on: Subject) {
    on.put(key("before"), "1").await;
    let mut tail = on.kv.tail();
    let from = on.view().await.revision();
    let mut told = Vec::new();
    for round in 0..20 {
        let commits = (0..10).map(|i| {
            let mut batch = Batch::new(0);
            match i {
                // Revisions without an effect in the log, and batches without a revision.
                0 => batch.put(Table::new("v1/a/index").key("i"), "1"),
                1 => batch.delete(key("none")),
                2 => batch.guard(Guard::Absent(key("before"))).put(key("x"), "1"),
                _ => batch.put(key("").table.key(format!("{i}")), "1"),
            };
            on.kv.commit(batch)
        });
        futures::future::join_all(commits).await;
        let newest = on.view().await.revision();
        assert_eq!(newest, Revision(1 + (round + 1) * 8));
        while told
            .last()
            .is_none_or(|last: &Change| last.revision < newest)
        {
            told.extend_from_slice(&told_next(&mut tail));
        }
    }
    let logged = on.view().await.changes(from, 999).await.unwrap();
    assert_eq!(told, logged);
}

/// What the tail has already.
fn told_next(tail: &mut broadcast::Receiver<Arc<[Change]>>) -> Arc<[Change]> {
    tail.try_recv().expect("the tail is ahead of the answers")
}

async fn the_tail_comes_after_the_view_and_before_the_answer(on: Subject) {
    let mut tail = on.kv.tail();
    let watcher = async {
        for revision in 1..=50 {
            let told = tail.recv().await.unwrap();
            assert_eq!(told[0].revision, Revision(revision));
            assert!(on.view().await.revision() >= Revision(revision));
        }
    };
    let writer = async {
        let mut own = on.kv.tail();
        for _ in 0..50 {
            let revision = on.put(key("a"), "1").await;
            assert_eq!(told_next(&mut own)[0].revision, revision);
        }
    };
    futures::future::join(watcher, writer).await;
}

async fn who_falls_behind_the_tail_is_told_and_finds_the_rest_in_the_log(on: Subject) {
    let mut tail = on.kv.tail();
    let commits = 3 * TAIL_GROUPS as u64;
    for _ in 0..commits {
        on.put(key("a"), "1").await;
    }
    let lagged = tail.recv().await;
    assert!(matches!(
        lagged,
        Err(broadcast::error::RecvError::Lagged(_))
    ));
    let logged = on.view().await.changes(Revision::ZERO, 999).await.unwrap();
    let mut at = logged.last().unwrap().revision;
    assert_eq!(at, Revision(commits));
    on.put(key("a"), "2").await;
    while at < Revision(commits + 1) {
        let told = match tail.try_recv() {
            Err(broadcast::error::TryRecvError::Lagged(_)) => continue,
            told => told.unwrap(),
        };
        for change in told.iter().filter(|told| told.revision.0 > commits) {
            assert_eq!(change.revision, at.next());
            at = change.revision;
        }
    }
}

async fn rows_of_one_table_are_no_rows_of_another(on: Subject) {
    let (a, b) = (Table::new("v1/a/t"), Table::new("v1/a/tt"));
    on.put(a.key("x"), "1").await;
    on.put(b.key("y"), "2").await;
    let view = on.view().await;
    assert_eq!(view.count(&a).await.unwrap(), 1);
    assert_eq!(view.scan(&Rows::all(a), 9).await.unwrap().rows.len(), 1);
    assert!(view.get(&[b.key("x")]).await.unwrap()[0].is_none());
}

async fn a_batch_too_large_is_refused_and_names_the_limit(on: Subject) {
    let limits = on.kv.limits();
    let mut heavy = Batch::new(0);
    heavy.put(key("a"), vec![0; limits.bytes]);
    let refused = on.kv.commit(heavy).await;
    assert!(matches!(refused, Err(CommitError::TooLarge { limit, .. }) if limit == limits.bytes));
    let mut many = Batch::new(0);
    for i in 0..=limits.ops {
        many.put(key("").table.key(i.to_be_bytes().to_vec()), "");
    }
    let refused = on.kv.commit(many).await;
    assert!(matches!(refused, Err(CommitError::TooLarge { limit, .. }) if limit == limits.ops));
    assert_eq!(on.view().await.revision(), Revision::ZERO);

    let mut largest = Batch::new(0);
    largest.put(key("a"), vec![1; limits.bytes - 1]);
    on.kv.commit(largest).await.unwrap();
    assert_eq!(
        on.value(&key("a")).await.unwrap().value.len(),
        limits.bytes - 1
    );
}

async fn concurrent_commits_get_revisions_of_their_own(on: Subject) {
    let commits = (0..300).map(|i| {
        let mut batch = Batch::new(0);
        batch.put(key("").table.key(format!("{i}")), "1");
        on.kv.commit(batch)
    });
    let mut revisions: Vec<u64> = futures::future::join_all(commits)
        .await
        .into_iter()
        .map(|outcome| outcome.unwrap().0)
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=300).collect::<Vec<_>>());
    let view = on.view().await;
    for (row, value) in view
        .scan(&Rows::all(key("").table), 999)
        .await
        .unwrap()
        .rows
    {
        let changes = view
            .changes(Revision(value.revision.0 - 1), 1)
            .await
            .unwrap();
        assert!(
            matches!(&changes[0].effects[0], Effect::Row { row: logged, .. } if *logged == row)
        );
    }
}

async fn a_closed_engine_takes_no_commits(on: Subject) {
    on.put(key("a"), "1").await;
    on.kv.close().await;
    let mut batch = Batch::new(0);
    batch.put(key("b"), "1");
    assert!(matches!(
        on.kv.commit(batch).await,
        Err(CommitError::Closed)
    ));
    on.kv.close().await;
}

// === redb and the model do the same ===

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
