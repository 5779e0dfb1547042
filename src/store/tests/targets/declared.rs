//! Declaring, forgetting, listing, bumping.

use super::*;
use crate::domain::build::{Graph, GraphError, NoBump, Source};

on_every_engine![
    targets_are_declared_all_or_none,
    what_is_declared_again_keeps_what_became_of_it,
    a_graph_that_has_changed_is_not_overwritten,
    what_another_source_declared_is_not_replaced,
    a_target_goes_only_when_nobody_is_built_on_it,
    targets_are_listed_by_name_and_age_of_the_version,
    names_stand_for_the_newest_version_that_suits,
    orders_are_those_of_the_graph_as_it_stands,
    a_bump_declares_new_versions_of_all_or_of_none,
    a_namespace_holds_its_targets,
    a_graph_is_as_it_is_after_any_other_write,
];

#[tokio::test]
async fn a_name_of_many_versions_hides_none_behind_it() {
    let on = On::memory().await;
    let many: Vec<String> = (1..=10_400).map(|n| format!("aa@1.{n}")).collect();
    on.declare(&format!("{}; bb; cc", many.join("; "))).await;
    on.declare("zz; zy").await;
    on.happen("bb", EventKind::BuildFailed).await.unwrap();
    let failed = TargetSelector {
        states: [State::Error].into(),
        ..all()
    };
    assert_eq!(on.selected(&failed).await.len(), 1);
    let mut page = PageRequest {
        size: 1000,
        token: String::new(),
    };
    let mut found = Vec::new();
    loop {
        let targets = on.store.build_targets();
        let next = targets.list(&ns(), &all(), &page).await.unwrap();
        found.extend(
            next.items
                .iter()
                .map(|entry| entry.target.key().to_string()),
        );
        page.token = next.next_token;
        if page.token.is_empty() {
            break;
        }
    }
    let expected = many.into_iter();
    let expected = expected.chain(["bb@1", "cc@1", "zy@1", "zz@1"].map(String::from));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

async fn refused(on: &On, text: &str) -> GraphError {
    let before = on.store.revision().await.unwrap();
    let Err(Error::Graph(cause)) = on.apply(text).await else {
        panic!("{text} makes a graph")
    };
    assert_eq!(on.store.revision().await.unwrap(), before, "{text}");
    *cause
}

async fn targets_are_declared_all_or_none(on: &On) {
    let applied = on.declare("b<-a; a; c@2<-b,X").await;
    assert_eq!(
        (applied.created, applied.updated, applied.deleted),
        (3, 0, 0)
    );
    assert_eq!(on.keys().await, "a b c@2");
    assert!(matches!(
        refused(on, "d; e; d").await,
        GraphError::Duplicate(_)
    ));
    let unknown = refused(on, "d; e<-x").await;
    assert!(
        unknown.to_string().starts_with("x of e@1 can not be found"),
        "{unknown}"
    );
    assert!(matches!(
        refused(on, "d; e<-c (<< 2)").await,
        GraphError::Unknown(_)
    ));
    // docker-pkg went round until its stack was full.
    let cycle = refused(on, "a<-c").await;
    assert_eq!(
        cycle.to_string(),
        "a@1 -> c@2 -> b@1 -> a@1: a target cannot be built on itself"
    );
    assert_eq!(
        refused(on, "d<-d").await.to_string(),
        "d@1 -> d@1: a target cannot be built on itself"
    );
    assert_eq!(on.keys().await, "a b c@2");
}

async fn what_is_declared_again_keeps_what_became_of_it(on: &On) {
    on.declare("a; b<-a").await;
    on.bring("a", State::Built).await;
    on.bring("b", State::Error).await;
    let again = on.declare("b<-a; a").await;
    assert_eq!((again.unchanged, again.updated), (2, 0));
    let before = on.entry("b").await;
    let changed = on.declare("b<-a,X").await;
    assert_eq!((changed.unchanged, changed.updated), (0, 1));
    assert_eq!(on.entry("b").await.progress, before.progress);
    let [target] = &targets("a")[..] else {
        panic!()
    };
    let moved = Target::new(
        target.key().clone(),
        "other.example/a:1".parse().unwrap(),
        Default::default(),
        Labels::default(),
    );
    let request = ApplyTargets::new(vec![moved.unwrap()]);
    on.store
        .build_targets()
        .apply(&ns(), &request)
        .await
        .unwrap();
    let progress = on.entry("a").await.progress;
    assert_eq!((progress.state, progress.attempts), (State::ToBuild, 1));
    assert_eq!(progress.digest, None);
}

async fn a_graph_that_has_changed_is_not_overwritten(on: &On) {
    let request = |text: &str, expected: Revision| ApplyTargets {
        if_graph_revision: Some(expected),
        ..ApplyTargets::new(targets(text))
    };
    let targets = on.store.build_targets();
    let first = targets
        .apply(&ns(), &request("a", Revision::ZERO))
        .await
        .unwrap();
    assert_eq!(first.value.graph_revision, first.revision);
    let late = targets.apply(&ns(), &request("b", Revision::ZERO)).await;
    assert!(matches!(late, Err(Error::GraphChanged { .. })));
    on.bring("a", State::Built).await;
    let known = first.value.graph_revision;
    let second = targets.apply(&ns(), &request("b", known)).await.unwrap();
    assert!(
        second.value.graph_revision > known,
        "states are not the graph"
    );
    let again = targets
        .apply(&ns(), &request("b", second.revision))
        .await
        .unwrap();
    assert_eq!(again.value.graph_revision, second.revision);
}

async fn what_another_source_declared_is_not_replaced(on: &On) {
    let request = |text: &str, source: &str| ApplyTargets {
        source: source.parse().unwrap(),
        replace_all: true,
        ..ApplyTargets::new(targets(text))
    };
    let targets = on.store.build_targets();
    targets
        .apply(&ns(), &request("a; b<-a", "one"))
        .await
        .unwrap();
    targets
        .apply(&ns(), &request("c; d<-a", "two"))
        .await
        .unwrap();
    assert_eq!(on.keys().await, "a b c d");
    let replaced = targets.apply(&ns(), &request("a; e", "one")).await.unwrap();
    assert_eq!((replaced.value.deleted, replaced.value.created), (1, 1));
    assert_eq!(on.keys().await, "a c d e");
    let missed = targets.apply(&ns(), &request("e", "one")).await;
    assert!(matches!(missed, Err(Error::Graph(_))), "d is built on a");
    let taken = targets.apply(&ns(), &request("c; d<-a", "one")).await;
    assert!(taken.is_err());
    targets.apply(&ns(), &request("a; c", "one")).await.unwrap();
    assert_eq!(on.entry("c").await.source, "one".parse::<Source>().unwrap());
    let left = targets.apply(&ns(), &request("", "two")).await.unwrap();
    assert_eq!(left.value.deleted, 1);
    assert_eq!(on.keys().await, "a c");
    let none = targets.apply(&ns(), &request("", "one")).await.unwrap();
    assert_eq!((none.value.deleted, on.keys().await.as_str()), (2, ""));
}

async fn a_target_goes_only_when_nobody_is_built_on_it(on: &On) {
    on.declare("a; a@2; b<-a; c<-a (= 1)").await;
    let delete = async |key: &str| {
        let request = DeleteTarget::new(key_of(key));
        on.store.build_targets().delete(&ns(), &request).await
    };
    // Without it b would be built on the older one, and nobody would have said so.
    let refused = delete("a@2").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "build target a@2 in namespace ns is what others are built on: b@1"
    );
    assert!(matches!(
        delete("a").await,
        Err(Error::HasDependents { .. })
    ));
    assert!(matches!(delete("x").await, Err(Error::NotFound(_))));
    let gone = delete("b").await.unwrap().value;
    assert_eq!(short(gone.target.key()), "b");
    delete("a@2").await.unwrap();
    assert_eq!(on.keys().await, "a c");
    let many: Vec<_> = (0..12).map(|n| format!("d{n}<-a")).collect();
    on.declare(&many.join(";")).await;
    let Err(Error::HasDependents {
        dependents,
        has_more,
        ..
    }) = delete("a").await
    else {
        panic!("others are built on it")
    };
    assert_eq!(
        (dependents.len(), has_more),
        (BuildTargets::MAX_NAMED, true)
    );
}

