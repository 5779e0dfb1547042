//! `imagestore watch`: shows changes as they happen.

use std::convert::Infallible;
use std::error::Error as _;
use std::time::Duration;

use serde::Serialize;
use tokio::time;
use tonic::{Code, Status, Streaming};

use super::connect::Common;
use super::failure::{Failure, say};
use super::human::short_digest;
use super::output::{Output, Stdout, json};
use super::record::{ImageRecord, rfc3339};
use super::table::printable;
use crate::proto::v1::image_event::Event;
use crate::proto::v1::watch_images_response::Kind;
use crate::proto::v1::{Image, ImageChanges, WatchImagesRequest, WatchImagesResponse};

/// Show changes of images as they happen, a line each, until interrupted
///
/// `left` is an image that matched before it was put and no longer does. Goes on where it was when
/// the connection breaks or the server restarts. -o json and -o ndjson both write one object a line;
/// --after takes the revision of a line of type `initial_end` or `progress`, and of any other where
/// `complete` is true.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Only names that start so
    prefix: Option<String>,
    /// Begin with what changed after this revision; with what changes from now on if not given
    #[arg(long, value_name = "REVISION", conflicts_with = "initial", value_parser = clap::value_parser!(u64).range(1..))]
    after: Option<u64>,
    /// Begin with all images as they are
    #[arg(long)]
    initial: bool,
    /// Only images that match before a change or after it, such as 'labels.arch==arm64'; of several
    /// filters, one must match
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// Also show what was there before
    #[arg(long)]
    previous: bool,
}

/// Where a watch begins, and begins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Now,
    Initial,
    After(u64),
}

/// Why a watch goes no further.
enum Stop {
    /// It may go on over another connection.
    Interrupted(String),
    Failed(Failure),
}

/// Writes events in the form that was asked for.
struct Lines {
    stdout: Stdout,
    as_json: bool,
    with_namespace: bool,
}

/// One event, as JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Initial {
        image: Box<ImageRecord>,
    },
    InitialEnd {
        revision: u64,
    },
    Put {
        #[serde(flatten)]
        of: Of,
        is_match: bool,
        image: Box<ImageRecord>,
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<Box<ImageRecord>>,
    },
    Deleted {
        #[serde(flatten)]
        of: Of,
        namespace: String,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<Box<ImageRecord>>,
    },
    NamespaceRemoved {
        #[serde(flatten)]
        of: Of,
        namespace: String,
        images: i64,
    },
    Progress {
        revision: u64,
    },
}

/// The revision that an event is of.
#[derive(Clone, Serialize)]
struct Of {
    revision: u64,
    committed_at: String,
    /// Whether it is the last event of its revision.
    complete: bool,
}

/// A server says something every 10 seconds; one that is silent for so long has gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Between two tries to connect, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Watch {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        tokio::select! {
            failed = self.follow(common) => failed.map(|never| match never {}),
            interrupted = tokio::signal::ctrl_c() => interrupted
                .map_err(|why| Failure::new(format!("cannot wait for signals: {why}"))),
        }
    }

    async fn follow(&self, common: &Common) -> Result<Infallible, Failure> {
        let mut place = match self.after {
            Some(revision) => Place::After(revision),
            None if self.initial => Place::Initial,
            None => Place::Now,
        };
        let mut lines = Lines {
            stdout: Stdout::open(),
            as_json: common.output() != Output::Table,
            with_namespace: common.all_namespaces(),
        };
        let mut client = common.images().await?;
        let mut pause = FIRST_PAUSE;
        loop {
            let began = place;
            let request = self.request(&common.namespace, place);
            let stop = match client.watch(request).await {
                Ok(messages) => pass_on(messages.into_inner(), &mut place, &mut lines).await,
                Err(status) => Stop::of(status),
            };
            let why = match stop {
                Stop::Interrupted(why) => why,
                Stop::Failed(failure) => return Err(failure),
            };
            if place != began {
                pause = FIRST_PAUSE;
            }
            say(&format!("imagestore: {why}; {}.", place.going_on()));
            client = loop {
                time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                if let Ok(client) = common.images().await {
                    break client;
                }
            };
        }
    }

    fn request(&self, namespace: &str, place: Place) -> WatchImagesRequest {
        WatchImagesRequest {
            namespace: namespace.to_owned(),
            after_revision: match place {
                Place::After(revision) => revision,
                Place::Now | Place::Initial => 0,
            },
            name_prefix: self.prefix.clone().unwrap_or_default(),
            filters: self.filters.clone(),
            with_previous: self.previous,
            send_initial: place == Place::Initial,
        }
    }
}

/// Writes what comes, and notes how far it has come.
async fn pass_on(
    mut messages: Streaming<WatchImagesResponse>,
    place: &mut Place,
    lines: &mut Lines,
) -> Stop {
    loop {
        let message = match time::timeout(SILENCE, messages.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Stop::Interrupted("the server ended the watch".to_owned()),
            Ok(Err(status)) => return Stop::of(status),
            Err(_) => return Stop::Interrupted("the server has fallen silent".to_owned()),
        };
        let Some(kind) = message.kind else {
            continue;
        };
        let reached = match &kind {
            Kind::InitialEnd(end) => Some(end.revision),
            Kind::Progress(progress) => Some(progress.revision),
            Kind::Changes(changes) if !changes.is_partial => Some(changes.revision),
            Kind::Changes(_) | Kind::Initial(_) => None,
        };
        if let Err(failure) = lines.write(kind) {
            return Stop::Failed(failure);
        }
        if let Some(revision) = reached {
            *place = Place::After(revision);
        }
    }
}

