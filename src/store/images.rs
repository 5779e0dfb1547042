//! The calls on image records.

use bytes::Bytes;

use super::page::{Page, PageRequest};
use super::precondition::Precondition;
use super::query::ImageQuery;
use super::stream::ImageStream;
use super::walk::Walk;
use super::{At, Decision, Put, Seen, Store, Stored, as_seen, schema, unless_changed, wire};
use crate::domain::{Digest, Image, ImageChange, ImageName, Namespace, NamespaceRecord};
use crate::error::{Error, Subject};
use crate::kv::{Batch, Key, Revision, Versioned};

/// The calls on image records; from [`Store::images`].
#[derive(Clone, Copy)]
pub struct Images<'a> {
    pub(super) store: &'a Store,
}

/// A Put: what becomes of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutImage {
    pub name: ImageName,
    pub change: ImageChange,
    pub when: Precondition,
    /// Answers as the Put would, and writes nothing.
    pub validate_only: bool,
}

/// A Delete of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteImage {
    pub name: ImageName,
    pub when: Precondition,
    /// Answers as the Delete would, and writes nothing.
    pub validate_only: bool,
}

impl PutImage {
    /// Creates or replaces, whatever was there.
    pub fn new(name: ImageName, change: ImageChange) -> Self {
        Self {
            name,
            change,
            when: Precondition::None,
            validate_only: false,
        }
    }
}

impl DeleteImage {
    /// Removes whatever is there.
    pub fn new(name: ImageName) -> Self {
        Self {
            name,
            when: Precondition::None,
            validate_only: false,
        }
    }
}

impl Images<'_> {
    /// Creates a record or changes it. The first write creates the namespace. Durable when it
    /// returns; a Put that changes nothing writes nothing.
    ///
    /// [`Error::Invalid`] for a record that would be too large; [`Error::NotFound`] for a change that
    /// needs a record; and what the precondition says.
    pub async fn put(
        &self,
        namespace: &Namespace,
        request: PutImage,
    ) -> Result<At<Put<Image>>, Error> {
        let keys = keys(namespace, &request.name);
        let mut put = self
            .store
            .edit(&keys, |seen| decide_put(namespace, &request, &keys, seen))
            .await?;
        if put.value.changed && !request.validate_only {
            put.value.stored.revision = put.revision;
        }
        Ok(put)
    }

    /// The record of a name; [`Error::NotFound`] when there is none.
    pub async fn get(
        &self,
        namespace: &Namespace,
        name: &ImageName,
    ) -> Result<At<Stored<Image>>, Error> {
        let snapshot = self.store.snapshot().await?;
        let mut rows = snapshot.get(&[schema::image_key(namespace, name)]).await?;
        let Some(row) = rows.pop().flatten() else {
            return Err(Error::NotFound(Subject::Image(
                namespace.clone(),
                name.clone(),
            )));
        };
        Ok(At {
            value: stored(namespace, name.clone(), row)?,
            revision: snapshot.revision(),
        })
    }

    /// A page of records in the order of [`ImageQuery`], read at its own revision. May be short or
    /// empty with more to come: a page reads a bounded number of rows.
    ///
    /// [`Error::Invalid`] for a page token of another query or store.
    pub async fn list(
        &self,
        query: &ImageQuery,
        page: &PageRequest,
    ) -> Result<Page<Stored<Image>>, Error> {
        super::page::images(self.store, query, page).await
    }

    /// All records that match, at one revision, in chunks.
    ///
    /// [`Error::TooManySnapshots`] at once when too many are under way; the stream ends with
    /// [`Error::SnapshotExpired`] when it takes too long to read.
    pub async fn stream(&self, query: ImageQuery) -> Result<ImageStream, Error> {
        super::stream::images(self.store, query).await
    }

    /// How many records match. Reads none of them when the query is a whole namespace, and the rows
    /// in its ranges otherwise.
    pub async fn count(&self, query: &ImageQuery) -> Result<At<u64>, Error> {
        let snapshot = self.store.snapshot().await?;
        let revision = snapshot.revision();
        let value = Walk::new(snapshot, query.clone()).count().await?;
        Ok(At { value, revision })
    }

    /// Removes a record and returns it; [`Error::NotFound`] when there is none, and what the
    /// precondition says. Durable when it returns.
    pub async fn delete(
        &self,
        namespace: &Namespace,
        request: &DeleteImage,
    ) -> Result<At<Stored<Image>>, Error> {
        let key = schema::image_key(namespace, &request.name);
        self.store
            .edit(std::slice::from_ref(&key), |seen| {
                decide_delete(namespace, request, &key, seen)
            })
            .await
    }
}

