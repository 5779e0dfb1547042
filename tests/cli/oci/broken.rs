//! Layouts that are not whole: what stops an import, and what it passes over.

use std::fs;

use serde_json::json;

use super::tools::{LAYOUT, Workshop};
use crate::harness::Server;

#[test]
fn what_is_broken_stops_an_import_or_is_told_and_passed_over() {
    let Some(shop) = Workshop::open() else { return };
    shop.blank("a-first");
    shop.layer("a-first", "b-missing", "ADD b");
    shop.layer("a-first", "c-damaged", "ADD c");
    shop.layer("a-first", "d-cut", "ADD d");
    shop.layer("a-first", "e-last", "ADD e");
    let path = |digest: &str| shop.path(&format!("{LAYOUT}/blobs/{}", digest.replace(':', "/")));
    fs::remove_file(path(&shop.made(LAYOUT, "b-missing").manifest)).unwrap();
    let damaged = path(&shop.made(LAYOUT, "c-damaged").config);
    let text = fs::read_to_string(&damaged).unwrap();
    fs::write(&damaged, text.replace("linux", "lunix")).unwrap();
    let cut = path(&shop.made(LAYOUT, "d-cut").manifest);
    let text = fs::read(&cut).unwrap();
    fs::write(&cut, &text[..text.len() / 2]).unwrap();

    let server = Server::start();
    let layout = shop.text(LAYOUT);
    let import = ["import", "--oci-layout", &layout];
    let ran = server.run(import);
    assert!(ran.stdout.contains("images   1"), "{ran:?}");
    let said = ran.told(1);
    assert!(
        said.contains("the import stopped at b-missing: manifest sha256:"),
        "{said}"
    );
    assert!(
        said.contains("it is not there") && said.contains("--keep-going"),
        "{said}"
    );

    let ran = server.run(import.iter().chain(&["--keep-going", "-o", "json"]));
    assert!(ran.stdout.contains("\"refused\": 3"), "{ran:?}");
    let said = ran.refused(1);
    assert!(
        said.contains("b-missing: ") && said.contains("it is not there"),
        "{said}"
    );
    assert!(
        said.contains("c-damaged: ") && said.contains("its content has the digest"),
        "{said}"
    );
    assert!(
        said.contains("d-cut: ") && said.contains("bytes, and should have"),
        "{said}"
    );
    assert_eq!(server.print(["ls", "-q"]), "a-first\ne-last\n");
}

#[test]
fn what_the_store_refuses_as_a_config_is_no_image() {
    let Some(shop) = Workshop::open() else { return };
    shop.blank("good");
    let config = shop.add_blob(
        LAYOUT,
        "application/vnd.oci.image.config.v1+json",
        &json!({"os": "linux", "architecture": "amd64"}),
    );
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let mut manifest = shop.add_blob(LAYOUT, kind, &json!({"config": config, "layers": []}));
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "no-rootfs"});
    let mut index = shop.json("images/index.json");
    index["manifests"].as_array_mut().unwrap().push(manifest);
    fs::write(shop.path("images/index.json"), index.to_string()).unwrap();
    let server = Server::start();
    let said = server
        .run(["import", "--oci-layout", &shop.text(LAYOUT)])
        .told(1);
    assert!(said.contains("rootfs"), "{said}");
    assert_eq!(server.print(["config", "ls", "-q"]).lines().count(), 1);
}

#[test]
fn what_cannot_be_read_at_all_is_told_in_one_line() {
    let server = Server::start();
    let folder = server.path("empty");
    fs::create_dir(&folder).unwrap();
    let said = server
        .run(["import", "--oci-layout", folder.to_str().unwrap()])
        .told(1);
    assert!(said.contains("oci-layout: it is not there"), "{said}");
    let file = server.file("no.tar", "no archive".repeat(100));
    let said = server
        .run(["import", "--docker-archive", file.to_str().unwrap()])
        .told(1);
    assert!(said.contains("tar archive, plain or gzip"), "{said}");
    let said = server
        .run(["import", "--docker-archive", "/no/such/file"])
        .told(1);
    assert!(said.contains("no such file"), "{said}");
    server
        .run(["import", "--oci-layout", "a", "--docker-archive", "b"])
        .refused(2);
}
