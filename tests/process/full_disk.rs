//! A disk without space: Puts are refused, the rest goes on, and nothing acknowledged is lost.

use std::fs;
use std::path::Path;

use imagestore::domain::{
    Algorithm, Descriptor, Digest, ImageChange, ImageName, Labels, Namespace, Size,
};
use imagestore::kv::{Kv, Options, Redb};
use imagestore::proto::v1 as pb;
use imagestore::store::PutImage;
use imagestore::{Error, Store};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::common::{Server, assert_refused, delete, eventually, fact, get, put};
use crate::mount::Tmpfs;

#[tokio::test]
async fn with_less_than_64_mib_free_puts_are_refused_and_all_else_works_until_there_is_space() {
    let Some(disk) = Tmpfs::mount("96m") else {
        return;
    };
    let server = Server::at(&disk.path().join("store")).await;
    let mut images = server.images().await;
    let mut namespaces = server.namespaces().await;
    for name in ["a", "b", "c"] {
        images.put(put(name, "one")).await.unwrap();
    }
    images
        .put(pb::PutImageRequest {
            namespace: "team".to_owned(),
            ..put("a", "one")
        })
        .await
        .unwrap();

    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 40 << 20]).unwrap();
    let before = server.state().await;
    let namespace = pb::Namespace {
        name: "new".to_owned(),
        ..Default::default()
    };
    let namespace = pb::PutNamespaceRequest {
        namespace: Some(namespace),
        ..Default::default()
    };
    for status in [
        images.put(put("d", "one")).await.unwrap_err(),
        images.put(put("a", "two")).await.unwrap_err(),
        namespaces.put(namespace.clone()).await.unwrap_err(),
    ] {
        assert_refused(&status, Code::ResourceExhausted, "DISK_FULL", None);
        assert!(fact(&status, "free_bytes").parse::<u64>().unwrap() < 64 << 20);
        assert_eq!(fact(&status, "least_bytes"), (64 << 20).to_string());
        assert!(status.message().contains("delete something"), "{status:?}");
    }
    assert_eq!(server.state().await, before);

    assert_eq!(server.health("").await, Ok(ServingStatus::Serving));
    images.get(get("a")).await.unwrap();
    assert!(
        !images
            .put(put("a", "one"))
            .await
            .unwrap()
            .into_inner()
            .changed,
        "nothing to write"
    );
    assert_eq!(
        images
            .list(pb::ListImagesRequest::default())
            .await
            .unwrap()
            .into_inner()
            .images
            .len(),
        3
    );
    images.delete(delete("b")).await.unwrap();
    assert_eq!(
        images.get(get("b")).await.unwrap_err().code(),
        Code::NotFound
    );
    let team = pb::DeleteNamespaceRequest {
        name: "team".to_owned(),
        force: true,
        ..Default::default()
    };
    namespaces.delete(team).await.unwrap();

    fs::remove_file(&ballast).unwrap();
    images.put(put("d", "one")).await.unwrap();
    images.put(put("a", "two")).await.unwrap();
    namespaces.put(namespace).await.unwrap();
}

fn heavy(i: usize, bytes: usize) -> PutImage {
    let digest = Digest::of(Algorithm::Sha256, i.to_string().as_bytes());
    let target = Descriptor::new(
        "a/b".parse().unwrap(),
        digest,
        Size::try_from(1u64).unwrap(),
    )
    .with_annotations([("weight".to_owned(), "x".repeat(bytes))].into())
    .unwrap();
    PutImage::new(
        name(i),
        ImageChange::Replace {
            target,
            labels: Labels::default(),
        },
    )
}

fn name(i: usize) -> ImageName {
    format!("h{i:06}").parse().unwrap()
}

async fn open(root: &Path, journal_bytes: u64) -> Result<Store, Error> {
    let options = Options {
        journal_bytes,
        min_free_bytes: 0,
        cache_bytes: 1 << 20,
        ..Options::default()
    };
    Store::open_with(root, options).await
}

/// Every acknowledged record is there; others only if their outcome was unknown.
async fn all_there(store: &Store, space: &Namespace, acknowledged: &[usize], refused: &[usize]) {
    for i in acknowledged {
        let read = store.images().get(space, &name(*i)).await;
        let read = read.unwrap_or_else(|error| panic!("{i} was acknowledged: {error}"));
        let wanted = Digest::of(Algorithm::Sha256, i.to_string().as_bytes());
        assert_eq!(*read.value.record.target.digest(), wanted);
    }
    for i in refused {
        let read = store.images().get(space, &name(*i)).await;
        assert!(
            matches!(read, Err(Error::NotFound(_))),
            "{i} was refused, and is there"
        );
    }
}

/// Fills a disk to its last byte, with records of a size.
async fn fill_up(mib: u64, record: usize, journal_bytes: u64) {
    let Some(disk) = Tmpfs::mount(&format!("{mib}m")) else {
        return;
    };
    let root = disk.path().join("store");
    let space: Namespace = "default".parse().unwrap();
    let store = open(&root, journal_bytes).await.unwrap();
    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    let mut failed = 0;
    for i in 0..100_000 {
        match store.images().put(&space, heavy(i, record)).await {
            Ok(_) => acknowledged.push(i),
            Err(Error::OutcomeUnknown(_)) => failed += 1,
            Err(_) => {
                refused.push(i);
                failed += 1;
            }
        }
        if failed == 10 {
            break;
        }
    }
    assert_eq!(failed, 10, "the disk never filled up");
    assert!(
        acknowledged.len() > 10,
        "only {} fitted",
        acknowledged.len()
    );
    assert!(
        store.stopped().borrow().is_some(),
        "it says that writes have stopped"
    );

    // Reads go on, of what was acknowledged last too.
    eventually("reads are back", async || {
        store.images().get(&space, &name(0)).await.is_ok()
    })
    .await;
    all_there(&store, &space, &acknowledged, &refused).await;
    store.close().await;
    drop(store);

    // Opening on the full disk works or says why not; it breaks nothing.
    if let Ok(store) = open(&root, journal_bytes).await {
        all_there(&store, &space, &acknowledged, &refused).await;
        store.close().await;
    }

    disk.remount(&format!("size={}m", 4 * mib + 16));
    let store = open(&root, journal_bytes).await.unwrap();
    all_there(&store, &space, &acknowledged, &refused).await;
    assert_eq!(store.verify().await.unwrap().problems, []);
    let put = store
        .images()
        .put(&space, heavy(1_000_000, 10))
        .await
        .unwrap();
    assert!(put.value.created);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_to_the_last_byte_stops_writes_and_loses_nothing() {
    for (mib, record, journal) in [
        (8, 100_000, 1 << 20),
        (8, 1_000, 1 << 20),
        (7, 30_000, 4 << 20),
        // A journal that has to grow for one record finds no space to.
        (6, 200_000, 64 << 10),
    ] {
        fill_up(mib, record, journal).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_too_small_for_a_store_is_no_store_and_no_harm() {
    let Some(disk) = Tmpfs::mount("1m") else {
        return;
    };
    let root = disk.path().join("store");
    let refused = Redb::open(&root, Options::default());
    assert!(refused.is_err());
    drop(refused);
    disk.remount("size=64m");
    let engine = Redb::open(&root, Options::default()).unwrap();
    engine.close().await;
}
