//! What a person sees while targets are worked on.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::job::Outcome;
use crate::cli::build::process::Voice;
use crate::cli::build::stop::Stop;
use crate::cli::build::telling;
use crate::cli::table::printable;

/// Tells of work on standard error.
pub struct Show {
    form: Form,
    done: AtomicU64,
    failed: AtomicU64,
}

enum Form {
    /// A terminal: a line for each target at work, below what the commands write. Drawn by the thread that writes.
    Bars(Arc<Bars>),
    /// One target at a time, a file or a pipe: a line for each step, and for each line of a command.
    Lines,
}

struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    working: Mutex<HashMap<String, ProgressBar>>,
}

const TICK: Duration = Duration::from_millis(200);

impl Show {
    pub fn new(jobs: u16) -> Self {
        let form = match (io::stderr().is_terminal(), jobs) {
            (false, _) | (true, 1) => Form::Lines,
            (true, _) => Form::Bars(Arc::new(Bars::new())),
        };
        Self {
            form,
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// A step begins.
    pub fn doing(&self, name: &str, what: &str) {
        match &self.form {
            Form::Lines => telling::say(&format!("{name}: {what}")),
            Form::Bars(bars) => {
                let (bars, name, what) = (bars.clone(), name.to_owned(), what.to_owned());
                telling::tell(move || bars.doing(&name, &what));
            }
        }
    }

    /// A line about a target.
    pub fn line(&self, name: &str, line: &str) {
        self.tell(format!("{name}| {}", plain(line)));
    }

    /// Where a target's commands write.
    pub fn voice(&self, name: &str) -> Voice {
        let name = name.to_owned();
        match &self.form {
            Form::Lines => Voice::Lines(Arc::new(move |line| {
                let _ = writeln!(io::stderr(), "{name}| {}", plain(line));
            })),
            Form::Bars(bars) => {
                let all = bars.all.clone();
                Voice::Lines(Arc::new(move |line| {
                    let _ = all.println(format!("{name}| {}", plain(line)));
                }))
            }
        }
    }

    pub fn ended(&self, name: &str, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Done(_) => Some(&self.done),
            Outcome::Failed { .. } => Some(&self.failed),
            Outcome::PutOff { .. } | Outcome::Stopped | Outcome::Lost(_) | Outcome::Refused(_) => {
                None
            }
        };
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Form::Bars(bars) = &self.form {
            let counts = [&self.done, &self.failed].map(|count| count.load(Ordering::Relaxed));
            let total = match counts {
                [done, 0] => format!("{done} done"),
                [done, failed] => format!("{done} done, {failed} failed"),
            };
            let (bars, name) = (bars.clone(), name.to_owned());
            telling::tell(move || bars.ended(&name, total));
        }
        self.tell(format!("{name}: {}", words(outcome)));
    }

    /// Takes away what is only for the time of the work, once all is told; not when somebody asks to end before.
    pub async fn end(&self, stop: &Stop) {
        if let Form::Bars(bars) = &self.form {
            let bars = bars.clone();
            telling::tell(move || {
                bars.total.finish_and_clear();
                let _ = bars.all.clear();
            });
        }
        stop.unless_over(telling::settled()).await;
    }

    fn tell(&self, line: String) {
        match &self.form {
            Form::Lines => telling::tell(move || {
                let _ = writeln!(io::stderr(), "{line}");
            }),
            Form::Bars(bars) => {
                let all = bars.all.clone();
                telling::tell(move || {
                    let _ = all.println(line);
                });
            }
        }
    }
}

/// A command's line without what would drive the terminal; tabs stay.
fn plain(line: &str) -> String {
    let parts = line.split('\t').map(printable);
    parts.collect::<Vec<_>>().join("\t")
}

/// What became of a target.
fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(done) => {
            let steps = [
                (done.is_found, "was there already"),
                (done.is_built, "built"),
                (done.is_verified && !done.is_untested, "verified"),
                (done.is_untested, "verified (there is no test)"),
                (done.is_published, "published"),
            ];
            let steps = steps
                .into_iter()
                .filter(|(is_so, _)| *is_so)
                .map(|(_, step)| step);
            steps.collect::<Vec<_>>().join(", ")
        }
        Outcome::Failed { stage, why } => format!("{} failed: {}", stage.name(), last_line(why)),
        Outcome::PutOff { why, .. } => format!("put off: {}", last_line(why)),
        Outcome::Stopped => "given back".to_owned(),
        Outcome::Lost(why) => format!("given up, the claim is lost: {}", last_line(why)),
        Outcome::Refused(failure) => printable(&failure.words()),
    }
}

/// How it ended and its last words, where the words between were told already.
fn last_line(why: &str) -> String {
    let mut lines = why.lines();
    let first = lines.next().unwrap_or_default();
    match lines.next_back() {
        Some(last) => format!("{} ... {}", printable(first), printable(last)),
        None => printable(first),
    }
}

// === impl Bars ===

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("{msg}  {elapsed}");
        let total = all.add(ProgressBar::new_spinner());
        total.set_style(style.expect("the template is well formed"));
        total.enable_steady_tick(TICK);
        Self {
            all,
            total,
            working: Mutex::default(),
        }
    }

    fn doing(&self, name: &str, what: &str) {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = working.entry(name.to_owned()).or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}  {elapsed}");
            let bar = self
                .all
                .insert_before(&self.total, ProgressBar::new_spinner());
            bar.set_style(style.expect("the template is well formed"));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_message(what.to_owned());
    }

    fn ended(&self, name: &str, total: String) {
        self.total.set_message(total);
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = working.remove(name) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::{Done, Stage};
    use super::*;

    #[test]
    fn what_became_of_a_target_is_one_line() {
        let done = Done {
            is_built: true,
            is_verified: true,
            is_untested: true,
            ..Done::default()
        };
        let failed = Outcome::Failed {
            stage: Stage::Build,
            why: "exit code 1: a\nb\n\u{1b}[31mc".to_owned(),
        };
        assert_eq!(
            words(&Outcome::Done(done)),
            "built, verified (there is no test)"
        );
        assert_eq!(
            words(&failed),
            "build failed: exit code 1: a ... \\u{1b}[31mc"
        );
        assert_eq!(plain("a\tb\u{7}"), "a\tb\\u{7}");
    }
}
