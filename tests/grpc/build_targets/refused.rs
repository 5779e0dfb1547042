//! What makes no sense, or cannot be: refused by code, reason and field, and nothing written.

use tonic::{Response, Status};

use super::*;

/// A server with targets that must stay as they are.
struct Kept {
    targets: Targets,
    before: [i64; 4],
}

impl Kept {
    async fn new() -> Self {
        let mut targets = Targets::new().await;
        targets.declare("a; b<-a; bad").await;
        targets.happen("bad@1", pb::TargetEvent::BuildFailed).await;
        let before = targets.server.state().await;
        Self { targets, before }
    }

    async fn refused<T: std::fmt::Debug>(
        &self,
        answer: Result<Response<T>, Status>,
        code: Code,
        reason: &str,
        field: Option<&str>,
    ) -> Status {
        let status = answer.expect_err(reason);
        assert_refused(&status, code, reason, field);
        assert_eq!(self.targets.server.state().await, self.before, "{status:?}");
        assert!(!self.targets.server.stderr().contains("panicked"));
        status
    }

    async fn invalid<T: std::fmt::Debug>(
        &self,
        answer: Result<Response<T>, Status>,
        field: &str,
    ) -> Status {
        let code = Code::InvalidArgument;
        self.refused(answer, code, "INVALID_FIELD", Some(field))
            .await
    }
}

#[tokio::test]
async fn targets_that_make_no_graph_are_refused_and_the_cycle_is_spelled_out() {
    let mut kept = Kept::new().await;
    use Code::{AlreadyExists, InvalidArgument};
    for (text, code, reason, said) in [
        (
            "c; d; c",
            AlreadyExists,
            "DUPLICATE_TARGET",
            "c@1 is there twice",
        ),
        (
            "c<-x",
            InvalidArgument,
            "UNKNOWN_DEPENDENCY",
            "x of c@1 can not be found",
        ),
        (
            "c<-a (>> 1)",
            InvalidArgument,
            "UNKNOWN_DEPENDENCY",
            "there is 1",
        ),
        ("a<-b", InvalidArgument, "CYCLE", "a@1 -> b@1 -> a@1"),
        ("c<-c", InvalidArgument, "CYCLE", "c@1 -> c@1"),
        (
            "c<-d; d<-e; e<-c",
            InvalidArgument,
            "CYCLE",
            "c@1 -> d@1 -> e@1 -> c@1",
        ),
    ] {
        for validate_only in [true, false] {
            let request = pb::ApplyTargetsRequest {
                validate_only,
                ..apply(text)
            };
            let answer = kept.targets.calls.apply(request).await;
            let status = kept.refused(answer, code, reason, Some("targets")).await;
            assert!(status.message().contains(said), "{status:?}");
        }
    }
}

#[tokio::test]
async fn a_graph_of_a_million_dependencies_is_refused() {
    let mut kept = Kept::new().await;
    let layers: Vec<String> = (0..2000)
        .map(|n| {
            let below: Vec<_> = (0..500).map(|below| format!("t{}", 2000 + below)).collect();
            format!("t{n}<-{}", below.join(","))
        })
        .collect();
    let answer = kept.targets.calls.apply(apply(&layers.join(";"))).await;
    let code = Code::InvalidArgument;
    kept.refused(answer, code, "GRAPH_TOO_LARGE", Some("targets"))
        .await;
    let many: Vec<_> = (0..1001).map(|n| format!("t{n}")).collect();
    let answer = kept
        .targets
        .calls
        .apply(apply(&format!("c<-{}", many.join(","))))
        .await;
    kept.invalid(answer, "targets[0].dependencies").await;
}

