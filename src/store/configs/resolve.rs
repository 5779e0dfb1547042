//! Which config a reference stands for.

use std::ops::Bound;

use super::Configs;
use super::rows::{link_to, not_found};
use crate::domain::{ConfigId, Otherwise, Reference};
use crate::domain::{Digest, ImageName, Namespace, RunPlatform};
use crate::error::{Error, Subject};
use crate::kv::{Revision, Rows};
use crate::store::edit::View;
use crate::store::wire::{self, Summary};
use crate::store::{At, schema};

/// What a reference stands for.
#[derive(Clone, Debug)]
pub enum Meant {
    /// A config that is there, or was when it was looked for.
    One(ConfigId),
    /// The name of a record.
    Name(Named),
}

/// A record, and the configs that its target has.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: ImageName,
    /// The revision that made the record.
    pub made: Revision,
    pub configs: Vec<Candidate>,
}

/// A config that a target has.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub id: ConfigId,
    pub summary: Summary,
}

/// The one config that a reference stands for.
///
/// [`Error::NotFound`]; [`Error::Ambiguous`] where it may be several.
pub async fn resolve(
    view: &View<'_>,
    namespace: &Namespace,
    reference: &Reference,
    platform: Option<&RunPlatform>,
) -> Result<ConfigId, Error> {
    let named = match meant(view, namespace, reference).await? {
        Meant::One(id) => return Ok(id),
        Meant::Name(named) => named,
    };
    let text = named.name.as_str();
    let left = match platform {
        Some(platform) if named.configs.len() > 1 => best(&named.configs, platform),
        Some(_) | None => named.configs.iter().map(|config| config.id).collect(),
    };
    match left[..] {
        [] => Err(unknown(namespace, text)),
        [id] => Ok(id),
        _ => Err(ambiguous(namespace, text, left)),
    }
}

/// Those of some configs that suit a platform best.
pub fn best(configs: &[Candidate], platform: &RunPlatform) -> Vec<ConfigId> {
    let suits = |config: &Candidate| {
        let preference = platform.preference(&config.summary.platform)?;
        Some((preference, config.id))
    };
    let mut suitable: Vec<_> = configs.iter().filter_map(suits).collect();
    suitable.sort_unstable();
    let is_best = |(preference, _): &(_, ConfigId)| *preference == suitable[0].0;
    let best = suitable.iter().take_while(|found| is_best(found));
    best.map(|(_, id)| *id).collect()
}

/// What a reference stands for: the config of that id, and no other; otherwise the record of that name; otherwise
/// the one config whose id begins so.
///
/// [`Error::NotFound`], [`Error::Ambiguous`] for the beginning of several ids, [`Error::Invalid`] for what can
/// only be meant as the beginning of an id, and is none.
pub async fn meant(
    view: &View<'_>,
    namespace: &Namespace,
    reference: &Reference,
) -> Result<Meant, Error> {
    let (name, otherwise) = match reference {
        Reference::Id(id) => {
            let is_there = is_there(view, namespace, id).await?;
            return is_there
                .then_some(Meant::One(*id))
                .ok_or_else(|| not_found(namespace, id));
        }
        Reference::Name(name, otherwise) => (name, otherwise),
    };
    let record = view.row(&schema::image_key(namespace, name)).await?;
    if let Some(record) = record {
        let made = record.revision;
        let image = wire::decode_image(name.clone(), record.value)?.image;
        let target = image.target.digest();
        return Ok(Meant::Name(Named {
            name: name.clone(),
            made,
            configs: configs_of(view, namespace, target).await?,
        }));
    }
    let prefix = match otherwise {
        Otherwise::Prefix(prefix) => prefix,
        Otherwise::Refused(refusal) => return Err(refusal.clone().into()),
        Otherwise::Nothing => return Err(unknown(namespace, name.as_str())),
    };
    let (first, last) = prefix.range();
    let rows = Rows {
        from: Bound::Included(schema::config_row(&first)),
        to: Bound::Included(schema::config_row(&last)),
        ..Rows::all(schema::marks(namespace))
    };
    let found = view.scan(&rows, Configs::MAX_CANDIDATES + 1).await?.rows;
    let ids = found.iter().map(|(row, _)| schema::parse_config(row));
    let ids: Vec<ConfigId> = ids.collect::<Result<_, Error>>()?;
    match ids[..] {
        [] => Err(unknown(namespace, name.as_str())),
        [id] => Ok(Meant::One(id)),
        _ => Err(ambiguous(namespace, name.as_str(), ids)),
    }
}

