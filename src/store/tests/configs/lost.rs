//! What moby's image store lost, did wrong or could not do: each of its known defects, by what came of it.

use super::*;

on_every_engine![
    a_config_without_rootfs_is_refused_and_takes_nobody_down,
    a_deleted_config_is_not_found_by_its_beginning,
    a_parent_that_lost_its_child_to_another_is_a_head_again,
    a_link_of_an_unknown_child_leaves_no_child_behind,
    a_config_is_never_its_own_ancestor_and_heads_are_left,
    a_create_that_is_refused_leaves_nothing_to_be_served,
    a_corrupt_config_is_listed_and_can_be_deleted,
    what_was_lost_is_there_again_once_it_was_removed_and_stored_again,
    links_are_told_without_reading_any_config,
    children_and_configs_come_in_order_and_in_pages,
    more_history_than_layers_is_refused_and_less_is_not,
];

async fn refused(on: &On, bytes: &'static str, field: &str) {
    let before = on.store.revision().await.unwrap();
    let refused = on
        .store
        .configs()
        .create(&ns(), &CreateConfig::new(bytes))
        .await;
    let is_said = matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == field);
    assert!(is_said, "{bytes}: {refused:?}");
    assert_eq!(on.store.revision().await.unwrap(), before, "{bytes}");
}

async fn a_config_without_rootfs_is_refused_and_takes_nobody_down(on: &On) {
    refused(on, "{}", "config.rootfs").await;
    refused(on, r#"{"rootfs":null}"#, "config.rootfs").await;
    refused(on, "", "config").await;
    refused(on, "[]", "config").await;
    refused(on, "no json", "config").await;
    assert_eq!(on.ids().await, []);
}

async fn a_deleted_config_is_not_found_by_its_beginning(on: &On) {
    let id = on.create(&draft(&["a"])).await;
    let hex = id.digest().hex();
    on.remove(id).await.unwrap();
    for text in [&hex[..4], &hex[..12], &hex] {
        let found = on
            .store
            .configs()
            .resolve(&ns(), &reference(text), None)
            .await;
        assert!(matches!(found, Err(Error::NotFound(_))), "{text}");
    }
}

async fn a_parent_that_lost_its_child_to_another_is_a_head_again(on: &On) {
    let (a, b) = (
        on.create(&draft(&["a"])).await,
        on.create(&draft(&["b"])).await,
    );
    let child = on.create_from(&draft(&["c"]), a).await;
    let set = on.set_parent(child, Some(b)).await.unwrap().value;
    assert_eq!((set.changed, set.previous), (true, Some(a)));
    assert_eq!(on.children(a).await, []);
    assert_eq!(on.children(b).await, [child]);
    let mut heads = [a, child];
    heads.sort();
    assert_eq!(on.heads().await, heads);
    assert!(!on.set_parent(child, Some(b)).await.unwrap().value.changed);
}

async fn a_link_of_an_unknown_child_leaves_no_child_behind(on: &On) {
    let parent = on.create(&draft(&["a"])).await;
    let before = on.store.revision().await.unwrap();
    let unknown = on.set_parent(id(7), Some(parent)).await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        format!("config {} in namespace ns: not found", id(7))
    );
    let unknown = on.set_parent(parent, Some(id(7))).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))));
    assert_eq!(on.children(parent).await, []);
    assert_eq!(on.heads().await, [parent]);
    assert_eq!(on.store.revision().await.unwrap(), before);
    let none = on.store.configs().children(&ns(), &id(7), &first()).await;
    assert!(matches!(none, Err(Error::NotFound(_))));
}

async fn a_config_is_never_its_own_ancestor_and_heads_are_left(on: &On) {
    let mut ids = Vec::new();
    for layer in ["a", "b", "c"] {
        let parent = ids.last().copied();
        let request = CreateConfig {
            parent,
            ..CreateConfig::new(draft(&[layer]).bytes())
        };
        ids.push(on.create_as(request).await);
    }
    for (child, parent) in [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)] {
        let refused = on.set_parent(ids[child], Some(ids[parent])).await;
        let is_said =
            matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == "parent");
        assert!(is_said, "{child} of {parent}: {refused:?}");
    }
    assert_eq!(on.heads().await, [ids[2]]);
    assert_eq!(on.ancestors(ids[2]).await, [ids[1], ids[0]]);
}

