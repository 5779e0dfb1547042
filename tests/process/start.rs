//! Starting: where it may not, and what it takes over.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use imagestore::Store;
use imagestore::domain::{Algorithm, Descriptor, Digest, ImageChange, Labels, Size, Timestamp};
use imagestore::kv::{Batch, Kv, Options, Redb, Table};
use imagestore::proto::containerd::services::introspection::v1::introspection_client::IntrospectionClient;
use imagestore::proto::v1 as pb;
use imagestore::store::{DeleteImage, PutImage, RequestId, StoreId, Surroundings};
use tonic::Code;

use crate::common::{Server, eventually, folder, get, put, socket};
use crate::mount::Tmpfs;

/// At once, for a person.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Starts a server that must refuse; what it says.
pub async fn refusal(root: &Path, address: &str) -> String {
    let mut server = Server::launch(root, address);
    let status = server.ended(AT_ONCE).await;
    let said = server.stderr();
    assert!(!status.success(), "it served: {said}");
    assert!(status.code().is_some(), "it crashed: {status}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[tokio::test]
async fn a_second_process_on_a_store_is_refused_at_once_and_told_who_holds_it() {
    let root = folder();
    let first = Server::at(root.path()).await;
    let (_dir, address) = socket();
    let said = refusal(root.path(), &address).await;
    assert!(
        said.contains(&format!("in use by process {}", first.pid())),
        "{said}"
    );
    assert!(said.contains(root.path().to_str().unwrap()), "{said}");
    first.images().await.put(put("a", "a")).await.unwrap();
}

#[tokio::test]
async fn a_server_says_to_containerds_clients_which_process_it_is() {
    let server = Server::start().await;
    let mut client = IntrospectionClient::new(server.channel().await);
    let said = client.server(()).await.unwrap().into_inner();
    assert_eq!(said.pid, u64::from(server.pid()));
    assert_eq!(said.pidns == 0, !cfg!(target_os = "linux"));
}

#[tokio::test]
async fn a_second_listener_on_an_address_is_refused_and_the_first_goes_on() {
    for first in [Server::start().await, Server::start_on_tcp().await] {
        let other = folder();
        let said = refusal(other.path(), first.address()).await;
        assert!(said.contains(first.address()), "{said}");
        assert!(said.contains("another process listens there"), "{said}");
        first.images().await.put(put("a", "a")).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_killed_process_leaves_is_taken_over() {
    let (root, (_dir, address)) = (folder(), socket());
    let mut first = Server::launch(root.path(), &address);
    first.ready().await;
    let made = first
        .images()
        .await
        .put(put("a", "a"))
        .await
        .unwrap()
        .into_inner();
    first.kill();
    assert!(
        Path::new(address.trim_start_matches("unix://")).exists(),
        "its socket is still there"
    );
    let mut second = Server::launch(root.path(), &address);
    second.ready().await;
    let read = second
        .images()
        .await
        .get(get("a"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((read.image, read.revision), (made.image, made.revision));
}

#[tokio::test]
async fn a_store_of_a_newer_release_is_refused_and_left_as_it_is() {
    let root = folder();
    {
        let engine = Redb::open(root.path(), Options::default()).unwrap();
        let meta = Table::new("meta");
        let mut batch = Batch::new(0);
        batch
            .put(meta.key("schema"), 2u32.to_be_bytes().to_vec())
            .put(meta.key("store"), vec![7; 16])
            .put(Table::new("v2/something").key("new"), "of the future");
        engine.commit(batch).await.unwrap();
        engine.close().await;
    }
    let (_dir, address) = socket();
    let said = refusal(root.path(), &address).await;
    assert!(said.contains("schema version 2"), "{said}");
    assert!(said.contains("knows up to 1"), "{said}");
    assert!(said.contains("use the release that wrote it"), "{said}");

    let engine = Redb::open(root.path(), Options::default()).unwrap();
    let snapshot = engine.snapshot().await.unwrap();
    let rows = snapshot
        .get(&[Table::new("v2/something").key("new")])
        .await
        .unwrap();
    assert_eq!(rows[0].as_ref().unwrap().value, "of the future");
    engine.close().await;
}

#[tokio::test]
async fn a_root_that_cannot_be_written_is_refused_by_name() {
    let dir = folder();
    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    let taken = dir.path().join("taken");
    fs::create_dir_all(taken.join("imagestore.redb")).unwrap();
    for root in [file.join("below"), file.clone(), taken] {
        let (_dir, address) = socket();
        let said = refusal(&root, &address).await;
        assert!(said.contains(root.to_str().unwrap()), "{said}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    let Some(disk) = Tmpfs::mount("8m") else {
        return;
    };
    disk.remount("ro");
    for root in [disk.path().to_owned(), disk.path().join("below")] {
        let (_dir, address) = socket();
        let said = refusal(&root, &address).await;
        assert!(said.contains(disk.path().to_str().unwrap()), "{said}");
    }
}

/// A store with an answer to a request of long ago, and a name removed as long ago.
async fn with_what_has_expired(root: &Path) {
    let then = Timestamp::new(1_700_000_000, 0).unwrap();
    let surroundings = Surroundings {
        clock: Arc::new(move || then),
        uptime: Arc::new(Duration::default),
        new_id: Arc::new(|| StoreId([7; 16])),
    };
    let kv = Redb::open(root, Options::default()).unwrap();
    let store = Store::on(Arc::new(kv), surroundings).await.unwrap();
    let namespace = "default".parse().unwrap();
    let target = Descriptor::new(
        "a/b".parse().unwrap(),
        Digest::of(Algorithm::Sha256, b"x"),
        Size::try_from(1u64).unwrap(),
    );
    let change = ImageChange::Replace {
        target,
        labels: Labels::default(),
    };
    let put = PutImage {
        request: Some(RequestId::new("r1", b"put").unwrap()),
        ..PutImage::new("gone".parse().unwrap(), change)
    };
    let images = store.images();
    images.put(&namespace, put).await.unwrap();
    let delete = DeleteImage::new("gone".parse().unwrap());
    images.delete(&namespace, &delete).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_server_removes_what_has_expired() {
    let root = folder();
    with_what_has_expired(root.path()).await;
    let server = Server::at(root.path()).await;
    eventually("the namespace is all that is left", async || {
        server.status().await.records == 1
    })
    .await;
    let mut images = server.images().await;
    let request = pb::HistoryRequest {
        name: "gone".to_owned(),
        ..Default::default()
    };
    let refused = images.history(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    // The store's own rows, the namespaces, and the note that a history is gone.
    eventually("the answers of that day are gone too", async || {
        server.status().await.tables == 3
    })
    .await;
}
