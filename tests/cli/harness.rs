//! A server of one's own for each test, and the binary to ask it with.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// How long a server may take until it answers, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server with a store of its own.
pub struct Server {
    process: Child,
    folder: TempDir,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The binary, without anything from the environment that would change what it does.
pub fn imagestore() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imagestore"));
    command
        .env_remove("IMAGESTORE_ADDRESS")
        .env_remove("IMAGESTORE_NAMESPACE")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

/// Runs a command that needs no server of the test's.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    imagestore().args(arguments).output().unwrap().into()
}

/// A digest that nobody else has.
pub fn digest(number: u8) -> String {
    format!("sha256:{number:02x}{}", "0".repeat(62))
}

/// One line of an import file.
pub fn line(name: &str, number: u8) -> String {
    let digest = digest(number);
    format!(r#"{{"name":"{name}","digest":"{digest}","media_type":"{INDEX}","size":3700}}"#) + "\n"
}

/// An address where nobody listens, nor can as long as the socket is there.
pub fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

/// Tries until it holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        sleep(Duration::from_millis(10));
    }
}

// === impl Server ===

impl Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = serve(folder.path());
        let mut server = Self { process, folder };
        server.ready();
        server
    }

    /// Ends it with a signal, and starts another on the same store.
    pub fn restart(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        self.process.wait().unwrap();
        self.process = serve(self.folder.path());
        self.ready();
    }

    fn ready(&mut self) {
        eventually("the server answers", || {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the server ended with {status}");
            }
            self.run(["status"]).code == 0
        });
    }

    pub fn address(&self) -> String {
        address_in(self.folder.path())
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The binary with this server's address, its arguments still to come.
    pub fn command(&self) -> Command {
        let mut command = imagestore();
        command.env("IMAGESTORE_ADDRESS", self.address());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.command().args(arguments).output().unwrap().into()
    }

    /// Runs a command and feeds it.
    pub fn feed(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A command that has seen enough stops reading.
        let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        output.into()
    }

    /// What a command that goes well prints.
    pub fn print<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.run(arguments).printed()
    }

    /// The JSON that a command prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.print(arguments.iter().chain(&["-o", "json"]));
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why} in {text}"))
    }

    /// Puts an image with one of the digests of [`digest`].
    pub fn put(&self, name: &str, number: u8) {
        self.put_with(name, number, &[]).printed();
    }

    pub fn put_with(&self, name: &str, number: u8, more: &[&str]) -> Ran {
        let digest = digest(number);
        let put = [
            "put",
            name,
            "--digest",
            &digest,
            "--media-type",
            INDEX,
            "--size",
            "3700",
        ];
        self.run(put.iter().chain(more))
    }

    /// Reads a line of what a command prints and goes away, as `head -1` does.
    pub fn read_one_line_and_leave(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = self.command();
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        assert!(!first.is_empty());
        let output = child.wait_with_output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// A file in the test's folder.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn serve(folder: &Path) -> Child {
    imagestore()
        .arg("serve")
        .arg("--root")
        .arg(folder.join("store"))
        .arg("--listen")
        .arg(address_in(folder))
        .env("RUST_LOG", "error")
        .spawn()
        .unwrap()
}

fn address_in(folder: &Path) -> String {
    format!("unix://{}", folder.join("s").display())
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// === impl Ran ===

impl Ran {
    /// What it printed, after it went well and without complaint.
    #[track_caller]
    pub fn printed(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        self.stdout
    }

    /// What it complained of, with this exit code.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self.stderr
    }

    /// Like [`Ran::refused`], in one line of the house's form.
    #[track_caller]
    pub fn told(self, code: i32) -> String {
        let text = self.refused(code);
        assert!(
            text.starts_with("imagestore: ") && text.ends_with(".\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
