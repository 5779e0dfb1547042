//! Configs against their ids, and all that leads to them and from them against configs and marks.

mod indexes;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::Check;
use super::repair::Fix;
use crate::domain::{ConfigId, ImageConfig, Namespace, Timestamp, chain_ids};
use crate::error::Error;
use crate::kv::{Guard, Key, Revision, Rows, Versioned};
use crate::store::configs::cache::cache_entry;
use crate::store::edit::as_seen;
use crate::store::schema::{self, Link};
use crate::store::wire::{self, Marks, Summary};

/// What the configs of a namespace have been found to be.
#[derive(Default)]
pub(super) struct Found {
    /// The parent of each config that has one, and it is there.
    parents: BTreeMap<ConfigId, ConfigId>,
    /// How many rows of the index of layers are as they must be.
    layers: u64,
    /// Configs whose layers cannot be told.
    unread: BTreeSet<ConfigId>,
}

/// A config as the rows say that it is, as far as they can be read.
struct Known {
    id: ConfigId,
    summary: Option<(Summary, Revision)>,
    marks: Option<(Marks, Revision)>,
}

impl Check {
    pub(super) async fn configs(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let mut found = Found::default();
        self.contents(namespace, &mut found).await?;
        self.without_config(namespace).await?;
        self.layers(namespace, &found).await?;
        self.cycles(namespace, &found);
        self.children(namespace).await?;
        self.heads(namespace).await?;
        self.targets(namespace).await?;
        self.steps(namespace).await?;
        self.gone(namespace).await
    }

