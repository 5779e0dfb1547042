//! What cannot be is refused by its field, changes nothing, and hurts nobody.

use imagestore::domain::{Algorithm, Digest};
use imagestore::proto::v1 as pb;
use tonic::{Code, Request};

use crate::common::{delete, digest, get, mask, put};
use crate::victim::Victim;

/// A Put of a new name with something about its image changed.
fn put_with(change: impl FnOnce(&mut pb::Image)) -> pb::PutImageRequest {
    let mut request = put("new", "new");
    change(request.image.as_mut().unwrap());
    request
}

/// A Put of a new name with something about its target changed.
fn put_to(change: impl FnOnce(&mut pb::Descriptor)) -> pb::PutImageRequest {
    put_with(|image| change(image.target.as_mut().unwrap()))
}

fn bad_names() -> [String; 4] {
    [
        String::new(),
        "a\0b".to_owned(),
        "x".repeat(4097),
        "é".repeat(2049),
    ]
}

fn bad_digests() -> [String; 10] {
    let hex = "ab".repeat(32);
    [
        hex.clone(),
        "sha256:".to_owned(),
        format!(":{hex}"),
        format!("md5:{}", "ab".repeat(16)),
        format!("SHA256:{hex}"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{}", &hex[2..]),
        format!("sha512:{hex}"),
        format!("sha256:{}g", &hex[1..]),
        format!("sha256:{hex}\0"),
    ]
}

#[tokio::test]
async fn an_image_name_that_is_empty_oversized_or_has_a_nul_is_refused() {
    let mut victim = Victim::new().await;
    for name in bad_names() {
        victim.put_refused(put(&name, "x"), "image.name").await;
        let answer = victim.images.get(get(&name)).await;
        victim
            .refused(answer, Code::InvalidArgument, "INVALID_FIELD", Some("name"))
            .await;
        let answer = victim.images.delete(delete(&name)).await;
        victim
            .refused(answer, Code::InvalidArgument, "INVALID_FIELD", Some("name"))
            .await;
    }
}

#[tokio::test]
async fn a_namespace_that_is_no_identifier_is_refused() {
    let mut victim = Victim::new().await;
    for name in ["a/b", ".a", "a..b", "é", "a b", "a\0b", &"x".repeat(77)] {
        let namespace = name.to_owned();
        victim
            .put_refused(
                pb::PutImageRequest {
                    namespace,
                    ..put("new", "x")
                },
                "namespace",
            )
            .await;
        let list = pb::ListImagesRequest {
            namespace: name.to_owned(),
            ..Default::default()
        };
        victim.list_refused(list, "namespace").await;
    }
    for name in ["", "-", "a/b", "a\0b", &"x".repeat(77)] {
        let namespace = pb::Namespace {
            name: name.to_owned(),
            ..Default::default()
        };
        let request = pb::PutNamespaceRequest {
            namespace: Some(namespace),
            ..Default::default()
        };
        victim.namespace_refused(request, "namespace.name").await;
        let answer = victim
            .namespaces
            .get(pb::GetNamespaceRequest {
                name: name.to_owned(),
            })
            .await;
        victim
            .refused(answer, Code::InvalidArgument, "INVALID_FIELD", Some("name"))
            .await;
        let request = pb::DeleteNamespaceRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        let answer = victim.namespaces.delete(request).await;
        victim
            .refused(answer, Code::InvalidArgument, "INVALID_FIELD", Some("name"))
            .await;
    }
    let mut request = Request::new(put("new", "x"));
    let latin1 = tonic::metadata::MetadataValue::try_from(&b"caf\xe9"[..]).unwrap();
    request
        .metadata_mut()
        .insert("containerd-namespace", latin1);
    let answer = victim.images.put(request).await;
    victim
        .refused(
            answer,
            Code::InvalidArgument,
            "INVALID_FIELD",
            Some("namespace"),
        )
        .await;
}

#[tokio::test]
async fn what_must_be_set_is_asked_for() {
    let mut victim = Victim::new().await;
    victim
        .put_refused(pb::PutImageRequest::default(), "image")
        .await;
    victim
        .put_refused(put_with(|image| image.target = None), "image.target")
        .await;
    let masked = put_with(|image| image.target = None);
    let masked = pb::PutImageRequest {
        update_mask: mask(&["target"]),
        ..masked
    };
    victim.put_refused(masked, "image.target").await;
    victim
        .put_refused(
            put_to(|target| target.digest.clear()),
            "image.target.digest",
        )
        .await;
    victim
        .namespace_refused(pb::PutNamespaceRequest::default(), "namespace")
        .await;
}

#[tokio::test]
async fn a_digest_that_is_not_canonical_is_refused_wherever_it_stands() {
    let mut victim = Victim::new().await;
    for bad in bad_digests() {
        victim
            .put_refused(
                put_to(|target| target.digest = bad.clone()),
                "image.target.digest",
            )
            .await;
        let expecting = pb::PutImageRequest {
            if_target: bad.clone(),
            ..put("kept", "x")
        };
        victim.put_refused(expecting, "if_target").await;
        let list = pb::ListImagesRequest {
            digest: bad.clone(),
            ..Default::default()
        };
        victim.list_refused(list, "digest").await;
        let request = pb::DeleteImageRequest {
            if_target: bad,
            ..delete("kept")
        };
        let answer = victim.images.delete(request).await;
        victim
            .refused(
                answer,
                Code::InvalidArgument,
                "INVALID_FIELD",
                Some("if_target"),
            )
            .await;
    }
    for bad in [
        "abc",
        "sha256:",
        "sha256:abc",
        "ABCD",
        "wxyz",
        "md5:abcd",
        &"a".repeat(129),
    ] {
        let list = pb::ListImagesRequest {
            digest_prefix: bad.to_owned(),
            ..Default::default()
        };
        victim.list_refused(list, "digest_prefix").await;
    }
    let both = pb::ListImagesRequest {
        digest: digest("x"),
        digest_prefix: "abcd".to_owned(),
        ..Default::default()
    };
    victim.list_refused(both, "digest_prefix").await;
}

#[tokio::test]
async fn a_size_that_is_not_positive_is_refused() {
    let mut victim = Victim::new().await;
    for size in [0, -1, i64::MIN] {
        victim
            .put_refused(put_to(|target| target.size = size), "image.target.size")
            .await;
    }
}

#[tokio::test]
async fn a_descriptor_with_an_impossible_part_is_refused_by_that_part() {
    let mut victim = Victim::new().await;
    for media_type in ["", "a/b\0"] {
        let request = put_to(|target| target.media_type = media_type.to_owned());
        victim.put_refused(request, "image.target.media_type").await;
    }
    let request = put_to(|target| target.artifact_type = "a/b\0".to_owned());
    victim
        .put_refused(request, "image.target.artifact_type")
        .await;
    let request = put_to(|target| target.urls.push(String::new()));
    victim.put_refused(request, "image.target.urls").await;
    let empty_key = put_to(|target| drop(target.annotations.insert(String::new(), "x".to_owned())));
    victim
        .put_refused(empty_key.clone(), "image.target.annotations")
        .await;
    let mut masked = pb::PutImageRequest {
        update_mask: mask(&["target.annotations"]),
        ..empty_key
    };
    masked.image.as_mut().unwrap().name = "kept".to_owned();
    victim.put_refused(masked, "image.target.annotations").await;
    for (os, architecture, field) in [("", "arm64", "os"), ("linux", "", "architecture")] {
        let platform = pb::Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            ..Default::default()
        };
        let request = put_to(|target| target.platform = Some(Box::new(platform)));
        victim
            .put_refused(request, &format!("image.target.platform.{field}"))
            .await;
    }
}