async fn targets_are_listed_by_name_and_age_of_the_version(on: &On) {
    on.declare("b@1.10; b@1.9; b@1.2; a-b; a@2; a@10; a.x; c")
        .await;
    assert_eq!(on.keys().await, "a@2 a@10 a-b a.x b@1.2 b@1.9 b@1.10 c");
    on.bring("c", State::Error).await;
    on.bring("b@1.9", State::Built).await;
    let listed = async |selector: &TargetSelector| {
        let found = on.selected(selector).await;
        line(found.iter().map(|entry| entry.target.key()))
    };
    assert_eq!(listed(&globbed("b:*")).await, "b@1.2 b@1.9 b@1.10");
    let states = [State::Error, State::Built].into();
    let selector = TargetSelector { states, ..all() };
    assert_eq!(listed(&selector).await, "b@1.9 c");
    let page = PageRequest {
        size: 1,
        token: String::new(),
    };
    let targets = on.store.build_targets();
    let token = targets.list(&ns(), &all(), &page).await.unwrap().next_token;
    let elsewhere = targets
        .list(&ns(), &selector, &PageRequest { size: 1, token })
        .await;
    assert!(
        matches!(elsewhere, Err(Error::Invalid(_))),
        "a token is of its request"
    );
}

async fn names_stand_for_the_newest_version_that_suits(on: &On) {
    on.declare("a@1.9; a@1.10; a@2; b; a-b@7").await;
    let resolve = async |names: &[&str]| {
        let names: Vec<Dependency> = names.iter().map(|name| name.parse().unwrap()).collect();
        on.store.build_targets().resolve(&ns(), &names).await
    };
    let found = resolve(&["b", "a", "a (<< 2)", "a@1.9", "a"])
        .await
        .unwrap();
    let found: Vec<_> = found
        .value
        .iter()
        .map(|label| label.version().to_owned())
        .collect();
    assert_eq!(found, ["1", "2", "1.10", "1.9", "2"]);
    // docker-pkg took the colon of the port for that of the tag, and found nothing.
    let label = &resolve(&["b"]).await.unwrap().value[0];
    assert_eq!(label.as_str(), "reg.example:5000/b:1");
    for unknown in ["c", "a (>> 2)"] {
        let refused = resolve(&["b", unknown]).await;
        assert!(matches!(refused, Err(Error::NotFound(_))), "{unknown}");
    }
    assert!(matches!(resolve(&[]).await, Err(Error::Invalid(_))));
}

