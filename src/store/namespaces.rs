//! The calls on namespaces.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::edit::{Decision, Reads, Seen, as_seen};
use super::page::{Page, PageRequest, Pages};
use super::precondition::Precondition;
use super::request::{Remembered, RequestId};
use super::walk::Cursor;
use super::wire::{Outcome, Recorded};
use super::{At, Store, Stored, schema, wire};
use crate::domain::{
    Contents, Dating, Invalid, Namespace, NamespaceChange, NamespaceRecord, Timestamp,
};
use crate::error::{Error, Subject};
use crate::kv::{Batch, Guard, Revision, Rows, Snapshot, Table, Versioned};

/// The calls on namespaces; from [`Store::namespaces`].
#[derive(Clone, Copy)]
pub struct Namespaces<'a> {
    pub(super) store: &'a Store,
}

/// A Put: what becomes of a namespace's own record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutNamespace {
    pub name: Namespace,
    pub change: NamespaceChange,
    pub dating: Dating,
    pub when: Precondition,
    /// Answers as the Put would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// A Delete of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteNamespace {
    pub name: Namespace,
    /// Also removes all that it holds.
    pub force: bool,
    pub when: Precondition,
    /// Answers as the Delete would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// A namespace and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceEntry {
    pub stored: Stored<NamespaceRecord>,
    pub contents: Contents,
}

/// What a Put of a namespace did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutEntry {
    pub entry: NamespaceEntry,
    /// Whether anything was written.
    pub changed: bool,
    /// Whether the namespace is new.
    pub created: bool,
}

/// All namespaces of one revision by name, some at a time. Holds the snapshot that it reads.
pub struct NamespaceWalk {
    snapshot: Arc<dyn Snapshot>,
    rest: Option<Rows>,
}

impl NamespaceWalk {
    /// Some more; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Stored<NamespaceRecord>>>, Error> {
        let Some(rest) = self.rest.take() else {
            return Ok(None);
        };
        let found = self.snapshot.scan(&rest, NAMES_STEP).await?;
        self.rest = found.rest(rest);
        let record =
            |(row, value): (Bytes, Versioned)| stored(&schema::parse_namespace(&row)?, value);
        found
            .rows
            .into_iter()
            .map(record)
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

impl Namespaces<'_> {
    /// Creates a namespace or changes its labels; a Put that changes nothing writes nothing, unless its
    /// dating says so.
    ///
    /// [`Error::NotFound`] for a change that needs the namespace to be there, and what the
    /// precondition says.
    pub async fn put(&self, request: &PutNamespace) -> Result<At<PutEntry>, Error> {
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        self.edit(&request.name, once, |seen| decide_put(request, seen))
            .await
    }

    /// A namespace; [`Error::NotFound`] when there is none.
    pub async fn get(&self, name: &Namespace) -> Result<At<NamespaceEntry>, Error> {
        let snapshot = self.store.snapshot().await?;
        let mut rows = snapshot.get(&[schema::namespace_key(name)]).await?;
        let Some(row) = rows.pop().flatten() else {
            return Err(Error::NotFound(Subject::Namespace(name.clone())));
        };
        Ok(At {
            value: entry(&*snapshot, stored(name, row)?).await?,
            revision: snapshot.revision(),
        })
    }

    /// A page of the namespaces whose names start so, by name.
    ///
    /// [`Error::Invalid`] for a page token of another request or store.
    pub async fn list(
        &self,
        prefix: &str,
        page: &PageRequest,
    ) -> Result<Page<NamespaceEntry>, Error> {
        let page = Pages::parse(self.store.id(), &["namespaces", prefix], page)?;
        let snapshot = self.store.snapshot().await?;
        let mut wanted = Rows::starting_with(schema::namespaces(), prefix.as_bytes());
        if let Some(after) = &page.after {
            wanted = wanted.after(Bytes::copy_from_slice(after.namespace.as_str().as_bytes()));
        }
        let found = snapshot.scan(&wanted, page.items).await?;
        let mut items = Vec::with_capacity(found.rows.len());
        for (row, value) in found.rows {
            let name = schema::parse_namespace(&row)?;
            items.push(entry(&*snapshot, stored(&name, value)?).await?);
        }
        let next_token = match items.last() {
            Some(last) if !found.is_end => page.token_after(&Cursor {
                namespace: last.stored.record.name.clone(),
                row: Bytes::new(),
            }),
            _ => String::new(),
        };
        Ok(Page {
            items,
            next_token,
            revision: snapshot.revision(),
        })
    }

