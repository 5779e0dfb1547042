//! Commands that end well, badly, or when they are told to.

use std::sync::Mutex;
use std::time::Instant;

use super::*;

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

async fn silent(script: &str) -> Ran {
    run(&shell(script), &Voice::Silent, false, &Stop::default()).await
}

#[tokio::test]
async fn how_a_command_ends_is_told_with_its_last_words() {
    assert_eq!(silent("echo all; exit 0").await.how, How::Well);
    let ran = silent("echo out; echo no space >&2; exit 7").await;
    assert_eq!(ran.how, How::Code(7));
    assert!(ran.why().starts_with("exit code 7: "), "{}", ran.why());
    assert!(ran.last.contains("no space") && ran.last.contains("out"));
    assert_eq!(silent("kill -9 $$").await.how, How::Signal(9));
    let missing = ["/nowhere/to be found".to_owned()];
    let ran = run(&missing, &Voice::Silent, false, &Stop::default()).await;
    assert_eq!(
        ran.why(),
        "cannot run /nowhere/to be found: there is no such program"
    );
}

#[tokio::test]
async fn lines_come_whole_and_standard_output_is_kept_apart_when_asked() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = lines.clone();
    let voice = Voice::Lines(Arc::new(move |line: &str| {
        heard.lock().unwrap().push(line.to_owned())
    }));
    let script = "printf 'a\\nb\\rc'; printf 'caf\\303' >&2";
    let ran = run(&shell(script), &voice, false, &Stop::default()).await;
    telling::settled().await;
    let mut lines = lines.lock().unwrap().clone();
    lines.sort();
    assert_eq!(lines, ["a", "b", "c", "caf\u{fffd}"]);
    assert_eq!(ran.stdout, "");
    let ran = run(&shell(script), &Voice::Silent, true, &Stop::default()).await;
    assert_eq!(ran.stdout, "a\nb\rc");
}

#[tokio::test]
async fn the_last_words_are_the_last_and_no_more_than_the_service_takes() {
    let ran = silent("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1").await;
    assert!(ran.last.ends_with("line 2999") && !ran.last.contains("line 1\n"));
    assert!(ran.why().len() <= 4096);
}

#[tokio::test]
async fn a_stopped_command_leaves_no_child() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    // The child is of the group, and does not hear SIGTERM.
    let script = format!(
        "trap '' TERM; (trap '' TERM; echo $$ > {0}.tmp; mv {0}.tmp {0}; while :; do sleep 0.1; done) & wait; wait",
        file.display()
    );
    let stop = Stop::default();
    let ending = stop.clone();
    let began = Instant::now();
    let (ran, ()) = tokio::join!(
        async { run(&shell(&script), &Voice::Silent, false, &stop).await },
        async {
            while !file.exists() {
                time::sleep(Duration::from_millis(5)).await;
            }
            ending.end_at_once();
        }
    );
    assert_eq!(ran.how, How::Stopped);
    assert!(began.elapsed() < GRACE);
    let group: i32 = std::fs::read_to_string(&file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let group = Pid::from_raw(group).unwrap();
    // What was killed is there until its new parent has noticed.
    for _ in 0..1000 {
        if rustix::process::test_kill_process_group(group).is_err() {
            return;
        }
        time::sleep(Duration::from_millis(5)).await;
    }
    panic!("somebody of the group lives");
}

#[tokio::test]
async fn what_a_daemon_holds_does_not_hold_its_command() {
    let began = Instant::now();
    let ran = silent("sleep 30 & exit 3").await;
    assert_eq!(ran.how, How::Code(3));
    assert!(began.elapsed() < Duration::from_secs(20));
}
