//! What another store holds, taken over as it is there.

use imagestore::proto::containerd::services::events::v1 as events;
use imagestore::proto::containerd::services::events::v1::events_client::EventsClient;
use imagestore::proto::containerd::services::leases::v1 as leases;
use imagestore::proto::containerd::services::leases::v1::leases_client::LeasesClient;
use imagestore::proto::v1 as pb;
use imagestore::proto::v1::store_client::StoreClient;
use prost_types::Timestamp;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::common::{Server, digest, get, put, target};
use crate::victim::Victim;

fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

fn image(name: &str) -> pb::Image {
    pb::Image {
        name: name.to_owned(),
        target: Some(target(name)),
        created_at: at(1000, 1),
        updated_at: at(2000, 999_999_999),
        ..pb::Image::default()
    }
}

fn lease(id: &str, resources: &[(&str, &str)]) -> pb::ImportedLease {
    let resource = |(kind, id): &(&str, &str)| pb::ImportedResource {
        id: (*id).to_owned(),
        r#type: (*kind).to_owned(),
    };
    pb::ImportedLease {
        id: id.to_owned(),
        created_at: at(3000, 3),
        labels: [("k".to_owned(), "v".to_owned())].into(),
        resources: resources.iter().map(resource).collect(),
    }
}

fn labels(key: &str, value: &str) -> Option<pb::ImportedLabels> {
    Some(pb::ImportedLabels {
        labels: [(key.to_owned(), value.to_owned())].into(),
    })
}

fn counts(created: i64, changed: i64, unchanged: i64, deleted: i64) -> Option<pb::ImportCounts> {
    Some(pb::ImportCounts {
        created,
        changed,
        unchanged,
        deleted,
    })
}

async fn client(server: &Server) -> StoreClient<Channel> {
    StoreClient::new(server.channel().await)
}

#[tokio::test]
async fn everything_comes_as_it_was_and_a_second_time_it_changes_nothing() {
    let server = Server::start().await;
    let mut store = client(&server).await;
    let mut images = server.images().await;
    let request = pb::ImportRequest {
        namespace: "n".to_owned(),
        images: vec![image("a"), image("b")],
        deleted_images: vec!["c".to_owned()],
        labels: labels("owner", "me"),
        leases: vec![lease(
            "l",
            &[("content", &digest("x")), ("snapshots/overlayfs", "s/1")],
        )],
        ..pb::ImportRequest::default()
    };
    let validated = pb::ImportRequest {
        validate_only: true,
        ..request.clone()
    };
    let validated = store.import(validated).await.unwrap().into_inner();
    assert_eq!(server.status().await.namespaces, 0, "nothing was written");
    let first = store.import(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.images, counts(2, 0, 1, 0));
    assert_eq!(first.namespaces, counts(1, 0, 0, 0));
    assert_eq!(first.leases, counts(1, 0, 0, 0));
    assert_eq!(
        (validated.images, validated.namespaces, validated.leases),
        (first.images, first.namespaces, first.leases)
    );
    let status = server.status().await;
    assert_eq!(first.revision, status.revision);

    let second = store.import(request.clone()).await.unwrap().into_inner();
    assert_eq!(second.images, counts(0, 0, 3, 0));
    assert_eq!(second.namespaces, counts(0, 0, 1, 0));
    assert_eq!(second.leases, counts(0, 0, 1, 0));
    assert_eq!(
        server.status().await.revision,
        status.revision,
        "nothing was written"
    );

    let stored = pb::GetImageRequest {
        namespace: "n".to_owned(),
        ..get("a")
    };
    let stored = images
        .get(stored)
        .await
        .unwrap()
        .into_inner()
        .image
        .unwrap();
    assert_eq!(stored.created_at, at(1000, 1));
    assert_eq!(stored.updated_at, at(2000, 999_999_999));
    assert_eq!(stored.target, Some(target("a")));

    // Later it is not the same any more; earlier times are taken too.
    let mut changed = image("a");
    changed.created_at = at(500, 0);
    changed.labels.insert("k".to_owned(), "v".to_owned());
    let third = pb::ImportRequest {
        images: vec![changed],
        deleted_images: vec!["b".to_owned()],
        labels: labels("owner", "you"),
        leases: vec![lease("l", &[("ingests", "i")])],
        ..request
    };
    let third = store.import(third).await.unwrap().into_inner();
    assert_eq!(third.images, counts(0, 1, 0, 1));
    assert_eq!(third.namespaces, counts(0, 1, 0, 0));
    assert_eq!(third.leases, counts(0, 1, 0, 0));

    let mut asked = Request::new(leases::ListResourcesRequest { id: "l".to_owned() });
    asked
        .metadata_mut()
        .insert("containerd-namespace", "n".parse().unwrap());
    let mut held = LeasesClient::new(server.channel().await);
    let held = held.list_resources(asked).await.unwrap().into_inner();
    let resource = leases::Resource {
        id: "i".to_owned(),
        r#type: "ingests".to_owned(),
    };
    assert_eq!(held.resources, [resource]);
}