    /// All namespaces, at one revision, as they are asked for.
    pub async fn walk(&self) -> Result<NamespaceWalk, Error> {
        Ok(NamespaceWalk {
            snapshot: self.store.snapshot().await?,
            rest: Some(Rows::all(schema::namespaces())),
        })
    }

    /// Removes a namespace. One that holds anything goes only if forced, and then with all in it, in
    /// one step.
    ///
    /// [`Error::NotFound`] when there is none, [`Error::NotEmpty`], and what the precondition says.
    pub async fn delete(&self, request: &DeleteNamespace) -> Result<At<NamespaceEntry>, Error> {
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let deleted = self
            .edit(&request.name, once, |seen| decide_delete(request, seen))
            .await?;
        Ok(At {
            value: deleted.value.entry,
            revision: deleted.revision,
        })
    }

    async fn edit(
        &self,
        name: &Namespace,
        once: Option<&RequestId>,
        decide: impl Fn(&Seen) -> Result<Decision<PutEntry>, Error>,
    ) -> Result<At<PutEntry>, Error> {
        let keys = [schema::namespace_key(name)];
        let reads = Reads {
            keys: &keys,
            counted: &holding(name),
            then: None,
        };
        self.store.edit(&keys, &reads, once, decide).await
    }

    /// The names of all namespaces, in order.
    pub(super) async fn names(snapshot: &dyn Snapshot) -> Result<Vec<Namespace>, Error> {
        let mut names: Vec<Namespace> = Vec::new();
        loop {
            let from = names.last().map_or(Bound::Unbounded, |last| {
                Bound::Excluded(Bytes::copy_from_slice(last.as_str().as_bytes()))
            });
            let rows = Rows {
                from,
                ..Rows::all(schema::namespaces())
            };
            let found = snapshot.scan(&rows, NAMES_STEP).await?;
            for (row, _) in &found.rows {
                names.push(schema::parse_namespace(row)?);
            }
            if found.is_end {
                return Ok(names);
            }
        }
    }
}

/// Has a batch hold only while the namespace is as it was seen, and make it where it was not there.
pub(super) fn need(
    batch: &mut Batch,
    name: &Namespace,
    seen: Option<&Versioned>,
    now: Timestamp,
) -> Result<(), Invalid> {
    let key = schema::namespace_key(name);
    batch.guard(as_seen(key.clone(), seen));
    if seen.is_none() {
        let made = NamespaceRecord::new(name.clone(), now);
        batch.put(key, wire::encode_namespace(&made)?);
    }
    Ok(())
}

/// Namespaces that are read at once.
const NAMES_STEP: usize = 1000;

fn stored(name: &Namespace, row: Versioned) -> Result<Stored<NamespaceRecord>, Error> {
    Ok(Stored {
        namespace: name.clone(),
        record: wire::decode_namespace(name.clone(), row.value)?,
        revision: row.revision,
    })
}

async fn entry(
    snapshot: &dyn Snapshot,
    stored: Stored<NamespaceRecord>,
) -> Result<NamespaceEntry, Error> {
    let mut counted = [0; 4];
    for (count, table) in counted.iter_mut().zip(holding(&stored.namespace)) {
        *count = snapshot.count(&table).await?;
    }
    let contents = contents(&counted);
    Ok(NamespaceEntry { stored, contents })
}

/// The tables whose rows keep a namespace from going.
fn holding(namespace: &Namespace) -> [Table; 4] {
    [
        schema::images(namespace),
        schema::configs(namespace),
        schema::builders(namespace),
        schema::build_targets(namespace),
    ]
}

/// How many rows those have, in their order.
fn contents(counted: &[u64]) -> Contents {
    let &[images, configs, builders, targets] = counted else {
        unreachable!("as many counts as tables");
    };
    Contents {
        images,
        configs,
        builders,
        targets,
    }
}

