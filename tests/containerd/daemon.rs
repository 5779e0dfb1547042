//! The two daemons: the real containerd, and the binary under test.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use imagestore::proto::containerd::services::version::v1::version_client::VersionClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::common::{PATIENCE, Server, folder};

const PAUSE: Duration = Duration::from_millis(5);

/// Memory, where neither daemon waits for a disk: what is compared is not how durable they are.
const MEMORY: &str = "/dev/shm";

/// The real programs.
pub struct Real {
    pub containerd: PathBuf,
    pub ctr: PathBuf,
}

static REAL: LazyLock<Option<Real>> = LazyLock::new(|| {
    let find = |variable: &str, name: &str| {
        let program = env::var_os(variable).map_or_else(|| PathBuf::from(name), PathBuf::from);
        let version = Command::new(&program).arg("--version").output();
        version
            .is_ok_and(|output| output.status.success())
            .then_some(program)
    };
    Some(Real {
        containerd: find("CONTAINERD", "containerd")?,
        ctr: find("CTR", "ctr")?,
    })
});

/// `None` where they are not installed.
pub fn real() -> Option<&'static Real> {
    if REAL.is_none() {
        let missing = "PEER MISSING: containerd and ctr; this test compared nothing. \
                       tests/run installs them, or set CONTAINERD and CTR to their paths.\n";
        let required = env::var_os("IMAGESTORE_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "{missing}");
        // Not eprintln!, which the test harness hides when the test passes.
        io::stderr().write_all(missing.as_bytes()).unwrap();
    }
    REAL.as_ref()
}

/// Whether containerd is compared with itself.
pub fn is_stood_in() -> bool {
    env::var_os("IMAGESTORE_STAND_IN").is_some()
}

/// A folder in memory where there is such a place.
pub fn fast_folder() -> TempDir {
    TempDir::with_prefix_in("imagestore-", MEMORY).unwrap_or_else(|_| folder())
}

/// A running daemon that speaks containerd's API. Killed when dropped.
pub enum Daemon {
    Containerd(Containerd),
    /// With the folder of its store.
    Imagestore(
        Server,
        #[expect(dead_code, reason = "kept as long as the server")] TempDir,
    ),
}

/// A running containerd without CRI.
pub struct Containerd {
    child: Child,
    place: TempDir,
    socket: PathBuf,
}

impl Daemon {
    /// `None` where there is no containerd.
    pub async fn containerd() -> Option<Self> {
        Some(Self::Containerd(Containerd::start(real()?).await))
    }

    /// The binary under test, or a second containerd in its place.
    pub async fn imagestore() -> Self {
        if is_stood_in() {
            return Self::containerd().await.expect("a containerd");
        }
        let place = fast_folder();
        Self::Imagestore(Server::at(&place.path().join("store")).await, place)
    }

    pub fn socket(&self) -> PathBuf {
        match self {
            Self::Containerd(containerd) => containerd.socket.clone(),
            Self::Imagestore(server, _) => server.address().strip_prefix("unix://").unwrap().into(),
        }
    }

    pub async fn channel(&self) -> Channel {
        connect(&self.socket()).await.unwrap()
    }

    /// Whether the process is there, and what it said last if not.
    pub fn alive(&mut self) -> Result<(), String> {
        match self {
            Self::Containerd(containerd) => containerd.alive(),
            Self::Imagestore(server, _) => match server.has_ended() {
                true => Err(server.stderr()),
                false => Ok(()),
            },
        }
    }
}

impl Containerd {
    async fn start(real: &Real) -> Self {
        let place = fast_folder();
        let root = place.path();
        let socket = root.join("s");
        let config = root.join("config.toml");
        // Without the plugins that want folders of the machine's own.
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = {socket:?}\n",
            root.join("root"),
            root.join("state"),
        );
        fs::write(&config, text).unwrap();
        let log = File::create(root.join("log")).unwrap();
        let child = Command::new(&real.containerd)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut containerd = Self {
            child,
            place,
            socket,
        };
        containerd.wait_until_it_answers().await;
        containerd
    }

    async fn wait_until_it_answers(&mut self) {
        let from = Instant::now();
        while !answers(&self.socket).await {
            self.alive().unwrap();
            assert!(from.elapsed() < PATIENCE, "{}", self.last_words());
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn alive(&mut self) -> Result<(), String> {
        match self.child.try_wait().unwrap() {
            Some(status) => Err(format!(
                "containerd ended with {status}:\n{}",
                self.last_words()
            )),
            None => Ok(()),
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read(self.place.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let address = format!("unix://{}", socket.display());
    Endpoint::from_shared(address).unwrap().connect().await
}

async fn answers(socket: &Path) -> bool {
    let Ok(channel) = connect(socket).await else {
        return false;
    };
    VersionClient::new(channel).version(()).await.is_ok()
}
