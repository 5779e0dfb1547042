//! Which images may go.

use super::*;

/// What is pruned; each test changes what it is about.
struct Case {
    keep_last: u32,
    older_than: Option<i64>,
    reach: Reach,
    pins: Vec<Pin>,
    in_use: BTreeSet<Sequence>,
}

fn case() -> Case {
    Case {
        keep_last: 1,
        older_than: None,
        reach: Reach::Anywhere,
        pins: Vec::new(),
        in_use: BTreeSet::new(),
    }
}

impl Case {
    /// `4 newest, 3 keep_last, 2 pinned, 1 remove`
    fn decide(&self, now: i64, generations: &Generations) -> String {
        let prune = Prune {
            keep_last: self.keep_last.try_into().unwrap(),
            older_than: self.older_than.map(seconds),
            reach: &self.reach,
            pins: &self.pins,
            in_use: &self.in_use,
        };
        let one = |decision: &PruneDecision<'_>| {
            let reason = match &decision.verdict {
                Verdict::Remove => "remove",
                Verdict::Keep(Keep::Newest) => "newest",
                Verdict::Keep(Keep::Pinned { .. }) => "pinned",
                Verdict::Keep(Keep::KeepLast) => "keep_last",
                Verdict::Keep(Keep::InUse) => "in_use",
                Verdict::Keep(Keep::TooYoung) => "too_young",
            };
            format!("{} {reason}", decision.generation.sequence.0)
        };
        let decisions = prune.decide(at(now), generations);
        decisions.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

fn pin(sequence: u64, holder: &str, deadline: i64) -> Pin {
    Pin {
        generation: Sequence(sequence),
        claim: claim(holder, 1, 0, deadline),
    }
}

#[test]
fn all_but_the_newest_go() {
    assert_eq!(
        case().decide(9, &generations(&[0, 1, 2])),
        "3 newest, 2 remove, 1 remove"
    );
    assert_eq!(case().decide(9, &generations(&[0])), "1 newest");
    assert_eq!(case().decide(9, &Generations::default()), "");
}

#[test]
fn as_many_of_the_last_stay_as_the_policy_says() {
    let case = Case {
        keep_last: 3,
        ..case()
    };
    assert_eq!(
        case.decide(9, &generations(&[0, 1, 2, 3])),
        "4 newest, 3 keep_last, 2 keep_last, 1 remove"
    );
}

#[test]
fn the_last_are_those_that_were_built_last_whatever_the_clock_said() {
    // Others went by creation dates, and removed the newest.
    assert_eq!(
        case().decide(9, &generations(&[5, 5, 0])),
        "3 newest, 2 remove, 1 remove"
    );
}

#[test]
fn what_somebody_is_about_to_use_stays_v3() {
    // vieter's cleaning could take an image between its choice and its start.
    let mut case = Case {
        pins: vec![pin(1, "a", 10), pin(1, "b", 20)],
        ..case()
    };
    let generations = generations(&[0, 1, 2]);
    assert_eq!(case.decide(9, &generations), "3 newest, 2 remove, 1 pinned");
    assert_eq!(
        case.decide(19, &generations),
        "3 newest, 2 remove, 1 pinned"
    );
    assert_eq!(
        case.decide(20, &generations),
        "3 newest, 2 remove, 1 remove"
    );
    case.in_use.insert(Sequence(1));
    assert_eq!(
        case.decide(20, &generations),
        "3 newest, 2 remove, 1 in_use"
    );
    let reach = Reach::Anywhere;
    let prune = Prune {
        keep_last: Policy::default().keep_last,
        older_than: None,
        reach: &reach,
        pins: &case.pins,
        in_use: &case.in_use,
    };
    let last = prune.decide(at(9), &generations).pop().unwrap();
    let holder = "b".parse().unwrap();
    assert_eq!(
        last.verdict,
        Verdict::Keep(Keep::Pinned {
            holder: &holder,
            until: at(20)
        })
    );
}

#[test]
fn only_what_is_old_enough_goes() {
    let case = Case {
        older_than: Some(10),
        ..case()
    };
    let generations = generations(&[0, 5, 6]);
    assert_eq!(
        case.decide(9, &generations),
        "3 newest, 2 too_young, 1 too_young"
    );
    assert_eq!(
        case.decide(10, &generations),
        "3 newest, 2 too_young, 1 remove"
    );
    assert_eq!(
        case.decide(-100, &generations),
        "3 newest, 2 too_young, 1 too_young"
    );
}

#[test]
fn where_the_newest_is_gone_the_next_one_is_the_newest() {
    let mut generations = generations(&[0, 1, 2]);
    generations.observe(Sequence(3), &place("reg"), Presence::Absent, at(3));
    assert_eq!(case().decide(9, &generations), "2 newest, 1 remove");
}

#[test]
fn each_machine_keeps_its_own_newest() {
    let mut generations = Generations::default();
    for host in ["host:a", "host:a", "host:b"] {
        generations.add(built(host, None), at(0));
    }
    let mut case = Case {
        reach: only(&["host:a"]),
        ..case()
    };
    assert_eq!(case.decide(9, &generations), "2 newest, 1 remove");
    case.reach = only(&["host:b"]);
    assert_eq!(case.decide(9, &generations), "3 newest");
}
