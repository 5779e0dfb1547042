//! What leads to configs against these and their marks.

use bytes::Bytes;

use super::{Check, Found};
use crate::domain::{ConfigId, Namespace, chain_ids};
use crate::error::Error;
use crate::kv::{Guard, Key, Revision};
use crate::store::configs::cache::cache_entry;
use crate::store::schema::{self, Link};
use crate::store::verify::repair::Fix;
use crate::store::wire;

impl Check {
    /// The index of layers has no more than what configs have. Looked through only where it has more.
    pub(super) async fn layers(
        &mut self,
        namespace: &Namespace,
        found: &Found,
    ) -> Result<(), Error> {
        let layers = schema::layers(namespace);
        if self.snapshot.count(&layers).await? == found.layers && found.unread.is_empty() {
            return Ok(());
        }
        let mut past = None;
        loop {
            let rows = self.next(&layers, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                let is_had = match schema::parse_layer_row(&row) {
                    Ok(layer) if found.unread.contains(&layer.id) => true,
                    Ok(layer) => {
                        let known = self.known(namespace, layer.id).await?;
                        known.summary.is_none_or(|(summary, _)| {
                            let chain = chain_ids(&summary.diff_ids);
                            schema::layer_rows(&chain, &layer.id).contains(&row)
                        }) && self.is_config(namespace, &layer.id).await?
                    }
                    Err(_) => false,
                };
                if !is_had {
                    let what = "names a config that has no such layer";
                    self.report_to_remove(&layers, row, value.revision, what);
                }
            }
        }
    }

