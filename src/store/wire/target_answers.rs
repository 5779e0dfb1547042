//! Answers about build targets, as they are stored beside what they are about.

use super::build::{read_claim, stored_claim};
use super::build::{read_digest, stored_digest};
use super::missing;
use super::targets::{TargetRow, read_state, read_target, stored_state, target_v1};
use crate::domain::Invalid;
use crate::domain::build::{Claim, State, TargetKey, Work};
use crate::kv::Revision;
use crate::proto::storage as pb;
use crate::store::{BumpedTarget, DependencyLabel, ObservedKind, ObservedTarget};

/// What was answered about build targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetAnswer {
    Applied {
        created: u32,
        updated: u32,
        unchanged: u32,
        deleted: u32,
        /// `None` where it is the revision of the answer.
        graph_revision: Option<Revision>,
    },
    /// A target as it was afterwards, or before it was forgotten.
    Told {
        row: TargetRow,
        claim: Option<Claim>,
    },
    Reset(Vec<TargetKey>),
    Observed(Vec<ObservedTarget>),
    Bumped {
        reason: String,
        bumped: Vec<BumpedTarget>,
    },
    Claimed {
        row: TargetRow,
        claim: Option<Claim>,
        dependencies: Vec<DependencyLabel>,
        work: Work,
    },
}

pub(super) fn stored_answer(namespace: String, answer: &TargetAnswer) -> pb::TargetsOutcome {
    use pb::targets_outcome::Answer;
    let answer = match answer {
        TargetAnswer::Applied {
            created,
            updated,
            unchanged,
            deleted,
            graph_revision,
        } => Answer::Applied(pb::TargetsApplied {
            created: *created,
            updated: *updated,
            unchanged: *unchanged,
            deleted: *deleted,
            graph_revision: graph_revision.map(|revision| revision.0),
        }),
        TargetAnswer::Told { row, claim } => Answer::Told(stored_told(row, claim.as_ref())),
        TargetAnswer::Reset(keys) => Answer::Reset(pb::TargetsReset {
            targets: keys.iter().map(TargetKey::to_string).collect(),
        }),
        TargetAnswer::Observed(observed) => Answer::Observed(pb::TargetsObserved {
            targets: observed.iter().map(stored_observed).collect(),
        }),
        TargetAnswer::Bumped { reason, bumped } => Answer::Bumped(pb::TargetsBumped {
            reason: reason.clone(),
            bumped: bumped.iter().map(stored_bumped).collect(),
        }),
        TargetAnswer::Claimed {
            row,
            claim,
            dependencies,
            work,
        } => Answer::Claimed(pb::TargetClaimed {
            target: Some(stored_told(row, claim.as_ref())),
            dependencies: dependencies.iter().map(stored_label).collect(),
            work: stored_work(*work).into(),
        }),
    };
    pb::TargetsOutcome {
        namespace,
        answer: Some(answer),
    }
}

pub(super) fn read_answer(stored: pb::TargetsOutcome) -> Result<TargetAnswer, Invalid> {
    use pb::targets_outcome::Answer;
    Ok(match stored.answer.ok_or_else(|| missing("answer"))? {
        Answer::Applied(applied) => TargetAnswer::Applied {
            created: applied.created,
            updated: applied.updated,
            unchanged: applied.unchanged,
            deleted: applied.deleted,
            graph_revision: applied.graph_revision.map(Revision),
        },
        Answer::Told(told) => {
            let (row, claim) = read_told(told)?;
            TargetAnswer::Told { row, claim }
        }
        Answer::Reset(reset) => {
            let keys = reset.targets.iter().map(|key| key.parse());
            TargetAnswer::Reset(keys.collect::<Result<_, _>>()?)
        }
        Answer::Observed(observed) => {
            let observed = observed.targets.into_iter().map(read_observed);
            TargetAnswer::Observed(observed.collect::<Result<_, _>>()?)
        }
        Answer::Bumped(bumped) => TargetAnswer::Bumped {
            reason: bumped.reason,
            bumped: bumped
                .bumped
                .iter()
                .map(read_bumped)
                .collect::<Result<_, _>>()?,
        },
        Answer::Claimed(claimed) => {
            let work = read_work(claimed.work())?;
            let dependencies = claimed.dependencies.iter().map(read_label);
            let dependencies = dependencies.collect::<Result<_, _>>()?;
            let (row, claim) = read_told(claimed.target.ok_or_else(|| missing("target"))?)?;
            TargetAnswer::Claimed {
                row,
                claim,
                dependencies,
                work,
            }
        }
    })
}

fn stored_told(row: &TargetRow, claim: Option<&Claim>) -> pb::TargetTold {
    pb::TargetTold {
        target: row.target.key().to_string(),
        record: Some(target_v1(row)),
        claim: claim.map(stored_claim),
    }
}

