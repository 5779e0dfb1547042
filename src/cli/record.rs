//! An image record as JSON: what `-o json` shows, `export` writes and `import` reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    Descriptor, Digest, ImageName, Invalid, Labels, MediaType, Namespace, Platform, Size, Timestamp,
};
use crate::proto::v1;

/// A flat record. Reading needs `name`, `digest`, `media_type` and `size`, and refuses fields that
/// it does not know; times, etag and revision are read and not used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRecord {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
    pub digest: String,
    pub media_type: String,
    pub size: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformRecord>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
    #[serde(
        default,
        skip_serializing_if = "bytes::Bytes::is_empty",
        with = "base64_text"
    )]
    pub data: bytes::Bytes,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub updated_at: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub etag: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u64,
}

/// The platform of a record's target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformRecord {
    pub architecture: String,
    pub os: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// A point in time of the wire, where it is one.
pub fn timestamp(wire: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let wire = wire?;
    Timestamp::new(wire.seconds, u32::try_from(wire.nanos).ok()?).ok()
}

/// A point in time of the wire as RFC 3339, or nothing.
pub fn rfc3339(wire: Option<&prost_types::Timestamp>) -> String {
    timestamp(wire).map(|at| at.to_string()).unwrap_or_default()
}

// Serde passes a reference.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(content: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(content))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        let content = STANDARD.decode(text);
        content
            .map(Bytes::from)
            .map_err(|why| de::Error::custom(format!("data must be base64: {why}")))
    }
}

// === impl ImageRecord ===

impl ImageRecord {
    /// Reads one line of JSON. The error says what is wrong, and at which column.
    pub fn parse(line: &str) -> Result<Self, String> {
        // Serde would also take an array of the fields' values.
        if !line.trim_start().starts_with('{') {
            return Err("the line is no JSON object".to_owned());
        }
        let record: Self = serde_json::from_str(line).map_err(|why| {
            let place = format!(" at line {} column {}", why.line(), why.column());
            let text = why.to_string();
            match text.strip_suffix(&place) {
                Some(text) if why.column() > 0 => format!("{text} (column {})", why.column()),
                _ => text,
            }
        })?;
        record.check().map_err(|why| why.to_string())?;
        Ok(record)
    }

    /// The rules that the store has for one record by itself, so that a bad line is found before
    /// any later line is sent.
    fn check(&self) -> Result<(), Invalid> {
        if !self.namespace.is_empty() {
            self.namespace.parse::<Namespace>()?;
        }
        self.name.parse::<ImageName>()?;
        let media_type: MediaType = self.media_type.parse()?;
        let digest: Digest = self.digest.parse()?;
        let target = Descriptor::new(media_type, digest, Size::try_from(self.size)?)
            .with_annotations(self.annotations.clone())?
            .with_urls(self.urls.clone())?;
        if let Some(platform) = &self.platform {
            Platform::new(platform.architecture.clone(), platform.os.clone())
                .map_err(|why| why.within("platform"))?;
        }
        if !self.artifact_type.is_empty() {
            self.artifact_type
                .parse::<MediaType>()
                .map_err(|why| why.at("artifact_type"))?;
        }
        if !self.data.is_empty() {
            target.with_data(self.data.clone())?;
        }
        Labels::try_from(self.labels.clone())?;
        Ok(())
    }
}

impl From<v1::Image> for ImageRecord {
    fn from(image: v1::Image) -> Self {
        let target = image.target.unwrap_or_default();
        Self {
            created_at: rfc3339(image.created_at.as_ref()),
            updated_at: rfc3339(image.updated_at.as_ref()),
            namespace: image.namespace,
            name: image.name,
            digest: target.digest,
            media_type: target.media_type,
            size: target.size,
            annotations: target.annotations,
            urls: target.urls,
            platform: target
                .platform
                .map(|platform| PlatformRecord::from(*platform)),
            artifact_type: target.artifact_type,
            data: target.data,
            labels: image.labels,
            etag: image.etag,
            revision: image.revision,
        }
    }
}

