//! What put, get, label, rm, count, ns, status and completions do when all goes well.

use serde_json::json;

use crate::harness::{INDEX, Server, digest, run};

#[test]
fn a_put_says_whether_it_created_updated_or_changed_nothing() {
    let server = Server::start();
    for (number, said) in [(1, "created"), (1, "unchanged"), (2, "updated")] {
        assert_eq!(
            server.put_with("a:1", number, &[]).printed(),
            format!("a:1 {said}\n")
        );
    }
    let outcome = server.put_with("b:1", 1, &["-o", "json"]).printed();
    let outcome: serde_json::Value = serde_json::from_str(&outcome).unwrap();
    assert_eq!(outcome["created"], true);
    assert_eq!(outcome["changed"], true);
    assert_eq!(outcome["image"]["name"], "b:1");
    assert_eq!(outcome["image"]["revision"], outcome["revision"]);
}

#[test]
fn a_put_keeps_every_part_of_the_record() {
    let server = Server::start();
    let more =
        "--label k=v --label e= --annotation x=y=z --platform linux/arm/v7 --artifact-type a/b";
    let more: Vec<&str> = more.split(' ').collect();
    server.put_with("docker.io/library/a:1", 7, &more).printed();
    let mut shown = server.json(&["get", "docker.io/library/a:1"]);
    let fields = shown.as_object_mut().unwrap();
    for volatile in ["created_at", "updated_at", "etag", "revision"] {
        assert!(fields.remove(volatile).is_some(), "{volatile}");
    }
    assert_eq!(
        shown,
        json!({
            "namespace": "default", "name": "docker.io/library/a:1", "digest": digest(7),
            "media_type": INDEX, "size": 3700, "annotations": {"x": "y=z"},
            "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
            "artifact_type": "a/b", "labels": {"e": "", "k": "v"},
        })
    );
    let block = server.print(["get", "docker.io/library/a:1"]);
    for line in [
        "Name:           docker.io/library/a:1",
        "Size:           3.7kB (3700 bytes)",
        "Platform:       linux/arm/v7",
        "Annotations:    x=y=z",
        "Labels:         e=",
        "                k=v",
    ] {
        assert!(
            block.lines().any(|shown| shown == line),
            "{line} in\n{block}"
        );
    }
    let ndjson = server.print(["get", "docker.io/library/a:1", "-o", "ndjson"]);
    assert_eq!(ndjson.lines().count(), 1);
    assert!(
        ndjson.starts_with(r#"{"namespace":"default","name":"docker.io/library/a:1","digest":"#)
    );
}

#[test]
fn a_put_replaces_labels_unless_it_keeps_them() {
    let server = Server::start();
    server.put_with("a", 1, &["--label", "k=v"]).printed();
    server.put_with("a", 2, &["--keep-labels"]).printed();
    let kept = server.json(&["get", "a"]);
    assert_eq!(
        (&kept["digest"], &kept["labels"]),
        (&json!(digest(2)), &json!({"k": "v"}))
    );
    server.put_with("a", 2, &[]).printed();
    assert_eq!(server.json(&["get", "a"])["labels"], json!(null));
}

#[test]
fn a_dry_run_says_what_would_happen_and_writes_nothing() {
    let server = Server::start();
    let would = |number| server.put_with("a", number, &["--dry-run"]).printed();
    assert_eq!(would(1), "a would be created\n");
    assert_eq!(server.print(["count"]), "0\n");
    server.put("a", 1);
    assert_eq!(would(1), "a would stay unchanged\n");
    assert_eq!(would(2), "a would be updated\n");
    assert_eq!(server.json(&["get", "a"])["digest"], digest(1));
}

#[test]
fn label_sets_and_removes_the_given_keys_only() {
    let server = Server::start();
    server
        .put_with("a", 1, &["--label", "keep=1", "--label", "gone=1"])
        .printed();
    let said = server.print(["label", "a", "new.io/key=x=y", "gone="]);
    assert_eq!(said, "a updated\n");
    let image = server.json(&["get", "a"]);
    assert_eq!(image["labels"], json!({"keep": "1", "new.io/key": "x=y"}));
    assert_eq!(image["digest"], digest(1));
    assert_eq!(server.print(["label", "a", "keep=1"]), "a unchanged\n");
}

#[test]
fn preconditions_that_hold_let_the_write_through() {
    let server = Server::start();
    server.put_with("a", 1, &["--create-only"]).printed();
    let etag = server.json(&["get", "a"])["etag"]
        .as_str()
        .unwrap()
        .to_owned();
    server
        .put_with("a", 2, &["--if-etag", &etag, "--if-target", &digest(1)])
        .printed();
    let etag = server.json(&["get", "a"])["etag"]
        .as_str()
        .unwrap()
        .to_owned();
    server.print(["label", "a", "k=v", "--if-etag", &etag]);
    server.print(["rm", "a", "--if-target", &digest(2)]);
    assert_eq!(server.print(["count"]), "0\n");
}

#[test]
fn rm_removes_each_name_and_says_so() {
    let server = Server::start();
    for name in ["a", "b", "c", "d"] {
        server.put(name, 1);
    }
    assert_eq!(server.print(["rm", "a", "c"]), "a removed\nc removed\n");
    assert_eq!(server.print(["ls", "-q"]), "b\nd\n");
    let removed = server.json(&["rm", "b", "d"]);
    assert_eq!(removed.as_array().unwrap().len(), 2);
    assert_eq!(removed[0]["digest"], digest(1));
}

#[test]
fn a_dry_run_of_a_removal_says_what_would_go_and_removes_nothing() {
    let server = Server::start();
    server.put("a", 1);
    server.put("b", 1);
    let before = server.json(&["status"])["revision"].clone();
    let ran = server.run(["rm", "a", "nope", "b", "--dry-run"]);
    assert_eq!(ran.stdout, "a would be removed\nb would be removed\n");
    ran.told(4);
    let other = digest(2);
    let held = ["rm", "a", "--dry-run", "--if-target", &other];
    server.run(held).told(5);
    let would = server.json(&["rm", "a", "--dry-run"]);
    assert_eq!(would[0], server.json(&["get", "a"]));

    server.run(["ns", "rm", "default", "--dry-run"]).told(5);
    let forced = ["ns", "rm", "default", "--force", "--dry-run"];
    assert_eq!(
        server.print(forced),
        "default would be removed, with 2 images\n"
    );
    assert_eq!(server.print(["ls", "-q"]), "a\nb\n");
    assert_eq!(server.json(&["status"])["revision"], before);
}

#[test]
fn count_counts_what_ls_would_list() {
    let server = Server::start();
    for (name, number) in [("a:1", 1), ("a:2", 2), ("b:1", 1)] {
        server.put(name, number);
    }
    server
        .put_with("c:1", 3, &["-n", "other", "--label", "k=v"])
        .printed();
    for (arguments, count) in [
        (vec!["count"], 3),
        (vec!["count", "a:"], 2),
        (vec!["count", "a:", "--digest", "0100"], 1),
        (vec!["count", "-n", "-"], 4),
        (
            vec!["count", "-n", "-", "-f", "labels.k==v", "-f", "name==b:1"],
            2,
        ),
        (vec!["count", "-n", "nobody"], 0),
    ] {
        assert_eq!(
            server.print(&arguments),
            format!("{count}\n"),
            "{arguments:?}"
        );
        assert_eq!(server.json(&arguments)["count"], count, "{arguments:?}");
    }
}

#[test]
fn namespaces_are_listed_created_relabelled_and_removed() {
    let server = Server::start();
    assert_eq!(
        server.print(["ns", "put", "team", "--label", "k=v"]),
        "team created\n"
    );
    assert_eq!(
        server.print(["ns", "put", "team", "--label", "k=w"]),
        "team updated\n"
    );
    server.put_with("a", 1, &["-n", "prod"]).printed();
    assert_eq!(server.print(["ns", "ls", "-q"]), "prod\nteam\n");
    let table = server.print(["ns", "ls"]);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        [
            "NAMESPACE",
            "IMAGES",
            "CONFIGS",
            "BUILDERS",
            "TARGETS",
            "HISTORY",
            "CREATED",
            "LABELS"
        ]
    );
    assert_eq!(rows[1][..6], ["prod", "1", "0", "0", "0", "default"]);
    assert_eq!(rows[2][..6], ["team", "0", "0", "0", "0", "default"]);
    assert_eq!(rows[2].last(), Some(&"k=w"));
    let listed = server.json(&["ns", "ls"]);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["images"]),
        (&json!("prod"), &json!(1))
    );
    assert_eq!(
        server.print(["ns", "rm", "team"]),
        "team removed, with 0 images\n"
    );
    assert_eq!(
        server.print(["ns", "rm", "prod", "--force"]),
        "prod removed, with 1 images\n"
    );
    assert_eq!(server.json(&["ns", "ls"]), json!([]));
}