#[tokio::test]
async fn embedded_data_that_is_not_what_the_digest_and_the_size_say_is_refused() {
    let mut victim = Victim::new().await;
    for (data, size, of) in [("{}", 3, "{}"), ("{}", 2, "[]"), ("{} ", 2, "{}")] {
        let request = put_to(|target| {
            (target.data, target.size) = (data.as_bytes().into(), size);
            target.digest = digest(of);
        });
        victim.put_refused(request, "image.target.data").await;
    }
}

#[tokio::test]
async fn labels_with_an_empty_key_or_too_many_bytes_are_refused_with_a_mask_or_without() {
    let mut victim = Victim::new().await;
    let huge = "v".repeat(4096);
    for (key, value) in [("", "v"), ("k", huge.as_str()), (huge.as_str(), "v")] {
        let label = [(key.to_owned(), value.to_owned())];
        let request = put_with(|image| image.labels = label.clone().into());
        victim.put_refused(request.clone(), "image.labels").await;
        for path in ["labels".to_owned(), format!("labels.{key}")] {
            if path == "labels." {
                continue;
            }
            let mut masked = request.clone();
            masked.update_mask = mask(&[&path]);
            masked.image.as_mut().unwrap().name = "kept".to_owned();
            victim.put_refused(masked, "image.labels").await;
        }
        let namespace = pb::Namespace {
            name: "default".to_owned(),
            labels: label.into(),
            ..Default::default()
        };
        let request = pb::PutNamespaceRequest {
            namespace: Some(namespace),
            ..Default::default()
        };
        victim
            .namespace_refused(request.clone(), "namespace.labels")
            .await;
        if !key.is_empty() {
            let update_mask = mask(&[&format!("labels.{key}")]);
            let masked = pb::PutNamespaceRequest {
                update_mask,
                ..request
            };
            victim.namespace_refused(masked, "namespace.labels").await;
        }
    }
}

