//! What was built here.

use super::*;

#[tokio::test]
async fn a_step_that_was_built_here_is_found_among_the_children_of_its_parent() {
    let mut cache = Cache::new().await;
    let (base, child) = cache.base_and_child().await;
    assert_eq!(
        cache.hit(lookup(&base, &step("make"))).await,
        (child.clone(), LOCAL)
    );
    let no_such = cache.local_miss(lookup(&base, &step("make install"))).await;
    assert_eq!(no_such, pb::LocalMiss::NoSuchStep);
    let no_such = cache.local_miss(lookup(&child, &step("make"))).await;
    assert_eq!(no_such, pb::LocalMiss::NoSuchStep);
    let skipped = pb::LookupRequest {
        skip_local: true,
        ..lookup(&base, &step("make"))
    };
    assert_eq!(cache.local_miss(skipped).await, pb::LocalMiss::Skipped);
    let unknown = pb::LookupRequest {
        platform: Some(platform("linux/amd64")),
        ..lookup(&digest("absent"), &step("make"))
    };
    assert_eq!(
        cache.local_miss(unknown).await,
        pb::LocalMiss::UnknownParent
    );
}

#[tokio::test]
async fn a_step_on_nothing_is_found_among_the_configs_without_a_parent() {
    let mut cache = Cache::new().await;
    let built = Built::base("debian").built_on("");
    let id = stored(&mut cache.configs, built).await;
    let found = cache.hit(from_scratch(&step("unpack debian"))).await;
    assert_eq!(found, (id, LOCAL));
    let pulled = Built::base("alpine").create();
    stored(&mut cache.configs, pulled).await;
    let missed = cache.local_miss(from_scratch(&step("unpack alpine"))).await;
    assert_eq!(missed, pb::LocalMiss::NoSuchStep);
    let status = cache
        .cache
        .lookup(lookup("", &step("unpack debian")))
        .await
        .unwrap_err();
    let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
    assert_refused(&status, code, reason, Some("platform"));
}

#[tokio::test]
async fn of_several_results_the_newest_wins_and_of_equally_new_ones_the_lowest_id() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let child = Built::base("debian").run("make");
    let ask = lookup(&base, &step("make"));
    for time in [
        "2026-01-02T00:00:00.000000001Z",
        "2026-01-01T00:00:00Z",
        "1900-01-01T00:00:00Z",
        "2026-01-02T01:00:00.000000000+01:00",
    ] {
        let built = child.clone().created(time);
        stored(&mut cache.configs, built.built_on(&base)).await;
    }
    let newest = child.clone().created("2026-01-02T00:00:00.000000001Z");
    assert_eq!(cache.hit(ask.clone()).await, (newest.id(), LOCAL));

    let mut ids = Vec::new();
    for command in ["a", "b", "c", "d"] {
        let built = child
            .clone()
            .created("2026-01-03T00:00:00Z")
            .with_config(json!({"Cmd": [command]}));
        ids.push(stored(&mut cache.configs, built.built_on(&base)).await);
    }
    ids.sort();
    for id in ids {
        assert_eq!(cache.hit(ask.clone()).await, (id.clone(), LOCAL));
        cache.configs.delete(delete(&id)).await.unwrap();
    }
    assert_eq!(cache.hit(ask).await, (newest.id(), LOCAL));
}

#[tokio::test]
async fn a_result_without_a_date_or_a_platform_is_none() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let child = Built::base("debian").run("make");
    for built in [child.clone().created(""), child.on("/")] {
        stored(&mut cache.configs, built.built_on(&base)).await;
        let missed = cache.local_miss(lookup(&base, &step("make"))).await;
        assert_eq!(missed, pb::LocalMiss::NoSuchStep);
    }
}

