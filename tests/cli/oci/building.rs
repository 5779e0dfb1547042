//! The build cache asked with the histories of real images, and configs that were stored by hand.

use std::fs;

use serde_json::{Value, json};

use super::tools::{LAYOUT, Workshop, text};
use crate::harness::{Ran, Server};

fn lookup(server: &Server, arguments: &[&str]) -> Ran {
    server.run(["cache", "lookup"].iter().chain(arguments))
}

#[track_caller]
fn found(ran: Ran) -> Value {
    serde_json::from_str(&ran.printed()).unwrap()
}

#[test]
fn a_step_is_found_in_the_history_of_what_buildah_built() {
    let Some(shop) = Workshop::open() else { return };
    shop.blank("blank");
    shop.layer("blank", "base", "ADD base");
    fs::write(shop.path("code"), "code").unwrap();
    let from = "FROM oci:images:base\nENV X=y\nCOPY code /code\n";
    fs::write(shop.path("Dockerfile"), from).unwrap();
    shop.buildah([
        "bud",
        "--quiet",
        "--isolation",
        "chroot",
        "--tag",
        "app",
        ".",
    ]);
    shop.buildah(["push", "--quiet", "app", "oci:built:example.org/app:1"]);
    let server = Server::start();
    server.print(["import", "--oci-layout", &shop.text(LAYOUT)]);
    server.print(["import", "--oci-layout", &shop.text("built")]);
    let app = shop.made("built", "example.org/app:1");
    let base = shop.made(LAYOUT, "base");
    let steps = server.json(&["config", "show", "example.org/app:1"])["history"].clone();
    let (env, copy) = (text(&steps[1]["created_by"]), text(&steps[2]["created_by"]));

    // What stands between the base and the image is made from its history.
    let from = ["--cache-from", "example.org/app:1"];
    let first = |more: &[&str]| {
        let base = ["--parent", "base", "-o", "json"];
        let arguments: Vec<&str> = base.iter().chain(&from).chain(more).copied().collect();
        found(lookup(&server, &arguments))
    };
    let would = first(&["--dry-run", "--", &env]);
    assert_eq!(
        server.print(["config", "ls", "-q"]).lines().count(),
        3,
        "nothing is made"
    );
    let hit = first(&["--", &env]);
    assert_eq!(hit["hit"]["kind"], "restored", "{hit}");
    assert_eq!(
        (&hit["hit"]["id"], &hit["sources"]),
        (&would["hit"]["id"], &json!([app.config]))
    );
    let made = text(&hit["hit"]["id"]);
    let shown = server.json(&["config", "show", &made]);
    assert_eq!(
        (&shown["parent"], &shown["built_locally"]),
        (&json!(base.config), &json!(false))
    );
    assert_eq!(shown["diff_ids"], json!(base.diff_ids));

    // The last step is the image itself.
    let ran = lookup(
        &server,
        &[
            "--parent",
            &made,
            "--cache-from",
            &app.config,
            "-q",
            "--",
            &copy,
        ],
    );
    assert_eq!(ran.printed(), app.config.clone() + "\n");
    assert_eq!(
        server.print(["config", "parent", &app.config]),
        made.clone() + "\n"
    );
    assert_eq!(
        server.print(["config", "children", &made]),
        app.config.clone() + "\n"
    );
    let ancestors = format!("{made}\n{}\n", base.config);
    assert_eq!(
        server.print(["config", "ancestors", "example.org/app:1"]),
        ancestors
    );

    // Another step is a miss, with its reasons.
    let miss = lookup(
        &server,
        &[
            "--parent",
            "base",
            "--cache-from",
            "example.org/app:1",
            "--",
            "make",
        ],
    );
    assert_eq!((miss.code, miss.stderr.as_str()), (4, ""), "{miss:?}");
    assert!(miss.stdout.starts_with("Miss:"), "{}", miss.stdout);
    assert!(
        miss.stdout
            .contains("it has another step there: /bin/sh -c #(nop)  ENV X=y")
            || miss
                .stdout
                .contains("it has another step there: /bin/sh -c #(nop) ENV X=y"),
        "{}",
        miss.stdout
    );
    let ran = lookup(
        &server,
        &[
            "--parent",
            "base",
            "--cache-from",
            "none:1",
            "-o",
            "json",
            "--",
            "make",
        ],
    );
    assert_eq!(ran.code, 4, "{ran:?}");
    let miss: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(miss["miss"]["local"], "no_such_step");
    assert_eq!(miss["skipped"][0]["reference"], "none:1");
    assert_eq!(
        lookup(&server, &["--parent", "base", "-q", "--", "make"]).stdout,
        ""
    );
}

