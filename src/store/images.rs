//! The calls on image records.

use super::edit::Reads;
use super::page::{Page, PageRequest};
use super::parts::StoredImage;
use super::precondition::Precondition;
use super::query::ImageQuery;
use super::request::RequestId;
use super::stream::{Chunk, ImageStream, LongRead, Make};
use super::walk::{ImageWalk, Walk};
use super::watch::{ImageWatch, WatchImages};
use super::write::{Act, Applied, ImageWrite, Writes};
use super::{At, Put, Store, Stored, schema, wire};
use crate::domain::{Dating, Image, ImageChange, ImageName, Invalid, Labels, Namespace};
use crate::error::{Error, Subject};
use crate::kv::{Revision, Versioned};

/// The calls on image records; from [`Store::images`].
#[derive(Clone, Copy)]
pub struct Images<'a> {
    pub(super) store: &'a Store,
    pub(super) caller: Option<&'a str>,
}

/// A Put: what becomes of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutImage {
    pub name: ImageName,
    pub change: ImageChange,
    pub dating: Dating,
    pub when: Precondition,
    /// Answers as the Put would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// A Delete of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteImage {
    pub name: ImageName,
    pub when: Precondition,
    /// Answers as the Delete would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// A Rollback of one record to a generation in its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackImage {
    pub name: ImageName,
    /// Named by the revision that made it; the newest in history where there is none.
    pub to: Option<Revision>,
    pub when: Precondition,
    /// Answers as the Rollback would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

/// Another name for what an image points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagImage {
    /// Whose target it is.
    pub from: ImageName,
    /// What gets it, whatever it was before.
    pub name: ImageName,
    /// The labels of the new record; those of `from` where there are none.
    pub labels: Option<Labels>,
    pub dating: Dating,
}

/// Writes that are done all or not at all, at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyImages {
    writes: Vec<ImageWrite>,
    /// Answers as the Apply would, and writes nothing.
    pub validate_only: bool,
    /// So that it is done once, however often it is sent.
    pub request: Option<RequestId>,
}

impl PutImage {
    /// Creates or replaces, whatever was there.
    pub fn new(name: ImageName, change: ImageChange) -> Self {
        Self {
            name,
            change,
            dating: Dating::Changes,
            when: Precondition::None,
            validate_only: false,
            request: None,
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
            request: None,
        }
    }
}

impl RollbackImage {
    /// Brings back the newest generation in history.
    pub fn new(name: ImageName) -> Self {
        Self {
            name,
            to: None,
            when: Precondition::None,
            validate_only: false,
            request: None,
        }
    }
}

impl ApplyImages {
    /// Writes that one Apply takes at most; an engine may take fewer.
    pub const MAX_ITEMS: usize = 1000;

    /// Refuses none, more than [`Self::MAX_ITEMS`], and two that are about one name.
    pub fn new(writes: Vec<ImageWrite>) -> Result<Self, Invalid> {
        if writes.is_empty() {
            return Err(Invalid::new("items", "must not be empty"));
        }
        if writes.len() > Self::MAX_ITEMS {
            let many = writes.len();
            return Err(Invalid::new(
                "items",
                format!("has {many} items, more than {}", Self::MAX_ITEMS),
            ));
        }
        let mut by_name: Vec<(&ImageName, usize)> = writes
            .iter()
            .enumerate()
            .map(|(i, write)| (&write.name, i))
            .collect();
        by_name.sort_unstable();
        if let Some(pair) = by_name.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let (first, second) = (pair[0].1, pair[1].1);
            return Err(Invalid::new(
                format!("items[{second}]"),
                format!("is about the same name as items[{first}]"),
            ));
        }
        Ok(Self {
            writes,
            validate_only: false,
            request: None,
        })
    }
}

impl<'a> Images<'a> {
    /// The calls as made by someone, whom the history will name.
    #[must_use]
    pub fn for_caller(self, caller: Option<&'a str>) -> Self {
        Self { caller, ..self }
    }

    /// Creates a record or changes it. The first write creates the namespace. Durable when it
    /// returns; a Put that changes nothing writes nothing, unless its dating says so.
    ///
    /// [`Error::Invalid`] for a record that would be too large; [`Error::NotFound`] for a change that
    /// needs a record; and what the precondition says.
    pub async fn put(
        &self,
        namespace: &Namespace,
        request: PutImage,
    ) -> Result<At<Put<Image>>, Error> {
        let write = ImageWrite {
            name: request.name,
            act: Act::Put(request.change, request.dating),
            when: request.when,
        };
        let once = request.request.as_ref();
        put(self
            .one(namespace, write, request.validate_only, once)
            .await?)
    }

    /// Gives the target of one record, all of it, another name: what is read and what is written is of one
    /// moment. Durable when it returns.
    ///
    /// [`Error::NotFound`] with the name that has no record.
    pub async fn tag(
        &self,
        namespace: &Namespace,
        request: TagImage,
    ) -> Result<At<Put<Image>>, Error> {
        let write = ImageWrite {
            name: request.name,
            act: Act::Tag {
                from: request.from,
                labels: request.labels,
                dating: request.dating,
            },
            when: Precondition::None,
        };
        put(self.one(namespace, write, false, None).await?)
    }