fn decide_put(request: &PutNamespace, seen: &Seen) -> Result<Decision<PutEntry>, Error> {
    let name = &request.name;
    let subject = || Subject::Namespace(name.clone());
    let old = seen.rows[0]
        .clone()
        .map(|row| stored(name, row))
        .transpose()?;
    let expected = old.as_ref().map(|old| (old.revision, None));
    request.when.check(subject, expected, &seen.known)?;

    let before = old.as_ref().map(|old| &old.record);
    let Some(record) = request
        .change
        .apply(name, before, request.dating, seen.now)?
    else {
        return Err(Error::NotFound(subject()));
    };
    let changed = before != Some(&record) || request.dating.is_always_written();
    let value = wire::encode_namespace(&record)?;
    let revision = old.as_ref().filter(|_| !changed).map(|old| old.revision);
    let put = PutEntry {
        entry: NamespaceEntry {
            stored: Stored {
                namespace: name.clone(),
                record,
                revision: revision.unwrap_or(Revision::ZERO),
            },
            contents: contents(&seen.counted),
        },
        changed,
        created: old.is_none(),
    };
    if request.validate_only {
        return Ok(Decision::nothing(seen.now, put));
    }
    let key = schema::namespace_key(name);
    let mut batch = Batch::new(seen.now.millis());
    batch.guard(as_seen(key.clone(), seen.rows[0].as_ref()));
    if changed {
        batch.put(key, value);
    }
    Ok(Decision { batch, value: put })
}

/// Every write that adds to a namespace guards its row, so none can slip in beside the batch.
fn decide_delete(request: &DeleteNamespace, seen: &Seen) -> Result<Decision<PutEntry>, Error> {
    let name = &request.name;
    let subject = || Subject::Namespace(name.clone());
    let Some(row) = &seen.rows[0] else {
        return Err(Error::NotFound(subject()));
    };
    let found = NamespaceEntry {
        stored: stored(name, row.clone())?,
        contents: contents(&seen.counted),
    };
    request
        .when
        .check(subject, Some((found.stored.revision, None)), &seen.known)?;
    if !found.contents.is_empty() && !request.force {
        return Err(Error::NotEmpty {
            namespace: name.clone(),
            contents: found.contents,
        });
    }
    let deleted = PutEntry {
        entry: found,
        changed: true,
        created: false,
    };
    if request.validate_only {
        return Ok(Decision::nothing(seen.now, deleted));
    }
    let key = schema::namespace_key(name);
    let mut batch = Batch::new(seen.now.millis());
    batch
        .guard(as_seen(key.clone(), Some(row)))
        .delete(key)
        .frees_space();
    if !request.force {
        for table in holding(name) {
            batch.guard(Guard::Empty(table.key(Bytes::new())));
        }
    }
    for table in schema::tenant_tables(name) {
        batch.clear(table);
    }
    Ok(Decision {
        batch,
        value: deleted,
    })
}

impl Remembered for PutEntry {
    fn settle(&mut self, revision: Revision) {
        if self.entry.stored.revision == Revision::ZERO {
            self.entry.stored.revision = revision;
        }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let NamespaceEntry { stored, contents } = &self.entry;
        let record = Recorded::Namespace {
            record: stored.record.clone(),
            contents: *contents,
        };
        vec![Outcome {
            stored: Some(Stored {
                namespace: stored.namespace.clone(),
                record,
                revision: stored.revision,
            }),
            changed: self.changed,
            created: self.created,
        }]
    }

    fn recall(mut outcomes: Vec<Outcome>) -> Option<Self> {
        let outcome = outcomes.pop()?;
        let Some(Stored {
            namespace,
            record: Recorded::Namespace { record, contents },
            revision,
        }) = outcome.stored
        else {
            return None;
        };
        Some(Self {
            entry: NamespaceEntry {
                stored: Stored {
                    namespace,
                    record,
                    revision,
                },
                contents,
            },
            changed: outcome.changed,
            created: outcome.created,
        })
    }
}
