//! Which configs are read, and how.

use super::*;

fn refusal(config: &str) -> Invalid {
    parse(config).unwrap_err()
}

#[test]
fn a_config_says_all_that_is_asked_of_it() {
    let config = parse(
        r#"{
            "architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "6.1", "os.features": ["a"],
            "created": "2026-11-22T11:00:00.5+01:00", "author": "A", "comment": "C",
            "rootfs": {"type": "layers", "diff_ids": ["x", "y"]},
            "history": [
                {"created": "2026-11-22T10:00:00Z", "created_by": "ADD", "author": "B", "comment": "D"},
                {"created_by": "CMD", "empty_layer": true}
            ],
            "config": {"Cmd": ["sh"]},
            "container_config": {"Cmd": ["/bin/sh", "-c", "a"]}
        }"#,
    )
    .unwrap();
    let platform = config.platform();
    assert_eq!(platform.to_string(), "linux/arm64/v8");
    assert_eq!(
        (platform.os_version.as_str(), platform.os_features.len()),
        ("6.1", 1)
    );
    assert_eq!(config.created(), "2026-11-22T10:00:00.5Z".parse().ok());
    assert_eq!((config.author(), config.comment()), ("A", "C"));
    assert_eq!(config.diff_ids(), ["x".into(), "y".into()]);
    let first = HistoryEntry {
        created: "2026-11-22T10:00:00Z".parse().ok(),
        created_by: "ADD".to_owned(),
        author: "B".to_owned(),
        comment: "D".to_owned(),
        empty_layer: false,
    };
    let last = HistoryEntry {
        created_by: "CMD".to_owned(),
        empty_layer: true,
        ..HistoryEntry::default()
    };
    assert_eq!(config.history(), [first, last]);
    assert_eq!(config.config().unwrap().cmd, ["sh"]);
    assert_eq!(
        config.container_config().unwrap().cmd_line(),
        "/bin/sh -c a"
    );
}

#[test]
fn what_docker_stores_is_read() {
    for config in [
        r#"{"rootfs": {}}"#,
        r#"{"rootfs": {"diff_ids": null}}"#,
        r#"{"rootfs": {"type": 5, "diff_ids": []}, "docker_version": 7, "unknown": [null, 1e300]}"#,
        r#"{"rootfs": {"type": "layers", "diff_ids": ["not a digest", ""]}}"#,
        r#"{"rootfs": {}, "os": null, "history": null, "config": null, "created": null}"#,
        r#"{"rootfs": {}, "history": [{"empty_layer": true}]}"#,
        r#"{"rootfs": {"diff_ids": ["a"]}, "history": [{"empty_layer": true}, {}]}"#,
        r#"{"rootfs": {"diff_ids": ["a", "b"]}, "history": [{}]}"#,
        r#"{"rootfs": {"diff_ids": ["a"]}}"#,
        r#"{"rootfs": {}, "created": "0001-01-01T00:00:00Z"}"#,
    ] {
        parse(config).unwrap_or_else(|refusal| panic!("{config}: {refusal}"));
    }
}

#[test]
fn a_config_without_rootfs_is_refused() {
    // Docker's store died of it.
    for config in [
        "{}",
        r#"{"rootfs": null}"#,
        r#"{"comment": "abc"}"#,
        r#"{"rootfs": {}, "rootfs": null}"#,
    ] {
        assert_eq!(refusal(config).field(), "config.rootfs", "{config}");
    }
}

#[test]
fn a_history_with_more_layers_than_there_are_is_refused() {
    for config in [
        r#"{"rootfs": {"diff_ids": ["a"]}, "history": [{"created_by": "a"}, {"created_by": "b"}]}"#,
        r#"{"rootfs": {}, "history": [{}]}"#,
    ] {
        assert_eq!(refusal(config).field(), "config.history", "{config}");
    }
}

#[test]
fn what_is_no_config_is_refused_as_a_whole() {
    for text in [
        "",
        "null",
        "[]",
        "5",
        "{",
        "{}x",
        // Past what a float has: for Go only where somebody reads it.
        r#"{"rootfs": {}, "a": 1e999}"#,
        "\u{feff}{}",
        r#"{"rootfs": {}, "a": "\ud800"}"#,
    ] {
        assert_eq!(refusal(text).field(), "config", "{text}");
    }
    assert_eq!(
        ImageConfig::parse(b"{\"rootfs\": {}, \"a\": \"\xff\"}")
            .unwrap_err()
            .field(),
        "config"
    );
    let deep = format!(
        r#"{{"rootfs": {{}}, "a": {}{}}}"#,
        "[".repeat(500_000),
        "]".repeat(500_000)
    );
    assert_eq!(refusal(&deep).field(), "config");
}

