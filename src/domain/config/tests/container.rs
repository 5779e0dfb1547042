//! Which container configs are the same step.

use std::collections::BTreeSet;

use super::*;

/// One value of each field that counts, as JSON.
const FIELDS: [&str; 26] = [
    r#"{"User": "a"}"#,
    r#"{"WorkingDir": "a"}"#,
    r#"{"StopSignal": "a"}"#,
    r#"{"Env": ["a"]}"#,
    r#"{"Cmd": ["a"]}"#,
    r#"{"Entrypoint": ["a"]}"#,
    r#"{"Shell": ["a"]}"#,
    r#"{"OnBuild": ["a"]}"#,
    r#"{"ExposedPorts": {"a": {}}}"#,
    r#"{"Volumes": {"a": {}}}"#,
    r#"{"Labels": {"a": ""}}"#,
    r#"{"ArgsEscaped": true}"#,
    r#"{"AttachStdin": true}"#,
    r#"{"AttachStdout": true}"#,
    r#"{"AttachStderr": true}"#,
    r#"{"Tty": true}"#,
    r#"{"OpenStdin": true}"#,
    r#"{"StdinOnce": true}"#,
    r#"{"NetworkDisabled": true}"#,
    r#"{"StopTimeout": 0}"#,
    r#"{"Healthcheck": {}}"#,
    r#"{"Healthcheck": {"Test": ["a"]}}"#,
    r#"{"Healthcheck": {"Interval": 1}}"#,
    r#"{"Healthcheck": {"Timeout": 1}}"#,
    r#"{"Healthcheck": {"StartPeriod": 1}}"#,
    r#"{"Healthcheck": {"Retries": 1}}"#,
];

