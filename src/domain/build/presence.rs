//! Where an image is, and whether it is there.

use std::str::FromStr;
use std::sync::Arc;

use crate::domain::name::{bounded, text};
use crate::domain::{Digest, Invalid};

/// A place that keeps images: a registry, or the daemon of one machine. 1 to 4,096 bytes of text without NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(Arc<str>);

/// What a place answered when it was asked for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there, with this digest where the place told it.
    Present(Option<Digest>),
    /// It is certainly not there.
    Absent,
    /// The place could not be asked, or gave no answer that says the one or the other.
    Unknown,
}

// === impl Location ===

text!(Location);

impl Location {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Location {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        bounded("location", text).map(Self)
    }
}
