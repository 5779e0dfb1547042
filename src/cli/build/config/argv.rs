//! Commands with places to fill, as lists of arguments; no shell reads them.

use std::collections::BTreeMap;

/// A command whose `{image}` and the like stand for what is only known when it runs.
///
/// A place is `{`, lowercase letters and `_`, `}`, where no other `{` stands before it: `{{.ID}}` and `{{id}}` stay
/// as they are. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argv(Vec<Argument>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Argument {
    Text(Vec<Piece>),
    /// `--build-arg NAME=VALUE` for each of them.
    BuildArgs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Place(Var),
}

/// What a place can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Var {
    /// The label: `REGISTRY/PREFIX/NAME:VERSION`.
    Image,
    /// The label without the version.
    Repository,
    Name,
    Version,
    Registry,
    /// The directory that is built.
    Context,
    /// The file that says how, as it was rendered.
    Dockerfile,
    /// Where the command writes the id of what it built.
    IidFile,
    /// Where the command may write the digest of what it pushed.
    DigestFile,
    /// Of the claim.
    Token,
    Platform,
    /// What a builder image is made from.
    Base,
}

/// What places are filled with.
#[derive(Clone, Debug, Default)]
pub struct Vars {
    values: BTreeMap<Var, String>,
    build_args: BTreeMap<String, String>,
}

/// The place that is filled with several arguments.
const BUILD_ARGS: &str = "build_args";

impl Argv {
    /// Refuses an empty command, and a place that nothing of `known` fills; the reason continues a sentence.
    pub fn new(arguments: &[String], known: &[Var]) -> Result<Self, String> {
        if arguments.first().is_none_or(String::is_empty) {
            return Err("must name a program".to_owned());
        }
        let arguments = arguments.iter().map(|text| {
            if text
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'))
                == Some(BUILD_ARGS)
                && known.contains(&Var::Dockerfile)
            {
                return Ok(Argument::BuildArgs);
            }
            pieces(text, known).map(Argument::Text)
        });
        arguments.collect::<Result<_, _>>().map(Self)
    }

    /// The arguments, the program first. A place without a value is filled with nothing.
    pub fn fill(&self, vars: &Vars) -> Vec<String> {
        let mut filled = Vec::with_capacity(self.0.len());
        for argument in &self.0 {
            match argument {
                Argument::Text(pieces) => {
                    filled.push(pieces.iter().map(|piece| piece.text(vars)).collect());
                }
                Argument::BuildArgs => {
                    for (name, value) in &vars.build_args {
                        filled.extend(["--build-arg".to_owned(), format!("{name}={value}")]);
                    }
                }
            }
        }
        filled
    }

    pub(super) fn has_build_args(&self) -> bool {
        self.0.contains(&Argument::BuildArgs)
    }

    /// The arguments that begin with the directory that is built, with that in its place: files that the command needs.
    pub fn files_in_context(&self, vars: &Vars) -> Vec<String> {
        let words = self.0.iter().flat_map(|argument| match argument {
            Argument::Text(pieces) => words_at_context(pieces),
            Argument::BuildArgs => Vec::new(),
        });
        let context = Piece::Place(Var::Context).text(vars).to_owned();
        words.map(|rest| format!("{context}{rest}")).collect()
    }
}

/// What follows `{context}` up to the end of its word.
fn words_at_context(pieces: &[Piece]) -> Vec<&str> {
    let pairs = pieces.windows(2).filter_map(|pair| match pair {
        [Piece::Place(Var::Context), Piece::Literal(rest)] if rest.starts_with('/') => {
            let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';'));
            Some(&rest[..end.unwrap_or(rest.len())])
        }
        _ => None,
    });
    pairs.collect()
}

fn pieces(text: &str, known: &[Var]) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut literal) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        let is_doubled = before.is_empty() && literal.ends_with('{');
        literal.push_str(before);
        let Some(name) = place(from).filter(|_| !is_doubled) else {
            literal.push('{');
            rest = &from[1..];
            continue;
        };
        let Some(var) = known.iter().copied().find(|var| var.name() == name) else {
            let known: Vec<_> = known.iter().map(|var| var.name()).collect();
            return Err(format!(
                "{text:?} has {{{name}}}, which is none of {}",
                known.join(", ")
            ));
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Place(var));
        rest = &from[name.len() + 2..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// The name of the place that a text begins with.
fn place(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

// === impl Piece ===

impl Piece {
    fn text<'a>(&'a self, vars: &'a Vars) -> &'a str {
        match self {
            Self::Literal(text) => text,
            Self::Place(var) => vars.values.get(var).map_or("", String::as_str),
        }
    }
}

// === impl Var ===

impl Var {
    /// As a place names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Repository => "repository",
            Self::Name => "name",
            Self::Version => "version",
            Self::Registry => "registry",
            Self::Context => "context",
            Self::Dockerfile => "dockerfile",
            Self::IidFile => "iid_file",
            Self::DigestFile => "digest_file",
            Self::Token => "token",
            Self::Platform => "platform",
            Self::Base => "base",
        }
    }
}

// === impl Vars ===

impl Vars {
    #[must_use]
    pub fn with(mut self, var: Var, value: impl Into<String>) -> Self {
        self.values.insert(var, value.into());
        self
    }

    #[must_use]
    pub fn with_build_args(mut self, build_args: BTreeMap<String, String>) -> Self {
        self.build_args = build_args;
        self
    }
}
