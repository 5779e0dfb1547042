//! Debian's control files: what an image is built on.

use std::collections::BTreeSet;

use crate::cli::build::config::Wrong;
use crate::domain::build::Dependency;

/// The fields that name dependencies, in lowercase.
const FIELDS: [&str; 2] = ["build-depends", "depends"];

/// All dependencies of all paragraphs.
///
/// Refuses what cannot be told: alternatives, and what holds for some architectures or profiles only.
pub fn dependencies(text: &str) -> Result<BTreeSet<Dependency>, Wrong> {
    let mut found = BTreeSet::new();
    let mut fields_above: BTreeSet<String> = BTreeSet::new();
    // The field that the next line may go on with: an entry of it that no comma has ended yet.
    let mut open: Option<Entry> = None;
    let mut is_within_field = false;
    for (n, line) in text.lines().enumerate() {
        let line_number = n + 1;
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            end(&mut open, &mut found)?;
            fields_above.clear();
            is_within_field = false;
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if !is_within_field {
                return Err(Wrong::at(
                    line_number,
                    "goes on with a field, but there is none above",
                ));
            }
            take(line, line_number, &mut open, &mut found)?;
            continue;
        }
        end(&mut open, &mut found)?;
        let Some((name, value)) = line.split_once(':') else {
            return Err(Wrong::at(line_number, "is no field: NAME: VALUE"));
        };
        let name = name.trim_end().to_ascii_lowercase();
        if FIELDS.contains(&name.as_str()) {
            open = Some(Entry::default());
            take(value, line_number, &mut open, &mut found)?;
        }
        if !fields_above.insert(name) {
            return Err(Wrong::at(
                line_number,
                "is a field that the paragraph has already",
            ));
        }
        is_within_field = true;
    }
    end(&mut open, &mut found)?;
    Ok(found)
}

/// An entry of a list as far as it was read.
#[derive(Default)]
struct Entry {
    text: String,
    /// Where its first word stands.
    line: Option<usize>,
}

/// Takes a line of a list; nothing where the field is none.
fn take(
    line: &str,
    number: usize,
    open: &mut Option<Entry>,
    found: &mut BTreeSet<Dependency>,
) -> Result<(), Wrong> {
    let Some(entry) = open else { return Ok(()) };
    for (n, part) in line.split(',').enumerate() {
        if n > 0 {
            std::mem::take(entry).end(found)?;
        }
        if !part.trim().is_empty() {
            entry.line.get_or_insert(number);
            entry.text.push(' ');
            entry.text.push_str(part.trim());
        }
    }
    Ok(())
}

fn end(open: &mut Option<Entry>, found: &mut BTreeSet<Dependency>) -> Result<(), Wrong> {
    open.take().unwrap_or_default().end(found)
}

impl Entry {
    /// What it says. Nothing stands between two commas, or after the last.
    fn end(self, found: &mut BTreeSet<Dependency>) -> Result<(), Wrong> {
        let Some(line) = self.line else { return Ok(()) };
        let text = self.text.trim();
        let outside = match (text.find('('), text.rfind(')')) {
            (Some(open), Some(close)) if open < close => {
                format!("{}{}", &text[..open], &text[close + 1..])
            }
            _ => text.to_owned(),
        };
        let refused = match outside {
            outside if outside.contains('|') => "alternatives: say the one that it is built on",
            outside if outside.contains("${") => "a substitution: say the name",
            outside if outside.contains('[') => {
                "an architecture, and dependencies hold for all of them"
            }
            outside if outside.contains('<') => "a profile, and dependencies hold for all of them",
            _ => {
                let dependency = text.parse().map_err(|why: crate::domain::Invalid| {
                    Wrong::at(line, format!("{text:?}: {why}"))
                })?;
                found.insert(dependency);
                return Ok(());
            }
        };
        Err(Wrong::at(line, format!("{text:?} has {refused}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let found = dependencies(text).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_dependencies_of_all_paragraphs_are_one_set() {
        for (text, expected) in [
            ("", &[][..]),
            ("Source: x\n\n", &[]),
            ("Depends: a", &["a"]),
            (
                "Build-Depends: a, b\n\nPackage: x\nDepends: b, c (>= 1.0),\n",
                &["a", "b", "c (>= 1.0)"],
            ),
            ("depends: a,\n b\n\t, c\n", &["a", "b", "c"]),
            (
                "DEPENDS:\n a (=\n  1.0),\n# not this, one\n b@2\n",
                &["a (= 1.0)", "b (= 2)"],
            ),
            (
                "Depends: a (<< 2)\nDescription: one | two\n three [four]\n",
                &["a (<< 2)"],
            ),
            ("Depends: team/a, , b\r\n", &["b", "team/a"]),
        ] {
            assert_eq!(texts(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_refused_with_its_line() {
        for (text, line, word) in [
            ("Depends: a,\n b | c", 2, "alternatives"),
            ("\nDepends: a [amd64]", 2, "architecture"),
            ("Depends: a <!nocheck>", 1, "profile"),
            ("Depends: ${misc:Depends}", 1, "substitution"),
            ("Depends: a,\n\t\n b", 3, "none above"),
            ("Depends: A", 1, "lowercase"),
            ("Depends: a (1.0)", 1, ">="),
            ("Depends: a\nDepends: b", 2, "already"),
            ("no field", 1, "NAME"),
        ] {
            let wrong = dependencies(text).unwrap_err();
            assert_eq!(wrong.line, Some(line), "{text:?}: {}", wrong.reason);
            assert!(wrong.reason.contains(word), "{text:?}: {}", wrong.reason);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(Depends:|[ \\t\\n,(|\\[<)]|[a-z]|\\PC){0,60}") {
            let _ = dependencies(&text);
        }
    }
}
