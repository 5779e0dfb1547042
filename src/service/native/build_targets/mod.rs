//! `imagestore.v1.BuildTargets`.

mod parse;
mod watch;
mod wire;

use futures::StreamExt;
use tonic::{Request, Response, Status};

use super::claims::claim_message;
use super::wire::page;
use super::{at, namespace};
use crate::proto::v1 as pb;
use crate::service::status::refused;
use crate::store::{NextTarget, Store};

/// The service over a store.
pub struct Service {
    store: Store,
}

impl Service {
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
        }
    }
}

#[tonic::async_trait]
impl pb::build_targets_server::BuildTargets for Service {
    async fn apply(
        &self,
        request: Request<pb::ApplyTargetsRequest>,
    ) -> Result<Response<pb::ApplyTargetsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::apply(&metadata, request).map_err(refused)?;
        let targets = self.store.build_targets();
        let applied = targets.apply(&namespace, &request).await?;
        Ok(Response::new(pb::ApplyTargetsResponse {
            created: applied.value.created,
            updated: applied.value.updated,
            unchanged: applied.value.unchanged,
            deleted: applied.value.deleted,
            graph_revision: applied.value.graph_revision.0,
            revision: at(applied.revision),
        }))
    }

    async fn get(
        &self,
        request: Request<pb::GetTargetRequest>,
    ) -> Result<Response<pb::GetTargetResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let key = parse::key(&request.target).map_err(refused)?;
        let got = self.store.build_targets().get(&namespace, &key).await?;
        Ok(Response::new(pb::GetTargetResponse {
            target: Some(wire::target_message(got.value)),
            revision: at(got.revision),
        }))
    }

    async fn list(
        &self,
        request: Request<pb::ListTargetsRequest>,
    ) -> Result<Response<pb::ListTargetsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let selector = request.selector.as_ref();
        let (namespace, selector) =
            parse::selected(&metadata, &request.namespace, selector).map_err(refused)?;
        let page = page(request.page_size, request.page_token).map_err(refused)?;
        let targets = self.store.build_targets();
        let page = targets.list(&namespace, &selector, &page).await?;
        Ok(Response::new(pb::ListTargetsResponse {
            targets: page.items.into_iter().map(wire::target_message).collect(),
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteTargetRequest>,
    ) -> Result<Response<pb::DeleteTargetResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::delete(&metadata, &request).map_err(refused)?;
        let targets = self.store.build_targets();
        let gone = targets.delete(&namespace, &request).await?;
        Ok(Response::new(pb::DeleteTargetResponse {
            target: Some(wire::target_message(gone.value)),
            revision: at(gone.revision),
        }))
    }

    async fn resolve(
        &self,
        request: Request<pb::ResolveTargetsRequest>,
    ) -> Result<Response<pb::ResolveTargetsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, names) = parse::resolve(&metadata, &request).map_err(refused)?;
        let targets = self.store.build_targets();
        let labels = targets.resolve(&namespace, &names).await?;
        let texts = labels.value.iter().map(|label| label.as_str().to_owned());
        Ok(Response::new(pb::ResolveTargetsResponse {
            labels: texts.collect(),
            revision: at(labels.revision),
        }))
    }

    async fn transition(
        &self,
        request: Request<pb::TransitionTargetRequest>,
    ) -> Result<Response<pb::TransitionTargetResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::transition(&metadata, &request).map_err(refused)?;
        let targets = self.store.build_targets();
        let told = targets.transition(&namespace, &request).await?;
        Ok(Response::new(pb::TransitionTargetResponse {
            target: Some(wire::target_message(told.value.entry)),
            changed: told.value.changed,
            revision: at(told.revision),
        }))
    }

    async fn reset(
        &self,
        request: Request<pb::ResetTargetsRequest>,
    ) -> Result<Response<pb::ResetTargetsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::reset(&metadata, &request).map_err(refused)?;
        let targets = self.store.build_targets();
        let reset = targets.reset(&namespace, &request).await?;
        Ok(Response::new(pb::ResetTargetsResponse {
            targets: wire::keys_message(&reset.value),
            revision: at(reset.revision),
        }))
    }

    async fn observe(
        &self,
        request: Request<pb::ObserveTargetsRequest>,
    ) -> Result<Response<pb::ObserveTargetsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::observe(&metadata, &request).map_err(refused)?;
        let targets = self.store.build_targets();
        let observed = targets.observe(&namespace, &request).await?;
        let results = observed.value.into_iter().map(wire::observed_message);
        Ok(Response::new(pb::ObserveTargetsResponse {
            results: results.collect(),
            revision: at(observed.revision),
        }))
    }

    type WatchStream = watch::Responses;

    async fn watch(
        &self,
        request: Request<pb::WatchTargetsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let watch = watch::request(&metadata, &request).map_err(refused)?;
        let watch = self.store.build_targets().watch(watch).await?;
        Ok(Response::new(watch::responses(watch).boxed()))
    }

    async fn build_order(
        &self,
        request: Request<pb::BuildOrderRequest>,
    ) -> Result<Response<pb::BuildOrderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let selector = request.selector.as_ref();
        let (namespace, selector) =
            parse::selected(&metadata, &request.namespace, selector).map_err(refused)?;
        let targets = self.store.build_targets();
        let planned = targets.build_order(&namespace, &selector).await?;
        let order = planned.value.value;
        let wave = |wave: &Vec<_>| pb::BuildWave {
            targets: wire::keys_message(wave),
        };
        let external = order.external.iter().map(|image| image.as_str().to_owned());
        let blocked = order.blocked.into_iter().map(wire::blocked_message);
        Ok(Response::new(pb::BuildOrderResponse {
            waves: order.waves.iter().map(wave).collect(),
            existing: wire::keys_message(&order.existing),
            external: external.collect(),
            blocked: blocked.collect(),
            graph_revision: planned.value.graph_revision.0,
            revision: at(planned.revision),
        }))
    }

    async fn prune_order(
        &self,
        request: Request<pb::PruneOrderRequest>,
    ) -> Result<Response<pb::PruneOrderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let selector = request.selector.as_ref();
        let (namespace, selector) =
            parse::selected(&metadata, &request.namespace, selector).map_err(refused)?;
        let targets = self.store.build_targets();
        let order = targets.prune_order(&namespace, &selector).await?;
        Ok(Response::new(pb::PruneOrderResponse {
            targets: wire::keys_message(&order.value.value),
            graph_revision: order.value.graph_revision.0,
            revision: at(order.revision),
        }))
    }

    async fn dependents(
        &self,
        request: Request<pb::DependentsRequest>,
    ) -> Result<Response<pb::DependentsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, of, span) = parse::dependents(&metadata, &request).map_err(refused)?;
        let targets = self.store.build_targets();
        let found = targets
            .dependents(&namespace, &of, span, request.include_self)
            .await?;
        Ok(Response::new(pb::DependentsResponse {
            targets: wire::keys_message(&found.value.value),
            graph_revision: found.value.graph_revision.0,
            revision: at(found.revision),
        }))
    }

    async fn bump(
        &self,
        request: Request<pb::BumpTargetRequest>,
    ) -> Result<Response<pb::BumpTargetResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::bump(&metadata, &request).map_err(refused)?;
        let targets = self.store.build_targets();
        let bumped = targets.bump(&namespace, &request).await?;
        Ok(Response::new(pb::BumpTargetResponse {
            bumped: wire::bumped_message(&bumped.value),
            graph_revision: bumped.value.graph_revision.0,
            revision: at(bumped.revision),
        }))
    }

    async fn claim_next(
        &self,
        request: Request<pb::ClaimNextRequest>,
    ) -> Result<Response<pb::ClaimNextResponse>, Status> {
        use pb::claim_next_response::Result as Found;
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::claim(&metadata, &request).map_err(refused)?;
        let targets = self.store.build_targets();
        let next = targets.claim_next(&namespace, &request).await?;
        let found = match next.value {
            NextTarget::Claimed(claimed) => Found::Claimed(wire::claimed_message(*claimed)),
            NextTarget::Idle(idle) => Found::Idle(wire::idle_message(*idle)),
        };
        Ok(Response::new(pb::ClaimNextResponse {
            result: Some(found),
            revision: at(next.revision),
        }))
    }

    async fn renew(
        &self,
        request: Request<pb::RenewTargetRequest>,
    ) -> Result<Response<pb::RenewTargetResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::renew(&metadata, &request).map_err(refused)?;
        let targets = self.store.build_targets();
        let renewed = targets.renew(&namespace, &request).await?;
        Ok(Response::new(pb::RenewTargetResponse {
            claim: Some(claim_message(&renewed.value)),
            revision: at(renewed.revision),
        }))
    }

    async fn release(
        &self,
        request: Request<pb::ReleaseTargetRequest>,
    ) -> Result<Response<pb::ReleaseTargetResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::release(&metadata, &request).map_err(refused)?;
        let targets = self.store.build_targets();
        let released = targets.release(&namespace, &request).await?;
        Ok(Response::new(pb::ReleaseTargetResponse {
            revision: at(released.revision),
        }))
    }
}
