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
        assert!(decisions.iter().all(|decision| !decision.copies.is_empty()));
        decisions.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

fn pin(sequence: u64, holder: &str, deadline: i64) -> Pin {
    Pin {
        generation: Sequence(sequence),
        holder: holder.parse().unwrap(),
        ttl: Ttl::try_from(seconds(1)).unwrap(),
        deadline: at(deadline),
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
    assert_eq!(
        last.verdict,
        Verdict::Keep(Keep::Pinned {
            holder: "b".parse().unwrap(),
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

/// What is retired where a prune says so.
fn pruned(case: &Case, now: i64, generations: &mut Generations) -> String {
    let told = case.decide(now, generations);
    let before = generations.clone();
    let prune = Prune {
        keep_last: case.keep_last.try_into().unwrap(),
        older_than: None,
        reach: &case.reach,
        pins: &case.pins,
        in_use: &case.in_use,
    };
    for decision in prune.decide(at(now), &before) {
        if decision.is_removal() {
            let copies = decision.copies.into_iter().cloned().collect();
            generations.retire(decision.generation.sequence, &Reach::Only(copies), at(now));
        }
    }
    told
}

#[test]
fn what_was_to_go_is_named_again_until_it_has_gone_v5() {
    // vieter forgot its images when it started again, and some stayed for ever.
    let mut generations = generations(&[0, 1, 2]);
    for now in [9, 10] {
        assert_eq!(
            pruned(&case(), now, &mut generations),
            "3 newest, 2 remove, 1 remove"
        );
    }
    let more = Case {
        keep_last: 3,
        ..case()
    };
    assert_eq!(
        pruned(&more, 11, &mut generations),
        "3 newest, 2 remove, 1 remove",
        "whoever was told so may be at it"
    );
    generations.confirm(Sequence(1), &place("reg"), Removal::Removed, at(12));
    generations.confirm(Sequence(2), &place("reg"), Removal::InUse, at(12));
    assert_eq!(pruned(&more, 13, &mut generations), "3 newest, 2 keep_last");
}

#[test]
fn only_the_copies_within_reach_go() {
    let mut generations = generations(&[0, 1]);
    let one = Sequence(1);
    generations.observe(one, &place("host:c"), Presence::Present(None), at(1));
    let here = Case {
        reach: only(&["reg"]),
        ..case()
    };
    assert_eq!(pruned(&here, 9, &mut generations), "2 newest, 1 remove");
    let there = Case {
        reach: only(&["host:c"]),
        ..case()
    };
    assert_eq!(
        pruned(&there, 9, &mut generations),
        "1 newest",
        "all that C has"
    );
    let both = Case {
        keep_last: 2,
        ..case()
    };
    assert_eq!(
        pruned(&both, 9, &mut generations),
        "2 newest, 1 keep_last, 1 remove",
        "one copy stays, and the other goes"
    );
}

#[test]
fn where_all_that_is_left_is_to_go_the_newest_of_it_stays() {
    let mut generations = generations(&[0, 1, 2]);
    pruned(&case(), 9, &mut generations);
    generations.observe(Sequence(3), &place("reg"), Presence::Absent, at(10));
    assert_eq!(
        generations.newest(&Reach::Anywhere),
        None,
        "none is given out"
    );
    assert_eq!(pruned(&case(), 11, &mut generations), "2 newest, 1 remove");
    generations.add(built("reg", None), at(12));
    assert_eq!(
        pruned(&case(), 13, &mut generations),
        "4 newest, 2 remove, 1 remove"
    );
}

#[test]
fn what_is_pinned_is_not_removed_though_it_was_to_go() {
    let mut generations = generations(&[0, 1]);
    generations.observe(
        Sequence(1),
        &place("host:c"),
        Presence::Present(None),
        at(1),
    );
    let mut here = Case {
        reach: only(&["reg"]),
        ..case()
    };
    assert_eq!(pruned(&here, 9, &mut generations), "2 newest, 1 remove");
    here.pins = vec![pin(1, "c", 100)];
    assert_eq!(pruned(&here, 9, &mut generations), "2 newest, 1 pinned");
    assert_eq!(pruned(&here, 100, &mut generations), "2 newest, 1 remove");
}

#[test]
fn the_id_of_a_pin_reads_back_and_nothing_else_is_one() {
    let id = PinId(0xab);
    assert_eq!(id.to_string(), "00000000000000ab");
    assert_eq!(id.to_string().parse(), Ok(id));
    for other in [
        "",
        "ab",
        "00000000000000AB",
        "+0000000000000ab",
        "00000000000000abc",
        "x",
    ] {
        assert!(other.parse::<PinId>().is_err(), "{other}");
    }
}
