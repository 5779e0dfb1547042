//! Requests that are sent again.

use super::*;

on_every_engine![
    what_is_sent_again_is_done_once_and_answered_alike,
    an_answer_that_gave_nothing_is_not_remembered,
    a_claim_that_is_given_again_may_have_ended,
    an_id_of_another_request_is_refused,
];

fn once(id: &str) -> Option<RequestId> {
    Some(RequestId::new(id, id.as_bytes()).unwrap())
}

async fn what_is_sent_again_is_done_once_and_answered_alike(on: &On) {
    let builders = on.store.builders();
    let put = PutBuilder {
        request: once("put"),
        ..PutBuilder::new(key(), policy(100, Some(50)))
    };
    let first = builders.put(&ns(), &put).await.unwrap();
    assert_eq!(builders.put(&ns(), &put).await.unwrap(), first);

    let build = AcquireBuilder {
        request: once("build"),
        base_digest: Some(*target("base").digest()),
        ..acquire("a")
    };
    let first = builders.acquire(&ns(), &build).await.unwrap();
    assert_eq!(builders.acquire(&ns(), &build).await.unwrap(), first);

    let abandon = AbandonBuilder {
        failure: Some(Failure {
            error: "x".to_owned(),
            retry_after: Some(seconds(1)),
        }),
        request: once("abandon"),
        ..AbandonBuilder::new(key(), token_of(&first.value.decision))
    };
    let first = builders.abandon(&ns(), &abandon).await.unwrap();
    assert_eq!(builders.abandon(&ns(), &abandon).await.unwrap(), first);
    on.at(1001);

    let token = token_of(&on.ask(&acquire("a")).await);
    let complete = CompleteBuilder {
        pin: Some(ttl(10)),
        request: once("complete"),
        ..CompleteBuilder::new(key(), token, built("reg"))
    };
    let first = builders.complete(&ns(), &complete).await.unwrap();
    assert_eq!(builders.complete(&ns(), &complete).await.unwrap(), first);

    let used = AcquireBuilder {
        request: once("use"),
        ..acquire("a")
    };
    let first = builders.acquire(&ns(), &used).await.unwrap();
    assert_eq!(word(&first.value.decision), "use 1 pinned");
    assert_eq!(builders.acquire(&ns(), &used).await.unwrap(), first);
    assert_eq!(on.builder().await.pins.len(), 2);

    on.at(1101);
    on.ask(&acquire("b")).await;
    let busy = AcquireBuilder {
        request: once("busy"),
        ..acquire("a")
    };
    let first = builders.acquire(&ns(), &busy).await.unwrap();
    assert_eq!(word(&first.value.decision), "busy b over 1 pinned");
    assert_eq!(builders.acquire(&ns(), &busy).await.unwrap(), first);

    let report = ReportBuilder {
        request: once("report"),
        ..ReportBuilder::new(
            key(),
            vec![
                observed(1, "x", Presence::Present(None)),
                observed(1, "reg", Presence::Absent),
                observed(2, "reg", Presence::Absent),
            ],
        )
    };
    let first = builders.report(&ns(), &report).await.unwrap();
    assert_eq!(builders.report(&ns(), &report).await.unwrap(), first);

    let delete = DeleteBuilder {
        force: true,
        request: once("delete"),
        ..DeleteBuilder::new(key())
    };
    let first = builders.delete(&ns(), &delete).await.unwrap();
    assert_eq!(builders.delete(&ns(), &delete).await.unwrap(), first);
    assert_eq!(first.value.generations.len(), 1);
}

async fn an_answer_that_gave_nothing_is_not_remembered(on: &On) {
    on.put_builder(Policy::default()).await;
    let token = token_of(&on.ask(&acquire("a")).await);
    let busy = AcquireBuilder {
        request: once("again"),
        ..acquire("b")
    };
    let before = on.store.revision().await.unwrap();
    assert_eq!(word(&on.ask(&busy).await), "busy a");
    assert_eq!(
        on.store.revision().await.unwrap(),
        before,
        "nothing is written"
    );
    on.complete(token, "reg").await.unwrap();
    assert_eq!(word(&on.ask(&busy).await), "use 1 pinned");
}

async fn a_claim_that_is_given_again_may_have_ended(on: &On) {
    on.put_builder(Policy::default()).await;
    let build = AcquireBuilder {
        request: once("build"),
        ..acquire("a")
    };
    let token = token_of(&on.ask(&build).await);
    on.at(1010);
    on.ask(&acquire("b")).await;
    assert_eq!(token_of(&on.ask(&build).await), token);
    assert!(on.renew(token).await.is_err(), "the first renewal tells");
}

async fn an_id_of_another_request_is_refused(on: &On) {
    let put = PutBuilder {
        request: once("one"),
        ..PutBuilder::new(key(), Policy::default())
    };
    on.store.builders().put(&ns(), &put).await.unwrap();
    let asked = AcquireBuilder {
        request: once("one"),
        ..acquire("a")
    };
    let refused = on.store.builders().acquire(&ns(), &asked).await;
    assert!(matches!(refused, Err(Error::Invalid(invalid)) if invalid.field() == "request_id"));
}
