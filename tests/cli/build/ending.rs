//! Workers that are told to end, whoever reads what they tell and whoever does not answer them.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::site::{Site, targets};
use crate::harness::{Server, eventually};

/// Much less than what is waited for where nobody asks to end.
const SOON: Duration = Duration::from_secs(15);

/// Says where it runs, and goes on for long.
const LONG: &str = "echo $$ > \"$D/pid.new\"; mv \"$D/pid.new\" \"$D/pid\"; sleep 600 & wait";

fn one(more: &str, ttl: &str) -> (Server, Site) {
    let (server, site) = (Server::start(), Site::new());
    site.image("a", "1.0", &[]);
    site.config("here", ttl, more);
    site.scan(&server);
    (server, site)
}

fn child(site: &Site) -> Pid {
    eventually("it builds", || site.path("pid").exists());
    let text = fs::read_to_string(site.path("pid")).unwrap();
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

fn kill(worker: &Child, signal: Signal) {
    kill_process(Pid::from_child(worker), signal).unwrap();
}

/// Its code, where it ends soon.
#[track_caller]
fn ended_soon(worker: &mut Child) -> Option<i32> {
    let began = Instant::now();
    eventually("it ends", || {
        let ended = worker.try_wait().unwrap().is_some();
        if !ended && began.elapsed() > SOON {
            worker.kill().unwrap();
            panic!("it has not ended within {SOON:?}");
        }
        ended
    });
    worker.wait().unwrap().code()
}

/// A worker whose standard error is a pipe that nobody reads.
fn unread(site: &Site, server: &Server, arguments: &[&str]) -> (Child, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    let mut command = site.command(server, "here", arguments);
    command.stdout(Stdio::null()).stderr(writer);
    (command.spawn().unwrap(), reader)
}

const LOUD: &str = "yes 'a line that nobody reads' | head -c 3000000 >&2 &";

#[test]
fn a_worker_whose_words_nobody_reads_hears_signals_and_gives_back_what_it_had() {
    let (server, site) = one("", "60s");
    site.hook("a", &format!("{LOUD}\n{LONG}"));
    let (mut worker, reader) = unread(&site, &server, &["run", "-j", "2"]);
    let building = child(&site);
    eventually("the pipe is full", || {
        rustix::io::ioctl_fionread(&reader).unwrap() > 60_000
    });
    kill(&worker, Signal::TERM);
    assert_eq!(ended_soon(&mut worker), Some(143));
    eventually("no child is left", || test_kill_process(building).is_err());
    assert_eq!(targets(&server)["a@1.0"].get("claim"), None);
}

#[test]
fn a_worker_whose_words_nobody_reads_keeps_its_claim_and_ends_its_command_once_it_cannot() {
    let (mut server, site) = one("", "2s");
    site.hook("a", &format!("{LOUD}\n{LONG}"));
    let (mut worker, _reader) = unread(&site, &server, &["run"]);
    let building = child(&site);
    let token = |server: &Server| targets(server)["a@1.0"]["claim"]["token"].clone();
    let first = token(&server);
    // Longer than the claim lasts that is not renewed.
    let began = Instant::now();
    eventually("some time passes", || {
        assert_eq!(token(&server), first, "it is not held any more");
        began.elapsed() > Duration::from_secs(4)
    });
    assert!(test_kill_process(building).is_ok());
    server.kill();
    eventually("no child is left", || test_kill_process(building).is_err());
    worker.kill().unwrap();
    worker.wait().unwrap();
}

/// A command run by another one.
fn under(runner: &[&str], plain: &Command) -> Command {
    let mut command = Command::new(runner[0]);
    command
        .args(&runner[1..])
        .arg(plain.get_program())
        .args(plain.get_args());
    if let Some(folder) = plain.get_current_dir() {
        command.current_dir(folder);
    }
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn a_terminal_that_goes_away_ends_the_command_and_gives_the_target_back() {
    for (signal, code) in [(Signal::HUP, 129), (Signal::QUIT, 131)] {
        let (server, site) = one("", "60s");
        site.hook("a", LONG);
        let plain = site.command(&server, "here", &["run"]);
        // Whoever runs the tests may ignore them.
        let mut command = under(&["env", "--default-signal=HUP,QUIT"], &plain);
        let mut worker = command.stderr(Stdio::null()).spawn().unwrap();
        let building = child(&site);
        kill(&worker, signal);
        assert_eq!(ended_soon(&mut worker), Some(code));
        eventually("no child is left", || test_kill_process(building).is_err());
        assert_eq!(targets(&server)["a@1.0"].get("claim"), None);
    }
}

#[test]
fn a_worker_that_is_to_outlive_its_terminal_does() {
    let (server, site) = one("", "60s");
    site.hook(
        "a",
        "echo > \"$D/up\"; while [ ! -e \"$D/go\" ]; do sleep 0.02; done",
    );
    let plain = site.command(&server, "here", &["run"]);
    let mut command = under(&["nohup"], &plain);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut worker = command.process_group(0).spawn().unwrap();
    eventually("it builds", || site.path("up").exists());
    kill(&worker, Signal::HUP);
    fs::write(site.path("go"), "").unwrap();
    assert_eq!(ended_soon(&mut worker), Some(0));
}

#[test]
fn who_asks_twice_waits_neither_for_a_registry_nor_for_a_server() {
    for wait in [registry_that_is_silent, server_that_is_away] {
        // A machine may be held up for so long once, and not each time.
        let is_soon = (0..3).any(|_| wait() < PARTING);
        assert!(is_soon, "it was waited for as if nobody had asked again");
    }
}

/// How long a server is waited for where somebody asked to end once.
const PARTING: Duration = Duration::from_secs(2);

fn registry_that_is_silent() -> Duration {
    // It takes calls, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, site) = one("", "60s");
    let address = silent.local_addr().unwrap();
    site.config("here", "60s", &format!("registry = \"{address}\""));
    let took = [&["run"][..], &["scan"]].map(|more| {
        let (mut worker, reader) = unread(&site, &server, more);
        let _asked = silent.accept().unwrap();
        asked_twice(&mut worker, reader, || {})
    });
    took.into_iter().max().unwrap()
}

fn server_that_is_away() -> Duration {
    let (mut server, site) = one("", "1h");
    site.hook(
        "a",
        "echo > \"$D/up\"; while [ -d \"$D\" ] && [ ! -e \"$D/go\" ]; do sleep 0.02; done",
    );
    let (mut worker, reader) = unread(&site, &server, &["run"]);
    eventually("it builds", || site.path("up").exists());
    server.kill();
    fs::write(site.path("go"), "").unwrap();
    site.until("end", "a@1.0");
    asked_twice(&mut worker, reader, || {})
}

/// How long a worker took to end that was asked to twice: the second time when it had heard of the first.
#[track_caller]
fn asked_twice(worker: &mut Child, reader: PipeReader, between: impl FnOnce()) -> Duration {
    let began = Instant::now();
    kill(worker, Signal::INT);
    let mut told = BufReader::new(reader).lines().map(Result::unwrap);
    // Two signals at once may arrive as one.
    let asked = "imagestore: ending; once more ends it at once.";
    assert!(told.any(|line| line == asked));
    between();
    kill(worker, Signal::INT);
    assert_eq!(ended_soon(worker), Some(130));
    began.elapsed()
}

/// Of a command that does not end when asked to, until it is killed.
const GRACE: Duration = Duration::from_secs(10);

#[test]
fn who_asks_twice_does_not_wait_for_a_command_that_does_not_end_when_asked_to() {
    // A machine may be held up for so long once, and not each time.
    let is_soon = (0..3).any(|_| command_that_is_deaf() < GRACE);
    assert!(is_soon, "a command was waited for until its grace was over");
}

fn command_that_is_deaf() -> Duration {
    let (server, site) = one("", "60s");
    site.hook("a", &format!("trap '' TERM\n{LONG}"));
    let (mut worker, reader) = unread(&site, &server, &["run"]);
    let building = child(&site);
    let took = asked_twice(&mut worker, reader, || {
        assert!(test_kill_process(building).is_ok(), "it is deaf");
    });
    eventually("no child is left", || test_kill_process(building).is_err());
    let target = &targets(&server)["a@1.0"];
    assert_eq!(
        (&target["state"], target.get("claim")),
        (&"to_build".into(), None)
    );
    took
}
