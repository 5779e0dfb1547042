//! What makes no sense, or cannot be: refused by code, reason and field, and nothing written.

mod requests;
mod work;

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
