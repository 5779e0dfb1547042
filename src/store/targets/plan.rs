//! What follows from the graph: orders, and what is built on what.

use super::load::{Loaded, load};
use super::rows::not_found;
use super::{BuildTargets, Dependents, OfGraph};
use crate::domain::Namespace;
use crate::domain::build::{BuildOrder, Span, TargetKey, TargetSelector};
use crate::error::Error;
use crate::store::At;

impl BuildTargets<'_> {
    /// What is to be built of a selection, with all below it that is to be built, in waves.
    pub async fn build_order(
        &self,
        namespace: &Namespace,
        selector: &TargetSelector,
    ) -> Result<At<OfGraph<BuildOrder>>, Error> {
        self.of_graph(namespace, |loaded| {
            let selects = |target: &_, state| selector.selects(target, state);
            Ok(loaded.graph()?.build_order(selects))
        })
        .await
    }

    /// A selection in an order in which it can be removed: what is built on something before that.
    pub async fn prune_order(
        &self,
        namespace: &Namespace,
        selector: &TargetSelector,
    ) -> Result<At<OfGraph<Vec<TargetKey>>>, Error> {
        self.of_graph(namespace, |loaded| {
            let selects = |target: &_, state| selector.selects(target, state);
            Ok(loaded.graph()?.prune_order(selects))
        })
        .await
    }

    /// What is built on something, in an order in which it could be built. [`Error::NotFound`] for an unknown target.
    pub async fn dependents(
        &self,
        namespace: &Namespace,
        of: &Dependents,
        span: Span,
        is_with_self: bool,
    ) -> Result<At<OfGraph<Vec<TargetKey>>>, Error> {
        self.of_graph(namespace, |loaded| {
            let graph = loaded.graph()?;
            match of {
                Dependents::Of(key) if loaded.get(key).is_none() => Err(not_found(namespace, key)),
                Dependents::Of(key) => {
                    Ok(graph.dependents(span, is_with_self, |target, _| target.key() == key))
                }
                Dependents::OfSelected(selector) => {
                    let selects = |target: &_, state| selector.selects(target, state);
                    Ok(graph.dependents(span, is_with_self, selects))
                }
            }
        })
        .await
    }

    async fn of_graph<T>(
        &self,
        namespace: &Namespace,
        learn: impl FnOnce(&Loaded) -> Result<T, Error>,
    ) -> Result<At<OfGraph<T>>, Error> {
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let loaded = load(self.store, &view, namespace).await?;
        Ok(At {
            value: loaded.of_graph(learn(&loaded)?),
            revision: view.revision(),
        })
    }
}
