//! The executable model: what each call does to a state, as the interface says it.

use std::collections::BTreeMap;

use crate::history::{Answer, Asked, Change, Condition, Done, Effects, Item, Record, Refusal, Why};

/// All records at one revision, by name.
pub type State = BTreeMap<String, Record>;

/// What a call answers that is decided on a state; a revision that it makes has this number.
pub fn answer(state: &State, asked: &Asked, revision: u64) -> Answer {
    let answered = match asked {
        Asked::Get(name) => match state.get(name) {
            Some(record) => Ok(Answer::Read {
                record: record.clone(),
                revision,
            }),
            None => Err(Refusal {
                item: 0,
                why: Why::NotFound,
            }),
        },
        Asked::One(_) | Asked::Batch(_) => {
            write(state, asked.items(), revision).map(|done| Answer::Wrote { done, revision })
        }
    };
    answered.unwrap_or_else(Answer::Refused)
}

/// All or nothing. The items are about different names.
fn write(state: &State, items: &[Item], revision: u64) -> Result<Vec<Done>, Refusal> {
    let mut done = Vec::with_capacity(items.len());
    for (nth, item) in items.iter().enumerate() {
        let old = state.get(&item.name);
        let refused = |why| Refusal { item: nth, why };
        holds(&item.when, old).map_err(refused)?;
        done.push(change(&item.change, old, revision).map_err(refused)?);
    }
    Ok(done)
}

/// What the log has of a write that was answered so.
pub fn effects(items: &[Item], done: &[Done]) -> Effects {
    let changed = items.iter().zip(done).filter(|(_, done)| done.changed);
    changed
        .map(|(item, done)| match item.change {
            Change::Delete { .. } => (item.name.clone(), None),
            Change::Replace { .. } | Change::Label(..) => (item.name.clone(), done.record.clone()),
        })
        .collect()
}

/// The state after what the log says of a revision.
pub fn after(mut state: State, effects: &Effects) -> State {
    for (name, record) in effects {
        match record {
            Some(record) => state.insert(name.clone(), record.clone()),
            None => state.remove(name),
        };
    }
    state
}

fn holds(when: &Condition, old: Option<&Record>) -> Result<(), Why> {
    match (when, old) {
        (Condition::None, _) | (Condition::MustNotExist, None) => Ok(()),
        (Condition::MustNotExist, Some(_)) => Err(Why::Exists),
        (Condition::Etag(_) | Condition::Target(_), None) => Err(Why::NotFound),
        (Condition::Etag(etag), Some(old)) if *etag != old.revision => Err(Why::Etag(old.revision)),
        (Condition::Target(target), Some(old)) if *target != old.target => {
            Err(Why::Target(old.target.clone()))
        }
        (Condition::Etag(_) | Condition::Target(_), Some(_)) => Ok(()),
    }
}

fn change(change: &Change, old: Option<&Record>, revision: u64) -> Result<Done, Why> {
    let new = match (change, old) {
        (Change::Replace { target, labels }, _) => Record {
            target: target.clone(),
            labels: labels.clone(),
            revision,
        },
        (Change::Label(key, value), Some(old)) => {
            let mut new = old.clone();
            match value {
                Some(value) => new.labels.insert(key.clone(), value.clone()),
                None => new.labels.remove(key),
            };
            Record { revision, ..new }
        }
        (Change::Delete { .. }, Some(old)) => {
            return Ok(Done {
                record: Some(old.clone()),
                changed: true,
                created: false,
            });
        }
        (
            Change::Delete {
                allow_missing: true,
            },
            None,
        ) => {
            return Ok(Done {
                record: None,
                changed: false,
                created: false,
            });
        }
        (Change::Label(..) | Change::Delete { .. }, None) => return Err(Why::NotFound),
    };
    let same = old.filter(|old| old.target == new.target && old.labels == new.labels);
    Ok(Done {
        changed: same.is_none(),
        created: old.is_none(),
        record: Some(same.cloned().unwrap_or(new)),
    })
}
