//! Whether a history is linearizable, with the revisions as the witness.
//!
//! The log gives the state at every revision. Each acknowledged write must answer what the model
//! answers on the state before its revision, and have done there what the log says; each read must
//! show the state at its revision; each refusal must follow from the state at some revision. A call
//! stands at the lowest revision that explains it, and never below one that had ended before it
//! began; as all these bounds are lower bounds, the lowest place is the best one. What the log has
//! beside the acknowledged writes must come from as many calls whose outcome is not known.

use std::collections::BTreeMap;

use crate::history::{Answer, Asked, Call, Effects, History, Item, Logged, Outcome};
use crate::model::{self, State};

/// What a history that holds together was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub reads: usize,
    /// Acknowledged writes that changed something.
    pub writes: usize,
    /// Acknowledged writes that had nothing to change.
    pub idle: usize,
    pub refused: usize,
    /// Cut off, and found in the log.
    pub happened: usize,
    /// Cut off, and not found there.
    pub vanished: usize,
}

/// Why no order of the calls explains a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("revision {revision} was acknowledged twice:\n  {first}\n  {second}")]
    IssuedTwice {
        revision: u64,
        first: String,
        second: String,
    },
    #[error("the store is at revision {newest}, which is before what this names:\n  {call}")]
    NeverWas { newest: u64, call: String },
    #[error("the log goes from revision {before} to {revision}")]
    Disordered { before: u64, revision: u64 },
    #[error("the log has nothing of an acknowledged write:\n  {call}")]
    NotLogged { call: String },
    #[error("the log says otherwise:\n  {call}\n  {logged}")]
    OtherLogged { call: String, logged: String },
    #[error("the answer does not follow from the state, which asks for `{wanted}`:\n  {call}")]
    WrongAnswer { call: String, wanted: String },
    #[error(
        "it stands at or before revision {floor} of what had ended before it began:\n  {call}\n  {earlier}"
    )]
    TooOld {
        call: String,
        earlier: String,
        floor: u64,
    },
    #[error("no revision from {floor} on explains a refusal:\n  {call}")]
    Unexplained { call: String, floor: u64 },
    #[error("nobody asked for what the log has:\n  {logged}\n  cut off were:\n  {}", cut.join("\n  "))]
    Unasked { logged: String, cut: Vec<String> },
}

/// The state after each revision of the log, from the empty one on.
struct Timeline(Vec<(u64, State)>);

/// The highest revision that a call stands at which has ended.
#[derive(Clone, Copy, Default)]
struct Floor<'a> {
    revision: u64,
    by: Option<&'a Call>,
}

/// A call whose outcome is not known, and the highest revision that was over before it began.
struct Cut<'a> {
    call: &'a Call,
    floor: u64,
}

/// Checks a whole history.
pub fn check(history: &History) -> Result<Tally, Violation> {
    let timeline = Timeline::of(&history.log)?;
    let claimed = claimed(history)?;
    for (revision, call) in &claimed {
        let logged = history
            .log
            .binary_search_by_key(revision, |logged| logged.revision);
        let logged = logged.ok().map(|nth| &history.log[nth]);
        confirm(call, *revision, &timeline, logged)?;
    }
    let mut tally = Tally::default();
    let cut = in_real_time(history, &timeline, &mut tally)?;
    let unclaimed = history
        .log
        .iter()
        .filter(|logged| !claimed.contains_key(&logged.revision));
    tally.happened = settle(unclaimed.collect(), &cut, &timeline)?;
    tally.vanished = cut.len() - tally.happened;
    Ok(tally)
}

/// The acknowledged writes that changed something, by revision.
fn claimed(history: &History) -> Result<BTreeMap<u64, &Call>, Violation> {
    let mut claimed = BTreeMap::new();
    for call in &history.calls {
        let Some(revision) = answer(call).and_then(Answer::revision) else {
            continue;
        };
        if revision > history.newest {
            return Err(Violation::NeverWas {
                newest: history.newest,
                call: call.to_string(),
            });
        }
        if !is_change(call) {
            continue;
        }
        if let Some(first) = claimed.insert(revision, call) {
            return Err(Violation::IssuedTwice {
                revision,
                first: first.to_string(),
                second: call.to_string(),
            });
        }
    }
    Ok(claimed)
}

