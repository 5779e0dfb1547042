//! History, rollback, batches and retries, over the wire.

use imagestore::proto::v1 as pb;
use imagestore::proto::v1::store_client::StoreClient;
use tonic::Code;

use crate::common::{Server, assert_refused, delete, digest, fact, get, put};

fn history(name: &str) -> pb::HistoryRequest {
    pb::HistoryRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

fn rollback(name: &str) -> pb::RollbackImageRequest {
    pb::RollbackImageRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

fn apply_put(name: &str, content: &str) -> pb::ApplyItem {
    let put = pb::ApplyPut {
        image: put(name, content).image,
        ..Default::default()
    };
    pb::ApplyItem {
        item: Some(pb::apply_item::Item::Put(put)),
    }
}

fn apply_delete(name: &str, allow_missing: bool) -> pb::ApplyItem {
    let delete = pb::ApplyDelete {
        name: name.to_owned(),
        allow_missing,
        ..Default::default()
    };
    pb::ApplyItem {
        item: Some(pb::apply_item::Item::Delete(delete)),
    }
}

fn apply(items: Vec<pb::ApplyItem>) -> pb::ApplyImagesRequest {
    pb::ApplyImagesRequest {
        items,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_name_moved_by_mistake_is_found_in_history_read_as_it_was_and_brought_back() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let good = images.put(put("app", "good")).await.unwrap().into_inner();
    let bad = images.put(put("app", "bad")).await.unwrap().into_inner();

    let then = pb::GetImageRequest {
        at_revision: good.revision,
        ..get("app")
    };
    let then = images.get(then).await.unwrap().into_inner();
    assert_eq!(then.image, good.image);
    assert_eq!(
        then.revision, bad.revision,
        "the answer holds at the newest"
    );

    let found = images.history(history("app")).await.unwrap().into_inner();
    let [now, before] = &found.generations[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&now.image, now.ended_revision), (&bad.image, 0));
    assert_eq!(now.ended_by(), pb::EndedBy::Unspecified);
    assert_eq!(
        (&before.image, before.ended_revision),
        (&good.image, bad.revision)
    );
    assert_eq!(before.ended_by(), pb::EndedBy::Put);
    let me = format!("uid:{}", rustix::process::getuid().as_raw());
    assert_eq!(before.ended_by_caller, me, "the peer of the socket");

    let back = pb::RollbackImageRequest {
        generation: good.revision,
        ..rollback("app")
    };
    let back = images.rollback(back).await.unwrap().into_inner();
    assert!(back.changed && !back.created && back.revision > bad.revision);
    assert_eq!(back.image.unwrap().target.unwrap().digest, digest("good"));
}

#[tokio::test]
async fn a_deleted_name_is_in_history_and_comes_back() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let put = images.put(put("app", "one")).await.unwrap().into_inner();
    let gone = images.delete(delete("app")).await.unwrap().into_inner();
    let found = images.history(history("app")).await.unwrap().into_inner();
    assert_eq!(found.generations.len(), 1);
    assert_eq!(found.generations[0].ended_by(), pb::EndedBy::Delete);
    assert_eq!(found.generations[0].ended_revision, gone.revision);
    let back = images.rollback(rollback("app")).await.unwrap().into_inner();
    assert!(back.created);
    let (now, before) = (back.image.unwrap(), put.image.unwrap());
    assert_eq!(
        (now.target, now.created_at),
        (before.target, before.created_at)
    );
}

#[tokio::test]
async fn what_history_cannot_answer_says_why() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let refused = images.history(history("app")).await.unwrap_err();
    assert_refused(&refused, Code::NotFound, "NOT_FOUND", None);
    let refused = images.rollback(rollback("app")).await.unwrap_err();
    assert_refused(&refused, Code::NotFound, "NOT_FOUND", None);
    assert_eq!(fact(&refused, "kind"), "generation");
    let put = images.put(put("app", "one")).await.unwrap().into_inner();
    let ahead = pb::GetImageRequest {
        at_revision: put.revision + 1,
        ..get("app")
    };
    let refused = images.get(ahead).await.unwrap_err();
    assert_refused(&refused, Code::OutOfRange, "UNKNOWN_REVISION", None);
    let before = pb::GetImageRequest {
        at_revision: put.revision - 1,
        ..get("app")
    };
    let refused = images.get(before).await.unwrap_err();
    assert_refused(&refused, Code::NotFound, "NOT_FOUND", None);
    let token = pb::HistoryRequest {
        page_token: "x".to_owned(),
        ..history("app")
    };
    let refused = images.history(token).await.unwrap_err();
    assert_refused(
        &refused,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("page_token"),
    );
}

