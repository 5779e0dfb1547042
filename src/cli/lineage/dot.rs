//! A lineage as a graph in the language of Graphviz.

use std::fmt::Write as _;

use super::family::{Family, Member, Relation};
use crate::cli::human::short_digest;
use crate::cli::platform;
use crate::cli::table::printable;

/// A node for each config, and an edge to each from the nearest that it stands on.
pub fn graph(family: &Family) -> String {
    let mut graph = "digraph lineage {\n  rankdir=BT;\n  node [shape=box];\n".to_owned();
    for (place, member) in family.members.iter().enumerate() {
        let style = match (member.relation, member.is_outdated) {
            (Relation::Itself, _) => ", style=bold",
            (Relation::Base | Relation::Descendant, false) => "",
            (Relation::Base | Relation::Descendant, true) => ", style=dashed, color=red",
        };
        let label = label(family, member);
        let _ = writeln!(graph, "  n{place} [label={label}{style}];");
    }
    for (place, member) in family.members.iter().enumerate() {
        if let Some(on) = member.stands_on {
            let _ = writeln!(graph, "  n{place} -> n{on};");
        }
    }
    graph.push_str("}\n");
    graph
}

/// Names, id and platform as text in quotes, a line each.
fn label(family: &Family, member: &Member) -> String {
    let mut lines = match member.relation {
        Relation::Itself => vec![family.reference.clone()],
        Relation::Base | Relation::Descendant => member.names.clone(),
    };
    lines.push(short_digest(&member.config.id).to_owned());
    lines.push(platform::text(member.config.platform.as_ref()));
    if member.is_outdated {
        lines.push("OUTDATED".to_owned());
    }
    lines.retain(|line| !line.is_empty());
    let quoted = lines.iter().map(|line| {
        let line = printable(line);
        line.replace('\\', "\\\\").replace('"', "\\\"")
    });
    format!("\"{}\"", quoted.collect::<Vec<_>>().join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{Config, Relative};

    #[test]
    fn no_name_can_leave_its_quotes() {
        let member = |relation, name: &str| {
            Member::new(
                relation,
                Relative {
                    config: Some(Config::default()),
                    names: vec![name.to_owned()],
                    ..Relative::default()
                },
            )
        };
        let mut above = member(Relation::Descendant, "a\"; evil \\\n");
        above.stands_on = Some(0);
        let family = Family {
            reference: "base:1".to_owned(),
            members: vec![member(Relation::Itself, ""), above],
        };
        assert_eq!(
            graph(&family),
            "digraph lineage {\n  rankdir=BT;\n  node [shape=box];\n\
             \x20 n0 [label=\"base:1\", style=bold];\n\
             \x20 n1 [label=\"a\\\"; evil \\\\\\\\n\"];\n\
             \x20 n1 -> n0;\n}\n"
        );
    }
}