// === impl Stop ===

impl Stop {
    fn of(status: Status) -> Self {
        // Only what failed on this side of the connection has a cause.
        let is_broken = status.source().is_some();
        match status.code() {
            _ if is_broken => Self::Interrupted("the connection broke".to_owned()),
            Code::Unavailable => {
                // What to do next, which follows, is done here.
                let what = status.message().split(';').next();
                Self::Interrupted(what.unwrap_or_default().to_owned())
            }
            Code::OutOfRange => Self::Failed(
                Failure::from(status).next("Begin again with --initial, or without --after"),
            ),
            _ => Self::Failed(status.into()),
        }
    }
}

// === impl Place ===

impl Place {
    /// What happens next, for a person.
    fn going_on(self) -> String {
        match self {
            Self::Now => "it goes on from now".to_owned(),
            Self::Initial => "it begins again".to_owned(),
            Self::After(revision) => format!("it goes on after revision {revision}"),
        }
    }
}

// === impl Lines ===

impl Lines {
    fn write(&mut self, kind: Kind) -> Result<(), Failure> {
        for line in Line::all_of(kind) {
            let text = match self.as_json {
                true => Some(json(&line)),
                false => line.for_people(self.with_namespace),
            };
            if let Some(text) = text {
                self.stdout.line(&text)?;
            }
        }
        self.stdout.flush()
    }
}

// === impl Line ===

impl Line {
    fn all_of(kind: Kind) -> Vec<Self> {
        match kind {
            Kind::Initial(initial) => {
                let line = |image| Self::Initial {
                    image: Box::new(ImageRecord::from(image)),
                };
                initial.images.into_iter().map(line).collect()
            }
            Kind::InitialEnd(end) => vec![Self::InitialEnd {
                revision: end.revision,
            }],
            Kind::Changes(changes) => Self::of_changes(changes),
            Kind::Progress(progress) => vec![Self::Progress {
                revision: progress.revision,
            }],
        }
    }

    fn of_changes(changes: ImageChanges) -> Vec<Self> {
        let last = changes.events.len().saturating_sub(1);
        let committed_at = rfc3339(changes.committed_at.as_ref());
        let record = |image: Image| Box::new(ImageRecord::from(image));
        let lines = changes.events.into_iter().enumerate().map(|(i, event)| {
            let of = Of {
                revision: changes.revision,
                committed_at: committed_at.clone(),
                complete: i == last && !changes.is_partial,
            };
            let previous = event.previous.map(record);
            Some(match event.event? {
                Event::Put(image) => Self::Put {
                    of,
                    is_match: event.is_match,
                    image: record(image),
                    previous,
                },
                Event::Deleted(gone) => Self::Deleted {
                    of,
                    namespace: gone.namespace,
                    name: gone.name,
                    previous,
                },
                Event::NamespaceRemoved(removed) => Self::NamespaceRemoved {
                    of,
                    namespace: removed.namespace,
                    images: removed.images,
                },
            })
        });
        lines.flatten().collect()
    }

    /// A line of text; nothing for what only programs need.
    fn for_people(&self, with_namespace: bool) -> Option<String> {
        let (revision, what, namespace, name, digests) = match self {
            Self::Initial { image } => (
                image.revision,
                "is",
                &image.namespace,
                &image.name,
                short_digest(&image.digest).to_owned(),
            ),
            Self::Put {
                of,
                is_match,
                image,
                previous,
            } => (
                of.revision,
                if *is_match { "put" } else { "left" },
                &image.namespace,
                &image.name,
                from_to(previous.as_deref(), Some(image)),
            ),
            Self::Deleted {
                of,
                namespace,
                name,
                previous,
            } => (
                of.revision,
                "deleted",
                namespace,
                name,
                from_to(previous.as_deref(), None),
            ),
            Self::NamespaceRemoved {
                of,
                namespace,
                images,
            } => {
                let revision = of.revision;
                let namespace = printable(namespace);
                return Some(format!(
                    "{revision:>8}  deleted  namespace {namespace} with {images} images"
                ));
            }
            Self::InitialEnd { .. } | Self::Progress { .. } => return None,
        };
        let namespace = match with_namespace {
            true => format!("{}  ", printable(namespace)),
            false => String::new(),
        };
        let name = printable(name);
        let line = format!("{revision:>8}  {what:<7}  {namespace}{name}  {digests}");
        Some(line.trim_end().to_owned())
    }
}

/// Which digests a name pointed to, as far as they are known.
fn from_to(before: Option<&ImageRecord>, after: Option<&ImageRecord>) -> String {
    let short = |image: &ImageRecord| short_digest(&image.digest).to_owned();
    match (before.map(short), after.map(short)) {
        (Some(before), Some(after)) => format!("{before} -> {after}"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => String::new(),
    }
}
