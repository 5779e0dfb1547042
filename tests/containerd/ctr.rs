//! The real `ctr` against both daemons: the same output, the same complaints, the same exit code.
//!
//! Replaced in what it prints, and nothing else: see [`Ctr::plain`].

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use imagestore::proto::containerd::services::events::v1::PublishRequest;
use imagestore::proto::containerd::services::events::v1::events_client::EventsClient;
use imagestore::proto::containerd::services::images::v1 as pb;
use imagestore::proto::containerd::types::Descriptor;
use prost::Message;
use prost_types::Any;
use regex::Regex;
use tonic::transport::Channel;

use crate::call::{Ask, Call, with_metadata};
use crate::common::{PATIENCE, digest};
use crate::daemon::{Daemon, Real, real};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OTHER: &str = "application/vnd.test";

/// `ctr`, and the two daemons that it asks.
struct Ctr {
    real: &'static Real,
    daemons: [Daemon; 2],
}

/// What a command said, with what must differ replaced.
#[derive(Debug, PartialEq)]
struct Said {
    code: Option<i32>,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

/// What must differ, and what stands for it.
static REPLACED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // Times of records, of the lines of ctr's log, and when leases of ctr's making expire.
        (
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
            "TIME",
        ),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC", "TIME"),
        // Ids of leases that ctr makes up for itself.
        (r"\b\d{1,9}-[A-Za-z0-9_-]{4}(\s|$)", "LEASE$1"),
        // A store's own name, and whose version it is.
        (r"UUID: [0-9a-f-]{36}", "UUID: UUID"),
        // The widths of columns come from what was replaced.
        (" +", " "),
    ]
    .map(|(from, to)| (Regex::new(from).unwrap(), to))
    .into()
});

impl Ctr {
    async fn start() -> Option<Self> {
        Some(Self {
            real: real()?,
            daemons: [Daemon::containerd().await?, Daemon::imagestore().await],
        })
    }

    fn command(&self, socket: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.real.ctr);
        command.arg("--address").arg(socket).args(arguments);
        command.env_remove("CONTAINERD_NAMESPACE");
        command.env_remove("CONTAINERD_SNAPSHOTTER");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command against both.
    fn run(&self, arguments: &[&str]) -> [Said; 2] {
        let running = self.daemons.each_ref().map(|daemon| {
            let socket = daemon.socket();
            let mut command = self.command(&socket, arguments);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            (socket, command.spawn().unwrap())
        });
        running.map(|(socket, running)| {
            let output = running.wait_with_output().unwrap();
            let plain = |text: &[u8]| Self::plain(&String::from_utf8_lossy(text), &socket);
            Said {
                code: output.status.code(),
                stdout: plain(&output.stdout),
                stderr: plain(&output.stderr),
            }
        })
    }

    /// With what must differ replaced, and with the labels of a record in order: ctr prints them as Go
    /// walks its maps.
    fn plain(text: &str, socket: &Path) -> Vec<String> {
        let text = text.replace(&*socket.to_string_lossy(), "SOCKET");
        let replaced = REPLACED.iter().fold(text, |text, (from, to)| {
            from.replace_all(&text, *to).into_owned()
        });
        let words = |line: &str| {
            let words = line.split(' ').map(with_labels_in_order);
            words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
        };
        replaced.lines().map(words).collect()
    }

    /// Runs a command against both, which must say the same.
    #[track_caller]
    fn same(&self, arguments: &[&str]) -> Said {
        let [containerd, imagestore] = self.run(arguments);
        assert_eq!(
            containerd, imagestore,
            "left: containerd; ctr {arguments:?}"
        );
        imagestore
    }

    /// The same command in the namespace `team`.
    #[track_caller]
    fn in_team(&self, arguments: &[&str]) -> Said {
        self.same(&[&["-n", "team"], arguments].concat())
    }

    /// Makes an image in the namespace `team`, which ctr cannot without content.
    async fn create(&self, name: &str, media_type: &str, labels: &[(&str, &str)]) {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let image = pb::Image {
            name: name.to_owned(),
            labels: labels.collect(),
            target: Some(Descriptor {
                media_type: media_type.to_owned(),
                digest: digest(name),
                size: 3_700_000,
                ..Default::default()
            }),
            ..Default::default()
        };
        let call = Call {
            namespaces: vec!["team".to_owned()],
            lease: None,
            ask: Ask::CreateImage(pb::CreateImageRequest {
                image: Some(image),
                ..Default::default()
            }),
        };
        for daemon in &self.daemons {
            call.clone().send(&daemon.channel().await).await.unwrap();
        }
    }

