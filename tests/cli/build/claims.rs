//! Who has a target: claims of workers that are slow, sleep, or are killed.

use std::fs;
use std::io::{BufRead, BufReader, pipe};
use std::process::Stdio;

use jiff::Timestamp;
use rustix::process::{Signal, kill_process_group};
use serde_json::Value;

use super::site::{Site, states, targets};
use super::workers::{DIAMOND, diamond, edges, pid, well};
use crate::harness::{Ran, Server, eventually};

/// Blocks the first who comes by, after having said so.
const ONCE: &str = "mkdir \"$D/first\" 2> /dev/null && { echo $$ > \"$D/pid.new\"; mv \"$D/pid.new\" \"$D/pid\"; sleep 600; }; true";

#[test]
fn a_build_that_takes_longer_than_its_claim_keeps_it_by_renewals() {
    let (server, site) = (Server::start(), Site::new());
    site.config("here", "3s", "");
    site.image("a", "1.0", &[]);
    site.scan(&server);
    site.hook(
        "a",
        "while [ -d \"$D\" ] && [ ! -e \"$D/go\" ]; do sleep 0.02; done",
    );
    let worker = site.worker(&server, "here", &["run"]);
    site.until("start", "a@1.0");
    let claim = || {
        let claim = &targets(&server)["a@1.0"]["claim"];
        let deadline: Timestamp = claim["deadline"].as_str().unwrap().parse().unwrap();
        (claim["token"].clone(), deadline)
    };
    let (token, first) = claim();
    eventually("its time is over, and it is held", || {
        Timestamp::now() > first && claim().1 > Timestamp::now()
    });
    assert_eq!(claim().0, token);
    fs::write(site.path("go"), "").unwrap();
    let ran = worker.ended();
    assert!(!ran.stderr.contains("the claim is lost"), "{ran:?}");
    well(ran);
    let target = &targets(&server)["a@1.0"];
    assert_eq!(
        (&target["state"], &target["attempts"]),
        (&"verified".into(), &1.into())
    );
    assert_eq!(site.count("start", "a@1.0"), 1);
}

#[test]
fn another_worker_finishes_what_a_killed_one_left_and_each_is_built_once() {
    let (server, site) = diamond();
    site.config("here", "1s", "");
    site.hook("b", "mkdir \"$D/first\" 2> /dev/null && { echo $$ > \"$D/pid.new\"; mv \"$D/pid.new\" \"$D/pid\"; sleep 600; }; true");
    let worker = site.worker(&server, "here", &["run"]);
    eventually("it builds", || site.path("pid").exists());
    worker.kill();
    site.config("here", "60s", "");
    well(site.build(&server, &["run", "-j", "2"]));
    // What a killed worker had begun is nobody's any more.
    kill_process_group(pid(&site.path("pid")), Signal::KILL).unwrap();
    site.was_in_order(&edges(&DIAMOND));
    for (name, target) in targets(&server) {
        assert_eq!(
            (&target["state"], &target["attempts"]),
            (&"verified".into(), &1.into()),
            "{name}"
        );
    }
}

#[test]
fn a_worker_that_slept_past_its_claim_pushes_nothing_and_is_not_believed() {
    let (server, site) = (Server::start(), Site::new());
    site.image("a", "1.0", &[]);
    let registry = format!("registry = {:?}", site.registry());
    for (location, ttl) in [("here", "1s"), ("there", "60s")] {
        site.config(location, ttl, &registry);
    }
    site.scan(&server);
    site.hook("a", "mkdir \"$D/first\" 2> /dev/null && { while [ ! -e \"$D/go\" ]; do sleep 0.02; done; }; true");
    let sleeper = site.worker(&server, "here", &["run", "--publish"]);
    site.until("start", "a@1.0");
    sleeper.signal(Signal::STOP);
    fs::write(site.path("go"), "").unwrap();
    site.until("end", "a@1.0");
    let said = well(
        site.command(&server, "there", &["run", "--publish"])
            .output()
            .unwrap()
            .into(),
    );
    assert!(
        said.starts_with("1 built, 1 verified, 1 published"),
        "{said}"
    );
    let before = targets(&server)["a@1.0"].clone();
    let id = sleeper.id();
    sleeper.signal(Signal::CONT);
    let ran = sleeper.ended();
    assert!(ran.stderr.contains("the claim is lost"), "{ran:?}");
    let log = site.log();
    let pushes: Vec<_> = log.iter().filter(|(what, ..)| what == "push").collect();
    assert_eq!(pushes.len(), 1, "{log:?}");
    assert_ne!(pushes[0].2, id);
    assert_eq!(targets(&server)["a@1.0"], before);
    assert_eq!(before["state"], "published");
}

