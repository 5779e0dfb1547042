//! Backups, and stores that are made of them.

use std::path::Path;

use super::*;
use crate::kv::{Key, OpenError, Rows, Table, Versioned};

on_every_engine![
    a_restored_store_has_every_record_under_a_new_id_and_far_above,
    a_backup_holds_one_revision_whatever_is_written_meanwhile,
    a_backup_says_what_its_bytes_are,
    answers_to_requests_are_in_no_backup,
    a_backup_is_noted_once_it_is_complete,
];

/// The bytes of a backup, once it is complete; and its end.
async fn bytes_of(mut backup: BackupStream) -> (Vec<u8>, BackupPart) {
    let mut bytes = Vec::new();
    while let Some(part) = backup.next().await {
        match part.unwrap() {
            BackupPart::Head { .. } => assert!(bytes.is_empty(), "the head comes first"),
            BackupPart::Chunk { bytes: chunk, .. } => {
                assert!(chunk.len() <= 256 << 10);
                bytes.extend_from_slice(&chunk);
            }
            end @ BackupPart::End { .. } => {
                assert!(backup.next().await.is_none(), "the end comes last");
                return (bytes, end);
            }
        }
    }
    panic!("the backup has no end");
}

async fn backup(on: &On) -> Vec<u8> {
    bytes_of(on.store.backup().await.unwrap()).await.0
}

fn restored(root: &Path, bytes: &[u8], id: u8) -> Result<Restored, RestoreError> {
    let (surroundings, _) = surroundings();
    let surroundings = Surroundings {
        new_id: Arc::new(move || StoreId([id; 16])),
        ..surroundings
    };
    restore(root, bytes, &surroundings, Options::default())
}

async fn opened(root: &Path) -> On {
    On::kv(
        Arc::new(Redb::open(root, Options::default()).unwrap()),
        None,
    )
    .await
}

/// Another store, of a backup of this one.
pub(super) async fn copied(on: &On, dir: &Path) -> On {
    let root = dir.join("copy");
    restored(&root, &backup(on).await, 5).unwrap();
    opened(&root).await
}

/// All rows that are not the engine's.
async fn rows(on: &On) -> Vec<(Key, Versioned)> {
    let snapshot = on.store.snapshot().await.unwrap();
    let mut all = Vec::new();
    for table in snapshot.tables("").await.unwrap() {
        let found = snapshot
            .scan(&Rows::all(table.clone()), 9999)
            .await
            .unwrap();
        assert!(found.is_end);
        all.extend(
            found
                .rows
                .into_iter()
                .map(|(row, value)| (table.key(row), value)),
        );
    }
    all
}

const EPOCH: u64 = 1 << 40;

async fn a_restored_store_has_every_record_under_a_new_id_and_far_above(on: &On) {
    for i in 0..300 {
        on.put(&format!("ns{}/image:{i}", i % 3), &format!("{}", i % 7))
            .await;
    }
    on.delete("ns0/image:0").await.unwrap();
    let bytes = backup(on).await;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new");
    let made = restored(&root, &bytes, 5).unwrap();
    assert_eq!(made.id, StoreId([5; 16]));
    assert!(made.revision.0.is_multiple_of(EPOCH) && made.revision > made.backup);
    let begin = made.revision.0;

    let new = opened(&root).await;
    assert_eq!(new.store.id(), made.id);
    assert_eq!(new.store.status().await.unwrap().revision, made.revision);
    // Etags are revisions: those of the backup still hold.
    let is_meta = |key: &Key| key.table.path() == "meta";
    let records = |mut rows: Vec<(Key, Versioned)>| {
        rows.retain(|(key, _)| !is_meta(key));
        rows
    };
    assert_eq!(records(rows(&new).await), records(rows(on).await));
    let put = new.put("ns0/image:0", "again").await;
    assert_eq!(put.revision, Revision(begin + 1));

    // Once more, from the restored one.
    let again = restored(&dir.path().join("again"), &backup(&new).await, 6).unwrap();
    assert!(again.revision.0.is_multiple_of(EPOCH) && again.revision > put.revision);
    let other = restored(&dir.path().join("other"), &bytes, 7).unwrap();
    assert_ne!(
        other.revision, made.revision,
        "each restore has revisions of its own"
    );
    let third = opened(&dir.path().join("again")).await;
    let snapshot = third.store.snapshot().await.unwrap();
    let gaps = snapshot.get(&[schema::gaps()]).await.unwrap().remove(0);
    let gap = |after: Revision, before| {
        schema::gap_value(Gap {
            after,
            before: Revision(before),
        })
    };
    assert_eq!(
        gaps.unwrap().value,
        [gap(made.backup, begin), gap(again.backup, again.revision.0)].concat()
    );
    for lost in [
        made.backup.next(),
        Revision(begin - 1),
        Revision(begin + 50),
        other.revision.next(),
    ] {
        refuses_a_lost_revision(&new, lost).await;
    }
    new.must_be_sound().await;
    third.must_be_sound().await;
}