#[tokio::test]
async fn an_image_that_brings_no_times_is_dated_as_by_a_put_and_one_time_counts_for_both() {
    let server = Server::start().await;
    let mut store = client(&server).await;
    let mut images = server.images().await;
    let mut undated = image("undated");
    (undated.created_at, undated.updated_at) = (None, None);
    let mut half = image("half");
    half.created_at = None;
    let request = pb::ImportRequest {
        images: vec![undated, half],
        ..pb::ImportRequest::default()
    };
    store.import(request).await.unwrap();
    let half = images
        .get(get("half"))
        .await
        .unwrap()
        .into_inner()
        .image
        .unwrap();
    assert_eq!(half.created_at, at(2000, 999_999_999));
    let undated = images
        .get(get("undated"))
        .await
        .unwrap()
        .into_inner()
        .image
        .unwrap();
    assert!(undated.created_at.unwrap().seconds > 1_600_000_000);
}

#[tokio::test]
async fn from_a_containerd_comes_no_more_of_a_target_than_it_knows_and_the_rest_stays() {
    let server = Server::start().await;
    let (mut store, mut images) = (client(&server).await, server.images().await);
    let mut whole = put("a", "a");
    let here = whole.image.as_mut().unwrap().target.as_mut().unwrap();
    here.urls = vec!["https://a.example/a".to_owned()];
    here.artifact_type = "application/vnd.example.a".to_owned();
    here.platform = Some(Box::new(pb::Platform {
        architecture: "arm64".to_owned(),
        os: "linux".to_owned(),
        ..pb::Platform::default()
    }));
    let here = here.clone();
    images.put(whole).await.unwrap();

    let mut there = image("a");
    there.labels.insert("k".to_owned(), "v".to_owned());
    let annotations = [("l".to_owned(), "w".to_owned())];
    there.target.as_mut().unwrap().annotations = annotations.clone().into();
    let other = pb::Image {
        target: Some(target("b")),
        ..there.clone()
    };
    let kept = pb::Descriptor {
        annotations: annotations.into(),
        ..here
    };
    for (from_containerd, image, expected) in [
        (true, &there, &kept),
        (false, &there, there.target.as_ref().unwrap()),
        (true, &other, other.target.as_ref().unwrap()),
    ] {
        let request = pb::ImportRequest {
            images: vec![image.clone()],
            from_containerd,
            ..pb::ImportRequest::default()
        };
        store.import(request).await.unwrap();
        let stored = images.get(get("a")).await.unwrap().into_inner().image;
        let stored = stored.unwrap();
        assert_eq!(stored.target.as_ref(), Some(expected));
        assert_eq!(stored.labels, there.labels);
        assert_eq!(stored.updated_at, there.updated_at);
    }
}

#[tokio::test]
async fn a_namespace_with_labels_is_made_before_what_is_in_it() {
    let server = Server::start().await;
    let mut stream = EventsClient::new(server.channel().await)
        .subscribe(events::SubscribeRequest::default())
        .await
        .unwrap()
        .into_inner();
    for (namespace, labels) in [("bare", None), ("labelled", labels("k", "v"))] {
        let request = pb::ImportRequest {
            namespace: namespace.to_owned(),
            images: vec![image("a")],
            labels,
            ..pb::ImportRequest::default()
        };
        client(&server).await.import(request).await.unwrap();
    }
    for expected in [
        ("bare", "/images/create"),
        ("labelled", "/namespaces/create"),
        ("labelled", "/images/create"),
    ] {
        let event = stream.message().await.unwrap().unwrap();
        assert_eq!((&*event.namespace, &*event.topic), expected);
    }
}

#[tokio::test]
async fn an_import_of_nothing_answers_the_revision_too() {
    let server = Server::start().await;
    server.images().await.put(put("a", "a")).await.unwrap();
    let request = pb::ImportRequest::default();
    let answer = client(&server).await.import(request).await.unwrap();
    let revision = server.status().await.revision;
    assert_ne!(revision, 0);
    assert_eq!(answer.into_inner().revision, revision);
}

