//! `imagestore cache`: asks the build cache.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use super::config;
use super::connect::Common;
use super::failure::{Exit, Failure};
use super::output::{self, Output};
use super::platform;
use super::retry::RequestId;
use super::table::Block;
use crate::proto::v1::lookup_response::Result as Found;
use crate::proto::v1::{
    CacheHit, CacheHitKind, CacheMiss, ConfigPlatform, LocalMiss, LookupRequest, LookupResponse,
    SourceMiss, SourceMissReason,
};

/// Ask the build cache
#[derive(Debug, clap::Args)]
pub struct Cache {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Lookup(Lookup),
}

/// Find the config that is already the result of a build step
///
/// First among what was built here from the parent, then in the history of each --cache-from. The exit
/// code is 4 where there is none. A config that history has only as a step on the way is made from it
/// and stored.
#[derive(Debug, clap::Args)]
struct Lookup {
    /// What the step starts from: an id, how one begins, or the name of an image; FROM scratch without
    #[arg(long, value_name = "REF")]
    parent: Option<String>,
    /// The container config of the step as JSON; - for standard input
    #[arg(long, value_name = "FILE", required_unless_present = "command")]
    container_config: Option<PathBuf>,
    /// What the result is to run, as JSON, where it is made from history
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the step is built for, that of the parent if not given
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform::of_config)]
    platform: Option<ConfigPlatform>,
    /// Whose history to search: an id, how one begins, or the name of an image; may be repeated
    #[arg(long, value_name = "REF")]
    cache_from: Vec<String>,
    /// Do not look among what was built here
    #[arg(long)]
    skip_local: bool,
    /// Only the id that was found
    #[arg(short, long)]
    quiet: bool,
    /// Say what would be found, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    request_id: RequestId,
    /// The step's Cmd after --, where its container config has nothing else: -- /bin/sh -c make
    #[arg(last = true, value_name = "CMD", conflicts_with = "container_config")]
    command: Vec<String>,
}

/// The answer, with the names of the API.
#[derive(Serialize)]
struct LookupRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    hit: Option<HitRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    miss: Option<MissRecord>,
    sources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<SkippedRecord>,
    revision: u64,
}

#[derive(Serialize)]
struct HitRecord {
    id: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    changed: bool,
}

#[derive(Serialize)]
struct MissRecord {
    local: &'static str,
    sources: Vec<SourceMissRecord>,
}

#[derive(Serialize)]
struct SourceMissRecord {
    source: String,
    reason: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
}

#[derive(Serialize)]
struct SkippedRecord {
    reference: String,
    reason: String,
}

impl Cache {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        match self.command {
            Command::Lookup(lookup) => lookup.run(common).await,
        }
    }
}

impl Lookup {
    async fn run(self, common: &Common) -> Result<(), Failure> {
        let (quiet, dry_run) = (self.quiet, self.dry_run);
        let request = self.request(common).await?;
        let answer = common
            .build_cache()
            .await?
            .lookup(request)
            .await?
            .into_inner();
        let exit = match &answer.result {
            Some(Found::Hit(_)) => Ok(()),
            Some(Found::Miss(_)) | None => Err(Failure::told(Exit::NotFound)),
        };
        match (common.output(), &answer.result) {
            (Output::Table, Some(Found::Hit(hit))) if quiet => {
                output::text(&format!("{}\n", hit.id))?;
            }
            (Output::Table, _) if quiet => (),
            (Output::Table, _) => output::text(&block(&answer, dry_run).to_string())?,
            (form @ (Output::Json | Output::Ndjson), _) => {
                output::object(form, &LookupRecord::from(answer))?;
            }
        }
        exit
    }

    async fn request(self, common: &Common) -> Result<LookupRequest, Failure> {
        let namespace = common.one_namespace()?.to_owned();
        let is_stdin = |file: &Option<PathBuf>| file.as_ref().is_some_and(|file| file == "-");
        if is_stdin(&self.container_config) && is_stdin(&self.config) {
            return Err(
                Failure::usage("two files cannot both come from standard input")
                    .next("Give one of --container-config and --config as a file"),
            );
        }
        let container_config = match self.container_config {
            Some(file) => text(file, "--container-config").await?,
            None => json!({"Cmd": self.command}).to_string(),
        };
        let config = match self.config {
            Some(file) => text(file, "--config").await?,
            None => String::new(),
        };
        let parent = match self.parent {
            Some(parent) => {
                let mut client = common.configs().await?;
                config::id(&mut client, &namespace, &parent).await?
            }
            None => String::new(),
        };
        Ok(LookupRequest {
            namespace,
            parent,
            container_config,
            config,
            platform: self.platform,
            cache_from: self.cache_from,
            skip_local: self.skip_local,
            validate_only: self.dry_run,
            request_id: self.request_id.text(),
        })
    }
}