    async fn create_three(&self) {
        self.create("alpine:3.20", INDEX, &[("app", "web"), ("tier", "1")])
            .await;
        self.create("busybox:1", MANIFEST, &[]).await;
        self.create("docker.io/library/test:v1", OTHER, &[("app", "db")])
            .await;
    }
}

/// The topic of the events that say where a comparison begins and ends.
const MARK: &str = "/mark";

/// A `ctr events` that is under way. Ended when dropped.
struct Events {
    child: Child,
    lines: Receiver<String>,
    channel: Channel,
    socket: PathBuf,
}

impl Events {
    /// Starts it, and waits until it is told of events.
    async fn start(ctr: &Ctr, daemon: &Daemon) -> Self {
        let socket = daemon.socket();
        let mut command = ctr.command(&socket, &["events"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = mpsc::channel();
        thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| told.send(line))
        });
        let events = Self {
            child,
            lines,
            channel: daemon.channel().await,
            socket,
        };
        let from = Instant::now();
        loop {
            assert!(from.elapsed() < PATIENCE, "ctr events says nothing");
            events.mark("begin").await;
            if let Ok(line) = events.lines.recv_timeout(Duration::from_millis(20)) {
                assert!(line.contains(MARK), "{line}");
                return events;
            }
        }
    }

    async fn mark(&self, word: &str) {
        let event = pb::ImageCreate {
            name: word.to_owned(),
            ..Default::default()
        };
        let request = PublishRequest {
            topic: MARK.to_owned(),
            event: Some(Any {
                type_url: "containerd.services.images.v1.ImageCreate".to_owned(),
                value: event.encode_to_vec(),
            }),
        };
        let request = with_metadata(request, &["marks".to_owned()], None);
        let mut client = EventsClient::new(self.channel.clone());
        client.publish(request).await.unwrap();
    }

    /// The lines until now, with what must differ replaced.
    async fn told(self) -> Vec<String> {
        self.mark("end").await;
        let mut told = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("an event");
            if !line.contains(MARK) {
                told.extend(Ctr::plain(&line, &self.socket));
            } else if line.contains("end") {
                return told;
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_labels_in_order(word: &str) -> String {
    let mut labels: Vec<&str> = word.split(',').collect();
    if labels.iter().all(|label| label.contains('=')) {
        labels.sort_unstable();
    }
    labels.join(",")
}

#[tokio::test(flavor = "multi_thread")]
async fn version_prints_what_both_have() {
    let Some(ctr) = Ctr::start().await else {
        return;
    };
    let [containerd, imagestore] = ctr.run(&["version"]);
    assert_eq!((containerd.code, imagestore.code), (Some(0), Some(0)));
    // Versions differ, of which ctr warns.
    let version = Regex::new(r"^ (Version|Revision|Go version):.*$").unwrap();
    let without = |said: &Said| -> Vec<String> {
        let lines = said.stdout.iter();
        lines
            .map(|line| version.replace(line, " $1").into_owned())
            .collect()
    };
    assert_eq!(without(&containerd), without(&imagestore));
    assert!(
        imagestore.stdout.iter().any(|line| line == " UUID: UUID"),
        "{imagestore:?}"
    );
    assert_eq!(containerd.stderr, [""; 0]);
    let warned =
        |line: &String| line == "WARNING: version mismatch" || line == "WARNING: revision mismatch";
    assert!(imagestore.stderr.iter().all(warned), "{imagestore:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_managed_alike() {
    let Some(ctr) = Ctr::start().await else {
        return;
    };
    ctr.same(&["ns", "ls"]);
    ctr.same(&["ns", "ls", "-q"]);
    // Each names itself in the header, without which containerd 1.6 cannot publish that it was made.
    for arguments in [
        &["ns", "create", "team"][..],
        &["ns", "create", "team"],
        &["ns", "create", "labelled", "a=b", "tier=", "x/y=\u{fc}"],
        &["ns", "create", "no/name"],
        &["ns", "create", ""],
        &["ns", "create"],
        &["ns", "create", "half", "label"],
        &["ns", "ls"],
        &["ns", "ls", "-q"],
        &["ns", "label", "team", "app=web", "b=2"],
        &["ns", "ls"],
        &["ns", "label", "team", "app="],
        &["ns", "label", "team"],
        &["ns", "label", "made-by-its-label", "x=y"],
        &["ns", "label"],
        &["ns", "ls"],
        &["ns", "rm", "absent"],
        &["ns", "rm", "labelled", "absent", "half"],
        &["ns", "rm"],
        &["ns", "rm", "no/name"],
        &["ns", "ls"],
    ] {
        ctr.in_team(arguments);
    }
    ctr.create_three().await;
    let refused = ctr.in_team(&["ns", "rm", "team"]);
    assert_eq!(refused.code, Some(1));
    ctr.in_team(&[
        "images",
        "rm",
        "alpine:3.20",
        "busybox:1",
        "docker.io/library/test:v1",
    ]);
    let removed = ctr.in_team(&["ns", "rm", "team"]);
    assert_eq!(
        (removed.code, removed.stdout),
        (Some(0), vec!["team".to_owned()])
    );
    ctr.same(&["ns", "ls", "-q"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_listed_alike() {
    let Some(ctr) = Ctr::start().await else {
        return;
    };
    ctr.same(&["images", "ls"]);
    ctr.create_three().await;
    let listed = ctr.in_team(&["images", "ls"]);
    assert_eq!(
        (listed.code, listed.stdout.len()),
        (Some(0), 4),
        "{listed:?}"
    );
    for arguments in [
        &["images", "ls", "-q"][..],
        &["images", "ls", "name==alpine:3.20"],
        &["images", "ls", "-q", "labels.app", "name~=^busybox"],
        &["images", "ls", "-q", "labels.app==db,name~=test"],
        &[
            "images",
            "ls",
            "-q",
            "target.mediatype==application/vnd.test",
        ],
        &["images", "ls", "name==nothing"],
        &["images", "ls", "name=foo"],
        &["images", "ls", "labels.a/b==c"],
        &["images", "check"],
        &["images", "check", "name==busybox:1"],
        &["images", "check", "-q"],
        &["images", "check", "name=="],
    ] {
        ctr.in_team(arguments);
    }
    ctr.same(&["images", "ls"]);
    ctr.same(&["-n", "absent", "images", "ls"]);
    ctr.same(&["-n", "no/name", "images", "ls"]);
    ctr.same(&["-n", &"n".repeat(77), "images", "ls", "-q"]);
    ctr.same(&["--timeout", "5s", "-n", "team", "images", "ls", "-q"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_tagged_labelled_and_removed_alike() {
    let Some(ctr) = Ctr::start().await else {
        return;
    };
    ctr.create_three().await;
    for arguments in [
        &["images", "tag", "alpine:3.20", "alpine:latest"][..],
        &["images", "tag", "alpine:3.20", "alpine:latest"],
        &[
            "images",
            "tag",
            "--force",
            "docker.io/library/test:v1",
            "alpine:latest",
        ],
        &[
            "images",
            "tag",
            "alpine:3.20",
            "one",
            "two",
            "no reference\n",
        ],
        &["images", "tag", "absent", "three"],
        &["images", "tag", "alpine:3.20", "one", "four"],
        &["images", "tag", "alpine:3.20"],
        &["images", "tag"],
        &["images", "ls"],
        &["images", "label", "alpine:3.20", "app=db", "new=1"],
        &["images", "label", "alpine:3.20", "app="],
        &["images", "ls", "name~=alpine"],
        &[
            "images",
            "label",
            "--replace-all",
            "alpine:3.20",
            "a=1",
            "b/c=2",
            "d=\u{fc}",
        ],
        &["images", "ls", "name~=alpine"],
        &["images", "label", "-r", "alpine:3.20"],
        &["images", "label", "alpine:3.20"],
        &["images", "label", "absent", "a=b"],
        &["images", "label", "", "a=b"],
        &["images", "label"],
        &["images", "ls"],
        &["images", "rm", "one"],
        &["images", "rm", "one"],
        &["images", "rm", "absent", "two", "one"],
        &[
            "images",
            "rm",
            "--sync",
            "alpine:latest",
            "docker.io/library/test:v1",
        ],
        &["images", "rm"],
        &["images", "rm", ""],
        &["images", "ls"],
    ] {
        ctr.in_team(arguments);
    }
    // One label over the limit, of which containerd says the first ten bytes of the key.
    let long = format!("a long key with bl\u{e4}nks={}", "x".repeat(4090));
    let refused = ctr.in_team(&["images", "label", "alpine:3.20", &long]);
    assert_eq!(refused.code, Some(1));
    ctr.same(&["-n", "other", "images", "tag", "alpine:3.20", "x"]);
    ctr.same(&["-n", "no/name", "images", "rm", "x"]);
    ctr.same(&["leases", "ls"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_printed_alike() {
    let Some(ctr) = Ctr::start().await else {
        return;
    };
    let [containerd, imagestore] = &ctr.daemons;
    let containerd = Events::start(&ctr, containerd).await;
    let imagestore = Events::start(&ctr, imagestore).await;
    ctr.in_team(&["ns", "create", "team", "a=b"]);
    ctr.create_three().await;
    for arguments in [
        &["images", "tag", "alpine:3.20", "one", "two"][..],
        &["images", "tag", "alpine:3.20", "one"],
        &["images", "tag", "--force", "busybox:1", "one"],
        &["images", "label", "one", "app=db", "new=\u{fc}"],
        &["images", "label", "one", "app="],
        &["images", "label", "absent", "a=b"],
        &["images", "rm", "one", "absent", "--sync", "two"],
        &["images", "rm", "alpine:3.20", "busybox:1"],
        &["leases", "create", "--id", "l1"],
        &["images", "rm", "docker.io/library/test:v1"],
        &["ns", "rm", "team"],
    ] {
        ctr.in_team(arguments);
    }
    let [containerd, imagestore] = [containerd.told().await, imagestore.told().await];
    assert_eq!(containerd, imagestore, "left: containerd");
    assert!(imagestore.len() > 10, "{imagestore:?}");
    let first = &imagestore[0];
    assert!(
        first.starts_with("TIME team /namespaces/create {"),
        "{first}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_managed_alike() {
    let Some(ctr) = Ctr::start().await else {
        return;
    };
    for arguments in [
        &["leases", "ls"][..],
        &["leases", "create", "--id", "l1", "a=b", "empty="],
        &["leases", "create", "--id", "l1"],
        &["leases", "create", "--id", "kept", "--expires", "0"],
        &[
            "leases",
            "create",
            "--id",
            "a/b c",
            "--expires",
            "1h",
            "app=web",
        ],
        &["leases", "create", "--expires", "0", "made=up"],
        &["leases", "ls"],
        &["leases", "ls", "labels.app==web"],
        &["leases", "ls", "id==l1"],
        &["leases", "ls", "id=l1"],
        &["leases", "ls", "-q", "id~=l1"],
        &["leases", "rm", "l1"],
        &["leases", "rm", "l1"],
        &["leases", "rm", "--sync", "absent", "kept"],
        &["leases", "rm"],
        &["leases", "ls"],
    ] {
        ctr.in_team(arguments);
    }
    ctr.same(&["-n", "no/name", "leases", "ls"]);
    ctr.same(&["-n", "no/name", "leases", "create", "--id", "x"]);
    ctr.same(&["ns", "ls"]);
    // Leases do not keep a namespace.
    ctr.in_team(&["ns", "rm", "team"]);
    ctr.in_team(&["leases", "ls"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_content_and_it_is_said_alike() {
    let Some(ctr) = Ctr::start().await else {
        return;
    };
    let absent = digest("absent");
    for arguments in [
        &["content", "ls"][..],
        &["content", "ls", "-q"],
        &["content", "ls", "labels.a==b"],
        &["content", "ls", "labels=a"],
        &["content", "active"],
        &["content", "get", &absent],
        &["content", "get", "no digest"],
        &["content", "label", &absent, "a=b"],
        &["content", "label", "zz", "a=b"],
        &["content", "rm", &absent],
        &["content", "rm", "zz"],
    ] {
        ctr.in_team(arguments);
    }
    ctr.same(&["-n", "no/name", "content", "ls"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_listed_alike() {
    let Some(ctr) = Ctr::start().await else {
        return;
    };
    // Plugins differ; those that both have are listed alike.
    let [containerd, imagestore] = ctr.run(&["plugins", "ls"]);
    assert_eq!(
        (containerd.code, &containerd.stderr),
        (imagestore.code, &imagestore.stderr)
    );
    assert_eq!(containerd.stdout[0], imagestore.stdout[0]);
    for service in [
        "images",
        "namespaces",
        "leases",
        "events",
        "version",
        "introspection",
        "content",
    ] {
        let row = |said: &Said| {
            let start = format!("io.containerd.grpc.v1 {service} ");
            said.stdout
                .iter()
                .find(|line| line.starts_with(&start))
                .cloned()
        };
        assert_eq!(row(&containerd), row(&imagestore), "{imagestore:?}");
        assert!(row(&imagestore).is_some());
        ctr.same(&[
            "plugins",
            "ls",
            &format!("type==io.containerd.grpc.v1,id=={service}"),
        ]);
        ctr.same(&[
            "plugins",
            "ls",
            "-q",
            &format!("type==io.containerd.grpc.v1,id=={service}"),
        ]);
    }
    ctr.same(&["plugins", "ls", "type==none"]);
    ctr.same(&["plugins", "ls", "type=none"]);
    ctr.same(&["plugins", "ls", "-d", "id==none"]);
}
