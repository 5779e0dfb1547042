//! Workers that take targets from one server: in order, each once, whatever happens to a worker.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, test_kill_process};

use super::site::{Site, Worker, states, targets};
use crate::harness::{Ran, Server, eventually, nobody};

pub(super) fn edges(pairs: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    let keyed = |name: &&str| format!("{name}@1.0");
    pairs
        .iter()
        .map(|(name, on)| (keyed(name), on.iter().map(keyed).collect()))
        .collect()
}

pub(super) const DIAMOND: [(&str, &[&str]); 4] =
    [("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])];

pub(super) fn diamond() -> (Server, Site) {
    let (server, site) = (Server::start(), Site::new());
    for (name, on) in DIAMOND {
        site.image(name, "1.0", on);
    }
    site.scan(&server);
    (server, site)
}

/// What a command that goes well prints; it may tell of its progress.
#[track_caller]
pub(super) fn well(ran: Ran) -> String {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout
}

pub(super) fn pid(path: &std::path::Path) -> Pid {
    let text = fs::read_to_string(path).unwrap();
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

#[test]
fn four_at_once_build_a_diamond_in_order_and_each_once() {
    let (server, site) = diamond();
    let said = well(site.build(&server, &["run", "-j", "4"]));
    assert_eq!(said, "4 built, 4 verified, 4 without a test\n");
    site.was_in_order(&edges(&DIAMOND));
    for (name, target) in targets(&server) {
        assert_eq!(
            (&target["state"], &target["attempts"]),
            (&"verified".into(), &1.into()),
            "{name}"
        );
        assert_eq!(site.count("start", &name), 1, "{name}");
    }
    assert_eq!(well(site.build(&server, &["run"])), "nothing to do\n");
}

#[test]
fn what_was_selected_brings_along_what_it_is_built_on_and_nothing_else() {
    let (server, site) = diamond();
    well(site.build(&server, &["run", "--select", "b:*"]));
    let states = states(&server);
    assert_eq!(states["a@1.0"], "verified");
    assert_eq!(states["b@1.0"], "verified");
    assert_eq!(states["c@1.0"], "to_build");
    let plan = server.json(&["build", "plan"]);
    assert_eq!(plan["waves"], serde_json::json!([["c@1.0"], ["d@1.0"]]));
}

#[test]
fn what_failed_blocks_what_is_built_on_it_and_is_told_with_its_last_words() {
    let (server, site) = diamond();
    site.hook("b", "echo no space left >&2\nexit 3");
    let ran = site.build(&server, &["run", "-j", "2", "--keep-going"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("b@1.0| no space left"), "{ran:?}");
    assert!(
        ran.stdout
            .starts_with("2 built, 2 verified, 2 without a test, 1 failed, 1 blocked\n"),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains("d@1.0   blocked       b@1.0 failed"),
        "{ran:?}"
    );
    let error = targets(&server)["b@1.0"]["last_error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(error, "exit code 3: no space left");
    assert_eq!(site.count("start", "d@1.0"), 0);

    site.no_hook("b");
    assert_eq!(
        server.print(["build", "reset"]),
        "b@1.0 is to be built again\n"
    );
    well(site.build(&server, &["run"]));
    assert!(states(&server).values().all(|state| state == "verified"));
}

#[test]
fn without_keep_going_nothing_new_is_begun_after_a_failure() {
    let (server, site) = diamond();
    site.hook("a", "exit 1");
    site.image("z", "1.0", &[]);
    site.scan(&server);
    let ran = site.build(&server, &["run"]);
    assert_eq!(ran.code, 1);
    // The longest chain comes first.
    assert_eq!(states(&server)["z@1.0"], "to_build");
}

#[test]
fn a_build_that_fails_at_times_is_tried_again_when_asked_for() {
    let (server, site) = diamond();
    site.hook(
        "a",
        "[ -e \"$D/second\" ] || { : > \"$D/second\"; exit 1; }",
    );
    well(site.build(&server, &["run", "--retries", "1"]));
    assert_eq!(site.count("start", "a@1.0"), 2);
    assert_eq!(targets(&server)["a@1.0"]["attempts"], 1);
}

#[test]
fn ctrl_c_ends_the_commands_and_gives_the_targets_back() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (server, site) = diamond();
        site.image("e", "1.0", &[]);
        site.scan(&server);
        for name in ["a", "e"] {
            site.hook(name, &format!("echo $$ > \"$D/pid-{name}.new\"; mv \"$D/pid-{name}.new\" \"$D/pid-{name}\"; sleep 600 & wait"));
        }
        let worker = site.worker(&server, "here", &["run", "-j", "4"]);
        for name in ["a", "e"] {
            eventually("it builds", || site.path(&format!("pid-{name}")).exists());
        }
        worker.signal(signal);
        let ran = worker.ended();
        assert_eq!(ran.code, code, "{ran:?}");
        for (name, target) in targets(&server) {
            assert_eq!(
                (&target["state"], target.get("claim")),
                (&"to_build".into(), None),
                "{name}"
            );
        }
        for name in ["a", "e"] {
            let child = pid(&site.path(&format!("pid-{name}")));
            eventually("no child is left", || test_kill_process(child).is_err());
        }
        for name in ["a", "e"] {
            site.no_hook(name);
        }
        well(site.build(&server, &["run"]));
    }
}

#[test]
fn a_server_that_is_away_for_a_moment_is_waited_for() {
    let (mut server, site) = diamond();
    site.hook("a", "while [ ! -e \"$D/go\" ]; do sleep 0.02; done");
    let worker = site.worker(&server, "here", &["run", "-j", "2"]);
    site.until("start", "a@1.0");
    server.restart(Signal::KILL);
    fs::write(site.path("go"), "").unwrap();
    well(worker.ended());
    for (name, target) in targets(&server) {
        assert_eq!(
            (&target["state"], &target["attempts"]),
            (&"verified".into(), &1.into()),
            "{name}"
        );
    }
}

#[test]
fn what_waits_for_what_nobody_does_ends_with_a_list() {
    let (server, site) = diamond();
    let registry = format!("registry = {:?}", site.registry());
    site.config("here", "60s", &registry);
    site.scan(&server);
    well(site.build(&server, &["run", "--select", "a:*"]));
    // b is not built, so there is nothing to publish but a.
    let ran = site.build(&server, &["publish", "--select", "b:*"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout.contains("waiting") && ran.stdout.contains("b@1.0"),
        "{ran:?}"
    );
}

#[test]
fn prune_removes_old_versions_what_is_built_on_something_first_and_tells_what_stays() {
    let (server, site) = diamond();
    for name in ["a", "b"] {
        for version in ["0.8", "0.9", "1.0", "latest"] {
            fs::write(site.path(&format!("daemon/{name}@{version}")), "").unwrap();
        }
    }
    fs::write(site.path("held-b@0.9"), "").unwrap();
    let told = site
        .build(&server, &["prune", "--dry-run", "--select", "[ab]:*"])
        .printed();
    let images: Vec<&str> = told
        .lines()
        .skip(1)
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(images, ["b:0.8", "b:0.9", "a:0.8", "a:0.9"]);
    assert!(site.path("daemon/a@0.8").exists());
    let ran = site.build(&server, &["prune", "--select", "[ab]:*"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout.contains("b:0.9  kept: exit code 1: in use"),
        "{ran:?}"
    );
    let left = |name: &str| site.path(&format!("daemon/{name}")).exists();
    for (name, is_left) in [
        ("a@0.8", false),
        ("a@0.9", false),
        ("b@0.8", false),
        ("b@0.9", true),
        ("a@1.0", true),
        ("a@latest", true),
    ] {
        assert_eq!(left(name), is_left, "{name}");
    }
}

#[test]
fn a_scan_takes_only_a_sure_no_for_missing() {
    let (server, site) = diamond();
    fs::write(site.path("daemon/a@1.0"), "").unwrap();
    let told = site.build(&server, &["scan", "--source", "test"]).printed();
    assert!(told.ends_with("1 built, 3 to_build\n"), "{told}");
    fs::write(site.path("exists"), "echo the daemon is down >&2; exit 1").unwrap();
    let ran = site.build(&server, &["scan", "--source", "test"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("a@1.0 is there is not known")
            && ran.stderr.contains("the daemon is down"),
        "{ran:?}"
    );
    assert_eq!(states(&server)["a@1.0"], "built");
    assert_eq!(targets(&server)["b@1.0"]["is_in_doubt"], true);
    let ran = site.build(
        &server,
        &["scan", "--source", "test", "--dry-run", "-o", "json"],
    );
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&report["unchanged"], &report["dry_run"]),
        (&4.into(), &true.into())
    );
}

/// Layers of targets, each built on some of the layer below.
fn layers(count: usize, width: usize) -> Vec<(String, Vec<String>)> {
    let name = |n: usize| format!("t{n:03}");
    let on = |n: usize| match n < width {
        true => Vec::new(),
        false => {
            let below = n - n % width - width;
            let places = BTreeSet::from([n % width, (n * 7 + 3) % width]);
            places
                .into_iter()
                .map(|place| name(below + place))
                .collect()
        }
    };
    (0..count).map(|n| (name(n), on(n))).collect()
}

#[test]
fn thirty_two_workers_build_two_hundred_targets_each_once_though_one_is_killed() {
    let (server, site) = (Server::start(), Site::new());
    let layers = layers(200, 40);
    for (name, on) in &layers {
        let on: Vec<&str> = on.iter().map(String::as_str).collect();
        site.image(name, "1.0", &on);
        // Long enough for others to be at work meanwhile.
        site.hook(name, "sleep 0.05");
    }
    site.config("here", "10s", "");
    site.scan(&server);
    let began = Instant::now();
    let mut workers: Vec<Worker> = (0..32)
        .map(|_| site.worker(&server, "here", &["run"]))
        .collect();
    // The one that has begun last, and has not ended.
    let mut victim = None;
    eventually("somebody is at work half-way", || {
        let log = site.log();
        let ended: BTreeSet<_> = log
            .iter()
            .filter(|(what, ..)| what == "end")
            .map(|(_, name, _)| name)
            .collect();
        let at_work = log
            .iter()
            .rev()
            .find(|(what, name, _)| what == "start" && !ended.contains(name));
        victim = at_work
            .filter(|_| ended.len() > 40)
            .map(|(_, _, worker)| *worker);
        victim.is_some()
    });
    let place = workers
        .iter()
        .position(|worker| Some(worker.id()) == victim)
        .unwrap();
    workers.remove(place).kill();
    let mut lost = 0;
    for worker in workers {
        let ran = worker.ended();
        assert_eq!(ran.code, 0, "{ran:?}");
        lost += ran.stderr.matches("the claim is lost").count();
    }
    let edges = layers.iter().map(|(name, on)| {
        (
            format!("{name}@1.0"),
            on.iter().map(|name| format!("{name}@1.0")).collect(),
        )
    });
    site.was_in_order(&edges.collect());
    let targets = targets(&server);
    assert_eq!(targets.len(), 200);
    for (name, target) in targets {
        assert_eq!(
            (&target["state"], &target["attempts"]),
            (&"verified".into(), &1.into()),
            "{name}"
        );
    }
    let starts = site
        .log()
        .iter()
        .filter(|(what, ..)| what == "start")
        .count();
    // That of the killed one, and those whose workers say that they had no time to hold on to them.
    assert!(
        (200..=201 + lost).contains(&starts),
        "{starts} builds were begun, {lost} given up"
    );
    assert!(began.elapsed() < Duration::from_secs(300));
}

#[test]
fn a_registry_that_cannot_be_asked_is_not_pushed_to_and_not_waited_for_without_end() {
    let (server, site) = (Server::start(), Site::new());
    site.image("a", "1.0", &[]);
    let (_taken, address) = nobody();
    site.config("here", "60s", &format!("registry = {address:?}"));
    let ran = site.build(&server, &["scan", "--source", "test"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = format!("a@1.0 is there is not known: {address} cannot be asked");
    assert!(ran.stderr.contains(&told), "{ran:?}");
    let ran = site.build(&server, &["run", "--publish"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("a@1.0   put off"), "{ran:?}");
    assert_eq!(site.log(), []);
}
