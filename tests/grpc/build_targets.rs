//! Images that are to be built: declared, claimed, built, verified, published.

mod refused;
mod watching;

use std::collections::BTreeMap;

use imagestore::proto::v1 as pb;
use imagestore::proto::v1::build_targets_client::BuildTargetsClient;
use imagestore::proto::v1::claim_next_response::Result as Found;
use tonic::Code;
use tonic::transport::Channel;

use crate::common::{Server, assert_refused, digest, fact};

/// A server and a client of its targets.
struct Targets {
    server: Server,
    calls: BuildTargetsClient<Channel>,
}

/// `NAME[@VERSION][<-DEPENDENCY,...]`; version 1 where nothing is said.
fn spec(text: &str) -> pb::TargetSpec {
    let (key, needs) = text.split_once("<-").unwrap_or((text, ""));
    let (name, version) = key.split_once('@').unwrap_or((key, "1"));
    let needs = needs.split(',').filter(|need| !need.is_empty());
    let dependency = |need: &str| pb::TargetDependency {
        on: Some(pb::target_dependency::On::Target(need.to_owned())),
    };
    pb::TargetSpec {
        name: name.to_owned(),
        version: version.to_owned(),
        dependencies: needs.map(dependency).collect(),
        ..Default::default()
    }
}

fn apply(text: &str) -> pb::ApplyTargetsRequest {
    let texts = text.split(';').map(str::trim).filter(|one| !one.is_empty());
    pb::ApplyTargetsRequest {
        targets: texts.map(spec).collect(),
        ..Default::default()
    }
}

fn transition(target: &str, event: pb::TargetEvent) -> pb::TransitionTargetRequest {
    use pb::TargetEvent::{BuildFailed, BuildOk, PublishFailed, SeenLocal, VerifyFailed};
    let is_local = matches!(event, BuildOk | SeenLocal);
    let has_failed = matches!(event, BuildFailed | VerifyFailed | PublishFailed);
    pb::TransitionTargetRequest {
        target: target.to_owned(),
        event: event.into(),
        location: if is_local { "host:a" } else { "" }.to_owned(),
        error: if has_failed { "exit code 1" } else { "" }.to_owned(),
        ..Default::default()
    }
}

fn claim(works: &[pb::TargetWork]) -> pb::ClaimNextRequest {
    pb::ClaimNextRequest {
        work: works.iter().map(|work| (*work).into()).collect(),
        location: "host:a".to_owned(),
        holder: "worker 1".to_owned(),
        ..Default::default()
    }
}

fn globbed(glob: &str) -> Option<pb::TargetSelector> {
    Some(pb::TargetSelector {
        glob: glob.to_owned(),
        ..Default::default()
    })
}

impl Targets {
    async fn new() -> Self {
        let server = Server::start().await;
        let calls = BuildTargetsClient::new(server.channel().await);
        Self { server, calls }
    }

    async fn declare(&mut self, text: &str) -> pb::ApplyTargetsResponse {
        self.calls.apply(apply(text)).await.unwrap().into_inner()
    }

    async fn get(&mut self, target: &str) -> pb::Target {
        let request = pb::GetTargetRequest {
            target: target.to_owned(),
            ..Default::default()
        };
        self.calls
            .get(request)
            .await
            .unwrap()
            .into_inner()
            .target
            .unwrap()
    }

    async fn happen(&mut self, target: &str, event: pb::TargetEvent) -> pb::Target {
        let told = self.calls.transition(transition(target, event)).await;
        told.unwrap().into_inner().target.unwrap()
    }

    async fn next(&mut self, request: pb::ClaimNextRequest) -> Found {
        let next = self.calls.claim_next(request).await.unwrap();
        next.into_inner().result.unwrap()
    }

    async fn claimed(&mut self, works: &[pb::TargetWork]) -> pb::ClaimedTarget {
        match self.next(claim(works)).await {
            Found::Claimed(claimed) => claimed,
            Found::Idle(idle) => panic!("nothing to claim: {idle:?}"),
        }
    }
}

