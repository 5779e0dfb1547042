//! `imagestore.v1.Builders`.

mod parse;
mod wire;

use tonic::{Request, Response, Status};

use super::claims::claim_message;
use super::wire::page;
use super::{at, namespace};
use crate::domain::build::Token;
use crate::proto::v1 as pb;
use crate::service::status::refused;
use crate::service::time_message;
use crate::store::Store;

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
impl pb::builders_server::Builders for Service {
    async fn put(
        &self,
        request: Request<pb::PutBuilderRequest>,
    ) -> Result<Response<pb::PutBuilderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::put(&metadata, request).map_err(refused)?;
        let put = self.store.builders().put(&namespace, &request).await?;
        Ok(Response::new(pb::PutBuilderResponse {
            builder: Some(wire::entry_message(put.value.entry)),
            changed: put.value.changed,
            created: put.value.created,
            revision: at(put.revision),
        }))
    }

    async fn get(
        &self,
        request: Request<pb::GetBuilderRequest>,
    ) -> Result<Response<pb::GetBuilderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let key = parse::key(request.key).map_err(refused)?;
        let got = self.store.builders().get(&namespace, &key).await?;
        Ok(Response::new(pb::GetBuilderResponse {
            builder: Some(wire::builder_message(got.value)),
            revision: at(got.revision),
        }))
    }

    async fn list(
        &self,
        request: Request<pb::ListBuildersRequest>,
    ) -> Result<Response<pb::ListBuildersResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let page = page(request.page_size, request.page_token).map_err(refused)?;
        let builders = self.store.builders();
        let page = builders
            .list(&namespace, &request.base_prefix, &page)
            .await?;
        Ok(Response::new(pb::ListBuildersResponse {
            builders: page.items.into_iter().map(wire::entry_message).collect(),
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteBuilderRequest>,
    ) -> Result<Response<pb::DeleteBuilderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::delete(&metadata, request).map_err(refused)?;
        let gone = self.store.builders().delete(&namespace, &request).await?;
        Ok(Response::new(pb::DeleteBuilderResponse {
            builder: Some(wire::builder_message(gone.value)),
            revision: at(gone.revision),
        }))
    }

    async fn acquire(
        &self,
        request: Request<pb::AcquireBuilderRequest>,
    ) -> Result<Response<pb::AcquireBuilderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::acquire(&metadata, request).map_err(refused)?;
        let acquired = self.store.builders().acquire(&namespace, &request).await?;
        let answer = wire::acquired_message(acquired.value, at(acquired.revision));
        Ok(Response::new(answer))
    }

    async fn complete(
        &self,
        request: Request<pb::CompleteBuilderRequest>,
    ) -> Result<Response<pb::CompleteBuilderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::complete(&metadata, request).map_err(refused)?;
        let completed = self.store.builders().complete(&namespace, &request).await?;
        Ok(Response::new(pb::CompleteBuilderResponse {
            generation: Some(wire::generation_message(completed.value.generation)),
            pin: completed.value.pin.map(wire::pin_message),
            revision: at(completed.revision),
        }))
    }

    async fn abandon(
        &self,
        request: Request<pb::AbandonBuilderRequest>,
    ) -> Result<Response<pb::AbandonBuilderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::abandon(&metadata, request).map_err(refused)?;
        let abandoned = self.store.builders().abandon(&namespace, &request).await?;
        Ok(Response::new(pb::AbandonBuilderResponse {
            retry_at: abandoned.value.map(time_message),
            revision: at(abandoned.revision),
        }))
    }

    async fn renew(
        &self,
        request: Request<pb::RenewBuilderRequest>,
    ) -> Result<Response<pb::RenewBuilderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let key = parse::key(request.key).map_err(refused)?;
        let token = Token(request.token);
        let renewed = self.store.builders().renew(&namespace, &key, token).await?;
        Ok(Response::new(pb::RenewBuilderResponse {
            claim: Some(claim_message(&renewed.value)),
            revision: at(renewed.revision),
        }))
    }

    async fn renew_pin(
        &self,
        request: Request<pb::RenewPinRequest>,
    ) -> Result<Response<pb::RenewPinResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let key = parse::key(request.key).map_err(refused)?;
        let pin = request.pin.parse().map_err(refused)?;
        let builders = self.store.builders();
        let renewed = builders.renew_pin(&namespace, &key, pin).await?;
        Ok(Response::new(pb::RenewPinResponse {
            pin: Some(wire::pin_message(renewed.value)),
            revision: at(renewed.revision),
        }))
    }

    async fn unpin(
        &self,
        request: Request<pb::UnpinBuilderRequest>,
    ) -> Result<Response<pb::UnpinBuilderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let key = parse::key(request.key).map_err(refused)?;
        let pin = request.pin.parse().map_err(refused)?;
        let unpinned = self.store.builders().unpin(&namespace, &key, pin).await?;
        Ok(Response::new(pb::UnpinBuilderResponse {
            changed: unpinned.value,
            revision: at(unpinned.revision),
        }))
    }

    async fn report(
        &self,
        request: Request<pb::ReportBuilderRequest>,
    ) -> Result<Response<pb::ReportBuilderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::report(&metadata, request).map_err(refused)?;
        let reported = self.store.builders().report(&namespace, &request).await?;
        let effects = reported.value.effects.into_iter();
        Ok(Response::new(pb::ReportBuilderResponse {
            effects: effects.map(wire::effect_message).collect(),
            changed: reported.value.changed,
            revision: at(reported.revision),
        }))
    }

    async fn prune(
        &self,
        request: Request<pb::PruneBuilderRequest>,
    ) -> Result<Response<pb::PruneBuilderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::prune(&metadata, request).map_err(refused)?;
        let pruned = self.store.builders().prune(&namespace, &request).await?;
        let decisions = pruned.value.judged.into_iter();
        Ok(Response::new(pb::PruneBuilderResponse {
            decisions: decisions.map(wire::judged_message).collect(),
            changed: pruned.value.changed,
            revision: at(pruned.revision),
        }))
    }

    async fn confirm_removed(
        &self,
        request: Request<pb::ConfirmRemovedRequest>,
    ) -> Result<Response<pb::ConfirmRemovedResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::confirm(&metadata, request).map_err(refused)?;
        let builders = self.store.builders();
        let confirmed = builders.confirm_removed(&namespace, &request).await?;
        Ok(Response::new(pb::ConfirmRemovedResponse {
            effect: wire::effect_message(confirmed.value.effect),
            changed: confirmed.value.changed,
            revision: at(confirmed.revision),
        }))
    }
}
