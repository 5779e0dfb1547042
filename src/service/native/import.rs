//! What another store holds, taken over as it is there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use tonic::metadata::MetadataMap;

use super::namespace;
use super::wire::{count_message, descriptor};
use crate::domain::{
    Dating, ImageChange, ImageName, Invalid, Labels, Lease, LeaseId, Namespace, NamespaceChange,
    NamespaceEdit, Resource, Timestamp,
};
use crate::error::Error;
use crate::proto::v1 as pb;
use crate::store::{Act, Applied, ApplyImages, ImageWrite, Precondition, PutNamespace, Store};

/// A request that has been checked.
pub struct Import {
    namespace: Namespace,
    /// Images to put, then names to delete.
    writes: Vec<ImageWrite>,
    puts: usize,
    /// The namespace with its labels.
    labels: Option<PutNamespace>,
    leases: Vec<(Lease, BTreeSet<Resource>)>,
    validate_only: bool,
}

pub fn parse(metadata: &MetadataMap, request: pb::ImportRequest) -> Result<Import, Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let items = request.images.len() + request.deleted_images.len() + request.leases.len();
    if items > ApplyImages::MAX_ITEMS {
        let most = ApplyImages::MAX_ITEMS;
        return Err(Invalid::new(
            "images",
            format!("with names to delete and leases has {items} items, more than {most}"),
        ));
    }
    let mut writes = Vec::with_capacity(request.images.len() + request.deleted_images.len());
    let mut known: HashMap<ImageName, String> = HashMap::new();
    let from_containerd = request.from_containerd;
    let images = request.images.into_iter();
    let puts = images.map(|image| put(image, from_containerd));
    let deletes = request.deleted_images.iter().map(|name| delete(name));
    let puts_count = puts.len();
    for (i, write) in puts.chain(deletes).enumerate() {
        let field = match i.checked_sub(puts_count) {
            None => format!("images[{i}]"),
            Some(i) => format!("deleted_images[{i}]"),
        };
        let write = write.map_err(|e| inside(e, &field))?;
        once(&mut known, write.name.clone(), &field, "name")?;
        writes.push(write);
    }
    let labels = request.labels.map(|labels| {
        let labels = Labels::try_from(labels.labels).map_err(|e| e.at("labels.labels"))?;
        Ok(PutNamespace {
            name: namespace.clone(),
            change: NamespaceChange::Upsert(vec![NamespaceEdit::Labels(labels)]),
            dating: Dating::Changes,
            when: Precondition::None,
            validate_only: request.validate_only,
            request: None,
        })
    });
    let mut leases = Vec::with_capacity(request.leases.len());
    let mut known: HashMap<LeaseId, String> = HashMap::new();
    for (i, message) in request.leases.into_iter().enumerate() {
        let field = format!("leases[{i}]");
        let (lease, resources) = lease(message).map_err(|e| e.within(&field))?;
        once(&mut known, lease.id.clone(), &field, "lease")?;
        leases.push((lease, resources));
    }
    Ok(Import {
        namespace,
        writes,
        puts: puts_count,
        labels: labels.transpose()?,
        leases,
        validate_only: request.validate_only,
    })
}

/// Refuses a second item about one thing.
fn once<T: Eq + std::hash::Hash>(
    known: &mut HashMap<T, String>,
    key: T,
    field: &str,
    what: &str,
) -> Result<(), Invalid> {
    match known.insert(key, field.to_owned()) {
        None => Ok(()),
        Some(first) => Err(Invalid::new(
            field.to_owned(),
            format!("is about the same {what} as {first}"),
        )),
    }
}

/// The field of an item; a name to delete has no fields.
fn inside(invalid: Invalid, item: &str) -> Invalid {
    match item.starts_with("images") {
        true => invalid.within(item),
        false => invalid.at(item.to_owned()),
    }
}

