//! What a name has been: history, get --at, rollback, how much is kept, and writes sent again.

use serde_json::{Value, json};

use crate::harness::{Server, digest, line, run};

/// The revision that made the record that stands now.
fn made(server: &Server, name: &str) -> u64 {
    server.json(&["get", name])["revision"].as_u64().unwrap()
}

/// Puts digests under a name, one after the other, and says which revision made each.
fn put_each(server: &Server, name: &str, numbers: &[u8]) -> Vec<String> {
    let put = |number: &u8| {
        server.put(name, *number);
        made(server, name).to_string()
    };
    numbers.iter().map(put).collect()
}

/// Rows of a table, split at spaces.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().map(|row| row.split_whitespace().collect());
    rows.collect()
}

fn revision(server: &Server) -> Value {
    server.json(&["status"])["revision"].clone()
}

#[test]
fn history_lists_every_generation_the_newest_first_and_marks_the_one_that_stands() {
    let server = Server::start();
    let first = put_each(&server, "a", &[1, 2]);
    server.print(["rm", "a"]);
    let last = put_each(&server, "a", &[3]);
    let table = server.print(["history", "a"]);
    let rows = rows(&table);
    assert_eq!(
        rows[0],
        [
            "GENERATION",
            "DIGEST",
            "SIZE",
            "UPDATED",
            "ENDED",
            "BY",
            "WHO"
        ]
    );
    let who = format!("uid:{}", rustix::process::geteuid().as_raw());
    let starts_and_ends: Vec<[&str; 4]> = rows[1..]
        .iter()
        .map(|row| [row[0], row[1], row[row.len() - 2], row[row.len() - 1]])
        .collect();
    assert_eq!(starts_and_ends[0][..2], [last[0].as_str(), "030000000000"]);
    assert_eq!(starts_and_ends[0][3], "current");
    assert_eq!(
        starts_and_ends[1..],
        [
            [first[1].as_str(), "020000000000", "delete", &who],
            [first[0].as_str(), "010000000000", "put", &who],
        ]
    );
    assert_eq!(table.matches("current").count(), 1);
    assert!(
        server
            .print(["history", "a", "--no-trunc"])
            .contains(&digest(1))
    );

    let all = server.json(&["history", "a"]);
    let all = all.as_array().unwrap();
    assert_eq!(all[0]["image"], server.json(&["get", "a"]));
    assert_eq!(all[0].get("ended_at"), None);
    let removed = &all[1];
    assert_eq!(removed["generation"].to_string(), first[1]);
    assert_eq!(removed["image"]["digest"], digest(2));
    assert_eq!(
        (&removed["ended_by"], &removed["ended_by_caller"]),
        (&json!("delete"), &json!(who))
    );
    assert_eq!(all[2]["ended_revision"].to_string(), first[1]);
    let lines = server.print(["history", "a", "-o", "ndjson", "--limit", "2"]);
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, all[..2]);
}

#[test]
fn history_goes_on_past_the_end_of_a_page() {
    let server = Server::start();
    server.print(["ns", "put", "default", "--history", "1000"]);
    let text: String = (0..1003)
        .map(|i| line("a", u8::try_from(i % 2).unwrap()))
        .collect();
    server.feed(&["import", "-"], text.as_bytes()).printed();
    for (limit, count) in [("2000", 1001), ("1001", 1001), ("7", 7)] {
        let listed = server.print(["history", "a", "-o", "ndjson", "--limit", limit]);
        assert_eq!(listed.lines().count(), count);
    }
}

#[test]
fn get_at_a_revision_shows_what_the_name_was_then() {
    let server = Server::start();
    let made = put_each(&server, "a", &[1, 2]);
    server.put("other", 9);
    let between = revision(&server).to_string();
    server.print(["rm", "a"]);
    let removed = revision(&server).to_string();
    for (at, number) in [(&made[0], 1), (&made[1], 2), (&between, 2)] {
        let then = server.json(&["get", "a", "--at", at]);
        assert_eq!(then["digest"], digest(number), "{at}");
    }
    let said = server.run(["get", "a", "--at", &removed]).told(4);
    assert!(said.ends_with("See what there is with 'imagestore history a'.\n"));
    let said = server.run(["get", "a", "--at", "999999"]).told(1);
    assert!(
        said.contains("999999") && said.contains("'imagestore history a'"),
        "{said}"
    );
}

