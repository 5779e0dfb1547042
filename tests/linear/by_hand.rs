//! Histories written by hand, a call at a time.

use crate::history::{
    Answer, Asked, Call, Change, Condition, Done, History, Item, Labels, Logged, Outcome, Record,
    Refusal, Why,
};

pub fn record(target: &str, revision: u64) -> Record {
    Record {
        target: target.to_owned(),
        labels: Labels::new(),
        revision,
    }
}

pub fn labelled(target: &str, keys: &[&str], revision: u64) -> Record {
    Record {
        labels: keys
            .iter()
            .map(|key| ((*key).to_owned(), "1".to_owned()))
            .collect(),
        ..record(target, revision)
    }
}

pub fn item(name: &str, change: Change, when: Condition) -> Item {
    Item {
        name: name.to_owned(),
        when,
        change,
    }
}

pub fn put(name: &str, target: &str) -> Item {
    let change = Change::Replace {
        target: target.to_owned(),
        labels: Labels::new(),
    };
    item(name, change, Condition::None)
}

pub fn put_new(name: &str, target: &str) -> Item {
    Item {
        when: Condition::MustNotExist,
        ..put(name, target)
    }
}

pub fn label(name: &str, key: &str) -> Item {
    let change = Change::Label(key.to_owned(), Some("1".to_owned()));
    item(name, change, Condition::None)
}

pub fn delete(name: &str) -> Item {
    let change = Change::Delete {
        allow_missing: false,
    };
    item(name, change, Condition::None)
}

pub fn created(record: Record) -> Done {
    Done {
        record: Some(record),
        changed: true,
        created: true,
    }
}

pub fn changed(record: Record) -> Done {
    Done {
        created: false,
        ..created(record)
    }
}

pub fn left(record: Record) -> Done {
    Done {
        changed: false,
        ..changed(record)
    }
}

pub fn wrote(done: Vec<Done>, revision: u64) -> Answer {
    Answer::Wrote { done, revision }
}

pub fn read(record: Record, revision: u64) -> Answer {
    Answer::Read { record, revision }
}

pub fn refused(why: Why) -> Answer {
    Answer::Refused(Refusal { item: 0, why })
}

impl History {
    /// A call of the next client, from one moment to another.
    pub fn call(mut self, began: u64, at: u64, asked: Asked, answer: Answer) -> Self {
        self.calls.push(Call {
            client: self.calls.len(),
            nth: 0,
            asked,
            began,
            outcome: Outcome::Ended { at, answer },
        });
        self
    }

    pub fn cut(mut self, began: u64, asked: Asked) -> Self {
        self.calls.push(Call {
            client: self.calls.len(),
            nth: 0,
            asked,
            began,
            outcome: Outcome::Unknown,
        });
        self
    }

    pub fn get(self, began: u64, at: u64, name: &str, answer: Answer) -> Self {
        self.call(began, at, Asked::Get(name.to_owned()), answer)
    }

    pub fn one(self, began: u64, at: u64, item: Item, answer: Answer) -> Self {
        self.call(began, at, Asked::One(item), answer)
    }

    pub fn logged(mut self, revision: u64, effects: &[(&str, Option<Record>)]) -> Self {
        let effects = effects.iter().cloned();
        self.log.push(Logged {
            revision,
            effects: effects.map(|(name, r)| (name.to_owned(), r)).collect(),
        });
        self.newest = revision;
        self
    }

    /// `a` is created at revision 1, from moment 0 to 1, by client 0.
    pub fn with_a() -> Self {
        let a = record("x", 1);
        let answer = wrote(vec![created(a.clone())], 1);
        Self::default()
            .one(0, 1, put("a", "x"), answer)
            .logged(1, &[("a", Some(a))])
    }

    /// And then changed at revision 2, from moment 2 to 5, by client 1.
    pub fn with_a_changed() -> Self {
        let a = record("y", 2);
        let answer = wrote(vec![changed(a.clone())], 2);
        Self::with_a()
            .one(2, 5, put("a", "y"), answer)
            .logged(2, &[("a", Some(a))])
    }
}
