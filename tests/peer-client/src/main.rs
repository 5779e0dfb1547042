//! Writes and reads through the crate `containerd-client`, and prints what it is told: the same by every
//! daemon that speaks containerd's API. `peer-client SOCKET`

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Debug;

use containerd_client::services::v1::{
    AddResourceRequest, CreateImageRequest, CreateNamespaceRequest, CreateRequest,
    DeleteImageRequest, DeleteNamespaceRequest, DeleteRequest, GetImageRequest,
    GetNamespaceRequest, Image, ListImagesRequest, ListRequest, ListResourcesRequest, Namespace,
    Resource, UpdateImageRequest,
};
use containerd_client::types::Descriptor;
use containerd_client::{Client, with_namespace};
use prost_types::FieldMask;
use tonic::{Request, Response, Status};

const NAMESPACE: &str = "peer";
const DIGEST: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn image(name: &str, size: i64, pairs: &[(&str, &str)]) -> Image {
    Image {
        name: name.to_owned(),
        labels: labels(pairs),
        target: Some(Descriptor {
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            digest: DIGEST.to_owned(),
            size,
            annotations: labels(&[("k", "v")]),
        }),
        ..Default::default()
    }
}

/// Without its times, after a look that they are there.
fn timeless(image: Option<Image>) -> Image {
    let mut image = image.expect("an image");
    let (created, updated) = (image.created_at.take(), image.updated_at.take());
    assert!(created.expect("a time").seconds <= updated.expect("a time").seconds);
    image
}

fn tell<T>(what: &str, answer: Result<Response<T>, Status>, told: impl FnOnce(T) -> String) {
    match answer {
        Ok(answer) => println!("{what}: {}", told(answer.into_inner())),
        Err(status) => println!("{what}: {:?} {}", status.code(), status.message()),
    }
}

fn as_it_is<T: Debug>(answer: T) -> String {
    format!("{answer:?}")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("peer-client SOCKET")?;
    let client = Client::from_path(socket).await?;
    tell("version", client.version().version(()).await, |answer| {
        format!("{}", !answer.version.is_empty())
    });

    let mut namespaces = client.namespaces();
    let named = Namespace {
        name: NAMESPACE.to_owned(),
        labels: labels(&[("tier", "1")]),
    };
    for _ in 0..2 {
        let request = CreateNamespaceRequest {
            namespace: Some(named.clone()),
        };
        let answer = namespaces.create(with_namespace!(request, NAMESPACE)).await;
        tell("create namespace", answer, as_it_is);
    }
    let request = GetNamespaceRequest {
        name: NAMESPACE.to_owned(),
    };
    tell("get namespace", namespaces.get(request).await, as_it_is);

    let mut images = client.images();
    for (name, size, pairs) in [
        ("a:1", 10, &[("app", "web")][..]),
        ("a:1", 10, &[]),
        ("b", 0, &[]),
        ("", 1, &[]),
        ("b", 20, &[]),
    ] {
        let request = CreateImageRequest {
            image: Some(image(name, size, pairs)),
            ..Default::default()
        };
        let answer = images.create(with_namespace!(request, NAMESPACE)).await;
        tell("create", answer, |answer| as_it_is(timeless(answer.image)));
    }
    for (paths, size) in [
        (&["labels.app"][..], 0),
        (&["target"], 30),
        (&[], 0),
        (&["name"], 1),
    ] {
        let request = UpdateImageRequest {
            image: Some(image("a:1", size, &[("app", "db")])),
            update_mask: Some(FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
            ..Default::default()
        };
        let answer = images.update(with_namespace!(request, NAMESPACE)).await;
        tell("update", answer, |answer| as_it_is(timeless(answer.image)));
    }
    for name in ["a:1", "absent"] {
        let request = GetImageRequest {
            name: name.to_owned(),
        };
        let answer = images.get(with_namespace!(request, NAMESPACE)).await;
        tell("get", answer, |answer| as_it_is(timeless(answer.image)));
    }
    for filter in ["", "name==b", "labels.app", "name="] {
        let request = ListImagesRequest {
            filters: vec![filter.to_owned()],
        };
        let answer = images.list(with_namespace!(request, NAMESPACE)).await;
        tell("list", answer, |answer| {
            let images = answer.images.into_iter();
            as_it_is(
                images
                    .map(|image| timeless(Some(image)))
                    .collect::<Vec<_>>(),
            )
        });
    }
    tell(
        "list",
        images.list(ListImagesRequest::default()).await,
        as_it_is,
    );

    let mut leases = client.leases();
    for _ in 0..2 {
        let request = CreateRequest {
            id: "l".to_owned(),
            labels: labels(&[("a", "b")]),
        };
        let answer = leases.create(with_namespace!(request, NAMESPACE)).await;
        tell("create lease", answer, |answer| {
            let lease = answer.lease.expect("a lease");
            assert!(lease.created_at.is_some());
            format!("{} {:?}", lease.id, lease.labels)
        });
    }
    let request = AddResourceRequest {
        id: "l".to_owned(),
        resource: Some(Resource {
            id: DIGEST.to_owned(),
            r#type: "content".to_owned(),
        }),
    };
    let answer = leases
        .add_resource(with_namespace!(request, NAMESPACE))
        .await;
    tell("add resource", answer, as_it_is);
    let request = ListResourcesRequest { id: "l".to_owned() };
    let answer = leases
        .list_resources(with_namespace!(request, NAMESPACE))
        .await;
    tell("list resources", answer, as_it_is);
    let request = DeleteRequest {
        id: "l".to_owned(),
        sync: true,
    };
    let answer = leases.delete(with_namespace!(request, NAMESPACE)).await;
    tell("delete lease", answer, as_it_is);
    let answer = leases
        .list(with_namespace!(ListRequest::default(), NAMESPACE))
        .await;
    tell("list leases", answer, as_it_is);

    for name in ["a:1", "a:1", "b"] {
        let request = DeleteNamespaceRequest {
            name: NAMESPACE.to_owned(),
        };
        let answer = namespaces.delete(with_namespace!(request, NAMESPACE)).await;
        tell("delete namespace", answer, as_it_is);
        let request = DeleteImageRequest {
            name: name.to_owned(),
            sync: true,
            ..Default::default()
        };
        let answer = images.delete(with_namespace!(request, NAMESPACE)).await;
        tell("delete", answer, as_it_is);
    }
    let request = DeleteNamespaceRequest {
        name: NAMESPACE.to_owned(),
    };
    let answer = namespaces.delete(with_namespace!(request, NAMESPACE)).await;
    tell("delete namespace", answer, as_it_is);
    Ok(())
}
