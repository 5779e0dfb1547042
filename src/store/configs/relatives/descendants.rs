//! What is built on a config, or on those that a name stands for and stood for.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use tokio::task::coop;

use super::super::read::ConfigPages;
use super::super::resolve::{Candidate, Meant, best, configs_of, meant, unknown};
use super::super::rows::existing;
use super::super::{Configs, Descendant, Descendants};
use super::{Gathered, STEP, broken, place, relative, summaries, to_u32};
use crate::domain::{ChainId, ConfigId, Digest, ImageName, Namespace, Reference, chain_ids};
use crate::error::{Error, Subject};
use crate::kv::{Revision, Rows};
use crate::store::Page;
use crate::store::edit::View;
use crate::store::schema::{self, LayerRow};
use crate::store::wire::{self, Summary};

/// Configs that a name stood for, of which the descendants are told at most: the newest.
const MAX_BASES: usize = 1000;

/// One of the configs whose descendants are asked for.
struct Base {
    id: ConfigId,
    summary: Summary,
    /// With all its layers.
    top: ChainId,
    generation: Option<Revision>,
    is_current: bool,
}

/// The configs whose descendants are asked for, in their order; and by their layers.
struct BaseList {
    bases: Vec<Base>,
    by_top: HashMap<ChainId, Vec<usize>>,
}

/// What a config is to the first of some bases that it is built on.
struct BuiltOn {
    base: usize,
    by_layers_only: bool,
}

impl Configs<'_> {
    /// A page of the configs that are built on what a reference stands for; with `earlier_generations`, also on
    /// what a name stood for: those of the present first, then the newest; of each the nearest first, then by id.
    /// Each is told once, and none that the name stands or stood for. Reads only those. Of what a name stood for,
    /// the newest 1,000 configs count.
    ///
    /// [`Error::NotFound`], [`Error::Ambiguous`] and [`Error::Invalid`] as for [`Self::resolve`].
    pub async fn descendants(
        &self,
        namespace: &Namespace,
        request: &Descendants,
    ) -> Result<Page<Descendant>, Error> {
        let asked = request.asked();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let page = self.page(namespace, &asked, &request.page)?;
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let list = BaseList::of(bases(&view, namespace, request).await?);
        let bases = &list.bases;
        let own: BTreeSet<ConfigId> = bases.iter().map(|base| base.id).collect();
        let (first, mut past) = place_of_descendant(&page, bases)?;
        let mut found = Gathered::new(page.items());
        let mut after = None;
        'page: for (i, base) in bases.iter().enumerate().skip(first) {
            let part = schema::layer_part(&base.top);
            let mut rest = Rows::starting_with(schema::layers(namespace), &part);
            if let Some(past) = past.take() {
                rest = rest.after([&part[..], &past].concat().into());
            }
            loop {
                let scanned = view.scan(&rest, STEP).await?;
                let rows = scanned
                    .rows
                    .iter()
                    .map(|(row, _)| schema::parse_layer_row(row));
                let rows: Vec<LayerRow> = rows.collect::<Result<_, Error>>()?;
                let ids: Vec<ConfigId> = rows.iter().map(|row| row.id).collect();
                let uppers = summaries(&view, namespace, &ids).await?;
                for (row, upper) in rows.into_iter().zip(uppers) {
                    found.rows += 1;
                    coop::consume_budget().await;
                    let built_on = upper.and_then(|upper| list.first_below(&upper));
                    let told =
                        built_on.filter(|built_on| built_on.base == i && !own.contains(&row.id));
                    if let Some(BuiltOn { by_layers_only, .. }) = told {
                        let layers = usize::from(row.above);
                        let (relative, rows) =
                            relative(&view, namespace, &row.id, layers, by_layers_only).await?;
                        found.rows += rows;
                        if let Some(relative) = relative {
                            let bytes = relative.weight();
                            let descendant = Descendant {
                                relative,
                                base: base.id,
                                generation: base.generation,
                                is_outdated: !base.is_current,
                            };
                            found.add(descendant, bytes);
                        }
                    }
                    if found.is_full() {
                        let place = place(row.above, &row.id);
                        let base = [&to_u32(i).to_be_bytes()[..], base.id.as_bytes()].concat();
                        after = Some([&base[..], &place].concat().into());
                        break 'page;
                    }
                }
                let Some(more) = scanned.rest(rest) else {
                    break;
                };
                rest = more;
            }
        }
        Ok(page.of(&view, found.items, after))
    }
}

