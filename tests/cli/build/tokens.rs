//! A registry that gives nothing without a token, and the server that gives tokens for passwords.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::real::{build, changelog, command, done};
use super::site::targets;
use super::tools::{Registry, Yard};
use crate::harness::{Ran, Server};

const SERVICE: &str = "the registry";
const ISSUER: &str = "the token server";
const LOGIN: &str = "jo:a:long password";

/// Signs tokens for whoever knows the password; for others only such as allow nothing.
struct TokenServer {
    realm: String,
    /// What it was asked for, with which login.
    asked: Arc<Mutex<Vec<(String, Login)>>>,
}

/// Who asks for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Login {
    Right,
    Wrong,
    Nobody,
}

/// What tokens are signed with.
struct Signer {
    folder: PathBuf,
}

impl Signer {
    fn new(yard: &Yard) -> Self {
        let signer = Self {
            folder: yard.path(""),
        };
        let [key, certificate] = [signer.key(), signer.certificate()];
        signer.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=tokens",
            "-keyout",
            key.to_str().unwrap(),
            "-out",
            certificate.to_str().unwrap(),
        ]);
        signer
    }

    fn key(&self) -> PathBuf {
        self.folder.join("token.key")
    }

    fn certificate(&self) -> PathBuf {
        self.folder.join("token.pem")
    }

    fn openssl(&self, arguments: &[&str]) -> Vec<u8> {
        let ran = Command::new("openssl").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "openssl {arguments:?}: {said}");
        ran.stdout
    }

    /// A token that allows so much.
    fn token(&self, access: Value, number: usize) -> String {
        let pem = fs::read_to_string(self.certificate()).unwrap();
        let certificate: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let (before, after) = (
            now - Duration::from_secs(60),
            now + Duration::from_secs(600),
        );
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
        let claims = json!({
            "iss": ISSUER, "sub": "jo", "aud": SERVICE, "jti": number.to_string(), "access": access,
            "iat": before.as_secs(), "nbf": before.as_secs(), "exp": after.as_secs(),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&claims));
        let file = self.folder.join(format!("token.{number}"));
        fs::write(&file, &text).unwrap();
        let key = self.key();
        let signature = self.openssl(&[
            "dgst",
            "-sha256",
            "-sign",
            key.to_str().unwrap(),
            file.to_str().unwrap(),
        ]);
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl TokenServer {
    /// Ends with the test's process.
    fn start(signer: Arc<Signer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            realm: format!("http://{}/token", listener.local_addr().unwrap()),
            asked: Arc::default(),
        };
        let asked = server.asked.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                answer(socket.unwrap(), &signer, &asked);
            }
        });
        server
    }

    fn registry(&self, yard: &Yard, signer: &Signer) -> Registry {
        let auth = format!(
            "auth: {{token: {{realm: {:?}, service: {SERVICE:?}, issuer: {ISSUER:?}, rootcertbundle: {:?}}}}}\n",
            self.realm,
            signer.certificate()
        );
        yard.another_registry("guarded", &auth)
    }

    /// What it was asked for since the last time.
    fn asked(&self) -> BTreeSet<(String, Login)> {
        self.asked.lock().unwrap().drain(..).collect()
    }
}

/// One request, and one answer.
fn answer(mut socket: TcpStream, signer: &Signer, asked: &Mutex<Vec<(String, Login)>>) {
    let lines = BufReader::new(socket.try_clone().unwrap()).lines();
    let head = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty());
    let head: Vec<String> = head.collect();
    let login = Login::of(&head);
    let query = head[0].split([' ', '?']).nth(2).unwrap();
    assert!(query.contains("service=the+registry"), "{query}");
    let scope = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("scope="));
    let scope = scope.unwrap().replace("%3A", ":").replace("%2F", "/");
    let number = {
        let mut asked = asked.lock().unwrap();
        asked.push((scope.clone(), login));
        asked.len()
    };
    let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else {
        panic!("{scope}")
    };
    let all = json!([{"type": kind, "name": name, "actions": [actions]}]);
    let token = |access| json!({"token": signer.token(access, number)});
    let (status, body) = match login {
        Login::Right => ("200 OK", token(all)),
        Login::Nobody => ("200 OK", token(json!([]))),
        Login::Wrong => ("401 Unauthorized", json!({"details": "no such login"})),
    };
    let body = body.to_string();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    // Whoever asked may have gone.
    let _ = socket.write_all(answer.as_bytes());
}

