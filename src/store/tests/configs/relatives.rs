//! What is built on what, told by layers alone.

use super::*;

on_every_engine![
    bases_and_descendants_are_told_without_any_parent,
    of_equal_layers_the_longer_history_is_above,
    what_has_no_layers_has_no_relatives,
    a_name_tells_what_is_built_on_its_earlier_generations,
    a_config_is_told_once_and_on_the_newest_base,
    users_of_a_layer_are_told_by_how_much_is_above,
    names_of_relatives_are_told,
    relatives_are_asked_for_in_pages,
];

async fn bases(on: &On, text: &str) -> Vec<(ConfigId, u32)> {
    let configs = on.store.configs();
    let reference = reference(text);
    let found = all(async |page| {
        let found = configs.base_of(&ns(), &reference, None, &page).await?;
        Ok(found.page)
    });
    let found = found.await.into_iter();
    found.map(|base| (base.entry.id, base.layers)).collect()
}

/// A page of bases.
async fn base_page(on: &On, id: ConfigId, page: &PageRequest) -> Result<Bases, Error> {
    let reference = reference(&id.to_string());
    let configs = on.store.configs();
    configs.base_of(&ns(), &reference, None, page).await
}

async fn descendants(on: &On, text: &str, earlier: bool) -> Vec<Descendant> {
    let configs = on.store.configs();
    all(async |page| {
        let request = Descendants {
            earlier_generations: earlier,
            page,
            ..Descendants::of(reference(text))
        };
        configs.descendants(&ns(), &request).await
    })
    .await
}

async fn above(on: &On, id: ConfigId) -> Vec<(ConfigId, u32)> {
    let found = descendants(on, &id.to_string(), false).await;
    let told = |found: Descendant| {
        assert_eq!((found.base, found.generation), (id, None));
        assert!(!found.is_outdated);
        (found.relative.entry.id, found.relative.layers)
    };
    found.into_iter().map(told).collect()
}

async fn bases_and_descendants_are_told_without_any_parent(on: &On) {
    let one = on.create(&draft(&["a"])).await;
    let two = on.create(&draft(&["a", "b"])).await;
    let four = on.create(&draft(&["a", "b", "c", "d"])).await;
    let other = on.create(&draft(&["x", "b"])).await;
    assert_eq!(bases(on, &four.to_string()).await, [(two, 2), (one, 3)]);
    assert_eq!(bases(on, &one.to_string()).await, []);
    assert_eq!(bases(on, &other.to_string()).await, []);
    assert_eq!(above(on, one).await, [(two, 1), (four, 3)]);
    assert_eq!(above(on, four).await, []);
    on.remove(two).await.unwrap();
    assert_eq!(bases(on, &four.to_string()).await, [(one, 3)]);
}

async fn of_equal_layers_the_longer_history_is_above(on: &On) {
    let base = draft(&["a", "b"]);
    let labelled = on.create(&base.clone().then("LABEL x")).await;
    let twice = on.create(&base.clone().then("LABEL x").then("CMD y")).await;
    let other = on.create(&base.clone().then("LABEL z")).await;
    let same = on.create(&base.clone().saying("rebuilt")).await;
    let base = on.create(&base).await;
    let sorted = |mut ids: Vec<(ConfigId, u32)>| {
        ids.sort();
        ids
    };
    let layers = |ids: &[ConfigId]| sorted(ids.iter().map(|id| (*id, 0)).collect());
    assert_eq!(
        bases(on, &twice.to_string()).await,
        layers(&[labelled, base, same])
    );
    assert_eq!(
        bases(on, &labelled.to_string()).await,
        layers(&[base, same])
    );
    assert_eq!(bases(on, &base.to_string()).await, []);
    assert_eq!(above(on, base).await, layers(&[labelled, twice, other]));
    assert_eq!(above(on, labelled).await, layers(&[twice]));
    assert_eq!(above(on, twice).await, []);
}

async fn what_has_no_layers_has_no_relatives(on: &On) {
    let empty = on.create(&draft(&[])).await;
    let more = on.create(&draft(&[]).then("LABEL x")).await;
    on.create(&draft(&["a"])).await;
    for id in [empty, more] {
        assert_eq!(bases(on, &id.to_string()).await, []);
        assert_eq!(above(on, id).await, []);
    }
}

/// Points a name to a config.
async fn release(on: &On, name: &str, id: ConfigId) -> Revision {
    let size = Size::try_from(7u64).unwrap();
    let change = ImageChange::Replace {
        target: Descriptor::new("a/b".parse().unwrap(), id.digest(), size),
        labels: Labels::default(),
    };
    let request = PutImage::new(name.parse().unwrap(), change);
    on.store
        .images()
        .put(&ns(), request)
        .await
        .unwrap()
        .revision
}