/// A revision that another store may have given out since the backup is none of this one's.
async fn refuses_a_lost_revision(on: &On, lost: Revision) {
    let (ns, image) = (namespace("ns0"), name("image:0"));
    let images = on.store.images();
    let is_unknown =
        |refused: Option<Error>| matches!(refused, Some(Error::UnknownRevision { .. }));
    let put = PutImage {
        when: Precondition::Matches {
            etag: Some(lost),
            target: None,
        },
        ..PutImage::new(image.clone(), replace("lost"))
    };
    assert!(is_unknown(images.put(&ns, put).await.err()), "{lost}");
    assert!(
        is_unknown(images.get_at(&ns, &image, lost).await.err()),
        "{lost}"
    );
    let watch = WatchImages {
        query: ImageQuery::all(Scope::All),
        start: WatchStart::After(lost),
        with_previous: false,
    };
    assert!(is_unknown(images.watch(watch).await.err()), "{lost}");
}

#[tokio::test]
async fn a_page_token_from_before_a_restore_is_refused() {
    let old = On::memory().await;
    for i in 0..3 {
        old.put(&format!("ns0/image:{i}"), "1").await;
    }
    let dir = tempfile::tempdir().unwrap();
    let new = copied(&old, dir.path()).await;
    let query = ImageQuery::all(Scope::One(namespace("ns0")));
    let page = PageRequest {
        size: 1,
        token: String::new(),
    };
    let token = old.store.images().list(&query, &page).await.unwrap();
    let page = PageRequest {
        token: token.next_token,
        ..page
    };
    let refused = new.store.images().list(&query, &page).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Invalid(invalid) if invalid.field() == "page_token"),
        "{refused}"
    );
    assert!(old.store.images().list(&query, &page).await.is_ok());
}

async fn a_backup_holds_one_revision_whatever_is_written_meanwhile(on: &On) {
    for i in 0..50 {
        on.put(&format!("ns/image:{i}"), "1").await;
    }
    let revision = on.store.status().await.unwrap().revision;
    let stream = on.store.backup().await.unwrap();
    on.put("ns/image:0", "2").await;
    on.put("ns/later", "2").await;
    let (bytes, end) = bytes_of(stream).await;
    assert!(matches!(end, BackupPart::End { revision: of, .. } if of == revision));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(restored(dir.path(), &bytes, 5).unwrap().backup, revision);
    let new = opened(dir.path()).await;
    assert!(matches!(new.get("ns/later").await, Err(Error::NotFound(_))));
    let first = new.get("ns/image:0").await.unwrap();
    assert!(first.revision <= revision);
}

