//! Watches of build targets.

use std::collections::BTreeSet;

use futures::StreamExt;

use super::*;
use crate::domain::Labels;
use crate::domain::build::{Dependency, Event, Label, State, Target, TargetKey, TargetSelector};
use crate::store::{
    ApplyTargets, TargetEvent, TargetWatch, TransitionTarget, WatchMessage, WatchStart,
    WatchTargets,
};

fn key(text: &str) -> TargetKey {
    text.parse().unwrap()
}

fn target(text: &str, on: &[&str]) -> Target {
    let key = key(text);
    let label = Label::new(None, None, &key).unwrap();
    let on: BTreeSet<Dependency> = on.iter().map(|name| name.parse().unwrap()).collect();
    Target::new(key, label, on, Labels::default()).unwrap()
}

async fn apply(store: &Store, targets: Vec<Target>, replace_all: bool) -> Revision {
    let apply = ApplyTargets {
        replace_all,
        ..ApplyTargets::new(targets)
    };
    let applied = store.build_targets().apply(&namespace("n"), &apply).await;
    applied.unwrap().revision
}

async fn say(store: &Store, target: &str, event: Event) -> Revision {
    let transition = TransitionTarget::new(key(target), event);
    let namespace = namespace("n");
    let targets = store.build_targets();
    let said = targets.transition(&namespace, &transition).await;
    said.unwrap().revision
}

fn built() -> Event {
    Event::BuildOk {
        digest: None,
        location: "here".parse().unwrap(),
    }
}

async fn watch(
    store: &Store,
    glob: Option<&str>,
    states: &[State],
    start: WatchStart,
) -> TargetWatch {
    let selector = TargetSelector {
        glob: glob.map(|glob| glob.parse().unwrap()),
        states: states.iter().copied().collect(),
    };
    let watch = WatchTargets {
        namespace: namespace("n"),
        selector,
        start,
    };
    store.build_targets().watch(watch).await.unwrap()
}

/// What the next message that is no progress tells, in words.
async fn next(watch: &mut TargetWatch) -> String {
    loop {
        let message = watch.next().await.unwrap().unwrap();
        match message {
            WatchMessage::Progress(_) => {}
            WatchMessage::Initial(targets) => {
                let named = targets
                    .iter()
                    .map(|entry| format!("{} {}", entry.target.key(), entry.progress.state));
                return format!("initial {}", named.collect::<Vec<_>>().join(", "));
            }
            WatchMessage::InitialEnd(revision) => return format!("end {revision}"),
            WatchMessage::Changes(changes) => {
                let told = changes.events.iter().map(told);
                let told = told.collect::<Vec<_>>().join(", ");
                return format!("{}: {told}", changes.revision);
            }
        }
    }
}

fn told(event: &TargetEvent) -> String {
    match event {
        TargetEvent::Put { target, previous } => {
            let before = previous.map_or("nothing".to_owned(), |state| state.to_string());
            let now = target.progress.state;
            format!("{} {before} -> {now}", target.target.key())
        }
        TargetEvent::Deleted { target, previous } => format!("{target} {previous} -> nothing"),
        TargetEvent::NamespaceRemoved => "all gone".to_owned(),
    }
}

async fn who_watches_learns_each_change_once_and_from_any_revision_again(on: &On) {
    let store = &on.store;
    let mut all = watch(store, None, &[], WatchStart::Now).await;
    let made = apply(
        store,
        vec![target("a@1", &[]), target("b@1", &["a"])],
        false,
    )
    .await;
    let done = say(store, "a@1", built()).await;
    // What happens to images is no matter of this watch.
    on.put("n/a@1", "one").await;
    let gone = apply(store, vec![target("a@1", &[])], true).await;
    let expected = [
        format!("{made}: a@1 nothing -> to_build, b@1 nothing -> to_build"),
        format!("{done}: a@1 to_build -> built"),
        format!("{gone}: b@1 to_build -> nothing"),
    ];
    for expected in &expected {
        assert_eq!(&next(&mut all).await, expected);
    }
    for (after, rest) in [(made, 1), (done, 2)] {
        let mut again = watch(store, None, &[], WatchStart::After(after)).await;
        for expected in &expected[rest..] {
            assert_eq!(&next(&mut again).await, expected);
        }
    }
    let mut initial = watch(store, None, &[], WatchStart::Initial).await;
    assert_eq!(next(&mut initial).await, "initial a@1 built");
    assert!(next(&mut initial).await.starts_with("end "));
    let lost = say(store, "a@1", Event::Lost).await;
    assert_eq!(
        next(&mut initial).await,
        format!("{lost}: a@1 built -> to_build")
    );
}

async fn a_change_is_told_when_the_target_was_or_is_selected(on: &On) {
    let store = &on.store;
    let mut of_b = watch(store, Some("b:*"), &[], WatchStart::Now).await;
    let mut built_ones = watch(store, None, &[State::Built], WatchStart::Now).await;
    let made = apply(
        store,
        vec![target("a@1", &[]), target("b@1", &["a"])],
        false,
    )
    .await;
    let a = say(store, "a@1", built()).await;
    let verified = say(store, "a@1", Event::VerifyOk).await;
    let b = say(store, "b@1", built()).await;
    assert_eq!(
        next(&mut of_b).await,
        format!("{made}: b@1 nothing -> to_build")
    );
    assert_eq!(next(&mut of_b).await, format!("{b}: b@1 to_build -> built"));
    assert_eq!(
        next(&mut built_ones).await,
        format!("{a}: a@1 to_build -> built")
    );
    assert_eq!(
        next(&mut built_ones).await,
        format!("{verified}: a@1 built -> verified")
    );
    assert_eq!(
        next(&mut built_ones).await,
        format!("{b}: b@1 to_build -> built")
    );
}

async fn a_namespace_that_goes_is_told_of_once(on: &On) {
    let store = &on.store;
    apply(store, vec![target("a@1", &[])], false).await;
    let mut all = watch(store, None, &[], WatchStart::Now).await;
    let request = DeleteNamespace {
        name: namespace("n"),
        force: true,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    let gone = store.namespaces().delete(&request).await.unwrap().revision;
    assert_eq!(next(&mut all).await, format!("{gone}: all gone"));
}

on_every_engine! {
    who_watches_learns_each_change_once_and_from_any_revision_again,
    a_change_is_told_when_the_target_was_or_is_selected,
    a_namespace_that_goes_is_told_of_once,
}
