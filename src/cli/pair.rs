//! `KEY=VALUE` as an argument.

use std::collections::BTreeMap;
use std::str::FromStr;

/// A key and its value, divided at the first `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub key: String,
    pub value: String,
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text
            .split_once('=')
            .ok_or("there is no '='; write KEY=VALUE")?;
        if key.is_empty() {
            return Err("there is no key before the '='; write KEY=VALUE");
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Of a key that is given twice, the last value counts.
pub fn to_map(pairs: Vec<Pair>) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|pair| (pair.key, pair.value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_divided_at_its_first_equals_sign() {
        for (text, key, value) in [("a=b", "a", "b"), ("a=b=c", "a", "b=c"), ("a=", "a", "")] {
            let pair: Pair = text.parse().unwrap();
            assert_eq!((&*pair.key, &*pair.value), (key, value));
        }
        for text in ["a", "", "=", "=b"] {
            assert!(text.parse::<Pair>().is_err(), "{text}");
        }
    }
}