#[test]
fn a_config_has_at_most_1_mib_and_1024_layers() {
    let padded = |bytes: usize| format!(r#"{{"rootfs": {{}}}}{}"#, " ".repeat(bytes - 14));
    assert!(parse(&padded(ImageConfig::MAX_BYTES)).is_ok());
    assert_eq!(
        refusal(&padded(ImageConfig::MAX_BYTES + 1)).field(),
        "config"
    );
    let layers = |n: usize| serde_json::json!({"rootfs": {"diff_ids": vec!["a"; n]}}).to_string();
    assert!(parse(&layers(ImageConfig::MAX_LAYERS)).is_ok());
    assert_eq!(
        refusal(&layers(ImageConfig::MAX_LAYERS + 1)).field(),
        "config.rootfs.diff_ids"
    );
}

/// A megabyte of features, compared each with each, kept a server from all else.
#[test]
fn a_platform_and_a_history_have_their_bounds() {
    let long = "x".repeat(ImageConfig::MAX_PLATFORM_BYTES);
    let features = |n: usize| vec!["f"; n];
    let steps = |n: usize| vec![serde_json::json!({"empty_layer": true}); n];
    for (field, good, bad, path) in [
        (
            "os",
            serde_json::json!(long),
            serde_json::json!(format!("{long}x")),
            "os",
        ),
        (
            "architecture",
            serde_json::json!(long),
            serde_json::json!(format!("{long}x")),
            "architecture",
        ),
        (
            "variant",
            serde_json::json!(long),
            serde_json::json!(format!("{long}x")),
            "variant",
        ),
        (
            "os.version",
            serde_json::json!(long),
            serde_json::json!(format!("{long}x")),
            "os.version",
        ),
        (
            "os.features",
            serde_json::json!(["a", long]),
            serde_json::json!(["a", format!("{long}x")]),
            "os.features[1]",
        ),
        (
            "os.features",
            serde_json::json!(features(ImageConfig::MAX_FEATURES)),
            serde_json::json!(features(ImageConfig::MAX_FEATURES + 1)),
            "os.features",
        ),
        (
            "history",
            serde_json::json!(steps(ImageConfig::MAX_HISTORY)),
            serde_json::json!(steps(ImageConfig::MAX_HISTORY + 1)),
            "history",
        ),
    ] {
        let with =
            |value: &serde_json::Value| serde_json::json!({"rootfs": {}, field: value}).to_string();
        assert!(parse(&with(&good)).is_ok(), "{field}");
        assert_eq!(refusal(&with(&bad)).field(), format!("config.{path}"));
    }
}

#[test]
fn a_field_of_another_type_is_refused_by_its_path() {
    for (rest, field) in [
        (r#""os": 5"#, "os"),
        (r#""os.features": ["a", {}]"#, "os.features[1]"),
        (r#""created": "yesterday""#, "created"),
        (r#""created": 5"#, "created"),
        (r#""rootfs": []"#, "rootfs"),
        (r#""rootfs": {"diff_ids": "a"}"#, "rootfs.diff_ids"),
        (
            r#""rootfs": {"diff_ids": ["a", "b", 3]}"#,
            "rootfs.diff_ids[2]",
        ),
        (r#""rootfs": {"diff_ids": [null]}"#, "rootfs.diff_ids[0]"),
        (r#""history": {}"#, "history"),
        (r#""history": [{"empty_layer": true}, 5]"#, "history[1]"),
        (
            r#""history": [{"empty_layer": "true"}]"#,
            "history[0].empty_layer",
        ),
        (r#""history": [{"created": ""}]"#, "history[0].created"),
        (r#""config": 5"#, "config"),
        (r#""config": {"Env": "A=b"}"#, "config.Env"),
        (r#""config": {"Cmd": [["a"]]}"#, "config.Cmd[0]"),
        (r#""config": {"Cmd": {}}"#, "config.Cmd"),
        (
            r#""config": {"ExposedPorts": {"80/tcp": 5}}"#,
            "config.ExposedPorts[\"80/tcp\"]",
        ),
        (
            r#""config": {"Labels": {"a": "b", "c": 5}}"#,
            "config.Labels[\"c\"]",
        ),
        (r#""config": {"Tty": 1}"#, "config.Tty"),
        (r#""config": {"StopTimeout": 1.5}"#, "config.StopTimeout"),
        (
            r#""config": {"StopTimeout": 9223372036854775808}"#,
            "config.StopTimeout",
        ),
        (
            r#""container_config": {"Healthcheck": {"Test": [1]}}"#,
            "container_config.Healthcheck.Test[0]",
        ),
        (
            r#""container_config": {"Healthcheck": {"Retries": "1"}}"#,
            "container_config.Healthcheck.Retries",
        ),
    ] {
        let config = match rest.starts_with(r#""rootfs""#) {
            true => format!("{{{rest}}}"),
            false => format!(r#"{{"rootfs": {{"diff_ids": ["z"]}}, {rest}}}"#),
        };
        assert_eq!(
            refusal(&config).field(),
            format!("config.{field}"),
            "{config}"
        );
    }
    let refusal = ContainerConfig::parse(br#"{"Env": [5]}"#, "container_config").unwrap_err();
    assert_eq!(refusal.field(), "container_config.Env[0]");
    for text in [
        "null",
        "[]",
        "x",
        &format!("{{}}{}", " ".repeat(ImageConfig::MAX_BYTES)),
    ] {
        assert_eq!(
            ContainerConfig::parse(text.as_bytes(), "container_config")
                .unwrap_err()
                .field(),
            "container_config"
        );
    }
}

#[test]
fn keys_count_in_any_case() {
    // As Docker reads them: another reader of the same bytes is not to see another image.
    let config = parse(
        r#"{"ROOTFS": {"Diff_IDs": ["a"]}, "AUTHOR": "me",
            "config": {"cmd": ["a"], "exposedports": {"80/tcp": {}}}}"#,
    )
    .unwrap();
    assert_eq!(config.diff_ids(), ["a".into()]);
    assert_eq!(config.author(), "me");
    assert_eq!(config.config().unwrap().cmd, ["a"]);
    assert!(config.config().unwrap().exposed_ports.contains("80/tcp"));
}

#[test]
fn what_comes_twice_is_refused_for_readers_differ_in_which_of_the_two_counts() {
    for (config, field) in [
        (r#"{"rootfs": {}, "rootfs": {}}"#, "config.rootfs"),
        (r#"{"rootfs": {}, "ROOTFS": null}"#, "config.rootfs"),
        (
            r#"{"rootfs": {}, "OS": "windows", "os": "linux"}"#,
            "config.os",
        ),
        (
            r#"{"rootfs": {"diff_ids": [], "Diff_Ids": ["a"]}}"#,
            "config.rootfs.diff_ids",
        ),
        (
            r#"{"rootfs": {}, "history": [{"created_by": "a", "created_by": "b"}]}"#,
            "config.history[0].created_by",
        ),
        (
            r#"{"rootfs": {}, "config": {"Cmd": ["a"], "cmd": "a"}}"#,
            "config.config.Cmd",
        ),
        (
            r#"{"rootfs": {}, "config": {"Labels": {"a": "1", "a": "2"}}}"#,
            "config.config.Labels[\"a\"]",
        ),
        (
            r#"{"rootfs": {}, "config": {"Volumes": {"/a": {}, "/a": {}}}}"#,
            "config.config.Volumes[\"/a\"]",
        ),
    ] {
        assert_eq!(parse(config).unwrap_err().field(), field, "{config}");
    }
    // What is not read may come as often as it likes, and so may labels that differ in case.
    parse(r#"{"rootfs": {}, "x": 1, "x": 2, "config": {"Labels": {"a": "", "A": ""}}}"#).unwrap();
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ImageConfig::parse(&bytes);
        let _ = ContainerConfig::parse(&bytes, "container_config");
    }

    #[test]
    fn no_json_breaks_the_reader(config in any_json(), rootfs in any_json()) {
        let mut config = config;
        let _ = ContainerConfig::parse(config.to_string().as_bytes(), "container_config");
        let _ = parse(&config.to_string());
        if let Some(fields) = config.as_object_mut() {
            fields.entry("rootfs").or_insert(rootfs);
            match parse(&config.to_string()) {
                Ok(read) => prop_assert!(read.steps_with_layer() <= read.diff_ids().len()),
                Err(refusal) => prop_assert!(refusal.field().starts_with("config")),
            }
        }
    }

    #[test]
    fn each_layer_has_one_chain_id_and_one_more_changes_none_below(
        diff_ids in proptest::collection::vec("[a-c]{0,2}", 1..6),
    ) {
        let chain = |diff_ids: &[String]| {
            parse(&serde_json::json!({"rootfs": {"diff_ids": diff_ids}}).to_string()).unwrap().chain_ids()
        };
        let (all, without_top) = (chain(&diff_ids), chain(&diff_ids[..diff_ids.len() - 1]));
        prop_assert_eq!(all.len(), diff_ids.len());
        prop_assert_eq!(&all[..all.len() - 1], without_top);
    }
}
