//! What becomes of image records in one batch: decided purely, from what was seen of them.

use bytes::Bytes;

use super::edit::{Decision, Glance, Seen, as_seen};
use super::request::Remembered;
use super::wire::{self, HistoryRow, ImageRow, Outcome, Recorded};
use super::{EndedBy, Precondition, Stored, namespaces, schema};
use crate::domain::{Dating, Digest, Image, ImageChange, ImageName, Invalid, Labels, Namespace};
use crate::error::{Error, Subject};
use crate::kv::{Batch, Key, Revision, Rows, Scanned, Versioned};

/// What becomes of one record, if its precondition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageWrite {
    pub name: ImageName,
    pub act: Act,
    pub when: Precondition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a request has few, and most are the large one"
)]
pub enum Act {
    Put(ImageChange, Dating),
    Delete {
        /// Nothing is wrong when there is no such record.
        allow_missing: bool,
    },
    /// Puts the target that another record has, as it was before any of the writes.
    Tag {
        from: ImageName,
        /// `None` for the other's labels.
        labels: Option<Labels>,
        dating: Dating,
    },
    /// Puts a generation again, named by the revision that made it; without one, the newest in
    /// history.
    Rollback(Option<Revision>),
}

/// What a write did to one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The record as it stands now; for a delete the one that was removed, if there was one.
    pub stored: Option<Stored<Image>>,
    /// Whether anything was written.
    pub changed: bool,
    /// Whether the name was new.
    pub created: bool,
}

/// Writes to names of one namespace that are decided together. No name comes twice.
pub(super) struct Writes<'a> {
    pub namespace: &'a Namespace,
    pub writes: &'a [ImageWrite],
    /// Who asks, where that is known.
    pub caller: Option<&'a str>,
    pub validate_only: bool,
    /// Whether an error says which of the writes it is about.
    pub numbered: bool,
}

/// Generations that a write removes at most, to come down to the limit: more than it adds.
const TRIMMED: usize = 8;

/// For each write: the oldest generations in history, the newest, and the one that is wanted.
const GLANCES: usize = 3;

impl Writes<'_> {
    /// The namespace first, then the record of each write, then those that are tagged.
    pub fn keys(&self) -> Vec<Key> {
        let images = schema::images(self.namespace);
        let mut keys = Vec::with_capacity(1 + self.writes.len());
        keys.push(schema::namespace_key(self.namespace));
        keys.extend(
            self.writes
                .iter()
                .map(|write| images.key(schema::image_row(&write.name))),
        );
        keys.extend(self.writes.iter().filter_map(|write| match &write.act {
            Act::Tag { from, .. } => Some(images.key(schema::image_row(from))),
            Act::Put(..) | Act::Delete { .. } | Act::Rollback(_) => None,
        }));
        keys
    }

    /// What of the names' history the writes depend on.
    pub fn glances(&self, rows: &[Option<Versioned>]) -> Result<Vec<Option<Glance>>, Error> {
        let mut glances = Vec::with_capacity(GLANCES * self.writes.len());
        for (write, row) in self.writes.iter().zip(&rows[1..]) {
            let of_name = || {
                let part = schema::history_part(&write.name);
                Rows::starting_with(schema::history(self.namespace), &part)
            };
            let has_to_trim = match row {
                Some(row) => {
                    let old = wire::decode_image(write.name.clone(), row.value.clone())?;
                    oldest_kept(old.ordinal, self.limit(rows)?) > 0
                }
                None => false,
            };
            let is_rollback = matches!(write.act, Act::Rollback(_));
            let is_delete = matches!(write.act, Act::Delete { .. });
            // Of many names, as many go as come.
            let trimmed = if self.numbered { 2 } else { TRIMMED };
            glances.push(has_to_trim.then(|| (of_name(), trimmed)));
            glances.push(
                (is_rollback || (row.is_none() && !is_delete)).then(|| (of_name().reversed(), 1)),
            );
            glances.push(match write.act {
                Act::Rollback(Some(made)) => {
                    let wanted = schema::history_row(&write.name, made);
                    let table = schema::history(self.namespace);
                    Some((Rows::starting_with(table, &wanted), 1))
                }
                Act::Rollback(None) | Act::Put(..) | Act::Tag { .. } | Act::Delete { .. } => None,
            });
        }
        Ok(glances)
    }

    pub fn decide(&self, keys: &[Key], seen: &Seen) -> Result<Decision<Vec<Applied>>, Error> {
        let mut plan = Plan {
            writes: self,
            seen,
            batch: Batch::new(seen.now.millis()),
            adds: false,
        };
        let mut applied = Vec::with_capacity(self.writes.len());
        let mut sources = keys.iter().zip(&seen.rows).skip(1 + self.writes.len());
        for (i, write) in self.writes.iter().enumerate() {
            let at = Place {
                key: &keys[1 + i],
                row: seen.rows[1 + i].as_ref(),
                history: &seen.scanned[GLANCES * i..GLANCES * (i + 1)],
                source: match write.act {
                    Act::Tag { .. } => sources.next().map(|(key, row)| (key, row.as_ref())),
                    Act::Put(..) | Act::Delete { .. } | Act::Rollback(_) => None,
                },
            };
            let done = plan
                .write(write, &at)
                .map_err(|cause| match self.numbered {
                    true => Error::Item {
                        index: i,
                        cause: Box::new(cause),
                    },
                    false => cause,
                })?;
            applied.push(done);
        }
        if self.numbered {
            check_answer(&applied)?;
        }
        if self.validate_only {
            return Ok(Decision::nothing(seen.now, applied));
        }
        let (adds, mut batch) = (plan.adds, plan.batch);
        if adds {
            let row = seen.rows[0].as_ref();
            namespaces::need(&mut batch, self.namespace, row, seen.now)?;
        } else if !batch.is_empty() {
            batch.frees_space();
        }
        Ok(Decision {
            batch,
            value: applied,
        })
    }

    /// How many generations are kept of each name.
    fn limit(&self, rows: &[Option<Versioned>]) -> Result<u64, Error> {
        let limit = match &rows[0] {
            Some(row) => {
                wire::decode_namespace(self.namespace.clone(), row.value.clone())?.history_limit
            }
            None => None,
        };
        Ok(u64::from(limit.unwrap_or_default().get()))
    }
}

