//! Reading configs: one, a page of them, and who was built from whom.

use bytes::Bytes;

use super::link::parent_of;
use super::resolve::{is_there, resolve};
use super::rows::{entries, existing, not_found, spoilt, targets_of};
use super::{ConfigEntry, Configs, StoredConfig};
use crate::domain::{ChainId, ConfigId, ImageConfig, Reference};
use crate::domain::{Invalid, Namespace, RunPlatform};
use crate::error::Error;
use crate::kv::{Rows, Table};
use crate::store::edit::View;
use crate::store::page::Pages;
use crate::store::schema;
use crate::store::walk::Cursor;
use crate::store::{At, Page, PageRequest, Store};

/// Bytes of configs that one page holds at most, but for one config.
pub const PAGE_BYTES: usize = 1 << 20;

/// Configs that a page reads at once.
const STEP: usize = 100;

impl Configs<'_> {
    /// The config that a reference stands for, all of it; see [`Self::resolve`]. Reads its bytes, and checks them.
    ///
    /// [`Error::Corrupt`] for one whose bytes are not what its id says.
    pub async fn get(
        &self,
        namespace: &Namespace,
        reference: &Reference,
        platform: Option<&RunPlatform>,
    ) -> Result<At<StoredConfig>, Error> {
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let id = resolve(&view, namespace, reference, platform).await?;
        let stored = stored(&view, namespace, &id).await?;
        let stored = stored.ok_or_else(|| not_found(namespace, &id))?;
        if stored.entry.is_corrupt {
            return Err(spoilt(&id));
        }
        Ok(At {
            value: stored,
            revision: view.revision(),
        })
    }

    /// A page of configs, by id; with `heads_only`, of those without children. Does not read their bytes.
    ///
    /// [`Error::Invalid`] for a page token of another request or store.
    pub async fn list(
        &self,
        namespace: &Namespace,
        heads_only: bool,
        page: &PageRequest,
    ) -> Result<Page<ConfigEntry>, Error> {
        let (kind, table) = match heads_only {
            true => ("heads", schema::heads(namespace)),
            false => ("configs", schema::summaries(namespace)),
        };
        let page = self.page(namespace, &[kind], page)?;
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let (ids, is_end) = page.ids(&view, table, &[]).await?;
        let mut after = ids.last().filter(|_| !is_end).map(schema::config_row);
        let mut items: Vec<ConfigEntry> = Vec::with_capacity(ids.len());
        let mut bytes = 0;
        'page: for ids in ids.chunks(STEP) {
            let found = entries(&view, namespace, ids).await?;
            for found in found.into_iter().flatten() {
                bytes += found.weight();
                if let Some(last) = items.last()
                    && bytes > PAGE_BYTES
                {
                    after = Some(schema::config_row(&last.id));
                    break 'page;
                }
                items.push(found);
            }
        }
        Ok(page.of(&view, items, after))
    }

    /// The same, with all of each config: reads their bytes, and checks them. Those that cannot be read are there
    /// too, and say so.
    pub async fn list_full(
        &self,
        namespace: &Namespace,
        heads_only: bool,
        page: &PageRequest,
    ) -> Result<Page<StoredConfig>, Error> {
        let (kind, table) = match heads_only {
            true => ("heads in full", schema::heads(namespace)),
            false => ("configs in full", schema::configs(namespace)),
        };
        let page = self.page(namespace, &[kind], page)?;
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let (ids, is_end) = page.ids(&view, table, &[]).await?;
        let mut after = ids.last().filter(|_| !is_end).map(schema::config_row);
        let mut items: Vec<StoredConfig> = Vec::with_capacity(ids.len());
        let mut bytes = 0;
        for id in ids {
            let Some(found) = stored(&view, namespace, &id).await? else {
                continue;
            };
            bytes += found.weight();
            if let Some(last) = items.last()
                && bytes > PAGE_BYTES
            {
                after = Some(schema::config_row(&last.entry.id));
                break;
            }
            items.push(found);
        }
        Ok(page.of(&view, items, after))
    }

    /// What a config was built from; `None` where that is not known, or has gone. [`Error::NotFound`] for an
    /// unknown config.
    pub async fn parent(
        &self,
        namespace: &Namespace,
        id: &ConfigId,
    ) -> Result<At<Option<ConfigId>>, Error> {
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let standing = existing(&view, namespace, id).await?;
        Ok(At {
            value: standing.parent.map(|parent| parent.id),
            revision: view.revision(),
        })
    }

    /// A page of the configs that were built from one, by id. [`Error::NotFound`] for an unknown one.
    pub async fn children(
        &self,
        namespace: &Namespace,
        id: &ConfigId,
        page: &PageRequest,
    ) -> Result<Page<ConfigId>, Error> {
        let page = self.page(namespace, &["children", &id.to_string()], page)?;
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let parent = existing(&view, namespace, id).await?;
        let part = schema::link_part(&parent.link());
        let table = schema::children(namespace);
        let (items, is_end) = page.ids(&view, table, &part).await?;
        Ok(page.of_ids(&view, items, is_end))
    }

    /// A page of a config's parent, the parent's parent and so on. [`Error::NotFound`] for an unknown config.
    pub async fn ancestors(
        &self,
        namespace: &Namespace,
        id: &ConfigId,
        page: &PageRequest,
    ) -> Result<Page<ConfigId>, Error> {
        let page = self.page(namespace, &["ancestors", &id.to_string()], page)?;
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        if !is_there(&view, namespace, id).await? {
            return Err(not_found(namespace, id));
        }
        let mut at = match page.after() {
            None => Some(*id),
            // It may have gone since; then nothing is known of what comes after it.
            Some(after) => Some(parse_after(after)?),
        };
        if let Some(last) = at
            && !is_there(&view, namespace, &last).await?
        {
            at = None;
        }
        let (mut items, mut is_end) = (Vec::new(), false);
        while items.len() < page.items() {
            let parent = match at {
                Some(at) => parent_of(&view, namespace, &at).await?,
                None => None,
            };
            let Some(parent) = parent else {
                is_end = true;
                break;
            };
            if parent.id == *id || items.contains(&parent.id) {
                return Err(Error::corrupt(format!(
                    "config {} is its own ancestor",
                    parent.id
                )));
            }
            items.push(parent.id);
            at = Some(parent.id);
        }
        Ok(page.of_ids(&view, items, is_end))
    }

    /// A page of the configs that have a layer, by how many layers they have above it, then by id. Reads only
    /// those.
    pub async fn layer_users(
        &self,
        namespace: &Namespace,
        layer: &ChainId,
        page: &PageRequest,
    ) -> Result<Page<ConfigId>, Error> {
        let page = self.page(namespace, &["layer", layer.as_str()], page)?;
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let table = schema::layers(namespace);
        let part = schema::layer_part(layer);
        let found = page.rows(&view, table, &part).await?;
        let rows = found.rows.iter().map(|(row, _)| row);
        let last = rows.clone().next_back().filter(|_| !found.is_end);
        let after = last.map(|row| row.slice(part.len()..));
        let ids = rows.map(|row| schema::parse_layer_row(row).map(|row| row.id));
        let ids = ids.collect::<Result<_, Error>>()?;
        Ok(page.of(&view, ids, after))
    }

    /// A page of what is asked for in a namespace.
    pub(super) fn page<'p>(
        &self,
        namespace: &'p Namespace,
        asked: &[&str],
        page: &PageRequest,
    ) -> Result<ConfigPages<'p>, Error> {
        ConfigPages::parse(self.store, namespace, asked, page)
    }
}