#[tokio::test]
async fn a_parent_that_does_not_say_its_platform_leaves_that_to_the_caller() {
    let mut cache = Cache::new().await;
    for text in ["linux/", "/amd64", "/"] {
        let base = store(&mut cache.configs, &Built::base("debian").on(text)).await;
        let status = cache
            .cache
            .lookup(lookup(&base, &step("make")))
            .await
            .unwrap_err();
        let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
        assert_refused(&status, code, reason, Some("platform"));
        let asked = pb::LookupRequest {
            platform: Some(platform("linux/amd64")),
            ..lookup(&base, &step("make"))
        };
        assert_eq!(cache.local_miss(asked).await, pb::LocalMiss::NoSuchStep);
    }
}

#[tokio::test]
async fn a_result_for_another_platform_is_passed_over() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let child = Built::base("debian").run("make");
    let on = |text: &str| pb::LookupRequest {
        platform: Some(platform(text)),
        ..lookup(&base, &step("make"))
    };
    // The newest is for the least likely.
    for (i, os) in ["linux/amd64", "linux/386", "linux/arm64/v8", "linux/s390x"]
        .into_iter()
        .enumerate()
    {
        let built = child
            .clone()
            .on(os)
            .created(&format!("2026-02-0{}T00:00:00Z", i + 1));
        stored(&mut cache.configs, built.built_on(&base)).await;
    }
    let built = |os: &str, day: usize| {
        child
            .clone()
            .on(os)
            .created(&format!("2026-02-0{day}T00:00:00Z"))
            .id()
    };
    for (asked, wanted) in [
        // What runs 386 too takes the newer one.
        ("linux/amd64", built("linux/386", 2)),
        ("Linux/x86_64", built("linux/386", 2)),
        ("linux/386", built("linux/386", 2)),
        ("linux/arm64", built("linux/arm64/v8", 3)),
        ("linux/aarch64", built("linux/arm64/v8", 3)),
        ("linux/s390x", built("linux/s390x", 4)),
    ] {
        assert_eq!(cache.hit(on(asked)).await, (wanted, LOCAL), "{asked}");
    }
    for other in ["linux/arm", "windows/amd64", "linux/riscv64"] {
        let missed = cache.local_miss(on(other)).await;
        assert_eq!(missed, pb::LocalMiss::OtherPlatform, "{other}");
    }
    // Without one, it is that of the parent.
    let found = cache.hit(lookup(&base, &step("make"))).await;
    assert_eq!(found.0, built("linux/386", 2));
}

/// CVE-2024-24557: an image that an attacker made for this was taken for the result of a step.
#[tokio::test]
async fn what_was_pulled_is_never_taken_for_the_result_of_a_step() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let child = Built::base("debian").run("make");
    let id = store(&mut cache.configs, &child).await;
    cache
        .configs
        .set_parent(set_parent(&id, &base))
        .await
        .unwrap();
    let ask = lookup(&base, &step("make"));
    let missed = cache.local_miss(ask.clone()).await;
    assert_eq!(missed, pb::LocalMiss::NoSuchStep);
    let mark = |built_locally: bool| pb::MarkConfigRequest {
        id: id.clone(),
        built_locally: Some(built_locally),
        ..Default::default()
    };
    cache.configs.mark(mark(true)).await.unwrap();
    assert_eq!(cache.hit(ask.clone()).await, (id.clone(), LOCAL));
    cache.configs.mark(mark(false)).await.unwrap();
    cache.local_miss(ask).await;
}