    /// Each row of the index of children is of one that says so; or the parent has gone, and it is noted that such
    /// rows are left.
    pub(super) async fn children(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let children = schema::children(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&children, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                let what = match schema::parse_child_row(&row) {
                    Err(cause) => Some(cause.to_string()),
                    Ok((parent, child)) => self.wrong_child(namespace, &parent, child).await?,
                };
                if let Some(what) = what {
                    self.report_to_remove(&children, row, value.revision, what);
                }
            }
        }
    }

    async fn wrong_child(
        &self,
        namespace: &Namespace,
        parent: &Link,
        child: ConfigId,
    ) -> Result<Option<String>, Error> {
        if !self.leads(namespace, parent).await? {
            return self.wrong_remains(namespace, parent).await;
        }
        let known = self.known(namespace, child).await?;
        // Of one that cannot be read nothing can be said; of one that is not there, that it is not.
        let is_child = match &known.marks {
            Some((marks, _)) => marks.parent == Some(*parent),
            None => self.is_config(namespace, &child).await?,
        };
        let what = "names a config that has another parent";
        Ok((!is_child).then(|| what.to_owned()))
    }

    /// What is wrong with a row under a link that leads nowhere.
    async fn wrong_remains(
        &self,
        namespace: &Namespace,
        link: &Link,
    ) -> Result<Option<String>, Error> {
        let is_noted = self.row(&schema::gone_key(namespace, link)).await?;
        let what = "is under a parent that is not there";
        Ok(is_noted.is_none().then(|| what.to_owned()))
    }

    /// Each head is a config, and has no children.
    pub(super) async fn heads(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let heads = schema::heads(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&heads, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                if !self.is_head(namespace, &row).await? {
                    self.report_to_remove(
                        &heads,
                        row,
                        value.revision,
                        "names what is no config without children",
                    );
                }
            }
        }
    }

    async fn is_head(&self, namespace: &Namespace, row: &[u8]) -> Result<bool, Error> {
        let Ok(id) = schema::parse_config(row) else {
            return Ok(false);
        };
        let Some(summary) = self.row(&schema::summary_key(namespace, &id)).await? else {
            return self.is_config(namespace, &id).await;
        };
        let link = Link {
            id,
            made: summary.revision,
        };
        let children = schema::children(namespace).key(schema::link_part(&link));
        self.is_empty(&children).await
    }

    /// Each row of the two indexes of targets is of a config, and has its counterpart.
    pub(super) async fn targets(&mut self, namespace: &Namespace) -> Result<(), Error> {
        type Counterpart = fn(&Namespace, &[u8]) -> Option<(ConfigId, Key)>;
        let by_target: Counterpart = |namespace, row| {
            let (target, id) = schema::parse_target_row(row).ok()?;
            Some((id, schema::targeted_key(namespace, &id, &target)))
        };
        let by_config: Counterpart = |namespace, row| {
            let (id, target) = schema::parse_targeted_row(row).ok()?;
            Some((id, schema::target_key(namespace, &target, &id)))
        };
        for (table, other) in [
            (schema::targets(namespace), by_target),
            (schema::targeted(namespace), by_config),
        ] {
            let mut past = None;
            loop {
                let rows = self.next(&table, &mut past).await?;
                if rows.is_empty() {
                    break;
                }
                for (row, value) in rows {
                    let other = other(namespace, &row);
                    self.counterpart(namespace, table.key(row), value.revision, other)
                        .await?;
                }
            }
        }
        Ok(())
    }

    async fn counterpart(
        &mut self,
        namespace: &Namespace,
        key: Key,
        revision: Revision,
        other: Option<(ConfigId, Key)>,
    ) -> Result<(), Error> {
        match other {
            Some((id, other)) if self.is_config(namespace, &id).await? => {
                if self.row(&other).await?.is_none() {
                    self.report(&key.table, &key.row, "has no counterpart by the other key");
                    self.mend(Fix::add(Guard::Unchanged(key, revision), other));
                }
            }
            Some(_) | None => {
                let what = "is of a config that is not there";
                self.report_to_remove(&key.table, key.row, revision, what);
            }
        }
        Ok(())
    }

    /// Each row of the index of build steps is of a config that was built so; or its parent has gone, and it is
    /// noted that such rows are left.
    pub(super) async fn steps(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let cache = schema::cache(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&cache, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                let what = match self.wrong_step(namespace, &row).await? {
                    None => wire::decode_cache(value.value)
                        .err()
                        .map(|cause| cause.to_string()),
                    what => what,
                };
                if let Some(what) = what {
                    self.report_to_remove(&cache, row, value.revision, what);
                }
            }
        }
    }

    async fn wrong_step(
        &self,
        namespace: &Namespace,
        row: &Bytes,
    ) -> Result<Option<String>, Error> {
        let step = match schema::parse_cache_row(row) {
            Ok(step) => step,
            Err(cause) => return Ok(Some(cause.to_string())),
        };
        if let Some(parent) = &step.parent
            && !self.leads(namespace, parent).await?
        {
            return self.wrong_remains(namespace, parent).await;
        }
        let known = self.known(namespace, step.id).await?;
        let is_so = match (&known.summary, &known.marks) {
            (Some((summary, _)), Some((marks, _))) => {
                let entry = cache_entry(namespace, &step.id, summary, marks);
                entry.is_some_and(|(key, _)| key.row == *row)
            }
            _ => self.is_config(namespace, &step.id).await?,
        };
        let what = "names a config that was not built so";
        Ok((!is_so).then(|| what.to_owned()))
    }

    /// What is noted to lead nowhere does.
    pub(super) async fn gone(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let gone = schema::gone(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&gone, &mut past).await?;
            if rows.is_empty() {
                break;
            }
            for (row, value) in rows {
                let leads = match schema::parse_gone(&row) {
                    Ok(link) => self.leads(namespace, &link).await?,
                    Err(_) => true,
                };
                if leads {
                    self.report_to_remove(
                        &gone,
                        row,
                        value.revision,
                        "names a config that is there, or none",
                    );
                }
            }
        }
        let turn = schema::lineage_key(namespace);
        let mut past = None;
        for (row, _) in self.next(&turn.table, &mut past).await? {
            if row != turn.row {
                self.report(&turn.table, &row, "is none that there can be");
            }
        }
        Ok(())
    }
}
