//! The filter language as a whole, and the record all its tests ask.

mod containerd;
mod native;
mod pattern;
mod property;

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::*;

/// A record with every kind of field; strict in `kind` and containerd's own in `value`.
#[derive(Clone, Debug, Default)]
struct Record {
    name: String,
    digest: String,
    media_type: String,
    size: Option<u64>,
    created: Option<Timestamp>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Subject for Record {
    const FIELDS: &'static str = "name, target.digest, target.size, created_at and labels.KEY";

    fn kind(path: &[String]) -> Option<Kind> {
        match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["name"] | ["target", "digest" | "mediatype"] => Some(Kind::Text),
            ["labels" | "annotations", _, ..] => Some(Kind::Text),
            ["target", "size"] => Some(Kind::Number),
            ["created_at"] => Some(Kind::Time),
            _ => None,
        }
    }

    fn value(&self, path: &[String]) -> Option<Value<'_>> {
        let text = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let text = match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["name", ..] => text(&self.name),
            ["target", "digest", ..] => text(&self.digest),
            ["target", "mediatype", ..] => text(&self.media_type),
            ["target", "size"] => return self.size.map(Value::Number),
            ["created_at"] => return self.created.map(Value::Time),
            ["labels", ..] => self.labels.get(&path[1..].join(".")).cloned(),
            ["annotations", ..] => self.annotations.get(&path[1..].join(".")).cloned(),
            _ => None,
        };
        text.map(|text| Value::Text(Cow::Owned(text)))
    }
}

fn named(name: &str) -> Record {
    Record {
        name: name.to_owned(),
        ..Record::default()
    }
}

fn labelled(value: &str) -> Record {
    Record {
        labels: BTreeMap::from([("k".to_owned(), value.to_owned())]),
        ..named("n")
    }
}

fn native(text: &str) -> Result<Filter, FilterError> {
    Filter::parse::<Record>(&[text], Dialect::Native)
}

fn containerd(text: &str) -> Result<Filter, FilterError> {
    Filter::parse::<Record>(&[text], Dialect::Containerd)
}

fn refusal(text: &str) -> (usize, String) {
    let error = native(text).unwrap_err();
    (error.position(), error.reason().to_owned())
}

/// Whether both dialects match, which must agree.
fn matches(text: &str, record: &Record) -> bool {
    let answers = [
        native(text).unwrap().matches(record),
        containerd(text).unwrap().matches(record),
    ];
    assert_eq!(answers[0], answers[1], "{text}");
    answers[0]
}

#[test]
fn an_empty_list_and_an_empty_text_match_everything() {
    for dialect in [Dialect::Native, Dialect::Containerd] {
        for texts in [&[] as &[&str], &[""], &["name==x", ""]] {
            let filter = Filter::parse::<Record>(texts, dialect).unwrap();
            assert!(filter.is_all() && filter.matches(&Record::default()));
            assert_eq!(filter.hints(), [Hint::All]);
        }
    }
    assert!(!native("name").unwrap().is_all());
}

#[test]
fn texts_are_alternatives_and_selectors_must_all_hold() {
    let filter = Filter::parse::<Record>(
        &["name==a,labels.k", "name==n,labels.k==v"],
        Dialect::Native,
    )
    .unwrap();
    assert!(filter.matches(&labelled("v")));
    assert!(!filter.matches(&labelled("w")));
    assert!(!filter.matches(&named("a")));
}

#[test]
fn hints_are_the_narrowest_sure_lookup() {
    let name = |text: &str| Hint::Name(text.into());
    let prefix = |text: &str| Hint::NamePrefix(text.into());
    let parts = |parts: &[&str], is_whole| Hint::NameParts {
        parts: parts.iter().map(|part| (*part).into()).collect(),
        is_whole,
    };
    let digest = |text: &str| Hint::Digest(text.into());
    let digests = |text: &str| Hint::DigestPrefix(text.into());
    for (text, hint) in [
        ("name==a", name("a")),
        ("target.digest==sha256:ab,labels.k", digest("sha256:ab")),
        ("target.digest==sha256:ab,name==a", name("a")),
        (r#"name~="^repo:[\\w][\\w.-]{0,127}$""#, prefix("repo:")),
        (
            r#"target.digest~="^sha256:abc[0-9a-fA-F]{61}$""#,
            digests("sha256:abc"),
        ),
        ("target.digest~=^sha256:abc.*$", digests("sha256:abc")),
        ("target.digest~=^sha256:a", digests("sha256:a")),
        ("target.digest~=^alpine.*$", digests("alpine")),
        ("target.digest~=^sha256:", Hint::All),
        ("target.digest~=^sha", Hint::All),
        ("name~=^repo:", prefix("repo:")),
        ("name~=^docker.io/", parts(&["docker", "io/"], false)),
        (
            "name~=^docker.io/a:3.1$",
            parts(&["docker", "io/a:3", "1"], true),
        ),
        ("name~=^docker.$", parts(&["docker", ""], true)),
        ("name~=^docker.*", prefix("docker")),
        ("name~=^docker.", prefix("docker")),
        ("name~=^docker[.-]io", parts(&["docker", "io"], false)),
        ("name~=^docker[-_]io", prefix("docker")),
        ("name~=^.io", Hint::All),
        ("target.digest~=^sha256:ab.d", digests("sha256:ab")),
        (r"name~=^docker\.io/.*", prefix("docker.io/")),
        (r"name~=^docker\.io/a$", name("docker.io/a")),
        (r"name~=^\Qdocker.io/a\E$", name("docker.io/a")),
        (r"name~=\Ax\z", name("x")),
        ("name~=^fo*", prefix("f")),
        ("name~=^(?:foo)bar?", prefix("fooba")),
        ("name~=^é", prefix("é")),
        (
            "name~=^sha,target.digest~=^sha256:abcd",
            digests("sha256:abcd"),
        ),
        ("name~=^sha,target.digest~=^sha256:a", prefix("sha")),
        ("name~=^foo|bar", Hint::All),
        ("name~=^foo|^bar", Hint::All),
        ("name~=(?i)^foo", Hint::All),
        ("name~=(?m)^foo", Hint::All),
        ("name~=(?:^foo)?", Hint::All),
        ("name~=^$", Hint::All),
        ("name~=^", Hint::All),
        ("name~=foo", Hint::All),
        ("name==\"\"", Hint::All),
        ("name!=a", Hint::All),
        ("name", Hint::All),
        ("labels.name==a", Hint::All),
    ] {
        assert_eq!(native(text).unwrap().hints(), [hint], "{text}");
    }
    let filter =
        Filter::parse::<Record>(&["name~=^b", "name==a", "name==a"], Dialect::Native).unwrap();
    assert_eq!(filter.hints(), [name("a"), prefix("b")]);
}

/// A text as a filter can always say it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..' ' | '\u{fffd}' => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