/// Refuses what could be done, and whose answer could not be read: peers take messages of 4 MiB.
fn check_answer(applied: &[Applied]) -> Result<(), Error> {
    const LIMIT: usize = 3 << 20;
    let stored = applied.iter().filter_map(|applied| applied.stored.as_ref());
    let size = stored.map(|stored| wire::image_bytes(&stored.record)).sum();
    if size > LIMIT {
        return Err(Error::TooLarge {
            what: "bytes of records in its answer",
            size,
            limit: LIMIT,
        });
    }
    Ok(())
}

/// The ordinal of the oldest generation that stays in history once this one has ended.
fn oldest_kept(ended: u64, limit: u64) -> u64 {
    (ended + 1).saturating_sub(limit)
}

/// A batch in the making.
struct Plan<'a> {
    writes: &'a Writes<'a>,
    seen: &'a Seen,
    batch: Batch,
    /// Whether it adds to the namespace, which then must be there.
    adds: bool,
}

/// What was seen of one name.
struct Place<'a> {
    key: &'a Key,
    row: Option<&'a Versioned>,
    /// As [`Writes::glances`] asked for it.
    history: &'a [Scanned],
    /// The record that is tagged.
    source: Option<(&'a Key, Option<&'a Versioned>)>,
}

/// A record that stands, and its place among the generations of its name.
struct Standing {
    stored: Stored<Image>,
    ordinal: u64,
}

