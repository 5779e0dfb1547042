//! JSON as Go's programs read it, for what they wrote.
//!
//! - A key counts whatever the case of its ASCII letters. (Go takes the long s and the Kelvin sign for letters of
//!   ASCII too; here they make other keys.)
//! - A field that is `null` is as if it were absent.
//! - What a reader does not ask for may be anything, so long as the whole is JSON.
//! - A field of another type than asked for is refused, with its path.
//!
//! Stricter than Go: what is asked for stands there once, also in other case, since readers differ in which of several
//! counts; the text is UTF-8 without lone surrogates, nested at most 128 deep, a list holds no `null`, and
//! every number is within the range of a 64-bit float, read or not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::ImageConfig;
use crate::domain::{Invalid, Timestamp};

/// A JSON value whose objects keep their keys in the order of the text.
#[derive(Debug)]
pub(super) enum Json {
    Null,
    Flag(bool),
    Integer(i64),
    /// Past 64 bits, or with a fraction or an exponent.
    OtherNumber,
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// The fields of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(&'a [(String, Json)]);

// === impl Json ===

impl Json {
    /// Refuses what is not JSON, or larger than a config may be.
    pub(super) fn parse(text: &[u8], field: &'static str) -> Result<Self, Invalid> {
        if text.len() > ImageConfig::MAX_BYTES {
            let (bytes, most) = (text.len(), ImageConfig::MAX_BYTES);
            return Err(Invalid::new(
                field,
                format!("has {bytes} bytes, more than {most}"),
            ));
        }
        serde_json::from_slice(text).map_err(|e| Invalid::new(field, format!("must be JSON: {e}")))
    }

    /// Refuses what is no object.
    pub(super) fn fields(&self, field: &'static str) -> Result<Fields<'_>, Invalid> {
        match self {
            Self::Object(fields) => Ok(Fields(fields)),
            other => Err(other.is_not("an object", field)),
        }
    }

    fn text(&self, path: impl Into<String>) -> Result<&str, Invalid> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.is_not("a text", path)),
        }
    }

    fn list(&self, path: &str) -> Result<&[Self], Invalid> {
        match self {
            Self::List(list) => Ok(list),
            other => Err(other.is_not("a list", path)),
        }
    }

    fn is_not(&self, wanted: &str, path: impl Into<String>) -> Invalid {
        Invalid::new(
            path.into(),
            format!("must be {wanted}, not {}", self.kind()),
        )
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "a boolean",
            Self::Integer(_) | Self::OtherNumber => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    fn get(self, name: &str) -> Result<Option<&'a Json>, Invalid> {
        let mut named = self
            .0
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = named.next().map(|(_, value)| value);
        if named.next().is_some() {
            return Err(Invalid::new(name.to_owned(), "comes twice"));
        }
        Ok(value.filter(|value| !matches!(value, Json::Null)))
    }

    /// Empty where absent.
    pub(super) fn text(self, name: &str) -> Result<String, Invalid> {
        self.get(name)?.map_or(Ok(String::new()), |value| {
            value.text(name).map(str::to_owned)
        })
    }

    /// False where absent.
    pub(super) fn flag(self, name: &str) -> Result<bool, Invalid> {
        match self.get(name)? {
            None => Ok(false),
            Some(Json::Flag(flag)) => Ok(*flag),
            Some(other) => Err(other.is_not("a boolean", name)),
        }
    }

    pub(super) fn integer(self, name: &str) -> Result<Option<i64>, Invalid> {
        match self.get(name)? {
            None => Ok(None),
            Some(Json::Integer(number)) => Ok(Some(*number)),
            Some(Json::OtherNumber) => Err(Invalid::new(
                name.to_owned(),
                "must be a whole number of at most 64 bits",
            )),
            Some(other) => Err(other.is_not("a number", name)),
        }
    }

    pub(super) fn time(self, name: &str) -> Result<Option<Timestamp>, Invalid> {
        let Some(value) = self.get(name)? else {
            return Ok(None);
        };
        let time = value.text(name)?.parse();
        time.map(Some).map_err(|e: Invalid| e.at(name.to_owned()))
    }

    pub(super) fn object(self, name: &str) -> Result<Option<Fields<'a>>, Invalid> {
        match self.get(name)? {
            None => Ok(None),
            Some(Json::Object(fields)) => Ok(Some(Fields(fields))),
            Some(other) => Err(other.is_not("an object", name)),
        }
    }

    /// Empty where absent.
    pub(super) fn objects(self, name: &str) -> Result<Vec<Fields<'a>>, Invalid> {
        let list = self
            .get(name)?
            .map_or(Ok(&[][..]), |value| value.list(name))?;
        let object = |(i, value): (usize, &'a Json)| match value {
            Json::Object(fields) => Ok(Fields(fields)),
            other => Err(other.is_not("an object", format!("{name}[{i}]"))),
        };
        list.iter().enumerate().map(object).collect()
    }

    /// Empty where absent.
    pub(super) fn texts(self, name: &str) -> Result<Vec<String>, Invalid> {
        let list = self
            .get(name)?
            .map_or(Ok(&[][..]), |value| value.list(name))?;
        let text =
            |(i, value): (usize, &Json)| value.text(format!("{name}[{i}]")).map(str::to_owned);
        list.iter().enumerate().map(text).collect()
    }

    /// A list of texts, or one text, which old Docker wrote for a list of one. Empty where absent.
    pub(super) fn words(self, name: &str) -> Result<Vec<String>, Invalid> {
        match self.get(name)? {
            Some(Json::Text(word)) => Ok(vec![word.clone()]),
            Some(other) if !matches!(other, Json::List(_)) => {
                Err(other.is_not("a list or a text", name))
            }
            Some(_) | None => self.texts(name),
        }
    }

    /// The keys of an object whose values say nothing: objects or `null`. Empty where absent.
    pub(super) fn keys(self, name: &str) -> Result<BTreeSet<String>, Invalid> {
        let mut keys = BTreeSet::new();
        for (key, value) in self.object(name)?.map_or(&[][..], |fields| fields.0) {
            if !matches!(value, Json::Object(_) | Json::Null) {
                return Err(value.is_not("an object", format!("{name}[{key:?}]")));
            }
            if !keys.insert(key.clone()) {
                return Err(Invalid::new(format!("{name}[{key:?}]"), "comes twice"));
            }
        }
        Ok(keys)
    }

    /// Texts by key; `null` is the empty text. Empty where absent.
    pub(super) fn texts_by_key(self, name: &str) -> Result<BTreeMap<String, String>, Invalid> {
        let mut texts = BTreeMap::new();
        for (key, value) in self.object(name)?.map_or(&[][..], |fields| fields.0) {
            let text = match value {
                Json::Null => "",
                other => other.text(format!("{name}[{key:?}]"))?,
            };
            if texts.insert(key.clone(), text.to_owned()).is_some() {
                return Err(Invalid::new(format!("{name}[{key:?}]"), "comes twice"));
            }
        }
        Ok(texts)
    }
}

// === reading ===

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(i64::try_from(number).map_or(Json::OtherNumber, Json::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }
}
