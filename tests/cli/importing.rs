//! Import and export, at their edges.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::process::Stdio;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::harness::{Ran, Server, digest, eventually, line};

/// Lines that cannot be imported, and how each is refused.
const BAD_LINES: &[(&[u8], &str)] = &[
    (b"nonsense", "the line is no JSON object"),
    (b"[]", "the line is no JSON object"),
    (b"{", "EOF"),
    (b"{}", "missing field `name`"),
    (b"{\"name\":\"caf\xc3\"}", "the line is not valid UTF-8 (byte 13)"),
    (br#"{"name":"a","colour":"red"}"#, "unknown field `colour`"),
    (br#"{"name":1}"#, "invalid type"),
    (br#"{"name":"a","digest":"x","media_type":"m","size":1}"#, "digest must be"),
    (br#"{"name":"","digest":"x","media_type":"m","size":1}"#, "name must not be empty"),
    (br#"{"name":"a\u0000b","digest":"x","media_type":"m","size":1}"#, "name must not contain NUL"),
    (br#"{"name":"a","digest":"sha256:0100000000000000000000000000000000000000000000000000000000000000","media_type":"m","size":0}"#, "size must be greater"),
    (br#"{"name":"a","digest":"sha256:0100000000000000000000000000000000000000000000000000000000000000","media_type":"","size":1}"#, "media_type must not be empty"),
    (br#"{"name":"a","namespace":"no//good","digest":"x","media_type":"m","size":1}"#, "namespace"),
];

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn import(server: &Server, content: impl AsRef<[u8]>, more: &[&str]) -> Ran {
    let file = server.file("f", content);
    server.run(["import", file.to_str().unwrap()].iter().chain(more))
}

/// The names of a store, one a line.
fn names(server: &Server) -> String {
    server.print(["ls", "-q"])
}

#[test]
fn a_file_may_be_plain_or_gzip_whatever_its_name_or_come_from_standard_input() {
    let server = Server::start();
    let text = line("a", 1) + &line("b", 2);
    assert_eq!(
        import(&server, &text, &[]).printed(),
        "2 imported, 0 unchanged, 0 failed\n"
    );
    assert_eq!(
        import(&server, packed(&text), &[]).printed(),
        "0 imported, 2 unchanged, 0 failed\n"
    );
    let fed = server.feed(&["import", "-"], &packed(&line("c", 3)));
    assert_eq!(fed.printed(), "1 imported, 0 unchanged, 0 failed\n");
    let fed = server.feed(
        &["import", "-", "-o", "json"],
        line("d", 4).trim_end().as_bytes(),
    );
    let tally: Value = serde_json::from_str(&fed.printed()).unwrap();
    assert_eq!(
        tally,
        json!({"imported": 1, "unchanged": 0, "failed": 0}),
        "the last line needs no end"
    );
    assert_eq!(names(&server), "a\nb\nc\nd\n");
}

#[test]
fn an_empty_file_holds_no_images() {
    let server = Server::start();
    for content in [Vec::new(), b"\n \r\n\n".to_vec(), packed("")] {
        assert_eq!(
            import(&server, content, &[]).printed(),
            "0 imported, 0 unchanged, 0 failed\n"
        );
    }
}

#[test]
fn the_first_bad_line_ends_an_import_and_what_stands_before_it_stays() {
    let server = Server::start();
    let bad = line("bad", 3).replace("sha256:", "sha256:zz");
    let text = line("a", 1) + &line("b", 2) + &bad + &line("c", 4);
    let ran = import(&server, text, &[]);
    assert_eq!(ran.stdout, "2 imported, 0 unchanged, 1 failed\n");
    let said = ran.refused(1);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(
        lines[0].ends_with("/f:3: digest has 66 characters after the colon; sha256 takes 64"),
        "{said}"
    );
    assert!(
        lines[1]
            .starts_with("imagestore: the import stopped at line 3; the 2 images before it stay."),
        "{said}"
    );
    assert!(lines[1].contains("--keep-going"), "{said}");
    assert_eq!(names(&server), "a\nb\n");
}

#[test]
fn with_keep_going_every_bad_line_is_told_and_the_others_are_imported() {
    let server = Server::start();
    let good = line("good", 1);
    let large = format!(
        r#","labels":{{{}}}}}"#,
        (0..80)
            .map(|i| format!(r#""{i}":"{}""#, "v".repeat(4000)))
            .collect::<Vec<_>>()
            .join(",")
    );
    let mut content = Vec::new();
    for (bad, _) in BAD_LINES {
        content.extend_from_slice(bad);
        content.push(b'\n');
        content.extend(
            good.replace("good", &format!("good{}", content.len()))
                .bytes(),
        );
    }
    let first_more = 2 * BAD_LINES.len() + 1;
    content.extend(vec![b'x'; (1 << 20) + 1]);
    content.extend(b"\n");
    content.extend(line("large", 1).trim_end().trim_end_matches('}').bytes());
    content.extend(large.bytes());
    content.extend(b"\n");
    content.extend(line("last", 1).bytes());

    let ran = import(&server, content, &["--keep-going"]);
    let (imported, failed) = (BAD_LINES.len() + 1, BAD_LINES.len() + 2);
    assert_eq!(
        ran.stdout,
        format!("{imported} imported, 0 unchanged, {failed} failed\n")
    );
    let said = ran.refused(1);
    assert_eq!(said.lines().count(), failed, "{said}");
    for (i, (_, why)) in BAD_LINES.iter().enumerate() {
        let place = format!("/f:{}: ", 2 * i + 1);
        let told = said
            .lines()
            .find(|line| line.contains(&place))
            .unwrap_or_else(|| panic!("{place} in {said}"));
        assert!(told.contains(why), "{why}: {told}");
    }
    assert!(
        said.contains(&format!(
            "/f:{first_more}: the line has more than 1048576 bytes\n"
        )),
        "{said}"
    );
    // This one only the service can refuse.
    assert!(said.contains(&format!("/f:{}: ", first_more + 1)), "{said}");
    assert_eq!(server.print(["count"]), format!("{imported}\n"));
}

#[test]
fn of_two_lines_with_one_name_the_last_one_wins() {
    let server = Server::start();
    let mut text = String::new();
    for round in 0..100 {
        for name in ["a", "b", "c"] {
            text += &line(name, round);
        }
    }
    assert_eq!(
        import(&server, text, &[]).printed(),
        "300 imported, 0 unchanged, 0 failed\n"
    );
    for name in ["a", "b", "c"] {
        assert_eq!(server.json(&["get", name])["digest"], digest(99));
    }
}

#[test]
fn a_line_goes_to_its_own_namespace_unless_n_says_otherwise() {
    let server = Server::start();
    let own = line("a", 1).replace("{", r#"{"namespace":"own","#);
    let text = own + &line("b", 2);
    import(&server, &text, &[]).printed();
    assert_eq!(server.print(["ls", "-q", "-n", "own"]), "a\n");
    assert_eq!(names(&server), "b\n");
    import(&server, &text, &["-n", "asked"]).printed();
    assert_eq!(server.print(["ls", "-q", "-n", "asked"]), "a\nb\n");
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_an_error() {
    let server = Server::start();
    let text: String = (0..200).map(|i| line(&format!("n{i}"), 1)).collect();
    let mut cut = packed(&text);
    cut.truncate(cut.len() / 2);
    let said = import(&server, cut, &[]).told(1);
    assert!(said.contains("cannot read"), "{said}");
    let said = server.run(["import", "/no/such/file"]).told(1);
    assert_eq!(
        said,
        "imagestore: cannot read /no/such/file: no such file.\n"
    );
}

#[test]
fn an_import_that_stops_does_not_wait_for_the_rest_of_standard_input() {
    let server = Server::start();
    let mut command = server.command();
    let child = command.args(["import", "-"]).stdin(Stdio::piped());
    let mut child = child
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"nonsense\n").unwrap();
    eventually("the import ends while its input stays open", || {
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().code(), Some(1));
    drop(stdin);
}

#[test]
fn an_import_whose_server_goes_away_breaks_off_even_when_it_keeps_going() {
    let mut server = Server::start();
    let mut command = server.command();
    let child = command
        .args(["import", "-", "--keep-going"])
        .stdin(Stdio::piped());
    let mut child = child
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(line("a", 1).as_bytes()).unwrap();
    eventually("the line is imported before the next comes", || {
        server.print(["count"]) == "1\n"
    });
    server.kill();
    // It may have gone by itself already.
    let _ = stdin.write_all((line("b", 1) + &line("c", 1)).as_bytes());
    drop(stdin);
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert!(
        ran.stdout.starts_with("1 imported, 0 unchanged, "),
        "{ran:?}"
    );
    let said = ran.told(1);
    assert!(said.contains("the import broke off at line 2"), "{said}");
}

#[test]
fn what_is_exported_can_be_imported_elsewhere_and_is_the_same() {
    let server = Server::start();
    let whole = json!({
        "namespace": "prod", "name": "übung\n\"x\"", "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "media_type": "m/t", "size": 2, "annotations": {"k": "v"}, "urls": ["https://a.example/x"],
        "platform": {"architecture": "arm", "os": "linux", "os_version": "1", "os_features": ["f"], "variant": "v7"},
        "artifact_type": "a/b", "data": "e30=", "labels": {"l": ""},
    });
    import(&server, whole.to_string() + "\n" + &line("a", 1), &[]).printed();
    let text = server.print(["export", "-n", "-"]);
    assert_eq!(text.lines().count(), 2);

    assert_eq!(
        server.feed(&["import", "-"], text.as_bytes()).printed(),
        "0 imported, 2 unchanged, 0 failed\n"
    );
    assert_eq!(
        server.print(["export", "-n", "-"]),
        text,
        "nothing has changed, not even a time"
    );

    let other = Server::start();
    other.feed(&["import", "-"], text.as_bytes()).printed();
    let lasting = |text: &str| -> Vec<Value> {
        let records = text.lines().map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            for volatile in ["created_at", "updated_at", "etag", "revision"] {
                record.as_object_mut().unwrap().remove(volatile).unwrap();
            }
            record
        });
        records.collect()
    };
    assert_eq!(lasting(&other.print(["export", "-n", "-"])), lasting(&text));
    assert_eq!(lasting(&text)[1], whole);
}

#[test]
fn export_packs_where_it_is_asked_to_and_takes_conditions() {
    let server = Server::start();
    for (name, number) in [("a:1", 1), ("a:2", 2), ("b:1", 1)] {
        server.put(name, number);
    }
    let text = server.print(["export"]);
    for (arguments, file) in [
        (vec!["export", "x.gz"], "x.gz"),
        (vec!["export", "x", "--gzip"], "x"),
    ] {
        let ran = server
            .command()
            .current_dir(server.path(""))
            .args(&arguments)
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(ran.stdout).unwrap(),
            format!("3 exported to {file}\n")
        );
        let mut unpacked = String::new();
        GzDecoder::new(fs::File::open(server.path(file)).unwrap())
            .read_to_string(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text);
    }
    assert_eq!(
        server.print(["export", "--prefix", "a:"]).lines().count(),
        2
    );
    assert_eq!(
        server
            .print(["export", "--prefix", "a:", "--digest", "0100"])
            .lines()
            .count(),
        1
    );
    assert_eq!(
        server.print(["export", "-f", "name==b:1"]).lines().count(),
        1
    );
}

#[test]
fn an_export_replaces_its_file_only_when_it_is_complete() {
    let server = Server::start();
    server.put("a", 1);
    let file = server.file("precious", "kept");
    symlink(&file, server.path("link")).unwrap();
    let link = server.path("link");
    let link = link.to_str().unwrap();
    server.run(["export", link, "-f", "nam=="]).told(1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    server.print(["export", link]);
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .starts_with(r#"{"namespace":"default","name":"a""#)
    );
    assert!(fs::symlink_metadata(link).unwrap().is_symlink());
    let parts = fs::read_dir(server.path("")).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .ends_with(".part")
    });
    assert_eq!(parts.count(), 0);
    assert_eq!(
        server.print(["export", "/dev/null"]),
        "1 exported to /dev/null\n"
    );
    server.run(["export", "/no/such/folder/x"]).told(1);
}