fn put(message: pb::Image, from_containerd: bool) -> Result<ImageWrite, Invalid> {
    let target = message
        .target
        .ok_or_else(|| Invalid::new("target", "must be set"))?;
    let labels = Labels::try_from(message.labels)?;
    let created_at = time("created_at", message.created_at)?;
    let updated_at = time("updated_at", message.updated_at)?;
    let dating = match created_at.or(updated_at).zip(updated_at.or(created_at)) {
        None => Dating::Changes,
        Some((created_at, updated_at)) => Dating::Kept {
            created_at,
            updated_at,
        },
    };
    let name = message.name.parse()?;
    let target = descriptor(target).map_err(|e| e.within("target"))?;
    let change = match from_containerd {
        true => ImageChange::Renew { target, labels },
        false => ImageChange::Replace { target, labels },
    };
    Ok(ImageWrite {
        name,
        act: Act::Put(change, dating),
        when: Precondition::None,
    })
}

fn delete(name: &str) -> Result<ImageWrite, Invalid> {
    Ok(ImageWrite {
        name: name.parse()?,
        act: Act::Delete {
            allow_missing: true,
        },
        when: Precondition::None,
    })
}

fn lease(message: pb::ImportedLease) -> Result<(Lease, BTreeSet<Resource>), Invalid> {
    let lease = Lease {
        id: message.id.parse()?,
        labels: labels_of_lease(message.labels)?,
        created_at: time("created_at", message.created_at)?
            .ok_or_else(|| Invalid::new("created_at", "must be set"))?,
    };
    let mut resources = BTreeSet::new();
    for (i, message) in message.resources.iter().enumerate() {
        let resource = resource(message).map_err(|e| e.within(&format!("resources[{i}]")))?;
        resources.insert(resource);
    }
    Ok((lease, resources))
}

/// containerd bounds only the keys, by their not being empty.
fn labels_of_lease(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Invalid> {
    match labels.contains_key("") {
        true => Err(Invalid::new("labels", "must not have an empty key")),
        false => Ok(labels),
    }
}

fn resource(message: &pb::ImportedResource) -> Result<Resource, Invalid> {
    let of_id = |e: Invalid| e.at("id");
    let id = &message.id;
    match message.r#type.split_once('/') {
        None if message.r#type == "content" => id.parse().map(Resource::Content).map_err(of_id),
        None if message.r#type == "images" => id.parse().map(Resource::Image).map_err(of_id),
        None if message.r#type == "ingests" => id.parse().map(Resource::Ingest).map_err(of_id),
        Some(("snapshots", snapshotter)) => Ok(Resource::Snapshot {
            snapshotter: snapshotter.parse().map_err(|e: Invalid| e.at("type"))?,
            key: id.parse().map_err(of_id)?,
        }),
        _ => Err(Invalid::new(
            "type",
            "must be `content`, `images`, `ingests` or `snapshots/SNAPSHOTTER`",
        )),
    }
}