/// The rows that a Put decides on: the image first, then its namespace.
fn keys(namespace: &Namespace, name: &ImageName) -> [Key; 2] {
    [
        schema::image_key(namespace, name),
        schema::namespace_key(namespace),
    ]
}

/// A row as the record that it holds.
pub(super) fn stored(
    namespace: &Namespace,
    name: ImageName,
    row: Versioned,
) -> Result<Stored<Image>, Error> {
    Ok(Stored {
        namespace: namespace.clone(),
        record: wire::decode_image(name, row.value)?,
        revision: row.revision,
    })
}

/// What a precondition is about.
fn seen_as(stored: &Stored<Image>) -> (Revision, Option<&Digest>) {
    (stored.revision, Some(stored.record.target.digest()))
}

fn decide_put(
    namespace: &Namespace,
    request: &PutImage,
    [image_key, namespace_key]: &[Key; 2],
    seen: &Seen,
) -> Result<Decision<Put<Image>>, Error> {
    let subject = || Subject::Image(namespace.clone(), request.name.clone());
    let old = seen.rows[0]
        .clone()
        .map(|row| stored(namespace, request.name.clone(), row))
        .transpose()?;
    request
        .when
        .check(subject, old.as_ref().map(seen_as), seen.revision)?;

    let before = old.as_ref().map(|old| &old.record);
    let Some(record) = request.change.apply(&request.name, before, seen.now)? else {
        return Err(Error::NotFound(subject()));
    };
    let changed = before != Some(&record);
    // Also for a record that is not written: what would be too large is refused all the same.
    let value = if changed {
        wire::encode_image(&record)?
    } else {
        Bytes::new()
    };
    let digest = *record.target.digest();
    let put = Put {
        stored: Stored {
            namespace: namespace.clone(),
            record,
            revision: unless_changed(changed, old.as_ref()),
        },
        changed,
        created: old.is_none(),
    };
    if !changed || request.validate_only {
        return Ok(Decision::Answer(put));
    }

    let mut batch = Batch::new(seen.now.millis());
    batch
        .guard(as_seen(image_key.clone(), seen.rows[0].as_ref()))
        .guard(as_seen(namespace_key.clone(), seen.rows[1].as_ref()));
    if seen.rows[1].is_none() {
        let made = NamespaceRecord::new(namespace.clone(), seen.now);
        batch.put(namespace_key.clone(), wire::encode_namespace(&made)?);
    }
    let old_digest = before.map(|old| *old.target.digest());
    if old_digest != Some(digest) {
        batch.put(
            schema::digest_key(namespace, &digest, &request.name),
            Bytes::new(),
        );
        if let Some(old_digest) = old_digest {
            batch.delete(schema::digest_key(namespace, &old_digest, &request.name));
        }
    }
    batch.put(image_key.clone(), value);
    Ok(Decision::Commit(batch, put))
}

fn decide_delete(
    namespace: &Namespace,
    request: &DeleteImage,
    image_key: &Key,
    seen: &Seen,
) -> Result<Decision<Stored<Image>>, Error> {
    let subject = || Subject::Image(namespace.clone(), request.name.clone());
    let Some(row) = &seen.rows[0] else {
        return Err(Error::NotFound(subject()));
    };
    let old = stored(namespace, request.name.clone(), row.clone())?;
    request
        .when
        .check(subject, Some(seen_as(&old)), seen.revision)?;
    if request.validate_only {
        return Ok(Decision::Answer(old));
    }
    let mut batch = Batch::new(seen.now.millis());
    batch
        .guard(as_seen(image_key.clone(), Some(row)))
        .delete(image_key.clone())
        .delete(schema::digest_key(
            namespace,
            old.record.target.digest(),
            &request.name,
        ))
        .frees_space();
    Ok(Decision::Commit(batch, old))
}
