//! What a config is built on, and what is built on it: told by their layers, whether or not anybody said so.
//!
//! A config lies below another one when its layers are the beginning of the other's; when both have the same, its
//! history is the beginning of the other's, and not all of it. One without layers lies below none.

mod bases;
mod descendants;

use bytes::Bytes;

use super::Relative;
use super::names::names_of;
use super::read::PAGE_BYTES;
use super::rows::entries;
use crate::domain::{ConfigId, Invalid, Namespace};
use crate::error::Error;
use crate::kv::{Key, Versioned};
use crate::store::edit::View;
use crate::store::schema;
use crate::store::wire::{self, Summary};

/// Rows that one page looks at, at most.
const MAX_ROWS: usize = 10_000;

/// Rows that are looked at together.
const STEP: usize = 250;

/// A page in the making.
struct Gathered<T> {
    items: Vec<T>,
    bytes: usize,
    rows: usize,
    most: usize,
}

/// A relative, and how many rows were looked at for it; `None` for one that is not there.
async fn relative(
    view: &View<'_>,
    namespace: &Namespace,
    id: &ConfigId,
    layers: usize,
    by_layers_only: bool,
) -> Result<(Option<Relative>, usize), Error> {
    let Some(entry) = entries(view, namespace, &[*id]).await?.remove(0) else {
        return Ok((None, 1));
    };
    let (names, has_more_names, rows) = names_of(view, namespace, id).await?;
    let relative = Relative {
        entry,
        layers: to_u32(layers),
        by_layers_only,
        names,
        has_more_names,
    };
    Ok((Some(relative), rows))
}

async fn summaries(
    view: &View<'_>,
    namespace: &Namespace,
    ids: &[ConfigId],
) -> Result<Vec<Option<Summary>>, Error> {
    let keys: Vec<Key> = ids
        .iter()
        .map(|id| schema::summary_key(namespace, id))
        .collect();
    let rows = view.get(&keys).await?;
    // One that cannot be read has no relatives that one could tell.
    let read =
        |(id, row): (&ConfigId, Option<Versioned>)| wire::decode_summary(id, row?.value).ok();
    Ok(ids.iter().zip(rows).map(read).collect())
}

/// A place among relatives: how far away, and which.
fn place(layers: u16, id: &ConfigId) -> Bytes {
    [&layers.to_be_bytes()[..], id.as_bytes()].concat().into()
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn broken() -> Error {
    Invalid::new("page_token", "is none that this service gave").into()
}

// === impl Gathered ===

impl<T> Gathered<T> {
    fn new(most: usize) -> Self {
        Self {
            items: Vec::new(),
            bytes: 0,
            rows: 0,
            most,
        }
    }

    /// Takes an item of so many bytes.
    fn add(&mut self, item: T, bytes: usize) {
        self.bytes += bytes;
        self.items.push(item);
    }

    fn is_full(&self) -> bool {
        self.items.len() >= self.most || self.rows >= MAX_ROWS || self.bytes >= PAGE_BYTES
    }
}

impl Relative {
    /// Bytes that it takes as a message, about.
    fn weight(&self) -> usize {
        let names = self.names.iter().map(|name| name.as_str().len() + 4);
        names.sum::<usize>() + self.entry.weight() + 100
    }
}
