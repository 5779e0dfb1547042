//! Targets as the service has them and as people read them.

use std::time::Duration;

use tonic::transport::Channel;

use super::registry::Look;
use super::source::SourceImage;
use crate::cli::connect::PAGE_SIZE;
use crate::cli::failure::Failure;
use crate::domain::build::{Dependency, Presence, State, Target as Declared, TargetKey};
use crate::proto::v1;
use crate::proto::v1::build_targets_client::BuildTargetsClient;
use crate::proto::v1::presence::Kind;
use crate::proto::v1::target_dependency::On;
use crate::proto::v1::{ListTargetsRequest, Target, TargetDependency, TargetSelector, TargetSpec};

pub type Targets = BuildTargetsClient<Channel>;

/// Reads `NAME@VERSION`, or `NAME:VERSION` as it stands in labels.
pub fn key(text: &str) -> Result<TargetKey, Failure> {
    let text = match text.contains('@') {
        true => text.to_owned(),
        false => text.replacen(':', "@", 1),
    };
    text.parse()
        .map_err(|why| Failure::new(format!("{text:?}: {why}")))
}

/// All targets that are selected, by name and age of the version.
pub async fn all(
    client: &mut Targets,
    namespace: &str,
    selector: TargetSelector,
) -> Result<Vec<Target>, Failure> {
    let mut request = ListTargetsRequest {
        namespace: namespace.to_owned(),
        selector: Some(selector),
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    let mut all = Vec::new();
    loop {
        let page = client.list(request.clone()).await?.into_inner();
        all.extend(page.targets);
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        request.page_token = page.next_page_token;
    }
}

/// What the service is told of an image of a directory.
pub fn spec(image: &SourceImage) -> TargetSpec {
    TargetSpec {
        name: image.key.name.to_string(),
        version: image.key.version.to_string(),
        label: image.label.to_string(),
        dependencies: image.dependencies.iter().map(dependency).collect(),
        labels: Default::default(),
    }
}

fn dependency(dependency: &Dependency) -> TargetDependency {
    let on = match dependency {
        Dependency::Target { .. } => On::Target(dependency.to_string()),
        Dependency::External(name) => On::External(name.to_string()),
    };
    TargetDependency { on: Some(on) }
}

/// A target of the service as the rules have it.
pub fn declared(target: &Target) -> Result<(Declared, State), Failure> {
    let odd = |why: String| Failure::new(format!("the server named an odd target: {why}"));
    let Some(spec) = &target.spec else {
        return Err(odd("it has no name".to_owned()));
    };
    let declare = || {
        let dependencies = spec.dependencies.iter().filter_map(|dependency| {
            Some(match dependency.on.as_ref()? {
                On::Target(text) => text.parse(),
                On::External(name) => name.parse().map(Dependency::External),
            })
        });
        let key = TargetKey {
            name: spec.name.parse()?,
            version: spec.version.parse()?,
        };
        let dependencies = dependencies.collect::<Result<_, _>>()?;
        Declared::new(key, spec.label.parse()?, dependencies, Default::default())
    };
    let declared = declare().map_err(|why: crate::domain::Invalid| odd(why.to_string()))?;
    Ok((declared, state(target.state()).unwrap_or(State::ToBuild)))
}

/// `NAME@VERSION`.
pub fn name(target: &Target) -> String {
    let spec = target.spec.as_ref();
    spec.map(|spec| format!("{}@{}", spec.name, spec.version))
        .unwrap_or_default()
}

pub fn state(state: v1::TargetState) -> Option<State> {
    match state {
        v1::TargetState::Unspecified => None,
        v1::TargetState::ToBuild => Some(State::ToBuild),
        v1::TargetState::Built => Some(State::Built),
        v1::TargetState::Verified => Some(State::Verified),
        v1::TargetState::Published => Some(State::Published),
        v1::TargetState::Error => Some(State::Error),
    }
}

pub fn state_name(of: v1::TargetState) -> &'static str {
    state(of).map_or("", State::name)
}

pub fn wire_state(state: State) -> v1::TargetState {
    match state {
        State::ToBuild => v1::TargetState::ToBuild,
        State::Built => v1::TargetState::Built,
        State::Verified => v1::TargetState::Verified,
        State::Published => v1::TargetState::Published,
        State::Error => v1::TargetState::Error,
    }
}

pub fn presence(look: &Look) -> v1::Presence {
    let (kind, digest) = match look.presence {
        Presence::Present(digest) => (Kind::Present, digest),
        Presence::Absent => (Kind::Absent, None),
        Presence::Unknown => (Kind::Unknown, None),
    };
    v1::Presence {
        kind: kind.into(),
        digest: digest.map(|digest| digest.to_string()).unwrap_or_default(),
    }
}

pub fn duration(time: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or_default(),
    }
}

/// How long from one moment of the server to a later one; nothing where it is not later.
pub fn between(
    from: Option<&prost_types::Timestamp>,
    to: Option<&prost_types::Timestamp>,
) -> Option<Duration> {
    let nanos =
        |at: &prost_types::Timestamp| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
    let between = nanos(to?) - nanos(from?);
    Some(Duration::from_nanos(
        u64::try_from(between.max(0)).unwrap_or(u64::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_named_as_the_service_does_or_as_a_label_does() {
        for text in ["a/b@1.0", "a/b:1.0"] {
            assert_eq!(key(text).unwrap().to_string(), "a/b@1.0");
        }
        assert!(key("a/b").is_err());
    }

    #[test]
    fn what_the_service_says_of_a_target_is_what_it_was_told() {
        let spec = TargetSpec {
            name: "a".to_owned(),
            version: "1.0".to_owned(),
            label: "reg.example/a:1.0".to_owned(),
            dependencies: ["b", "c (>= 2)"]
                .map(|text| TargetDependency {
                    on: Some(On::Target(text.to_owned())),
                })
                .into_iter()
                .chain([TargetDependency {
                    on: Some(On::External("debian:13".to_owned())),
                }])
                .collect(),
            labels: Default::default(),
        };
        let target = Target {
            spec: Some(spec),
            state: v1::TargetState::Built.into(),
            ..Target::default()
        };
        let (declared, state) = declared(&target).unwrap();
        assert_eq!(declared.key().to_string(), name(&target));
        let dependencies: Vec<_> = declared
            .dependencies()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(dependencies, ["b", "c (>= 2)", "debian:13"]);
        assert_eq!(state, State::Built);
    }

    #[test]
    fn the_time_to_wait_is_by_the_servers_clock_and_never_below_nothing() {
        let at = |seconds, nanos| prost_types::Timestamp { seconds, nanos };
        let wait = |to| between(Some(&at(10, 500_000_000)), Some(&to));
        assert_eq!(wait(at(12, 0)), Some(Duration::from_millis(1500)));
        assert_eq!(wait(at(9, 0)), Some(Duration::ZERO));
        assert_eq!(between(None, Some(&at(1, 0))), None);
    }
}
