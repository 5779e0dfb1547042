//! Every text is one that containerd 1.6.20 gave.

use std::sync::Arc;

use prost_types::FieldMask;
use tonic::Code;

use super::*;
use crate::domain::HistoryLimit;
use crate::kv::Memory;
use crate::proto::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use crate::proto::containerd::services::namespaces::v1::namespaces_server::NamespacesServer;
use crate::service::fixture::{said, store};
use crate::store::PutImage;

type Said<T> = Result<T, (Code, String)>;

/// The service, called without a network and without a namespace in its metadata.
struct On {
    store: Store,
}

impl On {
    async fn new() -> Self {
        let store = store(Arc::new(Memory::new())).await;
        Self { store }
    }

    fn client(&self) -> NamespacesClient<NamespacesServer<Service>> {
        NamespacesClient::new(NamespacesServer::new(Service::new(
            &self.store,
            &Answers::new(),
        )))
    }

    async fn get(&self, name: &str) -> Said<pb::Namespace> {
        let name = name.to_owned();
        let got = self.client().get(pb::GetNamespaceRequest { name }).await;
        said(got).map(|got| got.namespace.expect("it is always there"))
    }

    async fn create(&self, namespace: pb::Namespace) -> Said<pb::Namespace> {
        let request = pb::CreateNamespaceRequest {
            namespace: Some(namespace),
        };
        said(self.client().create(request).await).map(|created| created.namespace.unwrap())
    }

    /// Which answers an empty namespace, and no other.
    async fn update(&self, namespace: pb::Namespace, mask: &[&str]) -> Said<()> {
        let request = pb::UpdateNamespaceRequest {
            namespace: Some(namespace),
            update_mask: Some(FieldMask {
                paths: mask.iter().map(|path| (*path).to_owned()).collect(),
            }),
        };
        let updated = said(self.client().update(request).await)?.namespace;
        assert_eq!(updated, Some(pb::Namespace::default()));
        Ok(())
    }

    async fn delete(&self, name: &str) -> Said<()> {
        let name = name.to_owned();
        said(
            self.client()
                .delete(pb::DeleteNamespaceRequest { name })
                .await,
        )
    }

    async fn list(&self) -> Vec<pb::Namespace> {
        let filter = "nonsense==".to_owned();
        let listed = self
            .client()
            .list(pb::ListNamespacesRequest { filter })
            .await;
        said(listed).unwrap().namespaces
    }

    async fn revision(&self) -> u64 {
        self.store.status().await.unwrap().revision.0
    }
}

fn namespace(name: &str, labels: &[(&str, &str)]) -> pb::Namespace {
    let label = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pb::Namespace {
        name: name.to_owned(),
        labels: labels.iter().map(label).collect(),
    }
}

fn invalid<T>(text: &str) -> Said<T> {
    let text = text.to_owned() + ": invalid argument";
    Err((Code::InvalidArgument, text))
}

const MUST_MATCH: &str = "must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$";
const TOO_LARGE: &str =
    "namespace.Labels: label key and value greater than maximum size (4096 bytes), key: k";

#[tokio::test]
async fn a_namespace_that_is_not_there_is_one_without_labels() {
    let on = On::new().await;
    on.create(namespace("a", &[("k", "v")])).await.unwrap();
    for (name, labels) in [
        ("a", &[("k", "v")][..]),
        ("b", &[]),
        ("a/b", &[]),
        ("", &[]),
    ] {
        assert_eq!(on.get(name).await, Ok(namespace(name, labels)));
    }
}

#[tokio::test]
async fn a_create_answers_what_was_sent_and_keeps_what_has_a_value() {
    let on = On::new().await;
    let sent = namespace("version", &[("a", ""), ("b", "1")]);
    assert_eq!(on.create(sent.clone()).await, Ok(sent));
    let kept = namespace("version", &[("b", "1")]);
    assert_eq!(on.get("version").await, Ok(kept));
}

#[tokio::test]
async fn a_create_is_refused_in_containerds_order_and_words() {
    let on = On::new().await;
    let huge = "v".repeat(4096);
    let long = "x".repeat(77);
    let all_wrong = [("", "v"), ("k", huge.as_str())];
    for (name, labels, text) in [
        (
            "",
            &all_wrong[..],
            "identifier must not be empty".to_owned(),
        ),
        (
            "a__b",
            &all_wrong,
            format!("identifier \"a__b\" {MUST_MATCH}"),
        ),
        (
            &long,
            &all_wrong,
            format!("identifier \"{long}\" greater than maximum length (76 characters)"),
        ),
        ("a", &all_wrong, TOO_LARGE.to_owned()),
        ("a", &[("", "")], "key required".to_owned()),
    ] {
        assert_eq!(on.create(namespace(name, labels)).await, invalid(&text));
    }
    let none = said(
        on.client()
            .create(pb::CreateNamespaceRequest::default())
            .await,
    );
    assert_eq!(none, invalid("identifier must not be empty"));
    on.create(namespace("a", &[])).await.unwrap();
    assert_eq!(
        on.create(namespace("a", &all_wrong)).await,
        invalid(TOO_LARGE)
    );
    let exists = || {
        Err((
            Code::AlreadyExists,
            "namespace \"a\": already exists".to_owned(),
        ))
    };
    assert_eq!(on.create(namespace("a", &[])).await, exists());
    assert_eq!(on.create(namespace("a", &[("", "v")])).await, exists());
}

