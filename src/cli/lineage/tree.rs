//! A lineage as a tree that a person reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::family::{Family, Member, Relation};
use crate::cli::human::short_digest;
use crate::cli::platform;
use crate::cli::table::printable;

/// Lines with branches before them, aligned.
struct Lines {
    whole_ids: bool,
    rows: Vec<(String, String)>,
}

/// The whole lineage: what was asked about, its bases, and the tree of what is built on it.
pub fn text(family: &Family, whole_ids: bool) -> String {
    let mut lines = Lines {
        whole_ids,
        rows: Vec::new(),
    };
    for (_, itself) in family.related(Relation::Itself) {
        lines.push(&family.reference, itself, "");
    }
    let mut text = lines.text();
    let mut section = |heading: &str, lines: Lines| {
        if !lines.rows.is_empty() {
            let _ = write!(text, "\n{heading}\n{}", lines.text());
        }
    };

    let mut bases = Lines {
        whole_ids,
        rows: Vec::new(),
    };
    for (_, base) in family.related(Relation::Base) {
        bases.push(&base.title(), base, &layers(base, "below"));
    }
    section("built on, the nearest first", bases);
    let is_current = |member: &Member| !member.is_outdated;
    section("built on it", descendants(family, whole_ids, is_current));
    let is_outdated = |member: &Member| member.is_outdated;
    let outdated = descendants(family, whole_ids, is_outdated);
    section("OUTDATED, built on what it was before", outdated);
    text
}

/// The descendants of a kind, each below the nearest of them that it stands on.
fn descendants(family: &Family, whole_ids: bool, is_meant: impl Fn(&Member) -> bool) -> Lines {
    let meant = |place: usize| {
        let member = &family.members[place];
        member.relation == Relation::Descendant && is_meant(member)
    };
    let mut above: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (place, member) in family.related(Relation::Descendant) {
        if meant(place) {
            let on = member.stands_on.filter(|on| meant(*on));
            above.entry(on).or_default().push(place);
        }
    }
    let mut lines = Lines {
        whole_ids,
        rows: Vec::new(),
    };
    // A stack, because a lineage may be as deep as it has members.
    let roots = above.get(&None).map_or(&[][..], Vec::as_slice);
    let mut stack: Vec<(usize, String, bool)> = Vec::new();
    let push_all = |stack: &mut Vec<(usize, String, bool)>, places: &[usize], indent: &str| {
        for (i, place) in places.iter().enumerate().rev() {
            stack.push((*place, indent.to_owned(), i + 1 == places.len()));
        }
    };
    push_all(&mut stack, roots, "");
    while let Some((place, indent, is_last)) = stack.pop() {
        let member = &family.members[place];
        let branch = if is_last { "└── " } else { "├── " };
        let mut notes = layers(member, "above");
        if member.is_outdated {
            let _ = write!(
                notes,
                ", on {} of generation {}",
                short_digest(&member.base),
                member.base_generation
            );
        }
        lines.push(
            &format!("{indent}{branch}{}", member.title()),
            member,
            &notes,
        );
        if let Some(places) = above.get(&Some(place)) {
            let deeper = if is_last { "    " } else { "│   " };
            push_all(&mut stack, places, &format!("{indent}{deeper}"));
        }
    }
    lines
}

/// `2 layers above`, and what is to be said of it.
fn layers(member: &Member, direction: &str) -> String {
    let layers = match member.layers {
        0 => "the same layers".to_owned(),
        1 => format!("1 layer {direction}"),
        count => format!("{count} layers {direction}"),
    };
    match (member.is_by_layers_only, member.layers) {
        (true, _) => layers + ", with another history",
        (false, 0) => format!("{layers}, {direction} by its history"),
        (false, _) => layers,
    }
}

impl Lines {
    fn push(&mut self, title: &str, member: &Member, notes: &str) {
        let id = match self.whole_ids {
            true => &member.config.id,
            false => short_digest(&member.config.id),
        };
        let platform = platform::text(member.config.platform.as_ref());
        let rest = [id, &platform, notes];
        let rest: Vec<&str> = rest.into_iter().filter(|part| !part.is_empty()).collect();
        self.rows
            .push((printable(title), printable(&rest.join("  "))));
    }

    fn text(&self) -> String {
        let widths = self.rows.iter().map(|(title, _)| title.chars().count());
        let width = widths.max().unwrap_or(0);
        let mut text = String::new();
        for (title, rest) in &self.rows {
            let _ = writeln!(text, "{title:<width$}  {rest}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::Config;

    fn member(relation: Relation, byte: &str, name: &str, on: Option<usize>) -> Member {
        Member {
            relation,
            config: Config {
                id: format!("sha256:{}", byte.repeat(32)),
                platform: platform::of_config("linux/amd64").ok(),
                ..Config::default()
            },
            names: (!name.is_empty())
                .then(|| name.to_owned())
                .into_iter()
                .collect(),
            has_more_names: false,
            layers: 1,
            base: format!("sha256:{}", "0a".repeat(32)),
            base_generation: 7,
            is_outdated: false,
            steps: 0,
            is_by_layers_only: false,
            stands_on: on,
        }
    }

    #[test]
    fn the_tree_has_bases_descendants_and_what_is_outdated() {
        let old = Member {
            is_outdated: true,
            layers: 0,
            ..member(Relation::Descendant, "05", "old", None)
        };
        let family = Family {
            reference: "base:1".to_owned(),
            members: vec![
                member(Relation::Itself, "00", "", Some(1)),
                member(Relation::Base, "01", "below", None),
                member(Relation::Descendant, "02", "app", Some(0)),
                member(Relation::Descendant, "03", "side\n", Some(0)),
                member(Relation::Descendant, "04", "", Some(2)),
                old,
            ],
        };
        assert_eq!(
            text(&family, false),
            "base:1  000000000000  linux/amd64\n\
             \n\
             built on, the nearest first\n\
             below  010101010101  linux/amd64  1 layer below\n\
             \n\
             built on it\n\
             ├── app         020202020202  linux/amd64  1 layer above\n\
             │   └── <none>  040404040404  linux/amd64  1 layer above\n\
             └── side\\n      030303030303  linux/amd64  1 layer above\n\
             \n\
             OUTDATED, built on what it was before\n\
             └── old  050505050505  linux/amd64  the same layers, above by its history, \
             on 0a0a0a0a0a0a of generation 7\n"
        );
    }
}
