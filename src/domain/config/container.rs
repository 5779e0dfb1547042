//! How a container is set up: what a build step is told by, and what of it makes two steps the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Not;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::json::{Fields, Json};
use crate::domain::Invalid;

/// A container config, in one normal form: two are equal if they mean the same step.
///
/// Every field counts that the build cache compares. Absent, `null` and empty lists are one, so are absent and
/// empty maps; a timeout and a health check that are absent differ from any that are there. What names a
/// single container (Hostname, Domainname, MacAddress) or the step before (Image) is not kept.
///
/// Serialized, it is the JSON that it is parsed from, without what is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(skip_serializing_if = "Not::not")]
    pub args_escaped: bool,
    #[serde(skip_serializing_if = "BTreeSet::is_empty", serialize_with = "as_keys")]
    pub exposed_ports: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty", serialize_with = "as_keys")]
    pub volumes: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Not::not")]
    pub attach_stdin: bool,
    #[serde(skip_serializing_if = "Not::not")]
    pub attach_stdout: bool,
    #[serde(skip_serializing_if = "Not::not")]
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "Not::not")]
    pub tty: bool,
    #[serde(skip_serializing_if = "Not::not")]
    pub open_stdin: bool,
    #[serde(skip_serializing_if = "Not::not")]
    pub stdin_once: bool,
    #[serde(skip_serializing_if = "Not::not")]
    pub network_disabled: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
}

/// How to see whether a container works. Times are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// Equal for two container configs exactly if they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

// === impl ContainerConfig ===

impl ContainerConfig {
    /// A container config as a build asks with it: JSON, no larger than a config may be.
    /// Unknown fields are ignored.
    pub fn parse(text: &[u8], field: &'static str) -> Result<Self, Invalid> {
        let json = Json::parse(text, field)?;
        Self::of(json.fields(field)?).map_err(|e| e.within(field))
    }

    pub(super) fn of(fields: Fields<'_>) -> Result<Self, Invalid> {
        let healthcheck = fields.object("Healthcheck")?.map(Healthcheck::of);
        Ok(Self {
            user: fields.text("User")?,
            working_dir: fields.text("WorkingDir")?,
            env: fields.texts("Env")?,
            cmd: fields.words("Cmd")?,
            entrypoint: fields.words("Entrypoint")?,
            shell: fields.words("Shell")?,
            on_build: fields.texts("OnBuild")?,
            args_escaped: fields.flag("ArgsEscaped")?,
            exposed_ports: fields.keys("ExposedPorts")?,
            volumes: fields.keys("Volumes")?,
            labels: fields.texts_by_key("Labels")?,
            attach_stdin: fields.flag("AttachStdin")?,
            attach_stdout: fields.flag("AttachStdout")?,
            attach_stderr: fields.flag("AttachStderr")?,
            tty: fields.flag("Tty")?,
            open_stdin: fields.flag("OpenStdin")?,
            stdin_once: fields.flag("StdinOnce")?,
            network_disabled: fields.flag("NetworkDisabled")?,
            stop_signal: fields.text("StopSignal")?,
            stop_timeout: fields.integer("StopTimeout")?,
            healthcheck: healthcheck
                .transpose()
                .map_err(|e| e.within("Healthcheck"))?,
        })
    }

    /// The command as history tells it: its words with blanks between them.
    pub fn cmd_line(&self) -> String {
        self.cmd.join(" ")
    }

    pub fn fingerprint(&self) -> Fingerprint {
        // Without `..`, so that a new field is not forgotten here.
        let Self {
            user,
            working_dir,
            env,
            cmd,
            entrypoint,
            shell,
            on_build,
            args_escaped,
            exposed_ports,
            volumes,
            labels,
            attach_stdin,
            attach_stdout,
            attach_stderr,
            tty,
            open_stdin,
            stdin_once,
            network_disabled,
            stop_signal,
            stop_timeout,
            healthcheck,
        } = self;
        let mut hash = Encoding::new();
        for text in [user, working_dir, stop_signal] {
            hash.text(text);
        }
        for list in [env, cmd, entrypoint, shell, on_build] {
            hash.texts(list);
        }
        for set in [exposed_ports, volumes] {
            hash.texts(set);
        }
        hash.number(labels.len() as u64);
        for (key, value) in labels {
            hash.text(key);
            hash.text(value);
        }
        for flag in [
            args_escaped,
            attach_stdin,
            attach_stdout,
            attach_stderr,
            tty,
            open_stdin,
            stdin_once,
            network_disabled,
        ] {
            hash.flag(*flag);
        }
        hash.flag(stop_timeout.is_some());
        if let Some(seconds) = stop_timeout {
            hash.signed(*seconds);
        }
        hash.flag(healthcheck.is_some());
        if let Some(healthcheck) = healthcheck {
            healthcheck.add_to(&mut hash);
        }
        Fingerprint(hash.0.finalize().into())
    }
}

// === impl Healthcheck ===

impl Healthcheck {
    fn of(fields: Fields<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            test: fields.texts("Test")?,
            interval: fields.integer("Interval")?.unwrap_or(0),
            timeout: fields.integer("Timeout")?.unwrap_or(0),
            start_period: fields.integer("StartPeriod")?.unwrap_or(0),
            start_interval: fields.integer("StartInterval")?.unwrap_or(0),
            retries: fields.integer("Retries")?.unwrap_or(0),
        })
    }

    fn add_to(&self, hash: &mut Encoding) {
        let Self {
            test,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        } = self;
        hash.texts(test);
        for number in [interval, timeout, start_period, start_interval, retries] {
            hash.signed(*number);
        }
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// As Docker writes a set: an object whose values say nothing.
fn as_keys<S: Serializer>(keys: &BTreeSet<String>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(keys.iter().map(|key| (key, BTreeMap::<(), ()>::new())))
}

// === impl Fingerprint ===

impl Fingerprint {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A hash over fields of which each says its own length, so that no two container configs read the same.
struct Encoding(Sha256);

impl Encoding {
    /// Stored rows hold fingerprints: another encoding is another version.
    const VERSION: u8 = 1;

    fn new() -> Self {
        Self(Sha256::new_with_prefix([Self::VERSION]))
    }

    fn flag(&mut self, flag: bool) {
        self.0.update([u8::from(flag)]);
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn signed(&mut self, number: i64) {
        self.0.update(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text);
    }

    fn texts<'a, L>(&mut self, texts: L)
    where
        L: IntoIterator<Item = &'a String, IntoIter: ExactSizeIterator>,
    {
        let texts = texts.into_iter();
        self.number(texts.len() as u64);
        for text in texts {
            self.text(text);
        }
    }
}
