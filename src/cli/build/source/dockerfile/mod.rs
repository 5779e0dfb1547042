//! What a Dockerfile is built on, and the version that it gives its image.

mod expand;
mod lines;
mod stages;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::ops::Range;

use self::expand::expand;
use self::lines::{Instruction, Joined, Split};
use self::stages::{Base, Stages};
use self::words::{within_quotes, words};
use crate::cli::build::config::Wrong;

/// What a Dockerfile says, as far as its last stage needs it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// The images that it takes something from, in the order of the file.
    pub images: Vec<Used>,
    /// `LABEL org.opencontainers.image.version`.
    pub version: Option<Said>,
    /// The lines with something that cannot be followed, and what.
    pub warnings: Vec<(usize, String)>,
}

/// An image that a line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub line: usize,
    /// Its reference, the variables filled in.
    pub reference: String,
    /// Where the reference stands in the file. Never empty.
    pub at: Range<usize>,
}

/// A literal text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub line: usize,
    pub text: String,
    /// Where it stands in the file, without quotes. Never empty.
    pub at: Range<usize>,
}

/// The label with the version of an image (OCI's annotations).
const VERSION_LABEL: &str = "org.opencontainers.image.version";
/// The base that is no image.
const SCRATCH: &str = "scratch";

/// Reads a Dockerfile. Of its stages only those count that the last one is made from.
///
/// Instructions that are said with ONBUILD are not looked at. Fails for what cannot be built, and for a FROM whose
/// variables have no value.
pub fn read(text: &str, build_args: &BTreeMap<String, String>) -> Result<Dockerfile, Wrong> {
    let Split {
        escape,
        instructions,
    } = lines::split(text)?;
    let mut reading = Reading {
        escape,
        arguments: predefined(build_args),
        build_args,
        stages: Stages::default(),
        warnings: Vec::new(),
    };
    for instruction in &instructions {
        reading.take(instruction)?;
    }
    reading.done()
}

struct Reading<'a> {
    escape: char,
    /// What FROM may name: none where it was declared without a value.
    arguments: BTreeMap<String, Option<String>>,
    build_args: &'a BTreeMap<String, String>,
    stages: Stages,
    warnings: Vec<(usize, String)>,
}

/// The arguments that are there without being declared: the platform is this machine's.
fn predefined(build_args: &BTreeMap<String, String>) -> BTreeMap<String, Option<String>> {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", ""),
        "x86" => ("386", ""),
        "aarch64" => ("arm64", ""),
        "arm" => ("arm", "v7"),
        "powerpc64" => ("ppc64le", ""),
        "loongarch64" => ("loong64", ""),
        other => (other, ""),
    };
    let platform = match variant {
        "" => format!("linux/{architecture}"),
        variant => format!("linux/{architecture}/{variant}"),
    };
    let of = |side: &'static str, platform: &str| {
        let values = [
            ("PLATFORM", platform),
            ("OS", "linux"),
            ("ARCH", architecture),
            ("VARIANT", variant),
        ];
        values.map(|(name, value)| (format!("{side}{name}"), value.to_owned()))
    };
    let all = of("TARGET", &platform)
        .into_iter()
        .chain(of("BUILD", &platform));
    let given = |name: &String| build_args.get(name).cloned();
    all.map(|(name, value)| {
        let value = given(&name).unwrap_or(value);
        (name, Some(value))
    })
    .collect()
}

