//! One config: stored, read, marked, removed.

use super::*;

on_every_engine![
    a_config_is_stored_byte_for_byte_under_its_digest,
    the_same_bytes_again_change_nothing,
    marks_change_alone_and_the_etag_with_them,
    a_touch_is_no_change_of_the_config,
    an_etag_that_is_another_is_refused,
    only_a_head_goes_when_that_is_asked_for,
    a_removed_config_leaves_nothing,
    orphans_have_no_parent_and_get_none_by_the_same_bytes_again,
    what_an_orphan_was_built_by_is_no_step_from_scratch,
    a_sweep_removes_what_is_left_of_a_parent,
    targets_are_linked_once_and_unlinked,
    more_targets_than_a_config_may_have_are_refused,
    more_configs_than_a_target_may_have_are_refused,
    a_namespace_with_configs_is_not_empty,
    a_namespace_that_came_with_a_config_is_not_told_of,
    a_config_of_a_thousand_layers_is_stored_and_removed,
    pages_end_at_their_bytes,
];

async fn a_config_is_stored_byte_for_byte_under_its_digest(on: &On) {
    let text =
        " {\"rootfs\": {\"type\": \"layers\", \"diff_ids\": [\"sha256:a\"]}, \"os\": \"linux\"}\n";
    let at = on
        .store
        .configs()
        .create(&ns(), &CreateConfig::new(text))
        .await
        .unwrap();
    assert!(at.value.created && at.value.changed);
    let stored = on.read(at.value.stored.entry.id).await.unwrap();
    assert_eq!(stored, at.value.stored);
    assert_eq!(stored.bytes, text);
    assert_eq!(stored.entry.id, ConfigId::of(text.as_bytes()));
    assert_eq!(stored.entry.size, text.len() as u64);
    assert_eq!(stored.entry.platform.os, "linux");
    assert_eq!(stored.entry.revision, at.revision);
    assert_eq!(stored.entry.stored_at.seconds(), 1000);
    assert_eq!(on.ids().await, [stored.entry.id]);
}

async fn the_same_bytes_again_change_nothing(on: &On) {
    let parent = on.create(&draft(&["p"])).await;
    let child = draft(&["p", "c"]);
    let id = on.create_from(&child, parent).await;
    let before = on.read(id).await.unwrap();
    on.at(2000);
    let again = CreateConfig {
        parent: Some(id_of_nothing()),
        built_locally: true,
        ..CreateConfig::new(child.bytes())
    };
    let again = on.store.configs().create(&ns(), &again).await.unwrap();
    assert!(!again.value.created && !again.value.changed);
    assert_eq!(again.value.stored, before);
    assert_eq!(on.store.revision().await.unwrap(), before.entry.revision);
}

fn id_of_nothing() -> ConfigId {
    id(0xee)
}

async fn marks_change_alone_and_the_etag_with_them(on: &On) {
    let id = on.create(&draft(&["a"])).await;
    let before = on.read(id).await.unwrap().entry;
    let mark = |built| MarkConfig {
        built_locally: Some(built),
        ..MarkConfig::new(id)
    };
    let configs = on.store.configs();
    let marked = configs.mark(&ns(), &mark(true)).await.unwrap();
    assert!(marked.value.changed && marked.value.entry.built_locally);
    assert_eq!(marked.value.entry.revision, marked.revision);
    let after = on.read(id).await.unwrap().entry;
    assert_eq!(after, marked.value.entry);
    assert!(after.revision > before.revision);
    let again = configs.mark(&ns(), &mark(true)).await.unwrap();
    assert!(!again.value.changed);
    assert_eq!(again.value.entry, after);
    let nothing = configs.mark(&ns(), &MarkConfig::new(id)).await.unwrap();
    assert!(!nothing.value.changed);
    let back = configs.mark(&ns(), &mark(false)).await.unwrap();
    assert!(!back.value.entry.built_locally);
}

async fn a_touch_is_no_change_of_the_config(on: &On) {
    let id = on.create(&draft(&["a"])).await;
    let before = on.read(id).await.unwrap().entry;
    assert_eq!(before.touched_at, None);
    for seconds in [2000, 3000] {
        on.at(seconds);
        let touch = MarkConfig {
            touch: true,
            ..MarkConfig::new(id)
        };
        let touched = on.store.configs().mark(&ns(), &touch).await.unwrap().value;
        assert!(touched.changed);
        let after = on.read(id).await.unwrap().entry;
        assert_eq!(touched.entry, after);
        assert_eq!(after.touched_at.unwrap().seconds(), seconds);
        assert_eq!(after.revision, before.revision);
    }
}