#[test]
fn only_what_was_built_here_is_found_by_its_parent() {
    let server = Server::start();
    let config = |created: u8, built: Option<&str>| {
        let mut config = json!({
            "os": "linux", "architecture": "amd64", "created": format!("2026-01-0{created}T00:00:00Z"),
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        if let Some(command) = built {
            config["container_config"] = json!({"Cmd": ["/bin/sh", "-c", command]});
        }
        server
            .file("config.json", config.to_string())
            .to_str()
            .unwrap()
            .to_owned()
    };
    let create = |arguments: &[&str]| {
        let said = server.print(["config", "create"].iter().chain(arguments));
        said.split_once(' ').unwrap().0.to_owned()
    };
    let parent = create(&[&config(1, None)]);
    let asked = ["--parent", &parent, "-q", "--", "/bin/sh", "-c", "make"];
    create(&[&config(2, Some("make")), "--parent", &parent]);
    assert_eq!(lookup(&server, &asked).code, 4, "it was pulled");
    let built = create(&[
        &config(3, Some("make")),
        "--parent",
        &parent,
        "--built-locally",
    ]);
    assert_eq!(lookup(&server, &asked).printed(), built.clone() + "\n");
    let file = server.file(
        "step.json",
        r#"{"Cmd": ["/bin/sh", "-c", "make"], "Labels": {"a": "b"}}"#,
    );
    let file = [
        "--parent",
        &parent,
        "--container-config",
        file.to_str().unwrap(),
    ];
    assert_eq!(
        lookup(&server, &file).code,
        4,
        "a label more is another step"
    );
    let skipped = [
        "--parent",
        &parent,
        "--skip-local",
        "-q",
        "--",
        "/bin/sh",
        "-c",
        "make",
    ];
    assert_eq!(lookup(&server, &skipped).code, 4);
    let other = [
        "--parent",
        &parent,
        "--platform",
        "linux/arm64",
        "--",
        "/bin/sh",
        "-c",
        "make",
    ];
    let miss = lookup(&server, &other);
    assert!(miss.stdout.contains("for other platforms only"), "{miss:?}");

    // Removed by the beginning of its id; its parent stays, and is then a head.
    assert_eq!(
        server.print(["config", "parent", &built]),
        parent.clone() + "\n"
    );
    let short = &built[7..19];
    server.run(["config", "rm", &parent, "--if-head"]).told(5);
    assert_eq!(
        server.print(["config", "rm", "--dry-run", short]),
        built.clone() + " would be removed\n"
    );
    assert_eq!(
        server.print(["config", "rm", short]),
        built.clone() + " removed\n"
    );
    server.run(["config", "rm", short]).told(4);
    // A name is not taken for an id, even one that looks like it.
    server.put("cafe", 1);
    server.run(["config", "rm", "cafe"]).told(4);
    let said = server.run(["config", "rm", "example.org/app:1"]).told(1);
    assert!(said.contains("is no id"), "{said}");
    let twice = ["--container-config", "-", "--config", "-"];
    lookup(&server, &twice).told(2);
    assert_eq!(lookup(&server, &asked).code, 4);
}

#[test]
fn a_parent_can_be_named_changed_and_forgotten() {
    let server = Server::start();
    let create = |name: &str| {
        let config = json!({"author": name, "rootfs": {"diff_ids": []}});
        let said = server.feed(&["config", "create", "-"], config.to_string().as_bytes());
        said.printed().split_once(' ').unwrap().0.to_owned()
    };
    let [one, two] = ["one", "two"].map(create);
    let said = server.run(["config", "parent", &one]).told(4);
    assert!(
        said.contains("no parent") && said.contains("imagestore lineage"),
        "{said}"
    );
    assert_eq!(
        server.print(["config", "parent", &two, "--set", &one[7..17]]),
        format!("{two}: the parent is {one}; it was unknown\n")
    );
    let mut heads = server.json(&["config", "heads", "-q"]);
    assert_eq!(heads.as_array_mut().unwrap().pop(), Some(json!(two)));
    let said = server
        .run(["config", "parent", &one, "--set", &two])
        .refused(1);
    assert!(said.contains("ancestor"), "{said}");
    server.run(["config", "parent", &one, "--dry-run"]).told(2);
    assert_eq!(
        server.print(["config", "parent", &two, "--forget"]),
        format!("{two}: the parent is unknown; it was {one}\n")
    );
    assert_eq!(
        server.print(["config", "parent", &two, "--forget"]),
        format!("{two}: the parent is unknown already\n")
    );
}

#[test]
fn what_is_no_config_is_refused_with_the_reason() {
    let server = Server::start();
    for (config, said) in [
        ("{", "EOF"),
        ("{}", "rootfs"),
        (r#"{"rootfs": {"diff_ids": 1}}"#, "rootfs.diff_ids"),
    ] {
        let refused = server
            .feed(&["config", "create", "-"], config.as_bytes())
            .told(1);
        assert!(refused.contains(said), "{refused}");
    }
    let large = vec![b' '; (1 << 20) + 1];
    let refused = server.feed(&["config", "create", "-"], &large).told(1);
    assert!(
        refused.contains("1048576") || refused.contains("1 MiB"),
        "{refused}"
    );
    let refused = lookup(&server, &["--container-config", "/no/such/file"]).told(1);
    assert!(refused.contains("no such file"), "{refused}");
    let refused = lookup(&server, &["--", "make"]).told(1);
    assert!(refused.contains("--platform"), "{refused}");
    lookup(&server, &[]).refused(2);
    assert_eq!(server.print(["config", "ls", "-q"]), "");
}