fn time(
    field: &'static str,
    message: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Invalid> {
    let Some(message) = message else {
        return Ok(None);
    };
    let nanos = u32::try_from(message.nanos)
        .map_err(|_| Invalid::new(field, "must not have negative nanoseconds"))?;
    let time = Timestamp::new(message.seconds, nanos).map_err(|e| e.at(field))?;
    Ok(Some(time))
}

// === impl Import ===

impl Import {
    /// Does it: the namespace with its labels in one write, then the images in one, then each lease in one.
    /// Where it takes more than one, what would be refused is found out before the first of them.
    pub async fn run(
        mut self,
        store: &Store,
        caller: Option<&str>,
    ) -> Result<pb::ImportResponse, Error> {
        let validate_only = self.validate_only;
        let namespaces = usize::from(self.labels.is_some());
        let images = usize::from(!self.writes.is_empty());
        let writes = namespaces + images + self.leases.len();
        let mut images = match images {
            0 => None,
            _ => Some(ApplyImages::new(mem::take(&mut self.writes))?),
        };
        if validate_only || writes > 1 {
            let would = self.pass(&mut images, store, caller, true).await?;
            if validate_only {
                return Ok(would);
            }
        }
        self.pass(&mut images, store, caller, false).await
    }

    /// Does all of it, or answers as if it did.
    async fn pass(
        &mut self,
        images: &mut Option<ApplyImages>,
        store: &Store,
        caller: Option<&str>,
        validate_only: bool,
    ) -> Result<pb::ImportResponse, Error> {
        let mut revision = store.revision().await?;
        let mut of_namespaces = pb::ImportCounts::default();
        if let Some(put) = &mut self.labels {
            put.validate_only = validate_only;
            let put = store.namespaces().put(put).await.map_err(about_labels)?;
            revision = revision.max(put.revision);
            *count(&mut of_namespaces, put.value.created, put.value.changed) += 1;
        }
        let mut of_images = pb::ImportCounts::default();
        if let Some(apply) = images {
            apply.validate_only = validate_only;
            let images = store.images().for_caller(caller);
            let applied = images.apply(&self.namespace, apply).await;
            let applied = applied.map_err(|e| about_image(e, self.puts))?;
            revision = revision.max(applied.revision);
            let (put, deleted) = applied.value.split_at(self.puts);
            of_images = counts(put, deleted);
        }
        let leases = store.leases();
        let mut of_leases = pb::ImportCounts::default();
        for (i, (lease, resources)) in self.leases.iter().enumerate() {
            let put = match validate_only {
                true => leases.validate(&self.namespace, lease, resources).await,
                false => leases.restore(&self.namespace, lease, resources).await,
            };
            let put = put.map_err(|e| about_lease(e, i))?;
            revision = revision.max(put.revision);
            *count(&mut of_leases, put.value.created, put.value.changed) += 1;
        }
        Ok(pb::ImportResponse {
            images: Some(of_images),
            namespaces: Some(of_namespaces),
            leases: Some(of_leases),
            revision: revision.0,
        })
    }
}

fn counts(put: &[Applied], deleted: &[Applied]) -> pb::ImportCounts {
    let mut counts = pb::ImportCounts::default();
    for applied in put {
        *count(&mut counts, applied.created, applied.changed) += 1;
    }
    let gone = deleted.iter().filter(|applied| applied.changed).count();
    counts.deleted = count_message(gone as u64);
    counts.unchanged += count_message((deleted.len() - gone) as u64);
    counts
}

fn count(counts: &mut pb::ImportCounts, created: bool, changed: bool) -> &mut i64 {
    match (created, changed) {
        (true, _) => &mut counts.created,
        (false, true) => &mut counts.changed,
        (false, false) => &mut counts.unchanged,
    }
}

/// An error about the labels, in the words of the request. Only all of them together can still be wrong.
fn about_labels(error: Error) -> Error {
    match error {
        Error::Invalid(invalid) => invalid.at("labels").into(),
        other => other,
    }
}

/// An error about one of the images, in the words of the request. Only a whole record can still be wrong.
fn about_image(error: Error, puts: usize) -> Error {
    let Error::Item { index, cause } = error else {
        return error;
    };
    let field = match index.checked_sub(puts) {
        None => format!("images[{index}]"),
        Some(index) => format!("deleted_images[{index}]"),
    };
    match *cause {
        Error::Invalid(invalid) => invalid.at(field).into(),
        other => other,
    }
}

/// An error about one of the leases, in the words of the request.
fn about_lease(error: Error, index: usize) -> Error {
    let field = format!("leases[{index}]");
    match error {
        Error::Invalid(invalid) => invalid.at(field).into(),
        Error::LeaseFull { what, limit, .. } => Invalid::new(
            format!("{field}.resources"),
            format!("has more than {limit} {what}"),
        )
        .into(),
        other => other,
    }
}