async fn an_etag_that_is_another_is_refused(on: &On) {
    let parent = on.create(&draft(&["p"])).await;
    let id = on.create(&draft(&["a"])).await;
    let current = on.read(id).await.unwrap().entry.revision;
    let configs = on.store.configs();
    for etag in [Revision(1), Revision(99)] {
        let if_etag = Some(etag);
        let is_refused = |error: Error| match error {
            Error::EtagMismatch { current: now, .. } => assert_eq!(now, current),
            Error::UnknownRevision { asked, .. } => assert_eq!(asked, Revision(99)),
            other => panic!("{other}"),
        };
        let delete = DeleteConfig {
            if_etag,
            ..DeleteConfig::new(id)
        };
        is_refused(configs.delete(&ns(), &delete).await.unwrap_err());
        let mark = MarkConfig {
            if_etag,
            touch: true,
            ..MarkConfig::new(id)
        };
        is_refused(configs.mark(&ns(), &mark).await.unwrap_err());
        let set = SetParent {
            if_etag,
            ..SetParent::new(id, Some(parent))
        };
        is_refused(configs.set_parent(&ns(), &set).await.unwrap_err());
    }
    // Links move it.
    on.link(id, *target("one").digest()).await;
    let moved = on.read(id).await.unwrap().entry.revision;
    assert!(moved > current);
    let delete = DeleteConfig {
        if_etag: Some(moved),
        ..DeleteConfig::new(id)
    };
    configs.delete(&ns(), &delete).await.unwrap();
}

async fn only_a_head_goes_when_that_is_asked_for(on: &On) {
    let parent = on.create(&draft(&["p"])).await;
    let child = on.create_from(&draft(&["p", "c"]), parent).await;
    let delete = |id| DeleteConfig {
        must_be_head: true,
        ..DeleteConfig::new(id)
    };
    let configs = on.store.configs();
    let refused = configs.delete(&ns(), &delete(parent)).await.unwrap_err();
    assert!(matches!(refused, Error::HasChildren(_)), "{refused}");
    configs.delete(&ns(), &delete(child)).await.unwrap();
    configs.delete(&ns(), &delete(parent)).await.unwrap();
    assert_eq!(on.ids().await, []);
}

async fn a_removed_config_leaves_nothing(on: &On) {
    let parent = on.create(&draft(&["p"])).await;
    let built = draft(&["p", "c"]).built_by("make c", 7);
    let id = on.build(&built, Some(parent)).await;
    on.link(id, *target("one").digest()).await;
    let touch = MarkConfig {
        touch: true,
        ..MarkConfig::new(id)
    };
    on.store.configs().mark(&ns(), &touch).await.unwrap();
    assert_eq!(on.heads().await, [id]);
    let deleted = on.remove(id).await.unwrap();
    assert_eq!(deleted.orphans, 0);
    let chain = built_chain(&built);
    let unreferenced: Vec<_> = deleted
        .unreferenced
        .iter()
        .map(|layer| layer.chain_id.as_str())
        .collect();
    assert_eq!(unreferenced, [chain[1].as_str()]);
    assert_eq!(deleted.unreferenced[0].diff_id.as_str(), "c");
    assert_eq!(on.heads().await, [parent]);
    on.remove(parent).await.unwrap();
    let view = on.store.snapshot().await.unwrap();
    let left = view.tables("v1/ns/").await.unwrap();
    assert_eq!(left, [], "nothing of a config that had no children");
    assert!(matches!(on.read(id).await, Err(Error::NotFound(_))));
}

fn built_chain(draft: &Draft) -> Vec<crate::domain::ChainId> {
    let config = crate::domain::ImageConfig::parse(&draft.bytes()).unwrap();
    config.chain_ids()
}

async fn orphans_have_no_parent_and_get_none_by_the_same_bytes_again(on: &On) {
    let base = draft(&["p"]);
    let parent = on.create(&base).await;
    let child = on.create_from(&draft(&["p", "c"]), parent).await;
    assert_eq!(on.remove(parent).await.unwrap().orphans, 1);
    assert_eq!(on.parent(child).await, None);
    assert_eq!(on.read(child).await.unwrap().entry.parent, None);
    assert_eq!(on.create(&base).await, parent);
    assert_eq!(on.parent(child).await, None);
    assert_eq!(on.children(parent).await, []);
    let mut both = [parent, child];
    both.sort();
    assert_eq!(on.heads().await, both);
    // Nor does its next removal lose it one.
    assert_eq!(on.remove(parent).await.unwrap().orphans, 0);
    on.create(&base).await;
    assert!(
        on.set_parent(child, Some(parent))
            .await
            .unwrap()
            .value
            .changed
    );
    assert_eq!(on.children(parent).await, [child]);
}

