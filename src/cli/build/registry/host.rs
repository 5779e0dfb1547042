//! One registry: its greeting, its tokens, and its answers.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oci_client::Reference;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{self, Instant};

use super::Look;
use super::credentials::{Credentials, Login};
use super::manifest::{self, Manifest};
use super::token::Wants;
use crate::cli::failure::with_causes;
use crate::domain::Digest;
use crate::domain::build::Presence;

/// How long one request may take, and one look with all its requests and pauses.
#[derive(Clone, Copy)]
pub struct Times {
    pub request: Duration,
    pub look: Duration,
}

pub struct Host {
    name: String,
    base: String,
    requests: reqwest::Client,
    credentials: Arc<Credentials>,
    is_plain: bool,
    times: Times,
    greeting: OnceCell<Greeting>,
    /// By repository.
    tokens: Mutex<HashMap<String, String>>,
    /// It asked to be left alone until then.
    paused_until: Mutex<Option<Instant>>,
    /// So many are asked for at once.
    turns: Semaphore,
}

/// What is asked for: a repository of the registry, and a tag or a digest in it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub repository: &'a str,
    pub reference: &'a str,
}

/// What a registry says before it is asked for anything.
struct Greeting {
    wants: Wants,
    /// The scheme, host and port that said it, perhaps after a redirect.
    origin: String,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    There(Option<Digest>),
    Read(Manifest),
    NotThere,
    /// It does not know the method.
    OtherMethod,
    Unauthorized,
    /// It has been asked too often; how long it wants to be left alone, where it says so.
    TooOften(Option<Duration>),
    Nothing(String),
}

/// Manifests and indexes, of OCI and of Docker. A registry may say that what it has is not there when it is not
/// asked for by its type.
const ACCEPTED: [&str; 4] = [
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
];
const DIGEST: &str = "docker-content-digest";
const AT_ONCE: usize = 8;
const REDIRECTS: usize = 5;
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// A registry that wants to be left alone for longer is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often one look is begun again after a pause.
const PAUSES: usize = 2;

