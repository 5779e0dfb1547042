//! Labels: what users and tools note on a record.

use std::collections::BTreeMap;

use super::Invalid;

/// Text by key. A key is not empty, and with its value takes at most 4,096 bytes (containerd's
/// limit).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    pub const MAX_PAIR_BYTES: usize = 4096;

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Replaces the value of a key.
    pub fn set(&mut self, key: String, value: String) -> Result<(), Invalid> {
        Self::check(&key, &value)?;
        self.0.insert(key, value);
        Ok(())
    }

    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }

    /// Refuses a pair that is too large, and one without a key.
    pub fn check(key: &str, value: &str) -> Result<(), Invalid> {
        if key.is_empty() {
            return Err(Invalid::new("labels", "must not have an empty key"));
        }
        let bytes = key.len() + value.len();
        if bytes > Self::MAX_PAIR_BYTES {
            let shown: String = key.chars().take(64).collect();
            return Err(Invalid::new(
                "labels",
                format!(
                    "has a key and value of {bytes} bytes together, more than {}, at key {shown:?}",
                    Self::MAX_PAIR_BYTES
                ),
            ));
        }
        Ok(())
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = Invalid;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self, Invalid> {
        for (key, value) in &map {
            Self::check(key, value)?;
        }
        Ok(Self(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_takes_at_most_4096_bytes_and_a_key_is_not_empty() {
        let mut labels = Labels::default();
        assert!(labels.set("k".into(), "v".repeat(4095)).is_ok());
        assert!(labels.set("k".into(), "v".repeat(4096)).is_err());
        assert!(labels.set(String::new(), "v".into()).is_err());
        assert_eq!(
            labels.get("k").map(str::len),
            Some(4095),
            "a refused value changes nothing"
        );
    }
}
