//! The history of sources.

use super::*;

#[tokio::test]
async fn the_last_step_of_a_source_is_the_source_itself() {
    let mut cache = Cache::new().await;
    let pulled = Built::base("debian").run("make");
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let source = store(&mut cache.configs, &pulled).await;
    let ask = with_sources(lookup(&base, &step("make")), &[&source]);
    let answer = cache.ask(ask.clone()).await;
    let hit = Cache::hit_of(&answer);
    assert_eq!(
        (&hit.id, hit.kind(), &hit.source),
        (&source, SOURCE, &source)
    );
    assert!(hit.changed, "it has a parent now");
    assert_eq!(answer.sources, std::slice::from_ref(&source));
    let config = read(&mut cache.configs, &source).await;
    assert_eq!((&config.parent, config.built_locally), (&base, false));
    // Nothing is left to do the next time.
    let before = cache.server.state().await;
    let again = cache.ask(ask).await;
    assert!(!Cache::hit_of(&again).changed);
    assert_eq!(cache.server.state().await, before);
    // And without sources it is nobody's.
    cache.local_miss(lookup(&base, &step("make"))).await;
}

#[tokio::test]
async fn a_whole_build_goes_through_the_history_of_one_source() {
    let mut cache = Cache::new().await;
    let steps = ["unpack debian", "make", "configure", "make install"];
    let pulled = Built::scratch()
        .run(steps[0])
        .run(steps[1])
        .note(steps[2])
        .run(steps[3]);
    let source = store(&mut cache.configs, &pulled).await;
    let other = store(&mut cache.configs, &Built::base("alpine")).await;
    let (mut below, mut sources) = (String::new(), vec![other, source.clone()]);
    for (i, command) in steps.into_iter().enumerate() {
        let request = pb::LookupRequest {
            platform: Some(platform("linux/amd64")),
            cache_from: sources.clone(),
            ..lookup(&below, &step(command))
        };
        let answer = cache.ask(request.clone()).await;
        let hit = Cache::hit_of(&answer).clone();
        let wanted = if i == 3 { SOURCE } else { RESTORED };
        assert_eq!(
            (hit.kind(), &hit.source, hit.changed),
            (wanted, &source, true)
        );
        assert_eq!(
            answer.sources,
            std::slice::from_ref(&source),
            "narrowed to what it goes on from"
        );
        let config = read(&mut cache.configs, &hit.id).await;
        assert_eq!(config.parent, below);
        assert!(!config.built_locally, "never marked as built here");
        assert_eq!(config.history.len(), i + 1);
        assert_eq!(config.diff_ids, pulled.layers()[..config.diff_ids.len()]);

        let before = cache.server.state().await;
        let again = cache.ask(request).await;
        assert_eq!(Cache::hit_of(&again).id, hit.id, "the same each time");
        assert!(!Cache::hit_of(&again).changed);
        assert_eq!(cache.server.state().await, before);
        (below, sources) = (hit.id, answer.sources);
    }
    assert_eq!(below, source);
}

/// moby's restored image had the step itself as its Cmd (#37273), no variant and no container config.
#[tokio::test]
async fn a_restored_config_is_whole() {
    let mut cache = Cache::new().await;
    let base = Built::base("debian")
        .on("linux/arm64/v8")
        .with_config(json!({
            "Env": ["PATH=/bin"], "Cmd": ["bash"], "Entrypoint": ["/init"],
        }));
    let pulled = base.clone().run("make").run("make install");
    let below = store(&mut cache.configs, &base).await;
    let source = store(&mut cache.configs, &pulled).await;
    let ask = with_sources(lookup(&below, &step("make")), &[&source]);
    let (id, kind) = cache.hit(ask.clone()).await;
    assert_eq!(kind, RESTORED);
    let got = cache.configs.get(get(&id)).await.unwrap().into_inner();
    let config: Value = serde_json::from_slice(&got.raw).unwrap();
    assert_eq!(config["config"]["Cmd"], json!(["bash"]));
    assert_eq!(config["config"]["Entrypoint"], json!(["/init"]));
    assert_eq!(
        config["container_config"]["Cmd"],
        json!(["/bin/sh", "-c", "make"])
    );
    assert_eq!(
        (&config["os"], &config["architecture"], &config["variant"]),
        (&json!("linux"), &json!("arm64"), &json!("v8"))
    );
    assert_eq!(config["created"], pulled.json()["history"][1]["created"]);
    assert!(config.get("docker_version").is_none());
    assert!(!got.raw.windows(4).any(|four| four == b"null"));

    let given = pb::LookupRequest {
        config: json!({"Cmd": ["given"]}).to_string(),
        ..ask
    };
    let (id, _) = cache.hit(given).await;
    let got = cache.configs.get(get(&id)).await.unwrap().into_inner();
    let config: Value = serde_json::from_slice(&got.raw).unwrap();
    assert_eq!(config["config"]["Cmd"], json!(["given"]));
}

