//! Sets of targets that make no graph.

use std::time::{Duration, Instant};

use super::*;

fn refusal(text: &str) -> GraphError {
    Graph::new(targets(text)).unwrap_err()
}

#[test]
fn a_cycle_is_spelled_out() {
    // docker-pkg's own error for it could not be reached: it ran out of stack before.
    for (set, path) in [
        ("a<-a", "a@1 -> a@1"),
        ("a<-b; b<-a", "a@1 -> b@1 -> a@1"),
        ("z; b<-c; c<-b,z; a<-b; d<-a", "b@1 -> c@1 -> b@1"),
        ("a; b<-a; c<-b,d; d<-a,c", "c@1 -> d@1 -> c@1"),
        ("a@1<-a", "a@1 -> a@1"),
    ] {
        let GraphError::Cycle(cycle) = refusal(set) else {
            panic!("{set}")
        };
        assert_eq!(cycle.to_string(), path, "{set}");
    }
    let text = refusal("a<-b; b<-a").to_string();
    assert_eq!(
        text,
        "a@1 -> b@1 -> a@1: a target cannot be built on itself"
    );
}

#[test]
fn a_cycle_is_one_whatever_the_states_are() {
    // docker-pkg did not notice one that had a built target in it.
    for state in State::ALL {
        assert!(matches!(
            refusal(&format!("a={state}<-b; b<-a")),
            GraphError::Cycle(_)
        ));
    }
}

#[test]
fn a_target_that_is_there_twice_is_refused_and_another_version_is_not_d2() {
    assert_eq!(refusal("a; b; a"), GraphError::Duplicate(key_of("a")));
    assert_eq!(graph("a@1; a@2").len(), 2);
}

#[test]
fn what_is_not_there_is_refused_unless_it_is_external() {
    // docker-pkg built on as though it were there.
    let refused = refusal("b<-x; c<-b,y,a (>= 2); a@1; a@1.5");
    let GraphError::Unknown(unknown) = &refused else {
        panic!("{refused}")
    };
    let named: Vec<_> = unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        named,
        ["x of b@1", "a of c@1 (there is 1.5, 1)", "y of c@1"]
    );
    assert!(
        refused
            .to_string()
            .ends_with("declare what is built elsewhere as external"),
        "{refused}"
    );
    let order = graph("b<-X,Y; c<-Y").build_order(all);
    assert_eq!(
        order
            .external
            .iter()
            .map(|image| image.as_str())
            .collect::<Vec<_>>(),
        ["X", "Y"]
    );
}

#[test]
fn a_long_list_of_unknown_ones_is_cut() {
    let set: Vec<_> = (0..30).map(|n| format!("a{n}<-x")).collect();
    let text = refusal(&set.join(";")).to_string();
    assert!(text.contains("nor can 20 more"), "{text}");
}

#[test]
fn an_external_dependency_stays_one_where_a_target_is_called_so() {
    let (external, _) = target("a");
    let label = "b:1".parse().unwrap();
    let on_a = Dependency::External("a".parse().unwrap());
    let labels = Labels::default();
    let dependent = Target::new(key_of("b"), label, [on_a].into(), labels).unwrap();
    let set = [(dependent, State::ToBuild), (external, State::Error)];
    let order = Graph::new(set).unwrap().build_order(all);
    assert_eq!((waves(&order).as_str(), order.blocked.len()), ("b", 0));
}

#[test]
fn a_dependency_is_on_the_newest_version_that_suits_it() {
    let versions = "a@1; a@1.5; a@1.10; a@2; ";
    for (dependency, found) in [
        ("a", "a@2"),
        ("a (<< 2)", "a@1.10"),
        ("a (<= 1.5)", "a@1.5"),
        ("a (= 1)", "a"),
        ("a (>= 1.5)", "a@2"),
        ("a (>> 1),a (<< 1.10)", "a@1.5"),
        ("a@1.10", "a@1.10"),
    ] {
        let graph = graph(&format!("{versions} b<-{dependency}"));
        let (_, _, needs) = graph.targets().last().unwrap();
        assert_eq!(line(needs), found, "{dependency}");
    }
    for none in [
        "a (>> 2)",
        "a (<< 1)",
        "a (= 1.6)",
        "a (>> 1.5),a (<< 1.10)",
    ] {
        assert!(
            matches!(
                refusal(&format!("{versions} b<-{none}")),
                GraphError::Unknown(_)
            ),
            "{none}"
        );
    }
    assert_eq!(
        graph(versions.trim_end_matches("; "))
            .resolve(&"a".parse().unwrap())
            .unwrap()
            .key(),
        &key_of("a@2")
    );
}

