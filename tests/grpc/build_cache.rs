//! The build cache: which config is already the result of a step.

mod local;
mod sources;
mod written;

use imagestore::proto::v1 as pb;
use imagestore::proto::v1::build_cache_client::BuildCacheClient;
use imagestore::proto::v1::configs_client::ConfigsClient;
use imagestore::proto::v1::lookup_response::Result as Found;
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;

use crate::common::configs::{Built, platform, step};
use crate::common::{Server, assert_refused, digest, put};
use crate::configs::{delete, get, parent, read, set_parent, store, stored};

/// A lookup of a step on a parent, for the parent's platform.
pub fn lookup(parent: &str, container_config: &Value) -> pb::LookupRequest {
    pb::LookupRequest {
        parent: parent.to_owned(),
        container_config: container_config.to_string(),
        ..Default::default()
    }
}

/// The same, on nothing, for linux/amd64.
fn from_scratch(container_config: &Value) -> pb::LookupRequest {
    pb::LookupRequest {
        platform: Some(platform("linux/amd64")),
        ..lookup("", container_config)
    }
}

fn with_sources(request: pb::LookupRequest, cache_from: &[&str]) -> pb::LookupRequest {
    pb::LookupRequest {
        cache_from: cache_from.iter().map(|text| (*text).to_owned()).collect(),
        ..request
    }
}

/// A server and what asks it.
struct Cache {
    server: Server,
    configs: ConfigsClient<Channel>,
    cache: BuildCacheClient<Channel>,
}

impl Cache {
    async fn new() -> Self {
        let server = Server::start().await;
        Self {
            configs: server.configs().await,
            cache: server.build_cache().await,
            server,
        }
    }

    async fn ask(&mut self, request: pb::LookupRequest) -> pb::LookupResponse {
        self.cache.lookup(request).await.unwrap().into_inner()
    }

    #[track_caller]
    fn hit_of(answer: &pb::LookupResponse) -> &pb::CacheHit {
        match &answer.result {
            Some(Found::Hit(hit)) => hit,
            other => panic!("no hit: {other:?}"),
        }
    }

    /// What a lookup hits, and how.
    async fn hit(&mut self, request: pb::LookupRequest) -> (String, pb::CacheHitKind) {
        let answer = self.ask(request).await;
        let hit = Self::hit_of(&answer);
        (hit.id.clone(), hit.kind())
    }

    /// Why a lookup misses.
    async fn miss(&mut self, request: pb::LookupRequest) -> pb::CacheMiss {
        let answer = self.ask(request).await;
        match answer.result {
            Some(Found::Miss(miss)) => miss,
            other => panic!("no miss: {other:?}"),
        }
    }

    /// Why a lookup finds nothing that was built here.
    async fn local_miss(&mut self, request: pb::LookupRequest) -> pb::LocalMiss {
        self.miss(request).await.local()
    }

    /// A base image, stored, and a child of it that was built here.
    async fn base_and_child(&mut self) -> (String, String) {
        let base = store(&mut self.configs, &Built::base("debian")).await;
        let child = Built::base("debian").run("make").built_on(&base);
        (base, stored(&mut self.configs, child).await)
    }
}

const LOCAL: pb::CacheHitKind = pb::CacheHitKind::Local;
const SOURCE: pb::CacheHitKind = pb::CacheHitKind::Source;
const RESTORED: pb::CacheHitKind = pb::CacheHitKind::Restored;
