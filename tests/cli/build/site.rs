//! A directory of images whose commands are shell scripts: the daemon is a folder, the registry a folder and a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ran, Server, eventually};

pub struct Site {
    folder: TempDir,
}

/// A worker that runs beside the test.
pub struct Worker {
    process: Option<Child>,
}

/// Notes each start and each end, does what the image's hook says, and leaves a file.
const BUILD: &str = r#"
echo "start $1@$2 $PPID" >> "$D/log"
if [ -e "$D/hook-$1" ]; then . "$D/hook-$1"; fi
: > "$D/daemon/$1@$2"
echo "end $1@$2 $PPID" >> "$D/log"
"#;
const EXISTS: &str = r#"if [ -e "$D/daemon/$1@$2" ]; then echo yes; fi"#;
const PUSH: &str = r#"echo "push $1@$2 $PPID" >> "$D/log"; : > "$D/registry/$1@$2""#;
const LIST: &str = r#"for image in "$D"/daemon/"$1"@*; do echo "$2:${image##*@}"; done"#;
const REMOVE: &str =
    r#"if [ -e "$D/held-$1@$2" ]; then echo in use >&2; exit 1; fi; rm "$D/daemon/$1@$2""#;

impl Site {
    pub fn new() -> Self {
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for folder in ["images", "daemon", "registry"] {
            fs::create_dir(site.path(folder)).unwrap();
        }
        for (name, script) in [
            ("build", BUILD),
            ("exists", EXISTS),
            ("push", PUSH),
            ("list", LIST),
            ("remove", REMOVE),
        ] {
            let script = format!("set -e\nD={:?}\n{script}\n", site.path(""));
            fs::write(site.path(name), script).unwrap();
        }
        site.config("here", "60s", "");
        site
    }

