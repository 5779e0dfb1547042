//! Walks from an OCI layout's index to the configs of its images, each document once.

use std::collections::HashMap;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::blobs::{Blobs, MAX_CONFIG_BYTES, MAX_DOCUMENT_BYTES, Unreadable};
use super::document::{Descriptor, Document, Kind, LayoutMark};
use crate::domain::{Algorithm, Digest};
use crate::proto::v1;

/// What is found on the way, in an order in which it can be written.
pub enum Found {
    Config {
        id: Digest,
        content: Vec<u8>,
        targets: Vec<Digest>,
    },
    /// A config that was found before is also that of another target.
    Link { id: Digest, target: Digest },
    Image {
        name: String,
        target: Box<v1::Descriptor>,
    },
    /// Something to know that is no error.
    Note(String),
    /// What cannot be imported, and why.
    Refused { what: String, why: String },
}

/// Nobody wants to know more.
pub struct Gone;

/// Sends what is found to who writes it.
pub struct Finds(mpsc::Sender<Found>);

/// A walk through one layout.
struct Walk<'a> {
    blobs: &'a Blobs,
    finds: &'a Finds,
    /// The configs that were found, and which one each is.
    configs: Vec<Digest>,
    numbers: HashMap<Digest, usize>,
    /// What lies below each document that was read.
    seen: HashMap<Digest, Result<Below, Fault>>,
    /// How many indexes the walk is in.
    depth: usize,
}

/// The configs below a document, by number.
type Below = Rc<[usize]>;

/// What is wrong with a document.
#[derive(Clone)]
struct Fault {
    what: String,
    why: Unreadable,
}

/// Why a part of the walk ended early.
enum Halt {
    Gone,
    Fault(Fault),
}

/// Indexes below indexes. Real ones have one.
const MAX_DEPTH: usize = 8;
/// Characters of a message.
const MAX_SHOWN: usize = 400;
/// Images of one index. Real ones have a platform each, and what is said about it.
const MAX_IMAGES: usize = 256;

/// Finds all that the layout's index leads to. An error says what makes it no layout.
pub fn layout(blobs: &Blobs, finds: &Finds) -> Result<Result<(), Gone>, String> {
    let mark: LayoutMark = of_layout(blobs, "oci-layout")?;
    if !mark.image_layout_version.starts_with("1.") {
        let version = mark.image_layout_version;
        return Err(format!("it is an OCI layout of version {version}, not 1"));
    }
    let index: Document = of_layout(blobs, "index.json")?;
    let entries = index.manifests.unwrap_or_default();
    let mut walk = Walk {
        blobs,
        finds,
        configs: Vec::new(),
        numbers: HashMap::new(),
        seen: HashMap::new(),
        depth: 0,
    };
    for (number, entry) in entries.into_iter().enumerate() {
        if let Err(gone) = walk.entry(number, entry) {
            return Ok(Err(gone));
        }
    }
    Ok(Ok(()))
}

fn of_layout<T: DeserializeOwned>(blobs: &Blobs, path: &str) -> Result<T, String> {
    let content = blobs.file(path, MAX_DOCUMENT_BYTES);
    let content = content.map_err(|why| format!("{path}: {why}"))?;
    parse(&content).map_err(|why| format!("{path}: {why}"))
}

/// Reads JSON; the error says what is wrong, and where.
pub fn parse<T: DeserializeOwned>(content: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(content)
        .map_err(|why| Unreadable::Senseless(bounded(&format!("it makes no sense: {why}"))))
}

/// Text that may quote a document, not longer than a person reads.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

// === impl Finds ===

impl Finds {
    pub fn new(to: mpsc::Sender<Found>) -> Self {
        Self(to)
    }

    pub fn tell(&self, found: Found) -> Result<(), Gone> {
        self.0.blocking_send(found).map_err(|_| Gone)
    }

    pub fn note(&self, text: &str) -> Result<(), Gone> {
        self.tell(Found::Note(bounded(text)))
    }

    pub fn refuse(&self, what: &str, why: impl ToString) -> Result<(), Gone> {
        self.tell(Found::Refused {
            what: bounded(what),
            why: bounded(&why.to_string()),
        })
    }
}

// === impl Walk ===