fn read_told(stored: pb::TargetTold) -> Result<(TargetRow, Option<Claim>), Invalid> {
    let record = stored.record.ok_or_else(|| missing("record"))?;
    let row = read_target(stored.target.parse()?, record)?;
    Ok((row, stored.claim.map(read_claim).transpose()?))
}

fn stored_observed(observed: &ObservedTarget) -> pb::TargetObserved {
    use pb::target_observed::Kind;
    let seen = |seen: pb::TargetSeen| Kind::Seen(seen.into());
    let kind = match &observed.kind {
        ObservedKind::Changed => seen(pb::TargetSeen::Changed),
        ObservedKind::Unchanged => seen(pb::TargetSeen::Unchanged),
        ObservedKind::Claimed => seen(pb::TargetSeen::Claimed),
        ObservedKind::NotFound => seen(pb::TargetSeen::NotFound),
        ObservedKind::Outdated => seen(pb::TargetSeen::Outdated),
        ObservedKind::Undecided(possible) => {
            let possible = possible.iter().map(|state| stored_state(*state).into());
            Kind::Undecided(pb::TargetUndecided {
                possible: possible.collect(),
            })
        }
        ObservedKind::Refused(reason) => Kind::Refused(reason.clone()),
    };
    let state = observed.state.map(|state| stored_state(state).into());
    pb::TargetObserved {
        target: observed.target.to_string(),
        state: state.unwrap_or_default(),
        kind: Some(kind),
    }
}

fn read_observed(stored: pb::TargetObserved) -> Result<ObservedTarget, Invalid> {
    use pb::target_observed::Kind;
    let state = match stored.state() {
        pb::TargetState::Unspecified => None,
        state => Some(read_state(state)?),
    };
    let kind = match stored.kind.ok_or_else(|| missing("kind"))? {
        Kind::Seen(seen) => match pb::TargetSeen::try_from(seen) {
            Ok(pb::TargetSeen::Changed) => ObservedKind::Changed,
            Ok(pb::TargetSeen::Unchanged) => ObservedKind::Unchanged,
            Ok(pb::TargetSeen::Claimed) => ObservedKind::Claimed,
            Ok(pb::TargetSeen::NotFound) => ObservedKind::NotFound,
            Ok(pb::TargetSeen::Outdated) => ObservedKind::Outdated,
            Ok(pb::TargetSeen::Unspecified) | Err(_) => return Err(missing("kind")),
        },
        Kind::Undecided(undecided) => {
            let possible = undecided.possible().map(read_state);
            ObservedKind::Undecided(possible.collect::<Result<Vec<State>, _>>()?)
        }
        Kind::Refused(reason) => ObservedKind::Refused(reason),
    };
    Ok(ObservedTarget {
        target: stored.target.parse()?,
        state,
        kind,
    })
}

fn stored_bumped(bumped: &BumpedTarget) -> pb::TargetBumped {
    let because = bumped.because.as_ref().map(TargetKey::to_string);
    pb::TargetBumped {
        target: bumped.target.to_string(),
        version: bumped.version.as_str().to_owned(),
        label: bumped.label.as_str().to_owned(),
        because: because.unwrap_or_default(),
    }
}

fn read_bumped(stored: &pb::TargetBumped) -> Result<BumpedTarget, Invalid> {
    Ok(BumpedTarget {
        target: stored.target.parse()?,
        version: stored.version.parse()?,
        label: stored.label.parse()?,
        because: match stored.because.as_str() {
            "" => None,
            key => Some(key.parse()?),
        },
    })
}

fn stored_label(label: &DependencyLabel) -> pb::TargetLabel {
    pb::TargetLabel {
        target: label.target.to_string(),
        label: label.label.as_str().to_owned(),
        digest: stored_digest(label.digest),
    }
}

fn read_label(stored: &pb::TargetLabel) -> Result<DependencyLabel, Invalid> {
    Ok(DependencyLabel {
        target: stored.target.parse()?,
        label: stored.label.parse()?,
        digest: read_digest("digest", &stored.digest)?,
    })
}

fn stored_work(work: Work) -> pb::TargetWork {
    match work {
        Work::Build => pb::TargetWork::Build,
        Work::Verify => pb::TargetWork::Verify,
        Work::Publish => pb::TargetWork::Publish,
    }
}

fn read_work(stored: pb::TargetWork) -> Result<Work, Invalid> {
    match stored {
        pb::TargetWork::Build => Ok(Work::Build),
        pb::TargetWork::Verify => Ok(Work::Verify),
        pb::TargetWork::Publish => Ok(Work::Publish),
        pb::TargetWork::Unspecified => Err(missing("work")),
    }
}
