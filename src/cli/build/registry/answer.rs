//! What the answers of a registry mean.

use std::time::Duration;

use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::manifest::Manifest;
use super::token::Wants;
use crate::cli::failure::with_causes;
use crate::domain::Digest;

/// What a registry says before it is asked for anything.
pub struct Greeting {
    pub wants: Wants,
    /// The scheme, host and port that said it, perhaps after a redirect.
    origin: String,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    There(Option<Digest>),
    Read(Box<Manifest>),
    NotThere,
    /// It does not know the method.
    OtherMethod,
    Unauthorized,
    /// It has been asked too often; how long it wants to be left alone, where it says so.
    TooOften(Option<Duration>),
    /// Nothing of the image; the reason continues a sentence that begins with the registry.
    Nothing(String),
}

/// Manifests and indexes, of OCI and of Docker. A registry may say that what it has is not there when it is not
/// asked for by its type.
pub const ACCEPTED: [&str; 4] = [
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
];
const DIGEST: &str = "docker-content-digest";

// === impl Greeting ===

impl Greeting {
    /// What tells a registry from another server: only where this was answered is a 404 a word about an image.
    pub fn of(response: &Response) -> Result<Self, Answer> {
        let headers = response.headers();
        let wants = match response.status() {
            StatusCode::OK if is_page(headers) => {
                return Err(Answer::nothing("answers with a page, and is no registry"));
            }
            StatusCode::OK => Wants::Nothing,
            StatusCode::UNAUTHORIZED => Wants::of(headers),
            StatusCode::TOO_MANY_REQUESTS => return Err(Answer::TooOften(pause(headers))),
            status => {
                let why = format!("answers {status} to /v2/, and is no registry");
                return Err(Answer::Nothing(why));
            }
        };
        Ok(Self {
            wants,
            origin: origin(response),
        })
    }
}

// === impl Answer ===

impl Answer {
    /// Of whoever greeted so. What a redirect leads to may know what is there; what is not there, only a registry.
    pub fn of(response: &Response, greeting: &Greeting) -> Self {
        let headers = response.headers();
        let origin = origin(response);
        let is_greeted = origin == greeting.origin;
        match response.status() {
            StatusCode::OK => match (digest(headers), kind(headers)) {
                (Some(digest), _) => Self::There(Some(digest)),
                (None, Some(kind)) if ACCEPTED.contains(&&*kind) => Self::There(None),
                (None, None) if is_greeted => Self::There(None),
                (None, Some(_) | None) => {
                    Self::nothing("answers with something else than an image")
                }
            },
            StatusCode::NOT_FOUND if is_greeted => Self::NotThere,
            StatusCode::NOT_FOUND => Self::Nothing(format!(
                "answers 404 from {origin}, which did not greet as a registry"
            )),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Self::OtherMethod,
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::TOO_MANY_REQUESTS => Self::TooOften(pause(headers)),
            status => Self::Nothing(format!("answers {status}")),
        }
    }

    pub fn nothing(why: &str) -> Self {
        Self::Nothing(why.to_owned())
    }

    /// Why it says nothing of the image; continues a sentence that begins with the registry.
    pub fn why(&self) -> &str {
        match self {
            Self::Nothing(why) => why,
            Self::OtherMethod => "does not know the request",
            Self::Unauthorized => {
                "wants another login than those that 'skopeo login' or 'docker login' left here"
            }
            Self::TooOften(_) => "has been asked too often",
            Self::There(_) | Self::Read(_) | Self::NotThere => "answers something else",
        }
    }
}

/// Of a request that was not answered.
impl From<reqwest::Error> for Answer {
    fn from(why: reqwest::Error) -> Self {
        match why.is_timeout() {
            true => Self::nothing("did not answer in time"),
            false => Self::Nothing(format!("cannot be asked: {}", short(&with_causes(&why)))),
        }
    }
}

/// What an answer holds, as far as it is of a size that can be meant.
pub async fn body(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(why) => return Err(format!("the answer broke off: {}", with_causes(&why))),
        }
        if body.len() > max_bytes {
            return Err(format!("the answer has more than {} MiB", max_bytes >> 20));
        }
    }
}

/// What a server said, as far as it fits into a sentence.
pub fn short(text: &str) -> String {
    const MOST: usize = 300;
    let text = text.trim();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn origin(response: &Response) -> String {
    response.url().origin().ascii_serialization()
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
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}