#[test]
fn status_tells_how_the_store_fares() {
    let server = Server::start();
    server.put("a", 1);
    let block = server.print(["status"]);
    for part in [
        "Engine:         redb",
        "Writes:         accepted",
        "Images:         1",
    ] {
        assert!(block.lines().any(|line| line == part), "{part} in\n{block}");
    }
    let status = server.json(&["status"]);
    assert_eq!(
        (&status["images"], &status["namespaces"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(status["configs"], json!(0));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status.get("degraded"), None);
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(["completions", shell]).printed();
        assert!(
            script.contains("imagestore") && script.contains("import"),
            "{shell}"
        );
    }
}

#[test]
fn the_environment_gives_the_address_and_the_namespace_and_options_override_it() {
    let server = Server::start();
    server.put_with("a", 1, &["-n", "one"]).printed();
    let from_env = server
        .command()
        .env("IMAGESTORE_NAMESPACE", "one")
        .args(["ls", "-q"])
        .output();
    assert_eq!(from_env.unwrap().stdout, b"a\n");
    let overridden = server
        .command()
        .env("IMAGESTORE_NAMESPACE", "two")
        .env("IMAGESTORE_ADDRESS", "unix:///nowhere")
        .args(["ls", "-q", "-n", "one", "-a", &server.address()])
        .output();
    assert_eq!(overridden.unwrap().stdout, b"a\n");
}
