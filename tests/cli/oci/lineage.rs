//! What real images are built on, and what is built on them.

use std::fs;

use serde_json::{Value, json};

use super::tools::{LAYOUT, Workshop, text};
use crate::harness::Server;

/// A base, two generations on top of it and a sibling; none says what it was built from.
fn family(shop: &Workshop) {
    shop.blank("blank");
    shop.layer("blank", "base:1", "ADD base");
    shop.layer("base:1", "app:1", "ADD app");
    shop.layer("app:1", "app:2", "ADD more of app");
    shop.setting("base:1", "side:1", "SIDE=1");
}

fn import(shop: &Workshop, server: &Server) {
    server.print(["import", "--oci-layout", &shop.text(LAYOUT)]);
}

/// Name, relation, layers between, and whether it is outdated.
fn summary(lineage: &Value) -> Vec<(String, String, i64, bool)> {
    let members = lineage.as_array().unwrap().iter();
    let summary = members.map(|member| {
        let names = member["names"].as_array().unwrap();
        (
            names.first().map(text).unwrap_or_default(),
            text(&member["relation"]),
            member["layers"].as_i64().unwrap(),
            member["is_outdated"].as_bool().unwrap(),
        )
    });
    summary.collect()
}

fn row(name: &str, relation: &str, layers: i64, outdated: bool) -> (String, String, i64, bool) {
    (name.to_owned(), relation.to_owned(), layers, outdated)
}

#[test]
fn lineage_is_found_by_layers_though_nobody_declared_it() {
    let Some(shop) = Workshop::open() else { return };
    family(&shop);
    let server = Server::start();
    import(&shop, &server);
    assert_eq!(
        summary(&server.json(&["lineage", "base:1"]))[1..],
        [
            row("side:1", "descendant", 0, false),
            row("app:1", "descendant", 1, false),
            row("app:2", "descendant", 2, false),
        ]
    );
    // The sibling's layers are those of the base; its history says that nothing was built on it.
    let below = server.json(&["lineage", "app:2"]);
    assert_eq!(
        summary(&below)[1..],
        [
            row("app:1", "base", 1, false),
            row("base:1", "base", 2, false),
            row("side:1", "base", 2, false)
        ]
    );
    let by_layers_only = |member: &Value| member["is_by_layers_only"] == true;
    let guesses = below
        .as_array()
        .unwrap()
        .iter()
        .filter(|member| by_layers_only(member));
    assert_eq!(
        guesses
            .map(|member| text(&member["names"][0]))
            .collect::<Vec<_>>(),
        ["side:1"]
    );
    let tree = server.print(["lineage", "app:1"]);
    let (app, base) = (shop.made(LAYOUT, "app:1"), shop.made(LAYOUT, "base:1"));
    let side = shop.made(LAYOUT, "side:1");
    let above = shop.made(LAYOUT, "app:2");
    let short = |id: &str| id[7..19].to_owned();
    assert_eq!(
        tree,
        format!(
            "app:1  {}  linux/amd64\n\
             \n\
             built on, the nearest first\n\
             base:1  {}  linux/amd64  1 layer below\n\
             side:1  {}  linux/amd64  1 layer below, with another history\n\
             \n\
             built on it\n\
             └── app:2  {}  linux/amd64  1 layer above\n",
            short(&app.config),
            short(&base.config),
            short(&side.config),
            short(&above.config),
        )
    );
    let tree = server.print(["lineage", "base:1"]);
    assert!(tree.contains("├── side:1"), "{tree}");
    assert!(
        tree.contains("└── app:1") && tree.contains("    └── app:2"),
        "{tree}"
    );
    let dot = server.print(["lineage", "base:1", "-o", "dot"]);
    assert!(
        dot.starts_with("digraph lineage {") && dot.contains(" -> "),
        "{dot}"
    );
    let said = server.run(["ls", "-o", "dot"]).told(2);
    assert!(said.contains("only lineage"), "{said}");
    server.run(["lineage", "none:1"]).told(4);
}