/// A config, all of it; `None` where there is none.
pub async fn stored(
    view: &View<'_>,
    namespace: &Namespace,
    id: &ConfigId,
) -> Result<Option<StoredConfig>, Error> {
    let Some(mut entry) = entries(view, namespace, &[*id]).await?.remove(0) else {
        return Ok(None);
    };
    let row = view.row(&schema::config_key(namespace, id)).await?;
    let bytes = row.map(|row| row.value);
    let is_whole = bytes.as_ref().filter(|bytes| ConfigId::of(bytes) == *id);
    let config = is_whole.and_then(|bytes| ImageConfig::parse(bytes).ok());
    entry.is_corrupt |= config.is_none();
    Ok(Some(StoredConfig {
        entry,
        bytes: bytes.unwrap_or_default(),
        config,
        targets: targets_of(view, namespace, id).await?,
    }))
}

fn parse_after(row: &[u8]) -> Result<ConfigId, Error> {
    let broken = |_| Invalid::new("page_token", "is none that this service gave");
    Ok(schema::parse_config(row).map_err(broken)?)
}

/// Pages of configs of one namespace.
pub struct ConfigPages<'a> {
    namespace: &'a Namespace,
    pages: Pages,
}

impl<'a> ConfigPages<'a> {
    fn parse(
        store: &Store,
        namespace: &'a Namespace,
        asked: &[&str],
        page: &PageRequest,
    ) -> Result<Self, Error> {
        let mut all = vec!["configs", namespace.as_str()];
        all.extend(asked);
        let pages = Pages::parse(store.id(), &all, page)?;
        Ok(Self { namespace, pages })
    }

