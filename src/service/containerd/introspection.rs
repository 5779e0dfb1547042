//! `containerd.services.introspection.v1.Introspection`: the services as the plugins that they are in
//! containerd.

use std::borrow::Cow;
use std::fmt::Write;

use tonic::{Request, Response, Status};

use super::error::bad_filter;
use crate::domain::{Dialect, Filter, Subject, Value};
use crate::proto::containerd::services::introspection::v1 as pb;
use crate::service::Process;
use crate::store::{Store, StoreId};

/// The service over a store.
pub struct Service {
    store: Store,
    process: Process,
}

impl Service {
    pub fn new(store: &Store, process: Process) -> Self {
        Self {
            store: store.clone(),
            process,
        }
    }
}

/// A part of the server; none is of a platform, and none can fail by itself.
struct Plugin {
    kind: &'static str,
    id: &'static str,
    /// Kinds of plugins.
    requires: &'static [&'static str],
}

const METADATA: &str = "io.containerd.metadata.v1";
const EVENT: &str = "io.containerd.event.v1";
const SERVICE: &str = "io.containerd.service.v1";
const TRANSFER: &str = "io.containerd.transfer.v1";
const GRPC: &str = "io.containerd.grpc.v1";

/// What there is, in the order in which containerd starts it.
const PLUGINS: [Plugin; 17] = [
    plugin(METADATA, "imagestore", &[]),
    plugin(EVENT, "exchange", &[]),
    plugin(SERVICE, "introspection-service", &[]),
    plugin(SERVICE, "content-service", &[EVENT, METADATA]),
    plugin(SERVICE, "images-service", &[METADATA]),
    plugin(SERVICE, "leases-service", &[METADATA]),
    plugin(SERVICE, "namespaces-service", &[EVENT, METADATA]),
    plugin(TRANSFER, "local", &[METADATA]),
    plugin(GRPC, "introspection", &[SERVICE]),
    plugin(GRPC, "content", &[SERVICE]),
    plugin(GRPC, "events", &[EVENT]),
    plugin(GRPC, "healthcheck", &[]),
    plugin(GRPC, "images", &[SERVICE]),
    plugin(GRPC, "leases", &[SERVICE]),
    plugin(GRPC, "namespaces", &[SERVICE]),
    plugin(GRPC, "transfer", &[TRANSFER]),
    plugin(GRPC, "version", &[]),
];

const fn plugin(kind: &'static str, id: &'static str, requires: &'static [&'static str]) -> Plugin {
    Plugin { kind, id, requires }
}

#[tonic::async_trait]
impl pb::introspection_server::Introspection for Service {
    async fn plugins(
        &self,
        request: Request<pb::PluginsRequest>,
    ) -> Result<Response<pb::PluginsResponse>, Status> {
        let filters = &request.get_ref().filters;
        let filter = Filter::parse::<Plugin>(filters, Dialect::Containerd)
            .map_err(|error| bad_filter(&error))?;
        let wanted = PLUGINS.iter().filter(|plugin| filter.matches(*plugin));
        Ok(Response::new(pb::PluginsResponse {
            plugins: wanted.map(Plugin::message).collect(),
        }))
    }

    async fn server(&self, _: Request<()>) -> Result<Response<pb::ServerResponse>, Status> {
        Ok(Response::new(pb::ServerResponse {
            uuid: uuid(self.store.id()),
            pid: self.process.pid.into(),
            pidns: self.process.pidns,
            deprecations: Vec::new(),
        }))
    }
}

/// The store's id as a UUID is written.
fn uuid(id: StoreId) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in id.0.iter().enumerate() {
        if [4, 6, 8, 10].contains(&i) {
            text.push('-');
        }
        write!(text, "{byte:02x}").expect("a text takes all that is written to it");
    }
    text
}

// === impl Plugin ===

impl Plugin {
    fn message(&self) -> pb::Plugin {
        pb::Plugin {
            r#type: self.kind.to_owned(),
            id: self.id.to_owned(),
            requires: self
                .requires
                .iter()
                .map(|kind| (*kind).to_owned())
                .collect(),
            ..pb::Plugin::default()
        }
    }
}

impl Subject for Plugin {
    fn kind(_: &[String]) -> Option<crate::domain::Kind> {
        None
    }

    fn value(&self, path: &[String]) -> Option<Value<'_>> {
        let text = match path.first()?.as_str() {
            "type" => self.kind,
            "id" => self.id,
            _ => return None,
        };
        Some(Value::Text(Cow::Borrowed(text)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic::Code;

    use super::*;
    use crate::kv::Memory;
    use crate::proto::containerd::services::introspection::v1::introspection_client::IntrospectionClient;
    use crate::proto::containerd::services::introspection::v1::introspection_server::IntrospectionServer;
    use crate::service::fixture::store;

    const PROCESS: Process = Process { pid: 7, pidns: 8 };

    async fn client() -> IntrospectionClient<IntrospectionServer<Service>> {
        let store = store(Arc::new(Memory::new())).await;
        IntrospectionClient::new(IntrospectionServer::new(Service::new(&store, PROCESS)))
    }

    async fn plugins(filters: &[&str]) -> Result<Vec<String>, Status> {
        let filters = filters.iter().map(|text| (*text).to_owned()).collect();
        let found = client()
            .await
            .plugins(pb::PluginsRequest { filters })
            .await?;
        let name = |plugin: pb::Plugin| {
            let requires = plugin.requires.join("+");
            format!("{} {} {requires}", plugin.r#type, plugin.id)
        };
        Ok(found.into_inner().plugins.into_iter().map(name).collect())
    }

    #[tokio::test]
    async fn plugins_are_found_by_type_and_id() {
        assert_eq!(plugins(&[]).await.unwrap().len(), PLUGINS.len());
        let images = "io.containerd.grpc.v1 images io.containerd.service.v1";
        let version = "io.containerd.grpc.v1 version ";
        for (filters, found) in [
            (
                &["type==io.containerd.grpc.v1,id==images"][..],
                &[images][..],
            ),
            (&["id==images", "id.x==version"], &[images, version]),
            (&["requires"], &[]),
            (&["nope==x"], &[]),
        ] {
            assert_eq!(plugins(filters).await.unwrap(), found, "{filters:?}");
        }
        let refused = plugins(&["type=x"]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(
            refused.message(),
            "filters: parse error: [type >|=|< x]: unsupported operator \"=\": \
             invalid argument: invalid argument"
        );
    }

    #[tokio::test]
    async fn every_type_that_a_plugin_requires_is_there() {
        for plugin in &PLUGINS {
            for required in plugin.requires {
                assert!(
                    PLUGINS.iter().any(|other| other.kind == *required),
                    "{required}"
                );
            }
        }
    }

    #[tokio::test]
    async fn the_server_is_known_by_the_stores_id_and_its_process() {
        let server = client().await.server(()).await.unwrap().into_inner();
        assert_eq!(server.uuid, "09090909-0909-0909-0909-090909090909");
        assert_eq!((server.pid, server.pidns), (7, 8));
    }
}
