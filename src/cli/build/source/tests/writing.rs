//! Writing new versions.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::super::write::{Change, commit};
use super::*;
use crate::domain::Timestamp;

const LABELLED: &str = "FROM x\nLABEL a=b \\\n  org.opencontainers.image.version=\"1.0\" c=d\n";

fn images() -> TempDir {
    let dir = tree_of(&[
        ("base", "1.0", "", "FROM x"),
        ("top", "2.0", "", "FROM {{ 'base'|image_tag }}"),
    ]);
    for (path, text) in [
        ("plain/Dockerfile", "FROM base"),
        ("plain/version", "1.0\n"),
        ("label/Dockerfile", LABELLED),
    ] {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn updates(scanned: &Scanned) -> Vec<Update<'_>> {
    let update = |image| Update {
        image,
        version: "3.0".parse().unwrap(),
        reason: "A reason".to_owned(),
    };
    scanned.images.iter().map(update).collect()
}

fn write(dir: &TempDir, updates: &[Update<'_>]) -> Result<(), String> {
    let config = config(dir.path());
    write_changelogs(updates, &config, "Jo <jo@x>", Timestamp::UNIX_EPOCH)
        .map_err(|why| below(dir, &format!("{why:?}")))
}

/// All files and their bytes.
fn content(dir: &TempDir) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut open = vec![dir.path().to_owned()];
    let mut files = BTreeMap::new();
    while let Some(path) = open.pop() {
        match path.is_dir() {
            true => open.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            ),
            false => drop(files.insert(path.clone(), fs::read(path).unwrap_or_default())),
        }
    }
    files
}

#[test]
fn every_image_gets_its_version_where_it_says_it() {
    let dir = images();
    let before = scanned(&dir);
    write(&dir, &updates(&before)).unwrap();
    let after = scanned(&dir);
    let keys: Vec<_> = after
        .images
        .iter()
        .map(|image| image.key.to_string())
        .collect();
    assert_eq!(keys, ["base@3.0", "label@3.0", "plain@3.0", "top@3.0"]);
    let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
    assert_eq!(
        read("base/changelog"),
        "base (3.0) unstable; urgency=high\n\n   A reason\n\n -- Jo <jo@x>  Thu, 01 Jan 1970 00:00:00 +0000\n\n\
         base (1.0) x; urgency=low\n"
    );
    assert_eq!(read("plain/version"), "3.0\n");
    assert_eq!(read("label/Dockerfile"), LABELLED.replace("1.0", "3.0"));
    // Nothing is left beside them.
    assert_eq!(content(&dir).len(), 8);
}

#[test]
fn where_one_cannot_be_written_none_is() {
    for (path, text, expected) in [
        (
            "top/changelog",
            "top (2.1) x; y",
            "top/changelog says top@2.1 by now, not 2.0",
        ),
        ("top/changelog", "nothing", "top/changelog:1: "),
        ("plain/version", "4", "plain/version says 4 by now"),
        (
            "label/Dockerfile",
            "FROM x",
            "label/Dockerfile says another version",
        ),
    ] {
        let dir = images();
        let before = scanned(&dir);
        fs::write(dir.path().join(path), text).unwrap();
        let files = content(&dir);
        let told = write(&dir, &updates(&before)).unwrap_err();
        assert!(told.contains(expected), "{told}");
        assert_eq!(content(&dir), files, "{path}");
    }
}

#[test]
fn where_one_cannot_be_made_nothing_is_left() {
    let dir = images();
    let files = content(&dir);
    let change = |path: &str| Change {
        path: dir.path().join(path),
        old: Vec::new(),
        new: b"new".to_vec(),
    };
    let made = change("base/changelog").stage().unwrap();
    assert_eq!(content(&dir).len(), files.len() + 1);
    let told = change("nowhere/changelog").stage().err().unwrap();
    assert!(told.contains("cannot write "), "{told}");
    drop(made);
    assert_eq!(content(&dir), files);
}

#[test]
fn a_file_that_was_left_behind_is_in_nobodys_way() {
    let dir = images();
    let before = scanned(&dir);
    let left = dir.path().join(format!(
        "top/.changelog.imagestore-{}-0",
        std::process::id()
    ));
    fs::write(&left, "left").unwrap();
    write(&dir, &updates(&before)).unwrap();
    assert_eq!(fs::read(left).unwrap(), b"left");
}

#[test]
fn what_was_put_before_one_that_fails_gets_its_old_bytes_back() {
    let dir = images();
    let before = content(&dir);
    let path = |name: &str| dir.path().join(name).canonicalize().unwrap();
    let (base, top) = (path("base/changelog"), path("top/changelog"));
    let changes = [("base/changelog", &base), ("top/changelog", &top)].map(|(name, path)| {
        let old = before[&dir.path().join(name)].clone();
        Change {
            path: path.clone(),
            old,
            new: b"new".to_vec(),
        }
    });
    let staged: Vec<_> = changes
        .iter()
        .map(|change| change.stage().unwrap())
        .collect();
    // The second cannot take the place of a directory that is not empty.
    fs::remove_file(&top).unwrap();
    fs::create_dir_all(top.join("x")).unwrap();
    let told = commit(&changes, staged).unwrap_err();
    assert!(told.contains("top/changelog"), "{told}");
    assert_eq!(
        fs::read(&base).unwrap(),
        before[&dir.path().join("base/changelog")]
    );
    let left = content(&dir);
    assert!(
        left.keys()
            .all(|path| !path.to_string_lossy().contains("imagestore-")),
        "{left:?}"
    );
}

#[test]
fn two_images_with_one_changelog_are_refused() {
    let dir = tree(&[("a/Dockerfile.template", ""), ("a/changelog", "a (1) x; y")]);
    let scanned = scanned(&dir);
    let two: Vec<_> = updates(&scanned)
        .into_iter()
        .chain(updates(&scanned))
        .collect();
    let files = content(&dir);
    assert!(
        write(&dir, &two)
            .unwrap_err()
            .contains("the file of two images")
    );
    assert_eq!(content(&dir), files);
}

#[test]
fn permissions_are_kept_and_links_stay_links() {
    let dir = tree(&[("a/Dockerfile.template", ""), ("logs/a", "a (1) x; y\n")]);
    let (link, file) = (dir.path().join("a/changelog"), dir.path().join("logs/a"));
    symlink("../logs/a", &link).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let before = scanned(&dir);
    write(&dir, &updates(&before)).unwrap();
    assert!(link.is_symlink());
    assert!(fs::read(&file).unwrap().starts_with(b"a (3.0) "));
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o640
    );
}
