//! Which revisions a store has had: all up to the newest, but for those that a restore left out.

use std::sync::Arc;

use crate::error::Error;
use crate::kv::Revision;

/// Revisions that the store never had: those between a backup's revision and the one that the store
/// restored from it began at. Another store may have given them out since the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub after: Revision,
    pub before: Revision,
}

/// What a caller can know of.
#[derive(Clone, Debug)]
pub struct Known {
    pub newest: Revision,
    pub gaps: Arc<[Gap]>,
}

impl Known {
    /// [`Error::UnknownRevision`] for one that this store has not had.
    pub fn check(&self, asked: Revision) -> Result<(), Error> {
        let is_left_out = |gap: &Gap| gap.after < asked && asked < gap.before;
        if asked > self.newest || self.gaps.iter().any(is_left_out) {
            return Err(Error::UnknownRevision {
                asked,
                newest: self.newest,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_had_is_known_and_what_a_restore_left_out_is_not() {
        let gap = |after, before| Gap {
            after: Revision(after),
            before: Revision(before),
        };
        let known = Known {
            newest: Revision(210),
            gaps: [gap(10, 100), gap(105, 200)].into(),
        };
        for (revision, wanted) in [
            (0, true),
            (10, true),
            (11, false),
            (99, false),
            (100, true),
            (105, true),
            (106, false),
            (200, true),
            (210, true),
            (211, false),
        ] {
            assert_eq!(
                known.check(Revision(revision)).is_ok(),
                wanted,
                "{revision}"
            );
        }
    }
}
