//! What is taken from a layout and from an archive, and how it is shown.

use std::fs;

use serde_json::json;

use super::tools::{LAYOUT, Workshop, text};
use crate::harness::Server;

#[test]
fn a_layout_comes_with_its_names_and_configs_byte_for_byte() {
    let Some(shop) = Workshop::open() else { return };
    shop.blank("blank");
    shop.layer("blank", "example.org/base:1", "ADD base");
    shop.setting("example.org/base:1", "example.org/app:1", "A=b");
    let server = Server::start();
    let layout = shop.text(LAYOUT);
    let import = ["import", "--oci-layout", &layout];
    let dry = server.print(import.iter().chain(&["--dry-run"]));
    assert_eq!(
        server.print(["config", "ls", "-q"]),
        "",
        "nothing was written"
    );
    let said = server.print(import);
    assert_eq!(
        said,
        "NAMESPACE  KIND     CREATED  CHANGED  UNCHANGED  DELETED\n\
         default    images   3        0        0          0\n\
         default    configs  3        0        0          0\n"
    );
    assert_eq!(dry, said);
    assert_eq!(
        server.json(&import)["namespaces"]["default"]["configs"],
        json!({"created": 0, "changed": 0, "unchanged": 3, "deleted": 0})
    );

    let app = shop.made(LAYOUT, "example.org/app:1");
    assert_eq!(
        server.json(&["get", "example.org/app:1"])["digest"],
        app.manifest
    );
    let shown = server.json(&["config", "show", "example.org/app:1"]);
    assert_eq!(shown["id"], app.config);
    assert_eq!(shown["diff_ids"], json!(app.diff_ids));
    assert_eq!(shown["targets"], json!([app.manifest]));
    assert_eq!(shown["built_locally"], false);
    assert_eq!(
        shown["history"][1]["created_by"],
        "/bin/sh -c #(nop) ENV A=b"
    );
    // By an id, by its beginning, and with the bytes that the tool wrote.
    let blob = shop.path(&format!("{LAYOUT}/blobs/{}", app.config.replace(':', "/")));
    let blob = fs::read_to_string(blob).unwrap();
    for reference in [
        &*app.config,
        &app.config[7..],
        &app.config[7..19],
        "example.org/app:1",
    ] {
        assert_eq!(server.print(["config", "show", "--raw", reference]), blob);
    }
    let table = server.print(["config", "show", &app.config]);
    assert!(
        table.contains("ADD base") && table.contains("LAYER"),
        "{table}"
    );
    let listed = server.json(&["config", "ls"]);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!(
        server.json(&["config", "heads"]),
        server.json(&["config", "ls", "--heads"])
    );
    server.run(["config", "show", "example.org/none:1"]).told(4);
}

#[test]
fn labels_that_are_here_survive_an_import() {
    let Some(shop) = Workshop::open() else { return };
    shop.blank("a:1");
    let server = Server::start();
    let layout = shop.text(LAYOUT);
    server.print(["import", "--oci-layout", &layout]);
    server.print(["label", "a:1", "team=base"]);
    shop.layer("a:1", "a:1", "ADD more");
    server.print(["import", "--oci-layout", &layout]);
    let record = server.json(&["get", "a:1"]);
    assert_eq!(record["labels"], json!({"team": "base"}));
    assert_eq!(record["digest"], shop.made(LAYOUT, "a:1").manifest);
}