#[test]
fn rollback_says_from_which_digest_to_which_and_can_be_rolled_back() {
    let server = Server::start();
    put_each(&server, "a", &[1, 2]);
    let (one, two) = (digest(1), digest(2));
    let would = server.print(["rollback", "a", "--dry-run"]);
    assert_eq!(
        would,
        format!("a would be rolled back from {two} to {one}\n")
    );
    assert_eq!(server.json(&["get", "a"])["digest"], two);

    let did = server.print(["rollback", "a"]);
    assert_eq!(did, format!("a rolled back from {two} to {one}\n"));
    assert_eq!(server.json(&["get", "a"])["digest"], one);
    let again = server.json(&["rollback", "a"]);
    assert_eq!(
        (
            &again["changed"],
            &again["created"],
            &again["image"]["digest"]
        ),
        (&json!(true), &json!(false), &json!(two))
    );
    assert_eq!(again["previous"]["digest"], one);
    assert_eq!(server.json(&["get", "a"]), again["image"]);
    assert_eq!(server.json(&["history", "a"]).as_array().unwrap().len(), 4);
}

#[test]
fn rollback_takes_any_generation_and_brings_labels_back() {
    let server = Server::start();
    server.put_with("a", 1, &["--label", "k=v"]).printed();
    let first = made(&server, "a").to_string();
    put_each(&server, "a", &[1, 2]);
    server.print(["rollback", "a", &first]);
    let image = server.json(&["get", "a"]);
    assert_eq!(
        (&image["digest"], &image["labels"]),
        (&json!(digest(1)), &json!({"k": "v"}))
    );
    let one = digest(1);
    assert_eq!(
        server.print(["rollback", "a", &first]),
        format!("a unchanged: it points to {one}\n")
    );
    server.print(["label", "a", "k=w"]);
    assert_eq!(
        server.print(["rollback", "a"]),
        format!("a rolled back: it points to {one} as before, with the labels it had\n")
    );
}

#[test]
fn rollback_brings_back_what_was_removed() {
    let server = Server::start();
    put_each(&server, "a", &[1]);
    let image = server.json(&["get", "a"]);
    server.print(["rm", "a"]);
    let one = digest(1);
    assert_eq!(
        server.print(["rollback", "a", "--dry-run"]),
        format!("a would be brought back: it points to {one}\n")
    );
    server.run(["get", "a"]).told(4);
    assert_eq!(
        server.print(["rollback", "a"]),
        format!("a brought back: it points to {one}\n")
    );
    let back = server.json(&["get", "a"]);
    for same in ["digest", "created_at"] {
        assert_eq!(back[same], image[same]);
    }
}

#[test]
fn a_rollback_that_cannot_be_changes_nothing_and_says_what_to_do() {
    let server = Server::start();
    let made = put_each(&server, "a", &[1, 2]);
    let before = revision(&server);
    let hint = "'imagestore history a'.\n";
    let said = server.run(["rollback", "a", "999"]).told(4);
    assert!(
        said.contains("generation 999") && said.ends_with(hint),
        "{said}"
    );
    server.put("new", 1);
    let said = server.run(["rollback", "new"]).told(4);
    assert!(said.ends_with("'imagestore history new'.\n"), "{said}");
    for missing in [&["history", "nope"][..], &["rollback", "nope"]] {
        let said = server.run(missing).told(4);
        assert!(
            said.contains("nope") && said.contains("'imagestore "),
            "{said}"
        );
    }
    let said = server.run(["rollback", "nope", "-n", "team"]).told(4);
    assert!(
        said.ends_with("'imagestore history nope -n team'.\n"),
        "{said}"
    );

    let one = digest(1);
    for more in [["--if-etag", made[0].as_str()], ["--if-target", &one]] {
        server.run(["rollback", "a"].iter().chain(&more)).told(5);
    }
    assert_eq!(server.json(&["get", "a"])["digest"], digest(2));
    let two = digest(2);
    let holds = ["rollback", "a", "--if-etag", &made[1], "--if-target", &two];
    server.print(holds);
    assert_eq!(
        revision(&server).as_u64(),
        before.as_u64().map(|before| before + 2),
        "one put and one rollback"
    );
    for nonsense in [
        &["rollback"][..],
        &["rollback", "a", "0"],
        &["rollback", "a", "one"],
        &["history", "a", "--limit", "0"],
        &["get", "a", "--at", "0"],
        &["ns", "put", "a", "--history", "many"],
        &["rm", "a", "b", "--request-id", "x"],
    ] {
        assert!(!run(nonsense).refused(2).is_empty(), "{nonsense:?}");
    }
}

