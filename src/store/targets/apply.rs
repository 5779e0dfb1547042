//! Declaring targets.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::load::{All, Claims, Everything};
use super::rows::SeenTarget;
use super::{AppliedTargets, ApplyTargets, BuildTargets};
use crate::domain::build::{Graph, GraphError, Progress, Source, State, Target, TargetKey};
use crate::domain::{Invalid, Namespace};
use crate::error::Error;
use crate::kv::{Batch, Guard};
use crate::store::answered::{Answer, Answered};
use crate::store::claims::note;
use crate::store::edit::Decision;
use crate::store::wire::{self, TargetRow};
use crate::store::{At, namespaces, schema};

impl BuildTargets<'_> {
    /// Declares targets, all or none. Durable when it returns. The first write creates the namespace. One that is there
    /// already keeps what became of it, unless it gets another label; whoever is at one that gets other dependencies or
    /// another label, or is forgotten, has no claim any more.
    ///
    /// [`Error::Graph`] for one that is named twice, an unknown dependency, a cycle and too many;
    /// [`Error::GraphChanged`] for another `if_graph_revision`; [`Error::TooLarge`] for more changes than one
    /// batch takes: of 65,520, a new target takes 1, one that is forgotten or gets other labels or another source 2,
    /// and one that gets another label or other dependencies 3. Where a row was lost, so that what is declared makes no
    /// graph any more, this is what declares it again.
    pub async fn apply(
        &self,
        namespace: &Namespace,
        request: &ApplyTargets,
    ) -> Result<At<AppliedTargets>, Error> {
        let new = Declared::new(request)?;
        let look = Everything {
            store: self.store,
            namespace,
            claims: Claims::None,
        };
        let turns = [schema::build_graph_key(namespace)];
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let decide = |seen: &All| {
            let expected = request.if_graph_revision;
            let current = seen.loaded.graph_revision();
            if let Some(expected) = expected.filter(|expected| *expected != current) {
                return Err(Error::GraphChanged {
                    namespace: namespace.clone(),
                    expected,
                    current,
                });
            }
            let mut batch = seen.batch();
            let applied = new.plan(&mut batch, namespace, seen)?;
            let value = Answered::new(namespace, applied);
            if request.validate_only {
                return Ok(Decision::nothing(seen.moment.wall, value));
            }
            Ok(Decision { batch, value })
        };
        let answer = self.store.edit(&turns, &look, once, decide).await?;
        Ok(answer.map(Answered::into_value))
    }
}

/// What an Apply declares.
struct Declared<'a> {
    targets: Vec<Arc<Target>>,
    keys: BTreeSet<&'a TargetKey>,
    source: &'a Source,
    replace_all: bool,
}

impl<'a> Declared<'a> {
    fn new(request: &'a ApplyTargets) -> Result<Self, Error> {
        let mut keys = BTreeSet::new();
        for target in &request.targets {
            if !keys.insert(target.key()) {
                let twice = GraphError::Duplicate(target.key().clone());
                return Err(Error::Graph(Box::new(twice)));
            }
        }
        Ok(Self {
            targets: request.targets.iter().cloned().map(Arc::new).collect(),
            keys,
            source: &request.source,
            replace_all: request.replace_all,
        })
    }

    fn plan(
        &self,
        batch: &mut Batch,
        namespace: &Namespace,
        seen: &All,
    ) -> Result<AppliedTargets, Error> {
        let loaded = &seen.loaded;
        let mut plan = Plan::new(batch, namespace);
        for old in &loaded.targets {
            if self.keys.contains(old.target()) {
                continue;
            }
            match self.replace_all && old.row.source == *self.source {
                true => plan.forget(old),
                false => plan.keep(old),
            }
        }
        for (n, target) in self.targets.iter().enumerate() {
            match loaded.get(target.key()) {
                Some(old) if self.is_same(old, target) => {
                    plan.keep(old);
                    plan.applied.unchanged += 1;
                }
                old => {
                    let declared = plan.declare(&self.row(old, target, seen), old);
                    declared.map_err(|refused| refused.at(format!("targets[{n}]")))?;
                }
            }
        }
        let applied = AppliedTargets {
            graph_revision: loaded.graph_revision(),
            ..plan.applied
        };
        if !applied.has_changed() {
            return Ok(applied);
        }
        within_bytes(plan.bytes)?;
        Graph::new(plan.all).map_err(Box::new)?;
        loaded.change(batch, namespace);
        note(batch, &seen.moment);
        if applied.created > 0 {
            namespaces::need(batch, namespace, seen.namespace.as_ref(), seen.moment.wall)?;
        } else if applied.updated == 0 {
            batch.frees_space();
        }
        Ok(applied)
    }

    fn is_same(&self, old: &SeenTarget, target: &Target) -> bool {
        *old.row.target == *target && old.row.source == *self.source
    }

    fn row(&self, old: Option<&SeenTarget>, target: &Arc<Target>, seen: &All) -> TargetRow {
        let progress = match old.map(|old| &*old.row) {
            None => Progress::default(),
            Some(old) if old.target.label() == target.label() => old.progress.clone(),
            Some(old) => Progress {
                attempts: old.progress.attempts,
                ..Progress::default()
            },
        };
        TargetRow {
            target: target.clone(),
            source: self.source.clone(),
            progress,
            updated_at: seen.moment.steady,
        }
    }
}

/// What an Apply makes of the targets, and the batch that does it.
struct Plan<'a> {
    batch: &'a mut Batch,
    namespace: &'a Namespace,
    /// All that there will be.
    all: Vec<(Arc<Target>, State)>,
    /// That their records take.
    bytes: usize,
    applied: AppliedTargets,
}

impl<'a> Plan<'a> {
    fn new(batch: &'a mut Batch, namespace: &'a Namespace) -> Self {
        Self {
            batch,
            namespace,
            all: Vec::new(),
            bytes: 0,
            applied: AppliedTargets::default(),
        }
    }

    fn keep(&mut self, old: &SeenTarget) {
        self.bytes += old.bytes;
        let row = &old.row;
        self.all.push((row.target.clone(), row.progress.state));
    }

    fn forget(&mut self, old: &SeenTarget) {
        self.batch
            .delete(old.key(self.namespace))
            .delete(schema::build_claim_key(self.namespace, old.target()));
        self.applied.deleted += 1;
    }

    /// Refuses one whose record takes too much.
    fn declare(&mut self, row: &TargetRow, old: Option<&SeenTarget>) -> Result<(), Invalid> {
        let value = wire::encode_declared_target(row)?;
        self.bytes += value.len();
        self.all.push((row.target.clone(), row.progress.state));
        let key = schema::build_target_key(self.namespace, row.target.key());
        self.batch.put(key.clone(), value);
        let Some(old) = old else {
            self.applied.created += 1;
            return Ok(());
        };
        self.applied.updated += 1;
        self.batch.guard(Guard::Unchanged(key, old.revision));
        if is_redefined(&old.row.target, &row.target) {
            let claim = schema::build_claim_key(self.namespace, row.target.key());
            self.batch.delete(claim);
        }
        Ok(())
    }
}

/// Whether what somebody makes of the old one is not the new one.
fn is_redefined(old: &Target, new: &Target) -> bool {
    old.label() != new.label() || old.dependencies() != new.dependencies()
}

/// Refuses targets whose records take too much together.
pub fn within_bytes(found: usize) -> Result<(), Error> {
    let limit = BuildTargets::MAX_BYTES;
    if found > limit {
        let what = "bytes of targets";
        let large = GraphError::TooLarge { what, found, limit };
        return Err(Error::Graph(Box::new(large)));
    }
    Ok(())
}
