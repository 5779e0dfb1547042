//! A recorded history: what clients asked, when, what they were told, and what the log says happened.

use std::collections::BTreeMap;
use std::fmt;

/// What some clients did to some names that nobody else touches, none of which was there before.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub calls: Vec<Call>,
    /// The change log of these names, read when nothing was under way any more.
    pub log: Vec<Logged>,
    /// The revision of the store when the log was read.
    pub newest: u64,
}

/// One call of a client.
#[derive(Clone, Debug)]
pub struct Call {
    pub client: usize,
    /// Which of the client's calls it is.
    pub nth: usize,
    pub asked: Asked,
    pub began: Moment,
    pub outcome: Outcome,
}

/// A place in the one order of all beginnings and ends, as the clients saw them.
pub type Moment = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Get(String),
    /// A Put or a Delete.
    One(Item),
    /// An Apply.
    Batch(Vec<Item>),
}

/// What a call wants to become of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    pub when: Condition,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    None,
    MustNotExist,
    Etag(u64),
    Target(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Replace {
        target: String,
        labels: Labels,
    },
    /// Sets one label of a record that is there, or removes it.
    Label(String, Option<String>),
    Delete {
        allow_missing: bool,
    },
}

pub type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ended {
        at: Moment,
        answer: Answer,
    },
    /// It was cut off: what it asked for happened at one revision after it began, or never.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Read { record: Record, revision: u64 },
    Wrote { done: Vec<Done>, revision: u64 },
    Refused(Refusal),
}

/// A record as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub target: String,
    pub labels: Labels,
    /// The revision that wrote it.
    pub revision: u64,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The record as it stands, or the one that was removed.
    pub record: Option<Record>,
    pub changed: bool,
    pub created: bool,
}

/// Why nothing was done or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which item is to blame.
    pub item: usize,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    NotFound,
    Exists,
    /// Its etag is another.
    Etag(u64),
    /// Its target is another.
    Target(String),
    /// What no state of the store explains.
    Other(String),
}

/// What one revision did to the names of a history: their records after it, `None` for a removed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub revision: u64,
    pub effects: Effects,
}

pub type Effects = BTreeMap<String, Option<Record>>;

// === impl Asked ===

impl Asked {
    /// What it wants written.
    pub fn items(&self) -> &[Item] {
        match self {
            Self::Get(_) => &[],
            Self::One(item) => std::slice::from_ref(item),
            Self::Batch(items) => items,
        }
    }
}

// === impl Answer ===

impl Answer {
    /// The revision that it names.
    pub fn revision(&self) -> Option<u64> {
        match self {
            Self::Read { revision, .. } | Self::Wrote { revision, .. } => Some(*revision),
            Self::Refused(_) => None,
        }
    }
}

// === impl Display ===

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} call {}", self.client, self.nth)?;
        match &self.outcome {
            Outcome::Ended { at, answer } => {
                write!(f, " [{}..{at}]: {} = {answer}", self.began, self.asked)
            }
            Outcome::Unknown => write!(f, " [{}..]: {} was cut off", self.began, self.asked),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(name) => write!(f, "get {name}"),
            Self::One(item) => item.fmt(f),
            Self::Batch(items) => write!(f, "apply [{}]", joined(items)),
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.change {
            Change::Replace { target, labels } => {
                write!(f, "put {name} {} {labels:?}", short(target))?;
            }
            Change::Label(key, Some(value)) => write!(f, "label {name} {key}={value}")?,
            Change::Label(key, None) => write!(f, "label {name} {key}-")?,
            Change::Delete { allow_missing } => {
                let missing = if *allow_missing { " if there" } else { "" };
                write!(f, "delete {name}{missing}")?;
            }
        }
        match &self.when {
            Condition::None => Ok(()),
            Condition::MustNotExist => f.write_str(" if absent"),
            Condition::Etag(etag) => write!(f, " if etag {etag}"),
            Condition::Target(target) => write!(f, " if target {}", short(target)),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { record, revision } => write!(f, "{record} at revision {revision}"),
            Self::Wrote { done, revision } => write!(f, "{} at revision {revision}", joined(done)),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            labels,
            revision,
        } = self;
        write!(f, "{{{} {labels:?} of {revision}}}", short(target))
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.changed, self.created) {
            (true, true) => "created ",
            (true, false) => "changed ",
            (false, true) => "created but not changed ",
            (false, false) => "left ",
        })?;
        match &self.record {
            Some(record) => record.fmt(f),
            None => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {} refused: ", self.item)?;
        match &self.why {
            Why::NotFound => f.write_str("not found"),
            Why::Exists => f.write_str("already exists"),
            Why::Etag(current) => write!(f, "is at etag {current}"),
            Why::Target(current) => write!(f, "points to {}", short(current)),
            Why::Other(said) => f.write_str(said),
        }
    }
}

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision {}:", self.revision)?;
        for (name, record) in &self.effects {
            match record {
                Some(record) => write!(f, " {name} {record}")?,
                None => write!(f, " {name} removed")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for call in &self.calls {
            writeln!(f, "{call}")?;
        }
        for logged in &self.log {
            writeln!(f, "{logged}")?;
        }
        writeln!(f, "the store is at revision {}", self.newest)
    }
}

/// Enough of a digest to tell it from others.
fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..6).unwrap_or(hex)
}

fn joined<T: fmt::Display>(parts: &[T]) -> String {
    let parts: Vec<String> = parts.iter().map(T::to_string).collect();
    parts.join(", ")
}
