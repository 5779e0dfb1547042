//! Removing a config, and telling which layers no config has any more.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cache::cache_entry;
use super::link::{Leaving, Others};
use super::rows::{Standing, live, not_found, standing, subject, targets_of};
use super::{Configs, DeleteConfig, DeletedConfig, UnreferencedLayer};
use crate::domain::{ConfigId, DiffId, ImageConfig, Namespace, Timestamp, chain_ids};
use crate::error::Error;
use crate::kv::{Batch, Guard, Key, Revision, Rows, Table};
use crate::store::edit::{Decision, Look, View, as_seen};
use crate::store::epoch::Known;
use crate::store::request::Remembered;
use crate::store::schema::{self, Link};
use crate::store::wire::{self, ConfigOutcome, Marks, Outcome, Recorded, Summary};
use crate::store::{At, Precondition, Stored};

/// All that goes with a config, and what its removal depends on.
struct Removal {
    /// The revision of its marks.
    revision: Revision,
    guards: Vec<Guard>,
    rows: Vec<Key>,
    /// Its parents; of a config that can be read, one at most.
    leaving: Vec<Leaving>,
    layers: Vec<(UnreferencedLayer, Others)>,
    /// Links to it that have children.
    links: Vec<Link>,
    /// What its children's rows start with.
    children: Key,
    orphans: u64,
    seen_at: Revision,
    known: Known,
    now: Timestamp,
}

/// Rows of an index that are looked at together.
const STEP: usize = 5000;

struct Looking<'a> {
    namespace: &'a Namespace,
    id: &'a ConfigId,
}

impl Look for Looking<'_> {
    type Seen = Removal;

    async fn look(&self, view: &View<'_>) -> Result<Removal, Error> {
        match standing(view, self.namespace, self.id).await {
            Ok(Some(standing)) => self.of_sound(view, &standing).await,
            Ok(None) => Err(not_found(self.namespace, self.id)),
            Err(Error::Corrupt(_)) => self.of_damaged(view).await,
            Err(other) => Err(other),
        }
    }
}

