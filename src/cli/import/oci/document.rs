//! The documents of an OCI layout and of a `docker save`, as far as they are read.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::domain::Digest;
use crate::proto::v1;

/// The file that makes a folder an OCI layout.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutMark {
    pub image_layout_version: String,
}

/// An index or a manifest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    media_type: Option<String>,
    pub manifests: Option<Vec<Descriptor>>,
    pub config: Option<Descriptor>,
    layers: Option<IgnoredAny>,
}

/// What points to a blob.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    digest: String,
    size: i64,
    annotations: Option<BTreeMap<String, String>>,
    urls: Option<Vec<String>>,
    platform: Option<Platform>,
    artifact_type: Option<String>,
    data: Option<String>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features")]
    os_features: Option<Vec<String>>,
    variant: Option<String>,
}

/// An image in the `manifest.json` of a `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SavedImage {
    pub config: String,
    pub repo_tags: Option<Vec<String>>,
}

/// What a blob is, by its media type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Index,
    Manifest,
    Config,
    Other,
}

/// The config of an image as the target of a record.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// Where a descriptor of the layout's index says what it is called; the first that is there counts.
const NAMES: [&str; 2] = [
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
];
/// How BuildKit marks what it says about an image, in the form of an image.
const ATTESTATION: (&str, &str) = ("vnd.docker.reference.type", "attestation-manifest");

impl Kind {
    pub fn of(media_type: &str) -> Self {
        match media_type {
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => Self::Index,
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => Self::Manifest,
            "application/vnd.oci.image.config.v1+json" | DOCKER_CONFIG => Self::Config,
            _ => Self::Other,
        }
    }
}

impl Document {
    /// Refuses what could be read as an index and as a manifest, or is not what its descriptor says.
    pub fn check(&self, descriptor: &Descriptor) -> Result<(), String> {
        if self.manifests.is_some() && (self.config.is_some() || self.layers.is_some()) {
            return Err("it has the fields of an index and those of a manifest".to_owned());
        }
        match &self.media_type {
            Some(own) if *own != descriptor.media_type => Err(format!(
                "it says that it is a {own}, and what points to it that it is a {}",
                descriptor.media_type
            )),
            _ => Ok(()),
        }
    }
}

impl Descriptor {
    pub fn kind(&self) -> Kind {
        Kind::of(&self.media_type)
    }

    pub fn digest(&self) -> Result<Digest, String> {
        let parsed = self.digest.parse();
        parsed.map_err(|why| format!("{:?} is no digest: {why}", self.digest))
    }

    pub fn size(&self) -> Result<u64, String> {
        let size = u64::try_from(self.size);
        size.map_err(|_| format!("its size is said to be {}", self.size))
    }

    /// What the layout's index calls it.
    pub fn name(&self) -> Option<&str> {
        let annotations = self.annotations.as_ref()?;
        let names = NAMES.iter().filter_map(|key| annotations.get(*key));
        names.map(String::as_str).find(|name| !name.is_empty())
    }

    /// Whether it is about an image, rather than one.
    pub fn is_attestation(&self) -> bool {
        let (key, value) = ATTESTATION;
        let annotations = self.annotations.as_ref();
        annotations
            .and_then(|all| all.get(key))
            .is_some_and(|is| is == value)
    }

    /// All of it, for the API.
    pub fn target(self) -> Result<v1::Descriptor, String> {
        let data = STANDARD.decode(self.data.unwrap_or_default());
        Ok(v1::Descriptor {
            media_type: self.media_type,
            digest: self.digest,
            size: self.size,
            annotations: self.annotations.unwrap_or_default(),
            urls: self.urls.unwrap_or_default(),
            platform: self.platform.map(|platform| Box::new(platform.into())),
            artifact_type: self.artifact_type.unwrap_or_default(),
            data: data
                .map_err(|why| format!("data must be base64: {why}"))?
                .into(),
        })
    }
}

impl From<Platform> for v1::Platform {
    fn from(platform: Platform) -> Self {
        Self {
            architecture: platform.architecture,
            os: platform.os,
            os_version: platform.os_version.unwrap_or_default(),
            os_features: platform.os_features.unwrap_or_default(),
            variant: platform.variant.unwrap_or_default(),
        }
    }
}
