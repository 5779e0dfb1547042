//! What a registry wants of whoever asks, and asking for its tokens.

use http_auth::{ChallengeParser, ChallengeRef};
use oci_client::token_cache::RegistryToken;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Client, StatusCode, Url};

use super::answer::body;
use super::credentials::Login;
use crate::cli::failure::with_causes;

/// What a request needs.
#[derive(Debug)]
pub enum Wants {
    Nothing,
    Password,
    Token(TokenServer),
}

/// Where tokens are, and for whom.
#[derive(Debug)]
pub struct TokenServer {
    realm: Url,
    service: Option<String>,
}

/// A token has a few thousand.
const MAX_BODY_BYTES: usize = 1 << 20;

impl Wants {
    /// By a challenge. A token goes before a password, and nothing is sent to what is not known.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut wants = Self::Nothing;
        let texts = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges = texts.filter_map(|text| text.to_str().ok());
        for challenge in challenges.flat_map(ChallengeParser::new).flatten() {
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                if let Some(server) = TokenServer::of(&challenge) {
                    return Self::Token(server);
                }
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                wants = Self::Password;
            }
        }
        wants
    }
}

impl TokenServer {
    fn of(challenge: &ChallengeRef<'_>) -> Option<Self> {
        let value = |name: &str| {
            let mut params = challenge.params.iter();
            let (_, value) = params.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            Some(value.to_unescaped())
        };
        Some(Self {
            realm: value("realm")?.parse().ok()?,
            service: value("service"),
        })
    }

    /// Whether what is sent to it can be read on the way.
    pub fn is_in_the_clear(&self) -> bool {
        self.realm.scheme() != "https"
    }

    /// A token with which a repository may be read, or why there is none.
    pub async fn ask(
        &self,
        requests: &Client,
        repository: &str,
        login: Option<&Login>,
    ) -> Result<String, String> {
        let mut url = self.realm.clone();
        let scope = format!("repository:{repository}:pull");
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = &self.service {
            url.query_pairs_mut().append_pair("service", service);
        }
        let mut request = requests.get(url);
        if let Some(login) = login {
            request = request.basic_auth(&login.user, Some(&login.password));
        }
        let response = request.send().await.map_err(|why| with_causes(&why))?;
        let status = response.status();
        let body = body(response, MAX_BODY_BYTES).await?;
        if status != StatusCode::OK {
            let said = String::from_utf8_lossy(&body);
            return Err(format!("{status} {said}"));
        }
        let token: RegistryToken = serde_json::from_slice(&body)
            .map_err(|_| "the answer has no token in it".to_owned())?;
        Ok(token.token().to_owned())
    }
}
