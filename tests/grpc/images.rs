//! Images: what each call does, its preconditions, its namespaces.

use std::sync::Arc;

use imagestore::proto::v1 as pb;
use imagestore::proto::v1::images_client::ImagesClient;
use tokio::sync::Barrier;
use tonic::{Code, Request};

use crate::common::{Server, assert_refused, delete, digest, fact, get, mask, put, target};

/// The same calls with the same answers on any address.
async fn round_trip(server: &Server) {
    let mut images = server.images().await;
    let label = ("stage".to_owned(), "prod".to_owned());
    let mut request = put("docker.io/library/alpine:3", "one");
    request
        .image
        .as_mut()
        .unwrap()
        .labels
        .extend([label.clone()]);
    let created = images.put(request).await.unwrap().into_inner();
    assert!(created.created && created.changed);
    let image = created.image.unwrap();
    assert_eq!(
        (image.namespace.as_str(), image.revision),
        ("default", created.revision)
    );
    assert_eq!(image.etag, created.revision.to_string());

    let read = images
        .get(get("docker.io/library/alpine:3"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read.image.as_ref(), Some(&image));
    assert_eq!(read.revision, created.revision);

    let moved = images
        .put(put("docker.io/library/alpine:3", "two"))
        .await
        .unwrap()
        .into_inner();
    assert!(moved.changed && !moved.created && moved.revision > created.revision);
    let moved = moved.image.unwrap();
    assert_eq!(
        moved.created_at, image.created_at,
        "created_at survives an overwrite"
    );
    let time = |time: Option<prost_types::Timestamp>| time.map(|t| (t.seconds, t.nanos)).unwrap();
    assert!(
        time(moved.updated_at) > time(image.updated_at),
        "updated_at moves"
    );
    assert!(moved.labels.is_empty(), "a Put replaces the whole record");

    let counted = images
        .count(pb::CountImagesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((counted.count, counted.revision), (1, moved.revision));
    let listed = images
        .list(pb::ListImagesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (&listed.images[..], listed.next_page_token.as_str()),
        (&[moved.clone()][..], "")
    );
    let mut stream = images
        .stream(pb::StreamImagesRequest::default())
        .await
        .unwrap()
        .into_inner();
    let chunk = stream.message().await.unwrap().unwrap();
    assert_eq!(
        (&chunk.images[..], chunk.revision),
        (&[moved.clone()][..], moved.revision)
    );
    assert_eq!(stream.message().await.unwrap(), None);

    let removed = images
        .delete(delete("docker.io/library/alpine:3"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(removed.image, Some(moved.clone()));
    assert!(removed.revision > moved.revision);
    let gone = images
        .get(get("docker.io/library/alpine:3"))
        .await
        .unwrap_err();
    assert_refused(&gone, Code::NotFound, "NOT_FOUND", None);
    assert_eq!(fact(&gone, "name"), "docker.io/library/alpine:3");
    assert_eq!(
        (fact(&gone, "kind"), fact(&gone, "namespace")),
        ("image".into(), "default".into())
    );
}

#[tokio::test]
async fn a_record_goes_in_and_comes_out_over_a_unix_socket() {
    round_trip(&Server::start().await).await;
}

#[tokio::test]
async fn a_record_goes_in_and_comes_out_over_tcp() {
    round_trip(&Server::start_on_tcp().await).await;
}

#[tokio::test]
async fn the_whole_descriptor_comes_back() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let whole = pb::Descriptor {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        digest: digest("{}"),
        size: 2,
        annotations: [
            ("a.b/c".to_owned(), "ünï".to_owned()),
            ("e".to_owned(), String::new()),
        ]
        .into(),
        urls: vec![
            "https://example.com/x".to_owned(),
            "https://example.com/y".to_owned(),
        ],
        platform: Some(Box::new(pb::Platform {
            architecture: "arm".to_owned(),
            os: "windows".to_owned(),
            os_version: "10.0.14393".to_owned(),
            os_features: vec!["win32k".to_owned()],
            variant: "v7".to_owned(),
        })),
        artifact_type: "application/x-thing".to_owned(),
        data: "{}".into(),
    };
    let mut request = put("whole", "");
    request.image.as_mut().unwrap().target = Some(whole.clone());
    images.put(request).await.unwrap();
    let read = images
        .get(get("whole"))
        .await
        .unwrap()
        .into_inner()
        .image
        .unwrap();
    assert_eq!(read.target, Some(whole));
}

#[tokio::test]
async fn a_put_that_changes_nothing_writes_nothing_and_says_so() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let first = images.put(put("a", "one")).await.unwrap().into_inner();
    let again = images.put(put("a", "one")).await.unwrap().into_inner();
    assert!(!again.changed && !again.created);
    assert_eq!((again.image, again.revision), (first.image, first.revision));
    assert_eq!(server.status().await.revision, first.revision);
}

#[tokio::test]
async fn preconditions_say_what_stands_in_the_way() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let etag = images
        .put(put("a", "one"))
        .await
        .unwrap()
        .into_inner()
        .image
        .unwrap()
        .etag;
    let before = server.state().await;

    let exists = pb::PutImageRequest {
        must_not_exist: true,
        ..put("a", "two")
    };
    let exists = images.put(exists).await.unwrap_err();
    assert_refused(&exists, Code::AlreadyExists, "ALREADY_EXISTS", None);

    let (wrong_etag, wrong_target) = ("1".to_owned(), digest("two"));
    for (etag_is, target_is, name, code, reason) in [
        (wrong_etag.as_str(), "", "a", Code::Aborted, "ETAG_MISMATCH"),
        (
            "",
            wrong_target.as_str(),
            "a",
            Code::Aborted,
            "TARGET_MISMATCH",
        ),
        (
            etag.as_str(),
            wrong_target.as_str(),
            "a",
            Code::Aborted,
            "TARGET_MISMATCH",
        ),
        (etag.as_str(), "", "b", Code::NotFound, "NOT_FOUND"),
        ("", wrong_target.as_str(), "b", Code::NotFound, "NOT_FOUND"),
    ] {
        let (if_etag, if_target) = (etag_is.to_owned(), target_is.to_owned());
        let putting = pb::PutImageRequest {
            if_etag,
            if_target,
            ..put(name, "two")
        };
        let deleting = pb::DeleteImageRequest {
            if_etag: etag_is.to_owned(),
            if_target: target_is.to_owned(),
            ..delete(name)
        };
        for status in [
            images.put(putting).await.unwrap_err(),
            images.delete(deleting).await.unwrap_err(),
        ] {
            assert_refused(&status, code, reason, None);
            assert_eq!(fact(&status, "name"), name);
            match reason {
                "ETAG_MISMATCH" => assert_eq!(fact(&status, "etag"), etag),
                "TARGET_MISMATCH" => assert_eq!(fact(&status, "target"), digest("one")),
                _ => {}
            }
        }
    }
    assert_eq!(server.state().await, before, "nothing has changed");

    let both = pb::PutImageRequest {
        if_etag: etag.clone(),
        if_target: digest("one"),
        ..put("a", "two")
    };
    assert!(images.put(both).await.unwrap().into_inner().changed);
    let stale = pb::DeleteImageRequest {
        if_etag: etag,
        ..delete("a")
    };
    assert_eq!(
        images.delete(stale).await.unwrap_err().code(),
        Code::Aborted
    );
    let fresh = pb::PutImageRequest {
        must_not_exist: true,
        ..put("b", "one")
    };
    assert!(images.put(fresh).await.unwrap().into_inner().created);
}

#[tokio::test]
async fn a_mask_changes_the_parts_it_names_and_no_others() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let mut request = put("a", "one");
    let image = request.image.as_mut().unwrap();
    image.labels = [("keep", "1"), ("drop.me", "2")]
        .map(|(k, v)| (k.into(), v.into()))
        .into();
    image.target.as_mut().unwrap().annotations = [("x.y".into(), "1".into())].into();
    images.put(request).await.unwrap();

    let edit = |paths: &[&str], labels: &[(&str, &str)], annotations: &[(&str, &str)]| {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let target = pb::Descriptor {
            annotations: map(annotations),
            ..Default::default()
        };
        let image = pb::Image {
            name: "a".to_owned(),
            labels: map(labels),
            target: Some(target),
            ..Default::default()
        };
        let image = Some(image);
        pb::PutImageRequest {
            image,
            update_mask: mask(paths),
            ..Default::default()
        }
    };
    let labels = edit(
        &["labels.drop.me", "labels.new"],
        &[("new", "3"), ("not-named", "4")],
        &[],
    );
    let edited = images
        .put(labels)
        .await
        .unwrap()
        .into_inner()
        .image
        .unwrap();
    let wanted = [("keep", "1"), ("new", "3")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(edited.labels, wanted.clone().into());
    assert_eq!(edited.target.unwrap().annotations.len(), 1);

    let annotation = edit(&["target.annotations.x.y"], &[], &[("x.y", "2")]);
    let edited = images
        .put(annotation)
        .await
        .unwrap()
        .into_inner()
        .image
        .unwrap();
    assert_eq!(edited.labels, wanted.into());
    let target = edited.target.unwrap();
    assert_eq!(
        (target.annotations["x.y"].as_str(), target.digest),
        ("2", digest("one"))
    );

    let absent = pb::PutImageRequest {
        update_mask: mask(&["labels"]),
        ..put("b", "one")
    };
    let absent = images.put(absent).await.unwrap_err();
    assert_refused(&absent, Code::NotFound, "NOT_FOUND", None);
}

#[tokio::test]
async fn validate_only_answers_as_the_write_would_and_writes_nothing() {
    let server = Server::start().await;
    let mut images = server.images().await;
    images.put(put("a", "one")).await.unwrap();
    let before = server.state().await;

    let create = pb::PutImageRequest {
        validate_only: true,
        ..put("b", "one")
    };
    let create = images.put(create).await.unwrap().into_inner();
    assert!(create.created && create.changed && create.image.unwrap().etag.is_empty());
    let change = pb::PutImageRequest {
        validate_only: true,
        ..put("a", "two")
    };
    let change = images.put(change).await.unwrap().into_inner();
    assert_eq!(change.image.unwrap().target, Some(target("two")));
    let remove = pb::DeleteImageRequest {
        validate_only: true,
        ..delete("a")
    };
    assert!(
        images
            .delete(remove)
            .await
            .unwrap()
            .into_inner()
            .image
            .is_some()
    );
    let refuse = pb::DeleteImageRequest {
        validate_only: true,
        ..delete("b")
    };
    assert_eq!(
        images.delete(refuse).await.unwrap_err().code(),
        Code::NotFound
    );

    assert_eq!(server.state().await, before);
}

#[tokio::test]
async fn the_field_names_the_namespace_then_the_metadata_then_the_default() {
    let server = Server::start().await;
    let mut images = server.images().await;
    let with = |field: &str, header: Option<&str>, name: &str| {
        let request = pb::PutImageRequest {
            namespace: field.to_owned(),
            ..put(name, "one")
        };
        let mut request = Request::new(request);
        if let Some(header) = header {
            request
                .metadata_mut()
                .insert("containerd-namespace", header.parse().unwrap());
        }
        request
    };
    for (field, header, wanted) in [
        ("", None, "default"),
        ("field", None, "field"),
        ("", Some("header"), "header"),
        ("both", Some("both"), "both"),
    ] {
        let made = images
            .put(with(field, header, "a"))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(made.image.unwrap().namespace, wanted);
    }
    for (field, header) in [
        ("one", Some("two")),
        ("-", None),
        ("", Some("-")),
        ("", Some("a/b")),
    ] {
        let status = images.put(with(field, header, "a")).await.unwrap_err();
        assert_refused(
            &status,
            Code::InvalidArgument,
            "INVALID_FIELD",
            Some("namespace"),
        );
    }

    let all = |namespace: &str| pb::ListImagesRequest {
        namespace: namespace.to_owned(),
        ..Default::default()
    };
    let listed = images.list(all("-")).await.unwrap().into_inner().images;
    let namespaces: Vec<_> = listed
        .iter()
        .map(|image| image.namespace.as_str())
        .collect();
    assert_eq!(namespaces, ["both", "default", "field", "header"]);
    assert_eq!(
        images
            .list(all(""))
            .await
            .unwrap()
            .into_inner()
            .images
            .len(),
        1
    );
    let count = pb::CountImagesRequest {
        namespace: "-".to_owned(),
        ..Default::default()
    };
    assert_eq!(images.count(count).await.unwrap().into_inner().count, 4);
    let stream = pb::StreamImagesRequest {
        namespace: "-".to_owned(),
        ..Default::default()
    };
    let mut stream = images.stream(stream).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().images, listed);
    let nowhere = images.list(all("nowhere")).await.unwrap().into_inner();
    assert_eq!(
        (nowhere.images.len(), nowhere.next_page_token.as_str()),
        (0, "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_clients_that_put_one_name_at_once_all_succeed_and_one_creates_it() {
    let server = Server::start().await;
    let start = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (endpoint, start) = (server.endpoint(), start.clone());
            tokio::spawn(async move {
                let mut images = ImagesClient::new(endpoint.connect().await.unwrap());
                start.wait().await;
                let put = images.put(put("one", &client.to_string())).await;
                put.unwrap().into_inner()
            })
        })
        .collect();
    let mut puts = Vec::new();
    for client in clients {
        puts.push(client.await.unwrap());
    }
    assert_eq!(puts.iter().filter(|put| put.created).count(), 1);
    assert!(puts.iter().all(|put| put.changed), "all targets differ");
    puts.sort_by_key(|put| put.revision);
    puts.dedup_by_key(|put| put.revision);
    assert_eq!(puts.len(), CLIENTS, "each has a revision of its own");
    assert!(puts[0].created, "the first of them");

    let read = server.images().await.get(get("one")).await.unwrap();
    let last = puts.pop().unwrap();
    assert_eq!(read.into_inner().image, last.image, "the last one stays");
    let status = server.status().await;
    assert_eq!((status.images, status.revision), (1, last.revision));
}

/// Clients that ask at once.
const CLIENTS: usize = 64;
