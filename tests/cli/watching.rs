//! `watch`: a line an event, until it is interrupted, across restarts of the server.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Server, digest, eventually, run};

/// A `watch` under way.
struct Watching {
    child: Child,
    /// Until the reader leaves.
    stdout: Option<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
}

impl Watching {
    fn start(server: &Server, more: &[&str]) -> Self {
        let mut command = server.command();
        command.arg("watch").args(more);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdout: child.stdout.take().map(BufReader::new),
            stderr: BufReader::new(child.stderr.take().unwrap()),
            child,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().unwrap();
        stdout.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "it ended: {}", self.complaint());
        line.trim_end().to_owned()
    }

    /// Goes away, as `head -1` does.
    fn leave(&mut self) {
        self.stdout = None;
    }

    fn object(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn complaint(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    /// Interrupts it, as Ctrl-C does, and returns its exit code and what else it said.
    fn interrupt(mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        let stdout = self.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut rest).unwrap();
        self.stderr.read_to_string(&mut rest).unwrap();
        (code, rest)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn changes_are_shown_a_line_each_as_they_happen() {
    let server = Server::start();
    server.put("a:1", 1);
    server.put("b:1", 1);
    let mut watching = Watching::start(&server, &["a", "--initial", "--previous"]);
    assert_eq!(watching.line(), "       2  is       a:1  010000000000");
    server.put("a:1", 2);
    server.put("b:1", 2);
    server.print(["rm", "a:1"]);
    server.print(["ns", "rm", "default", "--force"]);
    assert_eq!(
        watching.line(),
        "       4  put      a:1  010000000000 -> 020000000000"
    );
    assert_eq!(watching.line(), "       6  deleted  a:1  020000000000");
    assert_eq!(
        watching.line(),
        "       7  deleted  namespace default with 1 images"
    );
    assert_eq!(watching.interrupt(), (Some(0), String::new()));
}

#[test]
fn ndjson_has_an_object_a_line_and_says_where_to_go_on() {
    let server = Server::start();
    let mut watching = Watching::start(&server, &["-n", "-", "-o", "ndjson"]);
    assert_eq!(
        watching.object(),
        json!({"type": "progress", "revision": 1})
    );
    server.put("a:1", 1);
    let put = watching.object();
    assert_eq!(put["type"], "put");
    assert_eq!(put["revision"], 2);
    assert_eq!(put["complete"], true);
    assert_eq!(put["is_match"], true);
    assert_eq!(put["image"], server.json(&["get", "a:1"]));
    assert!(put["committed_at"].as_str().unwrap().ends_with('Z'));
    server.print(["rm", "a:1"]);
    let deleted = watching.object();
    assert_eq!(deleted["type"], "deleted");
    assert_eq!(
        (&deleted["namespace"], &deleted["name"]),
        (&json!("default"), &json!("a:1"))
    );
    assert_eq!(watching.interrupt(), (Some(0), String::new()));

    let mut after = Watching::start(&server, &["--after", "2", "-o", "json"]);
    assert_eq!(after.object(), deleted);
    let mut initial = Watching::start(&server, &["--initial", "-o", "ndjson"]);
    assert_eq!(
        initial.object(),
        json!({"type": "initial_end", "revision": 3})
    );
}

#[test]
fn only_what_matches_before_or_after_is_shown() {
    let server = Server::start();
    let filter = format!("target.digest=={}", digest(1));
    let mut watching = Watching::start(&server, &["--after", "1", "-f", &filter]);
    server.put("a:1", 1);
    server.put("b:1", 2);
    server.put("a:1", 2);
    server.put("a:1", 3);
    server.put("c:1", 1);
    assert_eq!(watching.line(), "       2  put      a:1  010000000000");
    assert_eq!(watching.line(), "       4  left     a:1  020000000000");
    assert_eq!(watching.line(), "       6  put      c:1  010000000000");
}

#[test]
fn it_goes_on_by_itself_when_the_server_is_started_again() {
    let mut server = Server::start();
    server.put("a:1", 1);
    let mut watching = Watching::start(&server, &["--after", "1"]);
    assert_eq!(watching.line(), "       2  put      a:1  010000000000");
    for (number, ending) in [(2, Signal::TERM), (3, Signal::KILL)] {
        server.restart(ending);
        let said = watching.complaint();
        let revision = number;
        assert!(said.starts_with("imagestore: "), "{said}");
        assert!(
            said.ends_with(&format!("; it goes on after revision {revision}.\n")),
            "{said}"
        );
        server.put("a:1", number);
        let shown = format!("       {}  put      a:1  0{number}0000000000", number + 1);
        assert_eq!(watching.line(), shown);
    }
    assert_eq!(watching.interrupt().0, Some(0));
}

#[test]
fn a_watch_that_cannot_be_is_refused() {
    let server = Server::start();
    let told = server.run(["watch", "--after", "999"]).told(1);
    assert!(told.contains("revision 999 is not of this store"), "{told}");
    assert!(told.contains("--initial"), "{told}");
    let told = server.run(["watch", "-f", "nonsense==1"]).told(1);
    assert!(told.contains("--filter"), "{told}");
    server
        .run(["watch", "--after", "1", "--initial"])
        .refused(2);
    server.run(["watch", "--after", "0"]).refused(2);
    let told = run(["-a", "/nowhere/s", "watch"]).told(1);
    assert!(told.contains("cannot reach imagestore"), "{told}");
}

#[test]
fn a_reader_that_leaves_ends_it() {
    let server = Server::start();
    server.put("a:1", 1);
    let mut watching = Watching::start(&server, &["--after", "1"]);
    watching.line();
    watching.leave();
    // It hears of that when it has more to say.
    let mut number = 1;
    eventually("it ends", || {
        number += 1;
        server.put("a:1", 1 + number % 2);
        watching.child.try_wait().unwrap().is_some()
    });
    let ended = watching.child.wait().unwrap().code();
    assert_eq!((ended, watching.complaint()), (Some(141), String::new()));
}
