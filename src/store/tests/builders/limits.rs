//! Builders with as much of everything as there may be.

use super::*;
use crate::domain::Descriptor;
use crate::domain::build::{Generation, Pin};

on_every_engine![
    an_image_whose_record_would_be_too_large_is_refused,
    all_images_and_pins_of_a_builder_can_be_gone_at_once,
    a_builder_that_is_full_can_be_pruned_and_deleted,
    an_image_with_as_much_as_there_may_be_can_be_pruned,
    a_builder_of_the_longest_names_is_one_like_others,
];

/// So many images in one place, and a pin on each.
async fn fill(on: &On, many: u64, image: Descriptor) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    on.ask_as("a").await;
    let builder = on.builder().await;
    let mut batch = Batch::new(0);
    for number in 1..=many {
        let sequence = Sequence(number);
        let generation = Generation {
            sequence,
            image: image.clone(),
            ..builder.generations[0].clone()
        };
        let record = wire::encode_generation(&generation).unwrap();
        batch.put(schema::generation_key(&ns(), &key(), sequence), record);
        let pin = Pin {
            generation: sequence,
            ..builder.pins[0].pin.clone()
        };
        let row = schema::pin_key(&ns(), &key(), PinId(number));
        batch.put(row, wire::encode_pin(&pin));
    }
    batch.delete(schema::pin_key(&ns(), &key(), builder.pins[0].id));
    let own = wire::BuilderRow {
        last: Sequence(many),
        ..wire::BuilderRow::default()
    };
    let record = wire::encode_builder(&own).unwrap();
    batch.put(schema::builder_key(&ns(), &key()), record);
    on.store.inner.kv.commit(batch).await.unwrap();
}

fn annotated(bytes: usize) -> Descriptor {
    let annotations = BTreeMap::from([("a".to_owned(), "x".repeat(bytes))]);
    target("x").with_annotations(annotations).unwrap()
}

async fn all_images_and_pins_of_a_builder_can_be_gone_at_once(on: &On) {
    let many = Builders::MAX_GENERATIONS as u64;
    fill(on, many, target("x")).await;
    let gone = (1..=many).map(|number| observed(number, "reg", Presence::Absent));
    let effects = on.report(gone.collect()).await;
    assert!(effects.iter().all(|effect| *effect == Effect::Dropped));
    let builder = on.builder().await;
    assert_eq!((builder.generations.len(), builder.pins.len()), (0, 0));
}

async fn a_builder_that_is_full_can_be_pruned_and_deleted(on: &On) {
    let builders = on.store.builders();
    let mut many = 275;
    fill(on, many, annotated(15 << 10)).await;
    let force = AcquireBuilder {
        force: true,
        ..acquire("b")
    };
    let full = builders.acquire(&ns(), &force).await;
    assert!(matches!(
        full,
        Err(Error::BuilderFull {
            limit: Builders::MAX_BYTES,
            ..
        })
    ));
    let found = vec![observed(1, "host/a", Presence::Present(None))];
    let request = ReportBuilder::new(key(), found);
    let full = builders.report(&ns(), &request).await;
    assert!(matches!(full, Err(Error::BuilderFull { .. })));
    on.at(2000);
    let pruned = builders.prune(&ns(), &PruneBuilder::new(key())).await;
    let pruned = pruned.unwrap().value.judged.into_iter();
    let goes = pruned.filter(|judged| judged.verdict == Verdict::Remove);
    assert_eq!(goes.count(), many as usize - 1);
    let unsure = (1..=many).map(|number| observed(number, "reg", Presence::Unknown));
    on.report(unsure.collect()).await;
    on.confirm(1, "reg", Removal::Removed).await;
    many -= 1;
    let delete = DeleteBuilder {
        force: true,
        request: Some(RequestId::new("delete", b"delete").unwrap()),
        ..DeleteBuilder::new(key())
    };
    let deleted = builders.delete(&ns(), &delete).await.unwrap();
    assert_eq!(deleted.value.generations.len(), many as usize);
}

async fn an_image_with_as_much_as_there_may_be_can_be_pruned(on: &On) {
    on.put_builder(Policy::default()).await;
    let token = token_of(&on.ask(&acquire("a")).await);
    let mut bytes = 16 << 10;
    loop {
        let large = Built {
            image: annotated(bytes),
            ..built("reg")
        };
        let request = CompleteBuilder::new(key(), token, large);
        match on.store.builders().complete(&ns(), &request).await {
            Ok(_) => break,
            Err(refused) => assert!(matches!(refused, Error::Invalid(_)), "{refused}"),
        }
        bytes -= 8;
    }
    on.report(vec![observed(1, "reg", Presence::Unknown)]).await;
    on.build_in("reg").await;
    let prune = PruneBuilder::new(key());
    assert_eq!(on.prune(&prune).await, "2 newest, 1 remove at reg");
}

async fn an_image_whose_record_would_be_too_large_is_refused(on: &On) {
    on.put_builder(Policy::default()).await;
    let token = token_of(&on.ask(&acquire("a")).await);
    let annotations = BTreeMap::from([("a".to_owned(), "x".repeat(17 << 10))]);
    let large = Built {
        image: target("x").with_annotations(annotations).unwrap(),
        ..built("reg")
    };
    let request = CompleteBuilder::new(key(), token, large);
    let refused = on.store.builders().complete(&ns(), &request).await;
    assert!(matches!(refused, Err(Error::Invalid(invalid)) if invalid.field() == "image"));
    on.complete(token, "reg").await.unwrap();
    let places: Vec<_> = (0..1000)
        .map(|n| observed(1, &format!("host/{n:040}"), Presence::Present(None)))
        .collect();
    let request = ReportBuilder::new(key(), places);
    let refused = on.store.builders().report(&ns(), &request).await;
    assert!(matches!(refused, Err(Error::Invalid(_))));
}

async fn a_builder_of_the_longest_names_is_one_like_others(on: &On) {
    let key = key_of(&"b".repeat(4096), &"r".repeat(4096));
    let request = PutBuilder::new(key.clone(), Policy::default());
    on.store.builders().put(&ns(), &request).await.unwrap();
    let asked = AcquireBuilder {
        key: key.clone(),
        holder: holder(&"h".repeat(4096)),
        ..acquire("a")
    };
    let token = token_of(&on.ask(&asked).await);
    let longest = "p".repeat(4096);
    let request = CompleteBuilder::new(key.clone(), token, built(&longest));
    on.store.builders().complete(&ns(), &request).await.unwrap();
    assert_eq!(word(&on.ask(&asked).await), "use 1 pinned");
    let got = on.store.builders().get(&ns(), &key).await.unwrap().value;
    assert_eq!((got.entry.key, got.pins.len()), (key, 1));
}
