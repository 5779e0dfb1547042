//! `imagestore build graph`: which target is built on which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::Select;
use super::wire;
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Form, Output};
use crate::cli::table::{Table, printable};
use crate::domain::build::{Dependency, Graph as Targets, State};
use crate::proto::v1::{Target, TargetSelector};

/// Show which target is built on which, and how far each has come
///
/// -o dot writes it for Graphviz, -o mermaid for Markdown. What is selected is shown with all that it is built on.
#[derive(Debug, clap::Args)]
pub struct Graph {
    #[command(flatten)]
    select: Select,
}

/// Targets and what they are built on, in an order in which they can be built.
#[derive(Serialize)]
struct Drawn {
    nodes: Vec<Node>,
}

#[derive(Serialize)]
struct Node {
    /// `NAME@VERSION`, or the reference of what comes from elsewhere.
    name: String,
    /// Nothing for what comes from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    holder: String,
    built_on: Vec<String>,
}

impl Graph {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut client = common.build_targets().await?;
        let namespace = common.one_namespace()?;
        let all = wire::all(&mut client, namespace, TargetSelector::default()).await?;
        let selected = match &self.select.select {
            None => None,
            Some(_) => {
                let selected = wire::all(&mut client, namespace, self.select.selector()).await?;
                Some(selected.iter().map(wire::name).collect())
            }
        };
        let drawn = Drawn::new(&all, selected)?;
        match common.form {
            Form::Dot => output::text(&drawn.dot()),
            Form::Mermaid => output::text(&drawn.mermaid()),
            Form::Table => output::text(&drawn.table().to_string()),
            Form::Json => output::object(Output::Json, &drawn),
            Form::Ndjson => {
                let mut values = output::Values::new(Output::Ndjson);
                for node in &drawn.nodes {
                    values.push(node)?;
                }
                values.end()
            }
        }
    }
}

impl Drawn {
    /// With all that is built on, or only what is selected and what that is built on.
    fn new(all: &[Target], selected: Option<BTreeSet<String>>) -> Result<Self, Failure> {
        let holder = |target: &Target| target.claim.as_ref().map(|claim| claim.holder.clone());
        let mut holders: BTreeMap<String, String> = all
            .iter()
            .filter_map(|target| Some((wire::name(target), holder(target)?)))
            .collect();
        let declared: Vec<_> = all.iter().map(wire::declared).collect::<Result<_, _>>()?;
        let graph = Targets::new(declared).map_err(|why| Failure::new(why.to_string()))?;
        let mut nodes = Vec::new();
        let mut external = BTreeSet::new();
        for (target, state, needs) in graph.targets() {
            let mut built_on: Vec<String> = needs.map(ToString::to_string).collect();
            for dependency in target.dependencies() {
                match dependency {
                    Dependency::Target { .. } => {}
                    Dependency::External(name) => {
                        built_on.push(name.to_string());
                        external.insert(name.to_string());
                    }
                }
            }
            let name = target.key().to_string();
            nodes.push(Node {
                holder: holders.remove(&name).unwrap_or_default(),
                name,
                state: Some(state.name()),
                built_on,
            });
        }
        let elsewhere = external.into_iter().map(|name| Node {
            name,
            state: None,
            holder: String::new(),
            built_on: Vec::new(),
        });
        nodes.splice(0..0, elsewhere);
        let mut drawn = Self { nodes };
        if let Some(selected) = selected {
            drawn.keep(selected);
        }
        Ok(drawn)
    }

    /// Keeps what is selected, and what is below it.
    fn keep(&mut self, mut wanted: BTreeSet<String>) {
        // What is built on something stands behind it.
        for node in self.nodes.iter().rev() {
            if wanted.contains(&node.name) {
                wanted.extend(node.built_on.iter().cloned());
            }
        }
        self.nodes.retain(|node| wanted.contains(&node.name));
    }

    fn table(&self) -> Table {
        let mut table = Table::new(["TARGET", "STATE", "WHO", "BUILT ON"]);
        for node in &self.nodes {
            let state = node.state.unwrap_or("external");
            table.push([&*node.name, state, &node.holder, &node.built_on.join(", ")]);
        }
        table
    }

    fn dot(&self) -> String {
        let mut text = "digraph build {\n  rankdir=BT;\n  node [shape=box];\n".to_owned();
        for (place, node) in self.nodes.iter().enumerate() {
            let label = node
                .lines()
                .map(|line| line.replace('\\', "\\\\").replace('"', "\\\""));
            let label = label.collect::<Vec<_>>().join("\\n");
            let style = match node.state {
                None => ", style=dotted",
                Some(state) if state == State::Error.name() => ", color=red",
                Some(state) if state == State::Published.name() => ", color=green",
                Some(_) if !node.holder.is_empty() => ", style=bold",
                Some(_) => "",
            };
            let _ = writeln!(text, "  n{place} [label=\"{label}\"{style}];");
        }
        for (above, below) in self.edges() {
            let _ = writeln!(text, "  n{above} -> n{below};");
        }
        text.push_str("}\n");
        text
    }

