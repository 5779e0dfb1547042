//! Rows of targets that are spoilt or lost: found, told, and what mends them.

use super::*;

/// What verify says is wrong, but for the log of changes.
async fn wrongs(on: &On) -> Vec<String> {
    let verified = on.store.verify().await.unwrap();
    let all = verified.problems.iter().map(Problem::to_string);
    all.filter(|wrong| !wrong.contains("v1/changes")).collect()
}

async fn broken(breaking: impl Fn(&mut Batch)) -> On {
    let on = On::memory().await;
    on.declare("a; b<-a; c").await;
    let mut batch = Batch::new(0);
    breaking(&mut batch);
    on.store.inner.kv.commit(batch).await.unwrap();
    on
}

fn row(key: &str) -> crate::kv::Key {
    schema::build_target_key(&ns(), &key_of(key))
}

/// That it is told, and that nothing can be declared while it is so.
async fn is_told(on: &On, told: &str) {
    let wrongs = wrongs(on).await;
    assert!(
        wrongs.iter().any(|wrong| wrong.contains(told)),
        "{wrongs:?}"
    );
}

#[tokio::test]
async fn a_target_that_cannot_be_read_goes_and_can_be_declared_again() {
    let on = broken(|batch| {
        batch.put(row("a"), "spoilt");
        // Who has loaded the graph does not see it otherwise.
        batch.put(schema::build_graph_key(&ns()), "");
    })
    .await;
    is_told(&on, "the record of build target a@1").await;
    assert!(matches!(on.apply("d").await, Err(Error::Corrupt(_))));
    assert_eq!(on.store.repair().await.unwrap(), 2);
    is_told(&on, "a of b@1 can not be found").await;
    on.declare("a").await;
    assert_eq!(wrongs(&on).await, [""; 0]);
    assert_eq!(on.keys().await, "a b c");
}

#[tokio::test]
async fn a_target_that_was_lost_is_missed_and_can_be_declared_again() {
    let on = broken(|batch| {
        batch.delete(row("a"));
        batch.put(schema::build_graph_key(&ns()), "");
    })
    .await;
    is_told(&on, "a of b@1 can not be found").await;
    let calls = on.store.build_targets();
    let next = calls.claim_next(&ns(), &claiming("w", BUILD)).await;
    assert!(matches!(next, Err(Error::Corrupt(_))));
    assert!(matches!(on.apply("d").await, Err(Error::Graph(_))));
    on.declare("a; d").await;
    assert_eq!(wrongs(&on).await, [""; 0]);
    assert_eq!(on.keys().await, "a b c d");
}

#[tokio::test]
async fn a_graph_without_its_row_gets_one() {
    let on = broken(|batch| {
        batch.delete(schema::build_graph_key(&ns()));
    })
    .await;
    is_told(&on, "is missing, and there are targets").await;
    on.store.repair().await.unwrap();
    assert_eq!(wrongs(&on).await, [""; 0]);
}
