//! Registries that answer by script, on sockets of their own.

mod presence;
mod redirects;
mod tokens;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