/// What a Put takes of a record: its name, its target and its labels.
impl From<ImageRecord> for v1::Image {
    fn from(record: ImageRecord) -> Self {
        Self {
            name: record.name,
            target: Some(v1::Descriptor {
                media_type: record.media_type,
                digest: record.digest,
                size: record.size,
                annotations: record.annotations,
                urls: record.urls,
                platform: record.platform.map(|platform| Box::new(platform.into())),
                artifact_type: record.artifact_type,
                data: record.data,
            }),
            labels: record.labels,
            ..Self::default()
        }
    }
}

// === impl PlatformRecord ===

impl From<v1::Platform> for PlatformRecord {
    fn from(platform: v1::Platform) -> Self {
        Self {
            architecture: platform.architecture,
            os: platform.os,
            os_version: platform.os_version,
            os_features: platform.os_features,
            variant: platform.variant,
        }
    }
}

impl From<PlatformRecord> for v1::Platform {
    fn from(record: PlatformRecord) -> Self {
        Self {
            architecture: record.architecture,
            os: record.os,
            os_version: record.os_version,
            os_features: record.os_features,
            variant: record.variant,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(digest: &str, more: &str) -> String {
        format!(r#"{{"name":"a","digest":"{digest}","media_type":"m/t","size":2{more}}}"#)
    }

    fn sha() -> String {
        // Of the two bytes `{}`.
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned()
    }

    #[test]
    fn a_record_read_from_its_own_json_is_the_same() {
        let more = r#","annotations":{"k":"v"},"urls":["u"],"platform":{"architecture":"arm","os":"linux","os_version":"1","os_features":["f"],"variant":"v7"},"artifact_type":"x/y","data":"e30=","labels":{"l":""},"created_at":"2026-01-31T12:00:00Z","updated_at":"2026-01-31T12:00:00.000000001Z","etag":"7","revision":7"#;
        let text = line(&sha(), more);
        let record = ImageRecord::parse(&text).unwrap();
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            text,
            "the order of keys is fixed"
        );
        assert_eq!(&*record.data, b"{}");
    }

    #[test]
    fn a_record_needs_four_fields_and_shows_no_empty_one() {
        let text = line(&sha(), "");
        let record = ImageRecord::parse(&text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        for field in ["name", "digest", "media_type", "size"] {
            let mut fields: serde_json::Value = serde_json::from_str(&text).unwrap();
            fields.as_object_mut().unwrap().remove(field);
            let refused = ImageRecord::parse(&fields.to_string()).unwrap_err();
            assert!(
                refused.starts_with(&format!("missing field `{field}`")),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_bad_line_is_told_by_its_field() {
        for (text, said) in [
            (line(&sha(), r#","colour":1"#), "unknown field `colour`"),
            (line(&sha(), r#","size":3"#), "duplicate field `size`"),
            (
                line(&sha(), r#","platform":{"os":"linux","architecture":""}"#),
                "platform.architecture must not be empty",
            ),
            (line(&sha(), r#","data":"e3"#), "EOF while parsing a string"),
            (line(&sha(), r#","data":"***""#), "data must be base64"),
            (line(&sha(), r#","data":"e31=""#), "data must be base64"),
            (
                line(&sha(), r#","data":"W10=""#),
                "data does not have the digest",
            ),
            (line("sha256:12", ""), "digest has 2 characters"),
            (line("", ""), "digest must be"),
            (
                line(&sha(), r#","labels":{"":"v"}"#),
                "labels must not have an empty key",
            ),
            ("[]".to_owned(), "the line is no JSON object"),
            ("nonsense".to_owned(), "the line is no JSON object"),
            ("{".to_owned(), "EOF"),
        ] {
            let refused = ImageRecord::parse(&text).unwrap_err();
            assert!(refused.starts_with(said), "{text}: {refused}");
            assert!(!refused.contains("at line 1"), "{refused}");
        }
    }
}
