//! From and to the descriptors of `oci-spec`.
//!
//! Everything of an [`oci_spec::image::Descriptor`] comes along, and goes back.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use oci_spec::image as oci;

use super::{Descriptor, Invalid, MediaType, Platform, Size};

impl TryFrom<&oci::Descriptor> for Descriptor {
    type Error = Invalid;

    fn try_from(theirs: &oci::Descriptor) -> Result<Self, Invalid> {
        let media_type: MediaType = theirs.media_type().to_string().parse()?;
        let digest = theirs.digest().to_string().parse()?;
        let annotations: BTreeMap<String, String> = theirs
            .annotations()
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let mut ours = Self::new(media_type, digest, Size::try_from(theirs.size())?)
            .with_annotations(annotations)?
            .with_urls(theirs.urls().clone().unwrap_or_default())?;
        if let Some(platform) = theirs.platform() {
            let platform = Platform::try_from(platform).map_err(|e| e.within("platform"))?;
            ours = ours.with_platform(Some(platform));
        }
        if let Some(artifact_type) = theirs.artifact_type() {
            let artifact_type: MediaType = artifact_type
                .to_string()
                .parse()
                .map_err(|e: Invalid| e.at("artifact_type"))?;
            ours = ours.with_artifact_type(Some(artifact_type));
        }
        if let Some(data) = theirs.data() {
            let data = STANDARD
                .decode(data)
                .map_err(|_| Invalid::new("data", "must be Base64"))?;
            ours = ours.with_data(Bytes::from(data))?;
        }
        Ok(ours)
    }
}

impl From<&Descriptor> for oci::Descriptor {
    fn from(ours: &Descriptor) -> Self {
        let digest: oci::Digest = ours
            .digest()
            .text()
            .parse()
            .expect("a digest is in the form that OCI registers");
        let media_type = oci::MediaType::from(ours.media_type().as_str());
        let mut theirs = Self::new(media_type, ours.size().get(), digest);
        if !ours.annotations().is_empty() {
            let annotations = ours.annotations().iter();
            theirs.set_annotations(Some(
                annotations.map(|(k, v)| (k.clone(), v.clone())).collect(),
            ));
        }
        if !ours.urls().is_empty() {
            theirs.set_urls(Some(ours.urls().to_vec()));
        }
        theirs.set_platform(ours.platform().map(Into::into));
        theirs.set_artifact_type(
            ours.artifact_type()
                .map(|t| oci::MediaType::from(t.as_str())),
        );
        theirs.set_data(ours.data().map(|data| STANDARD.encode(data)));
        theirs
    }
}

impl TryFrom<&oci::Platform> for Platform {
    type Error = Invalid;

    fn try_from(theirs: &oci::Platform) -> Result<Self, Invalid> {
        Ok(
            Self::new(theirs.architecture().to_string(), theirs.os().to_string())?
                .with_os_version(theirs.os_version().clone().unwrap_or_default())
                .with_os_features(theirs.os_features().clone().unwrap_or_default())
                .with_variant(theirs.variant().clone().unwrap_or_default()),
        )
    }
}

impl From<&Platform> for oci::Platform {
    fn from(ours: &Platform) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut theirs = Self::default();
        theirs.set_architecture(oci::Arch::from(ours.architecture()));
        theirs.set_os(oci::Os::from(ours.os()));
        theirs.set_os_version(text(ours.os_version()));
        theirs.set_os_features(Some(ours.os_features().to_vec()).filter(|list| !list.is_empty()));
        theirs.set_variant(text(ours.variant()));
        theirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oci_descriptor_comes_back_as_it_was() {
        let text = r#"{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
            "urls": ["https://example.com/x"],
            "annotations": {"a": "b"},
            "platform": {"architecture": "arm", "os": "windows", "os.features": ["win32k"], "variant": "v7"},
            "artifactType": "application/x",
            "data": "e30="
        }"#;
        let mut theirs: oci::Descriptor = serde_json::from_str(text).unwrap();
        // Reading JSON, oci-spec loses it.
        let mut platform = theirs.platform().clone().unwrap();
        platform.set_os_version(Some("10.0".into()));
        theirs.set_platform(Some(platform));
        let ours = Descriptor::try_from(&theirs).unwrap();
        assert_eq!(ours.data().unwrap(), "{}");
        assert_eq!(ours.platform().unwrap().os_version(), "10.0");
        assert_eq!(oci::Descriptor::from(&ours), theirs);

        let plain = oci::Descriptor::new(oci::MediaType::ImageIndex, 7, theirs.digest().clone());
        assert_eq!(
            oci::Descriptor::from(&Descriptor::try_from(&plain).unwrap()),
            plain
        );
    }

    #[test]
    fn what_is_no_record_of_ours_is_refused() {
        let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let theirs = |digest: &str, size| {
            oci::Descriptor::new(
                oci::MediaType::ImageIndex,
                size,
                digest.parse::<oci::Digest>().unwrap(),
            )
        };
        assert_eq!(
            Descriptor::try_from(&theirs(digest, 0))
                .unwrap_err()
                .field(),
            "size"
        );
        let unknown = theirs("blake3:abcdef", 1);
        assert_eq!(
            Descriptor::try_from(&unknown).unwrap_err().field(),
            "digest"
        );
        let mut broken = theirs(digest, 2);
        broken.set_data(Some("***".into()));
        assert_eq!(Descriptor::try_from(&broken).unwrap_err().field(), "data");
    }
}
