//! New versions for a target and for all that is built on it.

use std::sync::Arc;

use super::apply::within_bytes;
use super::load::{All, Claims, Everything};
use super::rows::not_found;
use super::{BuildTargets, BumpTarget, BumpedTarget, BumpedTargets};
use crate::domain::build::{Because, Bump, Bumped, Graph, Progress, Target};
use crate::domain::{Invalid, Namespace};
use crate::error::Error;
use crate::kv::Batch;
use crate::store::answered::Answered;
use crate::store::claims::note;
use crate::store::edit::Decision;
use crate::store::wire::{self, TargetRow};
use crate::store::{At, namespaces, schema};

/// Bytes that all reasons of one Bump have at most.
const MAX_REASONS: usize = 16 << 20;

impl BuildTargets<'_> {
    /// Declares new versions of a target and of all that is built on it, to be built; all or none. Durable when it
    /// returns. The old ones stay as they are.
    ///
    /// [`Error::NotFound`] for an unknown target; [`Error::NotBumpable`] where one has no next version;
    /// [`Error::Graph`] where there would be too many.
    pub async fn bump(
        &self,
        namespace: &Namespace,
        request: &BumpTarget,
    ) -> Result<At<BumpedTargets>, Error> {
        let bytes = request.reason.len();
        if !(1..=Self::MAX_REASON).contains(&bytes) {
            let reason = format!("must be 1 to {} bytes, not {bytes}", Self::MAX_REASON);
            return Err(Invalid::new("reason", reason).into());
        }
        if request.reason.contains('\0') {
            return Err(Invalid::new("reason", "must not contain NUL").into());
        }
        let look = Everything {
            store: self.store,
            namespace,
            claims: Claims::None,
        };
        let turns = [schema::build_graph_key(namespace)];
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let decide = |seen: &All| {
            let mut batch = seen.batch();
            let bumped = plan(&mut batch, namespace, request, seen)?;
            let value = Answered::new(namespace, bumped);
            if request.validate_only {
                return Ok(Decision::nothing(seen.moment.wall, value));
            }
            Ok(Decision { batch, value })
        };
        let answer = self.store.edit(&turns, &look, once, decide).await?;
        Ok(answer.map(Answered::into_value))
    }
}

fn plan(
    batch: &mut Batch,
    namespace: &Namespace,
    request: &BumpTarget,
    seen: &All,
) -> Result<BumpedTargets, Error> {
    let loaded = &seen.loaded;
    if loaded.get(&request.target).is_none() {
        return Err(not_found(namespace, &request.target));
    }
    let bumped = loaded.graph()?.bump(&Bump {
        target: request.target.clone(),
        version: request.version.clone(),
        update_id: request.update_id.clone(),
    })?;
    if bumped.len() * request.reason.len() > MAX_REASONS {
        let many = bumped.len();
        let reason = format!(
            "is too long for {many} targets: together they may have {MAX_REASONS} bytes of it"
        );
        return Err(Invalid::new("reason", reason).into());
    }
    let old = loaded.targets.iter();
    let mut all: Vec<_> = old
        .map(|seen| (seen.row.target.clone(), seen.row.progress.state))
        .collect();
    let mut bytes = loaded.bytes;
    let mut told = Vec::with_capacity(bumped.len());
    for bumped in bumped {
        // What was bumped is of this very graph.
        let Some(old) = loaded.get(&bumped.target) else {
            continue;
        };
        let progress = Progress::default();
        let row = TargetRow {
            target: Arc::new(old.row.target.at_version(bumped.version.clone())),
            source: old.row.source.clone(),
            updated_at: seen.moment.steady,
            progress,
        };
        let value = wire::encode_declared_target(&row)?;
        bytes += value.len();
        all.push((row.target.clone(), row.progress.state));
        batch.put(schema::build_target_key(namespace, row.target.key()), value);
        told.push(BumpedTarget::of(bumped, &row.target));
    }
    within_bytes(bytes)?;
    Graph::new(all).map_err(Box::new)?;
    loaded.change(batch, namespace);
    note(batch, &seen.moment);
    namespaces::need(batch, namespace, seen.namespace.as_ref(), seen.moment.wall)?;
    Ok(BumpedTargets {
        reason: request.reason.clone(),
        bumped: told,
        graph_revision: loaded.graph_revision(),
    })
}

impl BumpedTarget {
    fn of(bumped: Bumped, new: &Target) -> Self {
        Self {
            target: bumped.target,
            version: bumped.version,
            label: new.label().clone(),
            because: match bumped.because {
                Because::Asked => None,
                Because::DependsOn(below) => Some(below),
            },
        }
    }
}
