//! Image configs: the JSON that describes an image (OCI image-spec, "Image Configuration"), with what Docker adds.

mod container;
mod digests;
mod history;
mod id;
mod json;
mod layers;
mod restore;
#[cfg(test)]
mod tests;

pub use container::{ContainerConfig, Fingerprint, Healthcheck};
pub use history::{HistoryEntry, NotBuiltOn, Step, next_step};
pub use id::{ConfigId, IdPrefix, Otherwise, Reference};
pub use layers::{ChainId, DiffId};

use std::borrow::Cow;

use super::{Invalid, RunPlatform, Timestamp};
use json::{Fields, Json};
pub use layers::chain_ids;

/// What a config says, as far as this store asks: read as leniently as Docker does, since its identity is the
/// digest of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    platform: RunPlatform,
    created: Option<Timestamp>,
    author: String,
    comment: String,
    diff_ids: Vec<DiffId>,
    history: Vec<HistoryEntry>,
    config: Option<ContainerConfig>,
    container_config: Option<ContainerConfig>,
}

impl ImageConfig {
    /// Of its JSON.
    pub const MAX_BYTES: usize = 1 << 20;
    pub const MAX_LAYERS: usize = 1024;
    pub const MAX_HISTORY: usize = 10_000;
    /// Bytes of each part of its platform.
    pub const MAX_PLATFORM_BYTES: usize = 256;
    /// Of its platform.
    pub const MAX_FEATURES: usize = 64;

    /// Refuses what is no JSON object, has no `rootfs`, has more history entries with a layer than layers, or has more
    /// of anything than the constants above allow. A platform, layers, history and all else may be missing.
    pub fn parse(config: &[u8]) -> Result<Self, Invalid> {
        const FIELD: &str = "config";
        let json = Json::parse(config, FIELD)?;
        Self::of(json.fields(FIELD)?).map_err(|e| e.within(FIELD))
    }

    fn of(fields: Fields<'_>) -> Result<Self, Invalid> {
        let Some(rootfs) = fields.object("rootfs")? else {
            return Err(Invalid::new("rootfs", "must not be missing"));
        };
        let diff_ids = rootfs.texts("diff_ids").map_err(|e| e.within("rootfs"))?;
        at_most(
            "rootfs.diff_ids",
            diff_ids.len(),
            Self::MAX_LAYERS,
            "layers",
        )?;
        let entries = fields.objects("history")?;
        at_most("history", entries.len(), Self::MAX_HISTORY, "entries")?;
        let mut history = Vec::with_capacity(entries.len());
        for (i, entry) in entries.into_iter().enumerate() {
            let entry = HistoryEntry::of(entry);
            history.push(entry.map_err(|e| e.within(&format!("history[{i}]")))?);
        }
        let container = |name: &'static str| {
            let container = fields.object(name)?.map(ContainerConfig::of);
            container.transpose().map_err(|e: Invalid| e.within(name))
        };
        let config = Self {
            platform: Self::platform_of(fields)?,
            created: fields.time("created")?,
            author: fields.text("author")?,
            comment: fields.text("comment")?,
            diff_ids: diff_ids.iter().map(|text| DiffId::from(&**text)).collect(),
            history,
            config: container("config")?,
            container_config: container("container_config")?,
        };
        let (steps, layers) = (config.steps_with_layer(), config.diff_ids.len());
        if steps > layers {
            let reason =
                format!("has {steps} entries with a layer, and rootfs has {layers} layers");
            return Err(Invalid::new("history", reason));
        }
        Ok(config)
    }

    fn platform_of(fields: Fields<'_>) -> Result<RunPlatform, Invalid> {
        let bounded = |field: String, text: &str| {
            at_most(field, text.len(), Self::MAX_PLATFORM_BYTES, "bytes")
        };
        let part = |name: &'static str| {
            let text = fields.text(name)?;
            bounded(name.to_owned(), &text)?;
            Ok(text)
        };
        let os_features = fields.texts("os.features")?;
        at_most(
            "os.features",
            os_features.len(),
            Self::MAX_FEATURES,
            "features",
        )?;
        for (i, feature) in os_features.iter().enumerate() {
            bounded(format!("os.features[{i}]"), feature)?;
        }
        Ok(RunPlatform {
            os: part("os")?,
            architecture: part("architecture")?,
            variant: part("variant")?,
            os_version: part("os.version")?,
            os_features,
        })
    }

    /// As the config says it, not normalized.
    pub fn platform(&self) -> &RunPlatform {
        &self.platform
    }

    pub fn created(&self) -> Option<Timestamp> {
        self.created
    }

    pub fn author(&self) -> &str {
        &self.author
    }

    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// The layers, the lowest first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.diff_ids
    }

    /// For each layer its chain id.
    pub fn chain_ids(&self) -> Vec<ChainId> {
        chain_ids(&self.diff_ids)
    }

    /// The steps that made it, the first one first.
    pub fn history(&self) -> &[HistoryEntry] {
        &self.history
    }

    /// How its containers are set up.
    pub fn config(&self) -> Option<&ContainerConfig> {
        self.config.as_ref()
    }

    /// How the container was set up that its last step ran in.
    pub fn container_config(&self) -> Option<&ContainerConfig> {
        self.container_config.as_ref()
    }

    fn steps_with_layer(&self) -> usize {
        self.history.iter().filter(|step| !step.empty_layer).count()
    }
}

fn at_most(
    field: impl Into<Cow<'static, str>>,
    many: usize,
    most: usize,
    what: &str,
) -> Result<(), Invalid> {
    match many > most {
        true => Err(Invalid::new(
            field,
            format!("has {many} {what}, more than {most}"),
        )),
        false => Ok(()),
    }
}
