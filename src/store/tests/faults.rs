//! Engines that fail, stores that are broken.

use std::pin::pin;

use super::watched::Watched;
use super::*;
use crate::domain::{Lease, Resource};

#[tokio::test]
async fn a_lost_answer_is_an_unknown_outcome_and_the_write_is_found_by_reading() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    let put = async |content: &str| {
        let request = PutImage::new(name("a"), replace(content));
        on.store.images().put(&namespace("ns"), request).await
    };
    kv.plan(0, Fault::LoseAnswer);
    assert!(matches!(put("one").await, Err(Error::OutcomeUnknown(_))));
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("one"));
    kv.plan(0, Fault::LoseWrite);
    assert!(matches!(put("two").await, Err(Error::OutcomeUnknown(_))));
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("one"));
    kv.plan(0, Fault::Refuse);
    assert!(matches!(put("two").await, Err(Error::Stopped(_))));
    put("two").await.unwrap();
    on.must_be_sound().await;
}

#[tokio::test]
async fn a_write_that_waits_does_not_hold_up_reads_or_other_names() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    on.put("ns/a", "one").await;
    let until = Arc::new(tokio::sync::Notify::new());
    kv.plan(0, Fault::Stall(until.clone()));
    let store = on.store.clone();
    let waiting = tokio::spawn(async move {
        let request = PutImage::new(name("a"), replace("two"));
        store.images().put(&namespace("ns"), request).await
    });
    tokio::task::yield_now().await;
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("one"));
    on.put("ns/b", "one").await;
    assert!(!waiting.is_finished());
    until.notify_one();
    waiting.await.unwrap().unwrap();
    on.must_be_sound().await;
}

