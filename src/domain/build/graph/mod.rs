//! The graph of targets: which is built on which, and what follows from that.

mod bump;
mod claimable;
mod cycle;
mod dependents;
mod order;
mod standing;
#[cfg(test)]
mod tests;
mod wanted;

pub use bump::{Because, Bump, BumpRefused, Bumped, NoBump};
pub use claimable::{Claimable, Ready, Waiting};
pub use cycle::Cycle;
pub use dependents::Span;
pub use order::BuildOrder;
pub use standing::TargetStanding;
pub use wanted::Blocked;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use super::target::{Dependency, Relation, State, Target, TargetKey, TargetName, TargetVersion};

/// Targets with their states, each dependency found, and no cycle among them.
///
/// All that it tells is in one order, whatever the order in which the targets came: by waves, and within a wave by
/// name and age of the version. All of it takes time in proportion to targets and dependencies, and no recursion.
#[derive(Clone, Debug)]
pub struct Graph {
    links: Arc<Links>,
    /// How each target stands.
    standings: Vec<TargetStanding>,
}

/// What is built on what.
#[derive(Debug, Default)]
struct Links {
    /// By key: all versions of a name stand together, the oldest first.
    nodes: Vec<Node>,
    /// Where the versions of each name are.
    names: HashMap<TargetName, Range<usize>>,
    /// What is built on nothing first.
    topological: Vec<usize>,
}

#[derive(Debug)]
struct Node {
    target: Arc<Target>,
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
    pub const MAX_TARGETS: usize = 50_000;
    pub const MAX_DEPENDENCIES: usize = 500_000;

    /// Refuses a target that is there twice, a dependency that is neither there nor external, a cycle, and more than
    /// [`Self::MAX_TARGETS`] targets or [`Self::MAX_DEPENDENCIES`] dependencies in all.
    pub fn new<T, S>(targets: impl IntoIterator<Item = (T, S)>) -> Result<Self, GraphError>
    where
        T: Into<Arc<Target>>,
        S: Into<TargetStanding>,
    {
        let targets = targets.into_iter();
        let mut all: Vec<(Arc<Target>, TargetStanding)> = targets
            .map(|(target, standing)| (target.into(), standing.into()))
            .collect();
        within("targets", all.len(), Self::MAX_TARGETS)?;
        let dependencies = all.iter().map(|(target, _)| target.dependencies().len());
        within("dependencies", dependencies.sum(), Self::MAX_DEPENDENCIES)?;
        all.sort_by(|(one, _), (other, _)| one.key().cmp(other.key()));
        let mut pairs = all.windows(2);
        if let Some(pair) = pairs.find(|pair| pair[0].0.key() == pair[1].0.key()) {
            return Err(GraphError::Duplicate(pair[0].0.key().clone()));
        }
        let (targets, standings) = all.into_iter().unzip();
        Ok(Self {
            links: Arc::new(Links::new(targets)?),
            standings,
        })
    }

    /// The same targets as they stand otherwise; asks for each by its place in the order of the keys.
    #[must_use]
    pub fn standing(&self, standing: impl FnMut(usize) -> TargetStanding) -> Self {
        Self {
            links: self.links.clone(),
            standings: (0..self.standings.len()).map(standing).collect(),
        }
    }

    pub fn len(&self) -> usize {
        self.standings.len()
    }

    pub fn is_empty(&self) -> bool {
        self.standings.is_empty()
    }

    /// All targets with their states and what of the graph each is built on, in the order in which they could be built.
    pub fn targets(
        &self,
    ) -> impl Iterator<Item = (&Target, State, impl Iterator<Item = &TargetKey>)> {
        self.links.topological.iter().map(|&n| {
            let node = self.node(n);
            let needs = node.needs.iter().map(|&n| self.node(n).target.key());
            (&*node.target, self.state(n), needs)
        })
    }

    /// What of the graph a target is built on.
    pub fn needs(&self, key: &TargetKey) -> impl Iterator<Item = &TargetKey> {
        let node = self.position(key).map(|n| self.node(n));
        let needs = node.map_or(&[][..], |node| &node.needs);
        needs.iter().map(|&n| self.node(n).target.key())
    }

    /// What of the graph is built on a target.
    pub fn needed_by(&self, key: &TargetKey) -> impl Iterator<Item = &TargetKey> {
        let node = self.position(key).map(|n| self.node(n));
        let needed_by = node.map_or(&[][..], |node| &node.needed_by);
        needed_by.iter().map(|&n| self.node(n).target.key())
    }

    /// The target that a dependency stands for; none for an external one.
    pub fn resolve(&self, dependency: &Dependency) -> Option<&Target> {
        let Dependency::Target { name, version } = dependency else {
            return None;
        };
        let bound = version.as_ref().map(|(relation, bound)| (*relation, bound));
        let found = self.links.newest_within(name, bound.as_slice())?;
        Some(&self.node(found).target)
    }

    fn node(&self, n: usize) -> &Node {
        &self.links.nodes[n]
    }

    fn state(&self, n: usize) -> State {
        self.standings[n].state
    }

    fn position(&self, key: &TargetKey) -> Option<usize> {
        let range = self.links.range(&key.name);
        let versions = &self.links.nodes[range.clone()];
        let found = versions.binary_search_by(|node| node.target.key().version.cmp(&key.version));
        found.ok().map(|n| range.start + n)
    }
}

// === impl Links ===

impl Links {
    /// Of targets in the order of their keys, each there once.
    fn new(targets: Vec<Arc<Target>>) -> Result<Self, GraphError> {
        let mut names: HashMap<TargetName, Range<usize>> = HashMap::new();
        for (n, target) in targets.iter().enumerate() {
            let range = names.entry(target.key().name.clone()).or_insert(n..n);
            range.end = n + 1;
        }
        let node = |target| Node {
            target,
            needs: Vec::new(),
            needed_by: Vec::new(),
        };
        let mut links = Self {
            nodes: targets.into_iter().map(node).collect(),
            names,
            topological: Vec::new(),
        };
        links.connect()?;
        links.sort()?;
        Ok(links)
    }

    fn range(&self, name: &TargetName) -> Range<usize> {
        self.names.get(name).cloned().unwrap_or(0..0)
    }

    fn versions(&self, name: &TargetName) -> &[Node] {
        &self.nodes[self.range(name)]
    }

    fn newest_versions(&self, name: &TargetName) -> Vec<TargetVersion> {
        let newest = self.versions(name).iter().rev().take(NAMED);
        newest
            .map(|node| node.target.key().version.clone())
            .collect()
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
        let first = self.range(name).start;
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