async fn orders_are_those_of_the_graph_as_it_stands(on: &On) {
    on.declare("a; b<-a; c<-b; d<-a,c; e<-X").await;
    let targets = on.store.build_targets();
    let waves = async |selector: &TargetSelector| {
        let order = targets
            .build_order(&ns(), selector)
            .await
            .unwrap()
            .value
            .value;
        let waves: Vec<_> = order.waves.iter().map(line).collect();
        waves.join(" | ")
    };
    assert_eq!(waves(&all()).await, "a e | b | c | d");
    assert_eq!(waves(&globbed("c:*")).await, "a | b | c");
    on.bring("a", State::Built).await;
    assert_eq!(waves(&all()).await, "b e | c | d");
    on.bring("b", State::Error).await;
    let order = targets
        .build_order(&ns(), &all())
        .await
        .unwrap()
        .value
        .value;
    assert_eq!((order.waves.len(), order.blocked.len()), (1, 2));
    let pruned = targets
        .prune_order(&ns(), &globbed("[abd]:*"))
        .await
        .unwrap();
    assert_eq!(line(&pruned.value.value), "d b a");
    let of = |of| async move {
        let targets = on.store.build_targets();
        targets
            .dependents(&ns(), &of, Span::Transitive, false)
            .await
    };
    let above = of(Dependents::Of(key_of("b"))).await.unwrap();
    assert_eq!(line(&above.value.value), "c d");
    let above = of(Dependents::OfSelected(globbed("?:*"))).await.unwrap();
    assert_eq!(line(&above.value.value), "b c d");
    let unknown = of(Dependents::Of(key_of("x"))).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))));
    // docker-pkg set states to find an order in which to prune.
    assert_eq!(on.entry("b").await.progress.state, State::Error);
}

