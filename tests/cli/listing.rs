//! What ls prints: for people, for scripts, for programs.

use serde_json::Value;

use crate::harness::{Server, digest};

fn with_some_images() -> Server {
    let server = Server::start();
    for (name, number) in [
        ("docker.io/library/zoo:latest", 1),
        ("docker.io/library/ant:1", 2),
        ("docker.io/library/ant:1.10-longer", 1),
        ("localhost:5000/app", 3),
    ] {
        server.put(name, number);
    }
    server
        .put_with(
            "docker.io/library/ant:1",
            4,
            &["-n", "prod", "--label", "k=v"],
        )
        .printed();
    server
}

#[test]
fn the_table_is_sorted_aligned_and_without_colour() {
    let server = with_some_images();
    let table = server.print(["ls"]);
    assert!(!table.contains('\x1b'), "{table:?}");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["REPOSITORY", "TAG", "DIGEST", "SIZE", "CREATED"]
    );
    let starts: Vec<usize> = ["TAG", "DIGEST", "SIZE", "CREATED"]
        .map(|column| lines[0].find(column).unwrap())
        .into();
    for line in &lines[1..] {
        for start in &starts {
            assert!(
                line[..*start].ends_with("  ") && !line[*start..].starts_with(' '),
                "{table}"
            );
        }
        assert!(!line.ends_with(' '), "{table}");
    }
    let rows: Vec<Vec<&str>> = lines[1..]
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let cells: Vec<[&str; 4]> = rows
        .iter()
        .map(|row| [row[0], row[1], row[2], row[3]])
        .collect();
    assert_eq!(
        cells,
        [
            ["docker.io/library/ant", "1", "020000000000", "3.7kB"],
            [
                "docker.io/library/ant",
                "1.10-longer",
                "010000000000",
                "3.7kB"
            ],
            ["docker.io/library/zoo", "latest", "010000000000", "3.7kB"],
            ["localhost:5000/app", "<none>", "030000000000", "3.7kB"],
        ]
    );
    assert!(server.print(["ls", "--no-trunc"]).contains(&digest(3)));
    assert_eq!(
        server.print(["ls", "nothing"]),
        "REPOSITORY  TAG  DIGEST  SIZE  CREATED\n"
    );
}

#[test]
fn all_namespaces_are_listed_in_order_with_a_column_of_their_own() {
    let server = with_some_images();
    let table = server.print(["ls", "-n", "-"]);
    let first: Vec<&str> = table
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(
        first,
        [
            "NAMESPACE",
            "default",
            "default",
            "default",
            "default",
            "prod"
        ]
    );
}

#[test]
fn json_is_one_array_and_ndjson_one_object_a_line_with_the_same_content() {
    let server = with_some_images();
    let Value::Array(array) = server.json(&["ls"]) else {
        panic!("not an array");
    };
    let lines: Vec<Value> = server
        .print(["ls", "-o", "ndjson"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(array.len(), 4);
    assert_eq!(array, lines);
    assert_eq!(server.print(["ls", "nothing", "-o", "json"]), "[]\n");
    assert_eq!(server.print(["ls", "nothing", "-o", "ndjson"]), "");
    assert_eq!(
        server.json(&["ls", "-q", "local"]),
        serde_json::json!(["localhost:5000/app"])
    );
}

#[test]
fn every_condition_narrows_the_list() {
    let server = with_some_images();
    let ant = "docker.io/library/ant:1\n";
    let longer = "docker.io/library/ant:1.10-longer\n";
    let zoo = "docker.io/library/zoo:latest\n";
    let whole = digest(1);
    for (arguments, names) in [
        (vec!["docker.io/library/ant"], [ant, longer].concat()),
        (vec!["--limit", "1"], ant.to_owned()),
        (vec!["--limit", "2"], [ant, longer].concat()),
        (vec!["--digest", &whole], [longer, zoo].concat()),
        (vec!["--digest", &whole[7..]], [longer, zoo].concat()),
        (vec!["--digest", "0100"], [longer, zoo].concat()),
        (
            vec!["--digest", "sha256:0100", "docker.io/library/z"],
            zoo.to_owned(),
        ),
        (vec!["--digest", "sha512:0100"], String::new()),
        (
            vec![
                "-f",
                "name==docker.io/library/zoo:latest",
                "-f",
                "name~=ant:1$",
            ],
            [ant, zoo].concat(),
        ),
        (vec!["-f", "target.size>3700"], String::new()),
        (vec!["-n", "-", "-f", "labels.k"], ant.to_owned()),
        (vec!["-n", "nobody"], String::new()),
    ] {
        let listed = server.print(["ls", "-q"].iter().chain(&arguments));
        assert_eq!(listed, names, "{arguments:?}");
    }
}

#[test]
fn a_name_can_neither_add_a_line_nor_drive_the_terminal() {
    let server = Server::start();
    let name = "a\nprod/app:1\x1b[2J";
    server.put(name, 1);
    let shown = "a\\nprod/app:1\\u{1b}[2J";
    assert_eq!(server.print(["ls", "-q"]), format!("{shown}\n"));
    assert_eq!(server.print(["ls"]).lines().count(), 2);
    assert!(server.print(["get", name]).contains(shown));
    assert_eq!(
        server.json(&["ls"])[0]["name"],
        name,
        "JSON has its own escapes"
    );
    assert_eq!(server.print(["rm", name]), format!("{shown} removed\n"));
}
