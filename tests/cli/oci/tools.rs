//! The tools that make images without a Docker engine, and what they made.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A folder in which tools make images.
pub struct Workshop {
    folder: TempDir,
}

/// An image as its layout has it.
pub struct Made {
    pub manifest: String,
    pub config: String,
    pub diff_ids: Vec<String>,
}

const TOOLS: [&str; 3] = ["umoci", "skopeo", "buildah"];
/// Memory, where the tools do not wait for a disk.
const MEMORY: &str = "/dev/shm";

/// How an image is called in the layout `images`.
pub const LAYOUT: &str = "images";

impl Workshop {
    /// With an empty layout; `None` where the tools are not installed.
    pub fn open() -> Option<Self> {
        let is_there = |tool: &&str| Path::new("/usr/bin").join(tool).exists();
        if !TOOLS.iter().all(is_there) {
            let missing = "PEER MISSING: umoci, skopeo and buildah; this test imported no image\n";
            let required =
                env::var_os("IMAGESTORE_REQUIRE_PEERS").is_some_and(|value| value == "1");
            assert!(!required, "{missing}");
            // Not eprintln!, which the test harness hides when the test passes.
            io::stderr().write_all(missing.as_bytes()).unwrap();
            return None;
        }
        let folder = TempDir::with_prefix_in("imagestore-", MEMORY)
            .unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let workshop = Self { folder };
        workshop.umoci(["init", "--layout", LAYOUT]);
        Some(workshop)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs a tool that goes well, and returns what it prints.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(
        &self,
        tool: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> String {
        let mut command = Command::new(tool);
        command.args(arguments).current_dir(self.folder.path());
        // Else buildah keeps its work in /var/tmp.
        command.env("TMPDIR", self.folder.path());
        let ran = command.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{command:?}: {said}");
        String::from_utf8(ran.stdout).unwrap()
    }

    #[track_caller]
    pub fn umoci<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) {
        self.run("umoci", arguments);
    }

    #[track_caller]
    pub fn skopeo_copy(&self, from: &str, to: &str) {
        self.run("skopeo", ["--insecure-policy", "copy", "--quiet", from, to]);
    }

    #[track_caller]
    pub fn buildah<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let places = [
            "--root",
            "b/root",
            "--runroot",
            "b/run",
            "--storage-driver",
            "vfs",
        ];
        self.run("buildah", places.into_iter().chain(arguments))
    }

    /// An image without layers, under a tag.
    pub fn blank(&self, tag: &str) {
        self.umoci(["new", "--image", &format!("{LAYOUT}:{tag}")]);
    }

    /// Puts a layer on an image, as a step of its history, under a new tag.
    pub fn layer(&self, from: &str, tag: &str, step: &str) {
        let file = self.path("file");
        fs::write(file, step).unwrap();
        let image = format!("{LAYOUT}:{from}");
        let by = ["--history.created_by", step];
        let insert = ["insert", "--image", &image, "--tag", tag];
        let what = ["file", "/file"];
        self.umoci(insert.into_iter().chain(by).chain(what));
    }

    /// Changes an image's config only, as a step of its history, under a new tag.
    pub fn setting(&self, from: &str, tag: &str, env: &str) {
        let image = format!("{LAYOUT}:{from}");
        let config = [
            "config",
            "--image",
            &image,
            "--tag",
            tag,
            "--config.env",
            env,
        ];
        let step = format!("/bin/sh -c #(nop) ENV {env}");
        self.umoci(config.into_iter().chain(["--history.created_by", &step]));
    }

    /// What a tag of a layout is.
    pub fn made(&self, layout: &str, tag: &str) -> Made {
        let index = self.json(&format!("{layout}/index.json"));
        let entries = index["manifests"].as_array().unwrap();
        let name = "org.opencontainers.image.ref.name";
        let entry = entries
            .iter()
            .find(|entry| entry["annotations"][name] == tag);
        let manifest = text(&entry.unwrap_or_else(|| panic!("{tag} in {index}"))["digest"]);
        let config = text(&self.blob(layout, &manifest)["config"]["digest"]);
        let diff_ids = self.blob(layout, &config)["rootfs"]["diff_ids"].clone();
        Made {
            manifest,
            config,
            diff_ids: diff_ids.as_array().unwrap().iter().map(text).collect(),
        }
    }

    /// The JSON that a layout has under a digest.
    pub fn blob(&self, layout: &str, digest: &str) -> Value {
        self.json(&format!("{layout}/blobs/{}", digest.replace(':', "/")))
    }

    /// Adds JSON to a layout, and returns what points to it.
    pub fn add_blob(&self, layout: &str, media_type: &str, content: &Value) -> Value {
        let content = content.to_string();
        let hex: String = Sha256::digest(&content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        fs::write(self.path(&format!("{layout}/blobs/sha256/{hex}")), &content).unwrap();
        serde_json::json!({
            "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": content.len()
        })
    }

    pub fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(path)).unwrap()).unwrap()
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
