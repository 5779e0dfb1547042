//! Leases: what is to be kept although nothing refers to it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use super::image::joined;
use super::name::{bounded, text};
use super::{Digest, ImageName, Invalid, Kind, Subject, Timestamp, Value};

/// A lease and what was noted on it. What it holds is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: LeaseId,
    /// Text by key. As for containerd's leases, only the size of the whole record is bounded.
    pub labels: BTreeMap<String, String>,
    pub created_at: Timestamp,
}

/// What a lease is called: 1 to 4,096 bytes of text without NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(Arc<str>);

/// Something that a lease holds, whether or not it is there. In the order in which containerd lists
/// them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    Content(Digest),
    Image(ImageName),
    /// Content that is being written.
    Ingest(ResourceId),
    Snapshot {
        snapshotter: Snapshotter,
        key: ResourceId,
    },
}

/// What others call a resource: 1 to 4,096 bytes of text without NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(Arc<str>);

/// Who keeps a snapshot: 1 to 4,096 bytes of text without NUL and `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Snapshotter(Arc<str>);

// === impl Lease ===

impl Lease {
    /// The label that says, in RFC 3339, when the lease expires.
    pub const EXPIRY: &str = "containerd.io/gc.expire";

    /// After when it holds nothing any more; `None` where it does not say, or not in RFC 3339.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let text = self.labels.get(Self::EXPIRY)?;
        text.parse().ok().filter(|_| is_rfc3339(text))
    }
}

/// Whether a text that is a time has exactly RFC 3339's form, as Go asks for.
fn is_rfc3339(text: &str) -> bool {
    let has_form = |text: &[u8], form: &[u8]| {
        let fits = |(byte, form): (&u8, &u8)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        };
        text.len() == form.len() && text.iter().zip(form).all(fits)
    };
    let Some((time, zone)) = text.as_bytes().split_at_checked(19) else {
        return false;
    };
    let zone = match zone.split_first() {
        Some((b'.', rest)) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            &rest[digits..]
        }
        _ => zone,
    };
    let is_zone = zone == b"Z" || has_form(zone, b"+00:00") || has_form(zone, b"-00:00");
    has_form(time, b"0000-00-00T00:00:00") && time[17] < b'6' && is_zone
}

/// The fields are containerd's: `id` and `labels.KEY`.
impl Subject for Lease {
    const FIELDS: &'static str = "id, labels.KEY";

    fn kind(path: &[String]) -> Option<Kind> {
        match path {
            [id] if id == "id" => Some(Kind::Text),
            [labels, _, ..] if labels == "labels" => Some(Kind::Text),
            _ => None,
        }
    }

    fn value(&self, path: &[String]) -> Option<Value<'_>> {
        let (field, rest) = path.split_first()?;
        let text = match field.as_str() {
            "id" => self.id.as_str(),
            "labels" => self.labels.get(joined(rest).as_ref())?,
            _ => return None,
        };
        Some(Value::Text(Cow::Borrowed(text)))
    }
}

// === impl LeaseId, ResourceId, Snapshotter ===

text!(LeaseId, ResourceId, Snapshotter);

impl LeaseId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LeaseId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        bounded("id", text).map(Self)
    }
}

impl ResourceId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ResourceId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        bounded("resource", text).map(Self)
    }
}

impl Snapshotter {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Snapshotter {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.contains('/') {
            return Err(Invalid::new("snapshotter", "must not contain /"));
        }
        bounded("snapshotter", text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Dialect, Filter};

    fn lease(labels: &[(&str, &str)]) -> Lease {
        let label = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Lease {
            id: "l1".parse().unwrap(),
            labels: labels.iter().map(label).collect(),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_id_is_any_text_of_1_to_4096_bytes_without_nul() {
        for good in ["a", "a/b c", "naïve\n", &"x".repeat(4096)] {
            assert_eq!(good.parse::<LeaseId>().unwrap().as_str(), good);
            assert_eq!(good.parse::<ResourceId>().unwrap().as_str(), good);
        }
        for bad in ["", "a\0b", &"x".repeat(4097)] {
            assert_eq!(bad.parse::<LeaseId>().unwrap_err().field(), "id");
            assert_eq!(bad.parse::<ResourceId>().unwrap_err().field(), "resource");
            let snapshotter = bad.parse::<Snapshotter>().unwrap_err();
            assert_eq!(snapshotter.field(), "snapshotter");
        }
        assert!("over lay\"fs".parse::<Snapshotter>().is_ok());
        assert!("a/b".parse::<Snapshotter>().is_err());
    }

    #[test]
    fn a_lease_expires_when_its_label_says_so_in_rfc_3339() {
        for (text, seconds) in [
            ("1970-01-01T00:00:07Z", Some(7)),
            ("1970-01-01T01:00:07.25+01:00", Some(7)),
            ("1970-01-01T00:00:07-00:00", Some(7)),
            ("1970-01-01 00:00:07Z", None),
            ("1970-01-01t00:00:07z", None),
            ("1970-01-01T00:00:60Z", None),
            ("1970-01-01T00:00Z", None),
            ("1970-01-01T00:00:07Z[UTC]", None),
            ("1970-01-01T00:00:07", None),
            ("1970-13-01T00:00:07Z", None),
            ("tomorrow", None),
            ("", None),
        ] {
            let found = lease(&[(Lease::EXPIRY, text)]).expires_at();
            assert_eq!(found.map(Timestamp::seconds), seconds, "{text}");
        }
        assert_eq!(lease(&[("k", "1970-01-01T00:00:07Z")]).expires_at(), None);
    }

    #[test]
    fn a_filter_asks_for_the_id_and_for_labels_and_finds_nothing_else() {
        let lease = lease(&[("a", "b"), ("c.d", "e")]);
        let matches = |text: &str| {
            let filter = Filter::parse::<Lease>(&[text], Dialect::Containerd).unwrap();
            filter.matches(&lease)
        };
        for yes in [
            "id",
            "id==l1",
            "id~=^l",
            "labels.a",
            "labels.c.d==e",
            "labels.x!=y",
            "name!=l1",
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in [
            "id==l2",
            "labels",
            "labels.x",
            "name",
            "created_at",
            "id~=[",
            "labels.a==b,id==x",
        ] {
            assert!(!matches(no), "{no}");
        }
    }
}
