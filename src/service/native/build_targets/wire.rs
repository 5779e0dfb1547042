//! Messages of `BuildTargets` from and to the domain's types.

use crate::domain::build::{
    Blocked, Dependency, Label, Location, Observation, State, Target, TargetKey, TargetSelector,
    Waiting, Work,
};
use crate::domain::{Invalid, Labels};
use crate::proto::v1 as pb;
use crate::service::native::claims::{claim_message, digest_message, presence};
use crate::service::native::wire::etag_message;
use crate::service::time_message;
use crate::store::{
    BuildTargets, BumpedTargets, ClaimedTarget, DependencyLabel, IdleTargets, ObservedKind,
    ObservedTarget, RunningTarget, TargetEntry,
};

// === from messages ===

/// `NAME@VERSION`.
pub fn key(field: &'static str, text: &str) -> Result<TargetKey, Invalid> {
    text.parse().map_err(|e: Invalid| e.at(field))
}

pub fn target(spec: pb::TargetSpec) -> Result<Target, Invalid> {
    let key = TargetKey {
        name: spec.name.parse()?,
        version: spec.version.parse()?,
    };
    let label: Label = match spec.label.as_str() {
        "" => Label::new(None, None, &key)?,
        label => label.parse().map_err(|e: Invalid| e.at("label"))?,
    };
    let (many, most) = (spec.dependencies.len(), Target::MAX_DEPENDENCIES);
    if many > most {
        let reason = format!("are {many} of {key}, more than {most}");
        return Err(Invalid::new("dependencies", reason));
    }
    let dependencies = spec.dependencies.into_iter().enumerate();
    let dependency = |(n, message): (usize, pb::TargetDependency)| {
        dependency(message).map_err(|e| e.within(&format!("dependencies[{n}]")))
    };
    let dependencies = dependencies.map(dependency).collect::<Result<_, _>>()?;
    Target::new(key, label, dependencies, Labels::try_from(spec.labels)?)
}

fn dependency(message: pb::TargetDependency) -> Result<Dependency, Invalid> {
    use pb::target_dependency::On;
    match message.on {
        None => Err(Invalid::new(
            "on",
            "must name a target or an external image",
        )),
        Some(On::Target(text)) => text.parse().map_err(|e: Invalid| e.at("target")),
        Some(On::External(text)) => match text.parse() {
            Ok(image) => Ok(Dependency::External(image)),
            Err(refused) => Err(Invalid::at(refused, "external")),
        },
    }
}

/// A name, and perhaps which versions of it.
pub fn name((n, text): (usize, &String)) -> Result<Dependency, Invalid> {
    text.parse()
        .map_err(|e: Invalid| e.at(format!("names[{n}]")))
}

pub fn selector(message: Option<&pb::TargetSelector>) -> Result<TargetSelector, Invalid> {
    let Some(message) = message else {
        return Ok(TargetSelector::default());
    };
    let glob = match message.glob.as_str() {
        "" => None,
        glob => Some(glob.parse().map_err(|e: Invalid| e.within("selector"))?),
    };
    let states = message.states.iter().enumerate();
    let state = |(n, state): (usize, &i32)| {
        let refused = |why| Err(Invalid::new(format!("selector.states[{n}]"), why));
        match pb::TargetState::try_from(*state) {
            Ok(pb::TargetState::ToBuild) => Ok(State::ToBuild),
            Ok(pb::TargetState::Built) => Ok(State::Built),
            Ok(pb::TargetState::Verified) => Ok(State::Verified),
            Ok(pb::TargetState::Published) => Ok(State::Published),
            Ok(pb::TargetState::Error) => Ok(State::Error),
            Ok(pb::TargetState::Unspecified) => refused("must be set"),
            Err(_) => refused("is none that this release knows"),
        }
    };
    Ok(TargetSelector {
        glob,
        states: states.map(state).collect::<Result<_, _>>()?,
    })
}

/// Why something failed.
pub fn error(text: &str) -> Result<String, Invalid> {
    match text.len() {
        1..=BuildTargets::MAX_ERROR => Ok(text.to_owned()),
        bytes => {
            let reason = format!(
                "must be 1 to {} bytes, not {bytes}",
                BuildTargets::MAX_ERROR
            );
            Err(Invalid::new("error", reason))
        }
    }
}

pub fn observation(message: &pb::TargetObservation) -> Result<Observation, Invalid> {
    let location: Location = message.location.parse()?;
    Ok(Observation {
        location,
        local: presence("local", message.local.as_ref())?,
        published: presence("published", message.published.as_ref())?,
    })
}

pub fn work(field: &str, work: i32) -> Result<Work, Invalid> {
    let refused = |why| Err(Invalid::new(field.to_owned(), why));
    match pb::TargetWork::try_from(work) {
        Ok(pb::TargetWork::Build) => Ok(Work::Build),
        Ok(pb::TargetWork::Verify) => Ok(Work::Verify),
        Ok(pb::TargetWork::Publish) => Ok(Work::Publish),
        Ok(pb::TargetWork::Unspecified) => refused("must be set"),
        Err(_) => refused("is none that this release knows"),
    }
}

// === to messages ===

pub fn state_message(state: State) -> pb::TargetState {
    match state {
        State::ToBuild => pb::TargetState::ToBuild,
        State::Built => pb::TargetState::Built,
        State::Verified => pb::TargetState::Verified,
        State::Published => pb::TargetState::Published,
        State::Error => pb::TargetState::Error,
    }
}

fn work_message(work: Work) -> pb::TargetWork {
    match work {
        Work::Build => pb::TargetWork::Build,
        Work::Verify => pb::TargetWork::Verify,
        Work::Publish => pb::TargetWork::Publish,
    }
}

