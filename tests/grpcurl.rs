//! The store as somebody with nothing but grpcurl sees it: reflection, no protocol files.
//!
//! grpcurl is looked for in `GRPCURL`, in `target/peers` where `tests/run` puts it, and in `PATH`.
//! Where there is none, each test says so and passes, unless `IMAGESTORE_REQUIRE_PEERS` is `1`.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ALPINE: &str = "sha256:a5d0ea49ec4b2fb9a5cd0ea5ba87e1a3b7a7cb3ea8b1ff2a16d1c9d2a3f10c01";
const BUSYBOX: &str = "sha256:b5d0ea49ec4b2fb9a5cd0ea5ba87e1a3b7a7cb3ea8b1ff2a16d1c9d2a3f10c02";

/// How long a server may take until it serves.
const START_TIME: Duration = Duration::from_secs(30);
/// How long one call of grpcurl may take, in its own words.
const CALL_TIME: &str = "30";

/// A running server, and grpcurl to ask it with.
struct Server {
    grpcurl: PathBuf,
    process: Child,
    address: String,
    root: TempDir,
}

impl Server {
    /// `None` where there is no grpcurl.
    fn start() -> Option<Self> {
        let grpcurl = find_grpcurl()?;
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("log");
        let process = Command::new(env!("CARGO_BIN_EXE_imagestore"))
            .arg("serve")
            .arg("--root")
            .arg(root.path().join("store"))
            .arg("--listen")
            .arg(format!("unix://{}", root.path().join("s").display()))
            .arg("--listen")
            // It finds a port itself, and says which.
            .arg("tcp://127.0.0.1:0")
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self {
            grpcurl,
            process,
            address: String::new(),
            root,
        };
        server.wait_until_it_serves(&log);
        Some(server)
    }

    fn wait_until_it_serves(&mut self, log: &Path) {
        let started = Instant::now();
        loop {
            let said = fs::read_to_string(log).unwrap();
            let address = said.split_once("address=tcp://");
            let address = address.and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((address, _)) = address.filter(|(_, rest)| rest.contains("serving")) {
                address.clone_into(&mut self.address);
                return;
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the server ended with {status} before it served: {said}");
            }
            assert!(
                started.elapsed() < START_TIME,
                "no server after {START_TIME:?}"
            );
            sleep(Duration::from_millis(10));
        }
    }

