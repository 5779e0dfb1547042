//! What many workers get, one after the other.

use super::*;

/// Who holds what, what is elsewhere, and what has to wait.
#[derive(Default)]
struct Place<'a> {
    held: &'a str,
    elsewhere: &'a str,
    put_off: &'a str,
}

impl Place<'_> {
    fn of(&self, graph: &Graph, all_works: &[Work]) -> Claimable {
        let targets = graph.targets();
        let mut targets: Vec<_> = targets
            .map(|(target, state, _)| (target.key(), state))
            .collect();
        targets.sort();
        let named = |list: &str, n: usize| {
            list.split_whitespace()
                .any(|one| key_of(one) == *targets[n].0)
        };
        let standing = |n: usize| {
            let standing = TargetStanding::from(targets[n].1);
            TargetStanding {
                is_here: standing.is_here && !named(self.elsewhere, n),
                is_held: named(self.held, n),
                is_put_off: named(self.put_off, n),
                ..standing
            }
        };
        graph.standing(standing).claimable(works(all_works), all)
    }
}

fn of(graph: &Graph, all_works: &[Work], held: &str) -> Claimable {
    let place = Place {
        held,
        ..Place::default()
    };
    place.of(graph, all_works)
}

fn ready(claimable: &Claimable) -> String {
    line(claimable.ready.iter().map(|ready| &ready.target))
}

fn waiting(claimable: &Claimable) -> String {
    let one = |waiting: &Waiting| match &waiting.on {
        Some(on) => format!("{}: {}", short(&waiting.target), short(on)),
        None => short(&waiting.target),
    };
    let all = claimable.waiting.iter().map(one);
    all.collect::<Vec<_>>().join(", ")
}

const BUILD: &[Work] = &[Work::Build];
const TEST: &[Work] = &[Work::Build, Work::Verify];

#[test]
fn a_target_is_claimed_when_all_below_it_is_ready() {
    let graph = graph("a=built; b<-a; c<-b,a; d; e=error; f<-e,d");
    let now = of(&graph, BUILD, "");
    assert_eq!(ready(&now), "b d");
    assert_eq!(waiting(&now), "c: b");
    assert_eq!(blocked(&now.blocked), "e: e, f: e");
}

#[test]
fn what_somebody_is_at_is_not_given_again_nor_built_on() {
    let graph = graph("a=built; b<-a; c");
    let now = of(&graph, BUILD, "c");
    assert_eq!(
        (ready(&now).as_str(), line(&now.running).as_str()),
        ("b", "c")
    );
    // Somebody is about to verify it; should that fail, nothing stands on it.
    let now = of(&graph, BUILD, "a c");
    assert_eq!((ready(&now).as_str(), waiting(&now).as_str()), ("", "b: a"));
    assert_eq!(
        line(&now.running),
        "a c",
        "for it there is something to wait"
    );
}

#[test]
fn a_dependency_has_to_be_as_far_as_the_worker_takes_it() {
    use Work::{Build, Publish, Verify};
    for (state, works, is_ready) in [
        ("to_build", BUILD, false),
        ("built", BUILD, true),
        ("built", TEST, false),
        ("verified", TEST, true),
        ("verified", &[Build, Verify, Publish], true),
        ("published", &[Build, Verify, Publish], true),
        ("error", BUILD, false),
    ] {
        let graph = graph(&format!("a={state}; b<-a"));
        let now = of(&graph, works, "");
        let found = now.ready.iter().any(|ready| ready.target == key_of("b"));
        assert_eq!(found, is_ready, "{state} {works:?}");
    }
}

#[test]
fn each_worker_gets_the_step_that_is_due() {
    use Work::{Build, Publish, Verify};
    let graph = graph("a; b=built; c=verified; d=published; e=error");
    for (works, due) in [
        (&[Build][..], "a:Build"),
        (&[Verify], "b:Verify"),
        (&[Publish], "c:Publish"),
        (&[Build, Verify], "a:Build b:Verify"),
        (&[Build, Verify, Publish], "a:Build b:Verify c:Publish"),
        (&[Build, Publish], "a:Build c:Publish"),
    ] {
        let now = of(&graph, works, "");
        let found = now.ready.iter();
        let found = found.map(|ready| format!("{}:{:?}", short(&ready.target), ready.work));
        assert_eq!(found.collect::<Vec<_>>().join(" "), due, "{works:?}");
    }
}

#[test]
fn what_was_left_half_way_elsewhere_is_built_again() {
    let graph = graph("a=built; b=verified; c=built");
    let elsewhere = Place {
        elsewhere: "a b c",
        held: "c",
        ..Place::default()
    };
    let now = elsewhere.of(&graph, &Work::ALL);
    assert_eq!(ready(&now), "a b");
    assert!(now.ready.iter().all(|ready| ready.work == Work::Build));
    assert_eq!(line(&now.running), "c", "its worker is at it");
    // Who does not build waits for who does; what is finished is not built again.
    let now = elsewhere.of(&graph, &[Work::Verify]);
    assert_eq!((ready(&now).as_str(), waiting(&now).as_str()), ("", "a"));
    assert_eq!(ready(&elsewhere.of(&graph, BUILD)), "");
}

#[test]
fn what_is_built_elsewhere_is_built_upon_there_or_from_the_registry() {
    let there = graph("a=built; b<-a; c=published; d<-c");
    let elsewhere = Place {
        elsewhere: "a c",
        ..Place::default()
    };
    let now = elsewhere.of(&there, BUILD);
    assert_eq!(
        (ready(&now).as_str(), waiting(&now).as_str()),
        ("d", "b: a")
    );
}

#[test]
fn nothing_is_published_before_what_it_is_built_on() {
    let graph = graph("a=verified; b=verified<-a; c=verified");
    let now = of(&graph, &[Work::Publish], "");
    assert_eq!(
        (ready(&now).as_str(), waiting(&now).as_str()),
        ("a c", "b: a")
    );
}

#[test]
fn what_has_to_wait_for_its_time_is_passed_over() {
    let graph = graph("a; b<-a; c");
    let later = Place {
        put_off: "a",
        ..Place::default()
    };
    let now = later.of(&graph, BUILD);
    assert_eq!(
        (ready(&now).as_str(), waiting(&now).as_str()),
        ("c", "a, b: a")
    );
}

#[test]
fn the_longest_chain_goes_first() {
    let graph = graph("a; b; c<-b; d<-c; e; f<-e");
    assert_eq!(ready(&of(&graph, BUILD, "")), "b e a");
}

#[test]
fn what_waits_for_an_external_image_waits_for_nothing() {
    assert_eq!(ready(&of(&graph("a<-X"), &Work::ALL, "")), "a");
}

#[test]
fn nothing_is_left_of_what_is_finished() {
    let done = graph("a=verified; b=published<-a");
    assert_eq!(of(&done, TEST, ""), Claimable::default());
}

#[test]
fn who_does_nothing_is_refused() {
    assert_eq!(WorkSet::new([]).unwrap_err().field(), "work");
}