    /// Puts the target and the labels of an older generation again, as a new one; also after a Delete.
    /// The record keeps its `created_at`, and gets back the one it had if it was removed.
    ///
    /// [`Error::NotFound`] when there is no such generation, and what the precondition says.
    pub async fn rollback(
        &self,
        namespace: &Namespace,
        request: RollbackImage,
    ) -> Result<At<Put<Image>>, Error> {
        let write = ImageWrite {
            name: request.name,
            act: Act::Rollback(request.to),
            when: request.when,
        };
        let once = request.request.as_ref();
        put(self
            .one(namespace, write, request.validate_only, once)
            .await?)
    }

    /// Does all the writes at one revision, or none; what became of each comes in their order.
    ///
    /// [`Error::Item`] with the first write that cannot be done; [`Error::TooLarge`] when the engine does
    /// not take so much at once.
    pub async fn apply(
        &self,
        namespace: &Namespace,
        request: &ApplyImages,
    ) -> Result<At<Vec<Applied>>, Error> {
        let writes = Writes {
            namespace,
            writes: &request.writes,
            caller: self.caller,
            validate_only: request.validate_only,
            numbered: true,
        };
        self.write(&writes, request.request.as_ref()).await
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
        let page = self.list_stored(query, page).await?;
        page.try_map(Stored::read)
    }

    /// [`Self::list`] for who need not read the records.
    pub(crate) async fn list_stored(
        &self,
        query: &ImageQuery,
        page: &PageRequest,
    ) -> Result<Page<Stored<StoredImage>>, Error> {
        super::page::images(self.store, query, page).await
    }

    /// All records that match, at one revision, as they are asked for.
    pub(crate) async fn walk(&self, query: &ImageQuery) -> Result<ImageWalk, Error> {
        Ok(ImageWalk::new(self.store.snapshot().await?, query))
    }

    /// All records that match, at one revision, in chunks.
    ///
    /// [`Error::TooManySnapshots`] at once when too many are under way; the stream ends with
    /// [`Error::SnapshotExpired`] when it takes too long to read.
    pub async fn stream(&self, query: ImageQuery) -> Result<ImageStream, Error> {
        self.stream_of(query, Stored::read).await
    }

    /// [`Self::stream`] of what each record is made into.
    pub(crate) async fn stream_of<T: Send + 'static>(
        &self,
        query: ImageQuery,
        make: Make<T>,
    ) -> Result<LongRead<Chunk<T>>, Error> {
        super::stream::images(self.store, query, make).await
    }

    /// What changes of the records that match, in the order of the revisions, each once and none left
    /// out; those of one revision together, but for a message of more than 1 MiB. A slow reader holds
    /// up nobody.
    ///
    /// At once [`Error::UnknownRevision`] for a revision that is not of this store,
    /// [`Error::Compacted`] when changes after it have been trimmed, and
    /// [`Error::TooManySnapshots`] when too many read their initial records. The watch ends with
    /// [`Error::Compacted`] when what it has yet to read is trimmed, with
    /// [`Error::SnapshotExpired`] when its initial records take too long to read, and with
    /// [`Error::GoingAway`] when the store closes.
    pub async fn watch(&self, request: WatchImages) -> Result<ImageWatch, Error> {
        super::watch::records(self.store, request).await
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
        let write = ImageWrite {
            name: request.name.clone(),
            act: Act::Delete {
                allow_missing: false,
            },
            when: request.when.clone(),
        };
        let once = request.request.as_ref();
        let At { value, revision } = self
            .one(namespace, write, request.validate_only, once)
            .await?;
        Ok(At {
            value: value.stored.ok_or_else(nothing)?,
            revision,
        })
    }

    async fn one(
        &self,
        namespace: &Namespace,
        write: ImageWrite,
        validate_only: bool,
        once: Option<&RequestId>,
    ) -> Result<At<Applied>, Error> {
        let writes = Writes {
            namespace,
            writes: &[write],
            caller: self.caller,
            validate_only,
            numbered: false,
        };
        let At {
            mut value,
            revision,
        } = self.write(&writes, once).await?;
        Ok(At {
            value: value.pop().ok_or_else(nothing)?,
            revision,
        })
    }

    async fn write(
        &self,
        writes: &Writes<'_>,
        once: Option<&RequestId>,
    ) -> Result<At<Vec<Applied>>, Error> {
        let keys = writes.keys();
        let reads = Reads {
            keys: &keys,
            counted: &[],
            then: Some(&|rows| writes.glances(rows)),
        };
        let once = once.filter(|_| !writes.validate_only);
        self.store
            .edit(&keys[1..], &reads, once, |seen| writes.decide(&keys, seen))
            .await
    }
}

/// What a Put of one record answers.
fn put(applied: At<Applied>) -> Result<At<Put<Image>>, Error> {
    let At { value, revision } = applied;
    Ok(At {
        value: Put {
            stored: value.stored.ok_or_else(nothing)?,
            changed: value.changed,
            created: value.created,
        },
        revision,
    })
}

/// Only an answer that was remembered for another request could be without the record.
fn nothing() -> Error {
    Error::corrupt("the answer to a request lacks its record")
}

/// A row as the record that it holds.
pub(super) fn stored(
    namespace: &Namespace,
    name: ImageName,
    row: Versioned,
) -> Result<Stored<Image>, Error> {
    Ok(Stored {
        namespace: namespace.clone(),
        record: wire::decode_image(name, row.value)?.image,
        revision: row.revision,
    })
}