async fn a_create_that_is_refused_leaves_nothing_to_be_served(on: &On) {
    let request = CreateConfig {
        parent: Some(id(7)),
        ..CreateConfig::new(draft(&["a"]).bytes())
    };
    let refused = on.store.configs().create(&ns(), &request).await;
    assert!(matches!(refused, Err(Error::NotFound(_))));
    assert!(matches!(
        on.read(draft(&["a"]).id()).await,
        Err(Error::NotFound(_))
    ));
    let view = on.store.snapshot().await.unwrap();
    assert_eq!(
        view.tables("v1/").await.unwrap(),
        [],
        "not even the namespace"
    );
}

async fn spoil(on: &On, id: ConfigId) {
    on.break_with(|batch| {
        batch.put(schema::config_key(&ns(), &id), "spoilt");
    })
    .await;
}

async fn a_corrupt_config_is_listed_and_can_be_deleted(on: &On) {
    let parent = on.create(&draft(&["a"])).await;
    let id = on.create_from(&draft(&["a", "b"]), parent).await;
    let child = on.create_from(&draft(&["a", "b", "c"]), id).await;
    spoil(on, id).await;
    let said = on.problems().await;
    assert_eq!(
        said,
        ["v1/ns/configs: is not what its id says; delete it, or store it again"]
    );
    assert!(matches!(on.read(id).await, Err(Error::Corrupt(_))));
    let full = on
        .store
        .configs()
        .list_full(&ns(), false, &first())
        .await
        .unwrap();
    let corrupt: Vec<_> = full
        .items
        .iter()
        .filter(|full| full.entry.is_corrupt)
        .collect();
    assert_eq!(corrupt.len(), 1);
    assert_eq!((corrupt[0].entry.id, &corrupt[0].config), (id, &None));
    let basic = on
        .store
        .configs()
        .list(&ns(), false, &first())
        .await
        .unwrap();
    assert_eq!(basic.items.len(), 3, "one row spoils no listing");
    let deleted = on.remove(id).await.unwrap();
    assert_eq!(deleted.orphans, 1);
    assert_eq!(deleted.unreferenced, []);
    assert_eq!(on.parent(child).await, None);
    assert_eq!(on.children(parent).await, []);
}

async fn what_was_lost_is_there_again_once_it_was_removed_and_stored_again(on: &On) {
    let parent = on.create(&draft(&["a"])).await;
    let lost = draft(&["a", "b"]);
    let id = on.create_from(&lost, parent).await;
    let child = on.create_from(&draft(&["a", "b", "c"]), id).await;
    spoil(on, id).await;
    let create = CreateConfig::new(lost.bytes());
    let refused = on.store.configs().create(&ns(), &create).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.ends_with("delete it, and store it again"), "{why}");
    on.remove(id).await.unwrap();
    on.create(&lost).await;
    assert_eq!(on.read(id).await.unwrap().bytes, lost.bytes());
    assert!(on.ids().await.contains(&id));
    assert_eq!(on.parent(child).await, None, "it had to go first");
}

async fn links_are_told_without_reading_any_config(on: &On) {
    let parent = on.create(&draft(&["a"])).await;
    let id = on.create_from(&draft(&["a", "b"]), parent).await;
    spoil(on, parent).await;
    spoil(on, id).await;
    assert_eq!(on.parent(id).await, Some(parent));
    assert_eq!(on.children(parent).await, [id]);
    assert_eq!(on.ancestors(id).await, [parent]);
    let listed = on
        .store
        .configs()
        .list(&ns(), true, &first())
        .await
        .unwrap();
    assert_eq!(listed.items[0].id, id);
    let text = id.to_string();
    let bases = on.store.configs();
    let bases = bases
        .base_of(&ns(), &reference(&text), None, &first())
        .await
        .unwrap();
    assert_eq!(bases.page.items[0].entry.id, parent);
    for lost in [id, parent] {
        on.remove(lost).await.unwrap();
    }
}

async fn children_and_configs_come_in_order_and_in_pages(on: &On) {
    let parent = on.create(&draft(&["a"])).await;
    let mut ids = Vec::new();
    for i in 0..9 {
        let child = draft(&["a"]).then(&i.to_string());
        ids.push(on.create_from(&child, parent).await);
    }
    ids.sort();
    for _ in 0..2 {
        assert_eq!(on.children(parent).await, ids);
        assert_eq!(on.heads().await, ids);
    }
    let page = PageRequest {
        size: 3,
        token: String::new(),
    };
    let configs = on.store.configs();
    let token = configs
        .children(&ns(), &parent, &page)
        .await
        .unwrap()
        .next_token;
    let elsewhere = PageRequest { size: 3, token };
    for refused in [
        configs.children(&ns(), &ids[0], &elsewhere).await.err(),
        configs.ancestors(&ns(), &parent, &elsewhere).await.err(),
        configs.list(&ns(), false, &elsewhere).await.err(),
    ] {
        let field = match &refused {
            Some(Error::Invalid(invalid)) => invalid.field(),
            _ => "",
        };
        assert_eq!(field, "page_token", "{refused:?}");
    }
}

