//! Declaring, forgetting, bumping.

use super::*;
use crate::domain::build::{Graph, GraphError, NoBump, Source};

on_every_engine![
    targets_are_declared_all_or_none,
    what_is_declared_again_keeps_what_became_of_it,
    a_graph_that_has_changed_is_not_overwritten,
    what_another_source_declared_is_not_replaced,
    a_target_goes_only_when_nobody_is_built_on_it,
    a_bump_declares_new_versions_of_all_or_of_none,
    a_namespace_holds_its_targets,
];

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