impl Reading<'_> {
    fn take(&mut self, instruction: &Instruction) -> Result<(), Wrong> {
        let Instruction {
            line,
            keyword,
            arguments,
        } = instruction;
        let line = *line;
        match keyword.as_str() {
            "FROM" => self.from(line, arguments),
            "ARG" if self.stages.is_empty() => self.arg(line, arguments),
            _ if self.stages.is_empty() => {
                let reason = format!("{keyword} stands before the first FROM");
                Err(Wrong::at(line, reason))
            }
            "COPY" => {
                self.flags(line, arguments, &|flag| {
                    let from = flag.strip_prefix("--from=")?;
                    Some(flag.len() - from.len()..flag.len())
                });
                Ok(())
            }
            "RUN" => {
                self.flags(line, arguments, &mounted);
                Ok(())
            }
            "LABEL" => {
                self.label(line, arguments);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn expanded(&self, line: usize, what: &str, word: &str) -> Result<String, Wrong> {
        let value = |name: &str| self.arguments.get(name).cloned().flatten();
        let expanded = expand(word, self.escape, &value)
            .map_err(|why| Wrong::at(line, format!("{what} {why}")))?;
        match expanded.missing {
            None => Ok(expanded.text),
            Some(name) => Err(Wrong::at(
                line,
                format!(
                    "{what} needs the build arg {name}; give it a default, or a value in [build_args]"
                ),
            )),
        }
    }

    fn arg(&mut self, line: usize, arguments: &Joined) -> Result<(), Wrong> {
        let text = &arguments.text;
        let Some(words) = words(text, self.escape) else {
            return Err(Wrong::at(line, "ARG has a quote that is not closed"));
        };
        for word in words {
            let (name, default) = match text[word.clone()].split_once('=') {
                Some((name, default)) => (name, Some(default)),
                None => (&text[word], None),
            };
            let value = match (self.build_args.get(name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => {
                    Some(self.expanded(line, &format!("ARG {name}"), default)?)
                }
                // Declared once more without a value, a predefined one keeps its own.
                (None, None) => self.arguments.get(name).cloned().flatten(),
            };
            self.arguments.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn from(&mut self, line: usize, arguments: &Joined) -> Result<(), Wrong> {
        let text = &arguments.text;
        let Some(words) = words(text, self.escape) else {
            return Err(Wrong::at(line, "FROM has a quote that is not closed"));
        };
        let mut words = words
            .into_iter()
            .filter(|word| !text[word.clone()].starts_with("--"));
        let Some(word) = words.next() else {
            return Err(Wrong::at(line, "FROM names no image"));
        };
        let name = match (words.next(), words.next(), words.next()) {
            (None, ..) => None,
            (Some(r#as), Some(name), None) if text[r#as.clone()].eq_ignore_ascii_case("as") => {
                Some(text[name].to_ascii_lowercase())
            }
            (Some(_), ..) => return Err(Wrong::at(line, "FROM must be IMAGE, or IMAGE AS NAME")),
        };
        let reference = self.expanded(line, "FROM", &text[word.clone()])?;
        if reference.is_empty() {
            return Err(Wrong::at(line, "FROM names no image"));
        }
        let base = match self.stages.named(&reference) {
            Some(stage) => Base::Stage(stage),
            None if reference == SCRATCH => Base::Scratch,
            None => Base::Image(Used {
                line,
                reference,
                at: arguments.in_file(word),
            }),
        };
        self.stages.begin(name, base);
        Ok(())
    }

    /// Takes note of what the flags before the first other word name, as `within` finds it.
    fn flags(
        &mut self,
        line: usize,
        arguments: &Joined,
        within: &dyn Fn(&str) -> Option<Range<usize>>,
    ) {
        let text = &arguments.text;
        // Flags have no quotes; what follows them may have any.
        let mut at = 0;
        while text[at..].starts_with("--") {
            let end = text[at..]
                .find(char::is_whitespace)
                .map_or(text.len(), |n| at + n);
            let found = within(&text[at..end]).map(|part| at + part.start..at + part.end);
            let found = found.map(|part| within_quotes(text, part));
            match found.map(|part| (text[part.clone()].to_owned(), part)) {
                Some((reference, part)) if !reference.contains('$') && !part.is_empty() => {
                    let at = arguments.in_file(part);
                    self.stages.uses(Used {
                        line,
                        reference,
                        at,
                    });
                }
                Some((reference, part)) if !part.is_empty() => {
                    let warning = format!(
                        "{reference:?} is only known while it is built, and is not followed"
                    );
                    self.warnings.push((line, warning));
                }
                Some(_) | None => {}
            }
            at = text.len() - text[end..].trim_start().len();
        }
    }

    fn label(&mut self, line: usize, arguments: &Joined) {
        let text = &arguments.text;
        let words = words(text, self.escape).unwrap_or_default();
        let mut pairs = Vec::new();
        match &*words {
            // The old form, of one label.
            [key, value, ..] if !text[key.clone()].contains('=') => {
                pairs.push((key.clone(), value.start..text.len()));
            }
            words => pairs.extend(words.iter().filter_map(|word| {
                let equals = word.start + text[word.clone()].find('=')?;
                Some((word.start..equals, equals + 1..word.end))
            })),
        }
        for (key, value) in pairs {
            let value = within_quotes(text, value);
            if &text[within_quotes(text, key)] == VERSION_LABEL && !value.is_empty() {
                self.stages.says_version(Said {
                    line,
                    text: text[value.clone()].to_owned(),
                    at: arguments.in_file(value),
                });
            }
        }
    }

    fn done(self) -> Result<Dockerfile, Wrong> {
        if self.stages.is_empty() {
            return Err(Wrong::from("has no FROM".to_owned()));
        }
        let mut images = self.stages.needed()?;
        images.retain(|used| used.reference != SCRATCH);
        images.sort_by_key(|used| used.at.start);
        Ok(Dockerfile {
            images,
            version: self.stages.version(),
            warnings: self.warnings,
        })
    }
}

/// The `from` of a `--mount=type=bind,from=IMAGE,...`.
fn mounted(flag: &str) -> Option<Range<usize>> {
    let mut at = flag.len() - flag.strip_prefix("--mount=")?.len();
    for field in flag[at..].split(',') {
        if let Some(from) = field.strip_prefix("from=") {
            return Some(at + field.len() - from.len()..at + field.len());
        }
        at += field.len() + 1;
    }
    None
}