#[test]
fn what_is_built_on_an_older_base_is_outdated() {
    let Some(shop) = Workshop::open() else { return };
    family(&shop);
    let server = Server::start();
    import(&shop, &server);
    let outdated = ["lineage", "base:1", "--outdated"];
    assert_eq!(server.json(&outdated), json!([]));
    // The base is built anew, and one of the images on it too.
    let old = shop.made(LAYOUT, "base:1");
    shop.layer("blank", "base:1", "ADD newer base");
    shop.layer("base:1", "fresh:1", "ADD app");
    import(&shop, &server);
    let lineage = server.json(&["lineage", "base:1"]);
    assert_eq!(
        summary(&lineage)[1..],
        [
            row("fresh:1", "descendant", 1, false),
            row("side:1", "descendant", 0, true),
            row("app:1", "descendant", 1, true),
            row("app:2", "descendant", 2, true),
        ]
    );
    assert_eq!(lineage[2]["base"], old.config);
    assert!(lineage[2]["base_generation"].as_u64().unwrap() > 0);
    let names: Vec<String> = summary(&server.json(&outdated))
        .into_iter()
        .map(|row| row.0)
        .collect();
    assert_eq!(names, ["side:1", "app:1", "app:2"]);
    let table = server.print(outdated);
    assert!(
        table.starts_with("NAME ") && table.contains(&old.config[7..19]),
        "{table}"
    );
    let tree = server.print(["lineage", "base:1"]);
    let (current, rest) = tree.split_once("OUTDATED").unwrap();
    assert!(
        current.contains("fresh:1") && !current.contains("app:1"),
        "{tree}"
    );
    assert!(
        rest.contains("side:1") && rest.contains("of generation"),
        "{tree}"
    );
    // Nothing was built on the sibling, though the base that was is no longer shown.
    for line in ["\n├── side:1", "\n└── app:1", "\n    └── app:2"] {
        assert!(rest.contains(line), "{tree}");
    }
}

#[test]
fn an_image_of_several_platforms_is_asked_about_as_one() {
    let Some(shop) = Workshop::open() else { return };
    family(&shop);
    let arm = [
        "config",
        "--image",
        "images:blank",
        "--tag",
        "blank-arm",
        "--architecture",
        "arm64",
    ];
    shop.umoci(arm);
    shop.layer("blank-arm", "base-arm:1", "ADD base for arm");
    shop.layer("base-arm:1", "app-arm:1", "ADD app for arm");
    let mut index = shop.json("images/index.json");
    let entries = index["manifests"].as_array_mut().unwrap();
    let platforms = ["base:1", "base-arm:1"].map(|tag| {
        let entry = entries
            .iter()
            .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == tag);
        let mut entry = entry.unwrap().clone();
        entry.as_object_mut().unwrap().remove("annotations");
        entry
    });
    let kind = "application/vnd.oci.image.index.v1+json";
    let both = json!({"schemaVersion": 2, "mediaType": kind, "manifests": platforms});
    let mut both = shop.add_blob(LAYOUT, kind, &both);
    both["annotations"] = json!({"org.opencontainers.image.ref.name": "multi:1"});
    entries.push(both);
    fs::write(shop.path("images/index.json"), index.to_string()).unwrap();
    let server = Server::start();
    import(&shop, &server);
    let relations = |arguments: &[&str]| {
        let lineage = summary(&server.json(arguments));
        let names = lineage.into_iter().map(|row| (row.0, row.1));
        names
            .filter(|(_, relation)| relation == "descendant")
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    let mut all = relations(&["lineage", "multi:1"]);
    all.sort();
    assert_eq!(all, ["app-arm:1", "app:1", "app:2", "side:1"]);
    assert_eq!(
        relations(&["lineage", "multi:1", "--platform", "linux/arm64"]),
        ["app-arm:1"]
    );
    let tree = server.print(["lineage", "multi:1"]);
    let heads = tree.lines().take_while(|line| !line.is_empty()).count();
    assert_eq!(heads, 2, "{tree}");
}