#[test]
fn each_field_alone_makes_another_step() {
    // Docker left out half of them, and ran one build with the result of another (CVE-2024-24557).
    let others = ["{}", r#"{"Healthcheck": {"StartInterval": 1}}"#];
    let all: Vec<_> = FIELDS
        .iter()
        .chain(&others)
        .map(|text| container(text))
        .collect();
    for (i, one) in all.iter().enumerate() {
        for (j, other) in all.iter().enumerate() {
            assert_eq!(one == other, i == j, "{one:?} {other:?}");
            assert_eq!(
                one.fingerprint() == other.fingerprint(),
                i == j,
                "{one:?} {other:?}"
            );
        }
    }
}

#[test]
fn what_names_one_container_makes_no_other_step() {
    let plain = container(r#"{"Cmd": ["a"]}"#);
    for other in [
        r#"{"Cmd": ["a"], "Hostname": "h"}"#,
        r#"{"Cmd": ["a"], "Domainname": "d"}"#,
        r#"{"Cmd": ["a"], "Image": "sha256:1234"}"#,
        r#"{"Cmd": ["a"], "MacAddress": "m", "Unknown": 5}"#,
    ] {
        assert_eq!(container(other), plain, "{other}");
        assert_eq!(
            container(other).fingerprint(),
            plain.fingerprint(),
            "{other}"
        );
    }
}

#[test]
fn steps_differ_where_only_their_joints_or_values_do() {
    for (one, other) in [
        (r#"{"Cmd": ["a b", "c"]}"#, r#"{"Cmd": ["a", "b", "c"]}"#),
        (r#"{"Cmd": ["a", "b"]}"#, r#"{"Cmd": ["b", "a"]}"#),
        (r#"{"Cmd": ["a"]}"#, r#"{"Cmd": ["a", ""]}"#),
        (
            r#"{"Env": ["a"], "Cmd": []}"#,
            r#"{"Env": [], "Cmd": ["a"]}"#,
        ),
        // Docker took these for the same, in one direction.
        (r#"{"Labels": {"A": ""}}"#, r#"{"Labels": {"B": "x"}}"#),
        (r#"{"Labels": {"A": ""}}"#, r#"{"Labels": {"B": ""}}"#),
        (r#"{"Labels": {"A": "b"}}"#, r#"{"Labels": {"Ab": ""}}"#),
        (r#"{"StopTimeout": 10}"#, r#"{"StopTimeout": 11}"#),
        (
            r#"{"Healthcheck": {"Test": ["NONE"]}}"#,
            r#"{"Healthcheck": {"Test": ["CMD"]}}"#,
        ),
    ] {
        assert_ne!(container(one), container(other), "{one} {other}");
        assert_ne!(
            container(one).fingerprint(),
            container(other).fingerprint(),
            "{one} {other}"
        );
    }
}

#[test]
fn ways_to_write_a_step_are_one() {
    for (one, other) in [
        (
            "{}",
            r#"{"Env": null, "Cmd": [], "Labels": {}, "Volumes": null, "User": "", "Tty": false, "Healthcheck": null, "StopTimeout": null}"#,
        ),
        // Old Docker called no two the same with it.
        (r#"{"OpenStdin": true}"#, r#"{"OpenStdin": true}"#),
        (r#"{"Cmd": "a b"}"#, r#"{"Cmd": ["a b"]}"#),
        (r#"{"Entrypoint": "a"}"#, r#"{"entrypoint": ["a"]}"#),
        (
            r#"{"Labels": {"a": "1", "b": "2"}}"#,
            r#"{"Labels": {"b": "2", "a": "1"}}"#,
        ),
        (r#"{"Labels": {"a": null}}"#, r#"{"Labels": {"a": ""}}"#),
        (
            r#"{"ExposedPorts": {"80/tcp": {}, "81/tcp": null}}"#,
            r#"{"ExposedPorts": {"81/tcp": {}, "80/tcp": {}}}"#,
        ),
        (
            r#"{"Healthcheck": {}}"#,
            r#"{"Healthcheck": {"Test": [], "Interval": 0}}"#,
        ),
    ] {
        assert_eq!(container(one), container(other), "{one} {other}");
        assert_eq!(
            container(one).fingerprint(),
            container(other).fingerprint(),
            "{one} {other}"
        );
    }
}

#[test]
fn stored_fingerprints_stay_what_they_are() {
    // Rows hold them. Another encoding needs another version and a migration.
    let hex = |text: &str| {
        let fingerprint = container(text).fingerprint();
        fingerprint
            .as_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    };
    let full = r#"{"User": "u", "WorkingDir": "/w", "StopSignal": "9", "Env": ["A=b"], "Cmd": ["a", "b"],
        "Entrypoint": ["e"], "Shell": ["s"], "OnBuild": ["o"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}},
        "Labels": {"k": "v"}, "ArgsEscaped": true, "Tty": true, "StopTimeout": -1,
        "Healthcheck": {"Test": ["NONE"], "Interval": 1, "Timeout": 2, "StartPeriod": 3, "StartInterval": 4, "Retries": 5}}"#;
    assert_eq!(
        [hex("{}"), hex(full)],
        [
            "0daaf7d3358c83209171b9f8f7be9ec6f9bff8de29ea415f978b3514b2c35940",
            "216181904ecbebd661a156e412015f18c119f73b93932a7c63de04622840878d",
        ]
    );
}

#[test]
fn a_command_is_told_as_one_line() {
    assert_eq!(
        container(r#"{"Cmd": ["/bin/sh", "-c", "echo a b"]}"#).cmd_line(),
        "/bin/sh -c echo a b"
    );
    assert_eq!(container("{}").cmd_line(), "");
}

proptest! {
    #[test]
    fn fingerprints_are_equal_exactly_where_steps_are(one in any_container(), other in any_container()) {
        prop_assert_eq!(one == other, one.fingerprint() == other.fingerprint());
        prop_assert_eq!(one.fingerprint(), one.clone().fingerprint());
    }

    #[test]
    fn one_field_of_another_step_makes_another_fingerprint(
        one in any_container(), other in any_container(), field in 0..6usize,
    ) {
        let mut mixed = one.clone();
        match field {
            0 => mixed.cmd = other.cmd,
            1 => mixed.env = other.env,
            2 => mixed.labels = other.labels,
            3 => mixed.healthcheck = other.healthcheck,
            4 => mixed.volumes = other.volumes,
            _ => mixed.stop_timeout = other.stop_timeout,
        }
        prop_assert_eq!(one == mixed, one.fingerprint() == mixed.fingerprint());
    }

    #[test]
    fn what_is_written_is_read_back(step in any_container()) {
        let text = serde_json::to_string(&step).unwrap();
        prop_assert_eq!(ContainerConfig::parse(text.as_bytes(), "container_config"), Ok(step));
        prop_assert!(!text.contains("null"), "{}", text);
    }

    #[test]
    fn steps_have_as_many_fingerprints_as_there_are_steps(steps in proptest::collection::vec(any_container(), 0..20)) {
        let fingerprints: BTreeSet<_> = steps.iter().map(ContainerConfig::fingerprint).collect();
        let mut different: Vec<&ContainerConfig> = Vec::new();
        for step in &steps {
            if !different.contains(&step) {
                different.push(step);
            }
        }
        prop_assert_eq!(fingerprints.len(), different.len());
    }
}
