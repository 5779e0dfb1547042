//! The calls on namespaces.

use std::ops::Bound;

use bytes::Bytes;

use super::page::{NamespacePages, Page, PageRequest};
use super::precondition::Precondition;
use super::{At, Decision, Seen, Store, Stored, as_seen, schema, unless_changed, wire};
use crate::domain::{Namespace, NamespaceChange, NamespaceRecord};
use crate::error::{Error, Subject};
use crate::kv::{Batch, Guard, Rows, Snapshot, Versioned};

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
    pub when: Precondition,
    /// Answers as the Put would, and writes nothing.
    pub validate_only: bool,
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
}

/// A namespace and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceEntry {
    pub stored: Stored<NamespaceRecord>,
    pub images: u64,
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

impl Namespaces<'_> {
    /// Creates a namespace or changes its labels; a Put that changes nothing writes nothing.
    ///
    /// [`Error::NotFound`] for a change that needs the namespace to be there, and what the
    /// precondition says.
    pub async fn put(&self, request: &PutNamespace) -> Result<At<PutEntry>, Error> {
        let keys = [schema::namespace_key(&request.name)];
        let images = schema::images(&request.name);
        let decide = |seen: &Seen| decide_put(request, seen);
        let mut put = self
            .store
            .edit_counting(&keys, Some(&images), decide)
            .await?;
        if put.value.changed && !request.validate_only {
            put.value.entry.stored.revision = put.revision;
        }
        Ok(put)
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
        let page = NamespacePages::parse(self.store.id(), prefix, page)?;
        let snapshot = self.store.snapshot().await?;
        let mut wanted = Rows::starting_with(schema::namespaces(), prefix.as_bytes());
        if let Some(after) = &page.after {
            wanted = wanted.after(Bytes::copy_from_slice(after.as_str().as_bytes()));
        }
        let found = snapshot.scan(&wanted, page.items).await?;
        let mut items = Vec::with_capacity(found.rows.len());
        for (row, value) in found.rows {
            let name = schema::parse_namespace(&row)?;
            items.push(entry(&*snapshot, stored(&name, value)?).await?);
        }
        let next_token = match items.last() {
            Some(last) if !found.is_end => page.token_after(&last.stored.record.name),
            _ => String::new(),
        };
        Ok(Page {
            items,
            next_token,
            revision: snapshot.revision(),
        })
    }

    /// Removes a namespace. One that holds images goes only if forced, and then with all in it, in
    /// one step.
    ///
    /// [`Error::NotFound`] when there is none, [`Error::NotEmpty`], and what the precondition says.
    pub async fn delete(&self, request: &DeleteNamespace) -> Result<At<NamespaceEntry>, Error> {
        let keys = [schema::namespace_key(&request.name)];
        let images = schema::images(&request.name);
        let decide = |seen: &Seen| decide_delete(request, seen);
        self.store.edit_counting(&keys, Some(&images), decide).await
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
    Ok(NamespaceEntry {
        images: snapshot.count(&schema::images(&stored.namespace)).await?,
        stored,
    })
}

fn decide_put(request: &PutNamespace, seen: &Seen) -> Result<Decision<PutEntry>, Error> {
    let name = &request.name;
    let subject = || Subject::Namespace(name.clone());
    let old = seen.rows[0]
        .clone()
        .map(|row| stored(name, row))
        .transpose()?;
    let expected = old.as_ref().map(|old| (old.revision, None));
    request.when.check(subject, expected, seen.revision)?;

    let before = old.as_ref().map(|old| &old.record);
    let Some(record) = request.change.apply(name, before, seen.now)? else {
        return Err(Error::NotFound(subject()));
    };
    let changed = before != Some(&record);
    let value = wire::encode_namespace(&record)?;
    let put = PutEntry {
        entry: NamespaceEntry {
            stored: Stored {
                namespace: name.clone(),
                record,
                revision: unless_changed(changed, old.as_ref()),
            },
            images: seen.counted,
        },
        changed,
        created: old.is_none(),
    };
    if !changed || request.validate_only {
        return Ok(Decision::Answer(put));
    }
    let key = schema::namespace_key(name);
    let mut batch = Batch::new(seen.now.millis());
    batch
        .guard(as_seen(key.clone(), seen.rows[0].as_ref()))
        .put(key, value);
    Ok(Decision::Commit(batch, put))
}

/// Every write that adds to a namespace guards its row, so none can slip in beside the batch.
fn decide_delete(
    request: &DeleteNamespace,
    seen: &Seen,
) -> Result<Decision<NamespaceEntry>, Error> {
    let name = &request.name;
    let subject = || Subject::Namespace(name.clone());
    let Some(row) = &seen.rows[0] else {
        return Err(Error::NotFound(subject()));
    };
    let found = NamespaceEntry {
        stored: stored(name, row.clone())?,
        images: seen.counted,
    };
    request
        .when
        .check(subject, Some((found.stored.revision, None)), seen.revision)?;
    if found.images > 0 && !request.force {
        return Err(Error::NotEmpty {
            namespace: name.clone(),
            images: found.images,
        });
    }
    if request.validate_only {
        return Ok(Decision::Answer(found));
    }
    let key = schema::namespace_key(name);
    let mut batch = Batch::new(seen.now.millis());
    batch
        .guard(as_seen(key.clone(), Some(row)))
        .delete(key)
        .frees_space();
    if !request.force {
        batch.guard(Guard::Empty(schema::images(name).key(Bytes::new())));
    }
    for table in schema::tenant_tables(name) {
        batch.clear(table);
    }
    Ok(Decision::Commit(batch, found))
}
