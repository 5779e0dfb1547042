//! One registry: it is greeted, asked with what it wants to be shown, and left alone when it says so.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oci_client::Reference;
use reqwest::Method;
use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{self, Instant};

use super::Look;
use super::answer::{ACCEPTED, Answer, Greeting, short};
use super::credentials::{Credentials, Login};
use super::manifest::{self, Manifest};
use super::token::{TokenServer, Wants};
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

/// What is to be known of a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sought {
    /// Asked for with a HEAD where the registry knows that.
    Presence,
    Manifest,
}

/// What a request shows of whoever asks.
enum Proof<'a> {
    Nothing,
    Password(&'a Login),
    Token(String),
}

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
        // Docker Hub answers at another address than its name.
        let reference = Reference::with_tag(name.to_owned(), String::new(), String::new());
        Ok(Self {
            name: name.to_owned(),
            base: format!("{scheme}://{}/v2/", reference.resolve_registry()),
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

    pub async fn look(&self, place: Place<'_>) -> Look {
        match self.answer(place, Sought::Presence).await {
            Answer::There(digest) => Look::sure(Presence::Present(digest)),
            Answer::Read(manifest) => Look::sure(Presence::Present(Some(manifest.digest))),
            Answer::NotThere => Look::sure(Presence::Absent),
            answer => Look::unknown(self.why(&answer)),
        }
    }

    /// The manifest, or nothing where there is none; or why that is not known.
    pub async fn manifest(&self, place: Place<'_>) -> Result<Option<Manifest>, String> {
        match self.answer(place, Sought::Manifest).await {
            Answer::Read(manifest) => Ok(Some(*manifest)),
            Answer::NotThere => Ok(None),
            answer => Err(self.why(&answer)),
        }
    }

    fn why(&self, answer: &Answer) -> String {
        format!("{} {}", self.name, answer.why())
    }

    async fn answer(&self, place: Place<'_>, sought: Sought) -> Answer {
        let _turn = self.turns.acquire().await;
        let asked = time::timeout(self.times.look, self.ask(place, sought));
        asked
            .await
            .unwrap_or_else(|_| Answer::nothing("did not answer in time"))
    }

    /// Asks, and once more after each pause that the registry asks for.
    async fn ask(&self, place: Place<'_>, sought: Sought) -> Answer {
        let mut answer = Answer::TooOften(None);
        for _ in 0..=PAUSES {
            self.wait().await;
            answer = match self.ask_with_proof(place, sought).await {
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

    async fn ask_with_proof(&self, place: Place<'_>, sought: Sought) -> Result<Answer, Answer> {
        let greeting = self.greeting.get_or_try_init(|| self.greet()).await?;
        let login = self.credentials.of(&self.name, place.repository);
        let proof = self.proof(greeting, place, login.as_ref()).await?;
        let answer = self.fetch(greeting, place, sought, &proof).await?;
        match (&answer, proof) {
            // A token does not last for ever.
            (Answer::Unauthorized, Proof::Token(_)) => {
                self.tokens().remove(place.repository);
                let proof = self.proof(greeting, place, login.as_ref()).await?;
                self.fetch(greeting, place, sought, &proof).await
            }
            _ => Ok(answer),
        }
    }

    async fn greet(&self) -> Result<Greeting, Answer> {
        Greeting::of(&self.requests.get(&self.base).send().await?)
    }

    async fn proof<'a>(
        &self,
        greeting: &Greeting,
        place: Place<'_>,
        login: Option<&'a Login>,
    ) -> Result<Proof<'a>, Answer> {
        Ok(match (&greeting.wants, login) {
            (Wants::Token(server), _) => Proof::Token(self.token(server, place, login).await?),
            (Wants::Password, Some(login)) => Proof::Password(login),
            (Wants::Password, None) | (Wants::Nothing, _) => Proof::Nothing,
        })
    }

    async fn token(
        &self,
        server: &TokenServer,
        place: Place<'_>,
        login: Option<&Login>,
    ) -> Result<String, Answer> {
        if let Some(token) = self.tokens().get(place.repository) {
            return Ok(token.clone());
        }
        if login.is_some() && server.is_in_the_clear() && !self.is_plain {
            let why = "wants the password without TLS, and does not get it";
            return Err(Answer::nothing(why));
        }
        let asked = server.ask(&self.requests, place.repository, login).await;
        let token =
            asked.map_err(|why| Answer::Nothing(format!("gives no token: {}", short(&why))))?;
        self.tokens()
            .insert(place.repository.to_owned(), token.clone());
        Ok(token)
    }

    /// Asks with the first of the methods that the registry knows.
    async fn fetch(
        &self,
        greeting: &Greeting,
        place: Place<'_>,
        sought: Sought,
        proof: &Proof<'_>,
    ) -> Result<Answer, Answer> {
        let Place {
            repository,
            reference,
        } = place;
        let url = format!("{}{repository}/manifests/{reference}", self.base);
        for method in sought.methods() {
            let request = self.requests.request(method.clone(), &url);
            let request = request.header(ACCEPT, ACCEPTED.join(", "));
            let request = match proof {
                Proof::Nothing => request,
                Proof::Password(login) => request.basic_auth(&login.user, Some(&login.password)),
                Proof::Token(token) => request.bearer_auth(token),
            };
            let response = request.send().await?;
            return match Answer::of(&response, greeting) {
                Answer::OtherMethod => continue,
                Answer::There(said) if sought == Sought::Manifest => {
                    let read = manifest::read(response, said).await;
                    read.map(|manifest| Answer::Read(Box::new(manifest)))
                        .map_err(Answer::Nothing)
                }
                answer => Ok(answer),
            };
        }
        Ok(Answer::OtherMethod)
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paused_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self) {
        let until = *self.paused_until();
        if let Some(until) = until {
            time::sleep_until(until).await;
        }
    }

    /// Nobody asks it for so long.
    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut paused = self.paused_until();
        *paused = paused.max(Some(until));
    }
}

// === impl Sought ===

impl Sought {
    fn methods(self) -> &'static [Method] {
        static METHODS: [Method; 2] = [Method::HEAD, Method::GET];
        match self {
            Self::Presence => &METHODS,
            Self::Manifest => &METHODS[1..],
        }
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
