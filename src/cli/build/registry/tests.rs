//! Registries that answer by script, on sockets of their own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::credentials::Credentials;
use super::host::Times;
use super::{Look, Registries};
use crate::cli::build::config::Config;
use crate::domain::build::{Label, Presence};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A server that answers what the script says, and keeps what it was asked.
pub struct Scripted {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<String>>>,
}

/// What the script answers: lines of a head, and a body; or never.
enum Reply {
    Says(String),
    Hangs,
}

fn says(head: &str) -> Reply {
    Reply::Says(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n"))
}

fn json(head: &str, body: &str) -> Reply {
    Reply::Says(format!(
        "HTTP/1.1 {head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

impl Scripted {
    /// The script is given each request's head, and how many there were before it.
    async fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, noted) = (Arc::new(script), asked.clone());
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (script, noted) = (script.clone(), noted.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    loop {
                        let Ok(byte) = socket.read_u8().await else {
                            return;
                        };
                        head.push(byte);
                        if !head.ends_with(b"\r\n\r\n") {
                            continue;
                        }
                        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                        let before = {
                            let mut noted = noted.lock().unwrap();
                            noted.push(text.clone());
                            noted.len() - 1
                        };
                        match script(&text, before) {
                            // Whoever asked may have heard enough.
                            Reply::Says(reply) => drop(socket.write_all(reply.as_bytes()).await),
                            Reply::Hangs => std::future::pending().await,
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// One that greets as an open registry does, and answers about the image by script.
    async fn open(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |head, _| match head.starts_with("GET /v2/ ") {
            true => says("200 OK"),
            false => script(head),
        })
        .await
    }

    fn label(&self) -> Label {
        format!("{}/team/app:1.0", self.address).parse().unwrap()
    }

    fn lines(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .map(|head| head.lines().next().unwrap().replace(" HTTP/1.1", ""))
            .collect()
    }

    async fn look(&self) -> Look {
        registries("").look(&self.label()).await
    }
}

fn registries(logins: &str) -> Registries {
    let times = Times {
        request: Duration::from_millis(500),
        look: Duration::from_secs(5),
    };
    Registries::with(&Config::default(), times, Credentials::parse(logins)).unwrap()
}

fn head_of(what: &str) -> String {
    format!("{what} /v2/team/app/manifests/1.0")
}

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

/// A registry that wants a token, and takes only the newest.
pub async fn with_tokens(issue: &'static str, login: &'static str) -> Scripted {
    Scripted::start(move |head, _| {
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        let challenge = format!(
            "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://{host}/token\",service=\"reg\""
        );
        if head.starts_with("GET /token?") {
            assert!(head.contains("scope=repository%3Ateam%2Fapp%3Apull"), "{head}");
            return match head.to_lowercase().contains(&login.to_lowercase()) {
                true => json(issue, r#"{"token":"t0k"}"#),
                false => says("401 Unauthorized"),
            };
        }
        match head.contains("Bearer t0k") {
            true => says("404 Not Found"),
            false => says(&challenge),
        }
    })
    .await
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
async fn a_challenge_is_answered_and_its_token_kept() {
    let registry = with_tokens("200 OK", "").await;
    let asking = registries("");
    for _ in 0..2 {
        assert_eq!(
            asking.look(&registry.label()).await,
            Look::sure(Presence::Absent)
        );
    }
    let tokens = registry
        .lines()
        .iter()
        .filter(|line| line.starts_with("GET /token"))
        .count();
    assert_eq!(tokens, 1, "{:?}", registry.lines());
}

#[tokio::test]
async fn dockers_password_is_used_for_the_token_and_not_sent_to_the_registry() {
    let registry = with_tokens("200 OK", "authorization: basic dTpw").await;
    let logins = format!(
        r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#,
        registry.address
    );
    let look = registries(&logins).look(&registry.label()).await;
    assert_eq!(look, Look::sure(Presence::Absent));
    for head in registry.asked.lock().unwrap().iter() {
        assert!(
            head.starts_with("GET /token") || !head.to_lowercase().contains("basic"),
            "{head}"
        );
    }
    assert_eq!(
        registry.look().await.presence,
        Presence::Unknown,
        "without the password"
    );
}

#[tokio::test]
async fn a_token_server_that_fails_says_nothing_of_the_image() {
    let registry = with_tokens("500 Oh", "").await;
    let look = registry.look().await;
    assert_eq!(look.presence, Presence::Unknown);
    assert!(look.reason.contains("gives no token"), "{look:?}");
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let registry = Scripted::start(|head, before| {
        let host = head
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or_default();
        let challenge =
            format!("401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://{host}/token\"");
        match head.starts_with("GET /token") {
            true => json("200 OK", &format!(r#"{{"token":"t{before}"}}"#)),
            false => says(&challenge),
        }
    })
    .await;
    assert_eq!(registry.look().await.presence, Presence::Unknown);
    let heads = registry
        .lines()
        .iter()
        .filter(|line| line.starts_with("HEAD"))
        .count();
    assert_eq!(heads, 2);
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
async fn a_token_of_more_than_a_mebibyte_is_refused() {
    for (pad, presence) in [(1000, Presence::Absent), (2 << 20, Presence::Unknown)] {
        let registry = Scripted::start(move |head, _| {
            let host = head
                .lines()
                .find_map(|line| line.strip_prefix("host: "))
                .unwrap_or_default();
            if head.starts_with("GET /token") {
                let body = format!(r#"{{"token":"t0k","pad":"{}"}}"#, "x".repeat(pad));
                return json("200 OK", &body);
            }
            match head.contains("Bearer t0k") {
                true => says("404 Not Found"),
                false => says(&format!(
                    "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://{host}/token\""
                )),
            }
        })
        .await;
        let look = registry.look().await;
        assert_eq!(look.presence, presence, "{look:?}");
        assert_eq!(look.reason.contains("more than 1 MiB"), pad > 1000);
    }
}

#[tokio::test]
async fn redirects_without_an_end_end() {
    let registry =
        Scripted::open(|_| says("307 Temporary Redirect\r\nlocation: /v2/team/app/manifests/1.0"))
            .await;
    assert_eq!(registry.look().await.presence, Presence::Unknown);
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
