//! What a client asks next: chosen by a seed, and by what the client was told before.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::digest;
use crate::history::{Answer, Asked, Change, Condition, Item, Labels, Record};
use crate::random::Random;

/// So few that clients collide.
const NAMES: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];

/// So few that a Put often finds what it would write.
const TARGETS: [&str; 3] = ["t0", "t1", "t2"];

const LABELS: [&str; 2] = ["a", "b"];

/// Whether clients send Applies.
const WITH_APPLY: bool = true;

/// One write in so many is cut off, as far as it has not been answered by then.
const CUT_OFF: u64 = 25;

/// How long a write that is to be cut off may have, in percent of what the client's last one took.
const TIME_TO_CUT: u64 = 150;

/// A call, and how it is made.
pub struct Planned {
    pub asked: Asked,
    pub patience: Patience,
    /// With an id, what was cut off is sent again until it is answered.
    pub request_id: Option<String>,
}

/// How long a client waits for an answer.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    Endless,
    /// The call has a deadline.
    Deadline(Duration),
    /// The connection breaks.
    Connection(Duration),
}

pub struct Planner {
    client: usize,
    planned: usize,
    random: Random,
    /// The record of each name, as the client saw it last.
    seen: BTreeMap<String, Record>,
    /// How long the last write took that was answered.
    pace: Duration,
}

impl Planner {
    pub fn new(client: usize, seed: u64) -> Self {
        Self {
            client,
            planned: 0,
            random: Random::new(seed),
            seen: BTreeMap::new(),
            pace: Duration::ZERO,
        }
    }

    pub fn next(&mut self) -> Planned {
        self.planned += 1;
        let asked = match self.random.below(10) {
            0..3 => Asked::Get(self.name()),
            3..5 if WITH_APPLY => self.batch(),
            _ => {
                let name = self.name();
                Asked::One(self.item(name, false))
            }
        };
        let patience = if asked.items().is_empty() {
            Patience::Endless
        } else {
            self.patience()
        };
        let may_send_again = !matches!(patience, Patience::Endless) && self.random.one_in(2);
        Planned {
            asked,
            patience,
            request_id: may_send_again.then(|| self.mark()),
        }
    }

    pub fn learn(&mut self, asked: &Asked, answer: &Answer, took: Duration) {
        if let Answer::Wrote { .. } = answer {
            self.pace = took;
        }
        match (asked, answer) {
            (Asked::Get(name), Answer::Read { record, .. }) => {
                self.seen.insert(name.clone(), record.clone());
            }
            (_, Answer::Wrote { done, .. }) => {
                for (item, done) in asked.items().iter().zip(done) {
                    if let Some(record) = &done.record {
                        self.seen.insert(item.name.clone(), record.clone());
                    }
                }
            }
            (_, Answer::Read { .. } | Answer::Refused(_)) => {}
        }
    }

    fn name(&mut self) -> String {
        self.random.pick(&NAMES).to_owned()
    }

    fn batch(&mut self) -> Asked {
        let mut names = NAMES.to_vec();
        let many = 2 + self.random.below(3);
        let items = (0..many).map(|_| {
            let nth = self.random.below(names.len() as u64) as usize;
            let name = names.swap_remove(nth).to_owned();
            self.item(name, true)
        });
        Asked::Batch(items.collect())
    }

    fn item(&mut self, name: String, in_batch: bool) -> Item {
        // A batch fails with any of its items; so that enough succeed, most have no condition.
        let is_free = in_batch && !self.random.one_in(4);
        let (change, when) = match self.random.below(10) {
            0..3 => (self.replace(), Condition::None),
            3..5 => (self.replace(), self.condition(&name, true)),
            5..7 => (self.label(), Condition::None),
            7 => (self.label(), self.condition(&name, false)),
            8 => (delete(in_batch), Condition::None),
            _ => (delete(false), self.condition(&name, false)),
        };
        match change {
            Change::Label(..)
            | Change::Delete {
                allow_missing: false,
            } if is_free => Item {
                change: self.replace(),
                when: Condition::None,
                name,
            },
            change => Item { name, when, change },
        }
    }

    fn replace(&mut self) -> Change {
        let mut labels = Labels::new();
        if self.random.one_in(2) {
            labels.insert("by".to_owned(), self.mark());
        }
        Change::Replace {
            target: digest(self.random.pick(&TARGETS)),
            labels,
        }
    }

    fn label(&mut self) -> Change {
        let key = self.random.pick(&LABELS).to_owned();
        let value = match self.random.below(3) {
            0 => None,
            1 => Some("same".to_owned()),
            _ => Some(self.mark()),
        };
        Change::Label(key, value)
    }

    /// What no other call writes.
    fn mark(&self) -> String {
        format!("{}.{}", self.client, self.planned)
    }

    /// One that holds if nothing has happened since the client looked, most of the time.
    fn condition(&mut self, name: &str, may_be_new: bool) -> Condition {
        match (self.random.below(3), self.seen.get(name)) {
            (0, _) | (_, None) if may_be_new => Condition::MustNotExist,
            (_, None) => Condition::Target(digest(self.random.pick(&TARGETS))),
            (1, Some(record)) => Condition::Target(record.target.clone()),
            (_, Some(record)) => Condition::Etag(record.revision),
        }
    }

    fn patience(&mut self) -> Patience {
        if !self.random.one_in(CUT_OFF) {
            return Patience::Endless;
        }
        let time = self.pace * self.random.below(TIME_TO_CUT) as u32 / 100;
        if self.random.one_in(2) {
            Patience::Deadline(time)
        } else {
            Patience::Connection(time)
        }
    }
}

fn delete(allow_missing: bool) -> Change {
    Change::Delete { allow_missing }
}