async fn what_an_orphan_was_built_by_is_no_step_from_scratch(on: &On) {
    let parent = on.create(&draft(&["p"])).await;
    let built = draft(&["p", "c"]).built_by("make c", 7);
    let child = on.build(&built, Some(parent)).await;
    on.remove(parent).await.unwrap();
    assert_eq!(from_scratch(on).await, []);
    // Nor by a mark.
    for built_locally in [false, true] {
        let mark = MarkConfig {
            built_locally: Some(built_locally),
            ..MarkConfig::new(child)
        };
        on.store.configs().mark(&ns(), &mark).await.unwrap();
        assert_eq!(from_scratch(on).await, []);
        assert_eq!(on.problems().await, [""; 0]);
    }
    on.store.sweep().await.unwrap();
    let mark = MarkConfig {
        built_locally: Some(false),
        ..MarkConfig::new(child)
    };
    on.store.configs().mark(&ns(), &mark).await.unwrap();
}

/// The steps that start from nothing.
async fn from_scratch(on: &On) -> Vec<ConfigId> {
    let rows = crate::kv::Rows::starting_with(schema::cache(&ns()), &schema::steps_part(None));
    let view = on.store.snapshot().await.unwrap();
    let found = view.scan(&rows, 999).await.unwrap().rows;
    let steps = found
        .iter()
        .map(|(row, _)| schema::parse_cache_row(row).unwrap().id);
    steps.collect()
}

async fn a_sweep_removes_what_is_left_of_a_parent(on: &On) {
    let parent = on.create(&draft(&["p"])).await;
    for i in 0..30 {
        let built = draft(&["p"]).then(&format!("{i}")).built_by("x", i);
        on.build(&built, Some(parent)).await;
    }
    assert_eq!(on.remove(parent).await.unwrap().orphans, 30);
    let view = on.store.snapshot().await.unwrap();
    assert_eq!(view.count(&schema::children(&ns())).await.unwrap(), 30);
    assert_eq!(view.count(&schema::cache(&ns())).await.unwrap(), 30);
    let swept = on.store.sweep().await.unwrap();
    assert_eq!((swept.parents, swept.has_more), (1, false));
    let view = on.store.snapshot().await.unwrap();
    for table in [
        schema::children(&ns()),
        schema::cache(&ns()),
        schema::gone(&ns()),
    ] {
        assert_eq!(view.count(&table).await.unwrap(), 0, "{table}");
    }
    assert_eq!(on.store.sweep().await.unwrap().parents, 0);
    assert_eq!(on.heads().await.len(), 30);
}

async fn targets_are_linked_once_and_unlinked(on: &On) {
    let (one, two) = (*target("one").digest(), *target("two").digest());
    let created = CreateConfig {
        targets: vec![one, one],
        ..CreateConfig::new(draft(&["a"]).bytes())
    };
    let id = on.create_as(created).await;
    assert!(!on.link(id, one).await);
    let again = CreateConfig {
        targets: vec![one, two],
        ..CreateConfig::new(draft(&["a"]).bytes())
    };
    let again = on.store.configs().create(&ns(), &again).await.unwrap();
    assert!(!again.value.created && again.value.changed);
    let mut targets = vec![one, two];
    targets.sort();
    assert_eq!(again.value.stored.targets, targets);
    assert_eq!(again.value.stored.entry.revision, again.revision);
    let stored = on.read(id).await.unwrap();
    assert_eq!(stored, again.value.stored);
    let unlink = LinkConfig::new(id, one);
    for there in [true, false] {
        let unlinked = on.store.configs().unlink(&ns(), &unlink).await.unwrap();
        assert_eq!(unlinked.value, there);
    }
    assert_eq!(on.read(id).await.unwrap().targets, [two]);
    let unknown = LinkConfig::new(id_of_nothing(), one);
    for refused in [
        on.store.configs().link(&ns(), &unknown).await,
        on.store.configs().unlink(&ns(), &unknown).await,
    ] {
        assert!(matches!(refused, Err(Error::NotFound(_))));
    }
}

