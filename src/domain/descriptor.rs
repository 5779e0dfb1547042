//! The OCI content descriptor, whole (OCI image-spec, "Content Descriptors").

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use super::{Digest, Invalid};

/// Text by key, as the descriptor's author wrote it. Keys are not empty.
pub type Annotations = BTreeMap<String, String>;

/// Points to content: its type, its digest, its size, and what else its author said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    media_type: MediaType,
    digest: Digest,
    size: Size,
    /// What few descriptors have; `None` rather than all empty, so that equal descriptors compare so.
    extras: Option<Box<Extras>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Extras {
    annotations: Annotations,
    urls: Vec<String>,
    platform: Option<Platform>,
    artifact_type: Option<MediaType>,
    data: Option<Bytes>,
}

/// The type of content. Not empty, without NUL; not held to RFC 6838, since registries and
/// containerd are not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Arc<str>);

/// How many bytes content has: 1 to 2^63 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// What content runs on (OCI image-spec, image index `platform`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    architecture: String,
    os: String,
    os_version: String,
    os_features: Vec<String>,
    variant: String,
}

// === impl Descriptor ===

impl Descriptor {
    pub fn new(media_type: MediaType, digest: Digest, size: Size) -> Self {
        Self {
            media_type,
            digest,
            size,
            extras: None,
        }
    }

    /// Whether both say the same of media type, digest and size, whatever else they say.
    pub fn is_same_content(&self, other: &Self) -> bool {
        self.media_type == other.media_type
            && self.digest == other.digest
            && self.size == other.size
    }

    /// Changes what few descriptors have, and drops it when nothing of it is left.
    fn with(mut self, change: impl FnOnce(&mut Extras)) -> Self {
        let mut extras = self.extras.take().unwrap_or_default();
        change(&mut extras);
        self.extras = (*extras != Extras::default()).then_some(extras);
        self
    }

    /// Refuses an empty key.
    pub fn with_annotations(self, annotations: Annotations) -> Result<Self, Invalid> {
        if annotations.contains_key("") {
            return Err(Invalid::new("annotations", "must not have an empty key"));
        }
        if annotations.is_empty() && self.extras.is_none() {
            return Ok(self);
        }
        Ok(self.with(|extras| extras.annotations = annotations))
    }

    /// Refuses an empty URL.
    pub fn with_urls(self, urls: Vec<String>) -> Result<Self, Invalid> {
        if urls.iter().any(String::is_empty) {
            return Err(Invalid::new("urls", "must not contain an empty URL"));
        }
        if urls.is_empty() && self.extras.is_none() {
            return Ok(self);
        }
        Ok(self.with(|extras| extras.urls = urls))
    }

    #[must_use]
    pub fn with_platform(self, platform: Option<Platform>) -> Self {
        self.with(|extras| extras.platform = platform)
    }

    #[must_use]
    pub fn with_artifact_type(self, artifact_type: Option<MediaType>) -> Self {
        self.with(|extras| extras.artifact_type = artifact_type)
    }

    /// Embeds the content itself. Refuses content that has another size or digest.
    pub fn with_data(self, data: Bytes) -> Result<Self, Invalid> {
        if data.len() as u64 != self.size.get() {
            return Err(Invalid::new(
                "data",
                format!("has {} bytes, and size says {}", data.len(), self.size),
            ));
        }
        if Digest::of(self.digest.algorithm(), &data) != self.digest {
            return Err(Invalid::new("data", "does not have the digest"));
        }
        Ok(self.with_stored_data(data))
    }

    /// Embeds content that was checked when it was stored.
    pub(crate) fn with_stored_data(self, data: Bytes) -> Self {
        self.with(|extras| extras.data = Some(data))
    }

    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn size(&self) -> Size {
        self.size
    }

    pub fn annotations(&self) -> &Annotations {
        static NONE: Annotations = Annotations::new();
        self.extras
            .as_ref()
            .map_or(&NONE, |extras| &extras.annotations)
    }

    pub fn urls(&self) -> &[String] {
        self.extras.as_ref().map_or(&[], |extras| &extras.urls)
    }

    pub fn platform(&self) -> Option<&Platform> {
        self.extras.as_ref()?.platform.as_ref()
    }

    pub fn artifact_type(&self) -> Option<&MediaType> {
        self.extras.as_ref()?.artifact_type.as_ref()
    }

