//! Rows that are spoilt or lost: found, told, and mended where the rest says how.

use super::*;
use crate::kv::Key;

/// A builder with two images, a pin on the second and a claim.
async fn whole(on: &On) -> PinId {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    on.build_in("reg").await;
    let pin = pin_of(&on.ask(&acquire("user")).await).unwrap();
    let force = AcquireBuilder {
        force: true,
        ..acquire("a")
    };
    on.ask(&force).await;
    pin
}

fn own() -> Key {
    schema::builder_key(&ns(), &key())
}

fn claim() -> Key {
    schema::builder_claim_key(&ns(), &key())
}

fn generation(sequence: u64) -> Key {
    schema::generation_key(&ns(), &key(), Sequence(sequence))
}

async fn broken(breaking: impl Fn(&mut Batch, PinId)) -> On {
    let on = On::memory().await;
    let pin = whole(&on).await;
    let mut batch = Batch::new(0);
    breaking(&mut batch, pin);
    on.store.inner.kv.commit(batch).await.unwrap();
    on
}

/// That so much is told, and is mended but for so much.
async fn is_told(on: &On, told: &str, left: usize) {
    let wrongs = on.wrongs().await;
    assert!(
        wrongs.iter().any(|wrong| wrong.contains(told)),
        "{told}: {wrongs:?}"
    );
    on.store.repair().await.unwrap();
    let wrongs = on.wrongs().await;
    let wrongs: Vec<_> = wrongs
        .iter()
        .filter(|wrong| !wrong.contains("v1/changes"))
        .collect();
    assert_eq!(wrongs.len(), left, "{told}: {wrongs:?}");
}

#[tokio::test]
async fn claims_and_pins_that_lead_nowhere_or_make_no_sense_go() {
    let on = broken(|batch, _| {
        batch.put(claim(), "spoilt");
    })
    .await;
    is_told(&on, "a claim: ", 0).await;
    assert_eq!(on.ask_as("b").await, "use 2 pinned");

    let on = broken(|batch, pin| {
        batch.put(schema::pin_key(&ns(), &key(), pin), "spoilt");
    })
    .await;
    is_told(&on, "a pin: ", 0).await;

    let on = broken(|batch, _| {
        batch.delete(generation(2));
    })
    .await;
    is_told(&on, "is on a generation that is not there", 0).await;
    assert_eq!(on.builder().await.pins, []);

    let on = broken(|batch, _| {
        batch.put(schema::pins(&ns()).key("x"), "");
        batch.put(schema::builder_claims(&ns()).key("x"), "");
        batch.put(schema::build_claims(&ns()).key("x"), "");
        batch.put(schema::generations(&ns()).key("x"), "");
    })
    .await;
    is_told(&on, "is none", 0).await;

    let on = broken(|batch, _| {
        let far = wire::encode_claim(&crate::domain::build::Claim {
            holder: holder("a"),
            token: Token(u64::MAX),
            ttl: ttl(10),
            deadline: Timestamp::MAX,
        });
        batch.put(claim(), far.clone());
        let target = "a@1".parse().unwrap();
        batch.put(schema::build_claim_key(&ns(), &target), far);
    })
    .await;
    is_told(&on, "which nobody was given", 0).await;
    let force = AcquireBuilder {
        force: true,
        ..acquire("b")
    };
    assert_eq!(word(&on.ask(&force).await), "build forced over 2");
}

#[tokio::test]
async fn generations_without_a_builder_go_with_their_pins() {
    let on = broken(|batch, _| {
        batch.delete(own());
    })
    .await;
    is_told(&on, "is of a builder that is not there", 0).await;
    let on = broken(|batch, _| {
        batch.delete(own());
    })
    .await;
    is_told(&on, "is on what is not there", 0).await;
}

#[tokio::test]
async fn a_builder_that_gave_too_few_numbers_is_said_to_have_given_them() {
    let on = broken(|batch, _| {
        let row = wire::BuilderRow {
            last: Sequence(1),
            ..wire::BuilderRow::default()
        };
        batch.put(own(), wire::encode_builder(&row).unwrap());
    })
    .await;
    let corrupt = on.store.builders().get(&ns(), &key()).await;
    assert!(matches!(corrupt, Err(Error::Corrupt(_))));
    is_told(&on, "has a number that its builder did not give", 0).await;
    assert_eq!(on.builder().await.entry.last, Sequence(2));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_can_be_deleted() {
    for spoilt in [own(), generation(1), claim()] {
        let on = broken(|batch, _| {
            batch.put(spoilt.clone(), "spoilt");
        })
        .await;
        assert!(!on.wrongs().await.is_empty());
        let asked = on.store.builders().acquire(&ns(), &acquire("a")).await;
        assert!(matches!(asked, Err(Error::Corrupt(_))), "{asked:?}");
        let request = DeleteBuilder {
            force: true,
            ..DeleteBuilder::new(key())
        };
        on.store.builders().delete(&ns(), &request).await.unwrap();
        let wrongs = on.wrongs().await;
        assert_eq!(wrongs, [""; 0]);
        on.put_builder(Policy::default()).await;
        assert_eq!(on.ask_as("a").await, "build never built");
    }
}

#[tokio::test]
async fn a_note_of_the_time_that_makes_no_sense_keeps_no_store_shut() {
    let on = broken(|batch, _| {
        batch.put(schema::steady(), "spoilt");
    })
    .await;
    is_told(&on, "the note of the steady clock", 0).await;
    let on = broken(|batch, _| {
        batch.put(schema::steady(), "spoilt");
        batch.put(claim(), "spoilt");
    })
    .await;
    let again = On::kv(on.store.inner.kv.clone(), None).await;
    assert_eq!(again.store.status().await.unwrap().builders, 1);
}