#[tokio::test]
async fn a_mask_path_that_names_no_part_is_refused() {
    let mut victim = Victim::new().await;
    for path in [
        "",
        "name",
        "target.digest",
        "created_at",
        "labels.",
        "Labels",
        "*.",
        "\0",
    ] {
        let update_mask = mask(&["labels", path]);
        let request = pb::PutImageRequest {
            update_mask,
            ..put("kept", "x")
        };
        let status = victim.put_refused(request, "update_mask").await;
        assert!(
            status.message().contains("target.annotations.KEY"),
            "{status:?}"
        );
    }
    for path in ["", "name", "labels.", "target"] {
        let namespace = pb::Namespace {
            name: "default".to_owned(),
            ..Default::default()
        };
        let request = pb::PutNamespaceRequest {
            namespace: Some(namespace),
            update_mask: mask(&[path]),
            ..Default::default()
        };
        victim.namespace_refused(request, "update_mask").await;
    }
}

#[tokio::test]
async fn preconditions_that_cannot_be_are_refused() {
    let mut victim = Victim::new().await;
    for etag in [
        "x",
        "-1",
        "+2",
        "02",
        "1 ",
        "0",
        "99999999999999999999",
        "²",
    ] {
        let if_etag = etag.to_owned();
        victim
            .put_refused(
                pb::PutImageRequest {
                    if_etag,
                    ..put("kept", "x")
                },
                "if_etag",
            )
            .await;
        let request = pb::DeleteImageRequest {
            if_etag: etag.to_owned(),
            ..delete("kept")
        };
        let answer = victim.images.delete(request).await;
        victim
            .refused(
                answer,
                Code::InvalidArgument,
                "INVALID_FIELD",
                Some("if_etag"),
            )
            .await;
    }
    for (etag, target) in [("2", String::new()), ("", digest("kept"))] {
        let both = pb::PutImageRequest {
            must_not_exist: true,
            if_etag: etag.to_owned(),
            if_target: target,
            ..put("kept", "x")
        };
        victim.put_refused(both, "must_not_exist").await;
    }
}

#[tokio::test]
async fn a_filter_that_means_nothing_is_refused_with_the_place() {
    let mut victim = Victim::new().await;
    for (filter, at) in [
        ("nosuch==x", 0),
        ("name==x,nosuch==y", 8),
        ("name==x,", 8),
        ("name==", 6),
        ("name=x", 4),
        ("name<x", 4),
        ("name~=[", 6),
        ("labels.x~=\"(\"", 10),
        ("target.size~=1", 11),
        ("target.size<big", 12),
        ("created_at>yesterday", 11),
        ("name==\"open", 6),
        ("name==a b", 7),
        ("==x", 0),
        ("name==\0", 6),
    ] {
        let filters = vec!["name==fine".to_owned(), filter.to_owned()];
        let list = pb::ListImagesRequest {
            filters,
            ..Default::default()
        };
        let status = victim.list_refused(list, "filters[1]").await;
        let place = format!("at byte {at}:");
        assert!(
            status.message().contains(&place),
            "{filter}: {status:?}, wanted {place}"
        );
    }
    let long = pb::ListImagesRequest {
        filters: vec![format!("name=={}", "x".repeat(4096))],
        ..Default::default()
    };
    victim.list_refused(long, "filters[0]").await;
    let many = vec!["name==x".to_owned(); 65];
    victim
        .list_refused(
            pb::ListImagesRequest {
                filters: many,
                ..Default::default()
            },
            "filters[64]",
        )
        .await;
    let costly = vec!["name~=((((a{1,100}){1,100}){1,100}){1,100})".to_owned()];
    victim
        .list_refused(
            pb::ListImagesRequest {
                filters: costly,
                ..Default::default()
            },
            "filters[0]",
        )
        .await;
}

#[tokio::test]
async fn a_record_over_256_kib_is_refused_however_it_comes_about() {
    let mut victim = Victim::new().await;
    let data = vec![b'x'; 300 << 10];
    let of_data = put_to(|target| {
        target.digest = Digest::of(Algorithm::Sha256, &data).text();
        target.size = data.len() as i64;
        target.data = data.into();
    });
    victim.put_refused(of_data, "image").await;
    let labels = (0..80).map(|i| (format!("k{i:02}"), "v".repeat(4000)));
    let of_labels = put_with(|image| image.labels = labels.collect());
    victim.put_refused(of_labels.clone(), "image").await;
    let rehearsed = pb::PutImageRequest {
        validate_only: true,
        ..of_labels.clone()
    };
    victim.put_refused(rehearsed, "image").await;
    let mut grown = pb::PutImageRequest {
        update_mask: mask(&["labels"]),
        ..of_labels.clone()
    };
    grown.image.as_mut().unwrap().name = "kept".to_owned();
    victim.put_refused(grown, "image").await;
    let namespace = pb::Namespace {
        name: "default".to_owned(),
        labels: of_labels.image.unwrap().labels,
        ..Default::default()
    };
    let request = pb::PutNamespaceRequest {
        namespace: Some(namespace),
        ..Default::default()
    };
    victim.namespace_refused(request, "namespace").await;
}