impl Walk<'_> {
    /// One entry of the layout's index: its configs, then its name.
    fn entry(&mut self, number: usize, entry: Descriptor) -> Result<(), Gone> {
        let name = entry.name().map(str::to_owned);
        let place = match &name {
            Some(name) => name.clone(),
            None => format!("manifests[{number}] of index.json"),
        };
        let below = match self.visit(&entry) {
            Ok(below) => below,
            Err(Halt::Gone) => return Err(Gone),
            Err(Halt::Fault(fault)) => return self.finds.refuse(&place, fault.text()),
        };
        let media_type = entry.media_type.clone();
        let Some(name) = name else {
            let note = format!("{place}: it has no name; its configs are taken, and no image");
            return self.finds.note(&note);
        };
        let target = match entry.target() {
            Ok(target) => Box::new(target),
            Err(why) => return self.finds.refuse(&place, why),
        };
        if below.is_empty() {
            let note = format!(
                "{place}: a {media_type} without the config of an image; only its name is taken"
            );
            self.finds.note(&note)?;
        }
        self.finds.tell(Found::Image { name, target })
    }

    /// The configs below a descriptor.
    fn visit(&mut self, descriptor: &Descriptor) -> Result<Below, Halt> {
        let kind = descriptor.kind();
        if descriptor.is_attestation() || kind == Kind::Other {
            return Ok(Below::default());
        }
        let digest = descriptor
            .digest()
            .map_err(|why| Fault::of(kind, &descriptor.media_type, Unreadable::Senseless(why)))?;
        if let Some(seen) = self.seen.get(&digest) {
            return seen.clone().map_err(Halt::Fault);
        }
        let visited = match kind {
            Kind::Config => self.config(descriptor, &digest),
            Kind::Index => self
                .read(kind, &digest, descriptor)
                .and_then(|document| self.index(&digest, document)),
            Kind::Manifest | Kind::Other => self
                .read(kind, &digest, descriptor)
                .and_then(|document| self.manifest(&digest, document)),
        };
        let seen = match visited {
            Ok(below) => Ok(below),
            Err(Halt::Gone) => return Err(Halt::Gone),
            Err(Halt::Fault(fault)) => Err(fault),
        };
        self.seen.insert(digest, seen.clone());
        seen.map_err(Halt::Fault)
    }

    fn read(&self, kind: Kind, digest: &Digest, descriptor: &Descriptor) -> Result<Document, Halt> {
        let read = || {
            if self.depth > MAX_DEPTH {
                let why = format!("it lies below more than {MAX_DEPTH} indexes");
                return Err(Unreadable::Senseless(why));
            }
            let content = self.blobs.blob(descriptor, MAX_DOCUMENT_BYTES)?;
            let document: Document = parse(&content)?;
            document.check(descriptor).map_err(Unreadable::Senseless)?;
            Ok(document)
        };
        read().map_err(|why| Fault::of(kind, &digest.text(), why).into())
    }

    /// An index may leave platforms out, as long as it has one.
    fn index(&mut self, digest: &Digest, document: Document) -> Result<Below, Halt> {
        let fault = |why: &str| {
            let why = Unreadable::Senseless(why.to_owned());
            Halt::from(Fault::of(Kind::Index, &digest.text(), why))
        };
        let Some(manifests) = document.manifests else {
            return Err(fault("it has no manifests"));
        };
        let mut all: Vec<usize> = Vec::new();
        let mut left_out: Vec<Fault> = Vec::new();
        self.depth += 1;
        for manifest in &manifests {
            match self.visit(manifest) {
                Ok(below) => {
                    for number in &*below {
                        if !all.contains(number) {
                            all.push(*number);
                        }
                    }
                }
                Err(Halt::Fault(missing)) if matches!(missing.why, Unreadable::Missing) => {
                    left_out.push(missing);
                }
                Err(Halt::Fault(fault)) => self.refuse_below(digest, &fault)?,
                Err(Halt::Gone) => return Err(Halt::Gone),
            }
            if all.len() > MAX_IMAGES {
                self.depth -= 1;
                return Err(fault(&format!("it has more than {MAX_IMAGES} images")));
            }
        }
        self.depth -= 1;
        for missing in left_out {
            match all.is_empty() {
                true => self.refuse_below(digest, &missing)?,
                false => {
                    let note = format!("index {digest}: {}", missing.text());
                    self.finds.note(&note)?;
                }
            }
        }
        // Only now: one that is refused leaves nothing behind.
        for number in &all {
            let id = self.configs[*number];
            let target = *digest;
            self.finds.tell(Found::Link { id, target })?;
        }
        Ok(all.into())
    }

    fn manifest(&mut self, digest: &Digest, document: Document) -> Result<Below, Halt> {
        let Some(config) = document.config else {
            let why = Unreadable::Senseless("it has no config".to_owned());
            return Err(Fault::of(Kind::Manifest, &digest.text(), why).into());
        };
        match config.kind() {
            Kind::Config => self.config(&config, digest),
            Kind::Index | Kind::Manifest | Kind::Other => Ok(Below::default()),
        }
    }

    /// The config of a target, which may be the config itself.
    fn config(&mut self, config: &Descriptor, target: &Digest) -> Result<Below, Halt> {
        let content = self.blobs.blob(config, MAX_CONFIG_BYTES);
        let content = content.map_err(|why| {
            let digest = config.digest();
            let of = digest.map_or_else(|_| target.text(), |digest| digest.text());
            Fault::of(Kind::Config, &of, why)
        })?;
        let id = Digest::of(Algorithm::Sha256, &content);
        let targets: Vec<Digest> = Some(*target)
            .filter(|target| *target != id)
            .into_iter()
            .collect();
        if let Some(number) = self.numbers.get(&id) {
            for target in targets {
                self.finds.tell(Found::Link { id, target })?;
            }
            return Ok([*number].into());
        }
        let number = self.configs.len();
        self.configs.push(id);
        self.numbers.insert(id, number);
        self.finds.tell(Found::Config {
            id,
            content,
            targets,
        })?;
        Ok([number].into())
    }

    fn refuse_below(&self, index: &Digest, fault: &Fault) -> Result<(), Gone> {
        self.finds.refuse(&format!("index {index}"), fault.text())
    }
}

// === impl Fault ===

impl Fault {
    fn of(kind: Kind, digest: &str, why: Unreadable) -> Self {
        let kind = match kind {
            Kind::Index => "index",
            Kind::Manifest => "manifest",
            Kind::Config => "config",
            Kind::Other => "blob",
        };
        Self {
            what: format!("{kind} {digest}"),
            why,
        }
    }

    fn text(&self) -> String {
        format!("{}: {}", self.what, self.why)
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Gone> for Halt {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}
