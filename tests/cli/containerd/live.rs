//! From the socket of a containerd that runs.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tonic::Code;

use super::daemon::{Containerd, digest, image};
use super::{assert_same, client, holdings};
use crate::harness::{Ran, Server, run};

/// How long an import may take until it has begun.
const PATIENCE: Duration = Duration::from_secs(60);

/// Labels that make a record large: all of a namespace of some hundred are too much for one answer of
/// containerd's, and the import takes them in many steps.
fn large(name: &str, number: u64) -> imagestore::proto::containerd::services::images::v1::Image {
    let mut image = image(name, number, &[]);
    for i in 0..16 {
        image.labels.insert(format!("l{i:02}"), "v".repeat(4000));
    }
    image
}

#[test]
fn a_containerd_is_taken_over_with_all_that_it_holds() {
    let Some(containerd) = Containerd::start() else {
        return;
    };
    let client = &containerd.client;
    client.create_namespace("default", &[("owner", "me")]);
    client.create_all(
        "default",
        (0..100).map(|i| image(&format!("docker.io/library/a:{i}"), i, &[("n", "1")])),
    );
    client.create_all(
        "k8s.io",
        (0..200).map(|i| image(&format!("registry.k8s.io/b:{i}"), i, &[])),
    );
    client.update("k8s.io", image("registry.k8s.io/b:7", 1007, &[("k", "v")]));
    client.create_lease("k8s.io", "l", &[("a", "b")], &[("content", &digest(7))]);

    let server = Server::start();
    let from = containerd.address();
    let said = server.print(["import", "--from-containerd", &from]);
    assert_eq!(
        said,
        "NAMESPACE  KIND       CREATED  CHANGED  UNCHANGED  DELETED\n\
         default    namespace  1        0        0          0\n\
         default    images     100      0        0          0\n\
         k8s.io     namespace  1        0        0          0\n\
         k8s.io     images     200      0        0          0\n\
         k8s.io     leases     1        0        0          0\n"
    );
    assert_same(&holdings(&server), &client.holdings());

    let again = server.json(&["import", "--from-containerd", &from]);
    assert_eq!(again["namespaces"]["k8s.io"]["images"]["unchanged"], 200);
    assert_eq!(again["namespaces"]["k8s.io"]["images"]["created"], 0);

    let other = Server::start();
    other.print(["import", "--from-containerd", &from, "-n", "k8s.io"]);
    assert_eq!(other.print(["ns", "ls", "-q"]), "k8s.io\n");
    let said = other.run(["import", "--from-containerd", &from, "-n", "nowhere"]);
    let said = said.told(4);
    assert_eq!(said, "imagestore: containerd has no namespace nowhere.\n");
}

#[test]
fn a_list_that_is_too_large_to_send_is_taken_in_parts() {
    let Some(containerd) = Containerd::start() else {
        return;
    };
    let client = &containerd.client;
    // All point to one target, as names of a load test do.
    client.create_all("default", (0..300).map(|i| large(&format!("a:{i:03}"), 1)));
    let refused = client.list("default", &[]).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");

    let server = Server::start();
    server.print(["import", "--from-containerd", &containerd.address()]);
    assert_eq!(server.print(["count"]), "300\n");
    let names = server.print(["ls", "-q"]);
    assert_eq!(names.lines().next(), Some("a:000"));
}

