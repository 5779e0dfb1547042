//! Keeps account of an import: what was taken, what was refused, and how both are told.

use indicatif::ProgressBar;
use serde::Serialize;

use crate::cli::failure::{Exit, Failure, say};
use crate::cli::output::{self, Output};
use crate::cli::tally::Tally;

/// How an import is done.
#[derive(Clone, Copy)]
pub struct How {
    /// Past what cannot be imported.
    pub keep_going: bool,
    /// Only said, not done.
    pub dry_run: bool,
}

pub struct Account {
    pub how: How,
    pub bar: ProgressBar,
    pub taken: Tally,
    output: Output,
    refused: u64,
}

/// The report as JSON.
#[derive(Serialize)]
struct Report<'a> {
    namespaces: &'a Tally,
    refused: u64,
}

impl Account {
    pub fn new(how: How, bar: ProgressBar, output: Output) -> Self {
        Self {
            how,
            bar,
            taken: Tally::default(),
            output,
            refused: 0,
        }
    }

    /// Says something that is no error.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }

    /// Notes what cannot be taken: an error, unless the import goes on past it.
    pub fn refuse(&mut self, what: &str, why: &str) -> Result<(), Failure> {
        self.refused += 1;
        let said = format!("{what}: {why}");
        if self.how.keep_going {
            self.say(&said);
            return Ok(());
        }
        self.tell_taken()?;
        Err(Failure::new(format!(
            "the import stopped at {said}; what came before it stays"
        ))
        .next("Pass over what cannot be imported with --keep-going"))
    }

    /// Tells what was taken, and why the import ended before all of it was.
    pub fn broke_off(&self, why: Failure) -> Failure {
        if let Err(failure) = self.tell_taken() {
            return failure;
        }
        why.during("the import broke off")
            .next("Import again when that is mended; what is there already stays")
    }

    /// Tells what was taken.
    pub fn report(self) -> Result<(), Failure> {
        self.tell()?;
        match self.refused {
            0 => Ok(()),
            _ => Err(Failure::told(Exit::Error)),
        }
    }

    /// Tells what was taken before the import failed, if anything was.
    fn tell_taken(&self) -> Result<(), Failure> {
        match self.taken.is_empty() {
            true => {
                self.bar.finish_and_clear();
                Ok(())
            }
            false => self.tell(),
        }
    }

    fn tell(&self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        match self.output {
            Output::Table => output::text(&self.taken.table().to_string()),
            Output::Json | Output::Ndjson => {
                let report = Report {
                    namespaces: &self.taken,
                    refused: self.refused,
                };
                output::object(self.output, &report)
            }
        }
    }
}
