//! Watching the whole store: what is told, against what the log says.

use std::collections::BTreeSet;

use super::watch::{Random, forgetful, together, write};
use super::*;
use crate::kv::{Change, Effect, TAIL_GROUPS};

on_every_engine![
    whatever_happens_is_told_in_order_whichever_way_it_came,
    watchers_see_what_the_log_says_from_where_they_began,
    a_namespace_that_goes_by_force_is_one_event,
    a_reader_that_does_not_read_gets_all_from_the_log_later,
    a_revision_of_more_than_a_mebibyte_comes_in_fragments,
    a_record_that_makes_no_sense_ends_the_watch,
];

/// An event in a word: `+` is new, `~` was there, `-` is gone.
fn word(event: &StoreEvent) -> String {
    let place = |image: &Stored<Image>| format!("{}/{}", image.namespace, image.record.name);
    match event {
        StoreEvent::ImageCreated(image) => format!("+{}", place(image)),
        StoreEvent::ImageUpdated(image) => format!("~{}", place(image)),
        StoreEvent::ImageDeleted { namespace, name } => format!("-{namespace}/{name}"),
        StoreEvent::NamespaceCreated(record) => format!("+{}", record.name),
        StoreEvent::NamespaceUpdated(record) => format!("~{}", record.name),
        StoreEvent::NamespaceDeleted(name) => format!("-{name}"),
    }
}

fn words(changes: &StoreChanges) -> Vec<String> {
    changes.events.iter().map(word).collect()
}

async fn next(watch: &mut StoreWatch) -> StoreChanges {
    watch.next().await.unwrap().unwrap()
}

fn put_namespace(name: &str, labels: &[(&str, &str)]) -> PutNamespace {
    let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    let labels: BTreeMap<_, _> = labels.collect();
    PutNamespace {
        name: namespace(name),
        change: relabel(Labels::try_from(labels).unwrap()),
        dating: Dating::Changes,
        when: Precondition::None,
        validate_only: false,
        request: None,
    }
}

fn delete_namespace(name: &str, force: bool) -> DeleteNamespace {
    DeleteNamespace {
        name: namespace(name),
        force,
        when: Precondition::None,
        validate_only: false,
        request: None,
    }
}

async fn whatever_happens_is_told_in_order_whichever_way_it_came(on: &On) {
    on.put("old/x", "one").await;
    let At {
        value: mut watch,
        revision: mut at,
    } = on.store.watch().await.unwrap();
    let namespaces = on.store.namespaces();
    on.at(2000);
    on.put("ns/a", "one").await;
    on.put("ns/a", "one").await;
    on.put("ns/a", "two").await;
    let relabelled = put_namespace("ns", &[("k", "v")]);
    namespaces.put(&relabelled).await.unwrap();
    namespaces.put(&put_namespace("made", &[])).await.unwrap();
    on.delete("ns/a").await.unwrap();
    let rollback = RollbackImage::new(name("a"));
    let images = on.store.images();
    images.rollback(&namespace("ns"), rollback).await.unwrap();
    let mut batch = Batch::new(2_000_000);
    batch.put(crate::kv::Table::new("meta").key("backup"), vec![0; 16]);
    on.store.inner.kv.commit(batch).await.unwrap();
    together(
        &on.store,
        "ns",
        [
            ("a".to_owned(), None),
            ("b".to_owned(), Some(replace("one"))),
            ("c".to_owned(), Some(replace("one"))),
        ],
    )
    .await;
    let gone = delete_namespace("made", false);
    namespaces.delete(&gone).await.unwrap();
    for expected in [
        &["+ns/a"][..],
        &["~ns/a"],
        &["~ns"],
        &["+made"],
        &["-ns/a"],
        &["+ns/a"],
        &[],
        &["-ns/a", "+ns/b", "+ns/c"],
        &["-made"],
    ] {
        let told = next(&mut watch).await;
        assert_eq!(words(&told), expected);
        assert_eq!(told.revision, at.next(), "a message for each revision");
        assert_eq!(told.committed_at, Timestamp::new(2000, 0).unwrap());
        at = told.revision;
        for event in told.events {
            match event {
                StoreEvent::ImageUpdated(image) => {
                    assert_eq!(image.record.target, target("two"));
                    assert_eq!(image.revision, at);
                }
                StoreEvent::NamespaceUpdated(record) => {
                    assert_eq!(record.labels.get("k"), Some("v"));
                }
                _ => {}
            }
        }
    }
    assert_eq!(on.store.revision().await.unwrap(), at);
}

/// What the log says, by a way of its own: what there is is followed change by change.
async fn model(store: &Store) -> Vec<(Revision, BTreeSet<String>)> {
    let snapshot = store.snapshot().await.unwrap();
    let mut log: Vec<Change> = Vec::new();
    loop {
        let after = log.last().map_or(Revision::ZERO, |last| last.revision);
        let read = snapshot.changes(after, 1000).await.unwrap();
        if read.is_empty() {
            break;
        }
        log.extend(read);
    }
    let mut there: BTreeSet<String> = BTreeSet::new();
    let mut told = Vec::new();
    for change in log {
        let mut words = BTreeSet::new();
        for effect in &change.effects {
            let Effect::Row {
                table, row, value, ..
            } = effect
            else {
                continue;
            };
            let row = std::str::from_utf8(row).unwrap();
            let place = match table.as_str() {
                "v1/namespaces" => row.to_owned(),
                table => format!("{}/{row}", table.split('/').nth(1).unwrap()),
            };
            if value.is_none() {
                there.retain(|held| *held != place && !held.starts_with(&format!("{place}/")));
                words.insert(format!("-{place}"));
            } else if there.insert(place.clone()) {
                words.insert(format!("+{place}"));
            } else {
                words.insert(format!("~{place}"));
            }
        }
        // A namespace that came with an image.
        let of_images: Vec<_> = words
            .iter()
            .filter_map(|word| word.split_once('/'))
            .collect();
        let owner = of_images
            .first()
            .map(|(owner, _)| format!("+{}", &owner[1..]));
        if let Some(owner) = owner {
            words.remove(&owner);
        }
        told.push((change.revision, words));
    }
    told
}

