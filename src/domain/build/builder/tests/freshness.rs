//! Who uses an image and who builds one.

use super::*;
use crate::domain::build::Claim;

/// What a decision is made from; each test changes what it is about.
struct Case {
    policy: Policy,
    generations: Generations,
    base: Option<Digest>,
    claim: Option<Claim>,
    failures: Option<Failures>,
    reach: Reach,
    is_forced: bool,
}

/// One image, built at 0, good for a day.
fn case() -> Case {
    Case {
        policy: Policy::default(),
        generations: generations(&[0]),
        base: None,
        claim: None,
        failures: None,
        reach: Reach::Anywhere,
        is_forced: false,
    }
}

impl Case {
    fn standing(&self) -> Standing<'_> {
        Standing {
            policy: &self.policy,
            generations: &self.generations,
            base_digest: self.base.as_ref(),
            claim: self.claim.as_ref(),
            failures: self.failures.as_ref(),
            reach: &self.reach,
            is_forced: self.is_forced,
        }
    }

    /// `use 1`, `use 1 stale`, `use 1 unconfirmed`, `build expired over 1`, `busy holder over 1`, `busy until 90`.
    fn at(&self, now: i64) -> String {
        let standing = self.standing();
        let over = |previous: Option<&Generation>| match previous {
            Some(generation) => format!(" over {}", generation.sequence.0),
            None => String::new(),
        };
        match decide(at(now), &standing) {
            Decision::Use {
                generation,
                is_stale,
                is_confirmed,
                ..
            } => {
                let stale = if is_stale { " stale" } else { "" };
                let unconfirmed = if is_confirmed { "" } else { " unconfirmed" };
                format!("use {}{stale}{unconfirmed}", generation.sequence.0)
            }
            Decision::Build { reason, previous } => {
                format!(
                    "build {}{}",
                    format!("{reason:?}").to_lowercase(),
                    over(previous)
                )
            }
            Decision::Busy { hold, previous } => match hold {
                Hold::Claimed(claim) => format!("busy {}{}", claim.holder, over(previous)),
                Hold::BackingOff { until, .. } => {
                    format!(
                        "busy until {}{}",
                        until.seconds() - at(0).seconds(),
                        over(previous)
                    )
                }
            },
        }
    }

    fn until(&self, now: i64) -> (Option<i64>, Option<i64>) {
        let standing = self.standing();
        let Decision::Use {
            fresh_until,
            usable_until,
            ..
        } = decide(at(now), &standing)
        else {
            panic!("{}", self.at(now))
        };
        let plain = |time: Timestamp| time.seconds() - at(0).seconds();
        (fresh_until.map(plain), usable_until.map(plain))
    }
}

fn ages(max_age: Option<i64>, refresh_after: Option<i64>) -> Policy {
    Policy {
        ages: Ages::new(max_age.map(seconds), refresh_after.map(seconds)).unwrap(),
        ..Policy::default()
    }
}

#[test]
fn what_was_never_built_is_built_v1() {
    // vieter asked an empty list for its last, and its agent died.
    let case = Case {
        generations: Generations::default(),
        ..case()
    };
    assert_eq!(case.at(0), "build neverbuilt");
}

#[test]
fn an_image_of_just_the_maximum_age_is_too_old() {
    let case = case();
    for (now, decision) in [
        (0, "use 1"),
        (DAY - 1, "use 1"),
        (DAY, "build expired over 1"),
        (DAY + 1, "build expired over 1"),
    ] {
        assert_eq!(case.at(now), decision, "{now}");
    }
    assert_eq!(case.until(0), (Some(DAY), Some(DAY)));
}

#[test]
fn no_maximum_age_is_never_and_none_at_all_is_always() {
    let never = Case {
        policy: ages(None, None),
        ..case()
    };
    assert_eq!(never.at(1000 * DAY), "use 1");
    assert_eq!(never.until(0), (None, None));
    let always = Case {
        policy: ages(Some(0), None),
        ..case()
    };
    assert_eq!(always.at(0), "build expired over 1");
}

#[test]
fn while_one_builds_the_others_use_the_old_one_until_it_expires() {
    let mut case = Case {
        policy: ages(Some(100), Some(60)),
        ..case()
    };
    assert_eq!(case.at(59), "use 1");
    assert_eq!(case.until(59), (Some(60), Some(100)));
    assert_eq!(case.at(60), "build refreshdue over 1");
    case.claim = Some(claim("a", 1, 60, 1000));
    assert_eq!(case.at(60), "use 1 stale");
    assert_eq!(case.until(60), (None, Some(100)));
    assert_eq!(case.at(99), "use 1 stale");
    assert_eq!(case.at(100), "busy a over 1");
    case.generations.add(built("reg", None), at(101));
    case.claim = None;
    assert_eq!(case.at(101), "use 2");
}

#[test]
fn of_two_callers_one_builds_and_takes_over_when_the_other_dies_v6() {
    let mut case = Case {
        generations: Generations::default(),
        ..case()
    };
    assert_eq!(case.at(0), "build neverbuilt");
    case.claim = Some(claim("a", 1, 0, 10));
    assert_eq!(case.at(0), "busy a");
    assert_eq!(case.at(9), "busy a");
    assert_eq!(case.at(10), "build neverbuilt");
}

