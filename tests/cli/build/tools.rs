//! A registry, and commands that build, push and remove real images without a Docker engine.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::eventually;

const TOOLS: [&str; 5] = ["buildah", "skopeo", "docker-registry", "curl", "openssl"];
/// Memory, where the tools do not wait for a disk.
const MEMORY: &str = "/dev/shm";

/// A registry on loopback and a storage of buildah's.
pub struct Yard {
    folder: TempDir,
    _registry: Registry,
    pub host: String,
}

/// A running registry. Killed when dropped.
pub struct Registry {
    process: Child,
    pub host: String,
}

impl Yard {
    /// `None` where the tools are not installed.
    pub fn open() -> Option<Self> {
        let is_there = |tool: &&str| Path::new("/usr/bin").join(tool).exists();
        if !TOOLS.iter().all(is_there) {
            let missing = "PEER MISSING: buildah, skopeo, docker-registry, curl and openssl; this test built nothing\n";
            let required =
                env::var_os("IMAGESTORE_REQUIRE_PEERS").is_some_and(|value| value == "1");
            assert!(!required, "{missing}");
            // Not eprintln!, which the test harness hides when the test passes.
            io::stderr().write_all(missing.as_bytes()).unwrap();
            return None;
        }
        let folder = TempDir::with_prefix_in("imagestore-", MEMORY)
            .unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let registry = Registry::serve(folder.path(), "registry", "");
        let yard = Self {
            host: registry.host.clone(),
            folder,
            _registry: registry,
        };
        eventually("the registry answers", || {
            yard.asks("/v2/").starts_with("200")
        });
        Some(yard)
    }

    /// Another registry, of the same images, with more settings.
    pub fn another_registry(&self, name: &str, more: &str) -> Registry {
        Registry::serve(self.folder.path(), name, more)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A test of an image, as `test.sh` in its folder.
    pub fn write_test(&self, folder: &str, script: &str) {
        let path = self.write(&format!("{folder}/test.sh"), script);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The status of what the registry answers for a path, and its headers.
    pub fn asks(&self, path: &str) -> String {
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
        let url = format!("http://{}{path}", self.host);
        let asked = Command::new("curl")
            .args([
                "--silent",
                "--head",
                "--header",
                accept,
                "--write-out",
                "",
                &url,
            ])
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&asked.stdout).into_owned();
        answer
            .split_once(' ')
            .map(|(_, rest)| rest.to_owned())
            .unwrap_or_default()
    }

    /// Whether the registry has a tag.
    #[track_caller]
    pub fn has(&self, repository: &str, tag: &str) -> bool {
        let answer = self.asks(&format!("/v2/{repository}/manifests/{tag}"));
        match answer.get(..3) {
            Some("200") => true,
            Some("404") => false,
            _ => panic!("{repository}:{tag}: {answer}"),
        }
    }

    /// The beginning of every call of buildah.
    fn buildah(&self) -> Vec<String> {
        let at = |name| self.path(name).to_str().unwrap().to_owned();
        [
            "buildah",
            "--root",
            &at("b/root"),
            "--runroot",
            &at("b/run"),
            "--storage-driver",
            "vfs",
        ]
        .map(str::to_owned)
        .into()
    }

    /// What buildah prints that goes well.
    #[track_caller]
    pub fn run_buildah(&self, arguments: &[&str]) -> String {
        let start = self.buildah();
        let ran = Command::new(&start[0])
            .args(&start[1..])
            .args(arguments)
            .env("TMPDIR", self.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "buildah {arguments:?}: {said}");
        String::from_utf8(ran.stdout).unwrap()
    }

    /// A worker's file, with `more` at its head.
    pub fn config(&self, name: &str, more: &str) -> PathBuf {
        let quoted = |arguments: &[&str]| {
            let all: Vec<String> = self
                .buildah()
                .iter()
                .map(String::as_str)
                .chain(arguments.iter().copied())
                .map(|argument| format!("{argument:?}"))
                .collect();
            format!("[{}]", all.join(", "))
        };
        let build = quoted(&[
            "bud",
            "--quiet",
            "--isolation",
            "chroot",
            "--pull=false",
            "--tag",
            "{image}",
            "--iidfile",
            "{iid_file}",
            "--file",
            "{dockerfile}",
            "{context}",
        ]);
        let build_builder = quoted(&[
            "bud",
            "--quiet",
            "--isolation",
            "chroot",
            "--tls-verify=false",
            "--tag",
            "{image}",
            "--build-arg",
            "BASE={base}",
            "--iidfile",
            "{iid_file}",
            "--file",
            "{dockerfile}",
            "{context}",
        ]);
        let exists = quoted(&[
            "images",
            "--quiet",
            "--no-trunc",
            "--filter",
            "reference={image}",
        ]);
        let list = quoted(&[
            "images",
            "--format",
            "{{.Name}}:{{.Tag}}",
            "--filter",
            "reference={repository}",
        ]);
        let remove = quoted(&["rmi", "{image}"]);
        let pull = quoted(&["pull", "--quiet", "--tls-verify=false", "{image}"]);
        let storage = format!(
            "containers-storage:[vfs@{}+{}]{{image}}",
            self.path("b/root").display(),
            self.path("b/run").display()
        );
        let text = format!(
            r#"{more}
[commands]
build = {build}
push = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--digestfile", "{{digest_file}}", "{storage}", "docker://{{image}}"]
exists = {exists}
list = {list}
remove = {remove}
pull = {pull}
[builder]
build = {build_builder}
exists = {exists}
remove = {remove}
"#
        );
        self.write(name, &text)
    }
}

// === impl Registry ===

impl Registry {
    /// Serves the images in a folder, on a port that it finds itself; says in which file it logs.
    fn serve(folder: &Path, name: &str, more: &str) -> Self {
        let config = folder.join(format!("{name}.yml"));
        let log = folder.join(format!("{name}.log"));
        let storage = folder.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: 127.0.0.1:0}}\n{more}",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config).stdout(Stdio::null());
        command.stderr(File::create(&log).unwrap());
        let mut registry = Self {
            process: command.spawn().unwrap(),
            host: String::new(),
        };
        eventually("the registry listens", || {
            let said = fs::read_to_string(&log).unwrap();
            let ended = registry.process.try_wait().unwrap();
            assert_eq!(ended, None, "{said}");
            registry.host = listens_on(&said).unwrap_or_default();
            !registry.host.is_empty()
        });
        registry
    }
}

/// Where a registry listens, once its log tells all of it.
fn listens_on(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c))?;
    Some(rest[..end].to_owned())
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
