//! Registries that send elsewhere.

use super::*;

#[tokio::test]
async fn a_redirect_is_followed_and_takes_no_password_to_another_host() {
    let other =
        Scripted::start(|_, _| says(&format!("200 OK\r\ndocker-content-digest: {DIGEST}"))).await;
    let there = other.address;
    let registry = Scripted::start(move |head, _| match head.starts_with("GET /v2/ ") {
        true => says("401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\""),
        false => says(&format!(
            "307 Temporary Redirect\r\nlocation: http://{there}/elsewhere"
        )),
    })
    .await;
    let logins = format!(
        r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#,
        registry.address
    );
    let look = registries(&logins).look(&registry.label()).await;
    assert_eq!(
        look.presence,
        Presence::Present(Some(DIGEST.parse().unwrap()))
    );
    assert!(
        registry.asked.lock().unwrap()[1]
            .to_lowercase()
            .contains("authorization: basic dtpw")
    );
    let elsewhere = other.asked.lock().unwrap()[0].to_lowercase();
    assert!(elsewhere.starts_with("head /elsewhere"), "{elsewhere}");
    assert!(!elsewhere.contains("authorization"), "{elsewhere}");
}

#[tokio::test]
async fn behind_a_redirect_to_another_place_only_an_image_is_believed() {
    let of_kind = "200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json";
    for (answer, presence) in [
        ("404 Not Found", Presence::Unknown),
        ("200 OK", Presence::Unknown),
        (of_kind, Presence::Present(None)),
    ] {
        let other = Scripted::start(move |_, _| says(answer)).await;
        let there = other.address;
        let registry = Scripted::open(move |_| {
            says(&format!("302 Found\r\nlocation: http://{there}/elsewhere"))
        })
        .await;
        let look = registry.look().await;
        assert_eq!(look.presence, presence, "{answer}: {look:?}");
    }
    let registry = Scripted::open(|head| match head.contains("/v2/team/app/manifests/1.0") {
        true => says("302 Found\r\nlocation: /v2/other"),
        false => says("404 Not Found"),
    });
    assert_eq!(registry.await.look().await, Look::sure(Presence::Absent));
}

#[tokio::test]
async fn redirects_without_an_end_end() {
    let registry =
        Scripted::open(|_| says("307 Temporary Redirect\r\nlocation: /v2/team/app/manifests/1.0"))
            .await;
    assert_eq!(registry.look().await.presence, Presence::Unknown);
}
