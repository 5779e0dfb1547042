//! Reading targets: one, a page of them, and what names stand for.

use bytes::Bytes;

use super::load::load;
use super::rows::{SeenTarget, not_found};
use super::{BuildTargets, TargetEntry};
use crate::domain::build::{Dependency, Label, TargetKey, TargetSelector};
use crate::domain::{Invalid, Namespace};
use crate::error::{Error, Subject};
use crate::kv::{Key, Versioned};
use crate::store::claims::SeenClaim;
use crate::store::edit::View;
use crate::store::page::Pages;
use crate::store::walk::Cursor;
use crate::store::watch::{self, TargetWatch, WatchTargets};
use crate::store::{At, Page, PageRequest, schema};

/// Bytes of records that a page holds at most, but for one.
const PAGE_BYTES: usize = 1 << 20;

impl BuildTargets<'_> {
    /// Follows the changes of a namespace's targets.
    ///
    /// [`Error::GoingAway`] when the store is about to be closed; [`Error::Compacted`] and
    /// [`Error::UnknownRevision`] for a start that the log does not have, and [`Error::TooManySnapshots`].
    pub async fn watch(&self, request: WatchTargets) -> Result<TargetWatch, Error> {
        watch::records(self.store, request).await
    }

    /// A target; [`Error::NotFound`] when there is none.
    pub async fn get(
        &self,
        namespace: &Namespace,
        key: &TargetKey,
    ) -> Result<At<TargetEntry>, Error> {
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let row = view.row(&schema::build_target_key(namespace, key)).await?;
        let row = row.ok_or_else(|| not_found(namespace, key))?;
        let seen = SeenTarget::of(key.clone(), row)?;
        let mut entries = entries(&view, namespace, vec![seen]).await?;
        Ok(At {
            value: entries.remove(0),
            revision: view.revision(),
        })
    }

    /// A page of a selection, by name and age of the version.
    ///
    /// [`Error::Invalid`] for a page token of another request or store.
    pub async fn list(
        &self,
        namespace: &Namespace,
        selector: &TargetSelector,
        page: &PageRequest,
    ) -> Result<Page<TargetEntry>, Error> {
        let asked = asked(namespace, selector);
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let pages = Pages::parse(self.store.id(), &asked, page)?;
        let after = pages.after.as_ref().map(|cursor| after(&cursor.row));
        let after = after.transpose()?;
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let loaded = load(self.store, &view, namespace).await?;
        let (mut found, mut bytes, mut last) = (Vec::new(), 0, None);
        let mut has_more = false;
        for seen in loaded.after(after.as_ref()) {
            if !seen.is_selected(selector) {
                continue;
            }
            bytes += seen.bytes;
            if found.len() == pages.items || (bytes > PAGE_BYTES && !found.is_empty()) {
                has_more = true;
                break;
            }
            last = Some(seen.target());
            found.push(seen.clone());
        }
        let next = last.filter(|_| has_more);
        let next = next.map(|last| Cursor {
            namespace: namespace.clone(),
            row: schema::build_target_row(last),
        });
        Ok(Page {
            items: entries(&view, namespace, found).await?,
            next_token: next.map_or_else(String::new, |next| pages.token_after(&next)),
            revision: view.revision(),
        })
    }

    /// The labels of the newest versions that names stand for, in their order. [`Error::NotFound`] for one that stands
    /// for none; [`Error::Invalid`] for more than [`Self::MAX_RESOLVED`].
    pub async fn resolve(
        &self,
        namespace: &Namespace,
        names: &[Dependency],
    ) -> Result<At<Vec<Label>>, Error> {
        let (many, most) = (names.len(), Self::MAX_RESOLVED);
        if !(1..=most).contains(&many) {
            let reason = format!("must be 1 to {most}, not {many}");
            return Err(Invalid::new("names", reason).into());
        }
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let loaded = load(self.store, &view, namespace).await?;
        let graph = loaded.graph()?;
        let label = |dependency: &Dependency| {
            let found = graph.resolve(dependency);
            let unknown = || Subject::Target(namespace.clone(), dependency.to_string());
            let found = found.ok_or_else(|| Error::NotFound(unknown()))?;
            Ok(found.label().clone())
        };
        Ok(At {
            value: names.iter().map(label).collect::<Result<_, Error>>()?,
            revision: view.revision(),
        })
    }
}

/// What a token of a listing must have been given for.
fn asked(namespace: &Namespace, selector: &TargetSelector) -> Vec<String> {
    let glob = selector.glob.as_ref();
    let states = selector.states.iter().map(|state| state.name().to_owned());
    [
        "build targets".to_owned(),
        namespace.to_string(),
        glob.map(|glob| glob.as_str().to_owned())
            .unwrap_or_default(),
    ]
    .into_iter()
    .chain(states)
    .collect()
}

fn after(row: &Bytes) -> Result<TargetKey, Invalid> {
    let broken = |_| Invalid::new("page_token", "is none that this service gave");
    schema::parse_build_target(row).map_err(broken)
}

/// The targets with who is at them.
async fn entries(
    view: &View<'_>,
    namespace: &Namespace,
    targets: Vec<SeenTarget>,
) -> Result<Vec<TargetEntry>, Error> {
    let claims: Vec<Key> = targets
        .iter()
        .map(|seen| schema::build_claim_key(namespace, seen.target()))
        .collect();
    let claims = view.get(&claims).await?.into_iter();
    let now = view.moment.steady;
    let entry = |(seen, claim): (SeenTarget, Option<Versioned>)| {
        let claim = claim.map(SeenClaim::of).transpose()?;
        let claim = SeenClaim::live(claim.as_ref(), now).cloned();
        Ok(seen.entry(namespace, claim))
    };
    targets.into_iter().zip(claims).map(entry).collect()
}