    fn grpcurl(&self, arguments: &[&str]) -> Output {
        Command::new(&self.grpcurl)
            .args(["-plaintext", "-max-time", CALL_TIME])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The lines that `list` or `describe` prints.
    fn lines(&self, words: &[&str]) -> Vec<String> {
        let words = [&[self.address.as_str()], words].concat();
        printed(self.grpcurl(&words))
            .lines()
            .map(|line| line.trim().to_owned())
            .collect()
    }

    fn ask(&self, method: &str, request: &Value) -> Output {
        self.grpcurl(&["-d", &request.to_string(), &self.address, method])
    }

    /// All messages of an answer.
    fn messages(&self, method: &str, request: &Value) -> Vec<Value> {
        let answer = printed(self.ask(method, request));
        serde_json::Deserializer::from_str(&answer)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    /// The one message of an answer.
    fn call(&self, method: &str, request: &Value) -> Value {
        let mut messages = self.messages(method, request);
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    /// What grpcurl says of a refusal, without blanks: its releases set them differently.
    fn refusal(&self, method: &str, request: &Value) -> String {
        let output = self.ask(method, request);
        assert!(!output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        said.split_whitespace().collect()
    }

    /// alpine:3.20 and alpine:latest point to one target, busybox:1 to another.
    fn put_three_images(&self) {
        for (name, digest, size) in [
            ("alpine:3.20", ALPINE, 1853),
            ("alpine:latest", ALPINE, 1853),
            ("busybox:1", BUSYBOX, 2295),
        ] {
            let put = self.call(
                "imagestore.v1.Images/Put",
                &json!({"image": {
                    "name": name,
                    "target": {"media_type": INDEX, "digest": digest, "size": size},
                    "labels": {"team": "base"},
                }}),
            );
            assert_eq!(put["created"], true, "{put}");
        }
    }

    /// The names that a listing of images answers with.
    fn listed(&self, request: &Value) -> Vec<String> {
        names(&self.call("imagestore.v1.Images/List", request))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only where the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The first grpcurl that runs.
static GRPCURL: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let named = env::var_os("GRPCURL").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/venv/bin/grpcurl");
    let on_path = PathBuf::from("grpcurl");
    let runs = |grpcurl: &PathBuf| {
        let version = Command::new(grpcurl).arg("-version").output();
        version.is_ok_and(|output| output.status.success())
    };
    named.into_iter().chain([installed, on_path]).find(runs)
});

fn find_grpcurl() -> Option<PathBuf> {
    if GRPCURL.is_none() {
        let missing = "PEER MISSING: grpcurl; this test tested nothing. \
                       tests/run installs it, or set GRPCURL to its path.\n";
        let required = env::var_os("IMAGESTORE_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "{missing}");
        // Not eprintln!, which the test harness hides when the test passes.
        io::stderr().write_all(missing.as_bytes()).unwrap();
    }
    GRPCURL.clone()
}

fn printed(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn names(answer: &Value) -> Vec<String> {
    let images = answer["images"].as_array().cloned().unwrap_or_default();
    images
        .iter()
        .map(|image| image["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn reflection_tells_every_service_and_how_to_call_it() {
    let Some(server) = Server::start() else {
        return;
    };
    let services = server.lines(&["list"]);
    for service in [
        "grpc.health.v1.Health",
        "imagestore.v1.BuildCache",
        "imagestore.v1.Configs",
        "imagestore.v1.Images",
        "imagestore.v1.Namespaces",
        "imagestore.v1.Store",
    ] {
        assert!(services.iter().any(|line| line == service), "{services:?}");
    }
    let methods = server.lines(&["describe", "imagestore.v1.Images"]);
    for method in [
        "rpc Put ( .imagestore.v1.PutImageRequest ) returns ( .imagestore.v1.PutImageResponse );",
        "rpc Stream ( .imagestore.v1.StreamImagesRequest ) returns ( stream .imagestore.v1.StreamImagesResponse );",
    ] {
        assert!(methods.iter().any(|line| line == method), "{methods:?}");
    }
    let fields = server.lines(&["describe", "imagestore.v1.Descriptor"]);
    assert!(
        fields.iter().any(|line| line == "string digest = 2;"),
        "{fields:?}"
    );
}

#[test]
fn an_image_can_be_put_found_and_deleted() {
    let Some(server) = Server::start() else {
        return;
    };
    server.put_three_images();

    let got = server.call("imagestore.v1.Images/Get", &json!({"name": "alpine:3.20"}));
    assert_eq!(got["image"]["namespace"], "default");
    assert_eq!(got["image"]["target"]["digest"], ALPINE);
    assert_eq!(got["image"]["target"]["size"], "1853");
    assert_eq!(got["image"]["labels"]["team"], "base");

    let deleted = server.call("imagestore.v1.Images/Delete", &json!({"name": "busybox:1"}));
    assert_eq!(deleted["image"]["target"]["digest"], BUSYBOX);
    assert_eq!(server.listed(&json!({})), ["alpine:3.20", "alpine:latest"]);
}

#[test]
fn images_are_found_by_name_digest_and_filter() {
    let Some(server) = Server::start() else {
        return;
    };
    server.put_three_images();
    let alpines = ["alpine:3.20", "alpine:latest"];
    assert_eq!(server.listed(&json!({"name_prefix": "alpine:"})), alpines);
    assert_eq!(server.listed(&json!({"digest": ALPINE})), alpines);
    assert_eq!(
        server.listed(&json!({"digest_prefix": &ALPINE[..14]})),
        alpines
    );
    assert_eq!(
        server.listed(&json!({"filters": ["name~=:1$,labels.team==base", "target.size<1"]})),
        ["busybox:1"]
    );

    let count = |request| server.call("imagestore.v1.Images/Count", &request)["count"].clone();
    assert_eq!(count(json!({})), "3");
    assert_eq!(count(json!({"filters": ["target.size>2k"]})), "1");

    let page = server.call("imagestore.v1.Images/List", &json!({"page_size": 2}));
    assert_eq!(names(&page), alpines);
    let token = &page["nextPageToken"];
    assert_eq!(
        server.listed(&json!({"page_size": 2, "page_token": token})),
        ["busybox:1"]
    );
}

#[test]
fn a_stream_brings_every_image_of_one_revision() {
    let Some(server) = Server::start() else {
        return;
    };
    server.put_three_images();
    let messages = server.messages("imagestore.v1.Images/Stream", &json!({}));
    let streamed: Vec<String> = messages.iter().flat_map(names).collect();
    assert_eq!(streamed, ["alpine:3.20", "alpine:latest", "busybox:1"]);
    assert!(
        messages
            .iter()
            .all(|message| message["revision"] == messages[0]["revision"])
    );
}

#[test]
fn namespaces_keep_names_apart() {
    let Some(server) = Server::start() else {
        return;
    };
    server.put_three_images();
    let put = server.call(
        "imagestore.v1.Namespaces/Put",
        &json!({"namespace": {"name": "staging", "labels": {"tier": "2"}}}),
    );
    assert_eq!(put["created"], true);
    assert_eq!(server.listed(&json!({"namespace": "staging"})), [""; 0]);
    assert_eq!(server.listed(&json!({"namespace": "-"})).len(), 3);

    let all = server.call("imagestore.v1.Namespaces/List", &json!({}));
    assert_eq!(all["namespaces"][0]["name"], "default");
    assert_eq!(all["namespaces"][0]["images"], "3");
    assert_eq!(all["namespaces"][1]["name"], "staging");

    server.call(
        "imagestore.v1.Namespaces/Delete",
        &json!({"name": "staging"}),
    );
    let refused = server.refusal(
        "imagestore.v1.Namespaces/Delete",
        &json!({"name": "default"}),
    );
    assert!(refused.contains("Code:FailedPrecondition"), "{refused}");
    assert!(
        refused.contains(r#""reason":"NAMESPACE_NOT_EMPTY""#),
        "{refused}"
    );
    let get = server.refusal("imagestore.v1.Namespaces/Get", &json!({"name": "staging"}));
    assert!(get.contains("Code:NotFound"), "{get}");
}

#[test]
fn a_config_is_stored_named_and_found_as_the_result_of_its_step() {
    let Some(server) = Server::start() else {
        return;
    };
    server.put_three_images();
    let base = json!({
        "os": "linux", "architecture": "amd64", "created": "2026-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": [ALPINE]},
        "history": [{"created_by": "base"}],
    });
    let step = json!({"Cmd": ["/bin/sh", "-c", "make"]});
    let mut child = base.clone();
    child["container_config"] = step.clone();
    child["history"] = json!([{"created_by": "base"}, {"created_by": "/bin/sh -c make"}]);
    child["rootfs"]["diff_ids"] = json!([ALPINE, BUSYBOX]);
    let encoded = |config: &Value| STANDARD.encode(config.to_string());
    let made = server.call(
        "imagestore.v1.Configs/Create",
        &json!({"config": encoded(&base), "targets": [ALPINE]}),
    );
    assert_eq!(made["created"], true);
    let parent = made["config"]["id"].as_str().unwrap();
    let made = server.call(
        "imagestore.v1.Configs/Create",
        &json!({"config": encoded(&child), "parent": parent, "built_locally": true}),
    );
    let id = &made["config"]["id"];

    let got = server.call(
        "imagestore.v1.Configs/Get",
        &json!({"reference": "alpine:3.20"}),
    );
    assert_eq!(got["config"]["id"], parent);
    assert_eq!(got["raw"], encoded(&base));
    let lookup = json!({"parent": parent, "container_config": step.to_string()});
    let found = server.call("imagestore.v1.BuildCache/Lookup", &lookup);
    assert_eq!(&found["hit"]["id"], id);
    assert_eq!(found["hit"]["kind"], "CACHE_HIT_KIND_LOCAL");
    let other = json!({"parent": parent, "container_config": "{}"});
    let missed = server.call("imagestore.v1.BuildCache/Lookup", &other);
    assert_eq!(missed["miss"]["local"], "LOCAL_MISS_NO_SUCH_STEP");
    let above = server.call(
        "imagestore.v1.Configs/Descendants",
        &json!({"reference": "alpine:3.20"}),
    );
    assert_eq!(&above["descendants"][0]["config"]["id"], id);
    let refused = server.refusal("imagestore.v1.Configs/Create", &json!({"config": "e30="}));
    assert!(refused.contains(r#""field":"config.rootfs""#), "{refused}");
}

#[test]
fn an_error_says_its_code_its_cause_and_a_reason_for_programs() {
    let Some(server) = Server::start() else {
        return;
    };
    server.put_three_images();
    let other = json!({"name": "alpine:3.20", "target": {"media_type": INDEX, "digest": BUSYBOX, "size": 1}});
    let table = [
        (
            server.refusal("imagestore.v1.Images/Get", &json!({"name": "nope"})),
            "Code:NotFoundMessage:imagenopeinnamespacedefault:notfound",
            r#""reason":"NOT_FOUND""#,
        ),
        (
            server.refusal(
                "imagestore.v1.Images/Put",
                &json!({"image": other, "must_not_exist": true}),
            ),
            "Code:AlreadyExists",
            r#""reason":"ALREADY_EXISTS""#,
        ),
        (
            server.refusal(
                "imagestore.v1.Images/Put",
                &json!({"image": other, "if_target": BUSYBOX}),
            ),
            "Code:Aborted",
            r#""reason":"TARGET_MISMATCH""#,
        ),
        (
            server.refusal("imagestore.v1.Images/Put", &json!({"image": {"name": "x"}})),
            "Code:InvalidArgument",
            r#""field":"image.target"#,
        ),
        (
            server.refusal("imagestore.v1.Images/List", &json!({"filters": ["name=="]})),
            "Code:InvalidArgument",
            r#""field":"filters[0]""#,
        ),
    ];
    for (said, code, detail) in table {
        assert!(said.contains(code), "{said}");
        assert!(said.contains(detail), "{said}");
    }
    assert_eq!(server.listed(&json!({"digest": BUSYBOX})), ["busybox:1"]);
}

#[test]
fn health_and_status_tell_how_the_server_fares() {
    let Some(server) = Server::start() else {
        return;
    };
    server.put_three_images();
    for service in ["", "imagestore.v1.Images"] {
        let health = server.call("grpc.health.v1.Health/Check", &json!({"service": service}));
        assert_eq!(health["status"], "SERVING", "{service:?}");
    }
    let status = server.call("imagestore.v1.Store/Status", &json!({}));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["images"], "3");
    assert_eq!(status["engine"], "redb");
    assert!(status.get("degraded").is_none(), "{status}");
}

#[test]
fn the_unix_socket_serves_the_same() {
    let Some(server) = Server::start() else {
        return;
    };
    server.put_three_images();
    let socket = server.root.path().join("s");
    let socket = socket.to_str().unwrap();
    // grpcurl sends the path as the authority, which HTTP/2 does not allow, unless told otherwise.
    let unix = ["-unix", "-authority", "localhost"];
    let services = printed(server.grpcurl(&[&unix[..], &[socket, "list"]].concat()));
    assert!(services.contains("imagestore.v1.Images\n"), "{services}");
    let answer =
        printed(server.grpcurl(&[&unix[..], &[socket, "imagestore.v1.Images/Count"]].concat()));
    assert!(answer.contains(r#""count": "3""#), "{answer}");
}