#[tokio::test]
async fn an_update_changes_labels_and_makes_what_is_not_there() {
    let on = On::new().await;
    let sent = namespace("a", &[("k", "1"), ("l.m", "2"), ("n", "")]);
    on.update(sent.clone(), &["labels.l.m", "labels.n", "labels.l.m"])
        .await
        .unwrap();
    assert_eq!(on.get("a").await, Ok(namespace("a", &[("l.m", "2")])));
    on.update(sent, &[]).await.unwrap();
    let both = namespace("a", &[("k", "1"), ("l.m", "2")]);
    assert_eq!(on.get("a").await, Ok(both));
    on.update(namespace("a", &[]), &["labels.k"]).await.unwrap();
    assert_eq!(on.get("a").await, Ok(namespace("a", &[("l.m", "2")])));
    let revision = on.revision().await;
    on.update(namespace("a", &[]), &["labels.k"]).await.unwrap();
    assert_eq!(
        on.revision().await,
        revision + 1,
        "it is written, and is an event"
    );
    on.update(namespace("a", &[]), &[]).await.unwrap();
    assert_eq!(on.get("a").await, Ok(namespace("a", &[])));

    // Without anything to set or to remove, containerd makes none.
    on.update(namespace("b", &[]), &[]).await.unwrap();
    on.update(namespace("c", &[("k", "")]), &[]).await.unwrap();
    on.update(namespace("d", &[]), &["labels.k"]).await.unwrap();
    let names: Vec<String> = on
        .list()
        .await
        .into_iter()
        .map(|found| found.name)
        .collect();
    assert_eq!(names, ["a", "c", "d"]);
}

#[tokio::test]
async fn an_update_is_refused_whole_in_containerds_words() {
    let on = On::new().await;
    on.create(namespace("a", &[("a", "1")])).await.unwrap();
    let huge = "v".repeat(4096);
    let field = |path: &str| {
        let text = format!("cannot update {path:?} field");
        Err((Code::InvalidArgument, text))
    };
    let too_large = || Err((Code::Unknown, format!("{TOO_LARGE}: invalid argument")));
    let cases: [(&[&str], Said<()>); 7] = [
        (&["labels.a", "labels"], field("labels")),
        (&["labels.a", "name"], field("name")),
        (&["", "labels.k"], field("")),
        (&["labels.k", "name"], too_large()),
        (&["labels.", "labels.k"], invalid("key required")),
        (&["labels.a", "labels.k"], too_large()),
        (&[], invalid("key required")),
    ];
    for (mask, text) in cases {
        let sent = namespace("a", &[("", "v"), ("a", "9"), ("k", huge.as_str())]);
        assert_eq!(on.update(sent, mask).await, text, "{mask:?}");
        assert_eq!(on.get("a").await, Ok(namespace("a", &[("a", "1")])));
    }
    let bad = on
        .update(namespace("a__b", &[("k", "v")]), &["labels.k"])
        .await;
    assert_eq!(bad, invalid(&format!("identifier \"a__b\" {MUST_MATCH}")));
}

#[tokio::test]
async fn an_update_keeps_what_containerd_does_not_know() {
    let on = On::new().await;
    let limit = HistoryLimit::try_from(3).unwrap();
    let put = PutNamespace {
        name: "a".parse().unwrap(),
        change: NamespaceChange::Replace {
            labels: crate::domain::Labels::default(),
            history_limit: Some(limit),
        },
        dating: Dating::Changes,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    on.store.namespaces().put(&put).await.unwrap();
    on.update(namespace("a", &[("k", "v")]), &[]).await.unwrap();
    let got = on.store.namespaces().get(&put.name).await.unwrap();
    assert_eq!(got.value.stored.record.history_limit, Some(limit));
}

#[tokio::test]
async fn only_an_empty_namespace_is_deleted() {
    let on = On::new().await;
    for name in ["", "a/b", "zz"] {
        let text = format!("namespace {name:?}: not found");
        assert_eq!(on.delete(name).await, Err((Code::NotFound, text)));
    }
    let target = crate::domain::Descriptor::new(
        "a/b".parse().unwrap(),
        crate::domain::Digest::of(crate::domain::Algorithm::Sha256, b""),
        crate::domain::Size::try_from(1u64).unwrap(),
    );
    let change = crate::domain::ImageChange::Replace {
        target,
        labels: crate::domain::Labels::default(),
    };
    let put = PutImage::new("x".parse().unwrap(), change);
    let ns = "a".parse().unwrap();
    on.store.images().put(&ns, put).await.unwrap();
    let held = "namespace \"a\" must be empty, but it still has images: failed precondition";
    let refused = (Code::FailedPrecondition, held.to_owned());
    assert_eq!(on.delete("a").await, Err(refused));
    let delete = crate::store::DeleteImage::new("x".parse().unwrap());
    on.store.images().delete(&ns, &delete).await.unwrap();
    assert_eq!(on.delete("a").await, Ok(()));
    assert_eq!(on.list().await, []);
}

#[tokio::test]
async fn all_namespaces_are_listed_in_byte_order_however_many() {
    let on = On::new().await;
    let mut names: Vec<String> = (0..1005).map(|i| format!("n{i}")).collect();
    for name in &names {
        on.create(namespace(name, &[("k", name)])).await.unwrap();
    }
    names.sort();
    let all: Vec<pb::Namespace> = names
        .iter()
        .map(|name| namespace(name, &[("k", name)]))
        .collect();
    assert_eq!(on.list().await, all);
}
