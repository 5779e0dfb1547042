//! Leases and what they hold.

use std::collections::BTreeSet;

use super::*;
use crate::domain::{Filter, Lease, LeaseId, Resource};

on_every_engine![
    what_was_created_is_got_and_listed_by_the_bytes_of_the_id,
    the_first_lease_makes_the_namespace_and_a_refused_one_does_not,
    a_lease_holds_what_was_added_until_it_is_deleted,
    what_leases_of_similar_ids_hold_is_kept_apart,
    a_lease_holds_no_more_than_it_may_and_goes_with_all_of_it,
    expired_leases_go_with_the_sweeper_and_others_stay,
    more_expired_leases_than_one_sweep_takes_go_with_the_next,
    a_sweep_of_one_namespace_leaves_the_others_and_goes_by_the_newest_expiry,
    what_a_lease_holds_is_written_without_its_record,
    a_namespace_goes_whatever_its_leases_hold,
    a_lease_that_races_a_deletion_of_its_namespace_leaves_no_orphan,
    sixty_four_writers_of_one_lease_all_succeed,
    a_restored_lease_is_as_it_was_elsewhere,
    leases_are_in_a_backup_and_counted,
];

fn id(text: &str) -> LeaseId {
    text.parse().unwrap()
}

fn ingest(text: &str) -> Resource {
    Resource::Ingest(text.parse().unwrap())
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

/// One of each kind, in order.
fn one_of_each() -> [Resource; 6] {
    let snapshot = |snapshotter: &str, key: &str| Resource::Snapshot {
        snapshotter: snapshotter.parse().unwrap(),
        key: key.parse().unwrap(),
    };
    [
        Resource::Content(Digest::of(Algorithm::Sha256, b"")),
        Resource::Content(Digest::of(Algorithm::Sha512, b"")),
        Resource::Image(name("docker.io/library/a:1")),
        ingest("layer 1/é"),
        snapshot("native", "k"),
        snapshot("overlayfs", "a"),
    ]
}

impl On {
    async fn lease(&self, of: &str, called: &str, pairs: &[(&str, &str)]) -> At<Stored<Lease>> {
        let leases = self.store.leases();
        let (ns, id) = (namespace(of), id(called));
        leases.create(&ns, &id, labels(pairs)).await.unwrap()
    }

    async fn holds(&self, of: &str, called: &str) -> Result<Vec<Resource>, Error> {
        let leases = self.store.leases();
        let held = leases.resources(&namespace(of), &id(called)).await?;
        Ok(held.value)
    }

    async fn leases(&self, of: &str, filter: &Filter) -> Vec<String> {
        let found = self.store.leases().list(&namespace(of), filter).await;
        let found = found.unwrap().value;
        found
            .iter()
            .map(|stored| stored.record.id.to_string())
            .collect()
    }

    async fn revision(&self) -> Revision {
        self.store.status().await.unwrap().revision
    }
}

async fn what_was_created_is_got_and_listed_by_the_bytes_of_the_id(on: &On) {
    let put = on.lease("ns", "l1", &[("a", "b"), ("e", "")]).await;
    assert_eq!(put.value.revision, put.revision);
    assert_eq!(put.value.record.created_at.seconds(), 1000);
    assert_eq!(put.value.record.labels, labels(&[("a", "b"), ("e", "")]));
    let got = on.store.leases().get(&namespace("ns"), &id("l1")).await;
    assert_eq!(got.unwrap().value, put.value);
    for called in ["l10", "Zed", "a/b c", "é", "l"] {
        on.lease("ns", called, &[]).await;
    }
    on.lease("other", "l1", &[]).await;
    let in_order = ["Zed", "a/b c", "l", "l1", "l10", "é"];
    assert_eq!(on.leases("ns", &Filter::all()).await, in_order);
    assert!(on.leases("never", &Filter::all()).await.is_empty());
    let filter = |text| Filter::parse::<Lease>(&[text], Dialect::Containerd).unwrap();
    assert_eq!(on.leases("ns", &filter("labels.a==b")).await, ["l1"]);
    assert_eq!(on.leases("ns", &filter("id~=^l1")).await, ["l1", "l10"]);

    let again = on
        .store
        .leases()
        .create(&namespace("ns"), &id("l1"), labels(&[]))
        .await;
    assert!(matches!(again, Err(Error::Exists(Subject::Lease(..)))));
    let missing = on.store.leases().get(&namespace("ns"), &id("l2")).await;
    assert!(matches!(missing, Err(Error::NotFound(Subject::Lease(..)))));
}

async fn the_first_lease_makes_the_namespace_and_a_refused_one_does_not(on: &On) {
    let ns = namespace("ns");
    let large = labels(&[("k", &"v".repeat(256 << 10))]);
    let refused = on.store.leases().create(&ns, &id("l1"), large).await;
    assert!(matches!(refused, Err(Error::Invalid(_))));
    assert!(on.store.namespaces().get(&ns).await.is_err());
    // More than a label of an image may have.
    on.lease("ns", "l1", &[("k", &"v".repeat(200 << 10))]).await;
    let made = on.store.namespaces().get(&ns).await.unwrap().value;
    assert_eq!(made.contents.images, 0);
}

async fn a_lease_holds_what_was_added_until_it_is_deleted(on: &On) {
    let (ns, lease) = (namespace("ns"), id("l1"));
    let leases = on.store.leases();
    on.lease("ns", "l1", &[("a", "b")]).await;
    for resource in one_of_each().iter().rev() {
        leases.add_resource(&ns, &lease, resource).await.unwrap();
    }
    assert_eq!(on.holds("ns", "l1").await.unwrap(), one_of_each());
    let before = on.revision().await;
    let [first, ..] = one_of_each();
    leases.add_resource(&ns, &lease, &first).await.unwrap();
    leases
        .delete_resource(&ns, &lease, &ingest("never"))
        .await
        .unwrap();
    assert_eq!(on.revision().await, before, "nothing was written");

    leases.delete_resource(&ns, &lease, &first).await.unwrap();
    assert_eq!(on.holds("ns", "l1").await.unwrap(), one_of_each()[1..]);
    let gone = leases.delete(&ns, &lease).await.unwrap();
    assert_eq!(gone.value.record.labels, labels(&[("a", "b")]));
    let not_found = |cause| matches!(cause, Error::NotFound(Subject::Lease(..)));
    assert!(not_found(on.holds("ns", "l1").await.unwrap_err()));
    assert!(not_found(leases.delete(&ns, &lease).await.unwrap_err()));
    assert!(not_found(
        leases.add_resource(&ns, &lease, &first).await.unwrap_err()
    ));
    let delete = leases.delete_resource(&ns, &lease, &first);
    assert!(not_found(delete.await.unwrap_err()));
    on.lease("ns", "l1", &[]).await;
    assert_eq!(on.holds("ns", "l1").await.unwrap(), []);
}

async fn what_leases_of_similar_ids_hold_is_kept_apart(on: &On) {
    let ns = namespace("ns");
    let ids = ["l", "l1", "l\u{1}", "lé"];
    for called in ids {
        on.lease("ns", called, &[]).await;
        let own = ingest(called);
        on.store
            .leases()
            .add_resource(&ns, &id(called), &own)
            .await
            .unwrap();
    }
    for called in ids {
        assert_eq!(on.holds("ns", called).await.unwrap(), [ingest(called)]);
    }
    on.store.leases().delete(&ns, &id("l")).await.unwrap();
    for called in &ids[1..] {
        assert_eq!(on.holds("ns", called).await.unwrap(), [ingest(called)]);
    }
}

async fn a_lease_holds_no_more_than_it_may_and_goes_with_all_of_it(on: &On) {
    let ns = namespace("ns");
    let leases = on.store.leases();
    let full = |called: &str, bytes: usize, count: usize| {
        let lease = Lease {
            id: id(called),
            labels: labels(&[]),
            created_at: Timestamp::UNIX_EPOCH,
        };
        let resource = |i| ingest(&format!("{i:05}{}", "x".repeat(bytes)));
        (lease, (0..count).map(resource).collect::<BTreeSet<_>>())
    };
    // More than one read of the engine brings.
    let (lease, held) = full("many", 60, 10_000);
    leases.restore(&ns, &lease, &held).await.unwrap();
    assert_eq!(on.holds("ns", "many").await.unwrap().len(), 10_000);
    let more = leases.add_resource(&ns, &id("many"), &ingest("x")).await;
    assert!(matches!(more, Err(Error::LeaseFull { limit: 10_000, .. })));
    let first = held.first().unwrap();
    leases
        .delete_resource(&ns, &id("many"), first)
        .await
        .unwrap();
    leases
        .add_resource(&ns, &id("many"), &ingest("x"))
        .await
        .unwrap();
    let (lease, held) = full("more", 60, 10_001);
    let more = leases.restore(&ns, &lease, &held).await;
    assert!(matches!(more, Err(Error::LeaseFull { limit: 10_000, .. })));

    let (lease, held) = full("large", 4000, 1040);
    leases.restore(&ns, &lease, &held).await.unwrap();
    for i in 0..30 {
        let long = ingest(&format!("{i:05}{}", "y".repeat(4000)));
        match leases.add_resource(&ns, &id("large"), &long).await {
            Ok(_) => continue,
            Err(Error::LeaseFull { limit, .. }) => assert_eq!((i, limit), (3, 4 << 20)),
            Err(other) => panic!("{other}"),
        }
        break;
    }
    for called in ["many", "large"] {
        leases.delete(&ns, &id(called)).await.unwrap();
        on.lease("ns", called, &[]).await;
        assert_eq!(on.holds("ns", called).await.unwrap(), []);
    }
}

async fn expired_leases_go_with_the_sweeper_and_others_stay(on: &On) {
    for (called, when) in [
        ("at", "1970-01-01T00:16:40.000000007Z"),
        ("before", "1970-01-01T00:16:40.000000006Z"),
        ("later", "1970-01-01T01:16:40Z"),
        ("never", "soon"),
    ] {
        on.lease("ns", called, &[(Lease::EXPIRY, when)]).await;
    }
    on.lease("ns", "without", &[]).await;
    on.lease(
        "other",
        "before",
        &[(Lease::EXPIRY, "0001-01-01T00:00:00Z")],
    )
    .await;
    let held = on.store.leases();
    held.add_resource(&namespace("ns"), &id("before"), &ingest("x"))
        .await
        .unwrap();

    assert_eq!(on.store.sweep().await.unwrap().leases, 2);
    let left = ["at", "later", "never", "without"];
    assert_eq!(on.leases("ns", &Filter::all()).await, left);
    assert!(on.leases("other", &Filter::all()).await.is_empty());
    assert_eq!(on.store.sweep().await.unwrap(), Swept::default());
    on.at(1001);
    assert_eq!(on.store.sweep().await.unwrap().leases, 1);
    on.at(1_000_000);
    assert_eq!(on.store.sweep().await.unwrap().leases, 1);
    assert_eq!(on.leases("ns", &Filter::all()).await, ["never", "without"]);
}

async fn more_expired_leases_than_one_sweep_takes_go_with_the_next(on: &On) {
    let ns = namespace("ns");
    let leases = on.store.leases();
    let expired = labels(&[(Lease::EXPIRY, "1970-01-01T00:00:00Z")]);
    let all = (0..250).map(|i| id(&format!("{i}"))).collect::<Vec<_>>();
    let made = all.iter().map(|id| leases.create(&ns, id, expired.clone()));
    join_all(made).await.into_iter().for_each(|made| {
        made.unwrap();
    });
    let first = on.store.sweep().await.unwrap();
    assert_eq!((first.leases, first.has_more), (200, true));
    let second = on.store.sweep().await.unwrap();
    assert_eq!((second.leases, second.has_more), (50, false));
}

async fn a_sweep_of_one_namespace_leaves_the_others_and_goes_by_the_newest_expiry(on: &On) {
    let (past, future) = ("1970-01-01T00:00:00Z", "2970-01-01T00:00:00Z");
    for (of, called, when) in [
        ("ns", "gone", past),
        ("ns", "longer", past),
        ("ns", "endless", past),
        ("ns", "shorter", future),
        ("other", "gone", past),
    ] {
        on.lease(of, called, &[(Lease::EXPIRY, when)]).await;
    }
    let (ns, leases) = (namespace("ns"), on.store.leases());
    for (called, labels) in [
        ("longer", labels(&[(Lease::EXPIRY, future)])),
        ("endless", labels(&[])),
        ("shorter", labels(&[(Lease::EXPIRY, past)])),
    ] {
        let lease = Lease {
            id: id(called),
            labels,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let none = BTreeSet::new();
        leases.restore(&ns, &lease, &none).await.unwrap();
    }
    assert_eq!(leases.sweep(&ns).await.unwrap().leases, 2);
    assert_eq!(on.leases("ns", &Filter::all()).await, ["endless", "longer"]);
    assert_eq!(on.leases("other", &Filter::all()).await, ["gone"]);
}

async fn what_a_lease_holds_is_written_without_its_record(on: &On) {
    let ns = namespace("ns");
    let leases = on.store.leases();
    let made = on.lease("ns", "l1", &[("a", "b")]).await.value;
    for resource in &one_of_each() {
        leases.add_resource(&ns, &id("l1"), resource).await.unwrap();
    }
    let first = &one_of_each()[0];
    leases.delete_resource(&ns, &id("l1"), first).await.unwrap();
    let held = BTreeSet::from([ingest("x")]);
    let put = leases
        .restore(&ns, &made.record, &held)
        .await
        .unwrap()
        .value;
    assert!(put.changed && !put.created);
    let got = leases.get(&ns, &id("l1")).await.unwrap().value;
    assert_eq!((&got, &put.stored), (&made, &made), "its revision tells");
    // The log has its creation only: what is held is not logged.
    let logged = on.store.inner.kv.snapshot().await.unwrap();
    let changes = logged.changes(made.revision, 100).await.unwrap();
    assert!(
        changes.iter().all(|change| change.effects.is_empty()),
        "{changes:?}"
    );
}

async fn a_namespace_goes_whatever_its_leases_hold(on: &On) {
    on.lease("ns", "l1", &[]).await;
    let ns = namespace("ns");
    let leases = on.store.leases();
    leases
        .add_resource(&ns, &id("l1"), &ingest("x"))
        .await
        .unwrap();
    on.lease("other", "l1", &[]).await;
    let delete = DeleteNamespace {
        name: ns.clone(),
        force: false,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    on.store.namespaces().delete(&delete).await.unwrap();
    assert!(on.leases("ns", &Filter::all()).await.is_empty());
    on.lease("ns", "l1", &[]).await;
    assert_eq!(on.holds("ns", "l1").await.unwrap(), []);
    assert_eq!(on.leases("other", &Filter::all()).await, ["l1"]);
}

async fn a_lease_that_races_a_deletion_of_its_namespace_leaves_no_orphan(on: &On) {
    let ns = namespace("ns");
    let leases = on.store.leases();
    let delete = DeleteNamespace {
        name: ns.clone(),
        force: true,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    for round in 0..20 {
        on.put("ns/seed", "one").await;
        let created = id(&format!("{round}"));
        let held = id("held");
        let empty = BTreeSet::new();
        let lease = Lease {
            id: held.clone(),
            labels: labels(&[]),
            created_at: Timestamp::UNIX_EPOCH,
        };
        leases.restore(&ns, &lease, &empty).await.unwrap();
        let resource = ingest("x");
        let create = leases.create(&ns, &created, labels(&[]));
        let add = leases.add_resource(&ns, &held, &resource);
        let namespaces = on.store.namespaces();
        let (added, deleted) = if round % 2 == 0 {
            let (create, add, deleted) = tokio::join!(create, add, namespaces.delete(&delete));
            create.unwrap();
            (add, deleted)
        } else {
            let (deleted, create, add) = tokio::join!(namespaces.delete(&delete), create, add);
            create.unwrap();
            (add, deleted)
        };
        deleted.unwrap();
        assert!(matches!(
            added,
            Ok(_) | Err(Error::NotFound(Subject::Lease(..)))
        ));
        assert!(
            on.holds("ns", "held").await.is_err(),
            "it went with the rest"
        );
        let problems = on.store.verify().await.unwrap().problems;
        assert_eq!(problems, [], "round {round}");
    }
}

async fn sixty_four_writers_of_one_lease_all_succeed(on: &On) {
    on.lease("ns", "l1", &[]).await;
    let (ns, lease) = (namespace("ns"), id("l1"));
    let leases = on.store.leases();
    let own: Vec<_> = (0..64).map(|i| ingest(&format!("{i:02}"))).collect();
    let added = own.iter().map(|own| leases.add_resource(&ns, &lease, own));
    join_all(added).await.into_iter().for_each(|added| {
        added.unwrap();
    });
    assert_eq!(on.holds("ns", "l1").await.unwrap(), own);
}

async fn a_restored_lease_is_as_it_was_elsewhere(on: &On) {
    let ns = namespace("ns");
    let leases = on.store.leases();
    let mut lease = Lease {
        id: id("l1"),
        labels: labels(&[("a", "b")]),
        created_at: Timestamp::new(-7, 8).unwrap(),
    };
    let mut held = BTreeSet::from(one_of_each());
    let first = leases.restore(&ns, &lease, &held).await.unwrap();
    assert!(first.value.created && first.value.changed);
    assert_eq!(first.value.stored.revision, first.revision);
    let got = leases.get(&ns, &lease.id).await.unwrap().value;
    assert_eq!((&got, &got.record), (&first.value.stored, &lease));
    assert_eq!(on.holds("ns", "l1").await.unwrap(), one_of_each());

    let again = leases.restore(&ns, &lease, &held).await.unwrap();
    assert!(!again.value.created && !again.value.changed);
    assert_eq!(again.value.stored, first.value.stored);
    assert_eq!(on.revision().await, first.revision);

    // As many, and not the same.
    held.remove(&ingest("layer 1/é"));
    held.insert(ingest("layer 2/é"));
    let other = leases.restore(&ns, &lease, &held).await.unwrap();
    assert!(other.value.changed && !other.value.created);
    let holds = on.holds("ns", "l1").await.unwrap();
    assert_eq!(holds.into_iter().collect::<BTreeSet<_>>(), held);
    lease.labels.clear();
    let other = leases.restore(&ns, &lease, &BTreeSet::new()).await.unwrap();
    assert!(other.value.changed);
    assert_eq!(on.holds("ns", "l1").await.unwrap(), []);
    let got = leases.get(&ns, &lease.id).await.unwrap().value;
    assert_eq!(got.record, lease);
}

async fn leases_are_in_a_backup_and_counted(on: &On) {
    on.put("ns/a", "one").await;
    on.lease("ns", "l1", &[("a", "b")]).await;
    let ns = namespace("ns");
    for resource in &one_of_each() {
        on.store
            .leases()
            .add_resource(&ns, &id("l1"), resource)
            .await
            .unwrap();
    }
    let status = on.store.status().await.unwrap();
    assert_eq!((status.records, status.images), (3, 1));
    let dir = tempfile::tempdir().unwrap();
    let new = super::backup::copied(on, dir.path()).await;
    let got = new.store.leases().get(&ns, &id("l1")).await.unwrap().value;
    assert_eq!(got.record.labels, labels(&[("a", "b")]));
    assert_eq!(new.holds("ns", "l1").await.unwrap(), one_of_each());
    new.must_be_sound().await;
}

#[tokio::test]
async fn an_answer_of_leases_is_bounded() {
    let on = On::memory().await;
    for i in 0..70 {
        on.lease("ns", &format!("{i:02}"), &[("k", &"v".repeat(250 << 10))])
            .await;
    }
    let refused = on
        .store
        .leases()
        .list(&namespace("ns"), &Filter::all())
        .await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    let filter = Filter::parse::<Lease>(&["id~=^1"], Dialect::Containerd).unwrap();
    assert_eq!(on.leases("ns", &filter).await.len(), 10);
    on.must_be_sound().await;
}

#[tokio::test]
async fn a_new_id_has_the_form_of_containerds() {
    let on = On::memory().await;
    // Of the clock of tests, and of its randomness: 7 nanoseconds, and bytes that are all 9.
    assert_eq!(on.store.leases().new_id(), id("7-CQkJ"));
}
