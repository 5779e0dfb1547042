//! What a config is built on.

use super::super::read::ConfigPages;
use super::super::resolve::resolve;
use super::super::rows::existing;
use super::super::{Bases, Configs};
use super::{Gathered, STEP, broken, place, relative, summaries};
use crate::domain::{ConfigId, Namespace, Reference, RunPlatform, chain_ids};
use crate::error::Error;
use crate::kv::Rows;
use crate::store::PageRequest;
use crate::store::schema;

impl Configs<'_> {
    /// A page of the configs that a config is built on, the nearest first, then by id. Costs a look for each of its
    /// layers.
    ///
    /// [`Error::NotFound`], [`Error::Ambiguous`] and [`Error::Invalid`] as for [`Self::resolve`].
    pub async fn base_of(
        &self,
        namespace: &Namespace,
        reference: &Reference,
        platform: Option<&RunPlatform>,
        page: &PageRequest,
    ) -> Result<Bases, Error> {
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let id = resolve(&view, namespace, reference, platform).await?;
        let page = self.page(namespace, &["bases", &id.to_string()], page)?;
        let upper = existing(&view, namespace, &id).await?.summary;
        let chain = chain_ids(&upper.diff_ids);
        let (first, mut past) = place_of_base(&page, chain.len())?;
        let mut found = Gathered::new(page.items());
        let mut after = None;
        'page: for (distance, layer) in chain.iter().rev().enumerate().skip(first) {
            let part = schema::layer_above_part(layer, 0);
            let mut rest = Rows::starting_with(schema::layers(namespace), &part);
            if let Some(past) = past.take() {
                rest = rest.after([&part[..], past.as_bytes()].concat().into());
            }
            loop {
                let scanned = view.scan(&rest, STEP).await?;
                let ids = scanned
                    .rows
                    .iter()
                    .map(|(row, _)| schema::parse_layer_row(row));
                let ids: Vec<ConfigId> = ids
                    .map(|row| row.map(|row| row.id))
                    .collect::<Result<_, Error>>()?;
                let lower = summaries(&view, namespace, &ids).await?;
                for (lower_id, lower) in ids.into_iter().zip(lower) {
                    let place = place(u16::try_from(distance).unwrap_or(u16::MAX), &lower_id);
                    let goes_on = lower.is_some_and(|lower| upper.continues_history(&lower));
                    if (distance > 0 || goes_on) && lower_id != id {
                        let (relative, rows) =
                            relative(&view, namespace, &lower_id, distance, !goes_on).await?;
                        found.rows += rows;
                        if let Some(relative) = relative {
                            let bytes = relative.weight();
                            found.add(relative, bytes);
                        }
                    }
                    found.rows += 1;
                    if found.is_full() {
                        after = Some(place);
                        break 'page;
                    }
                }
                let Some(more) = scanned.rest(rest) else {
                    break;
                };
                rest = more;
            }
        }
        Ok(Bases {
            id,
            page: page.of(&view, found.items, after),
        })
    }
}

/// Where a page of bases begins: at which distance, and after which id.
fn place_of_base(
    page: &ConfigPages<'_>,
    layers: usize,
) -> Result<(usize, Option<ConfigId>), Error> {
    let Some(after) = page.after() else {
        return Ok((0, None));
    };
    let (distance, id) = after.split_first_chunk().ok_or_else(broken)?;
    let distance = usize::from(u16::from_be_bytes(*distance));
    if distance >= layers {
        return Err(broken());
    }
    let id = schema::parse_config(id).map_err(|_| broken())?;
    Ok((distance, Some(id)))
}
