//! Linking a target to a config.

use bytes::Bytes;

use super::Configs;
use crate::domain::{ConfigId, Digest, Namespace};
use crate::error::Error;
use crate::kv::{Batch, Guard, Revision, Rows};
use crate::store::edit::View;
use crate::store::schema;

/// A target that is to be linked, and how many configs it has.
#[derive(Clone, Debug)]
pub struct Linkable {
    target: Digest,
    configs: usize,
    /// When they were counted.
    seen_at: Revision,
}

impl Linkable {
    pub async fn look(
        view: &View<'_>,
        namespace: &Namespace,
        target: &Digest,
    ) -> Result<Self, Error> {
        let part = schema::digest_part(target);
        let rows = Rows::starting_with(schema::targets(namespace), &part);
        let found = view.scan(&rows, Configs::MAX_OF_TARGET).await?;
        Ok(Self {
            target: *target,
            configs: found.rows.len(),
            seen_at: view.revision(),
        })
    }

    pub fn target(&self) -> Digest {
        self.target
    }

    /// Has a batch link the target to a config that it is not linked to, in both indexes.
    ///
    /// [`Error::TargetFull`] where it has as many as it may.
    pub fn plan(
        &self,
        batch: &mut Batch,
        namespace: &Namespace,
        id: &ConfigId,
    ) -> Result<(), Error> {
        if self.configs >= Configs::MAX_OF_TARGET {
            return Err(Error::TargetFull {
                namespace: namespace.clone(),
                target: Box::new(self.target),
                limit: Configs::MAX_OF_TARGET,
            });
        }
        // Far from the limit, links at once cannot go past it.
        if self.configs >= Configs::MAX_OF_TARGET / 2 {
            let part = schema::digest_part(&self.target);
            let all = schema::targets(namespace).key(part);
            batch.guard(Guard::Quiet(all, self.seen_at));
        }
        batch
            .put(
                schema::target_key(namespace, &self.target, id),
                Bytes::new(),
            )
            .put(
                schema::targeted_key(namespace, id, &self.target),
                Bytes::new(),
            );
        Ok(())
    }
}
