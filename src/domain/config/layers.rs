//! Layers as configs name them, each alone and with all below it.

use std::fmt;
use std::sync::Arc;

use crate::domain::{Algorithm, Digest};

/// A layer's uncompressed content, as a config names it: any text, for the id of a config is the digest of its
/// bytes whatever they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiffId(Arc<str>);

/// A layer with all below it (OCI image-spec, "Layer ChainID").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(Arc<str>);

/// For each layer its chain id, the lowest first.
pub fn chain_ids(diff_ids: &[DiffId]) -> Vec<ChainId> {
    let mut chain: Vec<ChainId> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => ChainId(diff_id.0.clone()),
            Some(below) => {
                let both = format!("{below} {diff_id}");
                ChainId(Digest::of(Algorithm::Sha256, both.as_bytes()).text().into())
            }
        };
        chain.push(next);
    }
    chain
}

// === impl DiffId ===

impl DiffId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for DiffId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

// === impl ChainId ===

impl From<&str> for ChainId {
    /// Any text: that of a lowest layer is whatever a config says.
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl ChainId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its form in keys: the SHA-256 of its text, since the text of a lowest layer may be anything.
    pub fn key(&self) -> [u8; 32] {
        let digest = Digest::of(Algorithm::Sha256, self.0.as_bytes());
        digest
            .as_bytes()
            .try_into()
            .expect("a SHA-256 has 32 bytes")
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
