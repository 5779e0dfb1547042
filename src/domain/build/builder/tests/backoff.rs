//! How long nobody builds after failures.

use super::*;

#[test]
fn each_failure_waits_twice_as_long_v14() {
    // vieter tried again with each job.
    let mut failures: Option<Failures> = None;
    let mut delays = Vec::new();
    for n in 0..40 {
        let next = Failures::after(failures.as_ref(), format!("exit code {n}"), None, at(0));
        delays.push(next.delay.as_secs());
        failures = Some(next);
    }
    assert_eq!(delays[..6], [10, 20, 40, 80, 160, 320]);
    assert_eq!(delays[9..], [3600; 31]);
    let last = failures.unwrap();
    assert_eq!((last.count, last.last_error.as_str()), (40, "exit code 39"));
}

#[test]
fn whoever_failed_may_know_better_within_bounds() {
    let after = |wait: i64| Failures::after(None, String::new(), Some(seconds(wait)), at(0)).delay;
    assert_eq!(
        (after(0), after(90), after(DAY)),
        (seconds(0), seconds(90), seconds(HOUR))
    );
}

#[test]
fn the_wait_ends_when_it_is_over_and_is_never_longer_than_it_was() {
    let failed = Failures::after(None, String::new(), None, at(100));
    for (now, until) in [
        (100, Some(110)),
        (109, Some(110)),
        (110, None),
        (5000, None),
        (50, Some(60)),
    ] {
        assert_eq!(failed.retry_at(at(now)), until.map(at), "{now}");
    }
}
