//! The orders of docker-pkg's cases, and of those it got wrong.

use super::*;

const CASE: &str = "a; b<-a; c<-b; d<-a,c";

#[test]
fn what_is_needed_comes_first() {
    let graph = graph(CASE);
    assert_eq!(waves(&graph.build_order(all)), "a | b | c | d");
    assert_eq!(line(&graph.prune_order(all)), "d c b a");
}

#[test]
fn what_does_not_wait_for_each_other_is_one_wave() {
    let order = graph("e; d<-b,c; c<-a; b<-a; a; f<-e").build_order(all);
    assert_eq!(waves(&order), "a e | b c f | d");
}

#[test]
fn dependencies_come_along_though_they_do_not_match() {
    let graph = graph(&format!("{CASE}; e"));
    assert_eq!(waves(&graph.build_order(globbed("e*"))), "e");
    assert_eq!(waves(&graph.build_order(globbed("c*"))), "a | b | c");
    assert_eq!(waves(&graph.build_order(globbed("x*"))), "");
}

#[test]
fn what_is_there_is_not_built_and_nothing_below_it() {
    for there in ["built", "verified", "published"] {
        let order = graph(&format!("a; b={there}<-a; c<-b; d<-c")).build_order(globbed("d:*"));
        assert_eq!(
            (waves(&order).as_str(), line(&order.existing).as_str()),
            ("c | d", "b")
        );
    }
}

#[test]
fn what_stands_on_a_failure_is_blocked() {
    // docker-pkg built it.
    let graph = graph("a=error; b<-a; c<-b; d<-c,e; e; f<-e; g=built<-a; h<-g");
    let order = graph.build_order(all);
    assert_eq!(waves(&order), "e h | f");
    assert_eq!(
        blocked(&order.blocked),
        "b: a, c: a through b, d: a through c"
    );
    assert_eq!(line(&order.existing), "g");
}

#[test]
fn only_what_is_asked_for_is_told_to_be_blocked() {
    let order = graph("a=error; b<-a; c<-b; e; f<-e").build_order(globbed("f:*"));
    assert_eq!((waves(&order).as_str(), order.blocked.len()), ("e | f", 0));
}

#[test]
fn what_is_blocked_needs_nothing_from_elsewhere() {
    let order = graph("a=error; b<-a,X; c<-Y").build_order(all);
    assert_eq!(
        order
            .external
            .iter()
            .map(|image| image.as_str())
            .collect::<Vec<_>>(),
        ["Y"]
    );
}

#[test]
fn pruning_keeps_the_order_through_what_is_not_selected() {
    // docker-pkg gave both orders, one a run.
    let graph = graph("a2; b1<-a2; d2<-b1");
    assert_eq!(line(&graph.prune_order(globbed("?2:*"))), "d2 a2");
}

#[test]
fn pruning_takes_every_state_and_changes_none() {
    // docker-pkg set all states to do it.
    let graph = graph("a=published; b=error<-a; c=built<-b; d=verified<-c");
    assert_eq!(line(&graph.prune_order(all)), "d c b a");
    let states = graph.targets().map(|(_, state, _)| state.name());
    assert_eq!(
        states.collect::<Vec<_>>(),
        ["published", "error", "built", "verified"]
    );
    assert_eq!(waves(&graph.build_order(all)), "");
}

#[test]
fn an_update_is_of_all_that_is_built_on_it() {
    let graph = graph("a; b<-a; c<-b; d<-a,c,f; f");
    let dependents =
        |span, is_with_self, glob| line(&graph.dependents(span, is_with_self, globbed(glob)));
    assert_eq!(dependents(Span::Transitive, true, "*c:*"), "c d");
    assert_eq!(dependents(Span::Transitive, false, "*c:*"), "d");
    assert_eq!(dependents(Span::Transitive, true, "a:*"), "a b c d");
    assert_eq!(dependents(Span::Direct, false, "a:*"), "b d");
    assert_eq!(dependents(Span::Direct, true, "a:*"), "a b d");
    assert_eq!(dependents(Span::Transitive, false, "[ab]:*"), "b c d");
    assert_eq!(dependents(Span::Transitive, false, "d:*"), "");
}

#[test]
fn one_version_of_a_name_may_fail_without_the_other() {
    let order = graph("a@1=error; a@2; b<-a (= 1); c<-a; d<-a (>= 2)").build_order(all);
    assert_eq!(waves(&order), "a@2 | c d");
    assert_eq!(blocked(&order.blocked), "b: a");
}