/// Checks an acknowledged write against the state before it, and against the log.
fn confirm(
    call: &Call,
    revision: u64,
    timeline: &Timeline,
    logged: Option<&Logged>,
) -> Result<(), Violation> {
    let Some(logged) = logged else {
        return Err(Violation::NotLogged {
            call: call.to_string(),
        });
    };
    let wanted = model::answer(timeline.before(revision), &call.asked, revision);
    if answer(call) != Some(&wanted) {
        return Err(wrong_answer(call, &wanted));
    }
    if wrote(&wanted, call.asked.items()) != Some(logged.effects.clone()) {
        return Err(Violation::OtherLogged {
            call: call.to_string(),
            logged: logged.to_string(),
        });
    }
    Ok(())
}

/// Places every call that ended, in the order of beginnings and ends. Returns those that were to write
/// and were cut off.
fn in_real_time<'a>(
    history: &'a History,
    timeline: &Timeline,
    tally: &mut Tally,
) -> Result<Vec<Cut<'a>>, Violation> {
    let mut moments = BTreeMap::new();
    for (nth, call) in history.calls.iter().enumerate() {
        moments.insert(call.began, nth);
        if let Outcome::Ended { at, .. } = call.outcome {
            moments.insert(at, nth);
        }
    }
    let mut floor = Floor::default();
    let mut floors = vec![Floor::default(); history.calls.len()];
    let mut cut = Vec::new();
    for (moment, nth) in moments {
        let call = &history.calls[nth];
        if moment == call.began {
            floors[nth] = floor;
        }
        match &call.outcome {
            Outcome::Ended { at, answer } if *at == moment => {
                let revision = place(call, answer, floors[nth], timeline)?;
                count(call, answer, tally);
                if revision > floor.revision {
                    floor = Floor {
                        revision,
                        by: Some(call),
                    };
                }
            }
            Outcome::Unknown if !call.asked.items().is_empty() => cut.push(Cut {
                call,
                floor: floor.revision,
            }),
            Outcome::Ended { .. } | Outcome::Unknown => {}
        }
    }
    Ok(cut)
}

/// The lowest revision at which a call can stand.
fn place(
    call: &Call,
    answer: &Answer,
    floor: Floor<'_>,
    timeline: &Timeline,
) -> Result<u64, Violation> {
    let Some(revision) = answer.revision() else {
        return timeline
            .from(floor.revision)
            .find(|(revision, state)| model::answer(state, &call.asked, *revision) == *answer)
            .map(|(revision, _)| revision)
            .ok_or_else(|| Violation::Unexplained {
                call: call.to_string(),
                floor: floor.revision,
            });
    };
    // What changes something makes a revision, and cannot have made one that was over.
    let least = floor.revision + u64::from(is_change(call));
    if revision < least {
        return Err(Violation::TooOld {
            call: call.to_string(),
            earlier: floor.by.map(Call::to_string).unwrap_or_default(),
            floor: floor.revision,
        });
    }
    if !is_change(call) {
        let wanted = model::answer(timeline.at(revision), &call.asked, revision);
        if wanted != *answer {
            return Err(wrong_answer(call, &wanted));
        }
    }
    Ok(revision)
}