    pub fn items(&self) -> usize {
        self.pages.items
    }

    /// Where the page before ended.
    pub fn after(&self) -> Option<&Bytes> {
        self.pages.after.as_ref().map(|cursor| &cursor.row)
    }

    /// The page's rows of those that start so.
    async fn rows(
        &self,
        view: &View<'_>,
        table: Table,
        part: &[u8],
    ) -> Result<crate::kv::Scanned, Error> {
        let mut wanted = Rows::starting_with(table, part);
        if let Some(after) = self.after() {
            wanted = wanted.after([part, after].concat().into());
        }
        view.scan(&wanted, self.items()).await
    }

    /// The ids that follow a beginning, and whether these are the last.
    async fn ids(
        &self,
        view: &View<'_>,
        table: Table,
        part: &[u8],
    ) -> Result<(Vec<ConfigId>, bool), Error> {
        let found = self.rows(view, table, part).await?;
        let ids = found
            .rows
            .iter()
            .map(|(row, _)| schema::parse_config(&row[part.len().min(row.len())..]));
        Ok((ids.collect::<Result<_, Error>>()?, found.is_end))
    }

    /// What the page answers, and where the next one goes on, if there is one.
    pub fn of<T>(&self, view: &View<'_>, items: Vec<T>, after: Option<Bytes>) -> Page<T> {
        let token_after = |row| {
            let namespace = self.namespace.clone();
            self.pages.token_after(&Cursor { namespace, row })
        };
        Page {
            items,
            next_token: after.map(token_after).unwrap_or_default(),
            revision: view.revision(),
        }
    }

    /// The same for ids in their order.
    fn of_ids(&self, view: &View<'_>, ids: Vec<ConfigId>, is_end: bool) -> Page<ConfigId> {
        let last = ids.last().filter(|_| !is_end);
        let after = last.map(schema::config_row);
        self.of(view, ids, after)
    }
}

impl ConfigEntry {
    /// Bytes that it takes as a message, about.
    pub(super) fn weight(&self) -> usize {
        let platform = &self.platform;
        let texts = [
            &platform.os,
            &platform.architecture,
            &platform.variant,
            &platform.os_version,
        ];
        let texts = texts.into_iter().chain(&platform.os_features);
        texts.map(String::len).sum::<usize>() + 400
    }
}

impl StoredConfig {
    /// Bytes that it takes as a message, about.
    fn weight(&self) -> usize {
        /// A digest as text.
        const DIGEST: usize = 73;
        let layers = self
            .config
            .as_ref()
            .map_or(0, |config| config.diff_ids().len());
        self.entry.weight() + self.bytes.len() + DIGEST * (layers + self.targets.len())
    }
}
