//! Registries that want a token.

use super::*;

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
