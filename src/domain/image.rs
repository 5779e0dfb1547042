//! A named image record.

use std::borrow::Cow;

use super::{Descriptor, ImageName, Kind, Labels, Subject, Timestamp, Value};

/// What a name points to, what was noted on it, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub name: ImageName,
    pub target: Descriptor,
    pub labels: Labels,
    /// When the name was first put; survives an overwrite.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
}

/// The fields are containerd's (`name`, `target.digest`, `target.mediatype`, `labels.KEY`,
/// `annotations.KEY`), with size, times and artifact type beside them.
impl Subject for Image {
    const FIELDS: &'static str = "name, target.digest, target.mediatype, target.artifacttype, \
        target.size, labels.KEY, annotations.KEY, created_at, updated_at";

    fn kind(path: &[String]) -> Option<Kind> {
        let mut path = path.iter().map(String::as_str);
        match (path.next()?, path.next(), path.next()) {
            ("name", None, _) => Some(Kind::Text),
            ("target", Some("digest" | "mediatype" | "artifacttype"), None) => Some(Kind::Text),
            ("target", Some("size"), None) => Some(Kind::Number),
            ("labels" | "annotations", Some(_), _) => Some(Kind::Text),
            ("created_at" | "updated_at", None, _) => Some(Kind::Time),
            _ => None,
        }
    }

    /// Containerd passes over what follows the name and a field of the target.
    fn is_containerds(path: &[String]) -> bool {
        let mut path = path.iter().map(String::as_str);
        match path.next() {
            Some("name" | "labels" | "annotations") => true,
            Some("target") => matches!(path.next(), Some("digest" | "mediatype")),
            Some(_) | None => false,
        }
    }

    fn value(&self, path: &[String]) -> Option<Value<'_>> {
        let (field, rest) = path.split_first()?;
        let text = |text| Some(Value::Text(Cow::Borrowed(text)));
        match field.as_str() {
            "name" => text(self.name.as_str()),
            "target" => match rest.first()?.as_str() {
                "digest" => Some(Value::Text(Cow::Owned(self.target.digest().text()))),
                "mediatype" => text(self.target.media_type().as_str()),
                "artifacttype" => text(self.target.artifact_type()?.as_str()),
                "size" => Some(Value::Number(self.target.size().get())),
                _ => None,
            },
            "labels" => text(self.labels.get(&joined(rest))?),
            "annotations" => text(self.target.annotations().get(joined(rest).as_ref())?),
            "created_at" => Some(Value::Time(self.created_at)),
            "updated_at" => Some(Value::Time(self.updated_at)),
            _ => None,
        }
    }
}

/// A key may hold dots: `labels.a.b` asks for `a.b`.
pub(super) fn joined(path: &[String]) -> Cow<'_, str> {
    match path {
        [one] => Cow::Borrowed(one),
        many => Cow::Owned(many.join(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Algorithm, Dialect, Digest, Filter, Size};

    #[test]
    fn what_containerd_does_not_know_is_absent_in_its_dialect() {
        let time = Timestamp::UNIX_EPOCH;
        let target = Descriptor::new(
            "a/b".parse().unwrap(),
            Digest::of(Algorithm::Sha256, b""),
            Size::try_from(1u64).unwrap(),
        );
        let image = Image {
            name: "n".parse().unwrap(),
            target: target.with_artifact_type(Some("a/chart".parse().unwrap())),
            labels: Labels::default(),
            created_at: time,
            updated_at: time,
        };
        let matches = |text: &str, dialect| {
            let filter = Filter::parse::<Image>(&[text], dialect).unwrap();
            filter.matches(&image)
        };
        assert!(matches("target.artifacttype", Dialect::Native));
        for field in [
            "target.artifacttype",
            "target.artifacttype.x",
            "target.size",
            "target.size.x",
            "created_at",
            "created_at.x",
            "updated_at.x",
            "target",
            "labels",
            "nonsense",
        ] {
            assert!(!matches(field, Dialect::Containerd), "{field}");
            let empty = format!("{field}~=^$");
            assert!(matches(&empty, Dialect::Containerd), "{empty}");
            let other = format!("{field}!=x");
            assert!(matches(&other, Dialect::Containerd), "{other}");
        }
        for field in ["name", "name.x", "target.digest.x", "target.mediatype"] {
            assert!(matches(field, Dialect::Containerd), "{field}");
        }
    }
}
