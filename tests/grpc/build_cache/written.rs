//! What a lookup writes, and what it refuses.

use super::*;

#[tokio::test]
async fn a_rehearsed_lookup_tells_what_it_would_make_and_writes_nothing() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let pulled = Built::base("debian").run("make").run("make install");
    let source = store(&mut cache.configs, &pulled).await;
    let before = cache.server.state().await;
    let ask = with_sources(lookup(&base, &step("make")), &[&source]);
    let rehearsed = pb::LookupRequest {
        validate_only: true,
        ..ask.clone()
    };
    let rehearsal = cache.ask(rehearsed).await;
    assert!(Cache::hit_of(&rehearsal).changed);
    assert_eq!(cache.server.state().await, before);
    let answer = cache.ask(ask).await;
    assert_eq!(
        (&answer.result, &answer.sources),
        (&rehearsal.result, &rehearsal.sources)
    );
    assert_ne!(cache.server.state().await, before);
}

#[tokio::test]
async fn a_lookup_with_an_id_is_done_once() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let pulled = Built::base("debian").run("make").run("make install");
    let source = store(&mut cache.configs, &pulled).await;
    let sources = [&*source, "nosuchtag"];
    let ask = pb::LookupRequest {
        request_id: "l1".to_owned(),
        ..with_sources(lookup(&base, &step("make")), &sources)
    };
    let first = cache.ask(ask.clone()).await;
    assert!(Cache::hit_of(&first).changed);
    assert_eq!(cache.ask(ask.clone()).await, first);
    let miss = pb::LookupRequest {
        request_id: "l2".to_owned(),
        ..with_sources(lookup(&base, &step("no such step")), &sources)
    };
    let first = cache.ask(miss.clone()).await;
    assert!(matches!(first.result, Some(Found::Miss(_))), "{first:?}");
    assert_eq!(cache.ask(miss).await, first);
    let other = pb::LookupRequest {
        skip_local: true,
        ..ask
    };
    let status = cache.cache.lookup(other).await.unwrap_err();
    let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
    assert_refused(&status, code, reason, Some("request_id"));
}

#[tokio::test]
async fn a_lookup_that_makes_no_sense_is_refused_by_its_field_and_writes_nothing() {
    let mut cache = Cache::new().await;
    let (base, _) = cache.base_and_child().await;
    let before = cache.server.state().await;
    let good = lookup(&base, &step("make"));
    type Change = fn(&mut pb::LookupRequest);
    let table: [(&str, Change); 18] = [
        ("namespace", |ask| ask.namespace = "a/b".to_owned()),
        ("namespace", |ask| ask.namespace = "-".to_owned()),
        ("parent", |ask| ask.parent = "sha256:ab".to_owned()),
        ("parent", |ask| ask.parent = ask.parent[7..].to_owned()),
        ("container_config", |ask| ask.container_config.clear()),
        ("container_config", |ask| {
            ask.container_config = "[]".to_owned()
        }),
        ("container_config", |ask| {
            ask.container_config = "{".to_owned()
        }),
        ("container_config", |ask| {
            ask.container_config = "null".to_owned()
        }),
        ("container_config", |ask| {
            ask.container_config = format!("{{\"User\":\"{}\"}}", "x".repeat(1 << 20));
        }),
        ("container_config.Env", |ask| {
            ask.container_config = r#"{"Env":{}}"#.to_owned();
        }),
        ("container_config.Cmd[1]", |ask| {
            ask.container_config = r#"{"Cmd":["a",1]}"#.to_owned();
        }),
        ("config", |ask| ask.config = "nope".to_owned()),
        ("platform.architecture", |ask| {
            ask.platform = Some(platform("linux/"));
        }),
        ("platform.os", |ask| {
            ask.platform = Some(platform("li nux/amd64"))
        }),
        ("platform.architecture", |ask| {
            ask.platform = Some(pb::ConfigPlatform {
                architecture: "amd64/v2".to_owned(),
                ..Default::default()
            });
        }),
        ("platform.variant", |ask| {
            ask.platform = Some(platform(&format!("linux/arm/{}", "v".repeat(300))));
        }),
        ("cache_from", |ask| {
            ask.cache_from = vec!["x".to_owned(); 101]
        }),
        ("request_id", |ask| ask.request_id = "a b".to_owned()),
    ];
    for (field, change) in table {
        let mut ask = good.clone();
        change(&mut ask);
        let status = cache.cache.lookup(ask).await.expect_err(field);
        let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
        assert_refused(&status, code, reason, Some(field));
        assert_eq!(cache.server.state().await, before);
    }
}

#[tokio::test]
async fn namespaces_keep_caches_apart() {
    let mut cache = Cache::new().await;
    let (base, child) = cache.base_and_child().await;
    let elsewhere = pb::LookupRequest {
        namespace: "other".to_owned(),
        platform: Some(platform("linux/amd64")),
        ..with_sources(lookup(&base, &step("make")), &[&child])
    };
    let answer = cache.ask(elsewhere).await;
    assert!(matches!(answer.result, Some(Found::Miss(_))), "{answer:?}");
    assert_eq!(answer.skipped.len(), 1);
}
