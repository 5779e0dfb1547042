//! Images to build in: made by one of all who ask, used until they are too old, and kept while they are used.

use std::fs;
use std::io::{BufRead, BufReader, pipe};
use std::process::Stdio;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use super::shop::Shop;
use crate::harness::{Ran, eventually};

#[test]
fn an_image_is_made_once_and_used_again_until_it_is_gone_or_too_old() {
    let shop = Shop::open("60s");
    let first = shop.image(&[]);
    assert_eq!(shop.image(&[]), first);
    assert_eq!(shop.builds(), 1);
    assert!(shop.show().get("pins").is_none(), "nobody uses it any more");

    fs::remove_dir_all(shop.file("daemon")).unwrap();
    fs::create_dir(shop.file("daemon")).unwrap();
    let second = shop.image(&[]);
    assert_ne!(second, first);
    let put = [
        "builder",
        "put",
        "debian:13",
        "--platform",
        "linux/amd64",
        "--max-age",
        "0",
    ];
    assert_eq!(shop.server.print(put), "debian:13 on linux/amd64 updated\n");
    assert_ne!(shop.image(&[]), second);
    assert_eq!(shop.builds(), 3);
}

#[test]
fn of_many_who_ask_at_once_one_makes_the_image() {
    let shop = Shop::open("60s");
    shop.hook("sleep 0.3");
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let mut command = shop.command(&[], &["echo", "{image}"]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let ran: Vec<Ran> = asking
        .into_iter()
        .map(|one| one.wait_with_output().unwrap().into())
        .collect();
    for one in &ran {
        assert_eq!((one.code, &one.stdout), (0, &ran[0].stdout), "{ran:?}");
    }
    assert_eq!(shop.builds(), 1);
}

#[test]
fn an_image_that_gets_old_is_made_anew_by_one_and_the_others_go_on_with_it_at_once() {
    let shop = Shop::open("60s");
    let old = shop.image(&["--refresh-after", "0"]);
    shop.hook(": > \"$D/up\"; while [ -d \"$D\" ] && [ ! -e \"$D/go\" ]; do sleep 0.02; done");
    let exec = || {
        let mut command = shop.command(&[], &["echo", "{image}"]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let making = exec();
    eventually("one makes it anew", || shop.file("up").exists());
    // Nothing lets it be made before this one has ended.
    let mut other = exec();
    eventually("the other does not wait", || {
        other.try_wait().unwrap().is_some()
    });
    let other: Ran = other.wait_with_output().unwrap().into();
    assert_eq!((other.code, other.stdout.trim()), (0, &*old), "{other:?}");
    fs::write(shop.file("go"), "").unwrap();
    let making: Ran = making.wait_with_output().unwrap().into();
    assert_eq!(making.code, 0, "{making:?}");
    assert_ne!(making.stdout.trim(), old);
    assert_eq!(shop.builds(), 2);
}

#[test]
fn it_ends_as_its_command_does() {
    let shop = Shop::open("60s");
    assert_eq!(shop.exec(&[], &["sh", "-c", "exit 7"]).code, 7);
    assert_eq!(shop.exec(&[], &["sh", "-c", "kill -9 $$"]).code, 137);
    assert_eq!(shop.exec(&[], &["/nowhere"]).code, 127);
    // A command that hears of it ends as it likes, and the image is given back.
    let script = format!(
        "trap 'exit 9' TERM; : > {:?}; while :; do sleep 0.02; done",
        shop.file("up")
    );
    let running = shop
        .command(&[], &["sh", "-c", &script])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it runs", || shop.file("up").exists());
    assert_eq!(shop.show()["pins"].as_array().unwrap().len(), 1);
    kill_process(Pid::from_child(&running), Signal::TERM).unwrap();
    assert_eq!(running.wait_with_output().unwrap().status.code(), Some(9));
    assert!(shop.show().get("pins").is_none());
}

#[test]
fn who_asks_twice_does_not_wait_for_a_command_that_does_not_end_when_asked_to() {
    let shop = Shop::open("60s");
    let script = format!(
        "trap '' TERM INT; : > {:?}; while [ -d {:?} ]; do sleep 0.02; done",
        shop.file("up"),
        shop.file("")
    );
    let (reader, writer) = pipe().unwrap();
    let mut running = {
        let mut command = shop.command(&[], &["sh", "-c", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(writer).spawn().unwrap()
    };
    eventually("it runs", || shop.file("up").exists());
    let ask = || kill_process(Pid::from_child(&running), Signal::INT).unwrap();
    ask();
    let mut told = BufReader::new(reader).lines().map(Result::unwrap);
    assert!(told.any(|line| line == "imagestore: ending; once more ends it at once."));
    assert_eq!(
        shop.show()["pins"].as_array().unwrap().len(),
        1,
        "it is deaf"
    );
    ask();
    eventually("it ends", || running.try_wait().unwrap().is_some());
    assert_eq!(running.wait().unwrap().code(), Some(137));
    assert!(shop.show().get("pins").is_none());
}

#[test]
fn a_recipe_that_fails_makes_no_image_and_the_old_one_does_where_that_is_allowed_v7() {
    let shop = Shop::open("60s");
    let first = shop.image(&["--max-age", "0"]);
    shop.hook("echo no such package >&2; exit 3");
    let refused = shop.exec(&[], &["echo", "{image}"]);
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (1, ""),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("no such package"), "{refused:?}");
    let shown = shop.show();
    assert_eq!(shown["failures"], 1);
    assert_eq!(shown["last_error"], "exit code 3: no such package");
    assert_eq!(shown["generations"].as_array().unwrap().len(), 1);
    assert_eq!(shop.image(&["--stale-ok"]), first);
    // Who makes one all the same is not held up by the failure.
    shop.no_hook();
    assert_ne!(shop.image(&["--force"]), first);
}

/// Waits until what is held by renewals has lasted for longer than without.
fn outlasts(what: impl Fn() -> Value) {
    let deadline = || -> Timestamp { what()["deadline"].as_str().unwrap().parse().unwrap() };
    let first = deadline();
    eventually("its time is over, and it is held", || {
        Timestamp::now() > first && deadline() > Timestamp::now()
    });
}

#[test]
fn an_image_that_takes_longer_than_a_claim_lasts_is_made_once_and_kept_while_it_is_used() {
    let shop = Shop::open("3s");
    shop.hook(": > \"$D/up\"; while [ -d \"$D\" ] && [ ! -e \"$D/go\" ]; do sleep 0.02; done");
    let script = format!(
        "D={:?}; : > \"$D/used\"; while [ -d \"$D\" ] && [ ! -e \"$D/end\" ]; do sleep 0.02; done; echo {{image}}",
        shop.file("")
    );
    let mut making = shop.command(&[], &["sh", "-c", &script]);
    let making = making.stdout(Stdio::piped()).stderr(Stdio::piped());
    let making = making.spawn().unwrap();
    eventually("it is made", || shop.file("up").exists());
    let token = shop.show()["claim"]["token"].clone();
    outlasts(|| {
        let claim = shop.show()["claim"].clone();
        assert_eq!(claim["token"], token);
        claim
    });
    fs::write(shop.file("go"), "").unwrap();
    eventually("it is used", || shop.file("used").exists());
    let pin = shop.show()["pins"][0]["id"].clone();
    outlasts(|| {
        let pins = shop.show()["pins"].clone();
        assert_eq!(pins[0]["id"], pin);
        pins[0].clone()
    });
    fs::write(shop.file("end"), "").unwrap();
    let ran: Ran = making.wait_with_output().unwrap().into();
    assert_eq!(
        (ran.code, ran.stderr.contains("lost")),
        (0, false),
        "{ran:?}"
    );
    assert_eq!(shop.builds(), 1);
    assert_eq!(shop.show()["generations"][0]["image"], ran.stdout.trim());
}

#[test]
fn ctrl_c_while_an_image_is_made_leaves_the_next_to_make_it() {
    let shop = Shop::open("60s");
    shop.hook(": > \"$D/up\"; sleep 600");
    let making = shop
        .command(&[], &["true"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it is made", || shop.file("up").exists());
    kill_process(Pid::from_child(&making), Signal::INT).unwrap();
    assert_eq!(making.wait_with_output().unwrap().status.code(), Some(130));
    let shown = shop.show();
    assert_eq!((shown.get("claim"), &shown["failures"]), (None, &0.into()));
    shop.no_hook();
    shop.image(&[]);
}

#[test]
fn when_the_maker_is_killed_another_makes_it_after_its_time() {
    let shop = Shop::open("1s");
    shop.hook("mkdir \"$D/first\" 2> /dev/null && { echo $$ > \"$D/pid.new\"; mv \"$D/pid.new\" \"$D/pid\"; sleep 600; }; true");
    let mut making = shop
        .command(&[], &["true"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it is made", || shop.file("pid").exists());
    making.kill().unwrap();
    making.wait().unwrap();
    shop.claims_last("60s");
    let image = shop.image(&[]);
    assert_eq!(shop.show()["generations"][0]["image"], image.as_str());
    let left: i32 = fs::read_to_string(shop.file("pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill_process_group(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn prune_takes_what_is_old_and_neither_the_newest_nor_what_is_used() {
    let shop = Shop::open("60s");
    let old = shop.image(&[]);
    let script = format!(
        ": > {:?}; while [ ! -e {:?} ]; do sleep 0.02; done",
        shop.file("up"),
        shop.file("go")
    );
    let using = shop
        .command(&[], &["sh", "-c", &script])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it runs", || shop.file("up").exists());
    let newest = shop.image(&["--force"]);
    let told = shop.prune(&[]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.stdout.contains("uses it") && told.stdout.contains("the newest"),
        "{told:?}"
    );
    assert_eq!(shop.daemon(), 2);
    fs::write(shop.file("go"), "").unwrap();
    using.wait_with_output().unwrap();

    assert!(
        shop.prune(&["--dry-run"])
            .stdout
            .contains(&format!("{old}  would be removed"))
    );
    assert_eq!(shop.daemon(), 2);
    fs::write(shop.file("held"), "").unwrap();
    let kept = shop.prune(&[]);
    assert_eq!(kept.code, 1, "{kept:?}");
    assert!(
        kept.stdout.contains("kept: exit code 1: in use"),
        "{kept:?}"
    );
    fs::remove_file(shop.file("held")).unwrap();
    assert!(shop.prune(&[]).stdout.contains(&format!("{old}  removed")));
    assert_eq!(shop.daemon(), 1);
    assert_eq!(shop.image(&[]), newest);
    let refused = shop
        .server
        .run(["builder", "rm", "debian:13", "--platform", "linux/amd64"]);
    refused.told(5);
    let removed = shop.server.print([
        "builder",
        "rm",
        "debian:13",
        "--platform",
        "linux/amd64",
        "--force",
    ]);
    assert_eq!(
        removed,
        format!("debian:13 on linux/amd64 removed\n{newest} stays at here\n")
    );
    assert_eq!(shop.daemon(), 1, "whoever forgot it removes it");
    assert_eq!(shop.server.print(["builder", "ls"]).lines().count(), 1);
}

#[test]
fn what_the_server_does_not_take_is_removed_again_v8() {
    let shop = Shop::open("60s");
    shop.hook(": > \"$D/up\"; while [ ! -e \"$D/go\" ]; do sleep 0.02; done");
    let making = shop
        .command(&[], &["true"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it is made", || shop.file("up").exists());
    let remove = [
        "builder",
        "rm",
        "debian:13",
        "--platform",
        "linux/amd64",
        "--force",
    ];
    shop.server.print(remove);
    fs::write(shop.file("go"), "").unwrap();
    let ran: Ran = making.wait_with_output().unwrap().into();
    assert!(ran.stderr.contains("is removed again"), "{ran:?}");
    assert_eq!(shop.daemon(), 0, "{ran:?}");
}

#[test]
fn what_was_made_by_one_who_slept_past_the_claim_is_removed_again() {
    let shop = Shop::open("1s");
    shop.hook("mkdir \"$D/first\" 2> /dev/null && kill -STOP $PPID; true");
    let sleeper = shop
        .command(&[], &["echo", "{image}"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it sleeps, and its image is there", || shop.daemon() == 1);
    shop.claims_last("60s");
    let image = shop.image(&[]);
    assert_eq!(shop.daemon(), 2);
    kill_process(Pid::from_child(&sleeper), Signal::CONT).unwrap();
    let ran: Ran = sleeper.wait_with_output().unwrap().into();
    assert_eq!((ran.code, ran.stdout.trim()), (0, &*image), "{ran:?}");
    assert_eq!(shop.daemon(), 1, "{ran:?}");
}
