//! Configs by their content: stored, read, listed, named, removed.

mod named;
mod parents;
mod removed;
mod requests;
mod stored;

use imagestore::proto::v1 as pb;
use imagestore::proto::v1::configs_client::ConfigsClient;
use prost_types::Timestamp;
use serde_json::json;
use tonic::Code;
use tonic::transport::Channel;

use crate::common::configs::{Built, create, platform};
use crate::common::{Server, assert_refused, digest, fact, put};

/// Stores a config and returns its id.
pub async fn store(configs: &mut ConfigsClient<Channel>, built: &Built) -> String {
    stored(configs, built.create()).await
}

/// Does a Create and returns the id.
pub async fn stored(
    configs: &mut ConfigsClient<Channel>,
    request: pb::CreateConfigRequest,
) -> String {
    let answer = configs.create(request).await.unwrap().into_inner();
    answer.config.unwrap().id
}

pub fn get(reference: &str) -> pb::GetConfigRequest {
    pb::GetConfigRequest {
        reference: reference.to_owned(),
        ..Default::default()
    }
}

pub async fn read(configs: &mut ConfigsClient<Channel>, reference: &str) -> pb::Config {
    let answer = configs.get(get(reference)).await.unwrap().into_inner();
    answer.config.unwrap()
}

pub fn delete(id: &str) -> pb::DeleteConfigRequest {
    pb::DeleteConfigRequest {
        id: id.to_owned(),
        ..Default::default()
    }
}

pub fn set_parent(id: &str, parent: &str) -> pb::SetConfigParentRequest {
    pb::SetConfigParentRequest {
        id: id.to_owned(),
        parent: parent.to_owned(),
        ..Default::default()
    }
}

pub async fn parent(configs: &mut ConfigsClient<Channel>, id: &str) -> String {
    let request = pb::GetConfigParentRequest {
        id: id.to_owned(),
        ..Default::default()
    };
    configs
        .get_parent(request)
        .await
        .unwrap()
        .into_inner()
        .parent
}

async fn children(configs: &mut ConfigsClient<Channel>, id: &str) -> Vec<String> {
    let mut request = pb::ConfigChildrenRequest {
        id: id.to_owned(),
        page_size: 2,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page = configs
            .children(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.ids.len() <= 2);
        all.extend(page.ids);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

async fn ancestors(configs: &mut ConfigsClient<Channel>, id: &str) -> Vec<String> {
    let mut request = pb::ConfigAncestorsRequest {
        id: id.to_owned(),
        page_size: 2,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page = configs
            .ancestors(request.clone())
            .await
            .unwrap()
            .into_inner();
        all.extend(page.ids);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

/// The ids of all pages of a listing.
async fn listed(configs: &mut ConfigsClient<Channel>, heads_only: bool) -> Vec<String> {
    let mut request = pb::ListConfigsRequest {
        heads_only,
        page_size: 2,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page = configs.list(request.clone()).await.unwrap().into_inner();
        assert!(page.configs.len() <= 2);
        all.extend(page.configs.into_iter().map(|config| config.id));
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

pub fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}
