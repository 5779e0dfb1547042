//! What the log and its tail say.

use super::*;

on_every_engine![
    a_cleared_table_is_one_change_in_the_log,
    the_log_has_new_and_previous_values_of_logged_tables_only,
    the_log_is_read_from_any_revision_on,
    changes_come_in_portions_and_none_only_at_the_end,
    the_tail_has_every_revision_once_and_in_order,
    the_tail_comes_after_the_view_and_before_the_answer,
    who_falls_behind_the_tail_is_told_and_finds_the_rest_in_the_log,
];

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
