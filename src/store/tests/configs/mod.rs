//! Configs: what they are, what they were built from, what they have in common.

mod cost;
mod damage;
mod lost;
mod model;
mod races;
mod records;
mod references;
mod relatives;
mod requests;
mod stored;

use super::*;
use crate::domain::{ConfigId, Reference};

/// A config in the making.
#[derive(Clone, Debug, Default)]
struct Draft {
    layers: Vec<String>,
    /// What made each step, and whether it made a layer.
    history: Vec<(String, bool)>,
    container: Option<String>,
    created: Option<u32>,
    platform: Option<(&'static str, &'static str)>,
    comment: String,
}

/// A config with these layers, each made by a step of that name.
fn draft(layers: &[&str]) -> Draft {
    Draft {
        layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
        history: layers
            .iter()
            .map(|layer| (format!("make {layer}"), true))
            .collect(),
        platform: Some(("linux", "amd64")),
        ..Draft::default()
    }
}

impl Draft {
    /// With a step more that made no layer.
    fn then(mut self, step: &str) -> Self {
        self.history.push((step.to_owned(), false));
        self
    }

    /// As built in a container that ran this, at some second of an hour.
    fn built_by(mut self, command: &str, created: u32) -> Self {
        self.container = Some(command.to_owned());
        self.created = Some(created);
        self
    }

    fn on(mut self, architecture: &'static str) -> Self {
        self.platform = Some(("linux", architecture));
        self
    }

    fn saying(mut self, comment: &str) -> Self {
        self.comment = comment.to_owned();
        self
    }

    fn bytes(&self) -> bytes::Bytes {
        let history: Vec<_> = self
            .history
            .iter()
            .map(|(by, made)| serde_json::json!({"created_by": by, "empty_layer": !made}))
            .collect();
        let mut config = serde_json::json!({
            "comment": self.comment,
            "rootfs": {"type": "layers", "diff_ids": self.layers},
            "history": history,
        });
        if let Some((os, architecture)) = self.platform {
            config["os"] = os.into();
            config["architecture"] = architecture.into();
        }
        if let Some(created) = self.created {
            config["created"] =
                format!("2026-01-01T00:{:02}:{:02}Z", created / 60, created % 60).into();
        }
        if let Some(command) = &self.container {
            config["container_config"] = serde_json::json!({"Cmd": ["/bin/sh", "-c", command]});
        }
        config.to_string().into()
    }

    fn id(&self) -> ConfigId {
        ConfigId::of(&self.bytes())
    }
}

fn ns() -> Namespace {
    namespace("ns")
}

/// A config whose bytes are not at hand.
fn id(byte: u8) -> ConfigId {
    ConfigId::from_bytes([byte; 32])
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn first() -> PageRequest {
    PageRequest::default()
}

impl On {
    async fn create(&self, draft: &Draft) -> ConfigId {
        self.create_as(CreateConfig::new(draft.bytes())).await
    }

    async fn create_from(&self, draft: &Draft, parent: ConfigId) -> ConfigId {
        self.create_as(CreateConfig {
            parent: Some(parent),
            ..CreateConfig::new(draft.bytes())
        })
        .await
    }

    /// As built here.
    async fn build(&self, draft: &Draft, parent: Option<ConfigId>) -> ConfigId {
        self.create_as(CreateConfig {
            parent,
            built_locally: true,
            ..CreateConfig::new(draft.bytes())
        })
        .await
    }

    async fn create_as(&self, request: CreateConfig) -> ConfigId {
        let created = self.store.configs().create(&ns(), &request).await.unwrap();
        created.value.stored.entry.id
    }

    async fn read(&self, id: ConfigId) -> Result<StoredConfig, Error> {
        let reference = reference(&id.to_string());
        let got = self.store.configs().get(&ns(), &reference, None).await;
        got.map(|got| got.value)
    }

    async fn set_parent(
        &self,
        id: ConfigId,
        parent: Option<ConfigId>,
    ) -> Result<At<ParentSet>, Error> {
        let request = SetParent::new(id, parent);
        self.store.configs().set_parent(&ns(), &request).await
    }

    async fn remove(&self, id: ConfigId) -> Result<DeletedConfig, Error> {
        let request = DeleteConfig::new(id);
        let deleted = self.store.configs().delete(&ns(), &request).await;
        deleted.map(|deleted| deleted.value)
    }

    async fn parent(&self, id: ConfigId) -> Option<ConfigId> {
        self.store.configs().parent(&ns(), &id).await.unwrap().value
    }

    async fn children(&self, id: ConfigId) -> Vec<ConfigId> {
        let configs = self.store.configs();
        all(async |page| configs.children(&ns(), &id, &page).await).await
    }

    async fn ancestors(&self, id: ConfigId) -> Vec<ConfigId> {
        let configs = self.store.configs();
        all(async |page| configs.ancestors(&ns(), &id, &page).await).await
    }

    async fn heads(&self) -> Vec<ConfigId> {
        self.listed(true).await
    }

    async fn ids(&self) -> Vec<ConfigId> {
        self.listed(false).await
    }

    /// What List says, in both views alike.
    async fn listed(&self, heads_only: bool) -> Vec<ConfigId> {
        let configs = self.store.configs();
        let found = all(async |page| configs.list(&ns(), heads_only, &page).await).await;
        let full = all(async |page| configs.list_full(&ns(), heads_only, &page).await).await;
        assert_eq!(
            found,
            full.into_iter().map(|full| full.entry).collect::<Vec<_>>()
        );
        found.into_iter().map(|entry| entry.id).collect()
    }

    async fn link(&self, id: ConfigId, target: Digest) -> bool {
        let request = LinkConfig::new(id, target);
        let linked = self.store.configs().link(&ns(), &request).await;
        linked.unwrap().value
    }

    /// Writes rows past all rules.
    async fn break_with(&self, breakage: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new(0);
        breakage(&mut batch);
        self.store.inner.kv.commit(batch).await.unwrap();
    }

    async fn problems(&self) -> Vec<String> {
        let found = self.store.verify().await.unwrap();
        let told = found.problems.into_iter();
        told.map(|problem| format!("{}: {}", problem.table, problem.what))
            .collect()
    }
}

/// All items of all pages, two at a time.
async fn all<T>(page: impl AsyncFn(PageRequest) -> Result<Page<T>, Error>) -> Vec<T> {
    let mut items = Vec::new();
    let mut request = PageRequest {
        size: 2,
        token: String::new(),
    };
    loop {
        let found = page(request.clone()).await.unwrap();
        assert!(found.items.len() <= 2);
        items.extend(found.items);
        if found.next_token.is_empty() {
            return items;
        }
        request.token = found.next_token;
    }
}
