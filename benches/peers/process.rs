//! The servers, each a process of its own on a Unix socket, gone when the race is over.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::Failure;
use crate::client::Client;
use crate::lineup::Peer;

const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);
const LOG_TAIL: usize = 5;

pub const CONTAINERD: &str = "/usr/bin/containerd";
pub const ETCD: &str = "/usr/bin/etcd";
/// Where containerd keeps its records below its root.
pub const CONTAINERD_RECORDS: &str = "io.containerd.metadata.v1.bolt/meta.db";

/// Where the servers live: their files on a real disk, their sockets where paths are short.
pub struct Place {
    files: TempDir,
    sockets: TempDir,
}

impl Place {
    pub fn new(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        Ok(Self {
            files: TempDir::with_prefix_in("peers-", parent)?,
            sockets: TempDir::with_prefix("peers-")?,
        })
    }

    pub fn path(&self) -> &Path {
        self.files.path()
    }

    pub fn root(&self, server: &str) -> PathBuf {
        self.files.path().join(server)
    }

    fn log(&self, server: &str) -> PathBuf {
        self.files.path().join(format!("{server}.log"))
    }

    fn socket(&self, server: &str) -> PathBuf {
        self.sockets.path().join(format!("{server}.sock"))
    }
}

/// A running server. Dropping it kills it.
pub struct Server {
    peer: Peer,
    child: Child,
    started: Instant,
    socket: PathBuf,
    log: PathBuf,
    pub root: PathBuf,
}

impl Server {
    pub fn null(place: &Place) -> Result<Self, Failure> {
        let socket = place.socket("null");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("null-server").arg(&socket);
        let log = place.log("null");
        Self::spawn(Peer::Null, command, socket, place.root("null"), log)
    }

    /// Servers of different names have stores of their own.
    pub fn imagestore(place: &Place, name: &str) -> Result<Self, Failure> {
        let (root, socket) = (place.root(name), place.socket(name));
        let mut command = Command::new(env!("CARGO_BIN_EXE_imagestore"));
        command.arg("serve").arg("--root").arg(&root);
        command.arg("--listen").arg(url(&socket));
        Self::spawn(Peer::Imagestore, command, socket, root, place.log(name))
    }

    /// With CRI disabled, and with everything below `root`.
    pub fn containerd(place: &Place, root: PathBuf) -> Result<Self, Failure> {
        if !Path::new(CONTAINERD).exists() {
            return Err(format!("no {CONTAINERD}: install Debian's package containerd").into());
        }
        let socket = place.socket("containerd");
        fs::create_dir_all(&root)?;
        let config = place.path().join("containerd.toml");
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {socket:?}\n",
            root.join("root"),
            root.join("state"),
        );
        fs::write(&config, text)?;
        let mut command = Command::new(CONTAINERD);
        command.arg("--config").arg(config);
        let log = place.log("containerd");
        Self::spawn(Peer::Containerd, command, socket, root, log)
    }

    pub fn etcd(place: &Place) -> Result<Self, Failure> {
        if !Path::new(ETCD).exists() {
            return Err(format!("no {ETCD}: install Debian's package etcd-server").into());
        }
        let root = place.root("etcd");
        // etcd takes only HOST:PORT after `unix://` and makes a socket of that name where it runs.
        let (clients, peers) = ("unix://etcd:1", "unix://etcd:2");
        let mut command = Command::new(ETCD);
        command.current_dir(place.sockets.path());
        command.arg("--data-dir").arg(&root);
        command.args(["--listen-client-urls", clients]);
        command.args(["--advertise-client-urls", clients]);
        command.args(["--listen-peer-urls", peers]);
        command.args(["--initial-advertise-peer-urls", peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        command.args(["--quota-backend-bytes", "8589934592"]);
        let socket = place.sockets.path().join("etcd:1");
        Self::spawn(Peer::Etcd, command, socket, root, place.log("etcd"))
    }

    fn spawn(
        peer: Peer,
        mut command: Command,
        socket: PathBuf,
        root: PathBuf,
        log: PathBuf,
    ) -> Result<Self, Failure> {
        if socket.exists() {
            fs::remove_file(&socket)?;
        }
        let output = File::create(&log)?;
        command.stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let program = Path::new(command.get_program()).to_owned();
        let refused = |error| format!("cannot start {}: {error}", program.display());
        let child = command.spawn().map_err(refused)?;
        Ok(Self {
            peer,
            child,
            started,
            socket,
            log,
            root,
        })
    }

    /// A connection, and the time from the start of the process to its first answer.
    pub async fn first_answer(&mut self) -> Result<(Client, Duration), Failure> {
        loop {
            let (peer, socket) = (self.peer, self.socket.clone());
            if let Ok(mut client) = Client::connect(peer, socket).await
                && client.greet().await.is_ok()
            {
                return Ok((client, self.started.elapsed()));
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(self.complaint(&format!("ended with {status}")));
            }
            if self.started.elapsed() > READY_LIMIT {
                return Err(self.complaint(&format!("does not answer after {READY_LIMIT:?}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub async fn client(&mut self) -> Result<Client, Failure> {
        Ok(self.first_answer().await?.0)
    }

    /// A connection that speaks as to another peer.
    pub async fn client_as(&mut self, peer: Peer) -> Result<Client, Failure> {
        self.first_answer().await?;
        Ok(Client::connect(peer, self.socket.clone()).await?)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Keeps the server from working until [`Server::resume`], so that what it has put off does not
    /// slow another down.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::kill_process(
            Pid::from_child(&self.child),
            signal,
        )?)
    }

    /// Ends the server without a chance to tidy up.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Asks the server to end and waits until it has.
    pub async fn stop(mut self) -> Result<(), Failure> {
        self.signal(Signal::TERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > STOP_LIMIT {
                return Err(self.complaint(&format!("does not end {STOP_LIMIT:?} after SIGTERM")));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn complaint(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let mut tail: Vec<&str> = log.lines().rev().take(LOG_TAIL).collect();
        tail.reverse();
        format!(
            "{} {what}; its log ends:\n{}",
            self.peer.name(),
            tail.join("\n")
        )
        .into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn url(socket: &Path) -> String {
    let path: &OsStr = socket.as_os_str();
    format!("unix://{}", path.to_string_lossy())
}
