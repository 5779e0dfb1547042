//! Back into a containerd.

use super::daemon::{Containerd, digest, image};
use super::{assert_same, holdings, without_times};
use crate::harness::{self, INDEX, Server};

#[test]
fn what_was_taken_over_goes_back_into_another_containerd() {
    let (Some(first), Some(second)) = (Containerd::start(), Containerd::start()) else {
        return;
    };
    let client = &first.client;
    client.create_namespace("default", &[("owner", "me")]);
    let mut annotated = image("annotated", 1, &[("k", "v")]);
    annotated
        .target
        .as_mut()
        .unwrap()
        .annotations
        .insert("k".into(), "v".into());
    client.create("default", annotated);
    client.create_all(
        "default",
        (0..100).map(|i| image(&format!("docker.io/library/a:{i}"), i, &[("n", "1")])),
    );
    client.create_all(
        "k8s.io",
        (0..200).map(|i| image(&format!("registry.k8s.io/b:{i}"), i, &[])),
    );
    client.create_lease(
        "k8s.io",
        "l",
        &[("a", "b")],
        &[("content", &digest(7)), ("snapshots/overlayfs", "s")],
    );
    let server = Server::start();
    server.print(["import", "--from-containerd", &first.address()]);
    let to = second.address();
    let said = server.print(["export", "--to-containerd", &to]);
    assert_eq!(
        said,
        "NAMESPACE  KIND       CREATED  CHANGED  UNCHANGED  DELETED\n\
         default    namespace  1        0        0          0\n\
         default    images     101      0        0          0\n\
         k8s.io     namespace  1        0        0          0\n\
         k8s.io     images     200      0        0          0\n\
         k8s.io     leases     1        0        0          0\n\
         \n\
         NOT KEPT THERE                    OF\n\
         the times, before containerd 1.7  301 images\n\
         the times                         1 leases\n"
    );
    assert_same(
        &without_times(second.client.holdings()),
        &without_times(client.holdings()),
    );

    // Again: what is the same is left alone, and what is not is made so.
    let before = second.client.holdings();
    second.client.update("default", image("annotated", 9, &[]));
    second
        .client
        .update_namespace("default", &[("owner", "you")]);
    let again = server.json(&["export", "--to-containerd", &to]);
    let images = &again["namespaces"]["default"]["images"];
    assert_eq!(
        (&images["changed"], &images["unchanged"]),
        (&1.into(), &100.into())
    );
    assert_eq!(again["namespaces"]["default"]["namespace"]["changed"], 1);
    assert_eq!(again["namespaces"]["k8s.io"]["images"]["unchanged"], 200);
    let after = second.client.holdings();
    assert_same(&without_times(after), &without_times(before));
}

#[test]
fn what_keeps_times_gets_them() {
    let (first, second) = (Server::start(), Server::start());
    first.put("as it was put", 1);
    first.put("changed since", 2);
    first.print(["label", "changed since", "k=v"]);
    let to = second.address();
    let said = first.json(&["export", "--to-containerd", &to]);
    assert_eq!(said["lost"]["image_times"], 0, "{said}");
    assert_same(&holdings(&second), &holdings(&first));
    let again = first.json(&["export", "--to-containerd", &to]);
    assert_eq!(again["namespaces"]["default"]["images"]["unchanged"], 2);
}

#[test]
fn one_namespace_goes_when_one_is_named_and_what_containerd_does_not_keep_is_told() {
    let Some(containerd) = Containerd::start() else {
        return;
    };
    let server = Server::start();
    server.put_with(
        "whole",
        1,
        &["-n", "a", "--platform", "linux/amd64", "--label", "empty="],
    );
    server.put("other", 2);
    let to = containerd.address();
    let said = server.json(&["export", "--to-containerd", &to, "-n", "a"]);
    assert_eq!(said["lost"]["platform"], 1, "{said}");
    assert_eq!(said["lost"]["empty_texts"], 1, "{said}");
    let there = containerd.client.holdings();
    assert_eq!(there.keys().collect::<Vec<_>>(), ["a"]);
    let image = &there["a"].images["whole"];
    assert_eq!(image.media_type, INDEX);
    assert_eq!(image.digest, harness::digest(1));
    assert!(image.labels.is_empty());
    assert_eq!(holdings(&server)["a"].images["whole"].labels["empty"], "");

    let said = server
        .run(["export", "--to-containerd", &to, "-n", "nowhere"])
        .told(4);
    assert!(said.contains("namespace nowhere not found"), "{said}");
}