async fn a_name_tells_what_is_built_on_its_earlier_generations(on: &On) {
    let (v1, v2) = (draft(&["v1"]), draft(&["v2"]));
    let (v1, v2) = (on.create(&v1).await, on.create(&v2).await);
    let old = on.create(&draft(&["v1", "app"])).await;
    let new = on.create(&draft(&["v2", "app"])).await;
    let first = release(on, "debian:12", v1).await;
    let second = release(on, "debian:12", v2).await;
    let told = |found: &[Descendant]| -> Vec<_> {
        let told = found.iter().map(|found| {
            let id = found.relative.entry.id;
            (id, found.base, found.generation, found.is_outdated)
        });
        told.collect()
    };
    let current = (new, v2, Some(second), false);
    let outdated = (old, v1, Some(first), true);
    let now = descendants(on, "debian:12", false).await;
    assert_eq!(told(&now), [current]);
    let ever = descendants(on, "debian:12", true).await;
    assert_eq!(told(&ever), [current, outdated]);
    // Also of a name that is gone.
    on.delete("ns/debian:12").await.unwrap();
    let ever = descendants(on, "debian:12", true).await;
    assert_eq!(told(&ever), [(new, v2, Some(second), true), outdated]);
    let gone = Descendants::of(reference("debian:12"));
    let gone = on.store.configs().descendants(&ns(), &gone).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}

async fn a_config_is_told_once_and_on_the_newest_base(on: &On) {
    let (v1, v2) = (draft(&["a"]), draft(&["a", "b"]));
    let (v1, v2) = (on.create(&v1).await, on.create(&v2).await);
    let high = on.create(&draft(&["a", "b", "c"])).await;
    let low = on.create(&draft(&["a", "x"])).await;
    release(on, "base:1", v1).await;
    release(on, "base:1", v2).await;
    let found = descendants(on, "base:1", true).await;
    let told: Vec<_> = found
        .iter()
        .map(|found| (found.relative.entry.id, found.base, found.is_outdated))
        .collect();
    // And the newer generation is no descendant of the older one.
    assert_eq!(told, [(high, v2, false), (low, v1, true)]);
}

async fn users_of_a_layer_are_told_by_how_much_is_above(on: &On) {
    let one = on.create(&draft(&["a"])).await;
    let three = on.create(&draft(&["a", "b", "c"])).await;
    let two = on.create(&draft(&["a", "b"])).await;
    let chain = on.read(three).await.unwrap().config.unwrap().chain_ids();
    let configs = on.store.configs();
    let users = async |layer: &crate::domain::ChainId| {
        all(async |page| configs.layer_users(&ns(), layer, &page).await).await
    };
    assert_eq!(users(&chain[0]).await, [one, two, three]);
    assert_eq!(users(&chain[1]).await, [two, three]);
    assert_eq!(users(&chain[2]).await, [three]);
    assert_eq!(
        users(&"sha256:b".into()).await,
        [],
        "a layer with all below it"
    );
}

async fn names_of_relatives_are_told(on: &On) {
    let base = on.create(&draft(&["a"])).await;
    let app = on.create(&draft(&["a", "b"])).await;
    for i in 0..=Configs::MAX_NAMES {
        release(on, &format!("n:{i:03}"), base).await;
    }
    let found = base_page(on, app, &first()).await.unwrap();
    assert_eq!(found.id, app);
    let [base] = &found.page.items[..] else {
        panic!("{found:?}");
    };
    assert_eq!((base.names.len(), base.has_more_names), (100, true));
    assert_eq!(base.names[99], name("n:099"));
}

async fn relatives_are_asked_for_in_pages(on: &On) {
    let base = on.create(&draft(&["a"])).await;
    let mut wanted = Vec::new();
    for i in 0..7 {
        let layers = ["a", "b", "c"];
        let built = draft(&layers[..1 + i % 3]).then(&format!("{i}"));
        wanted.push((i as u32 % 3, on.create(&built).await));
    }
    wanted.sort();
    let wanted: Vec<_> = wanted
        .into_iter()
        .map(|(layers, id)| (id, layers))
        .collect();
    assert_eq!(above(on, base).await, wanted);
    let top = on.create(&draft(&["a", "b", "c", "d"])).await;
    let mut wanted: Vec<_> = wanted
        .into_iter()
        .map(|(id, layers)| (3 - layers, id))
        .collect();
    wanted.push((3, base));
    wanted.sort();
    let wanted: Vec<_> = wanted
        .into_iter()
        .map(|(layers, id)| (id, layers))
        .collect();
    assert_eq!(bases(on, &top.to_string()).await, wanted);
    let one = |token| PageRequest { size: 1, token };
    let found = base_page(on, top, &one(String::new())).await.unwrap();
    let refused = base_page(on, base, &one(found.page.next_token)).await;
    assert!(matches!(refused, Err(Error::Invalid(invalid)) if invalid.field() == "page_token"));
}