/// Finds for each revision that nobody was acknowledged for a call of its own that was cut off and did
/// just that. Returns how many there were.
fn settle(
    unclaimed: Vec<&Logged>,
    cut: &[Cut<'_>],
    timeline: &Timeline,
) -> Result<usize, Violation> {
    let fitting: Vec<Vec<usize>> = unclaimed
        .iter()
        .map(|logged| {
            let fits = |nth: &usize| cut[*nth].can_have_made(logged, timeline);
            (0..cut.len()).filter(fits).collect()
        })
        .collect();
    let mut made = vec![None; cut.len()];
    for (nth, logged) in unclaimed.iter().enumerate() {
        if !assign(nth, &fitting, &mut made, &mut vec![false; cut.len()]) {
            return Err(Violation::Unasked {
                logged: logged.to_string(),
                cut: cut
                    .iter()
                    .filter(|cut| cut.is_about(logged))
                    .map(|cut| cut.call.to_string())
                    .collect(),
            });
        }
    }
    Ok(unclaimed.len())
}

/// Gives a revision a call, moving other revisions to other calls where that makes room: an augmenting
/// path of a bipartite matching.
fn assign(
    nth: usize,
    fitting: &[Vec<usize>],
    made: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for &cut in &fitting[nth] {
        if std::mem::replace(&mut tried[cut], true) {
            continue;
        }
        let is_free = match made[cut] {
            None => true,
            Some(other) => assign(other, fitting, made, tried),
        };
        if is_free {
            made[cut] = Some(nth);
            return true;
        }
    }
    false
}

fn answer(call: &Call) -> Option<&Answer> {
    match &call.outcome {
        Outcome::Ended { answer, .. } => Some(answer),
        Outcome::Unknown => None,
    }
}

fn is_change(call: &Call) -> bool {
    match answer(call) {
        Some(Answer::Wrote { done, .. }) => done.iter().any(|done| done.changed),
        Some(Answer::Read { .. } | Answer::Refused(_)) | None => false,
    }
}

/// What the log must have of a write; `None` for what is none.
fn wrote(answer: &Answer, items: &[Item]) -> Option<Effects> {
    match answer {
        Answer::Wrote { done, .. } => Some(model::effects(items, done)),
        Answer::Read { .. } | Answer::Refused(_) => None,
    }
}

fn count(call: &Call, answer: &Answer, tally: &mut Tally) {
    let of = match (answer, &call.asked) {
        (Answer::Read { .. }, _) | (Answer::Refused(_), Asked::Get(_)) => &mut tally.reads,
        (Answer::Refused(_), _) => &mut tally.refused,
        (Answer::Wrote { .. }, _) if is_change(call) => &mut tally.writes,
        (Answer::Wrote { .. }, _) => &mut tally.idle,
    };
    *of += 1;
}

fn wrong_answer(call: &Call, wanted: &Answer) -> Violation {
    Violation::WrongAnswer {
        call: call.to_string(),
        wanted: wanted.to_string(),
    }
}

// === impl Tally ===

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.idle += other.idle;
        self.refused += other.refused;
        self.happened += other.happened;
        self.vanished += other.vanished;
    }
}

// === impl Cut ===

impl Cut<'_> {
    fn is_about(&self, logged: &Logged) -> bool {
        let mut items = self.call.asked.items().iter();
        items.any(|item| logged.effects.contains_key(&item.name))
    }

    fn can_have_made(&self, logged: &Logged, timeline: &Timeline) -> bool {
        let revision = logged.revision;
        if revision <= self.floor {
            return false;
        }
        let asked = &self.call.asked;
        let would = model::answer(timeline.before(revision), asked, revision);
        wrote(&would, asked.items()).as_ref() == Some(&logged.effects)
    }
}

// === impl Timeline ===

impl Timeline {
    fn of(log: &[Logged]) -> Result<Self, Violation> {
        let mut states = vec![(0, State::new())];
        let mut before = (0, State::new());
        for logged in log {
            if logged.revision <= before.0 {
                return Err(Violation::Disordered {
                    before: before.0,
                    revision: logged.revision,
                });
            }
            before = (logged.revision, model::after(before.1, &logged.effects));
            states.push(before.clone());
        }
        Ok(Self(states))
    }

    /// The state that a revision left.
    fn at(&self, revision: u64) -> &State {
        &self.0[self.index(revision)].1
    }

    /// The state that a revision found.
    fn before(&self, revision: u64) -> &State {
        self.at(revision.saturating_sub(1))
    }

    /// The state at a revision, and all that follow it.
    fn from(&self, revision: u64) -> impl Iterator<Item = (u64, &State)> {
        let states = self.0[self.index(revision)..].iter();
        states.map(move |(made, state)| (revision.max(*made), state))
    }

    fn index(&self, revision: u64) -> usize {
        // The first state is that of revision 0.
        self.0.partition_point(|(made, _)| *made <= revision) - 1
    }
}