impl Plan<'_> {
    fn write(&mut self, write: &ImageWrite, at: &Place<'_>) -> Result<Applied, Error> {
        let old = self.standing(write, at)?;
        let expected = old
            .as_ref()
            .map(|old| (old.stored.revision, Some(old.stored.record.target.digest())));
        let subject = || self.subject(write);
        let allows_missing = matches!(
            write.act,
            Act::Delete {
                allow_missing: true
            }
        );
        if !(allows_missing && old.is_none()) {
            write.when.check(subject, expected, &self.seen.known)?;
        }
        match &write.act {
            Act::Put(change, dating) => self.put(write, at, old, change, *dating),
            Act::Delete { .. } => match old {
                Some(old) => self.delete(write, at, old),
                None if allows_missing => {
                    self.batch.guard(as_seen(at.key.clone(), at.row));
                    Ok(Applied {
                        stored: None,
                        changed: false,
                        created: false,
                    })
                }
                None => Err(Error::NotFound(subject())),
            },
            Act::Tag {
                from,
                labels,
                dating,
            } => {
                let source = at.source.and_then(|(key, row)| Some((key, row?)));
                let Some((key, row)) = source else {
                    return Err(Error::NotFound(Subject::Image(
                        self.writes.namespace.clone(),
                        from.clone(),
                    )));
                };
                self.batch.guard(as_seen(key.clone(), Some(row)));
                let tagged = wire::decode_image(from.clone(), row.value.clone())?.image;
                let change = ImageChange::Replace {
                    target: tagged.target,
                    labels: labels.clone().unwrap_or(tagged.labels),
                };
                self.put(write, at, old, &change, *dating)
            }
            Act::Rollback(made) => {
                let current = old
                    .as_ref()
                    .filter(|old| Some(old.stored.revision) == *made)
                    .map(|old| old.stored.record.clone());
                let wanted = match (current, made) {
                    (Some(current), _) => Some(current),
                    (None, Some(_)) => ended(write, &at.history[2])?.map(|ended| ended.row.image),
                    (None, None) => ended(write, &at.history[1])?.map(|ended| ended.row.image),
                };
                let Some(wanted) = wanted else {
                    return Err(Error::NotFound(Subject::Generation(
                        self.writes.namespace.clone(),
                        write.name.clone(),
                        *made,
                    )));
                };
                let again = ImageChange::Replace {
                    target: wanted.target,
                    labels: wanted.labels,
                };
                // It keeps its age, or gets it back.
                let dating = match old {
                    Some(_) => Dating::Changes,
                    None => Dating::Kept {
                        created_at: wanted.created_at,
                        updated_at: self.seen.now,
                    },
                };
                self.put(write, at, old, &again, dating)
            }
        }
    }

    fn put(
        &mut self,
        write: &ImageWrite,
        at: &Place<'_>,
        old: Option<Standing>,
        change: &ImageChange,
        dating: Dating,
    ) -> Result<Applied, Error> {
        let before = old.as_ref().map(|old| &old.stored.record);
        let record = change.apply(&write.name, before, dating, self.seen.now)?;
        let Some(record) = record else {
            return Err(Error::NotFound(self.subject(write)));
        };
        self.batch.guard(as_seen(at.key.clone(), at.row));
        let Some(old) = old else {
            let ordinal = match ended(write, &at.history[1])? {
                Some(last) => {
                    if last.ended_by == EndedBy::Delete {
                        let namespace = self.writes.namespace;
                        let removed = schema::deleted_key(namespace, last.ended_at, &write.name);
                        self.batch.delete(removed);
                    }
                    last.row.ordinal + 1
                }
                None => 0,
            };
            self.store(at, &record, ordinal)?;
            self.point(&record, None);
            return Ok(self.applied(record, true, true));
        };
        if record == old.stored.record && !dating.is_always_written() {
            return Ok(Applied {
                stored: Some(old.stored),
                changed: false,
                created: false,
            });
        }
        self.store(at, &record, old.ordinal + 1)?;
        self.point(&record, Some(*old.stored.record.target.digest()));
        self.end(write, at, old, EndedBy::Put)?;
        Ok(self.applied(record, true, false))
    }

    fn delete(
        &mut self,
        write: &ImageWrite,
        at: &Place<'_>,
        old: Standing,
    ) -> Result<Applied, Error> {
        let namespace = self.writes.namespace;
        let digest = *old.stored.record.target.digest();
        self.batch
            .guard(as_seen(at.key.clone(), at.row))
            .delete(at.key.clone())
            .delete(schema::digest_key(namespace, &digest, &write.name));
        let removed = old.stored.clone();
        self.end(write, at, old, EndedBy::Delete)?;
        Ok(Applied {
            stored: Some(removed),
            changed: true,
            created: false,
        })
    }

    /// Writes a record.
    fn store(&mut self, at: &Place<'_>, record: &Image, ordinal: u64) -> Result<(), Invalid> {
        let value = wire::encode_image(record, ordinal)?;
        self.batch.put(at.key.clone(), value);
        self.adds = true;
        Ok(())
    }

    /// Brings the index of digests up to date.
    fn point(&mut self, record: &Image, before: Option<Digest>) {
        let digest = record.target.digest();
        if before.as_ref() == Some(digest) {
            return;
        }
        let key = |digest| schema::digest_key(self.writes.namespace, digest, &record.name);
        self.batch.put(key(digest), Bytes::new());
        if let Some(before) = before {
            self.batch.delete(key(&before));
        }
    }

    /// Moves a record to history, and removes what is too many there.
    fn end(
        &mut self,
        write: &ImageWrite,
        at: &Place<'_>,
        old: Standing,
        ended_by: EndedBy,
    ) -> Result<(), Error> {
        let namespace = self.writes.namespace;
        let limit = self.writes.limit(&self.seen.rows)?;
        let oldest_kept = oldest_kept(old.ordinal, limit);
        for (row, value) in &at.history[0].rows {
            let held = wire::decode_history(write.name.clone(), value.value.clone())?;
            if held.row.ordinal < oldest_kept {
                self.batch
                    .delete(schema::history(namespace).key(row.clone()));
            }
        }
        let is_deleted = ended_by == EndedBy::Delete;
        // What is left of a removed name ends with its removal, also where nothing is kept otherwise.
        let is_kept = limit > 0 || (is_deleted && !at.history[0].is_end);
        if !is_kept {
            if is_deleted {
                let until = schema::forgotten_key(namespace);
                self.batch.put(until, Bytes::new());
            }
            return Ok(());
        }
        let made = old.stored.revision;
        let ended = HistoryRow {
            row: ImageRow {
                image: old.stored.record,
                ordinal: old.ordinal,
            },
            ended_at: self.seen.now,
            ended_by,
            caller: self.writes.caller.unwrap_or_default().to_owned(),
        };
        let key = schema::history_key(namespace, &write.name, made);
        self.batch.put(key, wire::encode_history(&ended));
        if is_deleted {
            let removed = schema::deleted_key(namespace, self.seen.now, &write.name);
            self.batch.put(removed, Bytes::new());
        }
        Ok(())
    }

    fn standing(&self, write: &ImageWrite, at: &Place<'_>) -> Result<Option<Standing>, Error> {
        let Some(row) = at.row else {
            return Ok(None);
        };
        let ImageRow { image, ordinal } =
            wire::decode_image(write.name.clone(), row.value.clone())?;
        Ok(Some(Standing {
            stored: Stored {
                namespace: self.writes.namespace.clone(),
                record: image,
                revision: row.revision,
            },
            ordinal,
        }))
    }

    /// A record that gets its revision when it is written.
    fn applied(&self, record: Image, changed: bool, created: bool) -> Applied {
        Applied {
            stored: Some(Stored {
                namespace: self.writes.namespace.clone(),
                record,
                revision: Revision::ZERO,
            }),
            changed,
            created,
        }
    }

    fn subject(&self, write: &ImageWrite) -> Subject {
        Subject::Image(self.writes.namespace.clone(), write.name.clone())
    }
}

