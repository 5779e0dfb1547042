//! What a crew has done, and what it has not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::job::{Done, Outcome};
use crate::cli::build::ls::first_line;
use crate::cli::build::plan::{BlockedRecord, why};
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::cli::table::Table;
use crate::proto::v1::{BlockedTarget, IdleTargets};

#[derive(Default)]
pub struct Summary {
    done: BTreeMap<String, Done>,
    failed: BTreeMap<String, Failed>,
    /// What was given back, and why.
    put_off: BTreeMap<String, String>,
    /// How often each was.
    times_put_off: BTreeMap<String, u32>,
    lost: BTreeMap<String, String>,
    blocked: BTreeMap<String, BlockedTarget>,
    /// What of the directory the server does not know.
    undeclared: Vec<String>,
    /// What the server said when there was nothing left to claim.
    idle: Option<IdleTargets>,
    is_over: bool,
}

/// How often a target is put off before it is given up.
const MOST_PUT_OFF: u32 = 3;

struct Failed {
    stage: &'static str,
    why: String,
}

#[derive(Serialize)]
struct Report {
    built: usize,
    verified: usize,
    published: usize,
    found: usize,
    /// Of those that are verified: how many had no test.
    untested: usize,
    failed: Vec<FailedRecord>,
    blocked: Vec<BlockedRecord>,
    blocked_count: usize,
    waiting: Vec<WaitingRecord>,
    waiting_count: usize,
    put_off: Vec<WhyRecord>,
    lost: Vec<WhyRecord>,
    /// What of the directory the server does not know.
    undeclared: Vec<String>,
}

#[derive(Serialize)]
struct FailedRecord {
    target: String,
    stage: &'static str,
    why: String,
}

#[derive(Serialize)]
struct WaitingRecord {
    target: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    on: String,
}

#[derive(Serialize)]
struct WhyRecord {
    target: String,
    why: String,
}

impl Summary {
    pub fn add(&mut self, name: &str, outcome: Outcome) {
        let name = name.to_owned();
        match outcome {
            Outcome::Done(done) => {
                self.put_off.remove(&name);
                self.lost.remove(&name);
                // A target may be built at one time and published at another.
                let all = self.done.entry(name).or_default();
                all.is_built |= done.is_built;
                all.is_verified |= done.is_verified;
                all.is_untested |= done.is_untested;
                all.is_published |= done.is_published;
                all.is_found |= done.is_found;
            }
            Outcome::Failed { stage, why } => {
                let stage = stage.name();
                self.failed.insert(name, Failed { stage, why });
            }
            Outcome::Refused(failure) => {
                let why = failure.words();
                self.failed.insert(
                    name,
                    Failed {
                        stage: "report",
                        why,
                    },
                );
            }
            Outcome::PutOff { why, .. } => {
                *self.times_put_off.entry(name.clone()).or_default() += 1;
                self.put_off.insert(name, why);
            }
            Outcome::Lost(why) => {
                self.lost.insert(name, why);
            }
            Outcome::Stopped => {}
        }
    }

    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Whether something was put off so often that it will be again.
    pub fn is_hopeless(&self) -> bool {
        let often = |name: &String| {
            self.times_put_off
                .get(name)
                .is_some_and(|times| *times >= MOST_PUT_OFF)
        };
        self.put_off.keys().any(often)
    }

    /// Notes that nothing is left that could be claimed.
    pub fn idle(&mut self, idle: IdleTargets) {
        self.idle = Some(idle);
        self.end();
    }

