//! Requests that are rehearsed, and those that are done once.

use super::*;

#[tokio::test]
async fn a_rehearsal_answers_and_writes_nothing() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let base = store(&mut configs, &Built::base("debian")).await;
    let child = Built::base("debian").run("make");
    let id = stored(&mut configs, child.create()).await;
    let before = server.state().await;
    let rehearsed = pb::CreateConfigRequest {
        validate_only: true,
        ..Built::base("alpine").built_on(&base)
    };
    let made = configs.create(rehearsed).await.unwrap().into_inner();
    assert!(made.created);
    assert_eq!(made.config.unwrap().id, Built::base("alpine").id());
    let rehearsed = pb::DeleteConfigRequest {
        validate_only: true,
        ..delete(&id)
    };
    let gone = configs.delete(rehearsed).await.unwrap().into_inner();
    assert_eq!(gone.unreferenced.len(), 1);
    let rehearsed = pb::SetConfigParentRequest {
        validate_only: true,
        ..set_parent(&id, &base)
    };
    assert!(
        configs
            .set_parent(rehearsed)
            .await
            .unwrap()
            .into_inner()
            .changed
    );
    let rehearsed = pb::MarkConfigRequest {
        id: id.clone(),
        touch: true,
        validate_only: true,
        ..Default::default()
    };
    assert!(configs.mark(rehearsed).await.unwrap().into_inner().changed);
    let rehearsed = pb::LinkConfigRequest {
        id: id.clone(),
        target: digest("index"),
        validate_only: true,
        ..Default::default()
    };
    assert!(configs.link(rehearsed).await.unwrap().into_inner().changed);
    assert_eq!(server.state().await, before);
    let linked = pb::LinkConfigRequest {
        id: id.clone(),
        target: digest("manifest"),
        ..Default::default()
    };
    configs.link(linked).await.unwrap();
    let before = server.state().await;
    let rehearsed = pb::UnlinkConfigRequest {
        validate_only: true,
        ..unlink(&id, "manifest")
    };
    let unlinked = configs.unlink(rehearsed).await.unwrap().into_inner();
    assert!(unlinked.changed);
    assert_eq!(server.state().await, before);
    assert_eq!(read(&mut configs, &id).await.parent, "");
}

#[tokio::test]
async fn a_request_with_an_id_is_done_once() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let base = store(&mut configs, &Built::base("debian")).await;
    let child = Built::base("debian").run("make");
    let request_id = "7d1c9f7e".to_owned();
    let request = pb::CreateConfigRequest {
        request_id: request_id.clone(),
        ..child.built_on(&base)
    };
    let first = configs.create(request.clone()).await.unwrap().into_inner();
    let again = configs.create(request).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert!(again.created);

    let id = child.id();
    let other = pb::DeleteConfigRequest {
        request_id: request_id.clone(),
        ..delete(&id)
    };
    let status = configs.delete(other).await.unwrap_err();
    let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
    assert_refused(&status, code, reason, Some("request_id"));

    let move_away = pb::SetConfigParentRequest {
        request_id: "s1".to_owned(),
        ..set_parent(&id, "")
    };
    let first = configs
        .set_parent(move_away.clone())
        .await
        .unwrap()
        .into_inner();
    let again = configs.set_parent(move_away).await.unwrap().into_inner();
    assert_eq!((&first, first.previous.as_str()), (&again, base.as_str()));
    let touch = pb::MarkConfigRequest {
        id: id.clone(),
        touch: true,
        request_id: "m1".to_owned(),
        ..Default::default()
    };
    let first = configs.mark(touch.clone()).await.unwrap().into_inner();
    assert_eq!(configs.mark(touch).await.unwrap().into_inner(), first);
    let link = pb::LinkConfigRequest {
        id: id.clone(),
        target: digest("index"),
        request_id: "l1".to_owned(),
        ..Default::default()
    };
    let first = configs.link(link.clone()).await.unwrap().into_inner();
    assert_eq!(configs.link(link).await.unwrap().into_inner(), first);
    let unlink = pb::UnlinkConfigRequest {
        request_id: "u1".to_owned(),
        ..unlink(&id, "index")
    };
    let first = configs.unlink(unlink.clone()).await.unwrap().into_inner();
    assert_eq!(configs.unlink(unlink).await.unwrap().into_inner(), first);
    assert!(first.changed, "not done again, which would change nothing");
    let remove = pb::DeleteConfigRequest {
        request_id: "d1".to_owned(),
        ..delete(&id)
    };
    let first = configs.delete(remove.clone()).await.unwrap().into_inner();
    assert_eq!(configs.delete(remove).await.unwrap().into_inner(), first);
    assert_eq!(first.unreferenced.len(), 1);
}

fn unlink(id: &str, target: &str) -> pb::UnlinkConfigRequest {
    pb::UnlinkConfigRequest {
        id: id.to_owned(),
        target: digest(target),
        ..Default::default()
    }
}
