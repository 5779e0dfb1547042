//! What a commit does, and what it depends on.

use super::*;

on_every_engine![
    an_empty_engine_is_at_revision_zero,
    a_commit_is_seen_whole_at_its_revision,
    a_snapshot_stays_as_it_was,
    a_broken_guard_is_named_and_nothing_changes,
    guards_hold_against_the_rows_as_they_are,
    guards_hold_within_a_group_too,
    what_goes_leaves_it_quiet_and_what_comes_does_not,
    of_writes_that_need_it_quiet_one_wins,
    checking_a_guard_makes_no_table,
    a_batch_that_changes_nothing_takes_no_revision,
    clearing_a_table_comes_before_the_other_operations,
    rows_of_one_table_are_no_rows_of_another,
    a_batch_too_large_is_refused_and_names_the_limit,
    concurrent_commits_get_revisions_of_their_own,
    a_closed_engine_takes_no_commits,
];

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
        (Guard::Quiet(table.key(""), r2), true),
        (Guard::Quiet(table.key(""), r1), false),
        (Guard::Quiet(table.key("a"), r1), true),
        (Guard::Quiet(table.key("ab"), Revision::ZERO), false),
        (Guard::Quiet(table.key("abc"), Revision::ZERO), true),
        (Guard::Quiet(table.key("b"), r1), false),
        (Guard::Quiet(table.key("c"), Revision::ZERO), true),
        (
            Guard::Quiet(Table::new("v1/none").key(""), Revision::ZERO),
            true,
        ),
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

async fn what_goes_leaves_it_quiet_and_what_comes_does_not(on: Subject) {
    on.put(key("ab"), "1").await;
    let seen = on.put(key("ac"), "1").await;
    let quiet = async || {
        let mut batch = Batch::new(0);
        batch.guard(Guard::Quiet(key("a"), seen));
        on.kv.commit(batch).await.is_ok()
    };
    let mut batch = Batch::new(0);
    batch.delete(key("ab"));
    on.kv.commit(batch).await.unwrap();
    on.put(key("b"), "1").await;
    assert!(quiet().await);
    on.put(key("ac"), "1").await;
    assert!(!quiet().await, "the same row again");
}

async fn of_writes_that_need_it_quiet_one_wins(on: Subject) {
    // All at once, so that an engine that groups them has them in one group.
    let seen = on.put(key("a"), "1").await;
    let commits = (0..50).map(|i| {
        let mut batch = Batch::new(0);
        let row = key("").table.key(format!("a{i}"));
        batch.guard(Guard::Quiet(key("a"), seen)).put(row, "mine");
        on.kv.commit(batch)
    });
    let outcomes = futures::future::join_all(commits).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(on.view().await.revision(), seen.next());
}

async fn checking_a_guard_makes_no_table(on: Subject) {
    let mut batch = Batch::new(0);
    batch
        .guard(Guard::Absent(Table::new("v1/x").key("a")))
        .guard(Guard::Empty(Table::new("v1/y").key("")))
        .guard(Guard::Quiet(Table::new("v1/z").key(""), Revision::ZERO))
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
