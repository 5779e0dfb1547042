//! Builders through the API: decisions, codes, field names.

mod going;
mod wrong;

use std::time::Duration;

use imagestore::proto::v1 as pb;
use imagestore::proto::v1::acquire_builder_response::Decision;
use imagestore::proto::v1::builders_client::BuildersClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::common::configs::platform;
use crate::common::{Server, assert_refused, digest, fact, target};

fn key() -> Option<pb::BuilderKey> {
    Some(pb::BuilderKey {
        base: "host:5000/archlinux".to_owned(),
        platform: Some(platform("linux/x86_64")),
        recipe: "sha256:abc".to_owned(),
    })
}

fn put() -> pb::PutBuilderRequest {
    pb::PutBuilderRequest {
        key: key(),
        ..Default::default()
    }
}

fn acquire(holder: &str) -> pb::AcquireBuilderRequest {
    pb::AcquireBuilderRequest {
        key: key(),
        holder: holder.to_owned(),
        ..Default::default()
    }
}

fn complete(token: u64) -> pb::CompleteBuilderRequest {
    pb::CompleteBuilderRequest {
        key: key(),
        token,
        image: Some(target("image")),
        location: "reg".to_owned(),
        ..Default::default()
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

struct Agent {
    builders: BuildersClient<Channel>,
    server: Server,
}

impl Agent {
    async fn new() -> Self {
        let server = Server::start().await;
        Self {
            builders: BuildersClient::new(server.channel().await),
            server,
        }
    }

    /// With a builder.
    async fn with_builder() -> Self {
        let mut agent = Self::new().await;
        agent.builders.put(put()).await.unwrap();
        agent
    }

    async fn ask(&mut self, request: pb::AcquireBuilderRequest) -> Decision {
        let answer = self.builders.acquire(request).await.unwrap();
        answer.into_inner().decision.unwrap()
    }

    async fn claim(&mut self) -> pb::Claim {
        let force = pb::AcquireBuilderRequest {
            force: true,
            ..acquire("a")
        };
        match self.ask(force).await {
            Decision::Build(build) => build.claim.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn build(&mut self) -> pb::BuilderGeneration {
        let claim = self.claim().await;
        let done = self.builders.complete(complete(claim.token)).await.unwrap();
        done.into_inner().generation.unwrap()
    }

    async fn uses(&mut self) -> pb::UseBuilder {
        match self.ask(acquire("b")).await {
            Decision::Use(used) => used,
            other => panic!("{other:?}"),
        }
    }

    async fn get(&mut self) -> pb::Builder {
        let request = pb::GetBuilderRequest {
            key: key(),
            ..Default::default()
        };
        let got = self.builders.get(request).await.unwrap();
        got.into_inner().builder.unwrap()
    }

    async fn report(&mut self, generation: u64, kind: pb::presence::Kind) -> Vec<i32> {
        let observation = pb::BuilderObservation {
            generation,
            location: "reg".to_owned(),
            presence: Some(pb::Presence {
                kind: kind.into(),
                digest: String::new(),
            }),
        };
        let request = pb::ReportBuilderRequest {
            key: key(),
            observations: vec![observation],
            ..Default::default()
        };
        let reported = self.builders.report(request).await.unwrap();
        reported.into_inner().effects
    }
}

#[tokio::test]
async fn one_builds_the_others_wait_and_then_use_it() {
    let mut agent = Agent::new().await;
    let put = agent.builders.put(put()).await.unwrap().into_inner();
    assert!(put.created && put.changed);
    let builder = put.builder.unwrap();
    let policy = builder.policy.unwrap();
    assert_eq!(
        (policy.max_age, policy.keep_last),
        (seconds(24 * 3600), 1),
        "the defaults"
    );
    let asked = builder.key.clone().unwrap().platform.unwrap();
    assert_eq!(
        (asked.os.as_str(), asked.architecture.as_str()),
        ("linux", "amd64")
    );
    assert_eq!(builder.etag, builder.revision.to_string());

    let Decision::Build(build) = agent.ask(acquire("a")).await else {
        panic!("nobody has built yet");
    };
    assert_eq!(build.reason(), pb::BuildReason::NeverBuilt);
    let claim = build.claim.unwrap();
    assert_eq!((claim.holder.as_str(), claim.ttl), ("a", seconds(60)));
    let Decision::Busy(busy) = agent.ask(acquire("b")).await else {
        panic!("somebody builds");
    };
    assert_eq!((busy.holder.as_str(), busy.until), ("a", claim.deadline));
    assert_eq!((busy.previous, busy.pin), (None, None));

    let renew = pb::RenewBuilderRequest {
        key: key(),
        token: claim.token,
        ..Default::default()
    };
    let renewed = agent.builders.renew(renew).await.unwrap().into_inner();
    assert_eq!(renewed.claim.unwrap().token, claim.token);

    let request = pb::CompleteBuilderRequest {
        base_digest: digest("base"),
        pin_ttl: seconds(5),
        ..complete(claim.token)
    };
    let done = agent.builders.complete(request).await.unwrap().into_inner();
    let generation = done.generation.unwrap();
    assert_eq!(generation.sequence, 1);
    assert_eq!(generation.copies[0].location, "reg");
    assert_eq!(done.pin.unwrap().holder, "a");

    let used = agent.uses().await;
    assert_eq!(used.generation.as_ref(), Some(&generation));
    assert!(!used.is_stale && used.is_confirmed && used.fresh_until.is_some());
    let builder = agent.get().await;
    assert_eq!(builder.claim, None);
    assert_eq!(builder.base_digest, digest("base"));
    assert_eq!((builder.generations.len(), builder.pins.len()), (1, 2));

    let pin = used.pin.unwrap();
    let renew = pb::RenewPinRequest {
        key: key(),
        pin: pin.id.clone(),
        ..Default::default()
    };
    let renewed = agent.builders.renew_pin(renew.clone()).await.unwrap();
    assert_eq!(renewed.into_inner().pin.unwrap().id, pin.id);
    let unpin = pb::UnpinBuilderRequest {
        key: key(),
        pin: pin.id,
        ..Default::default()
    };
    for changed in [true, false] {
        let unpinned = agent.builders.unpin(unpin.clone()).await.unwrap();
        assert_eq!(unpinned.into_inner().changed, changed);
    }
    let gone = agent.builders.renew_pin(renew).await.unwrap_err();
    assert_refused(&gone, Code::Aborted, "CLAIM_REFUSED", None);
}

#[tokio::test]
async fn whoever_is_too_late_is_refused_whatever_it_asks() {
    let mut agent = Agent::with_builder().await;
    let short = pb::AcquireBuilderRequest {
        ttl: seconds(1),
        ..acquire("a")
    };
    let Decision::Build(build) = agent.ask(short).await else {
        panic!("nobody has built yet");
    };
    let token = build.claim.unwrap().token;
    let second = loop {
        match agent.ask(acquire("b")).await {
            Decision::Build(build) => break build.claim.unwrap(),
            Decision::Busy(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Decision::Use(used) => panic!("{used:?}"),
        }
    };
    assert!(second.token > token);
    let before = agent.get().await;
    let abandon = pb::AbandonBuilderRequest {
        key: key(),
        token,
        ..Default::default()
    };
    let renew = pb::RenewBuilderRequest {
        key: key(),
        token,
        ..Default::default()
    };
    let refusals: [Status; 3] = [
        agent.builders.complete(complete(token)).await.unwrap_err(),
        agent.builders.abandon(abandon).await.unwrap_err(),
        agent.builders.renew(renew).await.unwrap_err(),
    ];
    for refusal in refusals {
        assert_refused(&refusal, Code::Aborted, "CLAIM_REFUSED", None);
        assert_eq!(
            (fact(&refusal, "kind"), fact(&refusal, "holder")),
            ("builder".into(), "b".into())
        );
    }
    assert_eq!(agent.get().await, before, "nothing is written");
}

#[tokio::test]
async fn what_could_not_be_asked_for_is_not_missing() {
    use pb::presence::Kind;
    let mut agent = Agent::with_builder().await;
    agent.build().await;
    let kept = i32::from(pb::ObservationEffect::Kept);
    assert_eq!(agent.report(1, Kind::Unknown).await, [kept]);
    assert_eq!(agent.uses().await.generation.unwrap().sequence, 1);
    assert_eq!(agent.report(1, Kind::Present).await, [kept]);
    assert_eq!(
        agent.report(1, Kind::Absent).await,
        [i32::from(pb::ObservationEffect::Dropped)]
    );
    assert_eq!(
        agent.report(1, Kind::Present).await,
        [i32::from(pb::ObservationEffect::NotFound)]
    );
    let Decision::Build(build) = agent.ask(acquire("a")).await else {
        panic!("there is none");
    };
    assert_eq!(build.reason(), pb::BuildReason::Gone);
}

#[tokio::test]
async fn what_fails_is_not_tried_again_at_once() {
    let mut agent = Agent::with_builder().await;
    let token = agent.claim().await.token;
    let request = pb::AbandonBuilderRequest {
        key: key(),
        token,
        error: "exit code 7".to_owned(),
        retry_after: seconds(3000),
        ..Default::default()
    };
    let abandoned = agent.builders.abandon(request).await.unwrap().into_inner();
    let Decision::Busy(busy) = agent.ask(acquire("b")).await else {
        panic!("nobody builds now");
    };
    assert_eq!(
        (busy.holder.as_str(), busy.last_error.as_str()),
        ("", "exit code 7")
    );
    assert_eq!(
        busy.until.unwrap().seconds,
        abandoned.retry_at.unwrap().seconds
    );
    let builder = agent.get().await;
    assert_eq!(
        (builder.failures, builder.last_error.as_str()),
        (1, "exit code 7")
    );
}

#[tokio::test]
async fn status_and_namespaces_count_builders() {
    let server = Server::start().await;
    let mut builders = BuildersClient::new(server.channel().await);
    builders.put(put()).await.unwrap();
    assert_eq!(server.status().await.builders, 1);
    let request = pb::GetNamespaceRequest {
        name: "default".to_owned(),
    };
    let mut namespaces = server.namespaces().await;
    let got = namespaces.get(request).await.unwrap().into_inner();
    assert_eq!(got.namespace.unwrap().builders, 1);
    let request = pb::DeleteNamespaceRequest {
        name: "default".to_owned(),
        ..Default::default()
    };
    let kept = namespaces.delete(request).await.unwrap_err();
    assert_eq!(fact(&kept, "builders"), "1");
}
