//! Messages of `imagestore.v1` from and to the domain's types.

use std::collections::HashSet;
use std::hash::Hash;

use bytes::Bytes;

use crate::domain::{
    Descriptor, Dialect, HistoryLimit, Image, ImageChange, ImageEdit, ImagePath, Invalid, Labels,
    NamespaceChange, NamespaceEdit, NamespacePath, Platform, Size,
};
use crate::kv::Revision;
use crate::proto::v1 as pb;
use crate::service::status::bad_filter;
use crate::service::time_message;
use crate::store::{
    DigestQuery, EndedBy, Generation, ImageQuery, NamespaceEntry, PageRequest, Precondition, Scope,
    Stored,
};

// === from messages ===

pub fn descriptor(message: pb::Descriptor) -> Result<Descriptor, Invalid> {
    let mut target = Descriptor::new(
        message.media_type.parse()?,
        message.digest.parse()?,
        Size::try_from(message.size)?,
    )
    .with_annotations(message.annotations)?
    .with_urls(message.urls)?;
    if let Some(platform) = message.platform {
        target = target.with_platform(Some(
            self::platform(*platform).map_err(|e| e.within("platform"))?,
        ));
    }
    if !message.artifact_type.is_empty() {
        let artifact_type = message.artifact_type.parse();
        target = target.with_artifact_type(Some(
            artifact_type.map_err(|e: Invalid| e.at("artifact_type"))?,
        ));
    }
    if !message.data.is_empty() {
        target = target.with_data(message.data)?;
    }
    Ok(target)
}

fn platform(message: pb::Platform) -> Result<Platform, Invalid> {
    Ok(Platform::new(message.architecture, message.os)?
        .with_os_version(message.os_version)
        .with_os_features(message.os_features)
        .with_variant(message.variant))
}

/// Paths that a mask may have.
const MAX_PATHS: usize = 1000;