/// The text of a file.
async fn text(file: PathBuf, option: &str) -> Result<String, Failure> {
    let content = config::read(file, option).await?;
    if content.trim_ascii().is_empty() {
        return Err(Failure::new(format!("{option} is empty")));
    }
    let text = String::from_utf8(content);
    text.map_err(|_| Failure::new(format!("{option} is not UTF-8")))
}

fn block(answer: &LookupResponse, dry_run: bool) -> Block {
    let mut block = Block::default();
    match &answer.result {
        Some(Found::Hit(hit)) => {
            block.push("Hit", &hit.id);
            block.push("How", how(hit, dry_run));
        }
        Some(Found::Miss(miss)) => {
            block.push("Miss", local_words(miss.local()));
            for source in &miss.sources {
                let why = source_words(source);
                block.push("", format!("{}: {why}", source.source));
            }
        }
        None => block.push("Miss", "the server did not say why"),
    }
    for (i, source) in answer.sources.iter().enumerate() {
        block.push(if i == 0 { "Cache from" } else { "" }, source);
    }
    for (i, skipped) in answer.skipped.iter().enumerate() {
        let text = format!("{}: {}", skipped.reference, skipped.reason);
        block.push(if i == 0 { "Passed over" } else { "" }, text);
    }
    block
}

fn how(hit: &CacheHit, dry_run: bool) -> String {
    let source = &hit.source;
    match (hit.kind(), dry_run) {
        (CacheHitKind::Local, _) => "built here from the same parent by the same step".to_owned(),
        (CacheHitKind::Source, _) => format!("the step is the last one of {source}"),
        (CacheHitKind::Restored, false) => format!("made from the history of {source}"),
        (CacheHitKind::Restored, true) => format!("would be made from the history of {source}"),
        (CacheHitKind::Unspecified, _) => String::new(),
    }
}

fn local_words(miss: LocalMiss) -> &'static str {
    match miss {
        LocalMiss::Unspecified => "nothing was found",
        LocalMiss::Skipped => "what was built here was not asked for",
        LocalMiss::UnknownParent => "there is no config of the parent's id",
        LocalMiss::NoSuchStep => "no such step was built here from the parent",
        LocalMiss::OtherPlatform => "such steps were built here for other platforms only",
    }
}

fn source_words(miss: &SourceMiss) -> String {
    let words = match miss.reason() {
        SourceMissReason::Unspecified => "nothing was found",
        SourceMissReason::UnknownParent => "there is no config of the parent's id",
        SourceMissReason::OtherPlatform => "it is for another platform",
        SourceMissReason::OtherParent => "it is not built on the parent",
        SourceMissReason::OtherStep => {
            return format!("it has another step there: {}", miss.created_by);
        }
        SourceMissReason::UnclearHistory => {
            "its history, or that of the parent, does not say which layers its steps made"
        }
        SourceMissReason::TooLarge => "the config of the step would be too large",
    };
    words.to_owned()
}

impl From<LookupResponse> for LookupRecord {
    fn from(answer: LookupResponse) -> Self {
        let (hit, miss) = match answer.result {
            Some(Found::Hit(hit)) => (Some(HitRecord::from(hit)), None),
            Some(Found::Miss(miss)) => (None, Some(MissRecord::from(miss))),
            None => (None, None),
        };
        let skipped = answer.skipped.into_iter().map(|skipped| SkippedRecord {
            reference: skipped.reference,
            reason: skipped.reason,
        });
        Self {
            hit,
            miss,
            sources: answer.sources,
            skipped: skipped.collect(),
            revision: answer.revision,
        }
    }
}

impl From<CacheHit> for HitRecord {
    fn from(hit: CacheHit) -> Self {
        let kind = match hit.kind() {
            CacheHitKind::Unspecified => "",
            CacheHitKind::Local => "local",
            CacheHitKind::Source => "source",
            CacheHitKind::Restored => "restored",
        };
        Self {
            kind,
            id: hit.id,
            source: hit.source,
            changed: hit.changed,
        }
    }
}

impl From<CacheMiss> for MissRecord {
    fn from(miss: CacheMiss) -> Self {
        let local = match miss.local() {
            LocalMiss::Unspecified => "",
            LocalMiss::Skipped => "skipped",
            LocalMiss::UnknownParent => "unknown_parent",
            LocalMiss::NoSuchStep => "no_such_step",
            LocalMiss::OtherPlatform => "other_platform",
        };
        let sources = miss.sources.into_iter().map(|miss| {
            let reason = match miss.reason() {
                SourceMissReason::Unspecified => "",
                SourceMissReason::UnknownParent => "unknown_parent",
                SourceMissReason::OtherPlatform => "other_platform",
                SourceMissReason::OtherParent => "other_parent",
                SourceMissReason::OtherStep => "other_step",
                SourceMissReason::UnclearHistory => "unclear_history",
                SourceMissReason::TooLarge => "too_large",
            };
            SourceMissRecord {
                reason,
                source: miss.source,
                created_by: miss.created_by,
            }
        });
        Self {
            local,
            sources: sources.collect(),
        }
    }
}
