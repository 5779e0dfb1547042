//! Reading what a name was: its generations, and its record at a revision.

use bytes::Bytes;

use super::page::{Page, PageRequest, Pages};
use super::walk::Cursor;
use super::wire::{self, HistoryRow};
use super::{At, Images, Stored, schema};
use crate::domain::{Image, ImageName, Invalid, Namespace, Timestamp};
use crate::error::{Error, Subject};
use crate::kv::{Revision, Rows, Snapshot, Versioned};

/// A record as it was from one revision to another, named by the revision that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    pub stored: Stored<Image>,
    /// `None` for the record that stands now.
    pub ended: Option<End>,
}

/// How a generation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub revision: Revision,
    pub at: Timestamp,
    pub by: EndedBy,
    /// Who ended it, where that is known.
    pub caller: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// Another generation took its place.
    Put,
    /// The name was removed.
    Delete,
}

impl Images<'_> {
    /// A page of a name's generations, the newest first; the record that stands now is the first of
    /// all.
    ///
    /// [`Error::NotFound`] for a name that has neither a record nor a history; [`Error::Invalid`] for a
    /// page token of another request or store.
    pub async fn history(
        &self,
        namespace: &Namespace,
        name: &ImageName,
        page: &PageRequest,
    ) -> Result<Page<Generation>, Error> {
        let asked = ["history", namespace.as_str(), name.as_str()];
        let page = Pages::parse(self.store.id(), &asked, page)?;
        let snapshot = self.store.snapshot().await?;
        let mut items = Vec::new();
        let mut wanted = of_name(namespace, name).reversed();
        match &page.after {
            None => {
                let standing = standing(&*snapshot, namespace, name).await?;
                items.extend(standing.map(|(standing, _)| standing));
            }
            Some(cursor) => {
                let broken = || Invalid::new("page_token", "is none that this service gave");
                let made = cursor.row[..].try_into().map_err(|_| broken())?;
                let row = schema::history_row(name, Revision(u64::from_be_bytes(made)));
                wanted = wanted.after(row);
            }
        }
        let room = page.items - items.len();
        let found = snapshot.scan(&wanted, room.max(1)).await?;
        let is_end = found.is_end && found.rows.len() <= room;
        for (row, value) in found.rows.into_iter().take(room) {
            items.push(generation(namespace, &row, value)?);
        }
        let Some(last) = items.last() else {
            if page.after.is_some() {
                return Ok(Page {
                    items,
                    next_token: String::new(),
                    revision: snapshot.revision(),
                });
            }
            return Err(not_found(namespace, name));
        };
        let next_token = if is_end {
            String::new()
        } else {
            page.token_after(&Cursor {
                namespace: namespace.clone(),
                row: Bytes::copy_from_slice(&last.stored.revision.0.to_be_bytes()),
            })
        };
        Ok(Page {
            items,
            next_token,
            revision: snapshot.revision(),
        })
    }

    /// The record that a name had at a revision.
    ///
    /// [`Error::NotFound`] when it had none then, [`Error::HistoryTrimmed`] when that is no longer known,
    /// [`Error::UnknownRevision`] for a revision that this store has not had.
    pub async fn get_at(
        &self,
        namespace: &Namespace,
        name: &ImageName,
        asked: Revision,
    ) -> Result<At<Stored<Image>>, Error> {
        let snapshot = self.store.snapshot().await?;
        let newest = snapshot.revision();
        self.store.known(newest).check(asked)?;
        let standing = standing(&*snapshot, namespace, name).await?;
        let found = match standing {
            Some((standing, _)) if standing.stored.revision <= asked => standing,
            standing => before(&*snapshot, namespace, name, asked, standing).await?,
        };
        Ok(At {
            value: found.stored,
            revision: newest,
        })
    }
}

