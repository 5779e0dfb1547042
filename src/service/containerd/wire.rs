//! Messages of containerd's images from and to the domain's types: checked in its order, refused in its
//! words.

use std::collections::BTreeMap;

use prost::length_delimiter_len;

use super::MAX_MESSAGE_BYTES;
use super::digest::digest;
use super::error::{Fault, Kind, quoted};
use crate::domain::{Annotations, Descriptor, Image, ImageEdit, Invalid, Labels, Size, Timestamp};
use crate::proto::containerd::services::images::v1 as pb;
use crate::proto::containerd::types;
use crate::service::time_message;

/// Labels or annotations as they came.
type Pairs = BTreeMap<String, String>;

/// How much of a label's key containerd 1.6 repeats, in bytes.
const SHOWN_KEY: usize = 10;

// === from messages ===

/// Refuses a label that is too large, with its value or without.
pub fn check_label(key: &str, value: &str) -> Result<(), Fault> {
    const MAX: usize = Labels::MAX_PAIR_BYTES;
    if key.len() + value.len() <= MAX {
        return Ok(());
    }
    // It cuts bytes; those of half a character reach the client as U+FFFD each.
    let cut = key.len().min(SHOWN_KEY);
    let whole = key.floor_char_boundary(cut);
    let shown = key[..whole].to_owned() + &"\u{fffd}".repeat(cut - whole);
    Err(Fault::new(
        Kind::InvalidArgument,
        format!("label key and value greater than maximum size ({MAX} bytes), key: {shown}"),
    ))
}

/// What is left of labels, which have been checked: one without a value is none.
pub fn with_values(mut labels: Pairs) -> Pairs {
    labels.retain(|_, value| !value.is_empty());
    labels
}

/// Labels that have been checked and have values.
pub fn labels(checked: Pairs) -> Result<Labels, Fault> {
    Labels::try_from(checked).map_err(refused)
}

/// A value that containerd would take, and the store does not.
pub fn refused(invalid: Invalid) -> Fault {
    Fault::new(Kind::InvalidArgument, invalid.to_string())
}

/// A target without the annotations that have no value.
pub fn target(message: types::Descriptor) -> Result<Descriptor, Fault> {
    let bad = |why: String| Fault::new(Kind::InvalidArgument, why);
    let digest = digest(&message.digest).map_err(|why| {
        let text = quoted(&message.digest);
        bad(format!("Target.Digest {text} invalid: {why}"))
    })?;
    let size = Size::try_from(message.size)
        .map_err(|_| bad("Target.Size must be greater than zero".to_owned()))?;
    if message.media_type.is_empty() {
        return Err(bad("Target.MediaType must be set".to_owned()));
    }
    let media_type = message.media_type.parse();
    let media_type = media_type.map_err(|e: Invalid| refused(e.within("Target")))?;
    Descriptor::new(media_type, digest, size)
        .with_annotations(with_values(message.annotations))
        .map_err(|e| refused(e.within("Target")))
}

/// The `source_date_epoch` of a request: in Go's reckoning, where nanoseconds may be any number.
pub fn epoch(message: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Fault> {
    const SECOND: i32 = 1_000_000_000;
    let Some(time) = message else {
        return Ok(None);
    };
    let seconds = time
        .seconds
        .saturating_add(time.nanos.div_euclid(SECOND).into());
    let nanos = time.nanos.rem_euclid(SECOND).unsigned_abs();
    Timestamp::new(seconds, nanos)
        .map(Some)
        .map_err(|e| refused(e.at("source_date_epoch")))
}

/// Which keys of labels or annotations a mask is about.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// As they came: a mask may have a million of them.
    Keys(Vec<String>),
    All,
}

/// What a mask is about. In which order, and how often it says so, does not matter: all values are of one
/// message.
#[derive(Debug, PartialEq, Eq)]
pub struct Mask {
    target: bool,
    annotations: Part,
    labels: Part,
}

pub const LABEL: &str = "labels.";
const ANNOTATION: &str = "annotations.";

impl Mask {
    /// Refuses a path that is no part of an image that an Update can change. No paths are labels and
    /// target.
    pub fn parse(name: &str, mask: Option<prost_types::FieldMask>) -> Result<Self, Fault> {
        let paths = mask.map(|mask| mask.paths).unwrap_or_default();
        let is_whole = paths.is_empty();
        let mut parts = Self {
            target: is_whole,
            annotations: Part::Keys(Vec::new()),
            labels: if is_whole {
                Part::All
            } else {
                Part::Keys(Vec::new())
            },
        };
        for path in paths {
            if path.starts_with(LABEL) {
                parts.labels.add(path, LABEL);
            } else if path.starts_with(ANNOTATION) {
                parts.annotations.add(path, ANNOTATION);
            } else {
                match path.as_str() {
                    "labels" => parts.labels = Part::All,
                    "annotations" => parts.annotations = Part::All,
                    "target" => parts.target = true,
                    other => {
                        let (path, name) = (quoted(other), quoted(name));
                        return Err(Fault::new(
                            Kind::InvalidArgument,
                            format!("cannot update {path} field on image {name}"),
                        ));
                    }
                }
            }
        }
        Ok(parts)
    }

