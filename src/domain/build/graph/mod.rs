//! The graph of targets: which is built on which, and what follows from that.

mod bump;
mod claimable;
mod cycle;
mod dependents;
mod order;
#[cfg(test)]
mod tests;
mod wanted;

pub use bump::{Because, Bump, BumpRefused, Bumped, NoBump};
pub use claimable::{Claimable, Readiness, Waiting};
pub use cycle::Cycle;
pub use dependents::Span;
pub use order::BuildOrder;
pub use wanted::Blocked;

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::target::{Dependency, Relation, State, Target, TargetKey, TargetName, TargetVersion};

/// Targets with their states, each dependency found, and no cycle among them.
///
/// All that it tells is in one order, whatever the order in which the targets came: by waves, and within a wave by
/// name and age of the version. All of it takes time in proportion to targets and dependencies, and no recursion.
#[derive(Clone, Debug)]
pub struct Graph {
    /// By key: all versions of a name stand together, the oldest first.
    nodes: Vec<Node>,
    /// What is built on nothing first.
    topological: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Node {
    target: Target,
    state: State,
    needs: Vec<usize>,
    needed_by: Vec<usize>,
}

/// Why targets make no graph.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GraphError {
    #[error("{0} is there twice")]
    Duplicate(TargetKey),
    #[error("{} not be found{}; declare what is built elsewhere as external", unknown(.0), more(.0.len()))]
    Unknown(Vec<UnknownDependency>),
    #[error("{0}: a target cannot be built on itself")]
    Cycle(Cycle),
    #[error("there are {found} {what}, more than {limit}")]
    TooLarge {
        what: &'static str,
        found: usize,
        limit: usize,
    },
}

/// A dependency that is not external, and that no target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDependency {
    pub target: TargetKey,
    pub name: TargetName,
    /// The newest versions of that name; none of them is as the target asks.
    pub versions: Vec<TargetVersion>,
}

/// How many of a long list an error's text names.
const NAMED: usize = 10;

// === impl Graph ===

impl Graph {
    pub const MAX_TARGETS: usize = 100_000;
    pub const MAX_DEPENDENCIES: usize = 500_000;

    /// Refuses a target that is there twice, a dependency that is neither there nor external, a cycle, and more than
    /// [`Self::MAX_TARGETS`] targets or [`Self::MAX_DEPENDENCIES`] dependencies in all.
    pub fn new(targets: impl IntoIterator<Item = (Target, State)>) -> Result<Self, GraphError> {
        let mut nodes: Vec<_> = targets.into_iter().map(Node::new).collect();
        within("targets", nodes.len(), Self::MAX_TARGETS)?;
        let dependencies = nodes.iter().map(|node| node.target.dependencies().len());
        within("dependencies", dependencies.sum(), Self::MAX_DEPENDENCIES)?;
        nodes.sort_by(|one, other| one.target.key().cmp(other.target.key()));
        let mut pairs = nodes.windows(2);
        if let Some(pair) = pairs.find(|pair| pair[0].target.key() == pair[1].target.key()) {
            return Err(GraphError::Duplicate(pair[0].target.key().clone()));
        }
        let mut graph = Self {
            nodes,
            topological: Vec::new(),
        };
        graph.connect()?;
        graph.sort()?;
        Ok(graph)
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All targets with their states and what of the graph each is built on, in the order in which they could be built.
    pub fn targets(
        &self,
    ) -> impl Iterator<Item = (&Target, State, impl Iterator<Item = &TargetKey>)> {
        self.topological.iter().map(|&n| {
            let node = &self.nodes[n];
            let needs = node.needs.iter().map(|&n| self.nodes[n].target.key());
            (&node.target, node.state, needs)
        })
    }

    pub fn get(&self, key: &TargetKey) -> Option<(&Target, State)> {
        let node = &self.nodes[self.position(key)?];
        Some((&node.target, node.state))
    }

    /// The target of that name whose version is the newest.
    pub fn newest(&self, name: &TargetName) -> Option<&Target> {
        Some(&self.versions(name).last()?.target)
    }

    fn versions(&self, name: &TargetName) -> &[Node] {
        let from = self
            .nodes
            .partition_point(|node| node.target.key().name < *name);
        let to = self
            .nodes
            .partition_point(|node| node.target.key().name <= *name);
        &self.nodes[from..to]
    }

    fn newest_versions(&self, name: &TargetName) -> Vec<TargetVersion> {
        let newest = self.versions(name).iter().rev().take(NAMED);
        newest
            .map(|node| node.target.key().version.clone())
            .collect()
    }

    fn position(&self, key: &TargetKey) -> Option<usize> {
        let nodes = &self.nodes;
        nodes
            .binary_search_by(|node| node.target.key().cmp(key))
            .ok()
    }

    /// Finds what each target is built on.
    fn connect(&mut self) -> Result<(), GraphError> {
        let mut unknown = Vec::new();
        let mut all = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let mut needs = Vec::new();
            for (name, bounds) in by_name(&node.target) {
                match self.newest_within(name, &bounds) {
                    Some(found) => needs.push(found),
                    None => unknown.push(UnknownDependency {
                        target: node.target.key().clone(),
                        name: name.clone(),
                        versions: self.newest_versions(name),
                    }),
                }
            }
            needs.sort_unstable();
            all.push(needs);
        }
        if !unknown.is_empty() {
            return Err(GraphError::Unknown(unknown));
        }
        for (n, needs) in all.into_iter().enumerate() {
            for &needed in &needs {
                self.nodes[needed].needed_by.push(n);
            }
            self.nodes[n].needs = needs;
        }
        Ok(())
    }

