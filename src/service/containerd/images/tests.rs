//! Every text is one that containerd 1.6.20 gave, or 2.x's where 1.6 has no such thing.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost_types::{FieldMask, Timestamp};
use tonic::Code;

use super::*;
use crate::domain::{Descriptor, Labels, Platform};
use crate::kv::Memory;
use crate::proto::containerd::services::images::v1::images_client::ImagesClient;
use crate::proto::containerd::services::images::v1::images_server::ImagesServer;
use crate::proto::containerd::types;
use crate::service::containerd::MAX_MESSAGE_BYTES;
use crate::service::fixture::{in_namespace, said, store};

type Said<T> = Result<T, (Code, String)>;
type Pairs = &'static [(&'static str, &'static str)];

/// The service, called without a network, in the namespace `ns`.
struct On {
    store: Store,
}

impl On {
    async fn new() -> Self {
        let store = store(Arc::new(Memory::new())).await;
        Self { store }
    }

    fn client(&self) -> ImagesClient<ImagesServer<Service>> {
        ImagesClient::new(ImagesServer::new(Service::new(
            &self.store,
            &Answers::new(),
        )))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn get(&self, name: &str) -> Said<pb::Image> {
        let request = pb::GetImageRequest {
            name: name.to_owned(),
        };
        let got = self.client().get(in_namespace("ns", request)).await;
        said(got).map(|got| got.image.unwrap())
    }

    async fn create(&self, image: pb::Image) -> Said<pb::Image> {
        let request = pb::CreateImageRequest {
            image: Some(image),
            source_date_epoch: None,
        };
        let created = self.client().create(in_namespace("ns", request)).await;
        said(created).map(|created| created.image.unwrap())
    }

    async fn update(&self, image: pb::Image, mask: &[&str]) -> Said<pb::Image> {
        let request = pb::UpdateImageRequest {
            image: Some(image),
            update_mask: Some(FieldMask {
                paths: mask.iter().map(|path| (*path).to_owned()).collect(),
            }),
            source_date_epoch: None,
        };
        let updated = self.client().update(in_namespace("ns", request)).await;
        said(updated).map(|updated| updated.image.unwrap())
    }

    async fn delete(&self, name: &str, target: Option<&str>) -> Said<()> {
        let request = pb::DeleteImageRequest {
            name: name.to_owned(),
            sync: true,
            target: target.map(|digest| types::Descriptor {
                digest: digest.to_owned(),
                ..Default::default()
            }),
        };
        said(self.client().delete(in_namespace("ns", request)).await)
    }

    async fn list(&self, filters: &[&str]) -> Said<Vec<String>> {
        let request = pb::ListImagesRequest {
            filters: filters.iter().map(|text| (*text).to_owned()).collect(),
        };
        let listed = said(self.client().list(in_namespace("ns", request)).await)?;
        Ok(listed.images.into_iter().map(|image| image.name).collect())
    }

    async fn revision(&self) -> u64 {
        self.store.status().await.unwrap().revision.0
    }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn digest_of(content: &str) -> String {
    Digest::of(crate::domain::Algorithm::Sha256, content.as_bytes()).text()
}

fn target(content: &str) -> types::Descriptor {
    types::Descriptor {
        media_type: "a/b".to_owned(),
        digest: digest_of(content),
        size: 7,
        annotations: BTreeMap::new(),
    }
}

fn image(name: &str, content: &str, labels: &[(&str, &str)]) -> pb::Image {
    pb::Image {
        name: name.to_owned(),
        labels: pairs(labels),
        target: Some(target(content)),
        ..Default::default()
    }
}

fn labelled(name: &str, labels: &[(&str, &str)]) -> pb::Image {
    pb::Image {
        target: None,
        ..image(name, "", labels)
    }
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn invalid<T>(text: &str) -> Said<T> {
    Err((Code::InvalidArgument, format!("{text}: invalid argument")))
}

fn not_found<T>(text: &str) -> Said<T> {
    Err((Code::NotFound, format!("{text}: not found")))
}

#[tokio::test]
async fn a_new_image_is_as_it_was_sent_but_for_its_times_and_what_has_no_value() {
    let on = On::new().await;
    let mut sent = image("two words\n", "one", &[("a", ""), ("b", "1")]);
    // The zero time of Go's clients.
    sent.created_at = at(-62_135_596_800);
    sent.updated_at = at(i64::MIN);
    let sent_target = sent.target.as_mut().unwrap();
    sent_target.annotations = pairs(&[("c", "2"), ("d", "")]);
    let made = on.create(sent).await.unwrap();
    let mut kept = image("two words\n", "one", &[("b", "1")]);
    kept.target.as_mut().unwrap().annotations = pairs(&[("c", "2")]);
    kept.created_at = at(1000);
    kept.updated_at = at(1000);
    assert_eq!(made, kept);
    assert_eq!(on.get("two words\n").await, Ok(kept));
}

#[tokio::test]
async fn a_create_is_refused_in_containerds_order_and_words() {
    let on = On::new().await;
    let of = |change: &dyn Fn(&mut pb::Image)| {
        let mut image = image("x", "one", &[]);
        change(&mut image);
        image
    };
    fn target_of(image: &mut pb::Image) -> &mut types::Descriptor {
        image.target.as_mut().unwrap()
    }
    let digest = |digest: &str| of(&|image| target_of(image).digest = digest.to_owned());
    let huge = "v".repeat(4096);
    let all_wrong = || {
        let mut image = labelled("x", &[("", "v"), ("k", huge.as_str())]);
        image.target = Some(types::Descriptor {
            annotations: pairs(&[("", "v")]),
            ..Default::default()
        });
        image
    };
    let without_label = || {
        let mut image = all_wrong();
        image.labels.remove("k");
        image
    };
    let keyless_label = of(&|image| image.labels = pairs(&[("", "v\n")]));
    let keyless_annotation = of(&|image| target_of(image).annotations = pairs(&[("", "v")]));
    for (image, said) in [
        (
            all_wrong(),
            "image.Labels: label key and value greater than maximum size (4096 bytes), key: k",
        ),
        (
            labelled("x", &[("aéééééééé", &huge)]),
            "image.Labels: label key and value greater than maximum size (4096 bytes), key: \
             aéééé\u{fffd}",
        ),
        (
            labelled("x", &[(&"k".repeat(5000), "")]),
            "image.Labels: label key and value greater than maximum size (4096 bytes), key: \
             kkkkkkkkkk",
        ),
        (
            without_label(),
            r#"Target.Digest "" invalid: invalid checksum digest format"#,
        ),
        (
            labelled("x", &[]),
            r#"Target.Digest "" invalid: invalid checksum digest format"#,
        ),
        (
            digest("md5:aa"),
            r#"Target.Digest "md5:aa" invalid: unsupported digest algorithm"#,
        ),
        (
            digest("sha256:aé\t"),
            r#"Target.Digest "sha256:aé\t" invalid: invalid checksum digest length"#,
        ),
        (
            of(&|image| {
                target_of(image).size = -1;
                target_of(image).media_type.clear();
            }),
            "Target.Size must be greater than zero",
        ),
        (
            of(&|image| target_of(image).media_type.clear()),
            "Target.MediaType must be set",
        ),
        (
            keyless_label,
            r#"writing labels for image x: failed to set label ""="v\n": key required"#,
        ),
        (
            keyless_annotation,
            r#"writing Annotations for image x: failed to set label ""="v": key required"#,
        ),
    ] {
        assert_eq!(on.create(image).await, invalid(said));
    }
    let accepted = of(&|image| image.labels = pairs(&[("", "")]));
    assert!(on.create(accepted).await.is_ok());
}

#[tokio::test]
async fn what_is_wrong_is_said_before_that_the_image_exists_but_for_an_empty_key() {
    let on = On::new().await;
    on.create(image("x", "one", &[])).await.unwrap();
    let exists = || {
        Err((
            Code::AlreadyExists,
            "image \"x\": already exists".to_owned(),
        ))
    };
    assert_eq!(on.create(image("x", "two", &[])).await, exists());
    assert_eq!(on.create(image("x", "two", &[("", "v")])).await, exists());
    let digest = r#"Target.Digest "" invalid: invalid checksum digest format"#;
    assert_eq!(on.create(labelled("x", &[])).await, invalid(digest));
    assert_eq!(on.get("x").await.unwrap().target, Some(target("one")));
}

#[tokio::test]
async fn an_image_must_have_a_name_before_a_request_must_have_a_namespace() {
    let on = On::new().await;
    let required = (Code::InvalidArgument, "Image.Name required".to_owned());
    for image in [None, Some(pb::Image::default())] {
        let create = pb::CreateImageRequest {
            image: image.clone(),
            source_date_epoch: None,
        };
        let update = pb::UpdateImageRequest {
            image,
            ..Default::default()
        };
        let mut client = on.client();
        for namespace in ["", "a/b", "ns"] {
            let create = in_namespace(namespace, create.clone());
            assert_eq!(said(client.create(create).await), Err(required.clone()));
            let update = in_namespace(namespace, update.clone());
            assert_eq!(said(client.update(update).await), Err(required.clone()));
        }
        assert_eq!(said(client.create(create).await), Err(required.clone()));
        assert_eq!(said(client.update(update).await), Err(required.clone()));
    }
}

#[tokio::test]
async fn the_first_header_names_the_namespace_and_there_is_no_default() {
    let on = On::new().await;
    on.create(image("x", "one", &[])).await.unwrap();
    let get = || pb::GetImageRequest {
        name: "x".to_owned(),
    };
    let required = (
        Code::FailedPrecondition,
        "namespace is required: failed precondition".to_owned(),
    );
    assert_eq!(said(on.client().get(get()).await), Err(required.clone()));
    let empty_first = {
        let mut request = in_namespace("", get());
        let second = "ns".parse().unwrap();
        request
            .metadata_mut()
            .append("containerd-namespace", second);
        request
    };
    assert_eq!(said(on.client().get(empty_first).await), Err(required));
    let mut first = in_namespace("ns", get());
    let second = "other".parse().unwrap();
    first.metadata_mut().append("containerd-namespace", second);
    assert!(on.client().get(first).await.is_ok());
    let bad = said(on.client().get(in_namespace("a/b", get())).await);
    let text = "namespace validation: identifier \"a/b\" must match \
                ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$";
    assert_eq!(bad, invalid(text));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_whatever_it_is_called() {
    let on = On::new().await;
    on.create(image("x", "one", &[])).await.unwrap();
    let long = "x".repeat(4097);
    for (name, quoted) in [
        ("y", "\"y\"".to_owned()),
        ("a\0b\u{e9}", "\"a\\x00bé\"".to_owned()),
        (&long, format!("\"{long}\"")),
        ("", "\"\"".to_owned()),
    ] {
        let none = format!("image {quoted}");
        assert_eq!(on.get(name).await, not_found(&none));
        assert_eq!(on.delete(name, None).await, not_found(&none));
        assert_eq!(on.delete(name, Some("zz")).await, not_found(&none));
        if !name.is_empty() {
            // Before its mask and its values are looked at.
            let update = on.update(labelled(name, &[("", "v")]), &["bad", "target"]);
            assert_eq!(update.await, not_found(&none));
        }
    }
    for name in ["a\0b", &long] {
        let refused = on.create(image(name, "one", &[])).await.unwrap_err();
        assert_eq!(refused.0, Code::InvalidArgument);
    }
}

#[tokio::test]
async fn only_a_create_that_succeeds_makes_a_namespace() {
    let on = On::new().await;
    on.create(labelled("x", &[])).await.unwrap_err();
    on.get("x").await.unwrap_err();
    on.delete("x", None).await.unwrap_err();
    on.update(labelled("x", &[]), &["labels"])
        .await
        .unwrap_err();
    assert_eq!(on.list(&[]).await, Ok(vec![]));
    assert_eq!(on.list(&["name==x"]).await, Ok(vec![]));
    let ns = "ns".parse().unwrap();
    assert!(on.store.namespaces().get(&ns).await.is_err());
    on.create(image("x", "one", &[])).await.unwrap();
    assert!(on.store.namespaces().get(&ns).await.is_ok());
}

#[tokio::test]
async fn an_update_changes_the_parts_that_its_mask_names() {
    let on = On::new().await;
    let stored: Pairs = &[("a", "1"), ("b.c", "2"), ("d\"e/f", "3")];
    let cases: [(&[&str], Pairs, Pairs); 7] = [
        (
            &["labels.a"],
            &[("a", "9"), ("b.c", "9")],
            &[("a", "9"), ("b.c", "2"), ("d\"e/f", "3")],
        ),
        // The key is what follows the first dot, as it is.
        (
            &["labels.b.c", "labels.d\"e/f"],
            &[("b.c", "9")],
            &[("a", "1"), ("b.c", "9")],
        ),
        (
            &["labels.a", "labels.b.c"],
            &[("a", "")],
            &[("d\"e/f", "3")],
        ),
        (&["labels"], &[("x", "9"), ("y", "")], &[("x", "9")]),
        (
            &["labels", "labels.a", "labels"],
            &[("a", "9")],
            &[("a", "9")],
        ),
        (&["labels.a", "labels"], &[], &[]),
        (&["labels."], &[("", "")], stored),
    ];
    for (i, (mask, sent, left)) in cases.into_iter().enumerate() {
        let name = i.to_string();
        on.create(image(&name, "one", stored)).await.unwrap();
        let updated = on.update(labelled(&name, sent), mask).await.unwrap();
        assert_eq!(updated.labels, pairs(left), "{mask:?}");
        assert_eq!(updated.target, Some(target("one")));
        assert_eq!(on.get(&name).await, Ok(updated));
    }
}

#[tokio::test]
async fn an_update_of_the_target_takes_its_annotations_and_no_labels() {
    let on = On::new().await;
    let annotated = |content: &str, annotations: &[(&str, &str)]| types::Descriptor {
        annotations: pairs(annotations),
        ..target(content)
    };
    let mut first = image("x", "one", &[("a", "1")]);
    first.target = Some(annotated("one", &[("k", "1"), ("l", "2")]));
    on.create(first).await.unwrap();
    let put = async |content: &str, annotations: &[(&str, &str)], mask: &[&str]| {
        let mut image = labelled("x", &[("a", "9")]);
        image.target = Some(annotated(content, annotations));
        let updated = on.update(image, mask).await.unwrap();
        assert_eq!(updated.labels, pairs(&[("a", "1")]), "{mask:?}");
        updated.target.unwrap()
    };
    let keyed = put(
        "two",
        &[("k", "9"), ("l", "9"), ("m", "")],
        &["annotations.k"],
    )
    .await;
    assert_eq!(keyed, annotated("one", &[("k", "9"), ("l", "2")]));
    let removed = put("two", &[("k", "")], &["annotations.k", "annotations.m"]).await;
    assert_eq!(removed, annotated("one", &[("l", "2")]));
    let replaced = put("two", &[("n", "1"), ("o", "")], &["annotations"]).await;
    assert_eq!(replaced, annotated("one", &[("n", "1")]));
    let moved = put("two", &[("p", "1")], &["target"]).await;
    assert_eq!(moved, annotated("two", &[("p", "1")]));
    let both = put("three", &[("q", "1")], &["target", "annotations.q"]).await;
    assert_eq!(both, annotated("three", &[("q", "1")]));
}

#[tokio::test]
async fn without_paths_an_update_replaces_labels_and_target() {
    let on = On::new().await;
    on.create(image("x", "one", &[("a", "1")])).await.unwrap();
    let updated = on.update(image("x", "two", &[]), &[]).await.unwrap();
    assert_eq!(
        (updated.labels, updated.target),
        (pairs(&[]), Some(target("two")))
    );
    let request = pb::UpdateImageRequest {
        image: Some(image("x", "three", &[("b", "2")])),
        ..Default::default()
    };
    let updated = said(on.client().update(in_namespace("ns", request)).await);
    let updated = updated.unwrap().image.unwrap();
    assert_eq!(updated.labels, pairs(&[("b", "2")]));
    let digest = r#"Target.Digest "" invalid: invalid checksum digest format"#;
    // An empty target is there and is none.
    let mut empty = labelled("x", &[]);
    empty.target = Some(types::Descriptor::default());
    for image in [empty, labelled("x", &[])] {
        assert_eq!(on.update(image, &[]).await, invalid(digest));
    }
    assert_eq!(on.get("x").await, Ok(updated));
}

#[tokio::test]
async fn an_update_is_refused_whole_and_checks_only_what_it_changes() {
    let on = On::new().await;
    let before = on.create(image("x", "one", &[("a", "1")])).await.unwrap();
    let huge = "v".repeat(4097);
    let key = "k".repeat(4097);
    let of_key = format!("labels.{key}");
    let cannot = |path: &str| format!("cannot update {path:?} field on image \"x\"");
    let size = "image.Labels: label key and value greater than maximum size (4096 bytes), key: ";
    let digest = r#"Target.Digest "" invalid: invalid checksum digest format"#;
    let cases: [(&[&str], String); 11] = [
        (&["labels.a", "name"], cannot("name")),
        (&["labels.z", "created_at"], cannot("created_at")),
        (&["target", "target.digest"], cannot("target.digest")),
        (&["target.annotations"], cannot("target.annotations")),
        (&["*"], cannot("*")),
        (&["Labels"], cannot("Labels")),
        (&["labels.z"], format!("{size}z")),
        (&["labels.z", "target"], format!("{size}z")),
        (&[&of_key], format!("{size}kkkkkkkkkk")),
        (&["labels.", "target"], digest.to_owned()),
        (
            &["labels."],
            r#"writing labels for image x: failed to set label ""="v": key required"#.to_owned(),
        ),
    ];
    for (mask, text) in cases {
        let image = labelled("x", &[("a", "9"), ("z", huge.as_str()), ("", "v")]);
        assert_eq!(on.update(image, mask).await, invalid(&text), "{mask:?}");
        assert_eq!(on.get("x").await, Ok(before.clone()));
    }
    let beside = labelled("x", &[("a", "9"), ("z", huge.as_str()), ("", "v")]);
    let updated = on.update(beside, &["labels.a"]).await.unwrap();
    assert_eq!(updated.labels, pairs(&[("a", "9")]));
}

#[tokio::test]
async fn the_epoch_of_a_request_is_the_time_of_its_write() {
    let on = On::new().await;
    let create = async |name: &str, epoch| {
        let request = pb::CreateImageRequest {
            image: Some(image(name, "one", &[])),
            source_date_epoch: Some(epoch),
        };
        let created = said(on.client().create(in_namespace("ns", request)).await);
        created.map(|created| created.image.unwrap())
    };
    let update = async |epoch| {
        let request = pb::UpdateImageRequest {
            image: Some(labelled("x", &[])),
            update_mask: Some(FieldMask {
                paths: vec!["labels.none".to_owned()],
            }),
            source_date_epoch: epoch,
        };
        let updated = said(on.client().update(in_namespace("ns", request)).await);
        let image = updated.unwrap().image.unwrap();
        (image.created_at, image.updated_at)
    };
    // In Go's reckoning: half a second before.
    let before = Timestamp {
        seconds: 6,
        nanos: -500_000_000,
    };
    let epoch = Timestamp {
        seconds: 5,
        nanos: 500_000_000,
    };
    let made = create("x", before).await.unwrap();
    assert_eq!(
        (made.created_at, made.updated_at),
        (Some(epoch), Some(epoch))
    );
    assert_eq!(update(None).await, (Some(epoch), at(1000)));
    assert_eq!(
        update(Some(Timestamp::default())).await,
        (Some(epoch), at(0))
    );
    let revision = on.revision().await;
    assert_eq!(
        update(Some(Timestamp::default())).await,
        (Some(epoch), at(0))
    );
    assert_eq!(
        on.revision().await,
        revision + 1,
        "it is written, and is an event"
    );
    let beyond = Timestamp {
        seconds: i64::MAX,
        nanos: i32::MAX,
    };
    let refused = create("y", beyond).await.unwrap_err();
    assert_eq!(refused.0, Code::InvalidArgument);
}

#[tokio::test]
async fn an_update_keeps_what_containerd_does_not_know_unless_it_moves_the_target() {
    let on = On::new().await;
    let ns: Namespace = "ns".parse().unwrap();
    let whole = Descriptor::new(
        "a/b".parse().unwrap(),
        digest_of("one").parse().unwrap(),
        crate::domain::Size::try_from(7u64).unwrap(),
    )
    .with_urls(vec!["https://example.org/one".to_owned()])
    .unwrap()
    .with_platform(Some(
        Platform::new("arm64".to_owned(), "linux".to_owned()).unwrap(),
    ))
    .with_artifact_type(Some("a/chart".parse().unwrap()));
    let change = ImageChange::Replace {
        target: whole.clone(),
        labels: Labels::try_from(pairs(&[("empty", ""), ("a", "1")])).unwrap(),
    };
    let put = PutImage::new("x".parse().unwrap(), change);
    on.store.images().put(&ns, put).await.unwrap();
    let stored = async || {
        let got = on.store.images().get(&ns, &"x".parse().unwrap()).await;
        got.unwrap().value.record
    };
    // What has no value in our own API stays beside.
    let updated = on.update(labelled("x", &[("a", "2")]), &["labels.a"]).await;
    assert_eq!(updated.unwrap().labels, pairs(&[("a", "2"), ("empty", "")]));
    assert_eq!(stored().await.target, whole);
    let mut same = image("x", "one", &[]);
    same.target.as_mut().unwrap().annotations = pairs(&[("k", "v")]);
    on.update(same, &["target"]).await.unwrap();
    let annotated = whole.clone().with_annotations(pairs(&[("k", "v")]));
    assert_eq!(stored().await.target, annotated.unwrap());
    on.update(image("x", "one", &[]), &[]).await.unwrap();
    assert_eq!(stored().await.target, whole);
    on.update(image("x", "two", &[]), &["target"])
        .await
        .unwrap();
    assert!(stored().await.target.urls().is_empty());
}

#[tokio::test]
async fn a_mask_of_very_many_paths_is_done_as_a_whole() {
    let on = On::new().await;
    let mut first = image("x", "one", &[("a", "1"), ("b", "2"), ("c", "3")]);
    first.target.as_mut().unwrap().annotations = pairs(&[("a", "1"), ("b", "2")]);
    on.create(first).await.unwrap();
    let absent = (0..50_000).flat_map(|i| [format!("labels.{i}"), format!("annotations.{i}")]);
    let again = ["labels.a", "labels.b", "labels.d", "annotations.b"].repeat(10_000);
    let again = again.into_iter().map(str::to_owned);
    let paths: Vec<String> = again.chain(absent).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let sent = labelled("x", &[("a", "9"), ("c", "9"), ("d", "9")]);
    let updated = on.update(sent, &paths).await.unwrap();
    assert_eq!(updated.labels, pairs(&[("a", "9"), ("c", "3"), ("d", "9")]));
    assert_eq!(updated.target.unwrap().annotations, pairs(&[("a", "1")]));
}

#[tokio::test]
async fn a_delete_with_a_target_deletes_no_other() {
    let on = On::new().await;
    on.create(image("x", "one", &[])).await.unwrap();
    let current = digest_of("one");
    for other in [&digest_of("two"), "zz"] {
        let text = format!("image \"x\" has target {current}, not {other}");
        assert_eq!(on.delete("x", Some(other)).await, not_found(&text));
    }
    assert_eq!(on.delete("x", Some(&current)).await, Ok(()));
    on.create(image("x", "one", &[])).await.unwrap();
    assert_eq!(on.delete("x", Some("")).await, Ok(()));
    assert_eq!(on.delete("x", None).await, not_found("image \"x\""));
}

#[tokio::test]
async fn images_are_listed_by_name_whichever_index_finds_them() {
    let on = On::new().await;
    for (name, content) in [
        ("foo", "1"),
        ("10x", "2"),
        ("Zed", "1"),
        ("a-b_c", "2"),
        ("é", "3"),
    ] {
        on.create(image(name, content, &[])).await.unwrap();
    }
    let all = ["10x", "Zed", "a-b_c", "foo", "é"];
    assert_eq!(on.list(&[]).await.unwrap(), all);
    assert_eq!(on.list(&["name==foo", ""]).await.unwrap(), all);
    let digests: Vec<String> = ["1", "2"]
        .map(|content| format!("target.digest=={}", digest_of(content)))
        .into();
    assert_eq!(
        on.list(&[&digests[0], &digests[1]]).await.unwrap(),
        all[..4]
    );
    let mixed = on.list(&["name==foo", "name==é", &digests[0]]).await;
    assert_eq!(mixed.unwrap(), ["Zed", "foo", "é"]);
    // What containerd does not know is absent, and an expression that is none matches nothing.
    assert_eq!(on.list(&["target.artifacttype!=x"]).await.unwrap(), all);
    assert_eq!(
        on.list(&["name~=(", "target.size==7"]).await.unwrap(),
        [""; 0]
    );
    let bad = "filters: parse error: [a==]: expected value or quoted: invalid argument";
    assert_eq!(on.list(&["", "a=="]).await, invalid(bad));
}

#[tokio::test]
async fn a_list_that_is_too_large_for_a_message_says_what_to_do() {
    let on = On::new().await;
    let heavy = |name: &str, bytes: usize| {
        let mut image = image(name, "one", &[]);
        image.target.as_mut().unwrap().annotations = pairs(&[("k", &"v".repeat(bytes))]);
        image
    };
    let of = |name: String| {
        let mut sent = heavy(&name, 200_000);
        sent.created_at = at(1000);
        sent.updated_at = at(1000);
        sent
    };
    let most = (0..).map(|i| format!("a{i:03}"));
    let mut listed = pb::ListImagesResponse::default();
    for name in most {
        let image = of(name);
        listed.images.push(image.clone());
        if prost::Message::encoded_len(&listed) > MAX_MESSAGE_BYTES {
            break;
        }
        on.create(image).await.unwrap();
    }
    let some = on.list(&[]).await.unwrap();
    assert_eq!(some.len() + 1, listed.images.len());
    on.create(heavy("b", 200_000)).await.unwrap();
    let (code, text) = on.list(&[]).await.unwrap_err();
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(
        text,
        "the images take more than the 16777216 bytes that a message may have; ask for fewer with a \
         filter such as name~=^docker\\.io/, or for all with imagestore.v1.Images/Stream"
    );
    assert_eq!(on.list(&["name~=^a"]).await.unwrap(), some);
}