impl Host {
    pub fn new(
        name: &str,
        is_plain: bool,
        roots: Option<&[u8]>,
        credentials: Arc<Credentials>,
        times: Times,
    ) -> Result<Self, Box<dyn Error>> {
        let mut requests = reqwest::Client::builder()
            .timeout(times.request)
            .connect_timeout(CONNECT_TIME)
            .redirect(Policy::limited(REDIRECTS))
            .user_agent(concat!("imagestore/", env!("CARGO_PKG_VERSION")));
        if let Some(roots) = roots {
            let certificates = reqwest::Certificate::from_pem_bundle(roots)?;
            requests = requests.tls_certs_merge(certificates);
        }
        let scheme = if is_plain { "http" } else { "https" };
        let address = reference(name, "", "").resolve_registry().to_owned();
        Ok(Self {
            name: name.to_owned(),
            base: format!("{scheme}://{address}/v2/"),
            requests: requests.build()?,
            credentials,
            is_plain,
            times,
            greeting: OnceCell::new(),
            tokens: Mutex::default(),
            paused_until: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// Looks for an image, with a HEAD where the registry knows that.
    pub async fn look(&self, place: Place<'_>) -> Look {
        match self
            .answer(place, &[Method::HEAD, Method::GET], false)
            .await
        {
            Ok(Answer::There(digest)) => Look::sure(Presence::Present(digest)),
            Ok(Answer::Read(manifest)) => Look::sure(Presence::Present(Some(manifest.digest))),
            Ok(Answer::NotThere) => Look::sure(Presence::Absent),
            Ok(why) => Look::unknown(self.why(why)),
            Err(why) => Look::unknown(why),
        }
    }

    /// The manifest, or nothing where there is none; or why that is not known.
    pub async fn manifest(&self, place: Place<'_>) -> Result<Option<Manifest>, String> {
        match self.answer(place, &[Method::GET], true).await? {
            Answer::Read(manifest) => Ok(Some(manifest)),
            Answer::NotThere => Ok(None),
            why => Err(self.why(why)),
        }
    }

    async fn answer(
        &self,
        place: Place<'_>,
        methods: &[Method],
        is_read: bool,
    ) -> Result<Answer, String> {
        let _turn = self.turns.acquire().await;
        let asked = time::timeout(self.times.look, self.ask(place, methods, is_read));
        asked
            .await
            .map_err(|_| format!("{} did not answer in time", self.name))
    }

    /// Why an answer says nothing of the image.
    fn why(&self, answer: Answer) -> String {
        let why = match answer {
            Answer::Nothing(why) => return why,
            Answer::OtherMethod => "does not know the request",
            Answer::Unauthorized => {
                "wants another login than those that 'skopeo login' or 'docker login' left here"
            }
            Answer::TooOften(_) => "has been asked too often",
            Answer::There(_) | Answer::Read(_) | Answer::NotThere => "answers something else",
        };
        format!("{} {why}", self.name)
    }

    /// Asks, and once more after each pause that the registry asks for.
    async fn ask(&self, place: Place<'_>, methods: &[Method], is_read: bool) -> Answer {
        let mut answer = Answer::TooOften(None);
        for _ in 0..=PAUSES {
            self.wait().await;
            answer = match self.ask_with_token(place, methods, is_read).await {
                Ok(answer) | Err(answer) => answer,
            };
            match answer {
                Answer::TooOften(Some(pause)) if pause <= LONGEST_PAUSE => self.pause(pause),
                Answer::TooOften(_)
                | Answer::There(_)
                | Answer::Read(_)
                | Answer::NotThere
                | Answer::OtherMethod
                | Answer::Unauthorized
                | Answer::Nothing(_) => break,
            }
        }
        answer
    }

    async fn ask_with_token(
        &self,
        place: Place<'_>,
        methods: &[Method],
        is_read: bool,
    ) -> Result<Answer, Answer> {
        let greeting = self.greeting.get_or_try_init(|| self.greet()).await?;
        let login = self.credentials.of(&self.name, place.repository);
        let mut token = self.token(greeting, place, login.as_ref()).await?;
        let basic = match greeting.wants {
            Wants::Password => login.as_ref(),
            Wants::Nothing | Wants::Token(_) => None,
        };
        let asked = self.fetch(greeting, place, token.as_deref(), basic, methods, is_read);
        let answer = asked.await?;
        if answer != Answer::Unauthorized || token.is_none() {
            return Ok(answer);
        }
        // A token does not last for ever.
        self.tokens().remove(place.repository);
        token = self.token(greeting, place, login.as_ref()).await?;
        self.fetch(greeting, place, token.as_deref(), basic, methods, is_read)
            .await
    }

    /// What tells a registry from another server: only where this was answered is a 404 a word about an image.
    async fn greet(&self) -> Result<Greeting, Answer> {
        let response = self
            .requests
            .get(&self.base)
            .send()
            .await
            .map_err(|why| self.failed(&why))?;
        let greeting = |wants| Greeting {
            wants,
            origin: response.url().origin().ascii_serialization(),
        };
        match response.status() {
            StatusCode::OK if is_page(response.headers()) => {
                Err(self.nothing("answers with a page, and is no registry"))
            }
            StatusCode::OK => Ok(greeting(Wants::Nothing)),
            StatusCode::UNAUTHORIZED => Ok(greeting(Wants::of(response.headers()))),
            StatusCode::TOO_MANY_REQUESTS => Err(Answer::TooOften(pause(response.headers()))),
            status => Err(self.nothing(&format!("answers {status} to /v2/, and is no registry"))),
        }
    }

    async fn token(
        &self,
        greeting: &Greeting,
        place: Place<'_>,
        login: Option<&Login>,
    ) -> Result<Option<String>, Answer> {
        let Wants::Token(server) = &greeting.wants else {
            return Ok(None);
        };
        if let Some(token) = self.tokens().get(place.repository) {
            return Ok(Some(token.clone()));
        }
        if login.is_some() && server.is_in_the_clear() && !self.is_plain {
            return Err(self.nothing("wants the password without TLS, and does not get it"));
        }
        let asked = server.ask(&self.requests, place.repository, login);
        let token = asked
            .await
            .map_err(|why| self.nothing(&format!("gives no token: {}", short(&why))))?;
        self.tokens()
            .insert(place.repository.to_owned(), token.clone());
        Ok(Some(token))
    }

    /// Asks with the first of the methods that the registry knows.
    async fn fetch(
        &self,
        greeting: &Greeting,
        place: Place<'_>,
        token: Option<&str>,
        basic: Option<&Login>,
        methods: &[Method],
        is_read: bool,
    ) -> Result<Answer, Answer> {
        let Place {
            repository,
            reference,
        } = place;
        let url = format!("{}{repository}/manifests/{reference}", self.base);
        for method in methods {
            let request = self.requests.request(method.clone(), &url);
            let request = request.header(ACCEPT, ACCEPTED.join(", "));
            let request = match (token, basic) {
                (Some(token), _) => request.bearer_auth(token),
                (None, Some(login)) => request.basic_auth(&login.user, Some(&login.password)),
                (None, None) => request,
            };
            let response = request.send().await.map_err(|why| self.failed(&why))?;
            let answer = match self.read(greeting, &response) {
                Answer::OtherMethod => continue,
                Answer::There(said) if is_read => {
                    let manifest = manifest::read(response, said).await;
                    Answer::Read(manifest.map_err(|why| self.nothing(&why))?)
                }
                answer => answer,
            };
            return Ok(answer);
        }
        Ok(Answer::OtherMethod)
    }

    /// What a redirect leads to may know what is there. What is not there, only a registry knows.
    fn read(&self, greeting: &Greeting, response: &Response) -> Answer {
        let headers = response.headers();
        let origin = response.url().origin().ascii_serialization();
        let is_greeted = origin == greeting.origin;
        match response.status() {
            StatusCode::OK => match (digest(headers), kind(headers)) {
                (Some(digest), _) => Answer::There(Some(digest)),
                (None, Some(kind)) if ACCEPTED.contains(&&*kind) => Answer::There(None),
                (None, None) if is_greeted => Answer::There(None),
                (None, Some(_) | None) => self.nothing("answers with something else than an image"),
            },
            StatusCode::NOT_FOUND if is_greeted => Answer::NotThere,
            StatusCode::NOT_FOUND => self.nothing(&format!(
                "answers 404 from {origin}, which did not greet as a registry"
            )),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Answer::OtherMethod,
            StatusCode::UNAUTHORIZED => Answer::Unauthorized,
            StatusCode::TOO_MANY_REQUESTS => Answer::TooOften(pause(headers)),
            status => self.nothing(&format!("answers {status}")),
        }
    }

    fn nothing(&self, why: &str) -> Answer {
        Answer::Nothing(format!("{} {why}", self.name))
    }

    fn failed(&self, why: &reqwest::Error) -> Answer {
        match why.is_timeout() {
            true => self.nothing("did not answer in time"),
            false => self.nothing(&format!("cannot be asked: {}", short(&with_causes(why)))),
        }
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self) {
        let until = *self
            .paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until {
            time::sleep_until(until).await;
        }
    }

    /// Nobody asks it for so long.
    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut paused = self
            .paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *paused = paused.max(Some(until));
    }
}

fn reference(registry: &str, repository: &str, tag: &str) -> Reference {
    Reference::with_tag(registry.to_owned(), repository.to_owned(), tag.to_owned())
}

/// The media type without its parameters, in lowercase.
fn kind(headers: &HeaderMap) -> Option<String> {
    let kind = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes());
    let kind = kind.split(';').next().unwrap_or_default();
    Some(kind.trim().to_ascii_lowercase())
}

/// Whether the answer is for people, such as a login page in between.
fn is_page(headers: &HeaderMap) -> bool {
    kind(headers).is_some_and(|kind| kind == "text/html")
}

fn digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(DIGEST)?.to_str().ok()?.parse().ok()
}

fn pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// What a server said, as far as it fits into a sentence.
fn short(text: &str) -> String {
    const MOST: usize = 300;
    let text = text.trim();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::with_tokens;
    use super::*;

    #[tokio::test]
    async fn without_tls_nobody_gets_the_password_of_a_registry_that_has_it() {
        let registry = with_tokens("200 OK", "").await;
        let name = registry.address.to_string();
        let logins = format!(r#"{{"auths":{{"{name}":{{"auth":"dTpw"}}}}}}"#);
        let times = Times {
            request: Duration::from_secs(5),
            look: Duration::from_secs(5),
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (logins, presence) in [(&*logins, Presence::Unknown), ("", Presence::Absent)] {
            let credentials = Arc::new(Credentials::parse(logins));
            let mut host = Host::new(&name, true, None, credentials, times).unwrap();
            // As if the answer had come with TLS.
            host.is_plain = false;
            let place = Place {
                repository: "team/app",
                reference: "1.0",
            };
            assert_eq!(host.look(place).await.presence, presence, "{logins}");
        }
        for head in registry.asked.lock().unwrap().iter() {
            assert!(!head.to_lowercase().contains("basic"), "{head}");
        }
    }
}