#[test]
fn an_image_for_several_platforms_has_a_config_for_each() {
    let Some(shop) = Workshop::open() else { return };
    shop.blank("blank");
    shop.layer("blank", "amd", "ADD amd");
    shop.umoci([
        "config",
        "--image",
        "images:blank",
        "--tag",
        "blank-arm",
        "--architecture",
        "arm64",
    ]);
    shop.layer("blank-arm", "arm", "ADD arm");
    shop.buildah(["manifest", "create", "multi"]);
    shop.buildah(["manifest", "add", "multi", "oci:images:amd"]);
    let arm = "oci:images:arm";
    shop.buildah([
        "manifest",
        "add",
        "--arch",
        "arm64",
        "--variant",
        "v8",
        "multi",
        arm,
    ]);
    shop.buildah([
        "manifest",
        "push",
        "--all",
        "--quiet",
        "multi",
        "oci:multi:example.org/multi:1",
    ]);

    // And below another index, which no tool here makes.
    let mut index = shop.json("multi/index.json");
    let inner = index["manifests"][0].clone();
    let kind = text(&inner["mediaType"]);
    let outer = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [inner]});
    let mut outer = shop.add_blob("multi", &kind, &outer);
    outer["annotations"] = json!({"io.containerd.image.name": "example.org/nested:1"});
    index["manifests"]
        .as_array_mut()
        .unwrap()
        .push(outer.clone());
    fs::write(shop.path("multi/index.json"), index.to_string()).unwrap();

    let server = Server::start();
    server.print(["import", "--oci-layout", &shop.text("multi")]);
    let (amd, arm) = (shop.made(LAYOUT, "amd"), shop.made(LAYOUT, "arm"));
    let config = |name: &str, platform: &str| {
        text(&server.json(&["config", "show", name, "--platform", platform])["id"])
    };
    for name in ["example.org/multi:1", "example.org/nested:1"] {
        assert_eq!(config(name, "linux/amd64"), amd.config);
        assert_eq!(config(name, "linux/arm64"), arm.config);
        let said = server.run(["config", "show", name]).told(5);
        assert!(
            said.contains(&amd.config) && said.contains(&arm.config),
            "{said}"
        );
        assert!(said.contains("--platform"), "{said}");
        server
            .run(["config", "show", name, "--platform", "linux/s390x"])
            .told(4);
    }
    let shown = server.json(&["config", "show", &arm.config]);
    assert_eq!(
        shown["targets"].as_array().unwrap().len(),
        3,
        "manifest, index, index above"
    );
    assert_eq!(
        server.json(&["get", "example.org/nested:1"])["digest"],
        outer["digest"]
    );
}

#[test]
fn a_docker_archive_gives_names_that_point_to_configs() {
    let Some(shop) = Workshop::open() else { return };
    shop.blank("blank");
    shop.layer("blank", "app", "ADD app");
    shop.skopeo_copy("oci:images:app", "docker-archive:app.tar:app:1");
    shop.run("gzip", ["-k", "app.tar"]);
    shop.skopeo_copy("oci:images:app", "oci-archive:layout.tar:example.org/app:2");
    let server = Server::start();
    let app = shop.made(LAYOUT, "app");
    for archive in ["app.tar", "app.tar.gz"] {
        server.print(["import", "--docker-archive", &shop.text(archive)]);
        let record = server.json(&["get", "docker.io/library/app:1"]);
        assert_eq!(record["digest"], app.config);
        assert_eq!(
            record["media_type"],
            "application/vnd.docker.container.image.v1+json"
        );
        let shown = server.json(&["config", "show", "docker.io/library/app:1"]);
        assert_eq!(
            (&shown["id"], &shown["diff_ids"]),
            (&json!(app.config), &json!(app.diff_ids))
        );
    }
    // As one pipes it from `docker save`.
    let piped = fs::read(shop.path("app.tar")).unwrap();
    let again = server
        .feed(&["import", "--docker-archive", "-"], &piped)
        .printed();
    assert!(again.contains("configs  0        0        1"), "{again}");
    // A layout in an archive has its manifest.
    server.print(["import", "--docker-archive", &shop.text("layout.tar")]);
    assert_eq!(
        server.json(&["get", "example.org/app:2"])["digest"],
        app.manifest
    );
    assert_eq!(
        server.json(&["config", "show", "example.org/app:2"])["id"],
        app.config
    );
    // The short name that people know is understood, and that is said.
    let ran = server.run(["config", "show", "app:1", "-o", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stderr, "app:1 is taken as docker.io/library/app:1\n");
}