    /// The newest version of a name that all bounds allow: each bound cuts the ordered versions at one place or two.
    fn newest_within(
        &self,
        name: &TargetName,
        bounds: &[(Relation, &TargetVersion)],
    ) -> Option<usize> {
        let first = self
            .nodes
            .partition_point(|node| node.target.key().name < *name);
        let versions = self.versions(name);
        let before =
            |bound: &TargetVersion| versions.partition_point(|n| n.target.key().version < *bound);
        let up_to =
            |bound: &TargetVersion| versions.partition_point(|n| n.target.key().version <= *bound);
        let (mut from, mut to) = (0, versions.len());
        for &(relation, bound) in bounds {
            match relation {
                Relation::Earlier => to = to.min(before(bound)),
                Relation::AtMost => to = to.min(up_to(bound)),
                Relation::Exactly => (from, to) = (from.max(before(bound)), to.min(up_to(bound))),
                Relation::AtLeast => from = from.max(before(bound)),
                Relation::Later => from = from.max(up_to(bound)),
            }
        }
        (from < to).then(|| first + to - 1)
    }

    /// Puts the targets in order, wave by wave.
    fn sort(&mut self) -> Result<(), GraphError> {
        let mut missing: Vec<usize> = self.nodes.iter().map(|node| node.needs.len()).collect();
        let mut wave: Vec<usize> = (0..missing.len()).filter(|&n| missing[n] == 0).collect();
        let mut sorted = Vec::with_capacity(missing.len());
        while !wave.is_empty() {
            let mut next = Vec::new();
            for &n in &wave {
                for &dependent in &self.nodes[n].needed_by {
                    missing[dependent] -= 1;
                    if missing[dependent] == 0 {
                        next.push(dependent);
                    }
                }
            }
            next.sort_unstable();
            sorted.append(&mut wave);
            wave = next;
        }
        if sorted.len() < self.nodes.len() {
            return Err(GraphError::Cycle(self.cycle(&missing)));
        }
        self.topological = sorted;
        Ok(())
    }
}

impl Node {
    fn new((target, state): (Target, State)) -> Self {
        Self {
            target,
            state,
            needs: Vec::new(),
            needed_by: Vec::new(),
        }
    }
}

/// Each name that a target is built on, with all that it says of the version.
fn by_name(target: &Target) -> BTreeMap<&TargetName, Vec<(Relation, &TargetVersion)>> {
    let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for dependency in target.dependencies() {
        match dependency {
            Dependency::Target { name, version } => {
                let bounds = names.entry(name).or_default();
                bounds.extend(version.as_ref().map(|(relation, bound)| (*relation, bound)));
            }
            Dependency::External(_) => {}
        }
    }
    names
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), GraphError> {
    if found > limit {
        return Err(GraphError::TooLarge { what, found, limit });
    }
    Ok(())
}

// === impl GraphError ===

fn unknown(all: &[UnknownDependency]) -> String {
    let named: Vec<_> = all.iter().take(NAMED).map(ToString::to_string).collect();
    format!("{} can", named.join("; "))
}

fn more(all: usize) -> String {
    match all.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", nor can {more} more"),
    }
}

impl fmt::Display for UnknownDependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.target)?;
        if self.versions.is_empty() {
            return Ok(());
        }
        let versions: Vec<_> = self.versions.iter().map(TargetVersion::as_str).collect();
        write!(f, " (there is {})", versions.join(", "))
    }
}