impl Looking<'_> {
    async fn of_sound(&self, view: &View<'_>, standing: &Standing) -> Result<Removal, Error> {
        let Standing { summary, marks, .. } = standing;
        let mut removal = Removal::of(self, view, standing.revision);
        let key = schema::marks_key(self.namespace, self.id);
        removal
            .guards
            .push(Guard::Unchanged(key, standing.revision));
        self.add_layers(view, &mut removal, &summary.diff_ids)
            .await?;
        self.add_step(&mut removal, summary, marks);
        self.add_parents(view, &mut removal, marks.parent.as_slice())
            .await?;
        self.add_children(view, &mut removal, &schema::link_part(&standing.link()))
            .await?;
        self.add_targets(view, &mut removal).await?;
        Ok(removal)
    }

    /// What cannot be read is looked for in all rows of the indexes.
    async fn of_damaged(&self, view: &View<'_>) -> Result<Removal, Error> {
        let (namespace, id) = (self.namespace, self.id);
        let keys = [
            schema::config_key(namespace, id),
            schema::summary_key(namespace, id),
            schema::marks_key(namespace, id),
        ];
        let rows = view.get(&keys).await?;
        let made = rows[2].as_ref().map(|row| row.revision);
        let mut removal = Removal::of(self, view, made.unwrap_or(Revision::ZERO));
        for (key, row) in keys.into_iter().zip(&rows) {
            removal.guards.push(as_seen(key, row.as_ref()));
        }
        let value = |i: usize| rows[i].as_ref().map(|row| row.value.clone());
        let summary = value(1).and_then(|value| wire::decode_summary(id, value).ok());
        let summary = summary.or_else(|| {
            let bytes = value(0).filter(|bytes| ConfigId::of(bytes) == *id)?;
            let config = ImageConfig::parse(&bytes).ok()?;
            Some(Summary::of(&config, bytes.len()))
        });
        let marks = value(2).and_then(|value| wire::decode_marks(id, value).ok());
        match &summary {
            Some(summary) => {
                self.add_layers(view, &mut removal, &summary.diff_ids)
                    .await?;
            }
            None => {
                let table = schema::layers(namespace);
                let found = self.ending_with_id(view, &table).await?;
                removal.rows.extend(found);
            }
        }
        match (&summary, &marks) {
            (Some(summary), Some(marks)) => self.add_step(&mut removal, summary, marks),
            _ => {
                let table = schema::cache(namespace);
                let found = self.ending_with_id(view, &table).await?;
                removal.rows.extend(found);
            }
        }
        let parents = match &marks {
            Some(marks) => marks.parent.into_iter().collect(),
            None => {
                let table = schema::children(namespace);
                let found = self.ending_with_id(view, &table).await?;
                let parent = |key: &Key| Ok(schema::parse_child_row(&key.row)?.0);
                found
                    .iter()
                    .map(parent)
                    .collect::<Result<Vec<_>, Error>>()?
            }
        };
        self.add_parents(view, &mut removal, &parents).await?;
        self.add_children(view, &mut removal, id.as_bytes()).await?;
        self.add_targets(view, &mut removal).await?;
        Ok(removal)
    }

    async fn add_layers(
        &self,
        view: &View<'_>,
        removal: &mut Removal,
        diff_ids: &[DiffId],
    ) -> Result<(), Error> {
        let table = schema::layers(self.namespace);
        let chain = chain_ids(diff_ids);
        let rows = schema::layer_rows(&chain, self.id);
        for ((chain_id, diff_id), row) in chain.into_iter().zip(diff_ids).zip(rows).rev() {
            let part = schema::layer_part(&chain_id);
            let others = Others::look(view, table.clone(), &part, &row).await?;
            removal.rows.push(table.key(row));
            let layer = UnreferencedLayer {
                chain_id,
                diff_id: diff_id.clone(),
            };
            removal.layers.push((layer, others));
        }
        Ok(())
    }

    fn add_step(&self, removal: &mut Removal, summary: &Summary, marks: &Marks) {
        let entry = cache_entry(self.namespace, self.id, summary, marks);
        removal.rows.extend(entry.map(|(key, _)| key));
    }

    async fn add_parents(
        &self,
        view: &View<'_>,
        removal: &mut Removal,
        parents: &[Link],
    ) -> Result<(), Error> {
        let are_there = live(view, self.namespace, parents).await?;
        for (parent, is_there) in parents.iter().zip(are_there) {
            let row = schema::child_key(self.namespace, parent, self.id);
            removal.rows.push(row);
            if is_there {
                let leaving = Leaving::of(view, self.namespace, *parent, self.id).await?;
                removal.leaving.push(leaving);
            }
        }
        Ok(())
    }

    /// Counts the children whose rows start so, and notes the links that they have to it.
    async fn add_children(
        &self,
        view: &View<'_>,
        removal: &mut Removal,
        part: &[u8],
    ) -> Result<(), Error> {
        let table = schema::children(self.namespace);
        removal.children = table.key(Bytes::copy_from_slice(part));
        let mut rest = Rows::starting_with(table.clone(), part);
        let mut found_under: BTreeMap<Link, usize> = BTreeMap::new();
        let most = Configs::MAX_ORPHANS;
        let mut left = most;
        while left > 0 {
            let found = view.scan(&rest, left).await?;
            left -= found.rows.len();
            for (row, _) in &found.rows {
                let (link, _) = schema::parse_child_row(row)?;
                *found_under.entry(link).or_default() += 1;
            }
            let Some(more) = found.rest(rest) else {
                break;
            };
            rest = more;
        }
        if left == 0 {
            self.add_links(view, &table, part, &mut found_under).await?;
        }
        // What has gone before has lost its children already.
        let noted = found_under
            .keys()
            .map(|link| schema::gone_key(self.namespace, link));
        let noted = view.get(&noted.collect::<Vec<_>>()).await?;
        for ((link, orphans), noted) in found_under.into_iter().zip(noted) {
            if noted.is_none() {
                removal.orphans += orphans as u64;
                removal.links.push(link);
            }
        }
        Ok(())
    }

    /// Each link whose rows start so, whatever is under it: where not all rows were counted.
    async fn add_links(
        &self,
        view: &View<'_>,
        table: &Table,
        part: &[u8],
        found_under: &mut BTreeMap<Link, usize>,
    ) -> Result<(), Error> {
        let mut rest = Rows::starting_with(table.clone(), part);
        loop {
            let found = view.scan(&rest, 1).await?;
            let Some((row, _)) = found.rows.first() else {
                return Ok(());
            };
            let (link, _) = schema::parse_child_row(row)?;
            found_under.entry(link).or_default();
            let last = schema::child_row(&link, &ConfigId::from_bytes([0xff; 32]));
            rest = rest.after(last);
        }
    }

    async fn add_targets(&self, view: &View<'_>, removal: &mut Removal) -> Result<(), Error> {
        for target in targets_of(view, self.namespace, self.id).await? {
            removal.rows.extend([
                schema::target_key(self.namespace, &target, self.id),
                schema::targeted_key(self.namespace, self.id, &target),
            ]);
        }
        Ok(())
    }

    /// All rows of an index that end with the config's id.
    async fn ending_with_id(&self, view: &View<'_>, table: &Table) -> Result<Vec<Key>, Error> {
        let mut rest = Rows::all(table.clone());
        let mut keys = Vec::new();
        loop {
            let found = view.scan(&rest, STEP).await?;
            let rows = found.rows.iter().map(|(row, _)| row);
            let ours = rows.filter(|row| row.ends_with(self.id.as_bytes()));
            keys.extend(ours.map(|row| table.key(row.clone())));
            let Some(more) = found.rest(rest) else {
                return Ok(keys);
            };
            rest = more;
        }
    }
}

