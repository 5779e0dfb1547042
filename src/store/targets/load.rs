//! All targets of a namespace, and their graph.
//!
//! Every write that changes which targets there are, or how they are declared, writes the graph's row; while that one
//! stays as it is, only states change. So the graph that was loaded last serves again, and only those rows are read anew
//! that the log says were written meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::rows::{SeenTarget, claim_place, claims};
use super::{BuildTargets, OfGraph};
use crate::domain::Namespace;
use crate::domain::build::{Graph, GraphError, Moment, TargetKey};
use crate::error::Error;
use crate::kv::{Batch, Effect, Revision, Rows, Versioned};
use crate::store::claims::{ClaimPlace, SeenClaim};
use crate::store::edit::{Look, View, as_of};
use crate::store::epoch::Known;
use crate::store::{Store, schema};

/// All targets of a namespace.
pub struct Loaded {
    /// The revision of the graph's row.
    pub graph_row: Option<Revision>,
    /// In the order of their keys.
    pub targets: Vec<SeenTarget>,
    /// The targets with their states, where all use one daemon; or why they make no graph, which only an Apply mends.
    graph: Result<Graph, GraphError>,
    /// That the records take.
    pub bytes: usize,
}

/// The graphs that were loaded last.
#[derive(Default)]
pub struct Graphs {
    /// The newest first.
    kept: Mutex<VecDeque<Kept>>,
}

/// The targets of a namespace as they were at a revision.
#[derive(Clone)]
struct Kept {
    namespace: Namespace,
    as_of: Revision,
    loaded: Arc<Loaded>,
}

/// A look at all targets of a namespace, and at who is at them.
pub struct Everything<'a> {
    pub store: &'a Store,
    pub namespace: &'a Namespace,
    pub claims: Claims<'a>,
}

/// Which claims are looked at.
pub enum Claims<'a> {
    None,
    On(&'a TargetKey),
    All,
}

/// What it saw.
pub struct All {
    /// The namespace's own row.
    pub namespace: Option<Versioned>,
    pub loaded: Arc<Loaded>,
    /// Of those that were looked at.
    pub claims: BTreeMap<TargetKey, SeenClaim>,
    pub seen_at: Revision,
    pub known: Known,
    pub moment: Moment,
}

/// Bytes of records that one look reads at most: all targets, and who is at them.
const MOST: usize = 2 * BuildTargets::MAX_BYTES;

/// Changes that are read from the log at most, instead of all rows.
const MAX_CHANGES: usize = 500;

pub async fn load(
    store: &Store,
    view: &View<'_>,
    namespace: &Namespace,
) -> Result<Arc<Loaded>, Error> {
    let graph_row = view.row(&schema::build_graph_key(namespace)).await?;
    let graph_row = graph_row.map(|row| row.revision);
    let graphs = &store.inner.graphs;
    let same = |kept: &Kept| graph_row.is_some() && kept.loaded.graph_row == graph_row;
    let caught_up = match graphs.get(namespace).filter(same) {
        Some(kept) => kept.caught_up(view).await?,
        None => None,
    };
    let loaded = match caught_up {
        Some(loaded) => loaded,
        None => {
            let rows = view
                .all(Rows::all(schema::build_targets(namespace)))
                .await?;
            Arc::new(Loaded::new(graph_row, rows)?)
        }
    };
    graphs.put(Kept {
        namespace: namespace.clone(),
        as_of: view.revision(),
        loaded: loaded.clone(),
    });
    Ok(loaded)
}

// === impl Kept ===

impl Kept {
    /// The same targets as a view sees them that sees the same graph; `None` where the log does not tell, or tells too
    /// much.
    async fn caught_up(&self, view: &View<'_>) -> Result<Option<Arc<Loaded>>, Error> {
        let table = schema::build_targets(&self.namespace);
        let (mut at, mut left) = (self.as_of, MAX_CHANGES);
        if at > view.revision() {
            return Ok(None);
        }
        let mut changed = BTreeMap::new();
        while at < view.revision() {
            let changes = match view.changes(at, left).await {
                Ok(changes) => changes,
                Err(Error::Compacted { .. }) => return Ok(None),
                Err(other) => return Err(other),
            };
            let Some(last) = changes.last() else {
                return Ok(None);
            };
            at = last.revision;
            left -= changes.len().min(left);
            for change in changes {
                for effect in change.effects {
                    let (row, value) = match effect {
                        Effect::Row {
                            table: path,
                            row,
                            value: Some(value),
                            ..
                        } if path == table.path() => (row, value),
                        Effect::Row { .. } | Effect::Cleared { .. } => continue,
                    };
                    let key = schema::parse_build_target(&row)?;
                    let Some(place) = self.loaded.place(&key) else {
                        return Ok(None);
                    };
                    let revision = change.revision;
                    let seen = SeenTarget::of(key, Versioned { revision, value })?;
                    changed.insert(place, seen);
                }
            }
            if left == 0 && at < view.revision() {
                return Ok(None);
            }
        }
        if changed.is_empty() {
            return Ok(Some(self.loaded.clone()));
        }
        Ok(Some(Arc::new(self.loaded.with(changed))))
    }
}

// === impl Loaded ===

