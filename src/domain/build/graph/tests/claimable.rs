//! What many workers get, one after the other.

use super::*;

fn of(graph: &Graph, readiness: Readiness, held: &str) -> Claimable {
    let held: Vec<_> = held.split_whitespace().map(key_of).collect();
    graph.claimable(readiness, all, |key| held.contains(key))
}

fn waiting(claimable: &Claimable) -> String {
    let one = |waiting: &Waiting| format!("{}: {}", short(&waiting.target), short(&waiting.on));
    claimable
        .waiting
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn a_target_is_claimed_when_all_below_it_is_ready() {
    let graph = graph("a=built; b<-a; c<-b,a; d; e=error; f<-e,d");
    let now = of(&graph, Readiness::Built, "");
    assert_eq!(line(&now.ready), "b d");
    assert_eq!(waiting(&now), "c: b");
    assert_eq!(blocked(&now.blocked), "f: e");
}

#[test]
fn what_somebody_is_at_is_not_given_again_nor_built_on() {
    let graph = graph("a=built; b<-a; c");
    let now = of(&graph, Readiness::Built, "c");
    assert_eq!(
        (line(&now.ready).as_str(), line(&now.running).as_str()),
        ("b", "c")
    );
    // Somebody is about to verify it; should that fail, nothing stands on it.
    let now = of(&graph, Readiness::Built, "a c");
    assert_eq!(
        (line(&now.ready).as_str(), waiting(&now).as_str()),
        ("", "b: a")
    );
}

#[test]
fn how_far_a_dependency_has_to_be_is_a_choice() {
    use Readiness::*;
    for (state, ready) in [
        ("to_build", &[][..]),
        ("built", &[Built]),
        ("verified", &[Built, Verified]),
        ("published", &[Built, Verified, Published]),
        ("error", &[]),
    ] {
        let graph = graph(&format!("a={state}; b<-a"));
        for readiness in [Built, Verified, Published] {
            let is_ready = of(&graph, readiness, "").ready.contains(&key_of("b"));
            assert_eq!(
                is_ready,
                ready.contains(&readiness),
                "{state} {readiness:?}"
            );
        }
    }
}

#[test]
fn the_longest_chain_goes_first() {
    let graph = graph("a; b; c<-b; d<-c; e; f<-e");
    assert_eq!(line(&of(&graph, Readiness::Built, "").ready), "b e a");
}

#[test]
fn what_waits_for_an_external_image_waits_for_nothing() {
    assert_eq!(
        line(&of(&graph("a<-X"), Readiness::Published, "").ready),
        "a"
    );
}