impl Login {
    fn of(head: &[String]) -> Self {
        let given = head.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then_some(value)
        });
        match given {
            None => Self::Nobody,
            Some(given) if given == format!("Basic {}", STANDARD.encode(LOGIN)) => Self::Right,
            Some(_) => Self::Wrong,
        }
    }
}

/// What `docker login` leaves behind, in a folder of its own.
fn logged_in(yard: &Yard, host: &str, login: &str) -> PathBuf {
    let auths = json!({"auths": {host: {"auth": STANDARD.encode(login)}}});
    let file = yard.write("docker/config.json", &auths.to_string());
    file.parent().unwrap().to_owned()
}

/// A scan by somebody with these logins and no others.
fn scan(server: &Server, yard: &Yard, logins: &Path) -> Ran {
    let mut scan = command(server, yard, &["scan", "."]);
    for name in ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
        scan.env_remove(name);
    }
    scan.env("HOME", yard.path("nobody"));
    scan.env("DOCKER_CONFIG", logins);
    scan.output().unwrap().into()
}

/// State, and whether that is in doubt.
fn seen(server: &Server, name: &str) -> (String, bool) {
    let target = &targets(server)[name];
    let is_in_doubt = target["is_in_doubt"].as_bool().unwrap_or_default();
    (target["state"].as_str().unwrap().to_owned(), is_in_doubt)
}

#[test]
fn a_registry_that_wants_a_token_is_asked_with_one_and_a_wrong_password_says_nothing_of_images() {
    let Some(yard) = Yard::open() else { return };
    let signer = Arc::new(Signer::new(&yard));
    let tokens = TokenServer::start(signer.clone());
    let registry = tokens.registry(&yard, &signer);
    for name in ["there", "missing"] {
        let template = "FROM scratch\nCOPY changelog /changelog\n";
        yard.write(&format!("images/{name}/Dockerfile.template"), template);
        yard.write(&format!("images/{name}/changelog"), &changelog(name, "1.0"));
    }
    // Published through another registry that has the same images and asks nobody.
    let config = |host: &str| {
        let more = format!("registry = {host:?}\nprefix = \"team\"\nlocation = \"here\"\n");
        yard.config("images/imagestore.toml", &more);
    };
    config(&yard.host);
    let publisher = Server::start();
    done(build(&publisher, &yard, &["scan", "."]));
    let run = ["run", ".", "--publish", "--select", "there:*"];
    done(build(&publisher, &yard, &run));
    assert!(yard.has("team/there", "1.0"));

    config(&registry.host);
    let asked = |login: Login| {
        let scopes = ["missing", "there"].map(|name| format!("repository:team/{name}:pull"));
        BTreeSet::from(scopes.map(|scope| (scope, login)))
    };
    let right = logged_in(&yard, &registry.host, LOGIN);
    let server = Server::start();
    let ran = scan(&server, &yard, &right);
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
    assert_eq!(seen(&server, "there@1.0"), ("published".to_owned(), false));
    assert_eq!(seen(&server, "missing@1.0"), ("to_build".to_owned(), false));
    assert_eq!(tokens.asked(), asked(Login::Right));

    // Neither a wrong password nor none makes what is published a thing to build.
    for (logins, login) in [
        (logged_in(&yard, &registry.host, "jo:wrong"), Login::Wrong),
        (yard.path("nobody"), Login::Nobody),
    ] {
        let others = Server::start();
        for server in [&server, &others] {
            let ran = scan(server, &yard, &logins);
            for name in ["there@1.0", "missing@1.0"] {
                let told = format!("whether {name} is there is not known");
                assert!(ran.stderr.contains(&told), "{login:?}: {ran:?}");
            }
            assert_eq!(tokens.asked(), asked(login));
        }
        assert_eq!(seen(&server, "there@1.0"), ("published".to_owned(), false));
        assert!(seen(&others, "there@1.0").1, "{login:?}");
        assert!(seen(&others, "missing@1.0").1, "{login:?}");
    }
}