#[tokio::test]
async fn names_that_are_gone_do_not_make_a_namespace() {
    let server = Server::start().await;
    let request = pb::ImportRequest {
        namespace: "n".to_owned(),
        deleted_images: vec!["a".to_owned()],
        ..pb::ImportRequest::default()
    };
    client(&server).await.import(request).await.unwrap();
    assert_eq!(server.status().await.namespaces, 0);
}

#[tokio::test]
async fn one_bad_item_is_refused_by_its_field_and_nothing_changes() {
    let mut victim = Victim::new().await;
    let mut store = client(&victim.server).await;
    let good = || pb::ImportRequest {
        images: vec![image("kept"), image("new")],
        labels: labels("k", "v"),
        leases: vec![lease("l", &[])],
        ..pb::ImportRequest::default()
    };
    let with_image = |change: fn(&mut pb::Image)| {
        let mut request = good();
        let mut bad = image("bad");
        change(&mut bad);
        request.images.push(bad);
        request
    };
    let with_lease = |bad: pb::ImportedLease| {
        let mut request = good();
        request.leases.push(bad);
        request
    };
    let no_time = pb::ImportedLease {
        created_at: None,
        ..lease("m", &[])
    };
    let no_key = pb::ImportedLease {
        labels: [(String::new(), "v".to_owned())].into(),
        ..lease("m", &[])
    };
    let many: Vec<String> = (0..10_001).map(|i| format!("{i}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|id| ("ingests", id.as_str())).collect();
    let large = pb::ImportedLease {
        labels: [("k".to_owned(), "v".repeat(300_000))].into(),
        ..lease("m", &[])
    };
    let cases = [
        (with_image(|image| image.name.clear()), "images[2].name"),
        (with_image(|image| image.name = "new".into()), "images[2]"),
        (with_image(|image| image.target = None), "images[2].target"),
        (
            with_image(|image| image.target.as_mut().unwrap().digest = "md5:1".into()),
            "images[2].target.digest",
        ),
        (
            with_image(|image| image.target.as_mut().unwrap().size = 0),
            "images[2].target.size",
        ),
        (
            with_image(|image| drop(image.labels.insert(String::new(), String::new()))),
            "images[2].labels",
        ),
        (
            with_image(|image| image.created_at = at(-62_135_596_801, 0)),
            "images[2].created_at",
        ),
        (
            with_image(|image| image.updated_at = at(0, -1)),
            "images[2].updated_at",
        ),
        (
            with_image(|image| {
                let target = image.target.as_mut().unwrap();
                target.annotations.insert("k".into(), "v".repeat(300_000));
            }),
            "images[2]",
        ),
        (with_lease(lease("", &[])), "leases[1].id"),
        (with_lease(lease("l", &[])), "leases[1]"),
        (with_lease(no_time), "leases[1].created_at"),
        (with_lease(no_key), "leases[1].labels"),
        (with_lease(large), "leases[1]"),
        (with_lease(lease("m", &many)), "leases[1].resources"),
        (
            with_lease(lease("m", &[("volumes", "v")])),
            "leases[1].resources[0].type",
        ),
        (
            with_lease(lease("m", &[("content", "v")])),
            "leases[1].resources[0].id",
        ),
        (
            with_lease(lease("m", &[("snapshots/a/b", "v")])),
            "leases[1].resources[0].type",
        ),
        (
            pb::ImportRequest {
                deleted_images: vec!["a".into(), String::new()],
                ..good()
            },
            "deleted_images[1]",
        ),
        (
            pb::ImportRequest {
                deleted_images: vec!["kept".into()],
                ..good()
            },
            "deleted_images[0]",
        ),
        (
            pb::ImportRequest {
                labels: labels("", "v"),
                ..good()
            },
            "labels.labels",
        ),
        (
            pb::ImportRequest {
                labels: Some(pb::ImportedLabels {
                    labels: (0..70).map(|i| (i.to_string(), "v".repeat(4000))).collect(),
                }),
                ..good()
            },
            "labels",
        ),
        (
            pb::ImportRequest {
                namespace: "no//good".into(),
                ..good()
            },
            "namespace",
        ),
        (
            pb::ImportRequest {
                deleted_images: (0..1000).map(|i| format!("{i}")).collect(),
                ..good()
            },
            "images",
        ),
    ];
    for (request, field) in cases {
        let answer = store.import(request).await;
        victim
            .refused(answer, Code::InvalidArgument, "INVALID_FIELD", Some(field))
            .await;
    }
    // What is good by itself is taken.
    store.import(good()).await.unwrap();
}