    pub fn data(&self) -> Option<&Bytes> {
        self.extras.as_ref()?.data.as_ref()
    }
}

// === impl MediaType ===

impl MediaType {
    /// Refuses a text that is none.
    pub fn check(text: &str) -> Result<(), Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("media_type", "must not be empty"));
        }
        if text.contains('\0') {
            return Err(Invalid::new("media_type", "must not contain NUL"));
        }
        Ok(())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MediaType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

// === impl Size ===

impl Size {
    pub fn get(self) -> u64 {
        self.0
    }

    /// For protocols that count in signed numbers.
    pub fn get_i64(self) -> i64 {
        i64::try_from(self.0).expect("a size is at most 2^63 - 1")
    }
}

impl TryFrom<u64> for Size {
    type Error = Invalid;

    fn try_from(bytes: u64) -> Result<Self, Invalid> {
        match bytes {
            0 => Err(Invalid::new("size", "must be greater than zero")),
            _ if i64::try_from(bytes).is_err() => {
                Err(Invalid::new("size", "must be less than 2^63"))
            }
            _ => Ok(Self(bytes)),
        }
    }
}

impl TryFrom<i64> for Size {
    type Error = Invalid;

    fn try_from(bytes: i64) -> Result<Self, Invalid> {
        u64::try_from(bytes)
            .map_err(|_| Invalid::new("size", "must be greater than zero"))?
            .try_into()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Platform ===

impl Platform {
    /// Refuses an empty architecture or operating system.
    pub fn new(architecture: String, os: String) -> Result<Self, Invalid> {
        for (field, text) in [("architecture", &architecture), ("os", &os)] {
            if text.is_empty() {
                return Err(Invalid::new(field, "must not be empty"));
            }
        }
        Ok(Self {
            architecture,
            os,
            os_version: String::new(),
            os_features: Vec::new(),
            variant: String::new(),
        })
    }

    /// Empty means none.
    #[must_use]
    pub fn with_variant(mut self, variant: String) -> Self {
        self.variant = variant;
        self
    }

    /// Empty means none.
    #[must_use]
    pub fn with_os_version(mut self, os_version: String) -> Self {
        self.os_version = os_version;
        self
    }

    #[must_use]
    pub fn with_os_features(mut self, os_features: Vec<String>) -> Self {
        self.os_features = os_features;
        self
    }

    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    pub fn os(&self) -> &str {
        &self.os
    }

    pub fn os_version(&self) -> &str {
        &self.os_version
    }

    pub fn os_features(&self) -> &[String] {
        &self.os_features
    }

    pub fn variant(&self) -> &str {
        &self.variant
    }
}

/// `os/architecture` or `os/architecture/variant`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Algorithm;

    fn of(content: &'static [u8]) -> Descriptor {
        let size = Size::try_from(content.len() as u64).unwrap();
        Descriptor::new(
            "a/b".parse().unwrap(),
            Digest::of(Algorithm::Sha256, content),
            size,
        )
    }

    #[test]
    fn embedded_data_has_the_size_and_the_digest_that_the_descriptor_says() {
        assert!(of(b"{}").with_data(Bytes::from_static(b"{}")).is_ok());
        for other in [&b"{ }"[..], b"[]", b""] {
            let refused = of(b"{}").with_data(Bytes::from_static(other)).unwrap_err();
            assert_eq!(refused.field(), "data");
        }
    }

    #[test]
    fn a_size_is_1_to_the_largest_signed_number() {
        assert!(Size::try_from(0u64).is_err());
        assert!(Size::try_from(-1i64).is_err());
        assert!(Size::try_from(u64::MAX).is_err());
        assert_eq!(Size::try_from(i64::MAX).unwrap().get_i64(), i64::MAX);
    }

    #[test]
    fn a_platform_names_its_architecture_and_its_system() {
        assert_eq!(
            Platform::new(String::new(), "linux".into())
                .unwrap_err()
                .field(),
            "architecture"
        );
        assert_eq!(
            Platform::new("arm64".into(), String::new())
                .unwrap_err()
                .field(),
            "os"
        );
        let platform = Platform::new("arm".into(), "linux".into())
            .unwrap()
            .with_variant("v7".into());
        assert_eq!(platform.to_string(), "linux/arm/v7");
    }
}