/// Starts an import, and stops it when it has taken some of the images of a namespace; `None` where it was
/// too fast, and took all.
fn stopped_in(
    server: &Server,
    containerd: &Containerd,
    namespace: &str,
    all: i64,
    more: &[&str],
) -> Option<Child> {
    let own = client(server);
    let mut command = server.command();
    command.args(["import", "--from-containerd", &containerd.address()]);
    command.args(more);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    let begun = Instant::now();
    while own.count(namespace) == 0 {
        assert!(begun.elapsed() < PATIENCE, "the import does not begin");
    }
    kill_process(pid, Signal::STOP).unwrap();
    waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
    if own.count(namespace) < all {
        return Some(child);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// An import that is stopped half way through a namespace, and the server that it is for: the first that is
/// seen to be so.
fn half_done(containerd: &Containerd, namespace: &str, all: u32, more: &[&str]) -> (Server, Child) {
    (0..10)
        .find_map(|_| {
            let server = Server::start();
            let child = stopped_in(&server, containerd, namespace, all.into(), more)?;
            Some((server, child))
        })
        .expect("one import in ten is stopped half way")
}

#[test]
fn what_changes_while_it_is_taken_over_is_not_lost() {
    const MANY: u32 = 200;
    let Some(containerd) = Containerd::start() else {
        return;
    };
    let client = &containerd.client;
    let names = (0..20).map(|i| image(&format!("a:{i}"), i, &[]));
    client.create_all("a", names);
    client.create_namespace("emptied", &[("k", "v")]);
    client.create("emptied", image("last", 1, &[]));
    client.create_namespace("relabelled", &[("k", "before")]);
    client.create_all(
        "z",
        (0..MANY.into()).map(|i| large(&format!("z:{i:03}"), i)),
    );

    let (server, child) = half_done(&containerd, "z", MANY, &[]);
    // The lists of all namespaces have been read; nothing of this is in them.
    for namespace in ["a", "z"] {
        client.create(namespace, image("new", 1, &[("k", "v")]));
        client.create(namespace, image("new and gone", 1, &[]));
        client.delete(namespace, "new and gone");
    }
    client.update("a", image("a:1", 1001, &[("moved", "yes")]));
    client.delete("a", "a:2");
    client.update("z", image("z:199", 7, &[]));
    client.delete("z", "z:000");
    client.delete("z", "z:198");
    client.create("by-its-first-image", image("i", 1, &[]));
    client.create_namespace("made", &[("k", "v")]);
    client.update_namespace("relabelled", &[("k", "after")]);
    client.delete("emptied", "last");
    client.delete_namespace("emptied");
    client.create_lease("a", "late", &[], &[("content", &digest(1))]);

    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.printed();
    assert_same(&holdings(&server), &client.holdings());
}

#[test]
fn an_import_that_gives_up_on_a_restless_containerd_says_so_and_takes_what_it_has_seen() {
    const MANY: u32 = 200;
    let Some(containerd) = Containerd::start() else {
        return;
    };
    let client = &containerd.client;
    client.create_all(
        "z",
        (0..MANY.into()).map(|i| large(&format!("z:{i:03}"), i)),
    );
    let (server, child) = half_done(&containerd, "z", MANY, &["--rounds", "0"]);
    client.create("z", image("new", 1, &[]));
    client.delete("z", "z:000");
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert!(ran.stdout.contains("z          images     201 "), "{ran:?}");
    assert_eq!(
        ran.told(1),
        "imagestore: containerd went on changing; what has changed there since the last look is not \
         taken. Import again; what was deleted there meanwhile stays here until you remove it.\n"
    );
    assert_same(&holdings(&server), &client.holdings());
}

#[test]
fn another_imagestore_is_taken_over_in_the_same_way() {
    let (first, second) = (Server::start(), Server::start());
    first.put_with("a", 1, &["--label", "k=v"]).printed();
    first.put_with("b", 2, &["-n", "other"]).printed();
    let from = first.address();
    second.print(["import", "--from-containerd", &from]);
    assert_same(&holdings(&second), &holdings(&first));
}

#[test]
fn what_cannot_be_taken_stops_the_import_or_is_told_and_passed_over() {
    let Some(containerd) = Containerd::start() else {
        return;
    };
    let client = &containerd.client;
    client.create("before", image("good", 1, &[]));
    client.create("default", image("good", 1, &[]));
    client.create("default", image(&"x".repeat(5000), 1, &[]));
    client.create_raw("default", b"\xff\xfe");
    let from = containerd.address();

    let server = Server::start();
    let ran = server.run(["import", "--from-containerd", &from]);
    assert_eq!(
        ran.stdout,
        "NAMESPACE  KIND       CREATED  CHANGED  UNCHANGED  DELETED\n\
         before     namespace  1        0        0          0\n\
         before     images     1        0        0          0\n"
    );
    let said = ran.told(1);
    assert!(said.contains("the import stopped at default/"), "{said}");
    assert!(said.contains("--keep-going"), "{said}");

    let ran = server.run(["import", "--from-containerd", &from, "--keep-going"]);
    let complaints: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(complaints.len(), 2, "{ran:?}");
    assert!(ran.stderr.contains("name is not valid UTF-8"), "{ran:?}");
    assert!(ran.stderr.contains("name is 5000 bytes long"), "{ran:?}");
    assert!(ran.stdout.contains("default    images     1 "), "{ran:?}");
    ran.refused(1);
    assert_eq!(server.print(["ls", "-q"]), "good\n");
}

#[test]
fn what_is_no_text_or_has_no_valid_name_is_told_and_passed_over() {
    let Some(mut containerd) = Containerd::start() else {
        return;
    };
    let client = &containerd.client;
    client.create("default", image("good", 1, &[]));
    client.update_raw_namespace(b"no/name", b"v");
    client.update_raw_namespace(b"\xff", b"v");
    client.update_raw_namespace(b"labelled", b"\xff");
    client.create("labelled", image("inside", 1, &[]));
    client.create_raw_lease("default", b"whole", b"v", b"i");
    client.create_raw_lease("default", b"\xff", b"v", b"i");
    client.create_raw_lease("default", b"labelled", b"\xff", b"i");
    client.create_raw_lease("default", b"holding", b"v", b"\xff");
    let from = containerd.address();

    let server = Server::start();
    let said = server.run(["import", "--from-containerd", &from]).told(1);
    assert!(said.contains("the import stopped at namespace"), "{said}");
    assert!(said.contains("--keep-going"), "{said}");

    let told = [
        "default/lease holding: resources is not valid UTF-8",
        "default/lease labelled: labels is not valid UTF-8",
        "default/lease \u{fffd}: id is not valid UTF-8",
        "labelled/labels: labels is not valid UTF-8",
        "namespace \"no/name\": it has no valid name",
        "namespace \"\u{fffd}\": it has no valid name",
    ];
    let taken = |option: &str, from: &str| {
        let server = Server::start();
        let ran = server.run(["import", option, from, "--keep-going"]);
        let mut complaints: Vec<&str> = ran.stderr.lines().collect();
        complaints.sort_unstable();
        assert_eq!(complaints, told);
        ran.refused(1);
        holdings(&server)
    };
    let live = taken("--from-containerd", &from);
    let leases: Vec<&String> = live["default"].leases.keys().collect();
    assert_eq!(leases, ["whole"]);
    assert!(live["labelled"].images.contains_key("inside"));
    assert_eq!(live.len(), 2);
    containerd.stop();
    let file = containerd.meta_db();
    let offline = taken("--from-containerd-db", file.to_str().unwrap());
    assert_same(&offline, &live);
}

#[test]
fn labels_that_are_too_much_are_passed_over_and_those_that_are_here_stay() {
    let Some(containerd) = Containerd::start() else {
        return;
    };
    let client = &containerd.client;
    let value = "v".repeat(4000);
    let keys: Vec<String> = (0..70).map(|i| i.to_string()).collect();
    let many: Vec<(&str, &str)> = keys.iter().map(|key| (&**key, &*value)).collect();
    client.create_namespace("n", &many);
    client.create("n", image("a", 1, &[]));
    let server = Server::start();
    self::client(&server).create_namespace("n", &[("k", "v")]);

    let from = containerd.address();
    let said = server.run(["import", "--from-containerd", &from]).told(1);
    assert!(said.contains("stopped at n/labels: it takes 28"), "{said}");
    assert_eq!(server.print(["count", "-n", "n"]), "0\n");
    let ran = server.run(["import", "--from-containerd", &from, "--keep-going"]);
    assert!(ran.stdout.contains("n          images  1 "), "{ran:?}");
    let said = ran.refused(1);
    assert!(said.starts_with("n/labels: it takes 28"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(holdings(&server)["n"].labels["k"], "v");
}

#[test]
fn a_containerd_is_found_by_a_relative_path_too() {
    let Some(containerd) = Containerd::start() else {
        return;
    };
    containerd.client.create("default", image("a", 1, &[]));
    let server = Server::start();
    let mut command = server.command();
    command.current_dir(containerd.socket().parent().unwrap());
    command.args(["import", "--from-containerd", "s"]);
    Ran::from(command.output().unwrap()).printed();
    assert_eq!(server.print(["ls", "-q"]), "a\n");
}

#[test]
fn what_is_no_containerd_is_told() {
    let server = Server::start();
    server.put("a", 1);
    let path = server.path("other");
    let listener = UnixListener::bind(&path).unwrap();
    // It ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Whoever has had enough goes away.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let path = path.to_str().unwrap();
    for command in [
        ["import", "--from-containerd", path],
        ["export", "--to-containerd", path],
    ] {
        assert_eq!(
            server.run(command).told(1),
            format!(
                "imagestore: what listens at unix://{path} is no containerd. Give the address of its \
                 socket, such as /run/containerd/containerd.sock.\n"
            )
        );
    }
}

#[test]
fn a_socket_that_nobody_listens_on_is_told() {
    let server = Server::start();
    let said = server
        .run(["import", "--from-containerd", "/nowhere/s"])
        .told(1);
    assert_eq!(
        said,
        "imagestore: cannot reach containerd at unix:///nowhere/s: no such file. Give the address of \
         its socket, such as /run/containerd/containerd.sock.\n"
    );
    let said = run(["import"]).refused(2);
    for source in ["<FILE", "--from-containerd <", "--from-containerd-db <"] {
        assert!(said.contains(source), "{said}");
    }
    for wrong in [
        &["import", "f", "--from-containerd", "/s"][..],
        &[
            "import",
            "--from-containerd",
            "/s",
            "--from-containerd-db",
            "f",
        ],
        &["import", "f", "--dry-run"],
        &["export", "f", "--to-containerd", "/s"],
        &["export", "--prefix", "a", "--to-containerd", "/s"],
    ] {
        run(wrong).refused(2);
    }
}
