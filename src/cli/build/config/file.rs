//! `imagestore.toml` as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use toml::Spanned;

use super::{Argv, BuilderCommands, Commands, Config, Var, Wrong};
use crate::domain::ImageName;
use crate::domain::build::{Location, Mode, Registry, Repository, Ttl, UpdateId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(deserialize_with = "optional")]
    registry: Option<Registry>,
    #[serde(deserialize_with = "optional")]
    prefix: Option<Repository>,
    #[serde(deserialize_with = "list")]
    base_images: Vec<ImageName>,
    #[serde(deserialize_with = "optional")]
    location: Option<Location>,
    mode: WrittenMode,
    #[serde(deserialize_with = "ttl")]
    ttl: Ttl,
    #[serde(deserialize_with = "list")]
    insecure_registries: BTreeSet<Registry>,
    ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "one")]
    update_id: UpdateId,
    #[serde(deserialize_with = "word")]
    distribution: String,
    #[serde(deserialize_with = "author")]
    author: Option<String>,
    variables: BTreeMap<String, toml::Value>,
    uids: BTreeMap<String, u32>,
    build_args: BTreeMap<String, String>,
    commands: WrittenCommands,
    builder: WrittenBuilder,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenMode {
    RegistryFirst,
    LocalRequired,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenCommands {
    build: Option<Written>,
    verify: Option<Written>,
    push: Option<Written>,
    exists: Option<Written>,
    list: Option<Written>,
    remove: Option<Written>,
    pull: Option<Written>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenBuilder {
    build: Option<Written>,
    exists: Option<Written>,
    remove: Option<Written>,
}

type Written = Spanned<Vec<String>>;

const TTL: Duration = Duration::from_secs(60);
const DISTRIBUTION: &str = "unstable";
/// Debian's numbers of the users that its images have.
const UIDS: [(&str, u32); 3] = [("root", 0), ("www-data", 33), ("nobody", 65534)];

/// What every command about an image may name.
const OF_IMAGE: &[Var] = &[
    Var::Image,
    Var::Repository,
    Var::Name,
    Var::Version,
    Var::Registry,
    Var::Platform,
];
/// What a command about many images may name.
const OF_LIST: &[Var] = &[Var::Repository, Var::Name, Var::Registry];
/// What every command about the image of a builder may name.
const OF_BUILDER: &[Var] = &[Var::Image, Var::Base, Var::Platform];

/// What some of them may name as well.
const OF_BUILD: &[Var] = &[Var::Context, Var::Dockerfile, Var::IidFile, Var::Token];
const OF_VERIFY: &[Var] = &[Var::Context, Var::Token];
const OF_PUSH: &[Var] = &[Var::DigestFile, Var::Token];

const BUILD: &[&str] = &[
    "docker",
    "buildx",
    "build",
    "--load",
    "--tag",
    "{image}",
    "--iidfile",
    "{iid_file}",
    "--file",
    "{dockerfile}",
    "{build_args}",
    "{context}",
];
/// The shell runs a test that does not say what runs it. It gets paths as values, with all their blanks.
const VERIFY: &[&str] = &[
    "/bin/bash",
    "-c",
    "\"$0\" \"$1\"",
    "{context}/test.sh",
    "{image}",
];
const PUSH: &[&str] = &["docker", "push", "{image}"];
const EXISTS: &[&str] = &["docker", "image", "ls", "--quiet", "--no-trunc", "{image}"];
const LIST: &[&str] = &[
    "docker",
    "image",
    "ls",
    "--format",
    "{{.Repository}}:{{.Tag}}",
    "{repository}",
];
const REMOVE: &[&str] = &["docker", "image", "rm", "{image}"];
const PULL: &[&str] = &["docker", "pull", "{image}"];
const BUILDER_BUILD: &[&str] = &[
    "docker",
    "buildx",
    "build",
    "--pull",
    "--load",
    "--tag",
    "{image}",
    "--build-arg",
    "BASE={base}",
    "--iidfile",
    "{iid_file}",
    "--file",
    "{dockerfile}",
    "{build_args}",
    "{context}",
];

impl Config {
    /// Refuses unknown keys, values that cannot be meant, and places that no value fills.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let file: File = toml::from_str(text).map_err(|why| Wrong {
            line: why.span().map(|span| line(text, &span)),
            reason: why.message().to_owned(),
        })?;
        let read = |key: &str, written: Option<Written>, default: &[&str], known: [&[Var]; 2]| {
            let (span, arguments) = match written {
                Some(written) => (Some(written.span()), written.into_inner()),
                None => (None, default.iter().map(|&text| text.to_owned()).collect()),
            };
            Argv::new(&arguments, &known.concat()).map_err(|why| Wrong {
                line: span.map(|span| line(text, &span)),
                reason: format!("{key}: {why}"),
            })
        };
        let WrittenCommands {
            build,
            verify,
            push,
            exists,
            list,
            remove,
            pull,
        } = file.commands;
        let commands = Commands {
            build: read("commands.build", build, BUILD, [OF_IMAGE, OF_BUILD])?,
            verify: read("commands.verify", verify, VERIFY, [OF_IMAGE, OF_VERIFY])?,
            push: read("commands.push", push, PUSH, [OF_IMAGE, OF_PUSH])?,
            exists: read("commands.exists", exists, EXISTS, [OF_IMAGE, &[]])?,
            list: read("commands.list", list, LIST, [OF_LIST, &[]])?,
            remove: read("commands.remove", remove, REMOVE, [OF_IMAGE, &[]])?,
            pull: read("commands.pull", pull, PULL, [OF_IMAGE, &[]])?,
        };
        let WrittenBuilder {
            build,
            exists,
            remove,
        } = file.builder;
        let builder = BuilderCommands {
            build: read(
                "builder.build",
                build,
                BUILDER_BUILD,
                [OF_BUILDER, OF_BUILD],
            )?,
            exists: read("builder.exists", exists, EXISTS, [OF_BUILDER, &[]])?,
            remove: read("builder.remove", remove, REMOVE, [OF_BUILDER, &[]])?,
        };
        if !file.build_args.is_empty() && !commands.build.has_build_args() {
            return Err(Wrong {
                line: None,
                reason: "build_args are given, but commands.build has no \"{build_args}\""
                    .to_owned(),
            });
        }
        Ok(Self {
            registry: file.registry,
            prefix: file.prefix,
            base_images: file.base_images,
            mode: match file.mode {
                WrittenMode::RegistryFirst => Mode::RegistryFirst,
                WrittenMode::LocalRequired => Mode::LocalRequired,
            },
            ttl: file.ttl,
            update_id: file.update_id,
            distribution: file.distribution,
            ca_file: file.ca_file,
            variables: file.variables,
            uids: file.uids,
            build_args: file.build_args,
            commands,
            builder,
            author: file.author,
            location: file.location,
            insecure_registries: file.insecure_registries,
        })
    }
}