#[test]
fn wherever_a_worker_is_killed_another_brings_the_target_to_its_end() {
    for stage in ["build", "verify", "push"] {
        for second in ["here", "there"] {
            let (server, site) = (Server::start(), Site::new());
            site.image("a", "1.0", &[]);
            site.image("b", "1.0", &["a"]);
            let registry = format!("registry = {:?}", site.registry());
            site.config("here", "1s", &registry);
            site.scan(&server);
            let d = format!("D={:?}\n", site.path(""));
            let script = site.path("push");
            let push = fs::read_to_string(&script).unwrap();
            match stage {
                "build" => site.hook("a", ONCE),
                "verify" => site.test("a", &format!("{d}{ONCE}")),
                _ => fs::write(&script, format!("{d}{ONCE}\n{push}")).unwrap(),
            }
            let worker = site.worker(&server, "here", &["run", "--publish"]);
            eventually("it is at work", || site.path("pid").exists());
            worker.kill();
            site.config(second, "60s", &registry);
            let ran: Ran = site
                .command(&server, second, &["run", "--publish"])
                .output()
                .unwrap()
                .into();
            kill_process_group(pid(&site.path("pid")), Signal::KILL).unwrap();
            assert_eq!(ran.code, 0, "{stage} {second}: {ran:?}");
            assert!(
                states(&server).values().all(|state| state == "published"),
                "{stage} {second}"
            );
            for name in ["a@1.0", "b@1.0"] {
                assert_eq!(
                    site.count("push", name),
                    1,
                    "{stage} {second}: {:?}",
                    site.log()
                );
            }
        }
    }
}

#[test]
fn a_push_that_nobody_told_of_is_found_by_another_daemons_worker_and_never_overwritten_by_this_ones()
 {
    for (second, code, state) in [("there", 0, "published"), ("here", 1, "error")] {
        let (server, site) = (Server::start(), Site::new());
        site.image("a", "1.0", &[]);
        let registry = format!("registry = {:?}", site.registry());
        site.config("here", "1s", &registry);
        site.scan(&server);
        let push = fs::read_to_string(site.path("push")).unwrap();
        fs::write(site.path("push"), format!("{push}\n{ONCE}\n")).unwrap();
        let worker = site.worker(&server, "here", &["run", "--publish"]);
        eventually("it has pushed", || site.path("pid").exists());
        worker.kill();
        site.config(second, "60s", &registry);
        let ran: Ran = site
            .command(&server, second, &["run", "--publish"])
            .output()
            .unwrap()
            .into();
        kill_process_group(pid(&site.path("pid")), Signal::KILL).unwrap();
        assert_eq!(ran.code, code, "{second}: {ran:?}");
        assert_eq!(states(&server)["a@1.0"], state, "{second}");
        assert_eq!(site.count("push", "a@1.0"), 1, "{second}");
        // What is there is taken when somebody says so.
        server.print(["build", "reset"]);
        site.scan(&server);
        assert_eq!(states(&server)["a@1.0"], "published", "{second}");
    }
}

#[test]
fn so_many_commands_as_asked_for_run_at_once_and_no_more_targets_are_taken_v15() {
    // vieter's agent asked for as much as if nothing ran.
    let (server, site) = (Server::start(), Site::new());
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        site.image(name, "1.0", &[]);
        let gate = format!("while [ ! -e \"$D/go-{name}@1.0\" ]; do sleep 0.02; done");
        site.hook(name, &gate);
    }
    site.scan(&server);
    let worker = site.worker(&server, "here", &["run", "-j", "2"]);
    let noted = |what: &str| -> Vec<String> {
        let log = site.log().into_iter();
        log.filter(|(noted, ..)| noted == what)
            .map(|(_, target, _)| target)
            .collect()
    };
    for done in 0..names.len() {
        let begun = names.len().min(done + 2);
        eventually("the next is begun", || noted("start").len() >= begun);
        let is_held = |target: &&Value| target.get("claim").is_some();
        let targets = targets(&server);
        assert_eq!(targets.values().filter(is_held).count(), begun - done);
        let next = &noted("start")[done];
        fs::write(site.path(&format!("go-{next}")), "").unwrap();
        eventually("it is built", || {
            states(&server)
                .values()
                .filter(|state| *state == "verified")
                .count()
                > done
        });
    }
    well(worker.ended());
    let mut running = 0;
    let at_once = site.log().into_iter().map(|(what, ..)| {
        match what.as_str() {
            "start" => running += 1,
            _ => running -= 1,
        }
        running
    });
    assert_eq!(at_once.max(), Some(2));
}

#[test]
fn who_is_given_one_that_is_in_doubt_looks_first_and_puts_it_off_until_that_can_be_told() {
    let (server, site) = (Server::start(), Site::new());
    site.image("a", "1.0", &[]);
    let exists = fs::read_to_string(site.path("exists")).unwrap();
    fs::write(site.path("exists"), "echo the daemon is down >&2; exit 1").unwrap();
    well(site.build(&server, &["scan", "--source", "test"]));
    let (reader, writer) = pipe().unwrap();
    let mut worker = {
        let mut command = site.command(&server, "here", &["run"]);
        command.stdout(Stdio::null()).stderr(writer);
        command.spawn().unwrap()
    };
    let mut told = BufReader::new(reader).lines().map(Result::unwrap);
    let put_off = told.find(|line| line.contains("put off"));
    assert!(
        put_off
            .as_ref()
            .is_some_and(|line| line.contains("whether it is here is not known")),
        "{put_off:?}"
    );
    assert_eq!(site.log(), []);
    // It is there by now.
    fs::write(site.path("daemon/a@1.0"), "").unwrap();
    fs::write(site.path("exists"), exists).unwrap();
    told.for_each(drop);
    assert!(worker.wait().unwrap().success());
    assert_eq!(states(&server)["a@1.0"], "verified");
    assert_eq!(site.log(), []);
}