async fn a_backup_says_what_its_bytes_are(on: &On) {
    // More than a chunk.
    for i in 0..30 {
        let mut batch = Batch::new(0);
        batch.put(Table::new("meta").key(format!("x{i}")), vec![i; 20_000]);
        on.store.inner.kv.commit(batch).await.unwrap();
    }
    let snapshot = on.store.snapshot().await.unwrap();
    let mut wanted = 0;
    for table in snapshot.tables("").await.unwrap() {
        wanted += snapshot.count(&table).await.unwrap();
    }
    let (all, end) = bytes_of(on.store.backup().await.unwrap()).await;
    let BackupPart::End {
        rows,
        bytes,
        digest,
        ..
    } = end
    else {
        unreachable!("it is an end");
    };
    assert_eq!(rows, wanted);
    assert_eq!(bytes, all.len() as u64);
    assert_eq!(digest, Digest::of(Algorithm::Sha256, &all));
    assert!(all.len() > 2 * (256 << 10));
    for i in 0..30 {
        let mut batch = Batch::new(0);
        batch.delete(Table::new("meta").key(format!("x{i}")));
        on.store.inner.kv.commit(batch).await.unwrap();
    }
}

async fn answers_to_requests_are_in_no_backup(on: &On) {
    // A namespace of that name is a namespace like any other.
    on.put("requests/image", "1").await;
    let mut batch = Batch::new(0);
    batch.put(schema::requests(20400).key("id"), "answer");
    on.store.inner.kv.commit(batch).await.unwrap();
    let bytes = backup(on).await;
    let dir = tempfile::tempdir().unwrap();
    restored(dir.path(), &bytes, 5).unwrap();
    let new = opened(dir.path()).await;
    new.get("requests/image").await.unwrap();
    let path = |(key, _): &(Key, Versioned)| key.table == schema::requests(20400);
    assert!(!rows(&new).await.iter().any(path));
    let mut batch = Batch::new(0);
    batch.clear(schema::requests(20400));
    on.store.inner.kv.commit(batch).await.unwrap();
}

async fn a_backup_is_noted_once_it_is_complete(on: &On) {
    on.put("ns/a", "1").await;
    let last = async || on.store.status().await.unwrap().last_backup;
    drop(on.store.backup().await.unwrap());
    assert_eq!(last().await, None);
    on.at(5000);
    let revision = on.store.status().await.unwrap().revision;
    let bytes = backup(on).await;
    let noted = last()
        .await
        .expect("a complete backup is noted before it ends");
    assert_eq!((noted.at.seconds(), noted.revision), (5000, revision));
    let dir = tempfile::tempdir().unwrap();
    restored(dir.path(), &bytes, 5).unwrap();
    let new = opened(dir.path()).await;
    assert_eq!(new.store.status().await.unwrap().last_backup, None);
}

#[tokio::test]
async fn a_backup_cut_or_changed_anywhere_restores_nothing() {
    let on = On::memory().await;
    for i in 0..20 {
        on.put(&format!("ns/image:{i}"), "1").await;
    }
    let whole = backup(&on).await;
    let dir = tempfile::tempdir().unwrap();
    let refused = |bytes: &[u8], what: &str| {
        let refused = restored(dir.path(), bytes, 5);
        assert!(refused.is_err(), "{what}");
        let left = std::fs::read_dir(dir.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "lock"), "{what}: {left:?}");
    };
    for cut in (0..whole.len()).step_by(101).chain([whole.len() - 1]) {
        refused(&whole[..cut], &format!("cut at {cut}"));
    }
    for at in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        refused(&changed, &format!("changed at {at}"));
    }
    let mut longer = whole.clone();
    longer.push(0);
    refused(&longer, "with a byte more");
    restored(dir.path(), &whole, 5).unwrap();
    let refused = restored(dir.path(), &whole, 5);
    assert!(matches!(
        refused,
        Err(RestoreError::Open(OpenError::NotEmpty { .. }))
    ));
}

/// The backup of a small store, byte for byte.
#[tokio::test]
async fn a_backup_keeps_its_bytes() {
    let on = On::memory().await;
    on.put("ns/a", "1").await;
    on.put("ns/a", "2").await;
    on.put("ns/b", "1").await;
    on.delete("ns/b").await.unwrap();
    let whole = backup(&on).await;
    let lines = whole.chunks(32).map(|line| {
        let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.concat() + "\n"
    });
    let text: String = lines.collect();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/backup.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap());
}