/// The paths of a mask, each once: a part is the same however often it is named.
fn paths<P: Clone + Eq + Hash>(
    mask: Option<prost_types::FieldMask>,
    parse: impl Fn(&str) -> Result<P, Invalid>,
) -> Result<Vec<P>, Invalid> {
    let texts = mask.map(|mask| mask.paths).unwrap_or_default();
    if texts.len() > MAX_PATHS {
        let many = texts.len();
        return Err(Invalid::new(
            "update_mask",
            format!("has {many} paths, more than {MAX_PATHS}"),
        ));
    }
    let mut seen = HashSet::new();
    let mut paths = Vec::with_capacity(texts.len());
    for text in texts {
        let path = parse(&text)?;
        if seen.insert(path.clone()) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// What a Put with this mask does, path by path.
pub fn image_change(
    mask: Option<prost_types::FieldMask>,
    message: pb::Image,
) -> Result<ImageChange, Invalid> {
    let paths = paths(mask, ImagePath::parse)?;
    let target = |message: Option<pb::Descriptor>| {
        let message = message.ok_or_else(|| Invalid::new("image.target", "must be set"))?;
        descriptor(message).map_err(|e| e.within("image.target"))
    };
    let labels = |map| Labels::try_from(map).map_err(|e: Invalid| e.at("image.labels"));
    if paths.is_empty() || paths.contains(&ImagePath::All) {
        return Ok(ImageChange::Replace {
            target: target(message.target)?,
            labels: labels(message.labels)?,
        });
    }
    let annotations = message.target.as_ref().map(|target| &target.annotations);
    let mut edits = Vec::with_capacity(paths.len());
    for path in paths {
        edits.push(match path {
            ImagePath::All => continue,
            ImagePath::Target => ImageEdit::Target(target(message.target.clone())?),
            ImagePath::Annotations => {
                ImageEdit::Annotations(annotations.cloned().unwrap_or_default())
            }
            ImagePath::Annotation(key) => {
                let value = annotations
                    .and_then(|annotations| annotations.get(&key))
                    .cloned();
                ImageEdit::Annotation(key, value)
            }
            ImagePath::Labels => ImageEdit::Labels(labels(message.labels.clone())?),
            ImagePath::Label(key) => {
                let value = message.labels.get(&key).cloned();
                ImageEdit::Label(key, value)
            }
        });
    }
    Ok(ImageChange::Edit(edits))
}

pub fn namespace_change(
    mask: Option<prost_types::FieldMask>,
    message: &pb::Namespace,
) -> Result<NamespaceChange, Invalid> {
    let paths = paths(mask, NamespacePath::parse)?;
    let all_labels =
        || Labels::try_from(message.labels.clone()).map_err(|e| e.at("namespace.labels"));
    let history_limit = || {
        let limit = message
            .history_limit
            .map(HistoryLimit::try_from)
            .transpose();
        limit.map_err(|e: Invalid| e.at("namespace.history_limit"))
    };
    if paths.is_empty() || paths.contains(&NamespacePath::All) {
        return Ok(NamespaceChange::Replace {
            labels: all_labels()?,
            history_limit: history_limit()?,
        });
    }
    let mut edits = Vec::with_capacity(paths.len());
    for path in paths {
        edits.push(match path {
            NamespacePath::All => continue,
            NamespacePath::Labels => NamespaceEdit::Labels(all_labels()?),
            NamespacePath::Label(key) => {
                let value = message.labels.get(&key).cloned();
                NamespaceEdit::Label(key, value)
            }
            NamespacePath::HistoryLimit => NamespaceEdit::HistoryLimit(history_limit()?),
        });
    }
    Ok(NamespaceChange::Edit(edits))
}

pub fn precondition(
    must_not_exist: bool,
    if_etag: &str,
    if_target: &str,
) -> Result<Precondition, Invalid> {
    let etag = if if_etag.is_empty() {
        None
    } else {
        Some(etag(if_etag)?)
    };
    let target = match if_target {
        "" => None,
        digest => Some(digest.parse().map_err(|e: Invalid| e.at("if_target"))?),
    };
    match (must_not_exist, etag, target) {
        (false, None, None) => Ok(Precondition::None),
        (true, None, None) => Ok(Precondition::MustNotExist),
        (false, etag, target) => Ok(Precondition::Matches { etag, target }),
        (true, ..) => Err(Invalid::new(
            "must_not_exist",
            "cannot be together with if_etag or if_target",
        )),
    }
}

/// The etag that something must have, where one is asked for.
pub fn if_etag(text: &str) -> Result<Option<Revision>, Invalid> {
    match text {
        "" => Ok(None),
        text => etag(text).map(Some),
    }
}

/// The revision that an etag of ours stands for.
fn etag(text: &str) -> Result<Revision, Invalid> {
    let refused = || Invalid::new("if_etag", "is no etag that this service gave");
    let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let revision = text
        .parse()
        .ok()
        .filter(|_| is_canonical)
        .ok_or_else(refused)?;
    Ok(Revision(revision))
}

/// The query fields that List, Stream and Count share.
pub struct QueryFields {
    pub scope: Scope,
    pub name_prefix: String,
    pub digest: String,
    pub digest_prefix: String,
    pub filters: Vec<String>,
}

pub fn query(fields: QueryFields) -> Result<ImageQuery, Invalid> {
    let target = match (fields.digest.as_str(), fields.digest_prefix.as_str()) {
        ("", "") => None,
        (digest, "") => Some(DigestQuery::Is(digest.parse()?)),
        ("", prefix) => Some(DigestQuery::StartsWith(prefix.parse()?)),
        _ => {
            return Err(Invalid::new(
                "digest_prefix",
                "cannot be together with digest",
            ));
        }
    };
    let mut query = ImageQuery::all(fields.scope).under(fields.name_prefix);
    if let Some(target) = target {
        query = query.pointing_to(target);
    }
    query
        .filtered(fields.filters, Dialect::Native)
        .map_err(|error| bad_filter(&error))
}

pub fn page(size: i32, token: String) -> Result<PageRequest, Invalid> {
    let size =
        u32::try_from(size).map_err(|_| Invalid::new("page_size", "must not be negative"))?;
    Ok(PageRequest { size, token })
}

// === to messages ===

pub fn image_message(stored: Stored<Image>) -> pb::Image {
    let image = stored.record;
    pb::Image {
        namespace: stored.namespace.as_str().to_owned(),
        name: image.name.as_str().to_owned(),
        target: Some(descriptor_message(&image.target)),
        labels: image.labels.into_map(),
        created_at: Some(time_message(image.created_at)),
        updated_at: Some(time_message(image.updated_at)),
        etag: etag_message(stored.revision),
        revision: stored.revision.0,
    }
}

pub fn generation_message(generation: Generation) -> pb::Generation {
    let image = Some(image_message(generation.stored));
    match generation.ended {
        None => pb::Generation {
            image,
            ..pb::Generation::default()
        },
        Some(end) => pb::Generation {
            image,
            ended_revision: end.revision.0,
            ended_at: Some(time_message(end.at)),
            ended_by: match end.by {
                EndedBy::Put => pb::EndedBy::Put,
                EndedBy::Delete => pb::EndedBy::Delete,
            }
            .into(),
            ended_by_caller: end.caller.unwrap_or_default(),
        },
    }
}

pub fn descriptor_message(target: &Descriptor) -> pb::Descriptor {
    pb::Descriptor {
        media_type: target.media_type().as_str().to_owned(),
        digest: target.digest().text(),
        size: target.size().get_i64(),
        annotations: target.annotations().clone(),
        urls: target.urls().to_vec(),
        platform: target.platform().map(|platform| {
            Box::new(pb::Platform {
                architecture: platform.architecture().to_owned(),
                os: platform.os().to_owned(),
                os_version: platform.os_version().to_owned(),
                os_features: platform.os_features().to_vec(),
                variant: platform.variant().to_owned(),
            })
        }),
        artifact_type: target
            .artifact_type()
            .map(|t| t.as_str().to_owned())
            .unwrap_or_default(),
        data: target.data().cloned().unwrap_or_else(Bytes::new),
    }
}

pub fn namespace_message(entry: NamespaceEntry) -> pb::Namespace {
    let record = entry.stored.record;
    pb::Namespace {
        name: record.name.as_str().to_owned(),
        labels: record.labels.into_map(),
        created_at: Some(time_message(record.created_at)),
        updated_at: Some(time_message(record.updated_at)),
        etag: etag_message(entry.stored.revision),
        revision: entry.stored.revision.0,
        images: count_message(entry.contents.images),
        configs: count_message(entry.contents.configs),
        builders: count_message(entry.contents.builders),
        build_targets: count_message(entry.contents.targets),
        history_limit: record.history_limit.map(HistoryLimit::get),
    }
}

/// A count for a signed field.
pub fn count_message(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A record that would have been written has none yet.
pub fn etag_message(revision: Revision) -> String {
    if revision == Revision::ZERO {
        String::new()
    } else {
        revision.to_string()
    }
}
