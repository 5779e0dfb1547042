//! Configs of intermediate steps, made from the history of an image that went on from there.

use serde::Serialize;

use super::{ContainerConfig, HistoryEntry, ImageConfig, Step};
use crate::domain::{Invalid, RunPlatform};

/// A config as it is written: in the order of the specification, without what is empty.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    architecture: &'a str,
    os: &'a str,
    #[serde(rename = "os.version", skip_serializing_if = "str::is_empty")]
    os_version: &'a str,
    #[serde(rename = "os.features", skip_serializing_if = "<[_]>::is_empty")]
    os_features: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
    config: ContainerConfig,
    container_config: &'a ContainerConfig,
    rootfs: WrittenLayers<'a>,
    history: Vec<WrittenEntry<'a>>,
}

#[derive(Serialize)]
struct WrittenLayers<'a> {
    r#type: &'static str,
    diff_ids: Vec<&'a str>,
}

#[derive(Serialize)]
struct WrittenEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    created_by: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

impl Step<'_> {
    /// The bytes of the config that the step led to: the image as it was after it, made in a container that was set
    /// up as `container_config`. Its own containers are set up as `config`; where that is not known, as that one was,
    /// but for what they run.
    ///
    /// The same step and container configs make the same bytes. Author and platform are those of the image that tells of
    /// the step; what else it says is not in them. Refuses what would be too large for a config.
    pub fn restore(
        &self,
        container_config: &ContainerConfig,
        config: Option<&ContainerConfig>,
    ) -> Result<Vec<u8>, Invalid> {
        let RunPlatform {
            os,
            architecture,
            variant,
            os_version,
            os_features,
        } = self.image.platform();
        let (history, layers) = self
            .parent
            .map_or((&[][..], &[][..]), |p| (p.history(), p.diff_ids()));
        let written = Written {
            created: self.entry().created.map(|time| time.to_string()),
            author: self.image.author(),
            architecture,
            os,
            os_version,
            os_features,
            variant,
            config: config
                .cloned()
                .unwrap_or_else(|| self.left_behind(container_config)),
            container_config,
            rootfs: WrittenLayers {
                r#type: "layers",
                diff_ids: layers
                    .iter()
                    .chain(self.layer())
                    .map(|l| l.as_str())
                    .collect(),
            },
            history: history
                .iter()
                .chain([self.entry()])
                .map(WrittenEntry::from)
                .collect(),
        };
        let bytes = serde_json::to_vec(&written).expect("texts, numbers and lists have JSON");
        if bytes.len() > ImageConfig::MAX_BYTES {
            let (bytes, most) = (bytes.len(), ImageConfig::MAX_BYTES);
            let reason = format!("makes a config of {bytes} bytes, more than {most}");
            return Err(Invalid::new("container_config", reason));
        }
        Ok(bytes)
    }

    /// How containers of the step's result are set up.
    ///
    /// The command of the container is the step's own. Containers are to run the parent's, and not the step again.
    fn left_behind(&self, container_config: &ContainerConfig) -> ContainerConfig {
        let before = self
            .parent
            .and_then(ImageConfig::config)
            .cloned()
            .unwrap_or_default();
        ContainerConfig {
            cmd: before.cmd,
            entrypoint: before.entrypoint,
            args_escaped: before.args_escaped,
            ..container_config.clone()
        }
    }
}

impl<'a> From<&'a HistoryEntry> for WrittenEntry<'a> {
    fn from(entry: &'a HistoryEntry) -> Self {
        Self {
            created: entry.created.map(|time| time.to_string()),
            created_by: &entry.created_by,
            author: &entry.author,
            comment: &entry.comment,
            empty_layer: entry.empty_layer,
        }
    }
}