impl Default for File {
    fn default() -> Self {
        Self {
            registry: None,
            prefix: None,
            base_images: Vec::new(),
            location: None,
            mode: WrittenMode::RegistryFirst,
            ttl: Ttl::try_from(TTL).expect("a minute is a time for a claim"),
            insecure_registries: BTreeSet::new(),
            ca_file: None,
            update_id: UpdateId::default(),
            distribution: DISTRIBUTION.to_owned(),
            author: None,
            variables: BTreeMap::new(),
            uids: UIDS.map(|(name, id)| (name.to_owned(), id)).into(),
            build_args: BTreeMap::new(),
            commands: WrittenCommands::default(),
            builder: WrittenBuilder::default(),
        }
    }
}

fn line(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    1 + before.iter().filter(|&&b| b == b'\n').count()
}

// === Values ===

fn one<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn optional<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    one(from).map(Some)
}

fn list<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>, L: FromIterator<T>>(
    from: D,
) -> Result<L, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let values = texts
        .iter()
        .map(|text| text.parse().map_err(D::Error::custom));
    values.collect()
}

fn ttl<'de, D: Deserializer<'de>>(from: D) -> Result<Ttl, D::Error> {
    let text = String::deserialize(from)?;
    let time: jiff::SignedDuration = text
        .parse()
        .map_err(|_| D::Error::custom(format!("{text:?} is no time; write \"60s\" or \"5m\"")))?;
    Duration::try_from(time)
        .map_err(D::Error::custom)
        .and_then(|time| Ttl::try_from(time).map_err(D::Error::custom))
}

fn word<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-+.~".contains(&b))
    {
        true => Ok(text),
        false => Err(D::Error::custom("must be letters, digits, -, +, . and ~")),
    }
}

fn author<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    let mail = text
        .split_once(" <")
        .and_then(|(_, mail)| mail.strip_suffix('>'));
    match mail.is_some_and(|mail| !mail.is_empty()) && !text.contains(['\n', '\r']) {
        true => Ok(Some(text)),
        false => Err(D::Error::custom("must be \"Name <mail>\"")),
    }
}