/// The configs that a target has: the one that it is, and those that were linked to it.
pub async fn configs_of(
    view: &View<'_>,
    namespace: &Namespace,
    target: &Digest,
) -> Result<Vec<Candidate>, Error> {
    let itself = ConfigId::try_from(target).ok();
    let part = schema::digest_part(target);
    let linked = Rows::starting_with(schema::targets(namespace), &part);
    let found = view.scan(&linked, Configs::MAX_OF_TARGET + 1).await?.rows;
    if found.len() > Configs::MAX_OF_TARGET {
        return Err(Error::corrupt(format!(
            "{target} has more than {} configs",
            Configs::MAX_OF_TARGET
        )));
    }
    let ids = found.iter().map(|(row, _)| schema::parse_target_row(row));
    let ids = ids.map(|row| row.map(|(_, id)| id));
    let mut ids: Vec<ConfigId> = ids.collect::<Result<_, Error>>()?;
    ids.extend(itself.filter(|id| !ids.contains(id)));
    let keys: Vec<_> = ids
        .iter()
        .map(|id| schema::summary_key(namespace, id))
        .collect();
    let mut configs = Vec::with_capacity(ids.len());
    for (id, row) in ids.into_iter().zip(view.get(&keys).await?) {
        // A target is a config itself only where there is one.
        let Some(row) = row else { continue };
        let summary = wire::decode_summary(&id, row.value)?;
        configs.push(Candidate { id, summary });
    }
    Ok(configs)
}

/// Whether a config is there, and be it in pieces.
pub async fn is_there(
    view: &View<'_>,
    namespace: &Namespace,
    id: &ConfigId,
) -> Result<bool, Error> {
    if link_to(view, namespace, id).await?.is_some() {
        return Ok(true);
    }
    let rest = [
        schema::marks_key(namespace, id),
        schema::config_key(namespace, id),
    ];
    Ok(view.get(&rest).await?.iter().any(Option::is_some))
}

pub fn unknown(namespace: &Namespace, reference: &str) -> Error {
    Error::NotFound(Subject::Config(namespace.clone(), reference.to_owned()))
}

fn ambiguous(namespace: &Namespace, reference: &str, mut candidates: Vec<ConfigId>) -> Error {
    candidates.sort_unstable();
    let has_more = candidates.len() > Configs::MAX_CANDIDATES;
    candidates.truncate(Configs::MAX_CANDIDATES);
    Error::Ambiguous {
        namespace: namespace.clone(),
        reference: reference.to_owned(),
        candidates,
        has_more,
    }
}

impl Configs<'_> {
    /// The config that a reference stands for: the one of that id, and no other; otherwise that of the record of
    /// that name; otherwise the one whose id begins so. Of several that a name stands for, the one that suits the
    /// platform best.
    ///
    /// [`Error::NotFound`]; [`Error::Ambiguous`] where it may be several; [`Error::Invalid`] for what can only be
    /// meant as the beginning of an id, and is none.
    pub async fn resolve(
        &self,
        namespace: &Namespace,
        reference: &Reference,
        platform: Option<&RunPlatform>,
    ) -> Result<At<ConfigId>, Error> {
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        Ok(At {
            value: resolve(&view, namespace, reference, platform).await?,
            revision: view.revision(),
        })
    }
}
