//! Configs as a builder makes them: an image that grows step by step.

use bytes::Bytes;
use imagestore::proto::v1 as pb;
use serde_json::{Value, json};

use super::digest;

/// An image in the making. Two that were made by the same steps are the same.
#[derive(Clone)]
pub struct Built {
    platform: pb::ConfigPlatform,
    config: Value,
    container_config: Value,
    created: String,
    history: Vec<Value>,
    layers: Vec<String>,
}

impl Built {
    /// Nothing yet, for linux/amd64.
    pub fn scratch() -> Self {
        Self {
            platform: platform("linux/amd64"),
            config: json!({"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]}),
            container_config: Value::Null,
            created: String::new(),
            history: Vec::new(),
            layers: Vec::new(),
        }
    }

    /// A base image of one layer, which one by that name always is.
    pub fn base(name: &str) -> Self {
        Self::scratch().run(&format!("unpack {name}"))
    }

    /// After a step that made a layer.
    pub fn run(self, command: &str) -> Self {
        self.step(command, true)
    }

    /// After a step that made none.
    pub fn note(self, command: &str) -> Self {
        self.step(command, false)
    }

    fn step(mut self, command: &str, makes_layer: bool) -> Self {
        self.created = time(self.history.len());
        let mut entry = json!({
            "created": self.created,
            "created_by": format!("/bin/sh -c {command}"),
        });
        if makes_layer {
            let below = self.layers.last().map_or("", String::as_str);
            self.layers.push(digest(&format!("{below} {command}")));
        } else {
            entry["empty_layer"] = json!(true);
        }
        self.history.push(entry);
        self.container_config = step(command);
        self
    }

    pub fn on(mut self, text: &str) -> Self {
        self.platform = platform(text);
        self
    }

    pub fn created(mut self, time: &str) -> Self {
        time.clone_into(&mut self.created);
        self
    }

    /// With another container config than that of the last step.
    pub fn by_step(mut self, container_config: Value) -> Self {
        self.container_config = container_config;
        self
    }

    pub fn with_config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    pub fn json(&self) -> Value {
        let mut config = json!({
            "os": self.platform.os,
            "architecture": self.platform.architecture,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": self.layers},
            "history": self.history,
        });
        if !self.platform.variant.is_empty() {
            config["variant"] = json!(self.platform.variant);
        }
        if !self.created.is_empty() {
            config["created"] = json!(self.created);
        }
        if !self.container_config.is_null() {
            config["container_config"] = self.container_config.clone();
        }
        config
    }

    pub fn bytes(&self) -> Bytes {
        self.json().to_string().into()
    }

    pub fn id(&self) -> String {
        digest(&self.json().to_string())
    }

    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    /// A request that stores it as pulled, without a parent.
    pub fn create(&self) -> pb::CreateConfigRequest {
        create(self.bytes())
    }

    /// A request that stores it as the result of a step on a parent.
    pub fn built_on(&self, parent: &str) -> pb::CreateConfigRequest {
        pb::CreateConfigRequest {
            parent: parent.to_owned(),
            built_locally: true,
            ..self.create()
        }
    }
}

/// A request that stores a config.
pub fn create(config: impl Into<Bytes>) -> pb::CreateConfigRequest {
    pb::CreateConfigRequest {
        config: config.into(),
        ..Default::default()
    }
}

/// The container config of a shell's step.
pub fn step(command: &str) -> Value {
    json!({"Env": ["PATH=/bin"], "Cmd": ["/bin/sh", "-c", command]})
}

/// OS, architecture and perhaps a variant, with slashes between them.
pub fn platform(text: &str) -> pb::ConfigPlatform {
    let mut parts = text.split('/').map(str::to_owned);
    pb::ConfigPlatform {
        os: parts.next().unwrap_or_default(),
        architecture: parts.next().unwrap_or_default(),
        variant: parts.next().unwrap_or_default(),
        ..Default::default()
    }
}

/// A moment for each step.
pub fn time(step: usize) -> String {
    format!("2026-01-01T00:{:02}:{:02}Z", step / 60, step % 60)
}