    /// Nothing more is to be claimed.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    pub fn is_over(&self) -> bool {
        self.is_over
    }

    pub fn blocked(&mut self, blocked: Vec<BlockedTarget>) {
        let by_name = |blocked: BlockedTarget| (blocked.target.clone(), blocked);
        self.blocked.extend(blocked.into_iter().map(by_name));
    }

    pub fn undeclared(&mut self, undeclared: Vec<String>) {
        self.undeclared = undeclared;
    }

    /// Writes what was done, and fails where not all was.
    pub fn tell(mut self, form: Output) -> Result<(), Failure> {
        let idle = self.idle.take().unwrap_or_default();
        self.blocked(idle.blocked.clone());
        // What failed itself is said to be so already.
        self.blocked
            .retain(|target, _| !self.failed.contains_key(target));
        let report = self.report(&idle);
        match form {
            Output::Table => output::text(&report.text(&self.blocked))?,
            form => output::object(form, &report)?,
        }
        match report.complaint() {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    fn report(&self, idle: &IdleTargets) -> Report {
        let count =
            |is_so: fn(&Done) -> bool| self.done.values().filter(|done| is_so(done)).count();
        let whys = |whys: &BTreeMap<String, String>| {
            let records = whys.iter().map(|(target, why)| WhyRecord {
                target: target.clone(),
                why: why.clone(),
            });
            records.collect()
        };
        Report {
            built: count(|done| done.is_built),
            verified: count(|done| done.is_verified),
            published: count(|done| done.is_published),
            found: count(|done| done.is_found),
            untested: count(|done| done.is_untested),
            failed: self
                .failed
                .iter()
                .map(|(target, failed)| FailedRecord {
                    target: target.clone(),
                    stage: failed.stage,
                    why: failed.why.clone(),
                })
                .collect(),
            blocked: self
                .blocked
                .values()
                .cloned()
                .map(BlockedRecord::from)
                .collect(),
            // The server names the first few; when something failed here it was asked for all.
            blocked_count: match self.failed.is_empty() {
                true => self.blocked.len().max(usize_of(idle.blocked_count)),
                false => self.blocked.len(),
            },
            waiting: idle
                .waiting
                .iter()
                .map(|waiting| WaitingRecord {
                    target: waiting.target.clone(),
                    on: waiting.on.clone(),
                })
                .collect(),
            waiting_count: usize_of(idle.waiting_count),
            put_off: whys(&self.put_off),
            lost: whys(&self.lost),
            undeclared: self.undeclared.clone(),
        }
    }
}

fn usize_of(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Report {
    fn text(&self, blocked: &BTreeMap<String, BlockedTarget>) -> String {
        let counts = [
            (self.built, "built"),
            (self.verified, "verified"),
            (self.published, "published"),
            (self.found, "there already"),
            (self.untested, "without a test"),
            (self.failed.len(), "failed"),
            (self.blocked_count, "blocked"),
            (self.waiting_count, "waiting"),
        ];
        let counts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let mut text = match counts.is_empty() {
            true => "nothing to do\n".to_owned(),
            false => format!("{}\n", counts.join(", ")),
        };
        let mut table = Table::new(["TARGET", "STATE", "WHY"]);
        for failed in &self.failed {
            table.push([
                &*failed.target,
                &format!("{} failed", failed.stage),
                first_line(&failed.why),
            ]);
        }
        for (target, blocked) in blocked {
            table.push([&**target, "blocked", &why(blocked)]);
        }
        for waiting in &self.waiting {
            let why = match waiting.on.as_str() {
                "" => "for its time, or for another worker".to_owned(),
                on => format!("for {on}"),
            };
            table.push([&*waiting.target, "waiting", &why]);
        }
        for target in &self.undeclared {
            table.push([&**target, "unknown", "not scanned yet"]);
        }
        for (state, whys) in [("put off", &self.put_off), ("lost", &self.lost)] {
            for record in whys {
                table.push([&*record.target, state, first_line(&record.why)]);
            }
        }
        if self.is_incomplete() || !self.lost.is_empty() {
            text.push_str(&table.to_string());
        }
        text
    }

    fn is_incomplete(&self) -> bool {
        !self.failed.is_empty()
            || self.blocked_count > 0
            || self.waiting_count > 0
            || !self.put_off.is_empty()
            || !self.undeclared.is_empty()
    }

    fn complaint(&self) -> Option<Failure> {
        if !self.is_incomplete() {
            return None;
        }
        let counts = [
            (self.failed.len(), "failed"),
            (self.blocked_count, "blocked"),
            (self.waiting_count, "waiting for what nobody does"),
            (self.put_off.len(), "put off"),
            (self.undeclared.len(), "not known to the server"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let failure = Failure::new(format!("not all was done: {}", counts.join(", ")));
        let has_failed = !self.failed.is_empty() || self.blocked_count > 0;
        Some(match (has_failed, self.undeclared.is_empty()) {
            (true, _) => {
                failure.next("Take what failed back with 'imagestore build reset', and run again")
            }
            (false, false) => failure.next("Tell it with 'imagestore build scan', and run again"),
            (false, true) => {
                failure.next("See who is at what, and where, with 'imagestore build ls'")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::Stage;
    use super::*;
    use crate::proto::v1::WaitingTarget;

    #[test]
    fn all_done_is_one_line_and_no_complaint() {
        let mut summary = Summary::default();
        let built = Done {
            is_built: true,
            ..Done::default()
        };
        summary.add("a@1", Outcome::Lost("late".to_owned()));
        summary.add("a@1", Outcome::Done(built));
        summary.add(
            "a@1",
            Outcome::Done(Done {
                is_published: true,
                ..Done::default()
            }),
        );
        let report = summary.report(&IdleTargets::default());
        assert_eq!(report.text(&BTreeMap::new()), "1 built, 1 published\n");
        assert!(report.complaint().is_none());
        let nothing = Summary::default().report(&IdleTargets::default());
        assert_eq!(nothing.text(&BTreeMap::new()), "nothing to do\n");
    }

    #[test]
    fn what_failed_is_blocked_or_waits_is_named_with_its_reason() {
        let mut summary = Summary::default();
        summary.add(
            "a@1",
            Outcome::Failed {
                stage: Stage::Build,
                why: "exit code 1: oh\nno".to_owned(),
            },
        );
        summary.blocked(vec![BlockedTarget {
            target: "b@1".to_owned(),
            failed: "a@1".to_owned(),
            through: String::new(),
        }]);
        let idle = IdleTargets {
            waiting_count: 12,
            waiting: vec![WaitingTarget {
                target: "c@1".to_owned(),
                on: "d@1".to_owned(),
            }],
            ..IdleTargets::default()
        };
        let report = summary.report(&idle);
        assert_eq!(
            report.text(&summary.blocked),
            "1 failed, 1 blocked, 12 waiting\n\
             TARGET  STATE         WHY\n\
             a@1     build failed  exit code 1: oh\n\
             b@1     blocked       a@1 failed\n\
             c@1     waiting       for d@1\n"
        );
        assert!(report.complaint().is_some());
    }
}