#[test]
fn what_is_too_large_is_refused() {
    let needs: Vec<_> = (0..1000).map(|n| format!("d{n}")).collect();
    let needs: BTreeSet<Dependency> = needs.iter().map(|need| need.parse().unwrap()).collect();
    let one = |n: usize| {
        let (name, label) = (key_of(&format!("t{n}")), format!("t{n}:1").parse().unwrap());
        (
            Target::new(name, label, needs.clone(), Labels::default()).unwrap(),
            State::ToBuild,
        )
    };
    let refused = Graph::new((0..501).map(one)).unwrap_err();
    let (what, found) = ("dependencies", 501_000);
    assert_eq!(
        refused,
        GraphError::TooLarge {
            what,
            found,
            limit: Graph::MAX_DEPENDENCIES
        }
    );
}

/// `count` targets, each on the one before it, and the first on `first`.
fn chain(count: usize, first: &str) -> Vec<(Target, State)> {
    let one = |n: usize| match n {
        0 => target(&format!("t0<-{first}")),
        n => target(&format!("t{n}<-t{}", n - 1)),
    };
    (0..count).map(one).collect()
}

#[test]
fn no_chain_is_too_deep() {
    // docker-pkg gave up at about 1,000.
    const DEPTH: usize = Graph::MAX_TARGETS;
    let graph = Graph::new(chain(DEPTH, "")).unwrap();
    let order = graph.build_order(all);
    assert_eq!((order.waves.len(), order.waves[7].len()), (DEPTH, 1));
    assert_eq!(graph.prune_order(all)[0], key_of("t49999"));
    assert_eq!(
        graph
            .dependents(Span::Transitive, false, globbed("t0:*"))
            .len(),
        DEPTH - 1
    );
    let claimable = graph.claimable(works(&[Work::Build]), all);
    assert_eq!(claimable.ready[0].target, key_of("t0"));
    assert_eq!(claimable.waiting.len(), DEPTH - 1);
    let Err(GraphError::Cycle(cycle)) = Graph::new(chain(DEPTH, "t49999")) else {
        panic!("a cycle")
    };
    assert_eq!(cycle.path().len(), DEPTH);
    assert!(cycle.to_string().len() < 1000, "{cycle}");
    assert!(cycle.to_string().contains("... 49980 more ..."), "{cycle}");
}

#[test]
fn ten_thousand_targets_with_fifty_thousand_dependencies_are_planned_at_once_d5() {
    // docker-pkg looked each name up in a list, within a list.
    let one = |n: usize| {
        let below = [2, 3, 5, 7, 11].map(|divisor| format!("t{}", n * (divisor - 1) / divisor));
        let needs: BTreeSet<_> = below
            .iter()
            .filter(|below| **below != format!("t{n}"))
            .cloned()
            .collect();
        target(&format!(
            "t{n}<-{}",
            needs.into_iter().collect::<Vec<_>>().join(",")
        ))
    };
    let set: Vec<_> = (0..10_000).map(one).collect();
    let edges: usize = set
        .iter()
        .map(|(target, _)| target.dependencies().len())
        .sum();
    assert!(edges > 49_000, "{edges}");
    let start = Instant::now();
    let graph = Graph::new(set).unwrap();
    assert_eq!(
        graph
            .build_order(all)
            .waves
            .iter()
            .map(Vec::len)
            .sum::<usize>(),
        10_000
    );
    assert_eq!(graph.prune_order(all).len(), 10_000);
    assert_eq!(
        graph
            .dependents(Span::Transitive, true, globbed("t1:*"))
            .len(),
        9_999
    );
    // The goal, 100 ms, is that of an optimised build.
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}
