//! Watching targets over a real socket.

use imagestore::proto::v1::target_change::Change;
use imagestore::proto::v1::watch_targets_response::Kind;
use tonic::Streaming;

use super::*;
use crate::common::PATIENCE;

type Watch = Streaming<pb::WatchTargetsResponse>;

async fn next(watch: &mut Watch) -> Kind {
    let message = tokio::time::timeout(PATIENCE, watch.message()).await;
    let message = message.expect("it says something").unwrap();
    message.expect("it goes on").kind.unwrap()
}

/// What the next changes are: each target with its state before and after.
async fn changes(watch: &mut Watch) -> String {
    let changes = loop {
        match next(watch).await {
            Kind::Changes(changes) => break changes,
            Kind::Progress(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(changes.committed_at.is_some() && !changes.is_partial);
    let told = changes.changes.into_iter().map(|change| {
        let before = change.previous_state().as_str_name();
        let before = before.trim_start_matches("TARGET_STATE_").to_owned();
        match change.change.unwrap() {
            Change::Put(target) => {
                assert!(target.claim.is_none(), "of claims nothing is told");
                let state = target.state().as_str_name();
                let after = state.trim_start_matches("TARGET_STATE_");
                let spec = target.spec.unwrap();
                format!("{}@{} {before} {after}", spec.name, spec.version)
            }
            Change::Deleted(target) => format!("{target} {before} gone"),
            Change::NamespaceRemoved(removed) => format!("all gone: {removed}"),
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_watcher_is_told_how_far_targets_come() {
    let mut targets = Targets::new().await;
    let request = pb::WatchTargetsRequest::default();
    let mut all = targets.calls.watch(request).await.unwrap().into_inner();
    let Kind::Progress(begun) = next(&mut all).await else {
        panic!("it says where it begins");
    };
    targets.declare("a; b<-a").await;
    assert_eq!(
        changes(&mut all).await,
        "a@1 UNSPECIFIED TO_BUILD, b@1 UNSPECIFIED TO_BUILD"
    );
    let built = transition("a@1", pb::TargetEvent::BuildOk);
    targets.calls.transition(built).await.unwrap();
    assert_eq!(changes(&mut all).await, "a@1 TO_BUILD BUILT");

    // The same again from where it began, for those that are selected before or after.
    let of_b = pb::WatchTargetsRequest {
        after_revision: begun.revision,
        selector: globbed("b:*"),
        ..Default::default()
    };
    let mut of_b = targets.calls.watch(of_b).await.unwrap().into_inner();
    assert_eq!(changes(&mut of_b).await, "b@1 UNSPECIFIED TO_BUILD");

    let first = pb::WatchTargetsRequest {
        send_initial: true,
        ..Default::default()
    };
    let mut first = targets.calls.watch(first).await.unwrap().into_inner();
    let Kind::Initial(initial) = next(&mut first).await else {
        panic!("what there is comes first");
    };
    assert_eq!(initial.targets.len(), 2);
    assert!(matches!(next(&mut first).await, Kind::InitialEnd(_)));
}

#[tokio::test]
async fn a_watch_that_cannot_be_is_refused_by_its_field() {
    let mut targets = Targets::new().await;
    let both = pb::WatchTargetsRequest {
        send_initial: true,
        after_revision: 1,
        ..Default::default()
    };
    let refused = targets.calls.watch(both).await.unwrap_err();
    let field = Some("send_initial");
    assert_refused(&refused, Code::InvalidArgument, "INVALID_FIELD", field);
    let open = pb::WatchTargetsRequest {
        selector: globbed("[a"),
        ..Default::default()
    };
    let refused = targets.calls.watch(open).await.unwrap_err();
    let field = Some("selector.glob");
    assert_refused(&refused, Code::InvalidArgument, "INVALID_FIELD", field);
    let future = pb::WatchTargetsRequest {
        after_revision: u64::MAX,
        ..Default::default()
    };
    let refused = targets.calls.watch(future).await.unwrap_err();
    assert_refused(&refused, Code::OutOfRange, "UNKNOWN_REVISION", None);
}
