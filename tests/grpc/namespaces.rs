//! Namespaces, and the status of the store.

use imagestore::proto::v1 as pb;
use tonic::Code;
use tonic_types::StatusExt;

use crate::common::{Server, assert_refused, delete, fact, mask, put};

fn put_namespace(name: &str, labels: &[(&str, &str)]) -> pb::PutNamespaceRequest {
    let labels = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let namespace = pb::Namespace {
        name: name.to_owned(),
        labels,
        ..Default::default()
    };
    pb::PutNamespaceRequest {
        namespace: Some(namespace),
        ..Default::default()
    }
}

fn get_namespace(name: &str) -> pb::GetNamespaceRequest {
    pb::GetNamespaceRequest {
        name: name.to_owned(),
    }
}

fn delete_namespace(name: &str, force: bool) -> pb::DeleteNamespaceRequest {
    pb::DeleteNamespaceRequest {
        name: name.to_owned(),
        force,
        ..Default::default()
    }
}

fn into(namespace: &str, name: &str) -> pb::PutImageRequest {
    pb::PutImageRequest {
        namespace: namespace.to_owned(),
        ..put(name, name)
    }
}

#[tokio::test]
async fn a_namespace_is_put_read_changed_and_removed() {
    let server = Server::start().await;
    let mut namespaces = server.namespaces().await;
    let made = namespaces
        .put(put_namespace("team", &[("a", "1")]))
        .await
        .unwrap()
        .into_inner();
    assert!(made.created && made.changed);
    let read = namespaces
        .get(get_namespace("team"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (read.namespace.as_ref(), read.revision),
        (made.namespace.as_ref(), made.revision)
    );

    let again = namespaces
        .put(put_namespace("team", &[("a", "1")]))
        .await
        .unwrap()
        .into_inner();
    assert!(!again.changed && again.revision == made.revision);
    let edit = pb::PutNamespaceRequest {
        update_mask: mask(&["labels.b.c"]),
        ..put_namespace("team", &[("b.c", "2"), ("not-named", "3")])
    };
    let edited = namespaces
        .put(edit)
        .await
        .unwrap()
        .into_inner()
        .namespace
        .unwrap();
    let wanted = [("a", "1"), ("b.c", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(edited.labels, wanted.into());
    assert_eq!(edited.created_at, made.namespace.unwrap().created_at);

    let removed = namespaces
        .delete(delete_namespace("team", false))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(removed.namespace, Some(edited));
    let gone = namespaces.get(get_namespace("team")).await.unwrap_err();
    assert_refused(&gone, Code::NotFound, "NOT_FOUND", None);
    assert_eq!(
        (fact(&gone, "kind"), fact(&gone, "name")),
        ("namespace".into(), "team".into())
    );
}

#[tokio::test]
async fn the_first_write_makes_the_namespace_and_a_full_one_goes_only_by_force() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let mut namespaces = server.namespaces().await;
    images.put(into("team", "a")).await.unwrap();
    images.put(into("team", "b")).await.unwrap();
    images.put(into("other", "a")).await.unwrap();
    let made = namespaces
        .get(get_namespace("team"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(made.namespace.unwrap().images, 2);

    let before = server.state().await;
    let full = namespaces
        .delete(delete_namespace("team", false))
        .await
        .unwrap_err();
    assert_refused(&full, Code::FailedPrecondition, "NAMESPACE_NOT_EMPTY", None);
    assert_eq!(
        (fact(&full, "namespace"), fact(&full, "images")),
        ("team".into(), "2".into())
    );
    let details = full.get_error_details();
    let violation = &details.precondition_failure().unwrap().violations[0];
    assert_eq!(
        (violation.r#type.as_str(), violation.subject.as_str()),
        ("EMPTY", "namespaces/team")
    );
    let rehearsed = pb::DeleteNamespaceRequest {
        validate_only: true,
        ..delete_namespace("team", true)
    };
    assert_eq!(
        namespaces
            .delete(rehearsed)
            .await
            .unwrap()
            .into_inner()
            .namespace
            .unwrap()
            .images,
        2
    );
    assert_eq!(server.state().await, before);

    let gone = namespaces
        .delete(delete_namespace("team", true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(gone.namespace.unwrap().images, 2);
    let all = pb::ListImagesRequest {
        namespace: "-".to_owned(),
        ..Default::default()
    };
    let left = images.list(all).await.unwrap().into_inner().images;
    assert_eq!(
        left.iter()
            .map(|i| i.namespace.as_str())
            .collect::<Vec<_>>(),
        ["other"]
    );
    images.put(into("team", "c")).await.unwrap();
    let again = namespaces
        .get(get_namespace("team"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        again.namespace.unwrap().images,
        1,
        "nothing of the old one comes back"
    );
}

#[tokio::test]
async fn preconditions_guard_a_namespace() {
    let server = Server::start().await;
    let mut namespaces = server.namespaces().await;
    let made = namespaces
        .put(put_namespace("team", &[]))
        .await
        .unwrap()
        .into_inner();
    let etag = made.namespace.unwrap().etag;

    let exists = pb::PutNamespaceRequest {
        must_not_exist: true,
        ..put_namespace("team", &[])
    };
    let exists = namespaces.put(exists).await.unwrap_err();
    assert_refused(&exists, Code::AlreadyExists, "ALREADY_EXISTS", None);
    let stale = |name: &str| pb::PutNamespaceRequest {
        if_etag: "1".to_owned(),
        ..put_namespace(name, &[("a", "1")])
    };
    let mismatch = namespaces.put(stale("team")).await.unwrap_err();
    assert_refused(&mismatch, Code::Aborted, "ETAG_MISMATCH", None);
    assert_eq!(fact(&mismatch, "etag"), etag);
    let missing = namespaces.put(stale("nobody")).await.unwrap_err();
    assert_refused(&missing, Code::NotFound, "NOT_FOUND", None);
    let masked = pb::PutNamespaceRequest {
        update_mask: mask(&["labels.a"]),
        ..put_namespace("nobody", &[("a", "1")])
    };
    let masked = namespaces.put(masked).await.unwrap_err();
    assert_refused(&masked, Code::NotFound, "NOT_FOUND", None);

    // A write into a namespace leaves its own row, and so its etag, alone.
    server.images().await.put(into("team", "a")).await.unwrap();
    server
        .images()
        .await
        .delete(pb::DeleteImageRequest {
            namespace: "team".to_owned(),
            ..delete("a")
        })
        .await
        .unwrap();
    let stale = pb::DeleteNamespaceRequest {
        if_etag: "1".to_owned(),
        ..delete_namespace("team", true)
    };
    assert_eq!(
        namespaces.delete(stale).await.unwrap_err().code(),
        Code::Aborted
    );
    let right = pb::DeleteNamespaceRequest {
        if_etag: etag,
        ..delete_namespace("team", false)
    };
    namespaces.delete(right).await.unwrap();
}

#[tokio::test]
async fn namespaces_are_listed_by_name_in_pages() {
    let server = Server::start().await;
    let mut namespaces = server.namespaces().await;
    for name in ["c", "a.2", "b", "a.1"] {
        namespaces.put(put_namespace(name, &[])).await.unwrap();
    }
    let mut request = pb::ListNamespacesRequest {
        page_size: 2,
        ..Default::default()
    };
    let mut found = Vec::new();
    loop {
        let page = namespaces.list(request.clone()).await.unwrap().into_inner();
        found.extend(page.namespaces.into_iter().map(|namespace| namespace.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["a.1", "a.2", "b", "c"]);

    let under = pb::ListNamespacesRequest {
        name_prefix: "a".to_owned(),
        page_size: 1,
        ..request
    };
    let page = namespaces.list(under.clone()).await.unwrap().into_inner();
    assert_eq!(page.namespaces[0].name, "a.1");
    let other = pb::ListNamespacesRequest {
        name_prefix: "b".to_owned(),
        page_token: page.next_page_token,
        ..under
    };
    let status = namespaces.list(other).await.unwrap_err();
    assert_refused(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("page_token"),
    );
}

#[tokio::test]
async fn status_says_what_the_store_is_and_how_it_fares() {
    let root = crate::common::folder();
    let mut server = Server::at(root.path()).await;
    let empty = server.status().await;
    assert_eq!(
        (empty.images, empty.namespaces, empty.schema_version),
        (0, 0, 1)
    );
    assert_eq!(
        (empty.engine.as_str(), empty.degraded.as_str()),
        ("redb", "")
    );
    assert_eq!(empty.version, env!("CARGO_PKG_VERSION"));
    assert!(empty.size_bytes > 0 && empty.free_bytes > 0 && empty.opened_at.is_some());

    let put = server
        .images()
        .await
        .put(into("team", "a"))
        .await
        .unwrap()
        .into_inner();
    let one = server.status().await;
    assert_eq!(
        (one.images, one.namespaces, one.revision),
        (1, 1, put.revision)
    );
    assert!(one.revision > empty.revision && one.tables > empty.tables);
    server.kill();
    let again = Server::at(root.path()).await.status().await;
    assert_eq!(
        (&again.store_id, again.revision, again.images),
        (&one.store_id, one.revision, 1)
    );
    assert_ne!(Server::start().await.status().await.store_id, one.store_id);
}
