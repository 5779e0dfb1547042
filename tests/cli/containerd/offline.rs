//! From the file of a containerd that is stopped.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::daemon::{Containerd, digest, image};
use super::{Holding, Holdings, Record, assert_same, holdings, texts};
use crate::harness::{Ran, Server};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn fixture() -> Vec<u8> {
    let packed = fs::File::open(format!("{FIXTURES}/containerd-meta-1.6.20.db.gz")).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// What the fixture holds, as who made it wrote it down.
fn expected() -> BTreeMap<String, BTreeMap<String, Record>> {
    let text = fs::read(format!("{FIXTURES}/containerd-meta-1.6.20.expected.json")).unwrap();
    let all: BTreeMap<String, Vec<Value>> = serde_json::from_slice(&text).unwrap();
    let time = |value: &Value| {
        let nanos = value[1].as_i64().unwrap();
        (value[0].as_i64().unwrap(), i32::try_from(nanos).unwrap())
    };
    let record = |image: &Value| {
        let record = Record {
            media_type: super::text(&image["media_type"]),
            digest: super::text(&image["digest"]),
            size: image["size"].as_i64().unwrap(),
            annotations: texts(&image["annotations"]),
            labels: texts(&image["labels"]),
            created_at: time(&image["created"]),
            updated_at: time(&image["updated"]),
        };
        (super::text(&image["name"]), record)
    };
    all.into_iter()
        .map(|(namespace, images)| (namespace, images.iter().map(record).collect()))
        .collect()
}

fn path(server: &Server, bytes: &[u8]) -> PathBuf {
    server.file("meta.db", bytes)
}

fn import(server: &Server, path: &Path) -> Ran {
    let path = path.to_str().unwrap();
    server.run(["import", "--from-containerd-db", path])
}

#[test]
fn the_file_of_a_containerd_comes_out_as_it_was_written() {
    let server = Server::start();
    let path = path(&server, &fixture());
    let dry = ["import", "--dry-run", "--from-containerd-db"];
    let would = server.print(dry.iter().chain(&[path.to_str().unwrap()]));
    assert_eq!(server.print(["ns", "ls", "-q"]), "");
    assert_eq!(import(&server, &path).printed(), would);
    let taken = holdings(&server);
    let images = |all: &Holdings| {
        let images =
            |(namespace, holding): (&String, &Holding)| (namespace.clone(), holding.images.clone());
        all.iter().map(images).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(images(&taken), expected());
    assert_eq!(taken["k8s.io"].labels["owner"], "cri");
    let leases: Vec<usize> = taken.values().map(|holding| holding.leases.len()).collect();
    assert_eq!(leases, [1, 0]);

    // Once more changes nothing, and takes nothing away.
    server.put("only-here", 1);
    let again = server.json(&["import", "--from-containerd-db", path.to_str().unwrap()]);
    let unchanged = |n: u32| json!({"created": 0, "changed": 0, "unchanged": n, "deleted": 0});
    assert_eq!(
        again,
        json!({
            "namespaces": {
                "default": {
                    "namespace": unchanged(1), "images": unchanged(3), "leases": unchanged(1),
                },
                "k8s.io": {
                    "namespace": unchanged(1), "images": unchanged(299), "leases": unchanged(0),
                },
            },
            "refused": 0,
        })
    );
    assert_eq!(server.print(["count", "-n", "-"]), "303\n");
    assert_eq!(fs::read(&path).unwrap(), fixture(), "the file is only read");
}

#[test]
fn one_namespace_is_taken_when_one_is_named() {
    let server = Server::start();
    let path = path(&server, &fixture());
    let path = path.to_str().unwrap();
    server.print(["import", "--from-containerd-db", path, "-n", "k8s.io"]);
    assert_eq!(server.print(["ns", "ls", "-q"]), "k8s.io\n");
    let said = server.run(["import", "--from-containerd-db", path, "-n", "nowhere"]);
    let said = said.told(4);
    assert_eq!(said, "imagestore: containerd has no namespace nowhere.\n");
}

#[test]
fn what_containerd_has_just_written_is_read_as_it_said_itself() {
    let Some(mut containerd) = Containerd::start() else {
        return;
    };
    let client = &containerd.client;
    client.create_namespace("empty", &[("k", "v")]);
    let names = (0..50u64).map(|i| image(&format!("docker.io/library/i:{i}"), i, &[("n", "1")]));
    client.create_all("default", names);
    let mut annotated = image("with annotations", 1, &[]);
    annotated
        .target
        .as_mut()
        .unwrap()
        .annotations
        .insert("k".into(), "v".into());
    client.create("other", annotated);
    client.update("other", image("with annotations", 2, &[("since", "then")]));
    client.create_lease(
        "other",
        "a lease",
        &[("a", "b")],
        &[
            ("content", &digest(3)),
            ("snapshots/overlayfs", "s1"),
            ("snapshots/native", "s1"),
            ("ingests", "i1"),
        ],
    );
    let said = client.holdings();

    let server = Server::start();
    let path = containerd.meta_db();
    let refused = import(&server, &path).told(1);
    assert_eq!(
        refused,
        format!(
            "imagestore: cannot read {}: containerd has it open. Import from its socket with \
             --from-containerd, or stop it first.\n",
            path.display()
        )
    );
    assert_eq!(server.print(["ns", "ls", "-q"]), "", "nothing was taken");

    containerd.stop();
    import(&server, &path).printed();
    assert_same(&holdings(&server), &said);
}

#[test]
fn a_torn_file_is_refused_and_nothing_of_it_taken() {
    let server = Server::start();
    let whole = fixture();
    let cut = path(&server, &whole[..whole.len() / 8]);
    let said = import(&server, &cut).told(1);
    assert!(said.contains("it is torn or damaged"), "{said}");
    assert!(
        said.contains("the file ends before its last page"),
        "{said}"
    );
    assert!(said.contains("containerd was stopped"), "{said}");

    // As in a copy that was made while containerd wrote: a page was taken for something else.
    let mut torn = whole.clone();
    let of_images = (2..120)
        .rev()
        .map(|page| page * 4096)
        .find(|at| torn[at + 8] == 2 && torn[at + 10] > 4)
        .unwrap();
    torn.copy_within(3 * 4096..4 * 4096, of_images);
    let torn = path(&server, &torn);
    let said = import(&server, &torn).told(1);
    assert!(said.contains("it says that it is another"), "{said}");

    let none = path(&server, b"no file of containerd's");
    let said = import(&server, &none).told(1);
    assert!(said.contains("it is no bbolt file"), "{said}");
    let said = import(&server, &server.path("missing")).told(1);
    assert!(said.contains("no such file"), "{said}");
    assert_eq!(server.print(["ns", "ls", "-q"]), "");
}