    /// The settings of workers at a location; returns their file.
    pub fn config(&self, location: &str, ttl: &str, more: &str) -> PathBuf {
        let script = |name: &str, rest: &str| {
            format!("{name} = [\"/bin/sh\", {:?}, {rest}]\n", self.path(name))
        };
        let of_image = r#""{name}", "{version}""#;
        let commands = [
            script("build", of_image),
            script("exists", of_image),
            script("push", of_image),
            script("list", r#""{name}", "{repository}""#),
            script("remove", of_image),
        ]
        .concat();
        let text = format!(
            "location = {location:?}\nttl = {ttl:?}\nauthor = \"A B <a@b.example>\"\n{more}\n[commands]\n{commands}\
             pull = [\"false\"]\n"
        );
        let path = self.path(&format!("{location}.toml"));
        fs::write(&path, text).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An image in docker-pkg's form.
    pub fn image(&self, name: &str, version: &str, on: &[&str]) {
        let folder = self.path("images").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("Dockerfile.template"), "FROM scratch\n").unwrap();
        let changelog = format!(
            "{name} ({version}) unstable; urgency=medium\n\n  * First.\n\n -- A B <a@b.example>  Tue, 01 Sep 2026 10:00:00 +0000\n"
        );
        fs::write(folder.join("changelog"), changelog).unwrap();
        if !on.is_empty() {
            let control = format!("Source: {name}\nBuild-Depends: {}\n", on.join(", "));
            fs::write(folder.join("control"), control).unwrap();
        }
    }

    /// The test of an image.
    pub fn test(&self, name: &str, script: &str) {
        let path = self.path("images").join(name).join("test.sh");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What building an image does, beside leaving it.
    pub fn hook(&self, name: &str, script: &str) {
        fs::write(self.path(&format!("hook-{name}")), script).unwrap();
    }

    pub fn no_hook(&self, name: &str) {
        fs::remove_file(self.path(&format!("hook-{name}"))).unwrap();
    }

    /// `imagestore build`, by a worker at a location.
    pub fn command(&self, server: &Server, location: &str, arguments: &[&str]) -> Command {
        let mut command = server.command();
        command
            .arg("build")
            .arg(arguments[0])
            .arg(self.path("images"))
            .arg("--config")
            .arg(self.path(&format!("{location}.toml")))
            .args(&arguments[1..]);
        command
    }

    pub fn build(&self, server: &Server, arguments: &[&str]) -> Ran {
        self.command(server, "here", arguments)
            .output()
            .unwrap()
            .into()
    }

    #[track_caller]
    pub fn scan(&self, server: &Server) {
        self.build(server, &["scan", "--source", "test"]).printed();
    }

    pub fn worker(&self, server: &Server, location: &str, arguments: &[&str]) -> Worker {
        let mut command = self.command(server, location, arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Worker {
            process: Some(command.spawn().unwrap()),
        }
    }

    /// What the scripts noted: what happened, to which target, by which worker.
    pub fn log(&self) -> Vec<(String, String, u32)> {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        let words = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        words
            .map(|words| {
                (
                    words[0].to_owned(),
                    words[1].to_owned(),
                    words[2].parse().unwrap(),
                )
            })
            .collect()
    }

    pub fn count(&self, what: &str, target: &str) -> usize {
        let log = self.log();
        log.iter()
            .filter(|(noted, name, _)| noted == what && name == target)
            .count()
    }

    pub fn until(&self, what: &str, target: &str) {
        eventually(&format!("{what} {target}"), || self.count(what, target) > 0);
    }

    /// That nothing was begun before all that it is built on was there.
    #[track_caller]
    pub fn was_in_order(&self, edges: &BTreeMap<String, BTreeSet<String>>) {
        let log = self.log();
        let first = |what: &str, target: &str| {
            log.iter()
                .position(|(noted, name, _)| noted == what && name == target)
        };
        for (target, on) in edges {
            let began = first("start", target).unwrap_or_else(|| panic!("{target} was not built"));
            for below in on {
                assert!(
                    first("end", below).unwrap() < began,
                    "{below} before {target}: {log:?}"
                );
            }
        }
    }

    /// A registry that has what lies in the folder.
    pub fn registry(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let folder = self.path("registry");
        // Ends with the test's process.
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (mut socket, folder) = (socket.unwrap(), folder.clone());
                thread::spawn(move || {
                    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
                    while let Some(Ok(line)) = lines.next() {
                        while lines
                            .next()
                            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
                        {
                        }
                        let path = line.split(' ').nth(1).unwrap_or_default();
                        let status = answer(&folder, path);
                        let body = match line.starts_with("GET") && status == "200 OK" {
                            true => r#"{"schemaVersion":2}"#,
                            false => "",
                        };
                        let length = body.len();
                        let answer =
                            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                        if socket.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        host
    }
}

fn answer(folder: &Path, path: &str) -> &'static str {
    let Some(path) = path.strip_prefix("/v2/") else {
        return "500 Internal Server Error";
    };
    let Some((name, version)) = path.split_once("/manifests/") else {
        return "200 OK";
    };
    match folder.join(format!("{name}@{version}")).exists() {
        true => "200 OK",
        false => "404 Not Found",
    }
}

impl Worker {
    pub fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.process.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ran {
        self.process
            .take()
            .unwrap()
            .wait_with_output()
            .unwrap()
            .into()
    }

    pub fn kill(mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// All targets as the service has them.
pub fn targets(server: &Server) -> BTreeMap<String, Value> {
    let Value::Array(all) = server.json(&["build", "ls"]) else {
        panic!("not a list")
    };
    all.into_iter()
        .map(|target| (target["target"].as_str().unwrap().to_owned(), target))
        .collect()
}

pub fn states(server: &Server) -> BTreeMap<String, String> {
    let state = |target: Value| target["state"].as_str().unwrap().to_owned();
    targets(server)
        .into_iter()
        .map(|(name, target)| (name, state(target)))
        .collect()
}
