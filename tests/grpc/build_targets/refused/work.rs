//! What cannot happen to a target, and who may not say so.

use super::*;

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
