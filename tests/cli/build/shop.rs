//! A server, and a daemon that is a folder: images to build in are made, found and removed by shell scripts.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ran, Server};

pub struct Shop {
    pub server: Server,
    folder: TempDir,
}

/// Leaves a file called as the image, with a digest that nobody else has; fails where the shop says so.
const BUILD: &str = r#"
echo "build $1" >> "$D/log"
if [ -e "$D/hook" ]; then . "$D/hook"; fi
file=$(echo "$1" | tr / _)
: > "$D/daemon/$file"
printf 'sha256:%s' "$(printf %s "$1" | sha256sum | cut -d ' ' -f 1)" > "$2"
"#;
const EXISTS: &str = r#"if [ -e "$D/daemon/$(echo "$1" | tr / _)" ]; then echo yes; fi"#;
const REMOVE: &str = r#"if [ -e "$D/held" ]; then echo in use >&2; exit 1; fi; rm "$D/daemon/$(echo "$1" | tr / _)""#;

impl Shop {
    pub fn open(ttl: &str) -> Self {
        let shop = Self {
            server: Server::start(),
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(shop.folder.path().join("daemon")).unwrap();
        let mut config = format!("location = \"here\"\nttl = {ttl:?}\n[builder]\n");
        for (name, script, rest) in [
            ("build", BUILD, "\"{image}\", \"{iid_file}\""),
            ("exists", EXISTS, "\"{image}\""),
            ("remove", REMOVE, "\"{image}\""),
        ] {
            let path = shop.folder.path().join(name);
            fs::write(
                &path,
                format!("set -e\nD={:?}\n{script}\n", shop.folder.path()),
            )
            .unwrap();
            config.push_str(&format!("{name} = [\"/bin/sh\", {path:?}, {rest}]\n"));
        }
        fs::write(shop.folder.path().join("config"), config).unwrap();
        shop
    }

    /// How long the claims of those last who come from now on.
    pub fn claims_last(&self, ttl: &str) {
        let config = fs::read_to_string(self.file("config")).unwrap();
        let others = config.lines().filter(|line| !line.starts_with("ttl = "));
        let others: Vec<&str> = others.collect();
        let config = format!("ttl = {ttl:?}\n{}\n", others.join("\n"));
        fs::write(self.file("config"), config).unwrap();
    }

    pub fn hook(&self, script: &str) {
        fs::write(self.folder.path().join("hook"), script).unwrap();
    }

    pub fn no_hook(&self) {
        fs::remove_file(self.folder.path().join("hook")).unwrap();
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn builds(&self) -> usize {
        fs::read_to_string(self.file("log"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    pub fn daemon(&self) -> usize {
        fs::read_dir(self.file("daemon")).unwrap().count()
    }

    pub fn command(&self, options: &[&str], command: &[&str]) -> Command {
        let mut exec = self.server.command();
        exec.args([
            "builder",
            "exec",
            "debian:13",
            "--platform",
            "linux/amd64",
            "--config",
        ]);
        exec.arg(self.file("config"))
            .args(options)
            .arg("--")
            .args(command);
        exec
    }

    pub fn exec(&self, options: &[&str], command: &[&str]) -> Ran {
        self.command(options, command).output().unwrap().into()
    }

    /// The image that a command is given.
    #[track_caller]
    pub fn image(&self, options: &[&str]) -> String {
        let ran = self.exec(options, &["echo", "{image}"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout.trim().to_owned()
    }

    pub fn show(&self) -> Value {
        self.server
            .json(&["builder", "show", "debian:13", "--platform", "linux/amd64"])
    }

    pub fn prune(&self, more: &[&str]) -> Ran {
        let mut prune = self.server.command();
        prune
            .args(["builder", "prune", "--config"])
            .arg(self.file("config"))
            .args(more);
        prune.output().unwrap().into()
    }
}
