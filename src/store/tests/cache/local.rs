//! What was built here, whatever lies in the tables.

use super::*;

/// In moby, a child that could not be read was the end of the lookup.
#[tokio::test]
async fn a_corrupt_child_is_passed_over() {
    let on = On::memory().await;
    let base = on.config(&image(&["base"]), None).await;
    let mut newest = image(&["base", "make"]);
    let older = on.config(&newest, Some(base)).await;
    newest["created"] = json!("2026-01-02T00:00:00Z");
    let newest = on.config(&newest, Some(base)).await;
    assert_eq!(on.built_here(base, "make").await, Ok(newest));
    let bytes = schema::config_key(&default(), &newest);
    on.write(|batch| {
        batch.put(bytes.clone(), &b"{}"[..]);
    })
    .await;
    assert_eq!(on.built_here(base, "make").await, Ok(older));
    on.write(|batch| {
        batch.delete(bytes);
    })
    .await;
    assert_eq!(on.built_here(base, "make").await, Ok(older));
    let marks = schema::marks_key(&default(), &older);
    on.write(|batch| {
        batch.put(marks, &b"\xff"[..]);
    })
    .await;
    assert_eq!(
        on.built_here(base, "make").await,
        Err(LocalMiss::NoSuchStep)
    );
}

/// A row of the index that is wrong, however it came there, makes no image the result of a step.
#[tokio::test]
async fn the_index_alone_makes_nothing_the_result_of_a_step() {
    let on = On::memory().await;
    let base = on.config(&image(&["base"]), None).await;
    let other = on.config(&image(&["base", "other"]), Some(base)).await;
    let pulled = on.config(&image(&["base", "make"]), None).await;
    let snapshot = on.store.snapshot().await.unwrap();
    let summary = schema::summary_key(&default(), &base);
    let made = snapshot.get(&[summary]).await.unwrap()[0]
        .clone()
        .unwrap()
        .revision;
    for id in [other, pulled, ConfigId::of(b"nothing")] {
        let row = schema::CacheRow {
            parent: Some(schema::Link { id: base, made }),
            fingerprint: words("make").fingerprint(),
            created: Timestamp::UNIX_EPOCH,
            id,
        };
        let key = schema::cache_key(&default(), &row);
        on.write(|batch| {
            batch.put(key, wire::encode_cache(&amd64()));
        })
        .await;
        assert_eq!(
            on.built_here(base, "make").await,
            Err(LocalMiss::NoSuchStep)
        );
    }
    let garbage = schema::step_part(
        Some(&schema::Link { id: base, made }),
        &words("make").fingerprint(),
    );
    on.write(|batch| {
        batch.put(schema::cache(&default()).key(garbage), &b"\xff"[..]);
    })
    .await;
    assert_eq!(
        on.built_here(base, "make").await,
        Err(LocalMiss::NoSuchStep)
    );
}

/// However it came there: with a parent that nobody remembers, or with one that it was never built on.
#[tokio::test]
async fn a_config_whose_layers_do_not_fit_its_parent_is_no_result_of_a_step() {
    let on = On::memory().await;
    let other = on.config(&image(&["other"]), None).await;
    on.config(&image(&["base", "make"]), Some(other)).await;
    assert_eq!(
        on.built_here(other, "make").await,
        Err(LocalMiss::NoSuchStep)
    );

    let base = on.config(&image(&["base"]), None).await;
    let child = on.config(&image(&["base", "run"]), Some(base)).await;
    assert_eq!(on.built_here(base, "run").await, Ok(child));
    let configs = on.store.configs();
    configs
        .set_parent(&default(), &SetParent::new(child, None))
        .await
        .unwrap();
    let from_scratch = Lookup {
        platform: Some(amd64()),
        ..Lookup::new(None, words("run"))
    };
    let cache = on.store.build_cache();
    let looked = cache.lookup(&default(), &from_scratch).await.unwrap();
    assert_eq!(looked.value.found.unwrap_err().local, LocalMiss::NoSuchStep);
    on.must_be_sound().await;
}