#[test]
fn a_namespace_says_how_much_history_is_kept_and_keeps_that_when_its_labels_change() {
    let server = Server::start();
    let kept = |server: &Server| server.json(&["ns", "get", "team"])["history_limit"].clone();
    let put = |more: &[&str]| server.print(["ns", "put", "team"].iter().chain(more));
    assert_eq!(put(&["--history", "1", "--label", "k=v"]), "team created\n");
    assert_eq!(kept(&server), 1);
    assert_eq!(put(&["--label", "k=w"]), "team updated\n");
    assert_eq!(kept(&server), 1);
    let table = server.print(["ns", "ls"]);
    assert_eq!(rows(&table)[1][..6], ["team", "0", "0", "0", "0", "1"]);

    for number in [1, 2, 3] {
        server.put_with("a", number, &["-n", "team"]).printed();
    }
    let list = ["history", "a", "-n", "team"];
    assert_eq!(server.json(&list).as_array().unwrap().len(), 2);
    let said = server.run(["get", "a", "-n", "team", "--at", "3"]).told(1);
    assert!(
        said.contains("no longer kept") && said.ends_with("'imagestore history a -n team'.\n"),
        "{said}"
    );

    assert_eq!(put(&["--history", "0"]), "team updated\n");
    server.put_with("a", 4, &["-n", "team"]).printed();
    assert_eq!(server.json(&list).as_array().unwrap().len(), 1);
    let too_many = ["ns", "put", "team", "--history", "1001"];
    let said = server.run(too_many).refused(2);
    assert!(
        said.contains("--history") && said.contains("1000"),
        "{said}"
    );
    assert_eq!(put(&["--history", "default"]), "team updated\n");
    assert_eq!(kept(&server), Value::Null);
    let shown = server.json(&["ns", "get", "team"]);
    assert_eq!(shown["labels"], json!({"k": "w"}));
    let block = server.print(["ns", "get", "team"]);
    for line in [
        "Images:         1",
        "History:        default",
        "Labels:         k=w",
    ] {
        assert!(
            block.lines().any(|shown| shown == line),
            "{line} in\n{block}"
        );
    }
    let said = server.run(["ns", "get", "nope"]).told(4);
    assert!(said.contains("'imagestore ns ls'"), "{said}");
}

#[test]
fn a_write_sent_again_under_its_id_is_done_once() {
    let server = Server::start();
    let (one, two) = (digest(1), digest(2));
    let put = |digest| {
        let about = ["--digest", digest, "--media-type", "m/t", "--size", "1"];
        [&["put", "a"][..], &about].concat()
    };
    for arguments in [
        put(&one),
        vec!["label", "a", "k=v"],
        vec!["rollback", "a"],
        vec!["rm", "a"],
        vec!["ns", "put", "default", "--history", "5"],
        vec!["ns", "rm", "default"],
    ] {
        let id = format!("id-of-{}-{}", arguments[0], arguments[1]);
        let arguments = [&arguments[..], &["--request-id", &id, "-o", "json"]].concat();
        let first = server.print(&arguments);
        let between = revision(&server);
        assert_eq!(server.print(&arguments), first, "{arguments:?}");
        assert_eq!(revision(&server), between, "{arguments:?}");
    }
    let mut other = put(&two);
    other.extend(["--request-id", "id-of-put-a"]);
    let said = server.run(&other).told(1);
    assert!(
        said.starts_with("imagestore: --request-id was used by another"),
        "{said}"
    );
    let said = server
        .put_with("a", 1, &["--request-id", "not one"])
        .told(1);
    assert!(
        said.starts_with("imagestore: --request-id must be "),
        "{said}"
    );
}
