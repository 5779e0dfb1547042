//! Files that are damaged, missing or another store's.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, Event, Image};
use super::luck::Luck;
use super::platter::Platter;
use super::{key, put, value};
use crate::kv::redb::DATABASE_FILE;
use crate::kv::redb::files::UNFINISHED_FILE;
use crate::kv::{Guard, Kv, OpenError, Options, Redb, Revision, Rows};

/// A store that lost its power with ten commits in its journal only, a record each.
fn crashed() -> tempfile::TempDir {
    loop {
        let disk = Disk::holding(&Image::default());
        let kv = Arc::new(disk.open(Options::default()).unwrap());
        let made = disk.events().len();
        for i in 0..10 {
            disk.ask(&kv, put(&i.to_string(), "v"));
            disk.settle();
        }
        let events = disk.events();
        let syncs = events[made..].iter();
        // A machine that was busy elsewhere leaves time for a checkpoint.
        if syncs
            .filter(|event| matches!(event, Event::Synced(_)))
            .count()
            > 10
        {
            continue;
        }
        let mut platter = Platter::default();
        for event in &events {
            platter.pass(event, &mut Luck::of(0));
        }
        let dir = tempfile::tempdir().unwrap();
        platter.synced().write_to(dir.path());
        return dir;
    }
}

fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);

#[tokio::test]
async fn a_damaged_or_foreign_file_is_refused_and_not_written() {
    let other = crashed();
    let cases: [(&str, &str, Damage); 12] = [
        ("imagestore.redb", "garbage", &|bytes| bytes.fill(0xab)),
        ("imagestore.redb", "emptied", &Vec::clear),
        ("imagestore.redb", "cut short", &|bytes| {
            bytes.truncate(bytes.len() / 2)
        }),
        ("imagestore.redb", "cut to nearly nothing", &|bytes| {
            bytes.truncate(100)
        }),
        ("journal", "of another store", &|bytes| {
            *bytes = fs::read(other.path().join("journal")).unwrap();
            bytes[8] ^= 1;
        }),
        ("journal", "its first record flipped", &|bytes| {
            bytes[512 + 20] ^= 1
        }),
        ("journal", "its first length flipped", &|bytes| {
            bytes[512 + 7] ^= 1
        }),
        ("journal", "its magic flipped", &|bytes| bytes[0] ^= 1),
        ("journal", "emptied", &Vec::clear),
        ("journal", "cut after its first record", &|bytes| {
            bytes.truncate(1024)
        }),
        ("journal", "cut short", &|bytes| {
            bytes.truncate(bytes.len() - 1)
        }),
        ("journal", "its third record zeroed", &|bytes| {
            bytes[512 * 3..512 * 4].fill(0)
        }),
    ];
    for (file, what, change) in cases {
        let dir = crashed();
        damage(&dir.path().join(file), change);
        let before = fs::read(dir.path().join("journal")).unwrap();
        let refused = Redb::open(dir.path(), Options::default()).err();
        assert!(
            matches!(refused, Some(OpenError::Corrupt { .. })),
            "{file} {what}: {refused:?}"
        );
        assert_eq!(
            fs::read(dir.path().join("journal")).unwrap(),
            before,
            "{file} {what}"
        );
    }
}

#[tokio::test]
async fn a_missing_journal_is_refused_once_the_store_has_rows() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    kv.commit(put("a", "v")).await.unwrap();
    kv.close().await;
    drop(kv);
    let journal = dir.path().join("journal");
    let refused = || {
        let opened = Redb::open(dir.path(), Options::default());
        matches!(opened, Err(OpenError::Corrupt { .. }))
    };
    damage(&journal, Vec::clear);
    assert!(refused(), "an emptied one is missing too");
    fs::remove_file(&journal).unwrap();
    assert!(refused());
}

#[tokio::test]
async fn an_unfinished_last_record_of_the_journal_is_dropped() {
    let dir = crashed();
    damage(&dir.path().join("journal"), |bytes| {
        // The tenth record: what a write that never finished leaves.
        bytes[512 * 10 + 30..512 * 11].fill(0);
    });
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    assert_eq!(kv.snapshot().await.unwrap().revision(), Revision(9));
    assert!(value(&kv, "9").await.is_none());
    assert_eq!(kv.commit(put("again", "v")).await.unwrap(), Revision(10));
}

#[tokio::test]
async fn flipped_bits_in_the_database_are_an_error_or_harmless_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    for i in 0..200 {
        kv.commit(put(&i.to_string(), &"v".repeat(100)))
            .await
            .unwrap();
    }
    kv.close().await;
    drop(kv);
    let path = dir.path().join("imagestore.redb");
    let whole = fs::read(&path).unwrap();
    let journal = fs::read(dir.path().join("journal")).unwrap();
    for i in 0..120usize {
        let at = (i * 7919) % whole.len().min(200_000);
        damage(&path, |bytes| bytes[at] ^= 1 << (i % 8));
        if let Ok(kv) = Redb::open(dir.path(), Options::default())
            && let Ok(view) = kv.snapshot().await
        {
            // Whatever comes back, it comes back.
            let _ = view.scan(&Rows::all(key("").table), 999).await;
            let _ = view.changes(Revision::ZERO, 999).await;
            let mut batch = put("x", "v");
            batch.guard(Guard::Absent(key("nothing")));
            let _ = kv.commit(batch).await;
        }
        fs::write(&path, &whole).unwrap();
        fs::write(dir.path().join("journal"), &journal).unwrap();
    }
}

#[tokio::test]
async fn a_database_file_whose_making_was_cut_short_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(UNFINISHED_FILE), [0; 5000]).unwrap();
    let kv = Redb::open(dir.path(), Options::default()).unwrap();
    kv.commit(put("a", "v")).await.unwrap();
    assert!(!dir.path().join(UNFINISHED_FILE).exists());
}

#[tokio::test]
async fn a_missing_database_file_is_refused_while_its_journal_is_there() {
    let dir = crashed();
    fs::remove_file(dir.path().join(DATABASE_FILE)).unwrap();
    let refused = Redb::open(dir.path(), Options::default()).err();
    assert!(
        matches!(refused, Some(OpenError::Corrupt { .. })),
        "{refused:?}"
    );
    assert!(!dir.path().join(DATABASE_FILE).exists());
}