#[test]
fn what_is_gone_is_built_and_an_older_one_does_not_pass_for_it_v4() {
    // vieter went on with an older image, whatever its age.
    let reg = place("reg");
    let mut case = Case {
        generations: generations(&[0, HOUR]),
        ..case()
    };
    let effect = case
        .generations
        .observe(Sequence(2), &reg, Presence::Absent, at(HOUR));
    assert_eq!(effect, Effect::Dropped);
    assert_eq!(case.at(HOUR), "build gone over 1");
    case.claim = Some(claim("a", 1, HOUR, DAY));
    assert_eq!(
        case.at(HOUR),
        "use 1 stale",
        "told to be stale, and not past its own age"
    );
    assert_eq!(case.at(DAY), "busy a over 1");
    case.claim = None;
    assert_eq!(case.at(DAY), "build gone over 1");
    case.generations
        .observe(Sequence(1), &reg, Presence::Absent, at(HOUR));
    assert_eq!(case.at(HOUR), "build gone");
}

#[test]
fn that_nobody_could_be_asked_is_not_that_it_is_gone_v10() {
    // vieter rebuilt while the daemon was down.
    let reg = place("reg");
    let mut case = case();
    assert_eq!(
        case.generations
            .observe(Sequence(1), &reg, Presence::Unknown, at(50)),
        Effect::Kept
    );
    assert_eq!(case.at(60), "use 1");
    case.policy.probe = Probe::IfOlderThan(seconds(100));
    assert_eq!(case.at(99), "use 1", "it was there at 0");
    assert_eq!(case.at(100), "build unconfirmed over 1");
    case.claim = Some(claim("a", 1, 100, 1000));
    assert_eq!(
        case.at(100),
        "use 1 stale unconfirmed",
        "and yet it may be there"
    );
    case.generations
        .observe(Sequence(1), &reg, Presence::Present(None), at(120));
    assert_eq!(case.at(219), "use 1");
    assert_eq!(case.at(220), "use 1 unconfirmed", "nobody has looked since");
}

#[test]
fn whoever_is_to_look_is_told_so() {
    let mut case = case();
    case.policy.probe = Probe::Always;
    assert_eq!(case.at(0), "use 1 unconfirmed");
    case.policy.probe = Probe::Never;
    assert_eq!(case.at(DAY - 1), "use 1");
}

#[test]
fn another_base_makes_another_image_v12() {
    let mut case = case();
    case.base = Some(digest("other"));
    assert_eq!(case.at(0), "use 1", "not asked for");
    case.policy.tracks_base = true;
    assert_eq!(case.at(0), "build basechanged over 1");
    case.claim = Some(claim("a", 1, HOUR, DAY));
    assert_eq!(case.at(0), "use 1 stale");
    assert_eq!(case.at(DAY), "busy a over 1");
    case.claim = None;
    case.base = Some(digest("base"));
    assert_eq!(case.at(0), "use 1");
    case.base = None;
    assert_eq!(case.at(0), "use 1", "the base is not known now");
    case.base = Some(digest("other"));
    case.generations = Generations::default();
    case.generations.add(built("reg", None), at(0));
    assert_eq!(case.at(0), "use 1", "the base was not known then");
}

#[test]
fn a_forced_build_waits_for_another_build_only() {
    let mut case = Case {
        is_forced: true,
        ..case()
    };
    case.failures = Some(Failures::after(None, String::new(), None, at(0)));
    assert_eq!(case.at(0), "build forced over 1");
    case.claim = Some(claim("a", 1, 0, 10));
    assert_eq!(case.at(0), "busy a over 1");
    case.is_forced = false;
    assert_eq!(case.at(0), "use 1", "who does not force it does not wait");
}

#[test]
fn after_a_failure_nobody_builds_for_a_while_v14() {
    let mut case = Case {
        policy: ages(Some(100), Some(60)),
        ..case()
    };
    case.failures = Some(Failures::after(
        None,
        String::new(),
        Some(seconds(30)),
        at(60),
    ));
    assert_eq!(case.at(60), "use 1 stale");
    assert_eq!(case.at(90), "build refreshdue over 1");
    case.failures = Some(Failures::after(
        None,
        String::new(),
        Some(seconds(30)),
        at(100),
    ));
    assert_eq!(case.at(100), "busy until 130 over 1");
    assert_eq!(case.at(130), "build expired over 1");
}

#[test]
fn a_clock_that_is_set_back_expires_nothing_v11() {
    let mut case = case();
    assert_eq!(case.at(-DAY), "use 1");
    case.policy = ages(Some(0), None);
    assert_eq!(case.at(-DAY), "build expired over 1");
    case.policy = ages(Some(1), None);
    assert_eq!(case.at(-DAY), "use 1");
}

#[test]
fn what_a_caller_cannot_reach_is_not_given_to_it() {
    let mut case = Case {
        generations: Generations::default(),
        ..case()
    };
    case.generations.add(built("host:a", None), at(0));
    case.generations.add(built("host:b", None), at(10));
    for (places, decision) in [
        (&["host:a"][..], "use 1"),
        (&["host:b"], "use 2"),
        (&["host:a", "host:b"], "use 2"),
        (&["host:c"], "build outofreach"),
        (&[], "build outofreach"),
    ] {
        case.reach = only(places);
        assert_eq!(case.at(20), decision, "{places:?}");
    }
    // Somebody copied it.
    case.generations.observe(
        Sequence(2),
        &place("host:c"),
        Presence::Present(None),
        at(20),
    );
    case.reach = only(&["host:c"]);
    assert_eq!(case.at(20), "use 2");
}

#[test]
fn a_restart_loses_nothing_v5() {
    let before = generations(&[0, 10]);
    let after = Generations::restore(before.last(), before.iter().cloned().collect()).unwrap();
    let case = Case {
        generations: after,
        ..case()
    };
    assert_eq!(case.at(DAY), "use 2");
    assert_eq!(case.at(DAY + 10), "build expired over 2");
}