/// In moby, `--cache-from` switched off what was built here (#32612).
#[tokio::test]
async fn what_was_built_here_counts_beside_sources_unless_it_is_switched_off() {
    let mut cache = Cache::new().await;
    let (base, child) = cache.base_and_child().await;
    let alpine = store(&mut cache.configs, &Built::base("alpine")).await;
    let ask = with_sources(lookup(&base, &step("make")), &[&alpine, "nosuchtag"]);
    let answer = cache.ask(ask.clone()).await;
    let hit = Cache::hit_of(&answer);
    assert_eq!(
        (&hit.id, hit.kind(), hit.source.as_str()),
        (&child, LOCAL, "")
    );
    assert_eq!(answer.sources, [alpine]);
    assert_eq!(answer.skipped[0].reference, "nosuchtag");
    let off = pb::LookupRequest {
        skip_local: true,
        ..ask
    };
    let missed = cache.miss(off).await;
    assert_eq!(missed.local(), pb::LocalMiss::Skipped);
    assert_eq!(missed.sources.len(), 1);
}

#[tokio::test]
async fn what_was_built_here_comes_first_where_a_source_goes_on_from_it() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let made = Built::base("debian").run("make");
    let child = stored(&mut cache.configs, made.built_on(&base)).await;
    let source = store(&mut cache.configs, &made.clone().run("make install")).await;
    let ask = with_sources(lookup(&base, &step("make")), &[&source]);
    assert_eq!(cache.hit(ask.clone()).await, (child.clone(), LOCAL));

    // One that no source goes on from comes after the sources.
    let newer = made.clone().created("2026-12-01T00:00:00Z");
    cache.configs.delete(delete(&child)).await.unwrap();
    let elsewhere = newer.with_config(json!({"Cmd": ["other"]}));
    let mut changed = elsewhere.json();
    changed["rootfs"]["diff_ids"][1] = json!(digest("built again"));
    let request = pb::CreateConfigRequest {
        parent: base.clone(),
        built_locally: true,
        ..crate::common::configs::create(changed.to_string())
    };
    let rebuilt = stored(&mut cache.configs, request).await;
    assert_eq!(cache.hit(ask.clone()).await.1, RESTORED);
    let alone = lookup(&base, &step("make"));
    assert_eq!(cache.hit(alone).await, (rebuilt, LOCAL));
}

#[tokio::test]
async fn sources_are_tried_in_their_order_and_each_miss_has_its_reason() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let built = |command: &str| Built::base("debian").run(command);
    let elsewhere = store(&mut cache.configs, &built("make").on("linux/s390x")).await;
    let alpine = store(&mut cache.configs, &Built::base("alpine").run("make")).await;
    let other = store(&mut cache.configs, &built("make clean")).await;
    let mut unclear = built("make").json();
    unclear["history"] = json!([unclear["history"][0]]);
    unclear["comment"] = json!("one layer more than steps");
    let request = crate::common::configs::create(unclear.to_string());
    let unclear = stored(&mut cache.configs, request).await;
    let sources = [&*elsewhere, &alpine, &other, &unclear];
    let ask = with_sources(lookup(&base, &step("make")), &sources);
    let before = cache.server.state().await;
    let missed = cache.miss(ask.clone()).await;
    assert_eq!(missed.local(), pb::LocalMiss::NoSuchStep);
    let told: Vec<_> = missed
        .sources
        .iter()
        .map(|miss| (&*miss.source, miss.reason(), &*miss.created_by))
        .collect();
    assert_eq!(
        told,
        [
            (&*elsewhere, pb::SourceMissReason::OtherPlatform, ""),
            (&*alpine, pb::SourceMissReason::OtherParent, ""),
            (
                &*other,
                pb::SourceMissReason::OtherStep,
                "/bin/sh -c make clean"
            ),
            (&*unclear, pb::SourceMissReason::UnclearHistory, ""),
        ]
    );
    assert_eq!(cache.server.state().await, before);

    let first = store(&mut cache.configs, &built("make").run("first")).await;
    let second = store(&mut cache.configs, &built("make").run("second")).await;
    let both = with_sources(ask.clone(), &[&other, &second, &first]);
    let answer = cache.ask(both).await;
    assert_eq!(Cache::hit_of(&answer).source, second);
    assert_eq!(answer.sources, [second]);
    let unknown = pb::LookupRequest {
        platform: Some(platform("linux/amd64")),
        ..with_sources(lookup(&digest("absent"), &step("make")), &[&first])
    };
    let missed = cache.miss(unknown).await;
    assert_eq!(missed.local(), pb::LocalMiss::UnknownParent);
    assert_eq!(
        missed.sources[0].reason(),
        pb::SourceMissReason::UnknownParent
    );
}

/// moby did not look at the platform of a source.
#[tokio::test]
async fn a_source_for_another_platform_is_no_source() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let source = Built::base("debian").run("make").on("linux/arm64");
    let source = store(&mut cache.configs, &source).await;
    let ask = with_sources(lookup(&base, &step("make")), &[&source]);
    let missed = cache.miss(ask.clone()).await;
    assert_eq!(
        missed.sources[0].reason(),
        pb::SourceMissReason::OtherPlatform
    );
    let for_it = pb::LookupRequest {
        platform: Some(platform("linux/arm64")),
        ..ask
    };
    assert_eq!(cache.hit(for_it).await.1, SOURCE);
}

