//! The main job on real input: the 9,849 names of Docker's official images.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::harness::Server;

const OFFICIAL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/official-images.jsonl.gz"
);
const ADMINER: &str = "docker.io/library/adminer:5";

fn official() -> Vec<Value> {
    let mut text = String::new();
    let file = std::fs::File::open(OFFICIAL).unwrap();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn dockers_official_images_are_imported_listed_found_by_digest_and_removed() {
    let server = Server::start();
    let official = official();
    let said = server.print(["import", OFFICIAL]);
    assert_eq!(said, "9849 imported, 0 unchanged, 0 failed\n");
    assert_eq!(server.print(["count"]), "9849\n");

    // Every name is there, in the order of its bytes.
    let names = server.print(["ls", "-q"]);
    let expected: BTreeSet<&str> = official
        .iter()
        .map(|image| image["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names.lines().collect::<Vec<_>>(),
        expected.into_iter().collect::<Vec<_>>()
    );
    assert_eq!(server.print(["ls"]).lines().count(), 9850);

    // Each record is what the file said.
    let Value::Array(listed) = server.json(&["ls"]) else {
        panic!("not an array")
    };
    let mut by_name: Vec<&Value> = official.iter().collect();
    by_name.sort_by_key(|image| image["name"].as_str());
    for (listed, official) in listed.iter().zip(by_name) {
        for field in ["name", "digest", "media_type", "size", "labels"] {
            assert_eq!(listed[field], official[field], "{official}");
        }
    }

    let image = server.json(&["get", ADMINER]);
    let digest = image["digest"].as_str().unwrap();
    let mut same: Vec<&str> = official
        .iter()
        .filter(|image| image["digest"] == digest)
        .map(|image| image["name"].as_str().unwrap())
        .collect();
    same.sort_unstable();
    assert!(same.len() > 1);
    for asked in [digest, &digest[7..19]] {
        assert_eq!(
            server
                .print(["ls", "-q", "--digest", asked])
                .lines()
                .collect::<Vec<_>>(),
            same
        );
    }

    let (code, said) = server.read_one_line_and_leave(&["ls", "-o", "ndjson"]);
    assert_eq!(
        (code, said.as_str()),
        (141, ""),
        "a reader that leaves is no error to tell"
    );
    assert_eq!(
        server.read_one_line_and_leave(&["export"]),
        (141, String::new())
    );
    assert_eq!(
        server.read_one_line_and_leave(&["ls"]),
        (141, String::new())
    );

    assert_eq!(
        server.print(["rm", ADMINER]),
        format!("{ADMINER} removed\n")
    );
    server.run(["get", ADMINER]).told(4);
    assert_eq!(server.print(["count"]), "9848\n");
    let said = server.print(["import", OFFICIAL]);
    assert_eq!(said, "1 imported, 9848 unchanged, 0 failed\n");
}