/// CVE-2024-24557: steps that differ only in what moby did not compare were one and the same.
#[tokio::test]
async fn every_field_that_was_once_forgotten_makes_a_miss() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let plain = step("make");
    let with = |field: &str, value: Value| {
        let mut config = plain.clone();
        config[field] = value;
        config
    };
    let child = Built::base("debian").run("make");
    let id = stored(&mut cache.configs, child.built_on(&base)).await;
    for (field, value) in [
        ("Healthcheck", json!({"Test": ["CMD", "evil"]})),
        ("OnBuild", json!(["RUN evil"])),
        ("Shell", json!(["/bin/evil", "-c"])),
        ("WorkingDir", json!("/evil")),
        ("StopSignal", json!("SIGKILL")),
        ("StopTimeout", json!(0)),
        ("ArgsEscaped", json!(true)),
        ("NetworkDisabled", json!(true)),
        ("Labels", json!({"a": ""})),
        ("User", json!("root")),
        ("Volumes", json!({"/evil": {}})),
        ("ExposedPorts", json!({"80/tcp": {}})),
        ("Tty", json!(true)),
        ("StdinOnce", json!(true)),
    ] {
        let changed = with(field, value);
        let missed = cache.local_miss(lookup(&base, &changed)).await;
        assert_eq!(missed, pb::LocalMiss::NoSuchStep, "{field}");
        // And the other way round: a config that has it is no result of a step without it.
        let built = Built::base("debian").run("make").by_step(changed.clone());
        let other = stored(&mut cache.configs, built.built_on(&base)).await;
        assert_eq!(cache.hit(lookup(&base, &changed)).await.0, other, "{field}");
        assert_eq!(cache.hit(lookup(&base, &plain)).await.0, id, "{field}");
        cache.configs.delete(delete(&other)).await.unwrap();
    }
    for (field, value) in [
        ("Hostname", json!("h")),
        ("Domainname", json!("d")),
        ("Image", json!("sha256:x")),
        ("MacAddress", json!("m")),
    ] {
        let same = with(field, value);
        assert_eq!(cache.hit(lookup(&base, &same)).await.0, id, "{field}");
    }
}

/// moby compared labels one way only: `{"A": ""}` was equal to `{"B": "x"}`.
#[tokio::test]
async fn a_label_without_a_value_is_not_any_label() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let labelled = |key: &str, value: &str| json!({"Cmd": ["x"], "Labels": {key: value}});
    let built = Built::base("debian").run("x").by_step(labelled("A", ""));
    let id = stored(&mut cache.configs, built.built_on(&base)).await;
    cache.local_miss(lookup(&base, &labelled("B", "x"))).await;
    cache.local_miss(lookup(&base, &labelled("B", ""))).await;
    assert_eq!(cache.hit(lookup(&base, &labelled("A", ""))).await.0, id);
}

/// Before 2024 moby found nothing for a step with an open stdin.
#[tokio::test]
async fn a_step_with_an_open_stdin_is_found() {
    let mut cache = Cache::new().await;
    let base = store(&mut cache.configs, &Built::base("debian")).await;
    let open = json!({"Cmd": ["x"], "OpenStdin": true});
    let built = Built::base("debian").run("x").by_step(open.clone());
    let id = stored(&mut cache.configs, built.built_on(&base)).await;
    assert_eq!(cache.hit(lookup(&base, &open)).await, (id, LOCAL));
}

#[tokio::test]
async fn what_lost_its_parent_is_no_result_of_a_step_on_nothing() {
    let mut cache = Cache::new().await;
    let (base, child) = cache.base_and_child().await;
    cache.configs.delete(delete(&base)).await.unwrap();
    assert_eq!(parent(&mut cache.configs, &child).await, "");
    let missed = cache.local_miss(from_scratch(&step("make"))).await;
    assert_eq!(missed, pb::LocalMiss::NoSuchStep);
    // And it is found again where it belongs.
    store(&mut cache.configs, &Built::base("debian")).await;
    cache.local_miss(lookup(&base, &step("make"))).await;
    cache
        .configs
        .set_parent(set_parent(&child, &base))
        .await
        .unwrap();
    assert_eq!(
        cache.hit(lookup(&base, &step("make"))).await,
        (child, LOCAL)
    );
}

#[tokio::test]
async fn the_cache_follows_a_config_to_another_parent() {
    let mut cache = Cache::new().await;
    let (base, child) = cache.base_and_child().await;
    let other = store(&mut cache.configs, &Built::base("debian").note("ENV")).await;
    cache
        .configs
        .set_parent(set_parent(&child, &other))
        .await
        .unwrap();
    cache.local_miss(lookup(&base, &step("make"))).await;
    assert_eq!(
        cache.hit(lookup(&other, &step("make"))).await,
        (child.clone(), LOCAL)
    );
    cache.configs.delete(delete(&child)).await.unwrap();
    cache.local_miss(lookup(&other, &step("make"))).await;
}
