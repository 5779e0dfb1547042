//! `imagestore.v1.BuildCache`.

use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::Span;

use super::configs::wire::{parent, platform};
use super::{at, namespace, once};
use crate::domain::{ConfigId, ContainerConfig, ImageName, Invalid, Namespace};
use crate::proto::v1 as pb;
use crate::service::status::refused;
use crate::store::{
    Hit, HitKind, LocalMiss, Looked, Lookup, Miss, Skipped, SourceMiss, SourceMissReason, Store,
};

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
impl pb::build_cache_server::BuildCache for Service {
    async fn lookup(
        &self,
        request: Request<pb::LookupRequest>,
    ) -> Result<Response<pb::LookupResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (namespace, lookup) = lookup(&metadata, request).map_err(refused)?;
        let looked = self.store.build_cache().lookup(&namespace, &lookup).await?;
        Ok(Response::new(response(looked.value, at(looked.revision))))
    }
}

// === from messages ===

fn lookup(
    metadata: &MetadataMap,
    request: pb::LookupRequest,
) -> Result<(Namespace, Lookup), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let request_id = once(
        &request.request_id,
        "BuildCache.Lookup",
        &namespace,
        &request,
    )?;
    let parent = parent(&request.parent)?;
    Span::current().record("name", request.parent.as_str());
    let lookup = Lookup {
        parent,
        container_config: container_config(&request.container_config, "container_config")?,
        config: match request.config.as_str() {
            "" => None,
            text => Some(container_config(text, "config")?),
        },
        platform: request.platform.map(platform).transpose()?,
        cache_from: sources(request.cache_from)?,
        skip_local: request.skip_local,
        validate_only: request.validate_only,
        request: request_id,
    };
    Ok((namespace, lookup))
}

fn container_config(text: &str, field: &'static str) -> Result<ContainerConfig, Invalid> {
    ContainerConfig::parse(text.as_bytes(), field)
}

/// Texts that may lead to nothing, but are not too long to be told again.
fn sources(cache_from: Vec<String>) -> Result<Vec<String>, Invalid> {
    let many = cache_from.len();
    if many > Lookup::MAX_SOURCES {
        let reason = format!("has {many} references, more than {}", Lookup::MAX_SOURCES);
        return Err(Invalid::new("cache_from", reason));
    }
    for (i, reference) in cache_from.iter().enumerate() {
        let (bytes, most) = (reference.len(), ImageName::MAX_BYTES);
        if bytes > most {
            let reason = format!("is {bytes} bytes long, more than {most}");
            return Err(Invalid::new(format!("cache_from[{i}]"), reason));
        }
    }
    Ok(cache_from)
}

// === to messages ===

fn response(looked: Looked, revision: u64) -> pb::LookupResponse {
    use pb::lookup_response::Result as Found;
    let result = match looked.found {
        Ok(hit) => Found::Hit(hit_message(&hit)),
        Err(miss) => Found::Miss(miss_message(miss)),
    };
    pb::LookupResponse {
        result: Some(result),
        sources: looked.sources.iter().map(ConfigId::to_string).collect(),
        skipped: looked.skipped.into_iter().map(skipped_message).collect(),
        revision,
    }
}

fn hit_message(hit: &Hit) -> pb::CacheHit {
    let (kind, source) = match hit.kind {
        HitKind::Local => (pb::CacheHitKind::Local, None),
        HitKind::Source => (pb::CacheHitKind::Source, Some(hit.id)),
        HitKind::Restored { source } => (pb::CacheHitKind::Restored, Some(source)),
    };
    pb::CacheHit {
        id: hit.id.to_string(),
        kind: kind.into(),
        source: source.map(|id| id.to_string()).unwrap_or_default(),
        changed: hit.changed,
    }
}

fn miss_message(miss: Miss) -> pb::CacheMiss {
    let local = match miss.local {
        LocalMiss::Skipped => pb::LocalMiss::Skipped,
        LocalMiss::UnknownParent => pb::LocalMiss::UnknownParent,
        LocalMiss::NoSuchStep => pb::LocalMiss::NoSuchStep,
        LocalMiss::OtherPlatform => pb::LocalMiss::OtherPlatform,
    };
    pb::CacheMiss {
        local: local.into(),
        sources: miss.sources.into_iter().map(source_message).collect(),
    }
}

fn source_message(miss: SourceMiss) -> pb::SourceMiss {
    use pb::SourceMissReason as Reason;
    let (reason, created_by) = match miss.reason {
        SourceMissReason::UnknownParent => (Reason::UnknownParent, String::new()),
        SourceMissReason::OtherPlatform => (Reason::OtherPlatform, String::new()),
        SourceMissReason::OtherParent => (Reason::OtherParent, String::new()),
        SourceMissReason::OtherStep { created_by } => (Reason::OtherStep, created_by),
        SourceMissReason::UnclearHistory => (Reason::UnclearHistory, String::new()),
        SourceMissReason::TooLarge => (Reason::TooLarge, String::new()),
    };
    pb::SourceMiss {
        source: miss.source.to_string(),
        reason: reason.into(),
        created_by,
    }
}

fn skipped_message(skipped: Skipped) -> pb::SkippedSource {
    pb::SkippedSource {
        reference: skipped.reference,
        reason: skipped.reason,
    }
}