async fn a_bump_declares_new_versions_of_all_or_of_none(on: &On) {
    on.declare("a@0.1; b@2-s9<-a; c@3<-b,X; d@4<-a (= 0.1); e")
        .await;
    on.bring("b@2-s9", State::Built).await;
    let targets = on.store.build_targets();
    let rehearsed = BumpTarget {
        validate_only: true,
        ..BumpTarget::new(key_of("a@0.1"), "CVE-1")
    };
    let before = on.store.revision().await.unwrap();
    let told = targets.bump(&ns(), &rehearsed).await.unwrap().value;
    assert_eq!(on.store.revision().await.unwrap(), before);
    let request = BumpTarget::new(key_of("a@0.1"), "CVE-1");
    let done = targets.bump(&ns(), &request).await.unwrap();
    assert_eq!(done.value.bumped, told.bumped);
    assert_eq!(done.value.graph_revision, done.revision);
    let told: Vec<_> = done.value.bumped.iter().zip(done.value.reasons()).collect();
    let told: Vec<_> = told
        .iter()
        .map(|(one, reason)| (one.label.as_str(), reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("reg.example:5000/a:0.1-s1", "CVE-1"),
            (
                "reg.example:5000/b:2-s10",
                "Built again on a:0.1-s1:\nCVE-1"
            ),
            ("reg.example:5000/c:3-s1", "Built again on b:2-s10:\nCVE-1"),
        ]
    );
    assert_eq!(
        on.keys().await,
        "a@0.1 a@0.1-s1 b@2-s9 b@2-s10 c@3 c@3-s1 d@4 e"
    );
    assert_eq!(on.entry("b@2-s9").await.progress.state, State::Built);
    assert_eq!(on.entry("b@2-s10").await.progress.state, State::ToBuild);
    on.declare("v@v1<-e").await;
    let before = on.store.revision().await.unwrap();
    let request = BumpTarget::new(key_of("e"), "CVE-2");
    let Err(Error::NotBumpable(refused)) = targets.bump(&ns(), &request).await else {
        panic!("no version follows v1")
    };
    assert!(matches!(refused.refused[..], [(_, NoBump::Version(_))]));
    let unknown = BumpTarget::new(key_of("x"), "CVE-3");
    let unknown = targets.bump(&ns(), &unknown).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))));
    let long = "x".repeat(BuildTargets::MAX_REASON + 1);
    for reason in ["", &long, "CVE\0-4"] {
        let refused = targets
            .bump(&ns(), &BumpTarget::new(key_of("e"), reason))
            .await;
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }
    assert_eq!(on.store.revision().await.unwrap(), before);
}

async fn a_namespace_holds_its_targets(on: &On) {
    on.declare("a").await;
    let mut request = DeleteNamespace {
        name: ns(),
        force: false,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    let refused = on.store.namespaces().delete(&request).await;
    assert!(matches!(refused, Err(Error::NotEmpty { contents, .. }) if contents.targets == 1));
    request.force = true;
    on.store.namespaces().delete(&request).await.unwrap();
    assert_eq!(on.keys().await, "");
    let applied = on.declare("b").await;
    assert_eq!((applied.created, on.keys().await.as_str()), (1, "b"));
}

async fn a_graph_is_as_it_is_after_any_other_write(on: &On) {
    let targets = on.store.build_targets();
    let waves = async || {
        let order = targets
            .build_order(&ns(), &all())
            .await
            .unwrap()
            .value
            .value;
        order.waves.len()
    };
    assert_eq!(waves().await, 0);
    on.declare("a; b<-a").await;
    assert_eq!(waves().await, 2);
    on.bring("a", State::Built).await;
    assert_eq!(waves().await, 1);
    on.happen("a", EventKind::Lost).await.unwrap();
    assert_eq!(waves().await, 2);
    on.declare("b; c<-b").await;
    assert_eq!(waves().await, 2);
    on.declare("a<-c").await;
    assert_eq!(waves().await, 3);
}

#[tokio::test]
async fn as_many_as_there_may_be_are_declared_and_no_more() {
    let on = On::memory().await;
    let wide = |count: usize| {
        let one = |n: usize| declared(&format!("t{n}"));
        ApplyTargets::new((0..count).map(one).collect())
    };
    let targets = on.store.build_targets();
    let many = targets.apply(&ns(), &wide(Graph::MAX_TARGETS + 1)).await;
    assert!(
        matches!(many, Err(Error::Graph(cause)) if matches!(*cause, GraphError::TooLarge { .. }))
    );
    assert_eq!(on.store.revision().await.unwrap(), Revision(1));
    let all = targets
        .apply(&ns(), &wide(Graph::MAX_TARGETS))
        .await
        .unwrap();
    assert_eq!(all.value.created as usize, Graph::MAX_TARGETS);
    let more = on.apply("one-more").await;
    assert!(matches!(more, Err(Error::Graph(_))));
}
