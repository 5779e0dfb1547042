//! Backup, restore and compact, as who runs a store meets them.

use std::fs;

use crate::harness::{Server, line, run};

#[test]
fn a_backup_of_a_running_server_becomes_a_store_of_its_own() {
    let server = Server::start();
    let lines: String = (0..50).map(|i| line(&format!("image:{i}"), i)).collect();
    assert_eq!(server.feed(&["import", "-"], lines.as_bytes()).code, 0);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();

    let told = server.run(["backup", &path("file")]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.contains("backed up to"), "{told:?}");
    let names = fs::read_dir(folder.path()).unwrap();
    assert_eq!(names.count(), 1, "nothing but the file is left");
    let status = server.run(["status"]);
    assert!(status.stdout.contains("Last backup"), "{status:?}");

    let root = path("root");
    let restored = run(["restore", &path("file"), "--root", &root]);
    assert_eq!(restored.code, 0, "{restored:?}");
    let verified = run(["verify", "--root", &root]);
    assert_eq!(verified.code, 0, "{verified:?}");

    let again = run(["restore", &path("file"), "--root", &root]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("empty folder"), "{again:?}");
    // Cut short by a byte.
    let bytes = fs::read(path("file")).unwrap();
    fs::write(path("cut"), &bytes[..bytes.len() - 1]).unwrap();
    let cut = run(["restore", &path("cut"), "--root", &path("other")]);
    assert_eq!(cut.code, 1);
    assert!(cut.stderr.contains("cut short"), "{cut:?}");
}

#[test]
fn a_compaction_says_what_the_store_takes_before_and_after() {
    let server = Server::start();
    assert_eq!(
        server.feed(&["import", "-"], line("a", 1).as_bytes()).code,
        0
    );
    let sizes = server.json(&["compact"]);
    assert!(sizes["bytes_before"].as_i64().unwrap() > 0, "{sizes}");
    assert!(sizes["bytes_after"].as_i64().unwrap() > 0, "{sizes}");
    assert_eq!(server.run(["get", "a"]).code, 0);
}
