//! What a caller expects of a record before it changes it.

use crate::domain::{Digest, Image};
use crate::error::{Error, Subject};
use crate::kv::Revision;

use super::Stored;

/// What must hold before a write. All of it is checked against the same state that the write changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    #[default]
    None,
    /// [`Error::Exists`] when there is one.
    MustNotExist,
    /// [`Error::NotFound`] when there is none, [`Error::EtagMismatch`] or [`Error::TargetMismatch`]
    /// when it is another.
    Matches {
        etag: Option<Revision>,
        target: Option<Digest>,
    },
}

impl Precondition {
    /// Checks a record that has an etag and, perhaps, a target.
    pub(super) fn check<T: HasTarget>(
        &self,
        subject: impl Fn() -> Subject,
        old: Option<&Stored<T>>,
    ) -> Result<(), Error> {
        match (self, old) {
            (Self::None, _) | (Self::MustNotExist, None) => Ok(()),
            (Self::MustNotExist, Some(_)) => Err(Error::Exists(subject())),
            (Self::Matches { .. }, None) => Err(Error::NotFound(subject())),
            (Self::Matches { etag, target }, Some(old)) => {
                if let Some(expected) = etag.filter(|etag| *etag != old.revision) {
                    return Err(Error::EtagMismatch {
                        subject: subject(),
                        expected,
                        current: old.revision,
                    });
                }
                if let (Some(expected), Some(current)) = (target, old.record.target_digest())
                    && expected != current
                {
                    return Err(Error::TargetMismatch {
                        subject: subject(),
                        expected: Box::new(*expected),
                        current: Box::new(*current),
                    });
                }
                Ok(())
            }
        }
    }
}

/// A record that may point to content.
pub(super) trait HasTarget {
    fn target_digest(&self) -> Option<&Digest>;
}

impl HasTarget for Image {
    fn target_digest(&self) -> Option<&Digest> {
        Some(self.target.digest())
    }
}

impl HasTarget for crate::domain::NamespaceRecord {
    fn target_digest(&self) -> Option<&Digest> {
        None
    }
}
