//! The real binary in a folder of its own, and clients of it over real sockets.

// Each test binary uses its part.
#![allow(dead_code, unreachable_pub)]

pub mod configs;
pub mod random;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use imagestore::domain::{Algorithm, Digest};
use imagestore::proto::v1 as pb;
use imagestore::proto::v1::build_cache_client::BuildCacheClient;
use imagestore::proto::v1::configs_client::ConfigsClient;
use imagestore::proto::v1::images_client::ImagesClient;
use imagestore::proto::v1::namespaces_client::NamespacesClient;
use imagestore::proto::v1::store_client::StoreClient;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

/// How long anything may take before a test gives up; far more than it ever takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// A running `imagestore serve`. Killed when dropped.
pub struct Server {
    child: Child,
    root: PathBuf,
    address: String,
    stderr: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    dirs: Vec<TempDir>,
}

/// A folder on disk; `/tmp` may be memory.
pub fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A free place for a socket, of a path short enough for one.
pub fn socket() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix://{}/s", dir.path().display());
    (dir, address)
}

impl Server {
    /// A new store on a Unix socket, ready.
    pub async fn start() -> Self {
        let root = folder();
        let mut server = Self::at(root.path()).await;
        server.dirs.push(root);
        server
    }

    /// The same, started with more options.
    pub async fn start_with(options: &[&str]) -> Self {
        let root = folder();
        let (dir, address) = socket();
        let mut command = Self::command(root.path(), &address);
        command.args(options);
        let mut server = Self::spawn(command, root.path(), &address);
        server.dirs.extend([root, dir]);
        server.ready().await;
        server
    }

    /// The store of a folder on a Unix socket, ready.
    pub async fn at(root: &Path) -> Self {
        let (dir, address) = socket();
        let mut server = Self::launch(root, &address);
        server.dirs.push(dir);
        server.ready().await;
        server
    }

    /// A new store on a TCP port that it finds itself, ready.
    pub async fn start_on_tcp() -> Self {
        let root = folder();
        let mut command = Self::command(root.path(), "tcp://127.0.0.1:0");
        command.env("RUST_LOG", "info");
        let mut server = Self::spawn(command, root.path(), "");
        server.dirs.push(root);
        eventually("it says where it listens", async || {
            let said = server.stderr();
            assert!(!server.has_ended(), "it ended: {said}");
            server.address = listens_on(&said).unwrap_or_default();
            !server.address.is_empty()
        })
        .await;
        server.ready().await;
        server
    }

    /// Only starts the process.
    pub fn launch(root: &Path, address: &str) -> Self {
        Self::spawn(Self::command(root, address), root, address)
    }

    fn command(root: &Path, address: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imagestore"));
        command
            .arg("serve")
            .arg("--root")
            .arg(root)
            .args(["--listen", address]);
        command
    }

    pub fn spawn(mut command: Command, root: &Path, address: &str) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (mut pipe, said) = (child.stderr.take().unwrap(), stderr.clone());
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut part) {
                said.lock().unwrap().extend_from_slice(&part[..read]);
            }
        });
        Self {
            child,
            root: root.to_owned(),
            address: address.to_owned(),
            stderr,
            reader: Some(reader),
            dirs: Vec::new(),
        }
    }

    pub async fn ready(&mut self) {
        assert!(self.is_ready().await, "it ended: {}", self.stderr());
    }

    /// Waits until it serves; false if it ends instead.
    pub async fn is_ready(&mut self) -> bool {
        let from = Instant::now();
        while from.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.health("").await == Ok(ServingStatus::Serving) {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("not ready after {PATIENCE:?}: {}", self.stderr());
    }

    pub async fn health(&self, service: &str) -> Result<ServingStatus, Code> {
        let channel = self
            .endpoint()
            .connect()
            .await
            .map_err(|_| Code::Unavailable)?;
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = HealthClient::new(channel)
            .check(request)
            .await
            .map_err(|s| s.code())?;
        Ok(answer.into_inner().status())
    }

    pub fn endpoint(&self) -> Endpoint {
        let uri = match self.address.strip_prefix("tcp://") {
            Some(host) => format!("http://{host}"),
            None => self.address.clone(),
        };
        Endpoint::from_shared(uri).unwrap()
    }

    pub async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    pub async fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel().await)
    }

    pub async fn namespaces(&self) -> NamespacesClient<Channel> {
        NamespacesClient::new(self.channel().await)
    }

    pub async fn configs(&self) -> ConfigsClient<Channel> {
        ConfigsClient::new(self.channel().await)
    }

    pub async fn build_cache(&self) -> BuildCacheClient<Channel> {
        BuildCacheClient::new(self.channel().await)
    }

    pub async fn status(&self) -> pb::StatusResponse {
        let mut store = StoreClient::new(self.channel().await);
        store
            .status(pb::StatusRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    /// What bad input and rehearsals must leave as it is: revision, namespaces, images, tables.
    pub async fn state(&self) -> [i64; 4] {
        let status = self.status().await;
        [
            status.revision as i64,
            status.namespaces,
            status.images,
            status.tables,
        ]
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it the hard way.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it ends; all that it said is in [`Self::stderr`] then.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let from = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                from.elapsed() < within,
                "still there after {within:?}: {}",
                self.stderr()
            );
            tokio::time::sleep(PAUSE).await;
        };
        self.reader.take().map(JoinHandle::join);
        status
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The TCP address where a server listens, once it has told all of it.
fn listens_on(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("address=tcp://")?;
    let (address, _) = rest.split_once('\n')?;
    Some(format!("tcp://{address}"))
}

/// Looks again until the condition holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let from = Instant::now();
    while !holds().await {
        assert!(from.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The digest of a text.
pub fn digest(of: &str) -> String {
    Digest::of(Algorithm::Sha256, of.as_bytes()).text()
}

/// A target whose digest is that of a text.
pub fn target(of: &str) -> pb::Descriptor {
    pb::Descriptor {
        media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
        digest: digest(of),
        size: 3700,
        ..Default::default()
    }
}

/// A Put of a name that points to [`target`] of a text.
pub fn put(name: &str, of: &str) -> pb::PutImageRequest {
    let image = pb::Image {
        name: name.to_owned(),
        target: Some(target(of)),
        ..Default::default()
    };
    pb::PutImageRequest {
        image: Some(image),
        ..Default::default()
    }
}

pub fn get(name: &str) -> pb::GetImageRequest {
    pb::GetImageRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

pub fn delete(name: &str) -> pb::DeleteImageRequest {
    pb::DeleteImageRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

pub fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    })
}

/// Code and reason of an error, and the field where it names one.
#[track_caller]
pub fn assert_refused(status: &Status, code: Code, reason: &str, field: Option<&str>) {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(
        (status.code(), info.reason.as_str()),
        (code, reason),
        "{status:?}"
    );
    assert_eq!(info.domain, "imagestore");
    let violations = details
        .bad_request()
        .map(|bad| bad.field_violations.as_slice());
    let named = violations
        .and_then(|all| all.first())
        .map(|first| first.field.as_str());
    assert_eq!(named, field, "{status:?}");
    assert!(!status.message().is_empty());
}

/// What an error's ErrorInfo says under a key.
#[track_caller]
pub fn fact(status: &Status, key: &str) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    info.metadata
        .get(key)
        .unwrap_or_else(|| panic!("no {key} in {info:?}"))
        .clone()
}