#[tokio::test]
async fn a_put_that_a_forced_delete_overtakes_makes_the_namespace_anew() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    on.put("ns/a", "one").await;
    let until = Arc::new(tokio::sync::Notify::new());
    kv.plan(0, Fault::Stall(until.clone()));
    let (store, ns) = (on.store.clone(), namespace("ns"));
    let images = store.images();
    let request = PutImage::new(name("b"), replace("two"));
    let mut put = pin!(images.put(&ns, request));
    assert!(
        futures::poll!(&mut put).is_pending(),
        "it has decided, and waits to be committed"
    );

    let delete = DeleteNamespace {
        name: ns.clone(),
        force: true,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    on.store.namespaces().delete(&delete).await.unwrap();
    on.at(2000);
    until.notify_one();
    assert!(put.await.unwrap().value.created);
    let made = on.store.namespaces().get(&ns).await.unwrap().value;
    assert_eq!(
        (
            made.contents.images,
            made.stored.record.created_at.seconds()
        ),
        (1, 2000)
    );
    assert_eq!(on.find(&one("ns")).await, ["ns/b"]);
    on.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_gives_its_snapshot_up_after_ten_minutes() {
    let kv = Arc::new(Watched::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    let ns = namespace("ns");
    for i in 0..20 {
        let put = heavy(&format!("big{i}"));
        on.store.images().put(&ns, put).await.unwrap();
    }
    let mut stream = on.store.images().stream(one("ns")).await.unwrap();
    // The clock is paused: it goes on only when all that can be done is done.
    let second = Duration::from_secs(1);
    tokio::time::sleep(LONG_READ_TIME - second).await;
    assert_eq!(kv.open_snapshots(), 1);
    tokio::time::sleep(2 * second).await;
    assert_eq!(kv.open_snapshots(), 0);
    let mut read = 0;
    let ended = loop {
        match stream.next().await.expect("it says why it ends") {
            Ok(chunk) => read += chunk.images.len(),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(ended, Error::SnapshotExpired { minutes: 10 }),
        "{ended:?}"
    );
    assert!(read < 20, "{read}");
    assert!(stream.next().await.is_none());
    on.must_be_sound().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_an_unreadable_one_too() {
    for (version, newer) in [
        (&2u32.to_be_bytes()[..], true),
        (b"x", false),
        (&0u32.to_be_bytes(), false),
    ] {
        let kv = Arc::new(Memory::new());
        drop(On::kv(kv.clone(), None).await);
        let mut batch = Batch::new(0);
        batch.put(schema::schema_version(), version.to_vec());
        kv.commit(batch).await.unwrap();
        match Store::on(kv, surroundings().0).await.err().unwrap() {
            Error::SchemaTooNew { found: 2, known: 1 } => assert!(newer),
            Error::Corrupt(_) => assert!(!newer),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_store_opened_again_is_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let open = async || Store::open(dir.path()).await.unwrap();
    let store = open().await;
    let id = store.id();
    let request = PutImage::new(name("a"), replace("one"));
    let put = store.images().put(&namespace("ns"), request).await.unwrap();
    store.close().await;
    drop(store);
    let store = open().await;
    assert_eq!(store.id(), id);
    let got = store
        .images()
        .get(&namespace("ns"), &name("a"))
        .await
        .unwrap();
    assert_eq!(got.value, put.value.stored);
    assert_ne!(
        Store::in_memory().await.unwrap().id(),
        Store::in_memory().await.unwrap().id()
    );
}

type Breakage<'a> = &'a dyn Fn(&mut Batch);

#[tokio::test]
async fn verify_names_what_does_not_fit() {
    let breakages: [(&str, Breakage); 25] = [
        ("is not in the digest index", &|batch| {
            batch.delete(schema::digest_key(
                &namespace("ns"),
                target("one").digest(),
                &name("a"),
            ));
        }),
        ("names an image that does not point there", &|batch| {
            batch.put(
                schema::digest_key(&namespace("ns"), target("two").digest(), &name("a")),
                "",
            );
        }),
        (
            "is of a removed name that is not in the index of those",
            &|batch| {
                batch.delete(schema::deleted_key(
                    &namespace("ns"),
                    at(1000),
                    &name("gone"),
                ));
            },
        ),
        ("names what is not history only", &|batch| {
            batch.put(
                schema::deleted_key(&namespace("ns"), at(1000), &name("a")),
                "",
            );
        }),
        ("names what is not history only", &|batch| {
            batch.put(
                schema::deleted_key(&namespace("ns"), at(999), &name("gone")),
                "",
            );
        }),
        ("is no revision that was", &|batch| {
            let until = u64::MAX.to_be_bytes().to_vec();
            batch.put(schema::forgotten_key(&namespace("ns")), until);
        }),
        ("a generation of image a in history", &|batch| {
            let key = schema::history_key(&namespace("ns"), &name("a"), Revision(2));
            batch.put(key, "garbage");
        }),
        ("and ended at", &|batch| {
            let key = schema::history_key(&namespace("ns"), &name("gone"), Revision(1 << 40));
            batch.put(key, generation("gone", EndedBy::Delete));
        }),
        ("and there is no such record", &|batch| {
            let key = schema::history_key(&namespace("ns"), &name("never"), Revision(2));
            batch.put(key, generation("never", EndedBy::Put));
        }),
        ("ends after the record that stands was made", &|batch| {
            let key = schema::history_key(&namespace("ns"), &name("b"), Revision(2));
            batch.put(key, generation("b", EndedBy::Put));
        }),
        ("does not follow the generation before it", &|batch| {
            let key = schema::history_key(&namespace("ns"), &name("gone"), Revision(2));
            batch.put(key, generation("gone", EndedBy::Delete));
        }),
        ("belongs to no namespace", &|batch| {
            batch.delete(schema::namespace_key(&namespace("ns")));
        }),
        ("the record of image a", &|batch| {
            batch.put(
                schema::image_key(&namespace("ns"), &name("a")),
                "\u{1}garbage",
            );
        }),
        ("the record of lease l1", &|batch| {
            batch.put(lease_key("l1"), "garbage");
        }),
        (
            "counts 1 resources of 12 bytes, and holds 2 of 24",
            &|batch| {
                batch.put(leased_key("l1", "y"), "");
            },
        ),
        (
            "counts 1 resources of 12 bytes, and holds 0 of 0",
            &|batch| {
                batch.delete(leased_key("l1", "x"));
            },
        ),
        ("is of a lease that is not there", &|batch| {
            batch.put(leased_key("l0", "x"), "");
        }),
        ("is not said how much it holds", &|batch| {
            batch.delete(held_key("l1"));
        }),
        ("how much lease l1 holds", &|batch| {
            batch.put(held_key("l1"), "garbage");
        }),
        ("counts for a lease that is not there", &|batch| {
            batch.put(held_key("l0"), wire::encode_holds(wire::Holds::default()));
        }),
        ("expires and is not in the index of those", &|batch| {
            batch.delete(expiring_key("l1", 1));
        }),
        ("names a lease that does not expire then", &|batch| {
            batch.put(expiring_key("l1", 2), "");
        }),
        ("names a lease that does not expire then", &|batch| {
            batch.put(expiring_key("l0", 1), "");
        }),
        ("a row of what leases hold", &|batch| {
            batch.put(schema::leased(&namespace("ns")).key("l1\0ingests"), "");
        }),
        ("is not what the change log says", &|batch| {
            // An unlogged write to a logged table.
            let unlogged = crate::kv::Table::new("v1/ns/images");
            batch.put(unlogged.key("b"), "");
        }),
    ];
    for (what, break_it) in breakages {
        let on = On::memory().await;
        on.put("ns/a", "one").await;
        on.put("ns/b", "one").await;
        on.put("ns/gone", "one").await;
        on.delete("ns/gone").await.unwrap();
        on.hold_one("l1", "x").await;
        assert_eq!(on.store.verify().await.unwrap().problems, []);
        let mut batch = Batch::new(0);
        break_it(&mut batch);
        on.store.inner.kv.commit(batch).await.unwrap();
        let problems = on.store.verify().await.unwrap().problems;
        assert!(
            problems
                .iter()
                .any(|problem| problem.to_string().contains(what)),
            "{what}: {problems:?}"
        );
    }
}

impl On {
    /// A lease that expires after a second, and holds one ingest.
    async fn hold_one(&self, lease: &str, ingest: &str) {
        let leases = self.store.leases();
        let (ns, id) = (namespace("ns"), lease.parse().unwrap());
        let expires = (Lease::EXPIRY.to_owned(), "1970-01-01T00:00:01Z".to_owned());
        let labels = BTreeMap::from([expires]);
        leases.create(&ns, &id, labels).await.unwrap();
        let resource = Resource::Ingest(ingest.parse().unwrap());
        leases.add_resource(&ns, &id, &resource).await.unwrap();
    }
}

fn lease_key(lease: &str) -> crate::kv::Key {
    schema::lease_key(&namespace("ns"), &lease.parse().unwrap())
}

fn held_key(lease: &str) -> crate::kv::Key {
    schema::held_key(&namespace("ns"), &lease.parse().unwrap())
}

fn expiring_key(lease: &str, seconds: i64) -> crate::kv::Key {
    let at = Timestamp::new(seconds, 0).unwrap();
    schema::expiring_key(&namespace("ns"), at, &lease.parse().unwrap())
}

fn leased_key(lease: &str, ingest: &str) -> crate::kv::Key {
    let resource = Resource::Ingest(ingest.parse().unwrap());
    schema::leased_key(&namespace("ns"), &lease.parse().unwrap(), &resource)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 7).unwrap()
}

/// A row of history, of a name that had seven generations before.
fn generation(called: &str, ended_by: EndedBy) -> bytes::Bytes {
    wire::encode_history(&wire::HistoryRow {
        row: wire::ImageRow {
            image: Image {
                name: name(called),
                target: target("one"),
                labels: Labels::default(),
                created_at: at(1),
                updated_at: at(1),
            },
            ordinal: 7,
        },
        ended_at: at(1000),
        ended_by,
        caller: String::new(),
    })
}

#[tokio::test]
async fn a_repair_makes_the_indexes_what_the_records_say_and_nothing_else() {
    for on in [On::memory().await, On::redb().await] {
        for place in ["ns/a", "ns/b", "ns/gone", "other/a"] {
            on.put(place, "one").await;
        }
        on.delete("ns/gone").await.unwrap();
        for lease in ["l1", "l2", "l3"] {
            on.hold_one(lease, "x").await;
        }
        assert_eq!(on.store.repair().await.unwrap(), 0);
        let before = on.store.status().await.unwrap().revision;
        let ns = namespace("ns");
        let digest = |content| *target(content).digest();
        let mut batch = Batch::new(0);
        batch
            .delete(schema::digest_key(&ns, &digest("one"), &name("a")))
            .put(schema::digest_key(&ns, &digest("two"), &name("a")), "")
            .put(schema::digest_key(&ns, &digest("one"), &name("none")), "")
            .put(schema::digests(&ns).key("no digest"), "")
            .delete(schema::deleted_key(&ns, at(1000), &name("gone")))
            .put(schema::deleted_key(&ns, at(1000), &name("b")), "")
            .put(leased_key("l0", "x"), "")
            .put(leased_key("l0", "y"), "")
            .put(leased_key("l2", "y"), "")
            .delete(leased_key("l3", "x"))
            .put(held_key("l0"), "")
            .delete(held_key("l1"))
            .delete(expiring_key("l1", 1))
            .put(expiring_key("l1", 2), "");
        on.store.inner.kv.commit(batch).await.unwrap();
        assert_eq!(on.store.verify().await.unwrap().count, 14);
        assert_eq!(on.store.repair().await.unwrap(), 14);
        assert_eq!(on.store.verify().await.unwrap().problems, []);
        assert_eq!(on.store.status().await.unwrap().revision.0, before.0 + 2);
        on.must_be_sound().await;
    }
}

#[tokio::test]
async fn a_repair_leaves_what_it_cannot_mend_and_ends() {
    let on = On::memory().await;
    on.put("ns/a", "one").await;
    on.put("ns/a", "two").await;
    let ns = namespace("ns");
    let mut batch = Batch::new(0);
    batch.delete(schema::image_key(&ns, &name("a")));
    on.store.inner.kv.commit(batch).await.unwrap();
    let lost = on.store.verify().await.unwrap().problems;
    assert!(lost.iter().any(|problem| problem.table == "v1/ns/history"));
    assert_eq!(on.store.repair().await.unwrap(), 1, "the digest's row");
    let left = on.store.verify().await.unwrap().problems;
    assert!(!left.is_empty() && left.iter().all(|problem| problem.table == "v1/ns/history"));
}