impl Loaded {
    fn new(graph_row: Option<Revision>, rows: Vec<(Bytes, Versioned)>) -> Result<Self, Error> {
        let mut targets = Vec::with_capacity(rows.len());
        for (row, value) in rows {
            targets.push(SeenTarget::of(schema::parse_build_target(&row)?, value)?);
        }
        targets.sort_by(|one, other| one.target().cmp(other.target()));
        let nodes = targets
            .iter()
            .map(|seen| (seen.row.target.clone(), seen.row.progress.state));
        Ok(Self {
            graph_row,
            graph: Graph::new(nodes),
            bytes: targets.iter().map(|seen| seen.bytes).sum(),
            targets,
        })
    }

    /// The same targets, of which some were written again.
    fn with(&self, changed: BTreeMap<usize, SeenTarget>) -> Self {
        let (mut targets, mut bytes) = (self.targets.clone(), self.bytes);
        for (place, seen) in changed {
            bytes = bytes - targets[place].bytes + seen.bytes;
            targets[place] = seen;
        }
        let state = |n: usize| targets[n].row.progress.state.into();
        Self {
            graph_row: self.graph_row,
            graph: match &self.graph {
                Ok(graph) => Ok(graph.standing(state)),
                Err(cause) => Err(cause.clone()),
            },
            bytes,
            targets,
        }
    }

    /// The targets with their states, where all use one daemon. [`Error::Corrupt`] where they make no graph.
    pub fn graph(&self) -> Result<&Graph, Error> {
        let no_graph = |cause| Error::corrupt(format!("the build targets make no graph: {cause}"));
        self.graph.as_ref().map_err(no_graph)
    }

    /// Where a target stands among all.
    pub fn place(&self, key: &TargetKey) -> Option<usize> {
        self.targets
            .binary_search_by(|seen| seen.target().cmp(key))
            .ok()
    }

    /// Those after one that may be gone; all after none.
    pub fn after(&self, key: Option<&TargetKey>) -> &[SeenTarget] {
        let is_passed = |seen: &SeenTarget| key.is_some_and(|key| seen.target() <= key);
        &self.targets[self.targets.partition_point(is_passed)..]
    }

    pub fn get(&self, key: &TargetKey) -> Option<&SeenTarget> {
        self.place(key).map(|place| &self.targets[place])
    }

    /// [`Revision::ZERO`] where there is no graph yet.
    pub fn graph_revision(&self) -> Revision {
        self.graph_row.unwrap_or(Revision::ZERO)
    }

    /// What was learnt from the graph.
    pub fn of_graph<T>(&self, value: T) -> OfGraph<T> {
        OfGraph {
            value,
            graph_revision: self.graph_revision(),
        }
    }

    /// Has a batch hold only while all targets are declared as they were seen.
    pub fn guard(&self, batch: &mut Batch, namespace: &Namespace) {
        batch.guard(as_of(schema::build_graph_key(namespace), self.graph_row));
    }

    /// The same, and say that they are declared otherwise now.
    pub fn change(&self, batch: &mut Batch, namespace: &Namespace) {
        self.guard(batch, namespace);
        batch.put(schema::build_graph_key(namespace), Bytes::new());
    }
}

// === impl Graphs ===

impl Graphs {
    /// Bytes that the records of all take that are kept, and how many of them are.
    const MAX_BYTES: usize = BuildTargets::MAX_BYTES;
    const MAX: usize = 16;

    fn get(&self, namespace: &Namespace) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = kept.iter();
        kept.find(|kept| kept.namespace == *namespace).cloned()
    }

    fn put(&self, new: Kept) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|old| old.namespace != new.namespace);
        kept.push_front(new);
        let mut bytes = 0;
        let fitting = kept.iter().take(Self::MAX).take_while(|kept| {
            bytes += kept.loaded.bytes;
            bytes <= Self::MAX_BYTES
        });
        let fitting = fitting.count();
        kept.truncate(fitting);
    }
}

// === impl Everything ===

impl Look for Everything<'_> {
    type Seen = All;

    fn most(&self, _batch: usize) -> usize {
        MOST
    }

    async fn look(&self, view: &View<'_>) -> Result<All, Error> {
        let namespace = self.namespace;
        Ok(All {
            namespace: view.row(&schema::namespace_key(namespace)).await?,
            loaded: load(self.store, view, namespace).await?,
            claims: self.claims(view).await?,
            seen_at: view.revision(),
            known: view.known.clone(),
            moment: view.moment,
        })
    }
}

impl Everything<'_> {
    async fn claims(&self, view: &View<'_>) -> Result<BTreeMap<TargetKey, SeenClaim>, Error> {
        match self.claims {
            Claims::None => Ok(BTreeMap::new()),
            Claims::On(key) => {
                let row = schema::build_claim_key(self.namespace, key);
                let claim = view.row(&row).await?.map(SeenClaim::of).transpose()?;
                Ok(claim
                    .map(|claim| (key.clone(), claim))
                    .into_iter()
                    .collect())
            }
            Claims::All => claims(view, self.namespace).await,
        }
    }
}

// === impl All ===

impl All {
    /// Where the claim on a target is.
    pub fn claim(&self, namespace: &Namespace, key: &TargetKey) -> ClaimPlace<'_> {
        claim_place(namespace, key, self.claims.get(key), self.moment)
    }

    pub fn batch(&self) -> Batch {
        Batch::new(self.moment.wall.millis())
    }
}
