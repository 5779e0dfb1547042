//! Exit codes, and whether a person can do something with the words.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::json;

use crate::harness::{INDEX, Server, digest, nobody, run};

#[test]
fn a_missing_thing_is_4() {
    let server = Server::start();
    for arguments in [
        vec!["get", "nope"],
        vec!["label", "nope", "k=v"],
        vec!["rm", "nope"],
        vec!["ns", "rm", "nope"],
    ] {
        let said = server.run(&arguments).told(4);
        assert!(
            said.contains("nope") && said.contains("'imagestore "),
            "{said}"
        );
    }
    for more in [vec!["--if-etag", "1"], vec!["--if-target", &digest(1)]] {
        server.put_with("nope", 1, &more).told(4);
    }
}

#[test]
fn rm_goes_on_past_what_is_missing_and_reports_each() {
    let server = Server::start();
    server.put("a", 1);
    server.put("b", 1);
    let ran = server.run(["rm", "x", "a", "y", "b"]);
    assert_eq!(ran.stdout, "a removed\nb removed\n");
    let said = ran.refused(4);
    assert_eq!(said.lines().count(), 2);
    assert!(
        said.contains("image x ") && said.contains("image y "),
        "{said}"
    );
    let ran = server.run(["rm", "x", "", "y", "-o", "json"]);
    assert_eq!(ran.stdout, "[]\n");
    assert_eq!(
        ran.refused(1).lines().count(),
        3,
        "an error outweighs a missing name"
    );
}

#[test]
fn a_conflict_is_5_and_changes_nothing() {
    let server = Server::start();
    server.put("a", 1);
    let said = server.put_with("a", 2, &["--create-only"]).told(5);
    assert!(
        said.contains("already exists. Leave out --create-only"),
        "{said}"
    );
    for more in [["--if-etag", "1"], ["--if-target", &digest(9)]] {
        server.put_with("a", 2, &more).told(5);
        server.run(["rm", "a"].iter().chain(&more)).told(5);
    }
    server.run(["label", "a", "k=v", "--if-etag", "1"]).told(5);
    let said = server.run(["ns", "rm", "default"]).told(5);
    assert!(
        said.contains("1 image") && said.contains("--force"),
        "{said}"
    );
    let image = server.json(&["get", "a"]);
    assert_eq!(
        (&image["digest"], &image["labels"]),
        (&json!(digest(1)), &json!(null))
    );
}

#[test]
fn a_command_line_that_makes_no_sense_is_2() {
    let one = digest(1);
    for arguments in [
        vec![],
        vec!["bogus"],
        vec!["get"],
        vec!["rm"],
        vec!["label", "a"],
        vec!["label", "a", "k"],
        vec!["label", "a", "=v"],
        vec!["put", "a", "--digest", &one, "--size", "1"],
        vec![
            "put",
            "a",
            "--digest",
            &one,
            "--media-type",
            INDEX,
            "--size",
            "many",
        ],
        vec![
            "put",
            "a",
            "--digest",
            &one,
            "--media-type",
            INDEX,
            "--size",
            "1",
            "--create-only",
            "--if-etag",
            "1",
        ],
        vec![
            "put",
            "a",
            "--digest",
            &one,
            "--media-type",
            INDEX,
            "--size",
            "1",
            "--keep-labels",
            "--label",
            "k=v",
        ],
        vec![
            "put",
            "a",
            "--digest",
            &one,
            "--media-type",
            INDEX,
            "--size",
            "1",
            "--platform",
            "linux",
        ],
        vec!["ls", "--limit", "0"],
        vec!["ls", "-o", "yaml"],
        vec!["ls", "-a", "nowhere"],
        vec!["ls", "-a", "https://localhost:1"],
        vec!["rm", "a", "b", "--if-etag", "1"],
        vec!["import", "-", "-n", "-"],
        vec!["serve", "--listen", "nowhere"],
        vec!["completions", "tcsh"],
    ] {
        let ran = run(&arguments);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(!ran.refused(2).is_empty(), "{arguments:?}");
    }
}

