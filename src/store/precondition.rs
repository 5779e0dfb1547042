//! What a caller expects of a record before it changes it.

use super::epoch::Known;
use crate::domain::{Digest, Invalid};
use crate::error::{Error, Subject};
use crate::kv::Revision;

/// What must hold before a write. All of it is checked against the same state that the write changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    #[default]
    None,
    /// [`Error::Exists`] when there is one.
    MustNotExist,
    /// [`Error::NotFound`] when there is none, [`Error::EtagMismatch`] or [`Error::TargetMismatch`]
    /// when it is another; [`Error::UnknownRevision`] for an etag that this store has not given yet.
    Matches {
        etag: Option<Revision>,
        target: Option<Digest>,
    },
}

impl Precondition {
    /// What an `if_etag` asks for, where there is one.
    pub(super) fn of_etag(etag: Option<Revision>) -> Self {
        match etag {
            None => Self::None,
            Some(_) => Self::Matches { etag, target: None },
        }
    }

    /// Checks what was seen of a record: its revision and, where it has one, its target.
    pub(super) fn check(
        &self,
        subject: impl Fn() -> Subject,
        old: Option<(Revision, Option<&Digest>)>,
        known: &Known,
    ) -> Result<(), Error> {
        let (etag, target) = match (self, old) {
            (Self::None, _) | (Self::MustNotExist, None) => return Ok(()),
            (Self::MustNotExist, Some(_)) => return Err(Error::Exists(subject())),
            (Self::Matches { etag, target }, _) => (etag, target),
        };
        if let Some(etag) = etag {
            known.check(*etag)?;
        }
        let Some((current, current_target)) = old else {
            return Err(Error::NotFound(subject()));
        };
        if let Some(expected) = etag.filter(|etag| *etag != current) {
            return Err(Error::EtagMismatch {
                subject: subject(),
                expected,
                current,
            });
        }
        match (target, current_target) {
            (Some(_), None) => Err(Invalid::new("if_target", "asks for what has no target").into()),
            (Some(expected), Some(current)) if expected != current => Err(Error::TargetMismatch {
                subject: subject(),
                expected: Box::new(*expected),
                current: Box::new(*current),
            }),
            _ => Ok(()),
        }
    }
}
