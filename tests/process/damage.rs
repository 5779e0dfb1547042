//! Files that make no sense: the process says so and ends, without a panic.

use std::fs;
use std::path::Path;

use imagestore::Store;
use imagestore::domain::{Algorithm, Descriptor, Digest, ImageChange, Labels, Size};
use imagestore::proto::v1 as pb;
use imagestore::store::PutImage;

use crate::common::{PATIENCE, Server, folder, get, put, socket};
use crate::start::refusal;

/// A store with some records, closed.
async fn store(root: &Path) {
    let store = Store::open(root).await.unwrap();
    for i in 0..50 {
        let digest = Digest::of(Algorithm::Sha256, &[i]);
        let target = Descriptor::new(
            "a/b".parse().unwrap(),
            digest,
            Size::try_from(1u64).unwrap(),
        );
        let change = ImageChange::Replace {
            target,
            labels: Labels::default(),
        };
        let put = PutImage::new(format!("n{i}").parse().unwrap(), change);
        store
            .images()
            .put(&"default".parse().unwrap(), put)
            .await
            .unwrap();
    }
    store.close().await;
}

async fn refused_as_damaged(root: &Path) {
    let (_dir, address) = socket();
    let said = refusal(root, &address).await;
    assert!(said.contains(root.to_str().unwrap()), "{said}");
    assert!(said.contains("damaged"), "{said}");
    assert!(
        said.contains("restore it from a backup"),
        "says what to do next: {said}"
    );
}

#[tokio::test]
async fn a_database_file_of_garbage_is_refused() {
    for garbage in [vec![0xa5; 1 << 20], b"hello".to_vec(), vec![0; 1 << 16]] {
        let root = folder();
        store(root.path()).await;
        fs::write(root.path().join("imagestore.redb"), garbage).unwrap();
        refused_as_damaged(root.path()).await;
    }
}

#[tokio::test]
async fn a_database_file_that_is_cut_short_is_refused() {
    for kept in [0, 1, 320, 4096, 5000] {
        let root = folder();
        store(root.path()).await;
        let path = root.path().join("imagestore.redb");
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(kept).unwrap();
        refused_as_damaged(root.path()).await;
    }
}

#[tokio::test]
async fn a_database_file_whose_header_is_damaged_is_refused() {
    for at in [0, 4, 8] {
        let root = folder();
        store(root.path()).await;
        let path = root.path().join("imagestore.redb");
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 0xff;
        fs::write(&path, bytes).unwrap();
        refused_as_damaged(root.path()).await;
    }
}

#[tokio::test]
async fn a_database_file_with_a_damaged_page_is_refused_or_serves_what_is_whole() {
    let root = folder();
    store(root.path()).await;
    let path = root.path().join("imagestore.redb");
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    // The first pages hold what is read to open the file, the others records.
    for page in (1..whole.len() / PAGE).step_by(3) {
        let mut bytes = whole.clone();
        bytes[page * PAGE..(page + 1) * PAGE].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        let (_dir, address) = socket();
        let mut server = Server::launch(root.path(), &address);
        if server.is_ready().await {
            let mut images = server.images().await;
            // Each has an answer, and the process outlives it.
            let _ = images.get(get("n7")).await;
            let _ = images.list(pb::ListImagesRequest::default()).await;
            let _ = images.put(put("n7", "x")).await;
            server.health("").await.expect("the process still serves");
        } else {
            let status = server.ended(PATIENCE).await;
            assert_eq!(status.code(), Some(1), "{}", server.stderr());
            refused += 1;
        }
        assert!(
            !server.stderr().contains("panicked"),
            "page {page}: {}",
            server.stderr()
        );
    }
    assert!(refused > 0, "some page is needed to open the file");
}

/// redb's page.
const PAGE: usize = 4096;

#[tokio::test]
async fn a_store_without_its_journal_or_with_that_of_another_is_refused() {
    let (root, other) = (folder(), folder());
    store(root.path()).await;
    store(other.path()).await;
    let journal = root.path().join("journal");
    fs::copy(other.path().join("journal"), &journal).unwrap();
    refused_as_damaged(root.path()).await;
    fs::remove_file(&journal).unwrap();
    refused_as_damaged(root.path()).await;
}

#[tokio::test]
async fn a_journal_damaged_before_its_end_is_refused_rather_than_cut_there() {
    // Within 200 ms without a write the database takes over what the journal holds, and the damage
    // does no harm any more; a machine that stalls so long gets another try.
    for _ in 0..20 {
        let root = folder();
        let mut server = Server::at(root.path()).await;
        let mut images = server.images().await;
        images.put(put("first", "x")).await.unwrap();
        for i in 0..10 {
            images.put(put(&format!("n{i}"), "x")).await.unwrap();
        }
        server.kill();
        let path = root.path().join("journal");
        let mut bytes = fs::read(&path).unwrap();
        let name = b"first";
        let at = bytes
            .windows(name.len())
            .position(|part| part == name)
            .expect("it was journaled");
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();

        let (_dir, address) = socket();
        let mut again = Server::launch(root.path(), &address);
        if again.is_ready().await {
            again
                .images()
                .await
                .get(get("first"))
                .await
                .expect("it was acknowledged");
            continue;
        }
        again.ended(PATIENCE).await;
        let said = again.stderr();
        assert!(
            said.contains("damaged") && !said.contains("panicked"),
            "{said}"
        );
        return;
    }
    panic!("every try was too slow to find the journal in use");
}

#[tokio::test]
async fn a_record_that_was_cut_off_at_the_end_of_the_journal_was_never_acknowledged() {
    let root = folder();
    let mut server = Server::at(root.path()).await;
    let mut images = server.images().await;
    images.put(put("kept", "x")).await.unwrap();
    images.put(put("last", "x")).await.unwrap();
    server.kill();
    // As if the last write to the journal had been torn before its sync returned.
    let path = root.path().join("journal");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes
        .windows(4)
        .position(|part| part == b"last")
        .expect("it was journaled");
    bytes[at..at + 4].fill(0);
    fs::write(&path, bytes).unwrap();
    let server = Server::at(root.path()).await;
    server.images().await.get(get("kept")).await.unwrap();
}