async fn more_history_than_layers_is_refused_and_less_is_not(on: &On) {
    refused(
        on,
        r#"{"rootfs":{"diff_ids":["a"]},"history":[{},{}]}"#,
        "config.history",
    )
    .await;
    for sound in [
        r#"{"rootfs":{"diff_ids":["a"]},"history":[{},{"empty_layer":true}]}"#,
        r#"{"rootfs":{"diff_ids":["a","b"]},"history":[{}]}"#,
        r#"{"rootfs":{"diff_ids":["a"]}}"#,
        r#"{"rootfs":{}}"#,
    ] {
        on.create_as(CreateConfig::new(sound)).await;
    }
}

#[tokio::test]
async fn a_create_that_failed_holds_no_layer() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    let id = on.create(&draft(&["a"])).await;
    kv.plan(0, Fault::Refuse);
    let failed = CreateConfig::new(draft(&["a", "b"]).bytes());
    let failed = on.store.configs().create(&ns(), &failed).await;
    assert!(matches!(failed, Err(Error::Stopped(_))));
    assert_eq!(on.remove(id).await.unwrap().unreferenced.len(), 1);
    on.must_be_sound().await;
}

#[tokio::test]
async fn a_delete_that_failed_says_so_and_one_that_did_not_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Redb::open(dir.path(), Options::default()).unwrap();
    let kv = Arc::new(Faulty::new(open()));
    let on = On::kv(kv.clone(), None).await;
    let id = on.create(&draft(&["a"])).await;
    let kept = on.create(&draft(&["b"])).await;
    kv.plan(0, Fault::Refuse);
    assert!(matches!(on.remove(id).await, Err(Error::Stopped(_))));
    on.read(id).await.unwrap();
    on.remove(id).await.unwrap();
    on.must_be_sound().await;
    drop(kv);
    let on = On::kv(Arc::new(open()), None).await;
    assert_eq!(on.ids().await, [kept]);
    on.must_be_sound().await;
}

#[tokio::test]
async fn a_reopened_store_has_the_links_that_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let open = async || {
        let kv = Redb::open(dir.path(), Options::default()).unwrap();
        On::kv(Arc::new(kv), None).await
    };
    let on = open().await;
    let base = draft(&["a"]);
    let parent = on.create(&base).await;
    let orphan = on.create_from(&draft(&["b"]), parent).await;
    on.remove(parent).await.unwrap();
    on.create(&base).await;
    let child = on.create_from(&draft(&["c"]), parent).await;
    let heads = on.heads().await;
    on.must_be_sound().await;
    let on = open().await;
    assert_eq!(on.children(parent).await, [child]);
    assert_eq!(on.parent(orphan).await, None);
    assert_eq!(on.heads().await, heads);
    on.must_be_sound().await;
}

/// moby reads, hashes and parses each config to list them, and to start.
#[tokio::test]
async fn ten_thousand_configs_are_stored_opened_and_listed() {
    const COUNT: usize = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let open = async || {
        let kv = Redb::open(dir.path(), Options::default()).unwrap();
        On::kv(Arc::new(kv), None).await
    };
    let on = open().await;
    let padding = "x".repeat(2500);
    let started = std::time::Instant::now();
    for some in 0..COUNT / 100 {
        let create = async |i: usize| {
            let number = (100 * some + i).to_string();
            on.create(&draft(&["a", "b"]).then(&number).saying(&padding))
                .await
        };
        join_all((0..100).map(create)).await;
    }
    println!("{COUNT} configs of 3 KB stored in {:?}", started.elapsed());
    on.store.close().await;
    drop(on);
    let started = std::time::Instant::now();
    let on = open().await;
    println!("opened in {:?}; moby: 2.1 s", started.elapsed());
    for full in [false, true] {
        let started = std::time::Instant::now();
        let (mut listed, mut token) = (0, String::new());
        loop {
            let page = PageRequest { size: 1000, token };
            let configs = on.store.configs();
            let (items, next) = if full {
                let page = configs.list_full(&ns(), false, &page).await.unwrap();
                (page.items.len(), page.next_token)
            } else {
                let page = configs.list(&ns(), false, &page).await.unwrap();
                (page.items.len(), page.next_token)
            };
            listed += items;
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, COUNT);
        let what = if full {
            "with their bytes"
        } else {
            "from their summaries"
        };
        println!("listed {what} in {:?}; moby: 0.8 s", started.elapsed());
    }
    on.must_be_sound().await;
}
