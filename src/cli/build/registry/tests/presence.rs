//! What an answer says of an image.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn an_image_without_a_registry_is_published_nowhere() {
    let look = registries("").look(&"app:1.0".parse().unwrap()).await;
    assert_eq!(look, Look::sure(Presence::Absent));
}

#[tokio::test]
async fn only_200_is_there_only_404_is_not_and_all_else_is_not_known() {
    let present = Presence::Present(Some(DIGEST.parse().unwrap()));
    let with_digest = format!("200 OK\r\ndocker-content-digest: {DIGEST}");
    for (head, presence) in [
        (with_digest.as_str(), present),
        ("200 OK", Presence::Present(None)),
        (
            "200 OK\r\ndocker-content-digest: odd",
            Presence::Present(None),
        ),
        ("404 Not Found", Presence::Absent),
        (
            "200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json; charset=utf-8",
            Presence::Present(None),
        ),
        (
            "200 OK\r\ncontent-type: text/html; charset=utf-8",
            Presence::Unknown,
        ),
        ("200 OK\r\ncontent-type: text/plain", Presence::Unknown),
        (
            "200 OK\r\ncontent-type: application/json",
            Presence::Unknown,
        ),
        ("204 No Content", Presence::Unknown),
        ("401 Unauthorized", Presence::Unknown),
        ("403 Forbidden", Presence::Unknown),
        ("429 Too Many Requests", Presence::Unknown),
        ("500 Internal Server Error", Presence::Unknown),
        ("503 Service Unavailable", Presence::Unknown),
        ("304 Not Modified", Presence::Unknown),
    ] {
        let reply = head.to_owned();
        let registry = Scripted::open(move |_| says(&reply)).await;
        let look = registry.look().await;
        assert_eq!(look.presence, presence, "{head}");
        assert_eq!(
            look.reason.is_empty(),
            presence != Presence::Unknown,
            "{head}: {look:?}"
        );
    }
}

#[tokio::test]
async fn a_403_that_says_that_the_manifest_is_unknown_is_no_404() {
    let envelope = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;
    let registry = Scripted::open(move |head| match head.starts_with("HEAD") {
        true => says("405 Method Not Allowed"),
        false => json("403 Forbidden", envelope),
    });
    assert_eq!(registry.await.look().await.presence, Presence::Unknown);
}

#[tokio::test]
async fn it_is_asked_for_all_four_types_with_one_request_after_the_greeting() {
    let registry = Scripted::open(|_| says("404 Not Found")).await;
    let asking = registries("");
    for _ in 0..2 {
        asking.look(&registry.label()).await;
    }
    assert_eq!(
        registry.lines(),
        ["GET /v2/", &head_of("HEAD"), &head_of("HEAD")]
    );
    let asked = registry.asked.lock().unwrap();
    for kind in [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ] {
        assert!(asked[1].contains(kind), "{}", asked[1]);
    }
}

#[tokio::test]
async fn a_registry_without_head_is_asked_with_get() {
    for (got, presence) in [
        ("404 Not Found", Presence::Absent),
        ("200 OK", Presence::Present(None)),
        ("405 Method Not Allowed", Presence::Unknown),
    ] {
        let registry = Scripted::open(move |head| match head.starts_with("HEAD") {
            true => says("405 Method Not Allowed"),
            false => says(got),
        })
        .await;
        assert_eq!(registry.look().await.presence, presence, "{got}");
        assert_eq!(
            registry.lines(),
            ["GET /v2/", &head_of("HEAD"), &head_of("GET")]
        );
    }
}

#[tokio::test]
async fn a_404_of_something_that_is_no_registry_is_not_believed() {
    for greeting in [
        "404 Not Found",
        "500 Oh",
        "200 OK\r\ncontent-type: text/html",
    ] {
        let other = Scripted::start(move |head, _| match head.starts_with("GET /v2/ ") {
            true => says(greeting),
            false => says("404 Not Found"),
        })
        .await;
        assert_eq!(other.look().await.presence, Presence::Unknown, "{greeting}");
    }
}

#[tokio::test]
async fn an_image_is_known_by_its_config_which_its_manifest_names() {
    let manifest = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{DIGEST}"}}}}"#);
    for (head, body, config) in [
        ("200 OK", manifest.as_str(), Ok(DIGEST.parse().ok())),
        ("200 OK", r#"{"manifests":[]}"#, Ok(None)),
        ("404 Not Found", "", Ok(None)),
        ("200 OK", "<html>", Err(())),
        ("503 Service Unavailable", manifest.as_str(), Err(())),
    ] {
        let reply = format!(
            "HTTP/1.1 {head}\r\ncontent-type: application/vnd.oci.image.manifest.v1+json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let registry = Scripted::open(move |_| Reply::Says(reply.clone())).await;
        let found = registries("").config_of(&registry.label()).await;
        assert_eq!(found.map_err(drop), config, "{head}");
        assert_eq!(registry.lines(), ["GET /v2/", &head_of("GET")]);
    }
}

#[tokio::test]
async fn an_image_is_looked_for_by_any_reference() {
    let registry = Scripted::open(|_| says(&format!("200 OK\r\ndocker-content-digest: {DIGEST}")));
    let registry = registry.await;
    let asking = registries("");
    let present = Look::sure(Presence::Present(DIGEST.parse().ok()));
    for (rest, path) in [
        ("a/b:1.0", "a/b/manifests/1.0".to_owned()),
        ("a", "a/manifests/latest".to_owned()),
        (&format!("a@{DIGEST}"), format!("a/manifests/{DIGEST}")),
    ] {
        let reference = format!("{}/{rest}", registry.address);
        assert_eq!(asking.look_for(&reference).await, present, "{reference}");
        let last = registry.lines().pop();
        assert_eq!(last, Some(format!("HEAD /v2/{path}")), "{reference}");
    }
    let odd = asking.look_for("A B").await;
    assert_eq!(odd.presence, Presence::Unknown);
}

#[tokio::test]
async fn a_registry_that_hangs_is_given_up() {
    let began = Instant::now();
    let registry = Scripted::open(|_| Reply::Hangs).await;
    let look = registry.look().await;
    assert_eq!(look.presence, Presence::Unknown);
    assert!(look.reason.ends_with("did not answer in time"), "{look:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
    let silent = Scripted::start(|_, _| Reply::Hangs).await;
    assert_eq!(silent.look().await.presence, Presence::Unknown);
}

#[tokio::test]
async fn nobody_at_the_address_is_not_an_image_that_is_missing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let label = format!("{address}/app:1").parse().unwrap();
    let look = registries("").look(&label).await;
    assert_eq!(look.presence, Presence::Unknown);
    assert!(look.reason.contains("cannot be asked"), "{look:?}");
}

#[tokio::test]
async fn a_registry_that_wants_a_pause_gets_it_once_for_all() {
    let registry = Scripted::start(
        |head, before| match (head.starts_with("GET /v2/ "), before) {
            (true, _) => says("200 OK"),
            (false, 1) => says("429 Too Many Requests\r\nretry-after: 1"),
            (false, _) => says("404 Not Found"),
        },
    )
    .await;
    let began = Instant::now();
    assert_eq!(registry.look().await, Look::sure(Presence::Absent));
    assert!(began.elapsed() >= Duration::from_secs(1));
    let registry = Scripted::open(|_| says("429 Too Many Requests\r\nretry-after: 86400")).await;
    let began = Instant::now();
    assert_eq!(registry.look().await.presence, Presence::Unknown);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "nobody waits for a day"
    );
}
