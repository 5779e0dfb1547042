//! What a config is called: its id, the beginning of an id, and how a text may be meant.

use std::fmt;
use std::str::FromStr;

use crate::domain::{Algorithm, Digest, ImageName, Invalid};

/// The id of a config: the SHA-256 of its bytes, as `sha256:` and 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigId([u8; 32]);

/// The beginning of an id, as people type it: 4 to 64 lowercase hex digits, with or without `sha256:`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdPrefix {
    hex: String,
}

/// How a text may be meant that stands for a config.
///
/// Refused is only what can be no record's name and no id: the empty text, NUL, too many bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A whole id, with or without `sha256:`. It is nothing else, even where a record has that name.
    Id(ConfigId),
    /// The record of that name; where there is none, what else the text may be.
    Name(ImageName, Otherwise),
}

/// What a text is that is no record's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The beginning of an id.
    Prefix(IdPrefix),
    /// Meant as the beginning of an id, and none: this is to be said, rather than that nothing was found.
    Refused(Invalid),
    /// Nothing.
    Nothing,
}

const ALGORITHM: &str = "sha256:";

// === impl ConfigId ===

impl ConfigId {
    /// The id of the config that these bytes are.
    pub fn of(config: &[u8]) -> Self {
        let digest = Digest::of(Algorithm::Sha256, config);
        Self::try_from(&digest).expect("a SHA-256 has 32 bytes")
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn digest(&self) -> Digest {
        Digest::from_bytes(Algorithm::Sha256, &self.0).expect("an id has 32 bytes")
    }
}

impl From<ConfigId> for Digest {
    fn from(id: ConfigId) -> Self {
        id.digest()
    }
}

impl TryFrom<&Digest> for ConfigId {
    type Error = Invalid;

    /// Refuses what is no sha256.
    fn try_from(digest: &Digest) -> Result<Self, Invalid> {
        match digest.algorithm() {
            Algorithm::Sha256 => {
                let bytes = digest.as_bytes().try_into();
                Ok(Self(bytes.expect("a SHA-256 has 32 bytes")))
            }
            Algorithm::Sha384 | Algorithm::Sha512 => Err(Invalid::new("id", "must be of sha256")),
        }
    }
}

impl FromStr for ConfigId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digest: Digest = text.parse().map_err(|e: Invalid| e.at("id"))?;
        Self::try_from(&digest)
    }
}

impl fmt::Display for ConfigId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.digest(), f)
    }
}

impl fmt::Debug for ConfigId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl IdPrefix ===

impl IdPrefix {
    pub const MIN_DIGITS: usize = 4;
    pub const MAX_DIGITS: usize = 64;

    /// The first and the last id that start so.
    pub fn range(&self) -> (ConfigId, ConfigId) {
        (self.padded('0'), self.padded('f'))
    }

    fn padded(&self, with: char) -> ConfigId {
        let mut text = format!("{ALGORITHM}{}", self.hex);
        text.extend(std::iter::repeat_n(with, Self::MAX_DIGITS - self.hex.len()));
        text.parse().expect("64 hex digits are an id")
    }
}

impl FromStr for IdPrefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let hex = text.strip_prefix(ALGORITHM).unwrap_or(text);
        if !is_hex(hex) {
            return Err(Invalid::new("id_prefix", "must be in lowercase hex"));
        }
        if !(Self::MIN_DIGITS..=Self::MAX_DIGITS).contains(&hex.len()) {
            let reason = format!(
                "must have {} to {} hex digits of an id",
                Self::MIN_DIGITS,
                Self::MAX_DIGITS
            );
            return Err(Invalid::new("id_prefix", reason));
        }
        Ok(Self {
            hex: hex.to_owned(),
        })
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex)
    }
}

impl fmt::Debug for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

// === impl Reference ===

impl FromStr for Reference {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let hex = text.strip_prefix(ALGORITHM).unwrap_or(text);
        if let Ok(id) = format!("{ALGORITHM}{hex}").parse() {
            return Ok(Self::Id(id));
        }
        let name = text.parse().map_err(|e: Invalid| e.at("reference"))?;
        let is_meant_as_id =
            text.starts_with(ALGORITHM) || (is_hex(hex) && hex.len() < IdPrefix::MIN_DIGITS);
        let otherwise = match text.parse() {
            Ok(prefix) => Otherwise::Prefix(prefix),
            Err(refusal) if is_meant_as_id => Otherwise::Refused(Invalid::at(refusal, "reference")),
            Err(_) => Otherwise::Nothing,
        };
        Ok(Self::Name(name, otherwise))
    }
}
