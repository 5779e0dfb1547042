//! What configs say, and what follows from them.

mod container;
mod history;
mod id;
mod parse;

use proptest::prelude::*;

use super::*;

fn parse(config: &str) -> Result<ImageConfig, Invalid> {
    ImageConfig::parse(config.as_bytes())
}

fn container(text: &str) -> ContainerConfig {
    ContainerConfig::parse(text.as_bytes(), "container_config").unwrap()
}

/// Any JSON, with the names of configs among its keys, since others are passed over.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let key = prop_oneof![
        4 => proptest::sample::select(vec![
            "rootfs", "diff_ids", "history", "created", "created_by", "empty_layer", "config", "container_config",
            "ROOTFS", "Cmd", "cmd", "Env", "Labels", "ExposedPorts", "StopTimeout", "Healthcheck", "Test", "Retries",
            "os", "os.features", "architecture",
        ]).prop_map(str::to_owned),
        1 => ".{0,5}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(Value::from("2026-11-22T10:00:00Z")),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => proptest::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_word() -> impl Strategy<Value = String> {
    prop_oneof!["[ab ]{0,3}", ".{0,4}"]
}

fn any_words() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(any_word(), 0..3)
}

fn any_healthcheck() -> impl Strategy<Value = Healthcheck> {
    (any_words(), 0..2i64, 0..2i64, 0..2i64, 0..2i64, -1..2i64).prop_map(
        |(test, interval, timeout, start_period, start_interval, retries)| Healthcheck {
            test,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        },
    )
}

fn any_container() -> impl Strategy<Value = ContainerConfig> {
    let texts = (any_word(), any_word(), any_word());
    let lists = (
        any_words(),
        any_words(),
        any_words(),
        any_words(),
        any_words(),
    );
    let sets = (
        proptest::collection::btree_set(any_word(), 0..3),
        proptest::collection::btree_set(any_word(), 0..3),
        proptest::collection::btree_map(any_word(), any_word(), 0..3),
    );
    let options = (
        proptest::option::of(-1..2i64),
        proptest::option::of(any_healthcheck()),
    );
    let flags = any::<[bool; 8]>();
    (texts, lists, sets, options, flags).prop_map(|(texts, lists, sets, options, flags)| {
        ContainerConfig {
            user: texts.0,
            working_dir: texts.1,
            stop_signal: texts.2,
            env: lists.0,
            cmd: lists.1,
            entrypoint: lists.2,
            shell: lists.3,
            on_build: lists.4,
            exposed_ports: sets.0,
            volumes: sets.1,
            labels: sets.2,
            stop_timeout: options.0,
            healthcheck: options.1,
            args_escaped: flags[0],
            attach_stdin: flags[1],
            attach_stdout: flags[2],
            attach_stderr: flags[3],
            tty: flags[4],
            open_stdin: flags[5],
            stdin_once: flags[6],
            network_disabled: flags[7],
        }
    })
}
