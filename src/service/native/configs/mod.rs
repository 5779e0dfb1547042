//! `imagestore.v1.Configs`.

mod parse;
pub(super) mod wire;

use tonic::{Request, Response, Status};

use super::wire::{count_message, page};
use super::{at, namespace};
use crate::domain::ConfigId;
use crate::proto::v1 as pb;
use crate::service::status::refused;
use crate::store::{Descendants, Store};

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

fn texts(ids: &[ConfigId]) -> Vec<String> {
    ids.iter().map(ConfigId::to_string).collect()
}

fn text(id: Option<ConfigId>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

#[tonic::async_trait]
impl pb::configs_server::Configs for Service {
    async fn create(
        &self,
        request: Request<pb::CreateConfigRequest>,
    ) -> Result<Response<pb::CreateConfigResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::create(&metadata, request).map_err(refused)?;
        let made = self.store.configs().create(&namespace, &request).await?;
        Ok(Response::new(pb::CreateConfigResponse {
            config: Some(wire::config_message(made.value.stored)),
            created: made.value.created,
            changed: made.value.changed,
            revision: at(made.revision),
        }))
    }

    async fn get(
        &self,
        request: Request<pb::GetConfigRequest>,
    ) -> Result<Response<pb::GetConfigResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let asked = parse::Asked {
            namespace: &request.namespace,
            reference: &request.reference,
            platform: request.platform,
        };
        let (namespace, reference, platform) = asked.parse(&metadata).map_err(refused)?;
        let configs = self.store.configs();
        let got = configs
            .get(&namespace, &reference, platform.as_ref())
            .await?;
        Ok(Response::new(pb::GetConfigResponse {
            raw: got.value.bytes.clone(),
            config: Some(wire::config_message(got.value)),
            revision: at(got.revision),
        }))
    }

    async fn list(
        &self,
        request: Request<pb::ListConfigsRequest>,
    ) -> Result<Response<pb::ListConfigsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let is_full = parse::is_full(request.view).map_err(refused)?;
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let page = page(request.page_size, request.page_token).map_err(refused)?;
        let (configs, heads_only) = (self.store.configs(), request.heads_only);
        let page = match is_full {
            true => {
                let page = configs.list_full(&namespace, heads_only, &page).await?;
                page.map(wire::config_message)
            }
            false => {
                let page = configs.list(&namespace, heads_only, &page).await?;
                page.map(wire::entry_message)
            }
        };
        Ok(Response::new(pb::ListConfigsResponse {
            configs: page.items,
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteConfigRequest>,
    ) -> Result<Response<pb::DeleteConfigResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::delete(&metadata, &request).map_err(refused)?;
        let gone = self.store.configs().delete(&namespace, &request).await?;
        let unreferenced = gone.value.unreferenced.into_iter();
        Ok(Response::new(pb::DeleteConfigResponse {
            id: gone.value.id.to_string(),
            unreferenced: unreferenced.map(wire::layer_message).collect(),
            orphans: count_message(gone.value.orphans),
            revision: at(gone.revision),
        }))
    }

    async fn set_parent(
        &self,
        request: Request<pb::SetConfigParentRequest>,
    ) -> Result<Response<pb::SetConfigParentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::set_parent(&metadata, &request).map_err(refused)?;
        let set = self
            .store
            .configs()
            .set_parent(&namespace, &request)
            .await?;
        Ok(Response::new(pb::SetConfigParentResponse {
            changed: set.value.changed,
            previous: text(set.value.previous),
            revision: at(set.revision),
        }))
    }

    async fn get_parent(
        &self,
        request: Request<pb::GetConfigParentRequest>,
    ) -> Result<Response<pb::GetConfigParentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let id = parse::id(&request.id).map_err(refused)?;
        let parent = self.store.configs().parent(&namespace, &id).await?;
        Ok(Response::new(pb::GetConfigParentResponse {
            parent: text(parent.value),
            revision: at(parent.revision),
        }))
    }

    async fn children(
        &self,
        request: Request<pb::ConfigChildrenRequest>,
    ) -> Result<Response<pb::ConfigChildrenResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let id = parse::id(&request.id).map_err(refused)?;
        let page = page(request.page_size, request.page_token).map_err(refused)?;
        let page = self
            .store
            .configs()
            .children(&namespace, &id, &page)
            .await?;
        Ok(Response::new(pb::ConfigChildrenResponse {
            ids: texts(&page.items),
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }

    async fn ancestors(
        &self,
        request: Request<pb::ConfigAncestorsRequest>,
    ) -> Result<Response<pb::ConfigAncestorsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let id = parse::id(&request.id).map_err(refused)?;
        let page = page(request.page_size, request.page_token).map_err(refused)?;
        let page = self
            .store
            .configs()
            .ancestors(&namespace, &id, &page)
            .await?;
        Ok(Response::new(pb::ConfigAncestorsResponse {
            ids: texts(&page.items),
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }

    async fn resolve(
        &self,
        request: Request<pb::ResolveConfigRequest>,
    ) -> Result<Response<pb::ResolveConfigResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let asked = parse::Asked {
            namespace: &request.namespace,
            reference: &request.reference,
            platform: request.platform,
        };
        let (namespace, reference, platform) = asked.parse(&metadata).map_err(refused)?;
        let configs = self.store.configs();
        let found = configs
            .resolve(&namespace, &reference, platform.as_ref())
            .await?;
        Ok(Response::new(pb::ResolveConfigResponse {
            id: found.value.to_string(),
            revision: at(found.revision),
        }))
    }

    async fn mark(
        &self,
        request: Request<pb::MarkConfigRequest>,
    ) -> Result<Response<pb::MarkConfigResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::mark(&metadata, &request).map_err(refused)?;
        let marked = self.store.configs().mark(&namespace, &request).await?;
        Ok(Response::new(pb::MarkConfigResponse {
            config: Some(wire::entry_message(marked.value.entry)),
            changed: marked.value.changed,
            revision: at(marked.revision),
        }))
    }

    async fn link(
        &self,
        request: Request<pb::LinkConfigRequest>,
    ) -> Result<Response<pb::LinkConfigResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::link(&metadata, &request).map_err(refused)?;
        let linked = self.store.configs().link(&namespace, &request).await?;
        Ok(Response::new(pb::LinkConfigResponse {
            changed: linked.value,
            revision: at(linked.revision),
        }))
    }

    async fn unlink(
        &self,
        request: Request<pb::UnlinkConfigRequest>,
    ) -> Result<Response<pb::UnlinkConfigResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, request) = parse::unlink(&metadata, &request).map_err(refused)?;
        let unlinked = self.store.configs().unlink(&namespace, &request).await?;
        Ok(Response::new(pb::UnlinkConfigResponse {
            changed: unlinked.value,
            revision: at(unlinked.revision),
        }))
    }

    async fn base_of(
        &self,
        request: Request<pb::BaseOfRequest>,
    ) -> Result<Response<pb::BaseOfResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let asked = parse::Asked {
            namespace: &request.namespace,
            reference: &request.reference,
            platform: request.platform,
        };
        let (namespace, reference, platform) = asked.parse(&metadata).map_err(refused)?;
        let page = page(request.page_size, request.page_token).map_err(refused)?;
        let configs = self.store.configs();
        let bases = configs
            .base_of(&namespace, &reference, platform.as_ref(), &page)
            .await?;
        let page = bases.page;
        Ok(Response::new(pb::BaseOfResponse {
            id: bases.id.to_string(),
            bases: page.items.into_iter().map(wire::relative_message).collect(),
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }

    async fn descendants(
        &self,
        request: Request<pb::DescendantsRequest>,
    ) -> Result<Response<pb::DescendantsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let asked = parse::Asked {
            namespace: &request.namespace,
            reference: &request.reference,
            platform: request.platform,
        };
        let (namespace, reference, platform) = asked.parse(&metadata).map_err(refused)?;
        let asked = Descendants {
            reference,
            platform,
            earlier_generations: request.earlier_generations,
            page: page(request.page_size, request.page_token).map_err(refused)?,
        };
        let page = self.store.configs().descendants(&namespace, &asked).await?;
        let descendants = page.items.into_iter().map(wire::descendant_message);
        Ok(Response::new(pb::DescendantsResponse {
            descendants: descendants.collect(),
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }

    async fn layer_users(
        &self,
        request: Request<pb::LayerUsersRequest>,
    ) -> Result<Response<pb::LayerUsersResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let namespace = namespace(&request.namespace, &metadata).map_err(refused)?;
        let layer = parse::layer(&request.chain_id).map_err(refused)?;
        let page = page(request.page_size, request.page_token).map_err(refused)?;
        let configs = self.store.configs();
        let page = configs.layer_users(&namespace, &layer, &page).await?;
        Ok(Response::new(pb::LayerUsersResponse {
            ids: texts(&page.items),
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }
}
