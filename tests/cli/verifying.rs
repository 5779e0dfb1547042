//! Checking a store: one that is served, one that nobody has open, one that is damaged; and mending it.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use imagestore::kv::{Batch, Kv, Options, Redb, Table};

use crate::harness::{Server, line, run};

/// A backup's store with two images: nobody has it open.
fn store() -> (tempfile::TempDir, String) {
    let server = Server::start();
    let lines = line("a", 1) + &line("b", 2);
    assert_eq!(server.feed(&["import", "-"], lines.as_bytes()).code, 0);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, root) = (path("file"), path("root"));
    assert_eq!(server.run(["backup", &file]).code, 0);
    assert_eq!(run(["restore", &file, "--root", &root]).code, 0);
    (folder, root)
}

/// Changes the file behind the store's back.
fn meddle(root: &str, batch: Batch) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let kv = Redb::open(Path::new(root), Options::default()).unwrap();
        kv.commit(batch).await.unwrap();
        kv.close().await;
    });
}

#[test]
fn a_sound_store_is_said_to_be_sound_while_it_is_served_too() {
    let server = Server::start();
    assert_eq!(
        server.feed(&["import", "-"], line("a", 1).as_bytes()).code,
        0
    );
    let told = server.run(["verify"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.starts_with("sound: "), "{told:?}");
    let found = server.json(&["verify"]);
    assert_eq!(found["count"], 0, "{found}");
    assert!(found["rows"].as_u64().unwrap() > 3, "{found}");
}

#[test]
fn what_does_not_fit_is_named_with_code_1_and_a_repair_mends_the_indexes() {
    let (_folder, root) = store();
    let digests = Table::new("v1/default/digests");
    let mut batch = Batch::new(0);
    batch.clear(digests.clone()).put(digests.key("nowhere"), "");
    meddle(&root, batch);

    let told = run(["verify", "--root", &root]);
    assert_eq!(told.code, 1, "{told:?}");
    for row in [
        "v1/default/images [a]: is not in the digest index",
        "v1/default/images [b]: is not in the digest index",
        "v1/default/digests [nowhere]: names an image that does not point there",
    ] {
        assert!(told.stdout.lines().any(|line| line == row), "{told:?}");
    }
    assert!(
        told.stderr.contains("3 problems") && told.stderr.contains("--repair"),
        "{told:?}"
    );

    let json = run(["verify", "--root", &root, "-o", "json"]);
    assert_eq!(json.code, 1);
    let found: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(found["problems"].as_array().unwrap().len(), 3, "{found}");

    let mended = run(["verify", "--root", &root, "--repair"]);
    assert_eq!(mended.code, 0, "{mended:?}");
    assert!(
        mended
            .stdout
            .starts_with("3 index rows were mended\nsound: "),
        "{mended:?}"
    );
    assert_eq!(run(["verify", "--root", &root]).code, 0);
}

#[test]
fn a_page_that_is_not_as_it_was_written_is_said_to_be_damaged() {
    let (_folder, root) = store();
    let path = Path::new(&root).join("imagestore.redb");
    let bytes = std::fs::read(&path).unwrap();
    // In a page that is in use: where the media type of a record stands.
    let at = bytes
        .windows(8)
        .rposition(|part| part == b"v1/names")
        .unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_at(&[bytes[at] ^ 1], at as u64).unwrap();

    let told = run(["verify", "--root", &root]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stdout.starts_with("pages []: "), "{told:?}");
    assert!(
        told.stderr.contains("damaged") && told.stderr.contains("restore"),
        "{told:?}"
    );
}

#[test]
fn a_folder_without_a_store_or_with_one_in_use_is_not_checked() {
    let folder = tempfile::tempdir().unwrap();
    let none = run(["verify", "--root", &folder.path().display().to_string()]);
    assert_eq!(none.code, 1, "{none:?}");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is made"
    );
    let usage = run(["verify", "--repair"]);
    assert_eq!(usage.code, 2, "{usage:?}");
}

#[test]
fn a_restore_leaves_a_folder_with_something_in_it_alone() {
    let (folder, _) = store();
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("x"), "x").unwrap();
    let file = folder.path().join("file").display().to_string();
    let refused = run(["restore", &file, "--root", &taken.display().to_string()]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("has x in it"), "{refused:?}");
    assert_eq!(std::fs::read_dir(&taken).unwrap().count(), 1);
}