/// The generation that a glance found.
fn ended(write: &ImageWrite, found: &Scanned) -> Result<Option<HistoryRow>, Error> {
    let Some((_, value)) = found.rows.first() else {
        return Ok(None);
    };
    wire::decode_history(write.name.clone(), value.value.clone()).map(Some)
}

impl Remembered for Vec<Applied> {
    fn settle(&mut self, revision: Revision) {
        for stored in self
            .iter_mut()
            .filter_map(|applied| applied.stored.as_mut())
        {
            if stored.revision == Revision::ZERO {
                stored.revision = revision;
            }
        }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |applied: &Applied| Outcome {
            stored: applied.stored.as_ref().map(|stored| Stored {
                namespace: stored.namespace.clone(),
                record: Recorded::Image(stored.record.clone()),
                revision: stored.revision,
            }),
            changed: applied.changed,
            created: applied.created,
        };
        self.iter().map(outcome).collect()
    }

    fn recall(outcomes: Vec<Outcome>) -> Option<Self> {
        let applied = |outcome: Outcome| {
            let stored = match outcome.stored {
                None => None,
                Some(Stored {
                    namespace,
                    record: Recorded::Image(record),
                    revision,
                }) => Some(Stored {
                    namespace,
                    record,
                    revision,
                }),
                Some(_) => return None,
            };
            Some(Applied {
                stored,
                changed: outcome.changed,
                created: outcome.created,
            })
        };
        outcomes.into_iter().map(applied).collect()
    }
}
