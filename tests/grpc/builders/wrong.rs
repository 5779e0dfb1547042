//! Requests that are wrong, and what is said of them.

use super::*;

#[tokio::test]
async fn what_is_wrong_in_a_request_is_named_and_nothing_is_written() {
    let mut agent = Agent::with_builder().await;
    let before = agent.server.state().await;
    let mut refused = Vec::new();
    let base = |base: &str| pb::BuilderKey {
        base: base.to_owned(),
        ..key().unwrap()
    };
    let on = |platform| pb::BuilderKey {
        platform,
        ..key().unwrap()
    };
    let bad = pb::ConfigPlatform {
        os: "li nux".to_owned(),
        architecture: "amd64".to_owned(),
        ..Default::default()
    };
    let long = pb::BuilderKey {
        recipe: "x".repeat(4097),
        ..key().unwrap()
    };
    for (key, field) in [
        (None, "key"),
        (Some(base("")), "key.base"),
        (Some(base("a\0b")), "key.base"),
        (Some(on(None)), "key.platform"),
        (
            Some(on(Some(pb::ConfigPlatform::default()))),
            "key.platform.architecture",
        ),
        (Some(on(Some(bad))), "key.platform.os"),
        (Some(long), "key.recipe"),
    ] {
        let request = pb::PutBuilderRequest { key, ..put() };
        refused.push((agent.builders.put(request).await.unwrap_err(), field));
    }
    let policy = |policy| pb::PutBuilderRequest {
        policy: Some(policy),
        ..put()
    };
    let default = pb::BuilderPolicy::default;
    for (asked, field) in [
        (
            pb::BuilderPolicy {
                max_age: seconds(-1),
                ..default()
            },
            "policy.max_age",
        ),
        (
            pb::BuilderPolicy {
                max_age: seconds(1),
                refresh_after: seconds(2),
                ..default()
            },
            "policy.refresh_after",
        ),
        (
            pb::BuilderPolicy {
                keep_last: 1001,
                ..default()
            },
            "policy.keep_last",
        ),
        (
            pb::BuilderPolicy {
                probe_after: seconds(-5),
                ..default()
            },
            "policy.probe_after",
        ),
    ] {
        refused.push((agent.builders.put(policy(asked)).await.unwrap_err(), field));
    }
    let asked = acquire("a");
    for (request, field) in [
        (
            pb::AcquireBuilderRequest {
                holder: String::new(),
                ..asked.clone()
            },
            "holder",
        ),
        (
            pb::AcquireBuilderRequest {
                ttl: seconds(0),
                ..asked.clone()
            },
            "ttl",
        ),
        (
            pb::AcquireBuilderRequest {
                ttl: seconds(86_401),
                ..asked.clone()
            },
            "ttl",
        ),
        (
            pb::AcquireBuilderRequest {
                reachable: vec!["a".into(), String::new()],
                ..asked.clone()
            },
            "reachable[1]",
        ),
        (
            pb::AcquireBuilderRequest {
                base_digest: "x".into(),
                ..asked.clone()
            },
            "base_digest",
        ),
        (
            pb::AcquireBuilderRequest {
                request_id: "a b".into(),
                ..asked
            },
            "request_id",
        ),
    ] {
        refused.push((agent.builders.acquire(request).await.unwrap_err(), field));
    }
    let done = complete(1);
    for (request, field) in [
        (
            pb::CompleteBuilderRequest {
                image: None,
                ..done.clone()
            },
            "image",
        ),
        (
            pb::CompleteBuilderRequest {
                image: Some(pb::Descriptor::default()),
                ..done.clone()
            },
            "image.media_type",
        ),
        (
            pb::CompleteBuilderRequest {
                location: String::new(),
                ..done.clone()
            },
            "location",
        ),
        (
            pb::CompleteBuilderRequest {
                pin_ttl: seconds(0),
                ..done
            },
            "pin_ttl",
        ),
    ] {
        refused.push((agent.builders.complete(request).await.unwrap_err(), field));
    }
    for (error, retry_after, field) in [
        (String::new(), seconds(1), "retry_after"),
        ("x".to_owned(), seconds(3601), "retry_after"),
        ("x".repeat(4097), None, "error"),
    ] {
        let request = pb::AbandonBuilderRequest {
            key: key(),
            error,
            retry_after,
            ..Default::default()
        };
        refused.push((agent.builders.abandon(request).await.unwrap_err(), field));
    }
    let request = pb::RenewPinRequest {
        key: key(),
        pin: "x".to_owned(),
        ..Default::default()
    };
    refused.push((agent.builders.renew_pin(request).await.unwrap_err(), "pin"));
    let observed = |location: &str, kind| pb::BuilderObservation {
        generation: 1,
        location: location.to_owned(),
        presence: Some(pb::Presence {
            kind,
            digest: String::new(),
        }),
    };
    for (observations, field) in [
        (vec![observed("", 1)], "observations[0].location"),
        (
            vec![observed("a", 1), observed("a", 0)],
            "observations[1].presence.kind",
        ),
        (vec![observed("a", 9)], "observations[0].presence.kind"),
        (
            vec![pb::BuilderObservation {
                presence: None,
                ..observed("a", 1)
            }],
            "observations[0].presence",
        ),
        (vec![observed("a", 1); 1001], "observations"),
    ] {
        let request = pb::ReportBuilderRequest {
            key: key(),
            observations,
            ..Default::default()
        };
        refused.push((agent.builders.report(request).await.unwrap_err(), field));
    }
    let request = pb::PruneBuilderRequest {
        key: key(),
        older_than: seconds(-1),
        ..Default::default()
    };
    refused.push((
        agent.builders.prune(request).await.unwrap_err(),
        "older_than",
    ));
    for removal in [0, 9] {
        let request = pb::ConfirmRemovedRequest {
            key: key(),
            location: "reg".to_owned(),
            removal,
            ..Default::default()
        };
        let refusal = agent.builders.confirm_removed(request).await.unwrap_err();
        refused.push((refusal, "removal"));
    }
    for (refusal, field) in refused {
        assert_refused(
            &refusal,
            Code::InvalidArgument,
            "INVALID_FIELD",
            Some(field),
        );
    }
    assert_eq!(agent.server.state().await, before, "nothing is written");
    assert!(!agent.server.stderr().contains("panicked"));
}
