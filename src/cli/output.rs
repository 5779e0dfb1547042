//! Standard output: for people as text, for programs as JSON.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::failure::Failure;

/// What -o takes: a form of results that each command has, or that only some have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Aligned text for people
    Table,
    /// One array for a list, one object for anything else
    Json,
    /// One object a line
    Ndjson,
    /// A graph in the language of Graphviz; lineage and build graph only
    Dot,
    /// A graph in the language of Mermaid; build graph only
    Mermaid,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Table,
    Json,
    Ndjson,
}

/// Standard output, buffered. A reader that goes away is [`Failure::reader_gone`].
pub struct Stdout(BufWriter<io::Stdout>);

/// JSON values written one by one, as they come.
pub struct Values {
    stdout: Stdout,
    shape: Shape,
}

enum Shape {
    Lines,
    Array { empty: bool },
}

/// Results as they come: lines for people, values for programs.
pub enum Told {
    Lines(Stdout),
    Values(Values),
}

/// Writes one JSON object.
pub fn object(output: Output, value: &impl Serialize) -> Result<(), Failure> {
    let text = match output {
        Output::Ndjson => json(value),
        Output::Json | Output::Table => {
            serde_json::to_string_pretty(value).expect("records have text as keys")
        }
    };
    let mut stdout = Stdout::open();
    stdout.line(&text)?;
    stdout.flush()
}

/// Writes text that ends its own lines.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut stdout = Stdout::open();
    stdout.text(text)?;
    stdout.flush()
}

/// A value as one line of JSON.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records have text as keys")
}

// === impl Stdout ===

impl Stdout {
    pub fn open() -> Self {
        Self(BufWriter::new(io::stdout()))
    }

    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.0
            .write_all(text.as_bytes())
            .map_err(Failure::writing_stdout)
    }

    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.text(text)?;
        self.text("\n")
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(Failure::writing_stdout)
    }
}

// === impl Values ===

impl Values {
    pub fn new(output: Output) -> Self {
        Self {
            stdout: Stdout::open(),
            shape: match output {
                Output::Ndjson => Shape::Lines,
                Output::Json | Output::Table => Shape::Array { empty: true },
            },
        }
    }

    pub fn push(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = json(value);
        match &mut self.shape {
            Shape::Lines => self.stdout.line(&text),
            Shape::Array { empty } => {
                self.stdout.text(if *empty { "[\n" } else { ",\n" })?;
                *empty = false;
                self.stdout.text(&text)
            }
        }
    }

    /// Shows what was pushed so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush()
    }

    pub fn end(mut self) -> Result<(), Failure> {
        match self.shape {
            Shape::Lines => (),
            Shape::Array { empty: true } => self.stdout.line("[]")?,
            Shape::Array { empty: false } => self.stdout.line("\n]")?,
        }
        self.stdout.flush()
    }
}

// === impl Told ===

impl Told {
    pub fn new(output: Output) -> Self {
        match output {
            Output::Table => Self::Lines(Stdout::open()),
            Output::Json | Output::Ndjson => Self::Values(Values::new(output)),
        }
    }

    pub fn push(&mut self, line: &str, value: &impl Serialize) -> Result<(), Failure> {
        match self {
            Self::Lines(stdout) => stdout.line(line),
            Self::Values(values) => values.push(value),
        }
    }

    /// Shows what was pushed so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Lines(stdout) => stdout.flush(),
            Self::Values(values) => values.flush(),
        }
    }

    pub fn end(self) -> Result<(), Failure> {
        match self {
            Self::Lines(mut stdout) => stdout.flush(),
            Self::Values(values) => values.end(),
        }
    }
}