    /// Each config is what its id says, and is known by its summary and its marks.
    async fn contents(&mut self, namespace: &Namespace, found: &mut Found) -> Result<(), Error> {
        let configs = schema::configs(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&configs, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                if value.revision > self.found.revision {
                    self.report(&configs, &row, "was written at a revision to come");
                }
                match schema::parse_config(&row) {
                    Ok(id) => self.content(namespace, id, value, found).await?,
                    Err(cause) => self.report(&configs, &row, cause.to_string()),
                }
            }
        }
    }

    async fn content(
        &mut self,
        namespace: &Namespace,
        id: ConfigId,
        bytes: Versioned,
        found: &mut Found,
    ) -> Result<(), Error> {
        let key = schema::config_key(namespace, &id);
        let is_whole = ConfigId::of(&bytes.value) == id;
        let config = is_whole.then(|| ImageConfig::parse(&bytes.value).ok());
        let told = config.flatten();
        let told = told.map(|config| Summary::of(&config, bytes.value.len()));
        if told.is_none() {
            let what = "is not what its id says; delete it, or store it again";
            self.report(&key.table, &key.row, what);
        }
        let known = self.known(namespace, id).await?;
        let summary = known.summary.as_ref().map(|(summary, _)| summary);
        let is_wrong = summary.is_none() || (told.is_some() && told.as_ref() != summary);
        if is_wrong {
            let key = schema::summary_key(namespace, &id);
            self.report(&key.table, &key.row, "is not what the config says");
            if let Some(told) = &told {
                let row = self.row(&key).await?;
                let guard = as_seen(key.clone(), row.as_ref());
                self.mend(Fix::put(guard, key, wire::encode_summary(told)));
            }
        }
        if known.marks.is_none() {
            let key = schema::marks_key(namespace, &id);
            let row = self.row(&key).await?;
            let what = match &row {
                Some(row) => match wire::decode_marks(&id, row.value.clone()) {
                    Err(cause) => cause.to_string(),
                    Ok(_) => "cannot be read".to_owned(),
                },
                None => "are not there".to_owned(),
            };
            self.report(&key.table, &key.row, what);
            if row.is_none() {
                let nothing = Marks {
                    parent: None,
                    built_locally: false,
                    stored_at: Timestamp::UNIX_EPOCH,
                };
                let guard = Guard::Absent(key.clone());
                self.mend(Fix::put(guard, key, wire::encode_marks(&nothing)));
            }
        }
        // What follows from a summary is looked at once that is right.
        if is_wrong {
            found.unread.insert(id);
            return Ok(());
        }
        self.of_config(namespace, &known, found).await
    }

    /// The indexes have what they must of a config.
    async fn of_config(
        &mut self,
        namespace: &Namespace,
        known: &Known,
        found: &mut Found,
    ) -> Result<(), Error> {
        let id = &known.id;
        let Some((summary, made)) = &known.summary else {
            return Ok(());
        };
        let guard = Guard::Unchanged(schema::summary_key(namespace, id), *made);
        let layers = schema::layers(namespace);
        let rows = schema::layer_rows(&chain_ids(&summary.diff_ids), id);
        for row in rows {
            let what = "has a layer that is not in the index of those";
            let is_there = self
                .must_have(id, layers.key(row), Bytes::new(), &guard, what)
                .await?;
            found.layers += u64::from(is_there);
        }
        let link = Link {
            id: *id,
            made: *made,
        };
        let children = schema::children(namespace).key(schema::link_part(&link));
        if self.is_empty(&children).await? {
            let what = "has no children and is not in the index of those";
            let head = schema::head_key(namespace, id);
            self.must_have(id, head, Bytes::new(), &Guard::Empty(children), what)
                .await?;
        }
        let Some((marks, revision)) = &known.marks else {
            return Ok(());
        };
        let guard = Guard::Unchanged(schema::marks_key(namespace, id), *revision);
        if let Some(parent) = &marks.parent {
            if !self.leads(namespace, parent).await? {
                return Ok(());
            }
            found.parents.insert(*id, parent.id);
            let what = "has a parent and is not in the index of its children";
            let child = schema::child_key(namespace, parent, id);
            self.must_have(id, child, Bytes::new(), &guard, what)
                .await?;
        }
        if let Some((key, value)) = cache_entry(namespace, id, summary, marks) {
            let what = "was built here and is not in the index of build steps";
            self.must_have(id, key, value, &guard, what).await?;
        }
        Ok(())
    }

    /// Whether a row is there; reports one that is not, or has another value.
    async fn must_have(
        &mut self,
        id: &ConfigId,
        key: Key,
        value: Bytes,
        guard: &Guard,
        what: &str,
    ) -> Result<bool, Error> {
        let row = self.row(&key).await?;
        if row.is_some_and(|row| row.value == value) {
            return Ok(true);
        }
        self.report(&key.table, &key.row, format!("config {id} {what}"));
        self.mend(Fix::put(guard.clone(), key, value));
        Ok(false)
    }

    /// What is known of configs is of those that are there.
    async fn without_config(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let touched = schema::touched(namespace);
        for table in [
            schema::summaries(namespace),
            schema::marks(namespace),
            touched.clone(),
        ] {
            let mut past = None;
            loop {
                let rows = self.next(&table, &mut past).await?;
                if rows.is_empty() {
                    break;
                }
                for (row, value) in rows {
                    let id = schema::parse_config(&row).ok();
                    let config = id.map(|id| schema::config_key(namespace, &id));
                    let is_there = match &config {
                        Some(config) => self.row(config).await?.is_some(),
                        None => false,
                    };
                    let wrong = match id.filter(|_| is_there) {
                        None => Some("is of a config that is not there".to_owned()),
                        Some(id) if table == touched => {
                            let read = wire::decode_touched(&id, value.value);
                            read.err().map(|cause| cause.to_string())
                        }
                        Some(_) => None,
                    };
                    if let Some(what) = wrong {
                        self.report_to_remove(&table, row, value.revision, what);
                    }
                }
            }
        }
        Ok(())
    }

    /// No config is its own ancestor.
    fn cycles(&mut self, namespace: &Namespace, found: &Found) {
        let marks = schema::marks(namespace);
        let mut sound: BTreeSet<&ConfigId> = BTreeSet::new();
        for first in found.parents.keys() {
            let mut passed = BTreeSet::new();
            let mut at = Some(first);
            while let Some(id) = at.filter(|id| !sound.contains(*id)) {
                if !passed.insert(id) {
                    let what = "makes the config its own ancestor";
                    self.report(&marks, id.as_bytes(), what);
                    break;
                }
                at = found.parents.get(id);
            }
            sound.extend(passed);
        }
    }

    /// What can be read of a config beside its bytes.
    async fn known(&self, namespace: &Namespace, id: ConfigId) -> Result<Known, Error> {
        let keys = [
            schema::summary_key(namespace, &id),
            schema::marks_key(namespace, &id),
        ];
        let mut rows = self.snapshot.get(&keys).await?.into_iter();
        let mut next = || rows.next().flatten();
        let (summary, marks) = (next(), next());
        Ok(Known {
            id,
            summary: summary.and_then(|row| {
                let read = wire::decode_summary(&id, row.value).ok()?;
                Some((read, row.revision))
            }),
            marks: marks.and_then(|row| {
                let read = wire::decode_marks(&id, row.value).ok()?;
                Some((read, row.revision))
            }),
        })
    }

    async fn leads(&self, namespace: &Namespace, link: &Link) -> Result<bool, Error> {
        let row = self.row(&schema::summary_key(namespace, &link.id)).await?;
        Ok(row.is_some_and(|row| row.revision == link.made))
    }

    async fn is_config(&self, namespace: &Namespace, id: &ConfigId) -> Result<bool, Error> {
        let row = self.row(&schema::config_key(namespace, id)).await?;
        Ok(row.is_some())
    }

    async fn row(&self, key: &Key) -> Result<Option<Versioned>, Error> {
        Ok(self
            .snapshot
            .get(std::slice::from_ref(key))
            .await?
            .remove(0))
    }

    /// Whether no row starts so.
    async fn is_empty(&self, part: &Key) -> Result<bool, Error> {
        let rows = Rows::starting_with(part.table.clone(), &part.row);
        Ok(self.snapshot.scan(&rows, 1).await?.rows.is_empty())
    }
}