async fn watchers_see_what_the_log_says_from_where_they_began(on: &On) {
    const WRITES: usize = 400;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut watches = Vec::new();
    for i in 0..WRITES {
        if i % 50 == 0 {
            watches.push(on.store.watch().await.unwrap());
        }
        let name = ["a", "b", "c", "d"][random.below(4)];
        match random.below(10) {
            0 => {
                let labels = [("k", if i % 2 == 0 { "v" } else { "w" })];
                let put = put_namespace(name, &labels);
                on.store.namespaces().put(&put).await.unwrap();
            }
            1 => {
                // It may hold something, or not be there.
                let delete = delete_namespace(name, false);
                let _ = on.store.namespaces().delete(&delete).await;
            }
            _ => write(&on.store, &mut random).await,
        }
    }
    assert_eq!(on.store.watchers(), watches.len());
    let newest = on.store.revision().await.unwrap();
    let log = model(&on.store).await;
    for began in watches {
        let mut watch = began.value;
        let mut at = began.revision;
        while at < newest {
            let told = next(&mut watch).await;
            let words: BTreeSet<_> = words(&told).into_iter().collect();
            let expected = log
                .iter()
                .find(|(revision, _)| *revision == at.next())
                .unwrap();
            assert_eq!((told.revision, words), *expected);
            at = told.revision;
        }
    }
    assert_eq!(on.store.watchers(), 0);
}

async fn a_namespace_that_goes_by_force_is_one_event(on: &On) {
    for place in ["ns/a", "ns/b", "other/a"] {
        on.put(place, "one").await;
    }
    let mut watch = on.store.watch().await.unwrap().value;
    let delete = delete_namespace("ns", true);
    on.store.namespaces().delete(&delete).await.unwrap();
    assert_eq!(words(&next(&mut watch).await), ["-ns"]);
    on.put("ns/a", "one").await;
    assert_eq!(words(&next(&mut watch).await), ["+ns/a"]);
}

async fn a_reader_that_does_not_read_gets_all_from_the_log_later(on: &On) {
    let mut watch = on.store.watch().await.unwrap().value;
    let all: Vec<_> = (0..2 * TAIL_GROUPS + 100)
        .map(|i| format!("ns/n{i:04}"))
        .collect();
    for place in &all {
        on.put(place, "one").await;
    }
    for place in &all {
        assert_eq!(words(&next(&mut watch).await), [format!("+{place}")]);
    }
}

async fn a_revision_of_more_than_a_mebibyte_comes_in_fragments(on: &On) {
    let changes: Vec<_> = (0..11)
        .map(|i| (format!("h{i:02}"), Some(heavy("h").change)))
        .collect();
    let mut watch = on.store.watch().await.unwrap().value;
    together(&on.store, "ns", changes).await;
    let mut fragments = Vec::new();
    for _ in 0..3 {
        let told = next(&mut watch).await;
        fragments.push((told.revision, told.events.len(), told.is_partial));
    }
    let at = Revision(2);
    assert_eq!(fragments, [(at, 5, true), (at, 5, true), (at, 1, false)]);
}

async fn a_record_that_makes_no_sense_ends_the_watch(on: &On) {
    on.put("ns/a", "one").await;
    let mut watch = on.store.watch().await.unwrap().value;
    let key = schema::image_key(&namespace("ns"), &name("b"));
    let mut batch = Batch::new(0);
    batch.put(key.clone(), "\u{1}garbage");
    on.store.inner.kv.commit(batch).await.unwrap();
    let mut mended = Batch::new(0);
    mended.delete(key);
    on.store.inner.kv.commit(mended).await.unwrap();
    let ended = watch.next().await.unwrap();
    assert!(matches!(ended, Err(Error::Corrupt(_))), "{ended:?}");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn one_too_slow_for_the_log_is_told_so_and_nothing_is_left_out_before() {
    let dir = tempfile::tempdir().unwrap();
    let on = On::kv(forgetful(dir.path()).await, None).await;
    let At {
        value: mut slow,
        revision: mut at,
    } = on.store.watch().await.unwrap();
    for i in 0..2 * TAIL_GROUPS + 200 {
        on.put("ns/a", &i.to_string()).await;
    }
    let ended = loop {
        match slow.next().await.expect("it says why it ends") {
            Ok(told) => {
                assert_eq!(told.revision, at.next());
                at = told.revision;
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(ended, Error::Compacted { .. }), "{ended:?}");
    on.store.close().await;
}

#[tokio::test]
async fn it_ends_at_once_when_the_store_goes_away_and_none_begins() {
    let on = On::memory().await;
    let mut watch = on.store.watch().await.unwrap().value;
    on.put("ns/a", "one").await;
    on.store.end_watches();
    let ended = watch.next().await.unwrap();
    assert!(matches!(ended, Err(Error::GoingAway)), "{ended:?}");
    assert!(watch.next().await.is_none());
    let late = on.store.watch().await;
    assert!(matches!(late, Err(Error::GoingAway)));
    on.must_be_sound().await;
}