    fn mermaid(&self) -> String {
        let mut text = "flowchart BT\n".to_owned();
        for (place, node) in self.nodes.iter().enumerate() {
            // Mermaid knows no quoting, only entities.
            let label = node.lines().map(|line| {
                line.replace('&', "&amp;")
                    .replace('"', "&quot;")
                    .replace('<', "&lt;")
                    .replace('>', "&gt;")
            });
            let label = label.collect::<Vec<_>>().join("<br/>");
            let class = node.state.unwrap_or("external");
            let _ = writeln!(text, "  n{place}[\"{label}\"]:::{class}");
        }
        for (above, below) in self.edges() {
            let _ = writeln!(text, "  n{above} --> n{below}");
        }
        text.push_str("  classDef error stroke:#c00\n  classDef published stroke:#080\n");
        text.push_str("  classDef external stroke-dasharray:3\n");
        text
    }

    /// What is built on what, by their places.
    fn edges(&self) -> impl Iterator<Item = (usize, usize)> {
        let places: BTreeMap<&str, usize> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(place, node)| (&*node.name, place))
            .collect();
        let below = move |name: &String| places.get(&**name).copied();
        let pairs: Vec<_> = self
            .nodes
            .iter()
            .enumerate()
            .flat_map(|(above, node)| {
                node.built_on
                    .iter()
                    .filter_map(&below)
                    .map(move |below| (above, below))
                    .collect::<Vec<_>>()
            })
            .collect();
        pairs.into_iter()
    }
}

impl Node {
    /// Its name, and how far it has come.
    fn lines(&self) -> impl Iterator<Item = String> {
        let state = self.state.map(|state| match self.holder.as_str() {
            "" => state.to_owned(),
            holder => format!("{state}, {holder} is at it"),
        });
        [Some(self.name.clone()), state]
            .into_iter()
            .flatten()
            .map(|line| printable(&line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::target_dependency::On;
    use crate::proto::v1::{Claim, TargetDependency, TargetSpec, TargetState};

    fn target(name: &str, state: TargetState, on: &[&str], external: &[&str]) -> Target {
        let on = on.iter().map(|text| On::Target(text.to_string()));
        let external = external.iter().map(|text| On::External(text.to_string()));
        Target {
            spec: Some(TargetSpec {
                name: name.to_owned(),
                version: "1".to_owned(),
                label: format!("{name}:1"),
                dependencies: on
                    .chain(external)
                    .map(|on| TargetDependency { on: Some(on) })
                    .collect(),
                ..TargetSpec::default()
            }),
            state: state.into(),
            ..Target::default()
        }
    }

    fn diamond() -> Vec<Target> {
        let mut all = vec![
            target("d", TargetState::ToBuild, &["b", "c"], &[]),
            target("b", TargetState::Error, &["a"], &[]),
            target("c", TargetState::ToBuild, &["a (>= 1)"], &[]),
            target("a", TargetState::Published, &[], &["debian:13"]),
        ];
        all[2].claim = Some(Claim {
            holder: "w\"1".to_owned(),
            ..Claim::default()
        });
        all
    }

    #[test]
    fn each_form_has_every_target_its_state_and_every_edge() {
        let drawn = Drawn::new(&diamond(), None).unwrap();
        assert_eq!(
            drawn.table().to_string(),
            "TARGET     STATE      WHO  BUILT ON\n\
             debian:13  external\n\
             a@1        published       debian:13\n\
             b@1        error           a@1\n\
             c@1        to_build   w\"1  a@1\n\
             d@1        to_build        b@1, c@1\n"
        );
        assert_eq!(
            drawn.dot(),
            "digraph build {\n  rankdir=BT;\n  node [shape=box];\n\
             \x20 n0 [label=\"debian:13\", style=dotted];\n\
             \x20 n1 [label=\"a@1\\npublished\", color=green];\n\
             \x20 n2 [label=\"b@1\\nerror\", color=red];\n\
             \x20 n3 [label=\"c@1\\nto_build, w\\\"1 is at it\", style=bold];\n\
             \x20 n4 [label=\"d@1\\nto_build\"];\n\
             \x20 n1 -> n0;\n  n2 -> n1;\n  n3 -> n1;\n  n4 -> n2;\n  n4 -> n3;\n}\n"
        );
        let mermaid = drawn.mermaid();
        assert!(
            mermaid.starts_with("flowchart BT\n  n0[\"debian:13\"]:::external\n"),
            "{mermaid}"
        );
        assert!(mermaid.contains("  n3[\"c@1<br/>to_build, w&quot;1 is at it\"]:::to_build\n"));
        assert!(mermaid.contains("  n4 --> n2\n  n4 --> n3\n"));
    }

    #[test]
    fn what_is_selected_is_drawn_with_what_it_is_built_on_and_nothing_else() {
        let drawn = Drawn::new(&diamond(), Some(["b@1".to_owned()].into())).unwrap();
        let names: Vec<_> = drawn.nodes.iter().map(|node| &*node.name).collect();
        assert_eq!(names, ["debian:13", "a@1", "b@1"]);
    }
}