#[tokio::test]
async fn a_target_is_claimed_built_verified_and_published() {
    use pb::TargetEvent::{BuildOk, PublishOk, VerifyOk};
    use pb::TargetWork::{Build, Publish, Verify};
    let mut targets = Targets::new().await;
    let mut declared = apply("b@2<-a; a");
    let labels = BTreeMap::from([("team".to_owned(), "base".to_owned())]);
    declared.targets[1].labels = labels.clone();
    let applied = targets.calls.apply(declared).await.unwrap().into_inner();
    assert_eq!(
        (applied.created, applied.graph_revision),
        (2, applied.revision)
    );

    let claimed = targets.claimed(&[Build, Verify, Publish]).await;
    assert_eq!((claimed.work(), claimed.look_first), (Build, false));
    let target = claimed.target.unwrap();
    let spec = target.spec.unwrap();
    assert_eq!((spec.name.as_str(), spec.label.as_str()), ("a", "a:1"));
    assert_eq!(spec.labels, labels);
    let held = target.claim.unwrap();
    assert_eq!(
        (held.holder.as_str(), held.ttl.unwrap().seconds),
        ("worker 1", 60)
    );
    let stored = targets.get("a@1").await;
    assert_eq!(stored.claim.as_ref(), Some(&held));
    assert_eq!(stored.spec.unwrap().labels, labels);
    assert_eq!(stored.etag, stored.revision.to_string());

    let status = targets
        .calls
        .transition(transition("a@1", BuildOk))
        .await
        .unwrap_err();
    assert_refused(&status, Code::Aborted, "CLAIM_REFUSED", None);
    assert_eq!(fact(&status, "holder"), "worker 1");
    for (event, told, keep_claim) in [
        (BuildOk, digest("built"), true),
        (VerifyOk, String::new(), true),
        (PublishOk, digest("pushed"), false),
    ] {
        let renew = pb::RenewTargetRequest {
            target: "a@1".to_owned(),
            token: held.token,
            ..Default::default()
        };
        let renewed = targets.calls.renew(renew).await.unwrap().into_inner();
        assert_eq!(renewed.claim.unwrap().token, held.token);
        let request = pb::TransitionTargetRequest {
            digest: told,
            token: held.token,
            keep_claim,
            ..transition("a@1", event)
        };
        let answer = targets
            .calls
            .transition(request)
            .await
            .unwrap()
            .into_inner();
        assert!(answer.changed);
        assert_eq!(answer.target.unwrap().claim.is_some(), keep_claim);
    }
    let done = targets.get("a@1").await;
    assert_eq!(done.state(), pb::TargetState::Published);
    assert_eq!(
        (done.digest, done.published_digest),
        (digest("built"), digest("pushed"))
    );
    assert_eq!((done.attempts, done.locations.len()), (1, 0));

    let next = targets.claimed(&[Build]).await;
    let [below] = &next.dependencies[..] else {
        panic!("{next:?}")
    };
    assert_eq!(
        (below.target.as_str(), below.label.as_str()),
        ("a@1", "a:1")
    );
    assert_eq!(below.digest, digest("pushed"));
    let token = next.target.unwrap().claim.unwrap().token;
    assert!(token > held.token);
    let release = pb::ReleaseTargetRequest {
        target: "b@2".to_owned(),
        token,
        retry_after: Some(prost_types::Duration {
            seconds: 3600,
            nanos: 0,
        }),
        ..Default::default()
    };
    targets.calls.release(release.clone()).await.unwrap();
    let status = targets.calls.release(release).await.unwrap_err();
    assert_refused(&status, Code::Aborted, "CLAIM_REFUSED", None);
    assert!(targets.get("b@2").await.not_before.is_some());
    let Found::Idle(idle) = targets.next(claim(&[Build])).await else {
        panic!("it is put off")
    };
    assert_eq!(
        (idle.waiting_count, idle.waiting[0].target.as_str()),
        (1, "b@2")
    );
    let (retry_at, now) = (idle.retry_at.unwrap(), idle.now.unwrap());
    assert!((3500..=3600).contains(&(retry_at.seconds - now.seconds)));
}

