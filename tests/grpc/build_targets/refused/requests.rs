//! Requests of which a field makes no sense.

use super::*;

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