#[tokio::test]
async fn a_namespace_says_how_much_history_it_keeps() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let mut namespaces = server.namespaces().await;
    let limited = |limit| pb::PutNamespaceRequest {
        namespace: Some(pb::Namespace {
            name: "default".to_owned(),
            history_limit: limit,
            ..Default::default()
        }),
        ..Default::default()
    };
    let made = namespaces.put(limited(Some(1))).await.unwrap().into_inner();
    assert_eq!(made.namespace.unwrap().history_limit, Some(1));
    let mut last = 0;
    for content in ["one", "two", "three"] {
        last = images
            .put(put("app", content))
            .await
            .unwrap()
            .into_inner()
            .revision;
    }
    let kept = images.history(history("app")).await.unwrap().into_inner();
    assert_eq!(kept.generations.len(), 2);
    let trimmed = pb::GetImageRequest {
        at_revision: last - 2,
        ..get("app")
    };
    let refused = images.get(trimmed).await.unwrap_err();
    assert_refused(&refused, Code::OutOfRange, "HISTORY_TRIMMED", None);
    assert_eq!(fact(&refused, "oldest_revision"), (last - 1).to_string());
    let refused = namespaces.put(limited(Some(1001))).await.unwrap_err();
    let field = Some("namespace.history_limit");
    assert_refused(&refused, Code::InvalidArgument, "INVALID_FIELD", field);
}

#[tokio::test]
async fn an_apply_is_all_or_nothing_and_its_error_names_the_item() {
    let server = Server::start().await;
    let mut images = server.images().await;
    images.put(put("old", "one")).await.unwrap();
    let both = apply(vec![
        apply_put("new", "two"),
        apply_delete("old", false),
        apply_delete("none", true),
    ]);
    let done = images.apply(both.clone()).await.unwrap().into_inner();
    assert_eq!(done.results.len(), 3);
    assert!(done.results[0].created && done.results[1].changed && !done.results[2].changed);
    assert_eq!(
        done.results[0].image.as_ref().unwrap().revision,
        done.revision
    );
    assert_eq!(done.results[2].image, None);

    let refused = images.apply(both).await.unwrap_err();
    assert_refused(&refused, Code::NotFound, "NOT_FOUND", None);
    assert_eq!(
        (fact(&refused, "item"), fact(&refused, "name")),
        ("1".into(), "old".into())
    );

    let mut bad = apply_put("x", "one");
    if let Some(pb::apply_item::Item::Put(put)) = &mut bad.item {
        put.image.as_mut().unwrap().target.as_mut().unwrap().digest = "sha256:12".to_owned();
    }
    for (items, field) in [
        (vec![], "items"),
        (vec![pb::ApplyItem { item: None }], "items[0].item"),
        (
            vec![apply_put("a", "x"), bad],
            "items[1].put.image.target.digest",
        ),
        (
            vec![apply_put("a", "x"), apply_delete("", true)],
            "items[1].delete.name",
        ),
        (
            vec![apply_put("a", "x"), apply_delete("a", true)],
            "items[1]",
        ),
        (
            (0..1001).map(|i| apply_put(&i.to_string(), "x")).collect(),
            "items",
        ),
    ] {
        let refused = images.apply(apply(items)).await.unwrap_err();
        assert_refused(
            &refused,
            Code::InvalidArgument,
            "INVALID_FIELD",
            Some(field),
        );
    }
    let left = images
        .count(pb::CountImagesRequest::default())
        .await
        .unwrap();
    assert_eq!(
        left.into_inner().revision,
        done.revision,
        "nothing was written"
    );
}

#[tokio::test]
async fn a_mutation_sent_again_under_its_id_gets_the_first_answer_also_after_a_restart() {
    let folder = crate::common::folder();
    let server = Server::at(folder.path()).await;
    let mut images = server.images().await;
    let id = |request: pb::PutImageRequest| pb::PutImageRequest {
        request_id: "2f8c1c0e-6a1b-4f0e-9f30-0a4a3c1d7d11".to_owned(),
        ..request
    };
    let first = images
        .put(id(put("app", "one")))
        .await
        .unwrap()
        .into_inner();
    images.put(put("app", "two")).await.unwrap();
    let again = images
        .put(id(put("app", "one")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
    let refused = images.put(id(put("app", "three"))).await.unwrap_err();
    let field = Some("request_id");
    assert_refused(&refused, Code::InvalidArgument, "INVALID_FIELD", field);
    let elsewhere = pb::PutImageRequest {
        namespace: "other".to_owned(),
        ..id(put("app", "one"))
    };
    let refused = images.put(elsewhere).await.unwrap_err();
    assert_refused(&refused, Code::InvalidArgument, "INVALID_FIELD", field);
    let bad = pb::DeleteImageRequest {
        request_id: "has space".to_owned(),
        ..delete("app")
    };
    let refused = images.delete(bad).await.unwrap_err();
    assert_refused(&refused, Code::InvalidArgument, "INVALID_FIELD", field);

    drop(server);
    let server = Server::at(folder.path()).await;
    let mut images = server.images().await;
    let again = images
        .put(id(put("app", "one")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
    let now = images.get(get("app")).await.unwrap().into_inner();
    assert_eq!(now.image.unwrap().target.unwrap().digest, digest("two"));
}

#[tokio::test]
async fn a_store_that_is_sound_is_said_to_be() {
    let server = Server::start().await;
    let mut images = server.images().await;
    for content in ["one", "two"] {
        images.put(put("app", content)).await.unwrap();
    }
    let mut store = StoreClient::new(server.channel().await);
    let mut told = store
        .verify(pb::VerifyRequest {})
        .await
        .unwrap()
        .into_inner();
    let only = told.message().await.unwrap().unwrap().kind;
    let Some(pb::verify_response::Kind::End(end)) = only else {
        panic!("{only:?}");
    };
    assert_eq!(end.problems, 0);
    assert!(end.rows >= 4, "{end:?}");
    assert_eq!(told.message().await.unwrap(), None);
}