pub fn keys_message(keys: &[TargetKey]) -> Vec<String> {
    keys.iter().map(TargetKey::to_string).collect()
}

fn spec_message(target: &Target) -> pb::TargetSpec {
    pb::TargetSpec {
        name: target.key().name.as_str().to_owned(),
        version: target.key().version.as_str().to_owned(),
        label: target.label().as_str().to_owned(),
        dependencies: target
            .dependencies()
            .iter()
            .map(dependency_message)
            .collect(),
        labels: target.labels().clone().into_map(),
    }
}

fn dependency_message(dependency: &Dependency) -> pb::TargetDependency {
    use pb::target_dependency::On;
    let on = match dependency {
        Dependency::Target { .. } => On::Target(dependency.to_string()),
        Dependency::External(image) => On::External(image.as_str().to_owned()),
    };
    pb::TargetDependency { on: Some(on) }
}

pub fn target_message(entry: TargetEntry) -> pb::Target {
    let progress = entry.progress;
    let locations = progress.locations.iter();
    pb::Target {
        namespace: entry.namespace.as_str().to_owned(),
        spec: Some(spec_message(&entry.target)),
        state: state_message(progress.state).into(),
        digest: digest_message(progress.digest.as_ref()),
        locations: locations
            .map(|location| location.as_str().to_owned())
            .collect(),
        attempts: progress.attempts,
        last_error: progress.last_error.unwrap_or_default(),
        is_in_doubt: progress.in_doubt,
        claim: entry.claim.as_ref().map(claim_message),
        updated_at: Some(time_message(entry.updated_at)),
        revision: entry.revision.0,
        etag: etag_message(entry.revision),
        published_digest: digest_message(progress.published.as_ref()),
        not_before: progress.not_before.map(time_message),
        source: entry.source.as_str().to_owned(),
    }
}

pub fn observed_message(observed: ObservedTarget) -> pb::ObservedTarget {
    let state = observed.state.map(|state| state_message(state).into());
    let (kind, possible, reason) = match observed.kind {
        ObservedKind::Changed => (pb::ObservedKind::Changed, Vec::new(), String::new()),
        ObservedKind::Unchanged => (pb::ObservedKind::Unchanged, Vec::new(), String::new()),
        ObservedKind::Undecided(possible) => (pb::ObservedKind::Undecided, possible, String::new()),
        ObservedKind::Claimed => (pb::ObservedKind::Claimed, Vec::new(), String::new()),
        ObservedKind::Refused(reason) => (pb::ObservedKind::Refused, Vec::new(), reason),
        ObservedKind::NotFound => (pb::ObservedKind::NotFound, Vec::new(), String::new()),
        ObservedKind::Outdated => (pb::ObservedKind::Outdated, Vec::new(), String::new()),
    };
    let possible = possible
        .into_iter()
        .map(|state| state_message(state).into());
    pb::ObservedTarget {
        target: observed.target.to_string(),
        state: state.unwrap_or_default(),
        kind: kind.into(),
        possible: possible.collect(),
        reason,
    }
}

pub fn bumped_message(bumped: &BumpedTargets) -> Vec<pb::BumpedTarget> {
    let all = bumped.bumped.iter().zip(bumped.reasons());
    all.map(|(one, reason)| pb::BumpedTarget {
        target: one.target.to_string(),
        version: one.version.as_str().to_owned(),
        label: one.label.as_str().to_owned(),
        reason,
        because: one
            .because
            .as_ref()
            .map(TargetKey::to_string)
            .unwrap_or_default(),
    })
    .collect()
}

pub fn blocked_message(blocked: Blocked) -> pb::BlockedTarget {
    let through = blocked.through.as_ref().map(TargetKey::to_string);
    pb::BlockedTarget {
        target: blocked.target.to_string(),
        failed: blocked.failed.to_string(),
        through: through.unwrap_or_default(),
    }
}

pub fn claimed_message(claimed: ClaimedTarget) -> pb::ClaimedTarget {
    let look_first = claimed.work == Work::Build && claimed.entry.progress.in_doubt;
    let dependencies = claimed.dependencies.into_iter().map(label_message);
    pb::ClaimedTarget {
        dependencies: dependencies.collect(),
        work: work_message(claimed.work).into(),
        look_first,
        target: Some(target_message(claimed.entry)),
    }
}

fn label_message(label: DependencyLabel) -> pb::DependencyLabel {
    pb::DependencyLabel {
        target: label.target.to_string(),
        label: label.label.as_str().to_owned(),
        digest: digest_message(label.digest.as_ref()),
    }
}

pub fn idle_message(idle: IdleTargets) -> pb::IdleTargets {
    let running = idle.running.first.into_iter().map(running_message);
    let waiting = idle.waiting.first.into_iter().map(waiting_message);
    let blocked = idle.blocked.first.into_iter().map(blocked_message);
    pb::IdleTargets {
        running_count: idle.running.count,
        running: running.collect(),
        waiting_count: idle.waiting.count,
        waiting: waiting.collect(),
        blocked_count: idle.blocked.count,
        blocked: blocked.collect(),
        retry_at: idle.retry_at.map(time_message),
        now: Some(time_message(idle.now)),
    }
}

fn running_message(running: RunningTarget) -> pb::RunningTarget {
    pb::RunningTarget {
        target: running.target.to_string(),
        holder: running.holder.as_str().to_owned(),
        deadline: Some(time_message(running.deadline)),
    }
}

fn waiting_message(waiting: Waiting) -> pb::WaitingTarget {
    let on = waiting.on.as_ref().map(TargetKey::to_string);
    pb::WaitingTarget {
        target: waiting.target.to_string(),
        on: on.unwrap_or_default(),
    }
}
