//! Configs that are removed, and what they leave.

use super::*;

#[tokio::test]
async fn a_deleted_config_leaves_its_own_layers_and_children_without_a_parent() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let debian = Built::base("debian");
    let base = store(&mut configs, &debian).await;
    let lower = debian.clone().run("a");
    let upper = lower.clone().run("b").note("c").run("d");
    let middle = stored(&mut configs, lower.built_on(&base)).await;
    let top = stored(&mut configs, upper.built_on(&middle)).await;

    let gone = configs.delete(delete(&middle)).await.unwrap().into_inner();
    assert_eq!((gone.id.as_str(), gone.orphans), (middle.as_str(), 1));
    assert_eq!(gone.unreferenced, [], "the config above has the layer too");
    assert_eq!(parent(&mut configs, &top).await, "");
    assert_eq!(
        listed(&mut configs, true).await,
        sorted(vec![base.clone(), top.clone()])
    );

    let chain_ids = read(&mut configs, &top).await.chain_ids;
    let gone = configs.delete(delete(&top)).await.unwrap().into_inner();
    let unreferenced: Vec<(String, String)> = gone
        .unreferenced
        .into_iter()
        .map(|layer| (layer.chain_id, layer.diff_id))
        .collect();
    let wanted = [3, 2, 1].map(|i| (chain_ids[i].clone(), upper.layers()[i].clone()));
    assert_eq!(
        unreferenced, wanted,
        "top to base, without what the base has"
    );

    for request in [delete(&top), delete(&middle)] {
        let status = configs.delete(request).await.unwrap_err();
        assert_refused(&status, Code::NotFound, "NOT_FOUND", None);
        assert_eq!(fact(&status, "kind"), "config");
    }
    let gone = configs.delete(delete(&base)).await.unwrap().into_inner();
    assert_eq!((gone.unreferenced.len(), gone.orphans), (1, 0));
    assert_eq!(listed(&mut configs, false).await, [""; 0]);
}

#[tokio::test]
async fn a_config_that_is_stored_again_gets_no_children_of_its_former_self() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let debian = Built::base("debian");
    let base = store(&mut configs, &debian).await;
    let child = debian.clone().run("make");
    let id = stored(&mut configs, child.built_on(&base)).await;
    configs.delete(delete(&base)).await.unwrap();
    store(&mut configs, &debian).await;
    assert_eq!(parent(&mut configs, &id).await, "");
    assert_eq!(children(&mut configs, &base).await, [""; 0]);
    assert_eq!(
        listed(&mut configs, true).await,
        sorted(vec![base.clone(), id.clone()])
    );
    let set = configs
        .set_parent(set_parent(&id, &base))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((set.changed, set.previous.as_str()), (true, ""));
    assert_eq!(listed(&mut configs, true).await, [id]);
}

#[tokio::test]
async fn a_config_with_children_goes_unless_it_must_be_a_head() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let base = store(&mut configs, &Built::base("debian")).await;
    let child = Built::base("debian").run("make");
    let id = stored(&mut configs, child.built_on(&base)).await;
    let before = server.state().await;
    let only_head = |id: &str| pb::DeleteConfigRequest {
        must_be_head: true,
        ..delete(id)
    };
    let status = configs.delete(only_head(&base)).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "HAS_CHILDREN", None);
    assert_eq!(server.state().await, before);
    configs.delete(only_head(&id)).await.unwrap();
    configs.delete(only_head(&base)).await.unwrap();
}

#[tokio::test]
async fn a_change_is_made_only_to_the_config_that_its_caller_has_seen() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let base = store(&mut configs, &Built::base("debian")).await;
    let id = store(&mut configs, &Built::base("alpine")).await;
    let seen = read(&mut configs, &id).await.etag;
    let mark = |if_etag: &str| pb::MarkConfigRequest {
        id: id.clone(),
        built_locally: Some(true),
        if_etag: if_etag.to_owned(),
        ..Default::default()
    };
    configs.mark(mark(&seen)).await.unwrap();
    let before = server.state().await;
    let moved = pb::SetConfigParentRequest {
        if_etag: seen.clone(),
        ..set_parent(&id, &base)
    };
    let removed = pb::DeleteConfigRequest {
        if_etag: seen.clone(),
        ..delete(&id)
    };
    for status in [
        configs.mark(mark(&seen)).await.unwrap_err(),
        configs.set_parent(moved).await.unwrap_err(),
        configs.delete(removed.clone()).await.unwrap_err(),
    ] {
        assert_refused(&status, Code::Aborted, "ETAG_MISMATCH", None);
    }
    assert_eq!(server.state().await, before);
    let status = configs.mark(mark("seen")).await.unwrap_err();
    let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
    assert_refused(&status, code, reason, Some("if_etag"));
    let seen = read(&mut configs, &id).await.etag;
    let removed = pb::DeleteConfigRequest {
        if_etag: seen,
        ..removed
    };
    configs.delete(removed).await.unwrap();
}

/// moby's Search went on finding what had been deleted.
#[tokio::test]
async fn a_deleted_config_is_not_found_by_the_beginning_of_its_id() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let id = store(&mut configs, &Built::base("debian")).await;
    assert_eq!(read(&mut configs, &id[7..19]).await.id, id);
    configs.delete(delete(&id)).await.unwrap();
    for reference in [&id[..], &id[7..19], &id[7..]] {
        let status = configs.get(get(reference)).await.unwrap_err();
        assert_refused(&status, Code::NotFound, "NOT_FOUND", None);
    }
}