#[tokio::test]
async fn what_is_no_target_is_refused_by_its_field() {
    let mut kept = Kept::new().await;
    let long = "x".repeat(300);
    let mut odd = spec("c");
    odd.label = "reg.example/d:1".to_owned();
    let mut none = spec("c");
    none.dependencies = vec![pb::TargetDependency { on: None }];
    let mut external = spec("c");
    external.dependencies = vec![pb::TargetDependency {
        on: Some(pb::target_dependency::On::External(String::new())),
    }];
    let mut labelled = spec("c");
    labelled.labels.insert(String::new(), "v".to_owned());
    let mut cut = spec("c");
    cut.labels.insert("k".to_owned(), "v\0".to_owned());
    for (target, field) in [
        (spec("C"), "targets[1].name"),
        (spec(&long), "targets[1].name"),
        (spec("@1"), "targets[1].name"),
        (spec("c@"), "targets[1].version"),
        (spec("c@1:2"), "targets[1].version"),
        (spec("c<-d (~ 1)"), "targets[1].dependencies[0].target"),
        (spec("c<-a,D"), "targets[1].dependencies[1].target"),
        (odd, "targets[1].label"),
        (none, "targets[1].dependencies[0].on"),
        (external, "targets[1].dependencies[0].external"),
        (labelled, "targets[1].labels"),
        (cut, "targets[1].labels"),
    ] {
        let mut request = apply("ok");
        request.targets.push(target);
        let answer = kept.targets.calls.apply(request).await;
        kept.invalid(answer, field).await;
    }
    let request = pb::ApplyTargetsRequest {
        source: "x".repeat(4097),
        ..apply("c")
    };
    let answer = kept.targets.calls.apply(request).await;
    kept.invalid(answer, "source").await;
    let request = pb::ApplyTargetsRequest {
        if_graph_revision: Some(0),
        ..apply("c")
    };
    let answer = kept.targets.calls.apply(request).await;
    let status = kept
        .refused(answer, Code::Aborted, "GRAPH_CHANGED", None)
        .await;
    assert!(fact(&status, "graph_revision").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn what_cannot_happen_is_refused_with_what_can() {
    use pb::TargetEvent::{BuildFailed, BuildOk, Lost, Unspecified, VerifyOk};
    let mut kept = Kept::new().await;
    let answer = kept
        .targets
        .calls
        .transition(transition("bad@1", BuildOk))
        .await;
    let code = Code::FailedPrecondition;
    let status = kept.refused(answer, code, "ILLEGAL_TRANSITION", None).await;
    assert_eq!(
        (fact(&status, "state"), fact(&status, "legal")),
        ("error".into(), "reset".into())
    );
    let answer = kept.targets.calls.transition(transition("x@1", Lost)).await;
    kept.refused(answer, Code::NotFound, "NOT_FOUND", None)
        .await;
    let stale = pb::TransitionTargetRequest {
        token: 7,
        ..transition("a@1", BuildOk)
    };
    let answer = kept.targets.calls.transition(stale).await;
    kept.refused(answer, Code::Aborted, "CLAIM_REFUSED", None)
        .await;
    let etag = pb::TransitionTargetRequest {
        if_etag: "1".to_owned(),
        ..transition("a@1", BuildOk)
    };
    let answer = kept.targets.calls.transition(etag).await;
    kept.refused(answer, Code::Aborted, "ETAG_MISMATCH", None)
        .await;
    let request = |event| transition("a@1", event);
    for (request, field) in [
        (transition("a", BuildOk), "target"),
        (transition("", BuildOk), "target"),
        (request(Unspecified), "event"),
        (
            pb::TransitionTargetRequest {
                event: 99,
                ..request(BuildOk)
            },
            "event",
        ),
        (
            pb::TransitionTargetRequest {
                location: String::new(),
                ..request(BuildOk)
            },
            "location",
        ),
        (
            pb::TransitionTargetRequest {
                location: "x".into(),
                ..request(VerifyOk)
            },
            "location",
        ),
        (
            pb::TransitionTargetRequest {
                digest: "sha256:x".into(),
                ..request(BuildOk)
            },
            "digest",
        ),
        (
            pb::TransitionTargetRequest {
                digest: digest("x"),
                ..request(VerifyOk)
            },
            "digest",
        ),
        (
            pb::TransitionTargetRequest {
                error: String::new(),
                ..request(BuildFailed)
            },
            "error",
        ),
        (
            pb::TransitionTargetRequest {
                error: "x".repeat(4097),
                ..request(BuildFailed)
            },
            "error",
        ),
        (
            pb::TransitionTargetRequest {
                error: "x".into(),
                ..request(BuildOk)
            },
            "error",
        ),
        (
            pb::TransitionTargetRequest {
                if_etag: "x".into(),
                ..request(BuildOk)
            },
            "if_etag",
        ),
        (
            pb::TransitionTargetRequest {
                namespace: "-".into(),
                ..request(BuildOk)
            },
            "namespace",
        ),
    ] {
        let answer = kept.targets.calls.transition(request).await;
        kept.invalid(answer, field).await;
    }
}

#[tokio::test]
async fn a_selection_that_makes_no_sense_is_refused() {
    let mut kept = Kept::new().await;
    let state = |state| {
        Some(pb::TargetSelector {
            states: vec![1, state],
            ..Default::default()
        })
    };
    for (selector, field) in [
        (globbed("[a"), "selector.glob"),
        (globbed(&"x".repeat(1025)), "selector.glob"),
        (state(0), "selector.states[1]"),
        (state(77), "selector.states[1]"),
    ] {
        let list = pb::ListTargetsRequest {
            selector: selector.clone(),
            ..Default::default()
        };
        let answer = kept.targets.calls.list(list).await;
        kept.invalid(answer, field).await;
        let reset = pb::ResetTargetsRequest {
            selector: selector.clone(),
            ..Default::default()
        };
        let answer = kept.targets.calls.reset(reset).await;
        kept.invalid(answer, field).await;
        let next = pb::ClaimNextRequest {
            selector,
            ..claim(&[pb::TargetWork::Build])
        };
        let answer = kept.targets.calls.claim_next(next).await;
        kept.invalid(answer, field).await;
    }
}

#[tokio::test]
async fn a_claim_that_makes_no_sense_is_refused() {
    use pb::TargetWork::Build;
    let mut kept = Kept::new().await;
    let ttl = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let ask = || claim(&[Build]);
    for (request, field) in [
        (claim(&[]), "work"),
        (
            pb::ClaimNextRequest {
                work: vec![1, 0],
                ..ask()
            },
            "work[1]",
        ),
        (
            pb::ClaimNextRequest {
                work: vec![9],
                ..ask()
            },
            "work[0]",
        ),
        (
            pb::ClaimNextRequest {
                location: String::new(),
                ..ask()
            },
            "location",
        ),
        (
            pb::ClaimNextRequest {
                holder: String::new(),
                ..ask()
            },
            "holder",
        ),
        (
            pb::ClaimNextRequest {
                holder: "x".repeat(4097),
                ..ask()
            },
            "holder",
        ),
        (
            pb::ClaimNextRequest {
                ttl: ttl(0, 999_999_999),
                ..ask()
            },
            "ttl",
        ),
        (
            pb::ClaimNextRequest {
                ttl: ttl(86_400, 1),
                ..ask()
            },
            "ttl",
        ),
        (
            pb::ClaimNextRequest {
                ttl: ttl(-1, 0),
                ..ask()
            },
            "ttl",
        ),
        (
            pb::ClaimNextRequest {
                targets: vec!["a@1".into(), "a".into()],
                ..ask()
            },
            "targets[1]",
        ),
        (
            pb::ClaimNextRequest {
                targets: vec!["a@1".into(); 50_001],
                ..ask()
            },
            "targets",
        ),
        (
            pb::ClaimNextRequest {
                request_id: "a b".into(),
                ..ask()
            },
            "request_id",
        ),
    ] {
        let answer = kept.targets.calls.claim_next(request).await;
        kept.invalid(answer, field).await;
    }
    let release = |token, retry_after| pb::ReleaseTargetRequest {
        target: "a@1".to_owned(),
        token,
        retry_after,
        ..Default::default()
    };
    let answer = kept.targets.calls.release(release(0, None)).await;
    kept.invalid(answer, "token").await;
    let answer = kept.targets.calls.release(release(7, ttl(86_401, 0))).await;
    kept.invalid(answer, "retry_after").await;
    let answer = kept.targets.calls.release(release(7, None)).await;
    kept.refused(answer, Code::Aborted, "CLAIM_REFUSED", None)
        .await;
    let renew = pb::RenewTargetRequest {
        target: "a@1".to_owned(),
        token: 7,
        ..Default::default()
    };
    let answer = kept.targets.calls.renew(renew).await;
    kept.refused(answer, Code::Aborted, "CLAIM_REFUSED", None)
        .await;
}

#[tokio::test]
async fn other_requests_that_make_no_sense_are_refused() {
    let mut kept = Kept::new().await;
    let presence = |kind: i32, digest: &str| {
        Some(pb::Presence {
            kind,
            digest: digest.to_owned(),
        })
    };
    let seen = |target: &str, local, published| pb::TargetObservation {
        target: target.to_owned(),
        location: "host:a".to_owned(),
        local,
        published,
        ..Default::default()
    };
    let gone = || presence(2, "");
    let fine = || seen("a@1", gone(), gone());
    for (mode, observations, field) in [
        (0, vec![fine()], "mode"),
        (9, vec![fine()], "mode"),
        (1, vec![], "observations"),
        (1, vec![fine(); 1001], "observations"),
        (1, vec![fine(), fine()], "observations[1].target"),
        (1, vec![seen("a", gone(), gone())], "observations[0].target"),
        (
            1,
            vec![fine(), seen("b@1", None, gone())],
            "observations[1].local",
        ),
        (
            1,
            vec![seen("a@1", presence(0, ""), gone())],
            "observations[0].local.kind",
        ),
        (
            1,
            vec![seen("a@1", gone(), presence(9, ""))],
            "observations[0].published.kind",
        ),
        (
            1,
            vec![seen("a@1", gone(), presence(1, "x"))],
            "observations[0].published.digest",
        ),
        (
            1,
            vec![seen("a@1", gone(), presence(2, &digest("x")))],
            "observations[0].published.digest",
        ),
    ] {
        let request = pb::ObserveTargetsRequest {
            mode,
            observations,
            ..Default::default()
        };
        let answer = kept.targets.calls.observe(request).await;
        kept.invalid(answer, field).await;
    }
    let bump = pb::BumpTargetRequest {
        target: "a@1".to_owned(),
        reason: "why".to_owned(),
        ..Default::default()
    };
    for (request, field) in [
        (
            pb::BumpTargetRequest {
                reason: String::new(),
                ..bump.clone()
            },
            "reason",
        ),
        (
            pb::BumpTargetRequest {
                reason: "x".repeat(65_537),
                ..bump.clone()
            },
            "reason",
        ),
        (
            pb::BumpTargetRequest {
                reason: "w\0hy".to_owned(),
                ..bump.clone()
            },
            "reason",
        ),
        (
            pb::BumpTargetRequest {
                version: "-1".into(),
                ..bump.clone()
            },
            "version",
        ),
        (
            pb::BumpTargetRequest {
                update_id: Some("s1".into()),
                ..bump.clone()
            },
            "update_id",
        ),
        (
            pb::BumpTargetRequest {
                target: "a".into(),
                ..bump.clone()
            },
            "target",
        ),
    ] {
        let answer = kept.targets.calls.bump(request).await;
        kept.invalid(answer, field).await;
    }
    let there = pb::BumpTargetRequest {
        version: "1".to_owned(),
        ..bump
    };
    let answer = kept.targets.calls.bump(there).await;
    let code = Code::FailedPrecondition;
    kept.refused(answer, code, "NOT_BUMPABLE", None).await;
    let delete = |target: &str| pb::DeleteTargetRequest {
        target: target.to_owned(),
        ..Default::default()
    };
    let answer = kept.targets.calls.delete(delete("a@1")).await;
    let status = kept.refused(answer, code, "HAS_DEPENDENTS", None).await;
    assert_eq!(fact(&status, "dependents"), "b@1");
    let answer = kept.targets.calls.delete(delete("x@1")).await;
    kept.refused(answer, Code::NotFound, "NOT_FOUND", None)
        .await;
    for (names, field) in [
        (vec![], "names"),
        (vec!["a".to_owned(); 1001], "names"),
        (vec!["a".to_owned(), "A".to_owned()], "names[1]"),
    ] {
        let request = pb::ResolveTargetsRequest {
            names,
            ..Default::default()
        };
        let answer = kept.targets.calls.resolve(request).await;
        kept.invalid(answer, field).await;
    }
    let request = pb::DependentsRequest::default();
    let answer = kept.targets.calls.dependents(request).await;
    kept.invalid(answer, "of").await;
    let list = pb::ListTargetsRequest {
        page_token: "AQx".to_owned(),
        ..Default::default()
    };
    let answer = kept.targets.calls.list(list).await;
    kept.invalid(answer, "page_token").await;
}
