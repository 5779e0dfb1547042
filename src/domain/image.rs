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
fn joined(path: &[String]) -> Cow<'_, str> {
    match path {
        [one] => Cow::Borrowed(one),
        many => Cow::Owned(many.join(".")),
    }
}