/// The generation in history that stood at a revision.
async fn before(
    snapshot: &dyn Snapshot,
    namespace: &Namespace,
    name: &ImageName,
    asked: Revision,
    standing: Option<(Generation, u64)>,
) -> Result<Generation, Error> {
    let table = schema::history(namespace);
    let until = Rows::between(
        table,
        &schema::history_part(name),
        &schema::history_row(name, asked),
    );
    let mut before = None;
    let last = snapshot.scan(&until.reversed(), 1).await?.rows.pop();
    let trimmed = |oldest| Error::HistoryTrimmed {
        subject: Subject::Image(namespace.clone(), name.clone()),
        asked,
        oldest,
    };
    if let Some((row, value)) = last {
        let ended_at = value.revision;
        let (_, held) = decode(&row, value.clone())?;
        if ended_at > asked {
            return generation(namespace, &row, value);
        }
        // Where it was not removed, what came next was not kept.
        before = Some((held.ended_by, held.row.ordinal));
    }
    let later = of_name(namespace, name).after(schema::history_row(name, asked));
    let next = snapshot.scan(&later, 1).await?.rows.pop();
    let next = match (next, standing) {
        (Some((row, value)), _) => {
            let (made, held) = decode(&row, value)?;
            Some((made, held.row.ordinal))
        }
        (None, Some((standing, ordinal))) => Some((standing.stored.revision, ordinal)),
        (None, None) => None,
    };
    match (before, next) {
        (None, None | Some((_, 0))) => {
            // Nothing says that there was anything; of a history that was dropped nothing would.
            let until = forgotten(snapshot, namespace).await?;
            if asked < until {
                let oldest = next.map_or(until, |(made, _)| made.min(until));
                return Err(trimmed(oldest));
            }
            Err(not_found(namespace, name))
        }
        (Some(_), None) => Err(not_found(namespace, name)),
        (Some((EndedBy::Delete, last)), Some((_, ordinal))) if ordinal == last + 1 => {
            Err(not_found(namespace, name))
        }
        (_, Some((oldest, _))) => Err(trimmed(oldest)),
    }
}

/// Before which revision a name may have had a history that was dropped whole.
pub(super) async fn forgotten(
    snapshot: &dyn Snapshot,
    namespace: &Namespace,
) -> Result<Revision, Error> {
    let key = schema::forgotten_key(namespace);
    let row = snapshot.get(&[key]).await?.pop().flatten();
    row.as_ref()
        .map_or(Ok(Revision::ZERO), schema::parse_forgotten)
}

fn of_name(namespace: &Namespace, name: &ImageName) -> Rows {
    Rows::starting_with(schema::history(namespace), &schema::history_part(name))
}

fn not_found(namespace: &Namespace, name: &ImageName) -> Error {
    Error::NotFound(Subject::Image(namespace.clone(), name.clone()))
}

/// The record that stands now, and how many generations the name had before.
async fn standing(
    snapshot: &dyn Snapshot,
    namespace: &Namespace,
    name: &ImageName,
) -> Result<Option<(Generation, u64)>, Error> {
    let mut rows = snapshot.get(&[schema::image_key(namespace, name)]).await?;
    let Some(row) = rows.pop().flatten() else {
        return Ok(None);
    };
    let held = wire::decode_image(name.clone(), row.value)?;
    let generation = Generation {
        stored: Stored {
            namespace: namespace.clone(),
            record: held.image,
            revision: row.revision,
        },
        ended: None,
    };
    Ok(Some((generation, held.ordinal)))
}

/// A row of history: the revision that made the generation, and the rest.
fn decode(row: &[u8], value: Versioned) -> Result<(Revision, HistoryRow), Error> {
    let (name, made) = schema::parse_history_row(row)?;
    Ok((made, wire::decode_history(name, value.value)?))
}

fn generation(namespace: &Namespace, row: &[u8], value: Versioned) -> Result<Generation, Error> {
    let ended_at = value.revision;
    let (made, held) = decode(row, value)?;
    Ok(Generation {
        stored: Stored {
            namespace: namespace.clone(),
            record: held.row.image,
            revision: made,
        },
        ended: Some(End {
            revision: ended_at,
            at: held.ended_at,
            by: held.ended_by,
            caller: Some(held.caller).filter(|caller| !caller.is_empty()),
        }),
    })
}