#[test]
fn all_namespaces_make_no_sense_where_a_name_is_given() {
    let one = digest(1);
    let put = ["put", "a", "--digest", &one, "--media-type", INDEX];
    for arguments in [
        &[&put[..], &["--size", "1"]].concat()[..],
        &["get", "a"],
        &["label", "a", "k=v"],
        &["rm", "a"],
        &["history", "a"],
        &["rollback", "a"],
    ] {
        let said = run(arguments.iter().chain(&["-n", "-"])).told(2);
        assert!(said.starts_with("imagestore: --namespace - "), "{said}");
    }
}

#[test]
fn a_refused_value_is_told_by_the_option_it_came_with() {
    let server = Server::start();
    let one = digest(1);
    let put = |name: &str, digest: &str, media_type: &str, size: &str, more: &[&str]| {
        let put = [
            "put",
            name,
            "--digest",
            digest,
            "--media-type",
            media_type,
            "--size",
            size,
        ];
        server.run(put.iter().chain(more)).told(1)
    };
    let long = "x".repeat(4097);
    let label = format!("{long}=v");
    for (said, option) in [
        (put("", &one, INDEX, "1", &[]), "NAME"),
        (put(&long, &one, INDEX, "1", &[]), "NAME"),
        (put("a", "sha256:12", INDEX, "1", &[]), "--digest"),
        (put("a", &one.to_uppercase(), INDEX, "1", &[]), "--digest"),
        (put("a", &one, "", "1", &[]), "--media-type"),
        (put("a", &one, INDEX, "0", &[]), "--size"),
        (put("a", &one, INDEX, "-1", &[]), "--size"),
        (
            put("a", &one, INDEX, "1", &["--label", &label]),
            "the label",
        ),
        (
            put("a", &one, INDEX, "1", &["--platform", "linux/"]),
            "--platform",
        ),
        (
            put("a", &one, INDEX, "1", &["-n", "no//good"]),
            "--namespace",
        ),
        (put("a", &one, INDEX, "1", &["--if-etag", "x"]), "--if-etag"),
        (
            put("a", &one, INDEX, "1", &["--if-target", "x"]),
            "--if-target",
        ),
        (server.run(["ls", "-f", "nam==x"]).told(1), "--filter"),
        (server.run(["count", "-f", "name~=("]).told(1), "--filter"),
        (server.run(["ls", "--digest", "123"]).told(1), "--digest"),
        (
            server.run(["export", "-", "--digest", "xyzw"]).told(1),
            "--digest",
        ),
        (server.run(["ns", "put", "no//good"]).told(1), "NAME"),
    ] {
        assert!(
            said.starts_with(&format!("imagestore: {option} ")),
            "{option}: {said}"
        );
    }
    assert_eq!(server.print(["count", "-n", "-"]), "0\n");
}

#[test]
fn a_server_that_cannot_be_reached_is_told_with_its_address_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("unix://{}", folder.path().join("s").display());
    let said = run(["ls", "-a", &missing]).told(1);
    assert_eq!(
        said,
        format!(
            "imagestore: cannot reach imagestore at {missing}: no such file. \
             Start it with 'imagestore serve', or give its address with -a.\n"
        )
    );
    let mut server = Server::start();
    server.kill();
    let said = server.run(["status"]).told(1);
    assert!(said.contains(": connection refused. "), "{said}");
    let (_taken, address) = nobody();
    let said = run(["get", "a", "-a", &address]).told(1);
    assert!(
        said.contains(&format!("tcp://{address}: connection refused")),
        "{said}"
    );
}

#[test]
fn what_is_no_imagestore_is_told_without_a_panic() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let other = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    run(["get", "a", "-a", &address]).told(1);
    other.join().unwrap();
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let server = Server::start();
    server.put("a", 1);
    for command in ["ls", "export", "status"] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = server.command().arg(command).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("the disk is full"),
            "{command}"
        );
    }
}