/// The configs whose descendants are asked for, in their order: those that have layers.
async fn bases(
    view: &View<'_>,
    namespace: &Namespace,
    request: &Descendants,
) -> Result<Vec<Base>, Error> {
    let earlier = match &request.reference {
        Reference::Name(name, _) if request.earlier_generations => {
            ended_targets(view, namespace, name).await?
        }
        Reference::Name(..) | Reference::Id(_) => Vec::new(),
    };
    let chosen = |configs: Vec<Candidate>| match &request.platform {
        Some(platform) if configs.len() > 1 => {
            let best = best(&configs, platform);
            let is_best = |config: &Candidate| best.contains(&config.id);
            configs.into_iter().filter(is_best).collect()
        }
        Some(_) | None => configs,
    };
    let mut found: Vec<(Candidate, Option<Revision>, bool)> = Vec::new();
    match meant(view, namespace, &request.reference).await {
        Ok(Meant::One(id)) => {
            let summary = existing(view, namespace, &id).await?.summary;
            found.push((Candidate { id, summary }, None, true));
        }
        Ok(Meant::Name(named)) => {
            let configs = chosen(named.configs);
            if configs.is_empty() && earlier.is_empty() {
                return Err(unknown(namespace, named.name.as_str()));
            }
            let current = configs.into_iter();
            found.extend(current.map(|config| (config, Some(named.made), true)));
        }
        // Nothing stands for it any more.
        Err(Error::NotFound(Subject::Config(..))) if !earlier.is_empty() => {}
        Err(other) => return Err(other),
    }
    let mut known: HashSet<ConfigId> = found.iter().map(|(config, ..)| config.id).collect();
    for (made, target) in earlier {
        if found.len() >= MAX_BASES {
            break;
        }
        for config in chosen(configs_of(view, namespace, &target).await?) {
            if known.insert(config.id) {
                found.push((config, Some(made), false));
            }
        }
    }
    let with_layers = |(config, generation, is_current): (Candidate, _, _)| {
        let top = chain_ids(&config.summary.diff_ids).pop()?;
        Some(Base {
            id: config.id,
            summary: config.summary,
            top,
            generation,
            is_current,
        })
    };
    Ok(found.into_iter().filter_map(with_layers).collect())
}

/// What a name pointed to in its history, each target once, the newest generation first, and the revision that
/// made it.
async fn ended_targets(
    view: &View<'_>,
    namespace: &Namespace,
    name: &ImageName,
) -> Result<Vec<(Revision, Digest)>, Error> {
    let part = schema::history_part(name);
    let mut rest = Rows::starting_with(schema::history(namespace), &part).reversed();
    let (mut targets, mut known) = (Vec::new(), HashSet::new());
    loop {
        let found = view.scan(&rest, STEP).await?;
        let more = found.rest(rest);
        for (row, value) in found.rows {
            let (name, made) = schema::parse_history_row(&row)?;
            let ended = wire::decode_history(name, value.value)?;
            let target = *ended.row.image.target.digest();
            if known.insert(target) {
                targets.push((made, target));
            }
        }
        let Some(more) = more else {
            return Ok(targets);
        };
        rest = more;
    }
}

/// Where a page of descendants begins: at which base, and after which row. What a name stands for may have
/// changed since the page before: then at the base that has its place.
fn place_of_descendant(
    page: &ConfigPages<'_>,
    bases: &[Base],
) -> Result<(usize, Option<Bytes>), Error> {
    let Some(after) = page.after() else {
        return Ok((0, None));
    };
    let (i, rest) = after.split_first_chunk().ok_or_else(broken)?;
    let (id, past) = rest.split_first_chunk().ok_or_else(broken)?;
    let id = ConfigId::from_bytes(*id);
    match bases.iter().position(|base| base.id == id) {
        Some(i) => Ok((i, Some(Bytes::copy_from_slice(past)))),
        None => Ok((u32::from_be_bytes(*i) as usize, None)),
    }
}

impl Descendants {
    /// What a page token is good for.
    fn asked(&self) -> [String; 3] {
        [
            "descendants".to_owned(),
            format!("{:?} {:?}", self.reference, self.platform),
            self.earlier_generations.to_string(),
        ]
    }
}

// === impl BaseList ===

impl BaseList {
    fn of(bases: Vec<Base>) -> Self {
        let mut by_top: HashMap<ChainId, Vec<usize>> = HashMap::new();
        for (i, base) in bases.iter().enumerate() {
            by_top.entry(base.top.clone()).or_default().push(i);
        }
        Self { bases, by_top }
    }

    /// The first of the bases that a config is built on. Costs a look for each of its layers.
    fn first_below(&self, upper: &Summary) -> Option<BuiltOn> {
        let chain = chain_ids(&upper.diff_ids);
        let goes_on = |base: &usize| upper.continues_history(&self.bases[*base].summary);
        let (top, below) = chain.split_last()?;
        let of_lower = below
            .iter()
            .filter_map(|layer| self.by_top.get(layer)?.first());
        let of_same = self.by_top.get(top).into_iter().flatten();
        let base = *of_lower
            .chain(of_same.filter(|base| goes_on(base)).take(1))
            .min()?;
        Some(BuiltOn {
            base,
            by_layers_only: !goes_on(&base),
        })
    }
}