impl Removal {
    /// Of a config of which nothing more is known yet.
    fn of(looking: &Looking<'_>, view: &View<'_>, revision: Revision) -> Self {
        let Looking { namespace, id } = looking;
        Self {
            revision,
            guards: Vec::new(),
            rows: vec![
                schema::config_key(namespace, id),
                schema::summary_key(namespace, id),
                schema::marks_key(namespace, id),
                schema::touched_key(namespace, id),
                schema::head_key(namespace, id),
            ],
            leaving: Vec::new(),
            layers: Vec::new(),
            links: Vec::new(),
            children: schema::children(namespace).key(schema::config_row(id)),
            orphans: 0,
            seen_at: view.revision(),
            known: view.known.clone(),
            now: view.now,
        }
    }

    fn plan(&self, namespace: &Namespace) -> Batch {
        let mut batch = Batch::new(self.now.millis());
        for guard in &self.guards {
            batch.guard(guard.clone());
        }
        for row in &self.rows {
            batch.delete(row.clone());
        }
        for leaving in &self.leaving {
            leaving.plan(&mut batch, namespace);
        }
        for (_, others) in &self.layers {
            batch.guard(others.guard());
        }
        if self.links.is_empty() {
            batch.guard(Guard::Quiet(self.children.clone(), self.seen_at));
        }
        for link in &self.links {
            batch.put(schema::gone_key(namespace, link), Bytes::new());
        }
        batch.frees_space();
        batch
    }
}

impl Configs<'_> {
    /// Removes a config, and all links to it and from it, in one step. Durable when it returns. Costs the same
    /// for any number of children; of a config that cannot be read, a look at all rows of the indexes.
    ///
    /// [`Error::NotFound`]; [`Error::EtagMismatch`] and [`Error::HasChildren`] as the request says.
    pub async fn delete(
        &self,
        namespace: &Namespace,
        request: &DeleteConfig,
    ) -> Result<At<DeletedConfig>, Error> {
        let id = &request.id;
        let look = Looking { namespace, id };
        let turns = self.turns(namespace, id).await?;
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let deleted = self.store.edit(&turns, &look, once, |seen: &Removal| {
            let when = Precondition::of_etag(request.if_etag);
            let subject = || subject(namespace, id);
            when.check(subject, Some((seen.revision, None)), &seen.known)?;
            if request.must_be_head && seen.orphans > 0 {
                return Err(Error::HasChildren(subject()));
            }
            let without_config = seen.layers.iter().filter(|(_, others)| others.is_none());
            let value = Removed {
                namespace: namespace.clone(),
                deleted: DeletedConfig {
                    id: *id,
                    unreferenced: without_config.map(|(layer, _)| layer.clone()).collect(),
                    orphans: seen.orphans,
                },
            };
            if request.validate_only {
                return Ok(Decision::nothing(seen.now, value));
            }
            Ok(Decision {
                batch: seen.plan(namespace),
                value,
            })
        });
        let At { value, revision } = deleted.await?;
        Ok(At {
            value: value.deleted,
            revision,
        })
    }

    /// Those of the config and of its parent, so that siblings that go at once wait for each other.
    async fn turns(&self, namespace: &Namespace, id: &ConfigId) -> Result<Vec<Key>, Error> {
        let mut turns = vec![schema::marks_key(namespace, id)];
        let row = self.store.snapshot().await?.get(&turns).await?.remove(0);
        let marks = row.and_then(|row| wire::decode_marks(id, row.value).ok());
        let parent = marks.and_then(|marks| marks.parent);
        turns.extend(parent.map(|parent| schema::head_key(namespace, &parent.id)));
        Ok(turns)
    }
}

/// What a Delete answers, and of which namespace.
struct Removed {
    namespace: Namespace,
    deleted: DeletedConfig,
}

impl Remembered for Removed {
    fn settle(&mut self, _revision: Revision) {}

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome = ConfigOutcome {
            id: self.deleted.id,
            state: None,
            previous: None,
            unreferenced: self.deleted.unreferenced.clone(),
            orphans: self.deleted.orphans,
        };
        vec![Outcome {
            stored: Some(Stored {
                namespace: self.namespace.clone(),
                record: Recorded::Config(Box::new(outcome)),
                revision: Revision::ZERO,
            }),
            changed: true,
            created: false,
        }]
    }

    fn recall(mut outcomes: Vec<Outcome>) -> Option<Self> {
        let stored = outcomes.pop()?.stored?;
        let Recorded::Config(outcome) = stored.record else {
            return None;
        };
        Some(Self {
            namespace: stored.namespace,
            deleted: DeletedConfig {
                id: outcome.id,
                unreferenced: outcome.unreferenced,
                orphans: outcome.orphans,
            },
        })
    }
}