    /// The values that a message has for the parts, as edits. Checks those parts and no others.
    pub fn edits(self, image: pb::Image) -> Result<Vec<ImageEdit>, Fault> {
        let name = image.name;
        let mut edits = Vec::new();
        let labels = self.labels.of(image.labels);
        for (key, value) in labels.pairs() {
            check_label(key, value).map_err(|fault| fault.within("image.Labels"))?;
        }
        let mut message = image.target.unwrap_or_default();
        let annotations = match self.target {
            // They come with the target.
            true => Values::All(message.annotations.clone()),
            false => self
                .annotations
                .of(std::mem::take(&mut message.annotations)),
        };
        let keyless = keyless(&name, labels.get(""), annotations.get(""));
        if self.target {
            message.annotations.remove("");
            edits.push(ImageEdit::Retarget(target(message)?));
        }
        if let Some(fault) = keyless {
            return Err(fault);
        }
        match annotations {
            Values::All(_) if self.target => {}
            Values::All(annotations) => {
                edits.push(ImageEdit::Annotations(with_values(annotations)));
            }
            Values::Keys(annotations, gone) => {
                edits.extend(edited(annotations, ImageEdit::Annotation));
                edits.push(ImageEdit::NoAnnotations(gone));
            }
        }
        match labels {
            Values::All(labels) => {
                edits.push(ImageEdit::Labels(self::labels(with_values(labels))?));
            }
            Values::Keys(labels, gone) => {
                edits.extend(edited(labels, ImageEdit::Label));
                edits.push(ImageEdit::NoLabels(gone));
            }
        }
        Ok(edits)
    }
}

/// Which values a message has for a part.
enum Values {
    /// Of some keys, where an empty value removes, and of others none, which removes too.
    Keys(Pairs, Vec<String>),
    All(Pairs),
}

impl Part {
    fn add(&mut self, path: String, prefix: &str) {
        match self {
            Self::All => {}
            Self::Keys(keys) => keys.push(without(path, prefix)),
        }
    }

    fn of(self, pairs: Pairs) -> Values {
        match self {
            Self::All => Values::All(pairs),
            Self::Keys(keys) => {
                let (given, gone) = named(keys, pairs);
                Values::Keys(given, gone)
            }
        }
    }
}

/// What follows a prefix.
pub fn without(mut path: String, prefix: &str) -> String {
    path.drain(..prefix.len());
    path
}

/// Those of the pairs that have these keys, and the keys that have none. However many keys there are, and
/// however often one comes, each costs no more than to look it up.
pub fn named(keys: Vec<String>, mut pairs: Pairs) -> (Pairs, Vec<String>) {
    let (mut given, mut gone) = (Pairs::new(), Vec::new());
    for key in keys {
        if let Some(value) = pairs.remove(&key) {
            given.insert(key, value);
        } else if !given.contains_key(&key) {
            gone.push(key);
        }
    }
    (given, gone)
}

impl Values {
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let (given, gone) = match self {
            Self::Keys(given, gone) => (given, &gone[..]),
            Self::All(given) => (given, &[][..]),
        };
        let given = given.iter().map(|(key, value)| (&key[..], &value[..]));
        given.chain(gone.iter().map(|key| (&key[..], "")))
    }

    fn get(&self, key: &str) -> Option<&String> {
        match self {
            Self::Keys(pairs, _) | Self::All(pairs) => pairs.get(key),
        }
    }
}

fn edited(
    pairs: Pairs,
    edit: impl Fn(String, Option<String>) -> ImageEdit,
) -> impl Iterator<Item = ImageEdit> {
    // Without a key there is no value, or it would have been refused.
    let pairs = pairs.into_iter().filter(|(key, _)| !key.is_empty());
    pairs.map(move |(key, value)| edit(key, Some(value).filter(|value| !value.is_empty())))
}

/// What is wrong with a label or an annotation that has a value and no key: to containerd an error of its
/// database, and so the last that it comes by.
pub fn keyless(name: &str, label: Option<&String>, annotation: Option<&String>) -> Option<Fault> {
    let fault = |what: &str, value: &str| {
        let value = quoted(value);
        let why = format!("writing {what} for image {name}: failed to set label \"\"={value}");
        Fault::new(Kind::InvalidArgument, why + ": key required")
    };
    let with_value = |value: Option<&String>, what| match value {
        Some(value) if !value.is_empty() => Some(fault(what, value)),
        Some(_) | None => None,
    };
    with_value(label, "labels").or_else(|| with_value(annotation, "Annotations"))
}

// === to messages ===

/// Bytes that a listing may still have in one message.
pub struct Room {
    left: usize,
}

impl Room {
    pub fn new() -> Self {
        Self {
            left: MAX_MESSAGE_BYTES,
        }
    }

    pub fn taken(&self) -> usize {
        MAX_MESSAGE_BYTES - self.left
    }

    /// Takes what an item of so many bytes needs as the first field of a message, or returns how much there was for all.
    pub fn take(&mut self, bytes: usize) -> Result<(), usize> {
        let with_its_head = 1 + length_delimiter_len(bytes) + bytes;
        self.left = self
            .left
            .checked_sub(with_its_head)
            .ok_or(MAX_MESSAGE_BYTES)?;
        Ok(())
    }
}

pub fn image_message(image: Image) -> pb::Image {
    pb::Image {
        name: image.name.as_str().to_owned(),
        target: Some(target_message(&image.target)),
        labels: image.labels.into_map(),
        created_at: Some(time_message(image.created_at)),
        updated_at: Some(time_message(image.updated_at)),
    }
}

fn target_message(target: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: target.media_type().as_str().to_owned(),
        digest: target.digest().text(),
        size: target.size().get_i64(),
        annotations: Annotations::clone(target.annotations()),
    }
}
