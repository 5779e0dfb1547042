//! `imagestore.v1.Namespaces`.

use tonic::{Request, Response, Status};

use super::{at, once, wire};
use crate::domain::{Dating, Invalid, Namespace};
use crate::proto::v1 as pb;
use crate::service::status::refused;
use crate::store::{DeleteNamespace, PutNamespace, Store};

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

fn name(text: &str, field: &'static str) -> Result<Namespace, Invalid> {
    let name: Namespace = text.parse().map_err(|e: Invalid| e.at(field))?;
    tracing::Span::current().record("namespace", name.as_str());
    Ok(name)
}

fn put(request: &pb::PutNamespaceRequest) -> Result<PutNamespace, Invalid> {
    let namespace = request
        .namespace
        .as_ref()
        .ok_or_else(|| Invalid::new("namespace", "must be set"))?;
    let name = name(&namespace.name, "namespace.name")?;
    Ok(PutNamespace {
        change: wire::namespace_change(request.update_mask.clone(), namespace)?,
        dating: Dating::Changes,
        when: wire::precondition(request.must_not_exist, &request.if_etag, "")?,
        validate_only: request.validate_only,
        request: once(&request.request_id, "Namespaces.Put", &name, request)?,
        name,
    })
}

fn delete(request: &pb::DeleteNamespaceRequest) -> Result<DeleteNamespace, Invalid> {
    let name = name(&request.name, "name")?;
    Ok(DeleteNamespace {
        request: once(&request.request_id, "Namespaces.Delete", &name, request)?,
        name,
        force: request.force,
        when: wire::precondition(false, &request.if_etag, "")?,
        validate_only: request.validate_only,
    })
}

#[tonic::async_trait]
impl pb::namespaces_server::Namespaces for Service {
    async fn put(
        &self,
        request: Request<pb::PutNamespaceRequest>,
    ) -> Result<Response<pb::PutNamespaceResponse>, Status> {
        let request = put(request.get_ref()).map_err(refused)?;
        let put = self.store.namespaces().put(&request).await?;
        Ok(Response::new(pb::PutNamespaceResponse {
            namespace: Some(wire::namespace_message(put.value.entry)),
            changed: put.value.changed,
            created: put.value.created,
            revision: at(put.revision),
        }))
    }

    async fn get(
        &self,
        request: Request<pb::GetNamespaceRequest>,
    ) -> Result<Response<pb::GetNamespaceResponse>, Status> {
        let name = name(&request.get_ref().name, "name").map_err(refused)?;
        let entry = self.store.namespaces().get(&name).await?;
        Ok(Response::new(pb::GetNamespaceResponse {
            namespace: Some(wire::namespace_message(entry.value)),
            revision: at(entry.revision),
        }))
    }

    async fn list(
        &self,
        request: Request<pb::ListNamespacesRequest>,
    ) -> Result<Response<pb::ListNamespacesResponse>, Status> {
        let request = request.into_inner();
        let page = wire::page(request.page_size, request.page_token).map_err(refused)?;
        let page = self
            .store
            .namespaces()
            .list(&request.name_prefix, &page)
            .await?;
        Ok(Response::new(pb::ListNamespacesResponse {
            namespaces: page
                .items
                .into_iter()
                .map(wire::namespace_message)
                .collect(),
            next_page_token: page.next_token,
            revision: at(page.revision),
        }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteNamespaceRequest>,
    ) -> Result<Response<pb::DeleteNamespaceResponse>, Status> {
        let request = delete(request.get_ref()).map_err(refused)?;
        let deleted = self.store.namespaces().delete(&request).await?;
        Ok(Response::new(pb::DeleteNamespaceResponse {
            namespace: Some(wire::namespace_message(deleted.value)),
            revision: at(deleted.revision),
        }))
    }
}