/// moby joined the words of a step, so that `["a b", "c"]` was `["a", "b", "c"]`.
#[tokio::test]
async fn the_words_of_a_last_step_are_compared_each_by_itself() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let mut pulled = Built::base("debian").run("x").json();
    pulled["history"][1]["created_by"] = json!("a b c");
    pulled["container_config"] = json!({"Cmd": ["a b", "c"]});
    let request = crate::common::configs::create(pulled.to_string());
    let source = stored(&mut cache.configs, request).await;
    let ask = |words: Value| with_sources(lookup(&base, &json!({"Cmd": words})), &[&source]);
    let missed = cache.miss(ask(json!(["a", "b", "c"]))).await;
    assert_eq!(missed.sources[0].reason(), pb::SourceMissReason::OtherStep);
    assert_eq!(cache.hit(ask(json!(["a b", "c"]))).await, (source, SOURCE));
}

/// moby's restored image had the layers of the parent and then its own lowest one again.
#[tokio::test]
async fn a_parent_with_layers_and_no_history_is_unclear() {
    let mut cache = Cache::new().await;
    let source = Built::base("debian").run("make").run("make install");
    let bare = json!({
        "os": "linux", "architecture": "amd64",
        "rootfs": {"diff_ids": source.layers()[..1]},
    });
    let base = stored(
        &mut cache.configs,
        crate::common::configs::create(bare.to_string()),
    )
    .await;
    let source = store(&mut cache.configs, &source).await;
    let ask = with_sources(lookup(&base, &step("unpack debian")), &[&source]);
    let before = cache.server.state().await;
    let missed = cache.miss(ask).await;
    assert_eq!(
        missed.sources[0].reason(),
        pb::SourceMissReason::UnclearHistory
    );
    assert_eq!(cache.server.state().await, before);
}

/// In moby, the parent of a source was whatever the last build said (and its old link stayed).
#[tokio::test]
async fn a_source_keeps_the_parent_that_it_has() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let other = store(&mut cache.configs, &Built::base("alpine")).await;
    let source = store(&mut cache.configs, &Built::base("debian").run("make")).await;
    cache
        .configs
        .set_parent(set_parent(&source, &other))
        .await
        .unwrap();
    let before = cache.server.state().await;
    let ask = with_sources(lookup(&base, &step("make")), &[&source]);
    let answer = cache.ask(ask).await;
    let hit = Cache::hit_of(&answer);
    assert_eq!((&hit.id, hit.changed), (&source, false));
    assert_eq!(parent(&mut cache.configs, &source).await, other);
    assert_eq!(cache.server.state().await, before);
}

/// moby linked them in a circle, and the next build ended the daemon.
#[tokio::test]
async fn a_hit_that_would_close_a_circle_of_parents_is_a_hit_without_a_link() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let source = store(&mut cache.configs, &Built::base("debian").run("make")).await;
    cache
        .configs
        .set_parent(set_parent(&base, &source))
        .await
        .unwrap();
    let before = cache.server.state().await;
    let ask = with_sources(lookup(&base, &step("make")), &[&source]);
    let answer = cache.ask(ask).await;
    let hit = Cache::hit_of(&answer);
    assert_eq!((&hit.id, hit.kind(), hit.changed), (&source, SOURCE, false));
    assert_eq!(parent(&mut cache.configs, &source).await, "");
    assert_eq!(cache.server.state().await, before);
}

#[tokio::test]
async fn what_leads_to_no_config_is_told_and_does_not_end_the_lookup() {
    let mut cache = Cache::new().await;
    let mut images = cache.server.images().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    for arch in ["linux/amd64", "linux/arm64"] {
        let request = pb::CreateConfigRequest {
            targets: vec![digest("index")],
            ..Built::base("debian").run("make").on(arch).create()
        };
        stored(&mut cache.configs, request).await;
    }
    images.put(put("app:1", "index")).await.unwrap();
    images.put(put("bare:1", "nothing")).await.unwrap();
    let wrong = ["nosuchtag", "", "sha256:abc", &digest("absent"), "bare:1"];
    let mut sources = wrong.to_vec();
    sources.push("app:1");
    sources.push("app:1");
    let ask = with_sources(lookup(&base, &step("make")), &sources);
    let answer = cache.ask(ask).await;
    let source = Built::base("debian").run("make").id();
    assert_eq!(Cache::hit_of(&answer).id, source, "that of the platform");
    assert_eq!(answer.sources, [source], "each once");
    let told: Vec<&str> = answer
        .skipped
        .iter()
        .map(|skipped| &*skipped.reference)
        .collect();
    assert_eq!(told, wrong);
    assert!(
        answer
            .skipped
            .iter()
            .all(|skipped| !skipped.reason.is_empty())
    );
}