#[tokio::test]
async fn orders_are_told_in_waves_with_what_blocks_them() {
    let mut targets = Targets::new().await;
    let mut request = apply("a; b<-a; c<-b; d<-a,c; e; done; f<-done");
    let external = pb::target_dependency::On::External("debian:13".to_owned());
    request.targets[4].dependencies = vec![pb::TargetDependency { on: Some(external) }];
    targets.calls.apply(request).await.unwrap();
    targets
        .happen("done@1", pb::TargetEvent::SeenPublished)
        .await;
    let order = targets
        .calls
        .build_order(pb::BuildOrderRequest::default())
        .await;
    let order = order.unwrap().into_inner();
    let waves: Vec<_> = order
        .waves
        .iter()
        .map(|wave| wave.targets.join(" "))
        .collect();
    assert_eq!(waves, ["a@1 e@1 f@1", "b@1", "c@1", "d@1"]);
    assert_eq!(
        (order.existing, order.external),
        (vec!["done@1".to_owned()], vec!["debian:13".to_owned()])
    );
    targets.happen("b@1", pb::TargetEvent::BuildFailed).await;
    let request = pb::BuildOrderRequest {
        selector: globbed("d:*"),
        ..Default::default()
    };
    let order = targets
        .calls
        .build_order(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(order.blocked.len(), 2);
    let last = &order.blocked[1];
    assert_eq!(
        (&*last.target, &*last.failed, &*last.through),
        ("d@1", "b@1", "c@1")
    );
    let request = pb::PruneOrderRequest {
        selector: globbed("[abd]:*"),
        ..Default::default()
    };
    let order = targets
        .calls
        .prune_order(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(order.targets, ["d@1", "b@1", "a@1"]);
    let request = pb::DependentsRequest {
        of: Some(pb::dependents_request::Of::Target("b@1".to_owned())),
        transitive: true,
        include_self: true,
        ..Default::default()
    };
    let found = targets
        .calls
        .dependents(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.targets, ["b@1", "c@1", "d@1"]);
    let reset = targets
        .calls
        .reset(pb::ResetTargetsRequest::default())
        .await;
    assert_eq!(reset.unwrap().into_inner().targets, ["b@1"]);
    let request = pb::ResolveTargetsRequest {
        names: vec!["d".to_owned(), "a (>= 1)".to_owned()],
        ..Default::default()
    };
    let labels = targets
        .calls
        .resolve(request)
        .await
        .unwrap()
        .into_inner()
        .labels;
    assert_eq!(labels, ["d:1", "a:1"]);
}

#[tokio::test]
async fn a_bump_is_rehearsed_and_then_done() {
    let mut targets = Targets::new().await;
    targets.declare("a@0.1; b@2-s9<-a; c").await;
    let bump = pb::BumpTargetRequest {
        target: "a@0.1".to_owned(),
        reason: "CVE-1".to_owned(),
        validate_only: true,
        ..Default::default()
    };
    let before = targets.server.state().await;
    let told = targets.calls.bump(bump.clone()).await.unwrap().into_inner();
    assert_eq!(targets.server.state().await, before);
    let bump = pb::BumpTargetRequest {
        validate_only: false,
        ..bump
    };
    let done = targets.calls.bump(bump).await.unwrap().into_inner();
    assert_eq!(done.bumped, told.bumped);
    assert_eq!(done.graph_revision, done.revision);
    let [a, b] = &done.bumped[..] else {
        panic!("{done:?}")
    };
    assert_eq!(
        (&*a.target, &*a.version, &*a.because),
        ("a@0.1", "0.1-s1", "")
    );
    assert_eq!(
        (&*b.target, &*b.version, &*b.because),
        ("b@2-s9", "2-s10", "a@0.1")
    );
    assert_eq!(
        (&*b.label, &*b.reason),
        ("b:2-s10", "Built again on a:0.1-s1:\nCVE-1")
    );
    let list = pb::ListTargetsRequest {
        page_size: 2,
        ..Default::default()
    };
    let page = targets.calls.list(list.clone()).await.unwrap().into_inner();
    let versions = |page: &pb::ListTargetsResponse| -> Vec<String> {
        let specs = page
            .targets
            .iter()
            .map(|target| target.spec.clone().unwrap());
        specs.map(|spec| spec.version).collect()
    };
    assert_eq!(versions(&page), ["0.1", "0.1-s1"]);
    let next = pb::ListTargetsRequest {
        page_token: page.next_page_token,
        ..list
    };
    let page = targets.calls.list(next).await.unwrap().into_inner();
    assert_eq!(versions(&page), ["2-s9", "2-s10"]);
}

#[tokio::test]
async fn what_could_not_be_asked_is_looked_for_first() {
    let mut targets = Targets::new().await;
    targets.declare("a; b").await;
    let presence = |kind: pb::presence::Kind| {
        Some(pb::Presence {
            kind: kind.into(),
            ..Default::default()
        })
    };
    use pb::presence::Kind::{Absent, Present, Unknown};
    let observation = |target: &str, published| pb::TargetObservation {
        target: target.to_owned(),
        location: "host:a".to_owned(),
        local: presence(Absent),
        published: presence(published),
        ..Default::default()
    };
    let request = pb::ObserveTargetsRequest {
        mode: pb::ObserveMode::RegistryFirst.into(),
        observations: vec![
            observation("a@1", Unknown),
            observation("b@1", Present),
            observation("c@1", Absent),
        ],
        ..Default::default()
    };
    let observed = targets.calls.observe(request).await.unwrap().into_inner();
    let kinds: Vec<_> = observed.results.iter().map(|one| one.kind()).collect();
    use pb::ObservedKind::{Changed, NotFound, Undecided};
    assert_eq!(kinds, [Undecided, Changed, NotFound]);
    assert_eq!(observed.results[0].possible.len(), 2);
    assert!(targets.get("a@1").await.is_in_doubt);
    let claimed = targets.claimed(&[pb::TargetWork::Build]).await;
    assert!(claimed.look_first);
    let target = claimed.target.unwrap();
    assert_eq!(target.spec.unwrap().name, "a");
}
