//! What goes: images that are pruned, and builders.

use super::*;

#[tokio::test]
async fn what_is_pruned_is_given_out_no_more_and_goes_when_it_is_confirmed() {
    let mut agent = Agent::with_builder().await;
    agent.build().await;
    let pin = agent.uses().await.pin.unwrap();
    agent.build().await;
    let prune = pb::PruneBuilderRequest {
        key: key(),
        ..Default::default()
    };
    let verdicts = |answer: &pb::PruneBuilderResponse| -> Vec<_> {
        answer
            .decisions
            .iter()
            .map(pb::PruneDecision::verdict)
            .collect()
    };
    let pruned = agent
        .builders
        .prune(prune.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        verdicts(&pruned),
        [pb::PruneVerdict::Newest, pb::PruneVerdict::Pinned]
    );
    assert_eq!(pruned.decisions[1].holder, "b");
    assert_eq!(pruned.decisions[1].until, pin.deadline);
    let unpin = pb::UnpinBuilderRequest {
        key: key(),
        pin: pin.id,
        ..Default::default()
    };
    agent.builders.unpin(unpin).await.unwrap();
    for changed in [true, false] {
        let pruned = agent
            .builders
            .prune(prune.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            verdicts(&pruned),
            [pb::PruneVerdict::Newest, pb::PruneVerdict::Remove]
        );
        assert_eq!(pruned.changed, changed);
        let gone = pruned.decisions[1].generation.as_ref().unwrap();
        assert!(gone.copies[0].retired_at.is_some());
    }
    let confirm = |removal: pb::Removal| pb::ConfirmRemovedRequest {
        key: key(),
        generation: 1,
        location: "reg".to_owned(),
        removal: removal.into(),
        ..Default::default()
    };
    for (removal, effect) in [
        (pb::Removal::Failed, pb::ObservationEffect::Kept),
        (pb::Removal::Removed, pb::ObservationEffect::Dropped),
        (pb::Removal::NotFound, pb::ObservationEffect::NotFound),
    ] {
        let answer = agent.builders.confirm_removed(confirm(removal)).await;
        assert_eq!(answer.unwrap().into_inner().effect(), effect);
    }
    assert_eq!(agent.get().await.generations.len(), 1);
}

#[tokio::test]
async fn a_builder_is_listed_and_goes_when_it_is_let_go() {
    let mut agent = Agent::with_builder().await;
    agent.build().await;
    let list = pb::ListBuildersRequest {
        base_prefix: "host".to_owned(),
        ..Default::default()
    };
    let listed = agent
        .builders
        .list(list.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.builders.len(), 1);
    assert_eq!(listed.builders[0].generations, []);
    let delete = |force| pb::DeleteBuilderRequest {
        key: key(),
        force,
        ..Default::default()
    };
    let kept = agent.builders.delete(delete(false)).await.unwrap_err();
    assert_refused(&kept, Code::FailedPrecondition, "IN_USE", None);
    let gone = agent
        .builders
        .delete(delete(true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(gone.builder.unwrap().generations.len(), 1);
    let listed = agent.builders.list(list).await.unwrap().into_inner();
    assert_eq!(listed.builders, []);
    let gone = agent.builders.delete(delete(true)).await.unwrap_err();
    assert_refused(&gone, Code::NotFound, "NOT_FOUND", None);
    assert_eq!(fact(&gone, "name"), "host:5000/archlinux");
    let again = pb::PutBuilderRequest {
        if_etag: "1".to_owned(),
        ..put()
    };
    let refused = agent.builders.put(again).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}