async fn more_targets_than_a_config_may_have_are_refused(on: &On) {
    let digests: Vec<Digest> = (0..=Configs::MAX_TARGETS)
        .map(|i| *target(&i.to_string()).digest())
        .collect();
    let create = |targets: &[Digest]| CreateConfig {
        targets: targets.to_vec(),
        ..CreateConfig::new(draft(&["a"]).bytes())
    };
    let configs = on.store.configs();
    let refused = configs.create(&ns(), &create(&digests)).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(invalid) if invalid.field() == "targets"));
    let id = on.create_as(create(&digests[1..])).await;
    for refused in [
        configs.create(&ns(), &create(&digests[..1])).await.err(),
        configs
            .link(&ns(), &LinkConfig::new(id, digests[0]))
            .await
            .err(),
    ] {
        assert!(matches!(
            refused,
            Some(Error::ConfigFull { limit: 1000, .. })
        ));
    }
    assert!(!on.link(id, digests[1]).await);
    on.remove(id).await.unwrap();
    let view = on.store.snapshot().await.unwrap();
    assert_eq!(view.count(&schema::targets(&ns())).await.unwrap(), 0);
}

async fn more_configs_than_a_target_may_have_are_refused(on: &On) {
    let one = *target("one").digest();
    let create = async |i: usize| {
        let request = CreateConfig {
            targets: vec![one],
            ..CreateConfig::new(draft(&["a"]).then(&i.to_string()).bytes())
        };
        on.store.configs().create(&ns(), &request).await
    };
    let all = join_all((0..Configs::MAX_OF_TARGET + 50).map(create)).await;
    let refused: Vec<Error> = all.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 50);
    for refused in refused {
        assert!(matches!(refused, Error::TargetFull { target, .. } if *target == one));
    }
    let id = on.create(&draft(&["b"])).await;
    let refused = on
        .store
        .configs()
        .link(&ns(), &LinkConfig::new(id, one))
        .await;
    assert!(matches!(refused, Err(Error::TargetFull { .. })));
}

async fn a_namespace_with_configs_is_not_empty(on: &On) {
    on.create(&draft(&["a"])).await;
    on.create(&draft(&["b"])).await;
    let namespaces = on.store.namespaces();
    let entry = namespaces.get(&ns()).await.unwrap().value;
    assert_eq!((entry.contents.images, entry.contents.configs), (0, 2));
    let delete = |force| DeleteNamespace {
        name: ns(),
        force,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    let refused = namespaces.delete(&delete(false)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "ns still holds 2 configs; remove them first, or force it"
    );
    let gone = namespaces.delete(&delete(true)).await.unwrap().value;
    assert_eq!(gone.contents.configs, 2);
    let view = on.store.snapshot().await.unwrap();
    assert_eq!(view.tables("v1/ns/").await.unwrap(), []);
    assert_eq!(on.store.status().await.unwrap().configs, 0);
    on.create(&draft(&["a"])).await;
    let status = on.store.status().await.unwrap();
    assert_eq!((status.configs, status.records), (1, 2));
}

async fn a_namespace_that_came_with_a_config_is_not_told_of(on: &On) {
    let mut watch = on.store.watch().await.unwrap().value;
    on.create(&draft(&["a"])).await;
    on.put("other/x", "one").await;
    let told = loop {
        let change = watch.next().await.unwrap().unwrap();
        if !change.events.is_empty() {
            break change.events;
        }
    };
    assert!(
        matches!(&told[..], [StoreEvent::ImageCreated(_)]),
        "{told:?}"
    );
}

async fn a_config_of_a_thousand_layers_is_stored_and_removed(on: &On) {
    let layers: Vec<String> = (0..1024).map(|i| format!("sha256:{i:064}")).collect();
    let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
    let id = on.create(&draft(&layers)).await;
    let below = on.create(&draft(&layers[..1000])).await;
    assert_eq!(on.remove(id).await.unwrap().unreferenced.len(), 24);
    assert_eq!(on.remove(below).await.unwrap().unreferenced.len(), 1000);
}

async fn pages_end_at_their_bytes(on: &On) {
    let long = "x".repeat(400 << 10);
    for i in 0..4 {
        on.create(&draft(&["a"]).saying(&format!("{i}{long}")))
            .await;
    }
    let configs = on.store.configs();
    let page = configs.list_full(&ns(), false, &first()).await.unwrap();
    assert_eq!(page.items.len(), 2, "of 400 KiB each");
    assert!(!page.next_token.is_empty());
    let basic = configs.list(&ns(), false, &first()).await.unwrap();
    assert_eq!((basic.items.len(), basic.next_token.as_str()), (4, ""));
    assert_eq!(on.ids().await.len(), 4);
}
