//! What is built on what, and what its steps left behind.

use serde_json::{Value, json};

use super::*;

fn config(value: &Value) -> ImageConfig {
    parse(&value.to_string()).unwrap()
}

/// An image of linux/amd64 that steps made: `+x` made the layer x, `x` none.
fn image(steps: &[&str]) -> ImageConfig {
    let layers: Vec<_> = steps
        .iter()
        .filter_map(|step| step.strip_prefix('+'))
        .collect();
    let entry = |step: &&str| match step.strip_prefix('+') {
        Some(layer) => {
            json!({"created": "2026-01-01T00:00:00Z", "created_by": format!("/bin/sh -c {layer}")})
        }
        None => json!({"created_by": step, "empty_layer": true}),
    };
    config(&json!({
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": layers},
        "history": steps.iter().map(entry).collect::<Vec<_>>(),
    }))
}

fn run(command: &str) -> ContainerConfig {
    container(&json!({"Cmd": ["/bin/sh", "-c", command]}).to_string())
}

fn refusal(image: &ImageConfig, parent: Option<&ImageConfig>) -> NotBuiltOn {
    next_step(image, parent).unwrap_err()
}

#[test]
fn each_step_of_an_image_is_the_next_one_of_what_was_before_it() {
    let steps = ["+a", "ENV x", "+b", "CMD y", "EXPOSE z"];
    let whole = image(&steps);
    for n in 0..steps.len() {
        let before = image(&steps[..n]);
        let parents = if n == 0 {
            vec![None, Some(&before)]
        } else {
            vec![Some(&before)]
        };
        for parent in parents {
            let step = next_step(&whole, parent).unwrap();
            assert_eq!(step.entry(), &whole.history()[n]);
            assert_eq!(step.layer().map(DiffId::as_str), steps[n].strip_prefix('+'));
            assert_eq!(step.is_last(), n + 1 == steps.len());
        }
    }
}

#[test]
fn a_last_step_without_a_layer_is_a_step() {
    // Docker asked for a further layer, and never found the last step (#31186).
    let (parent, whole) = (image(&["+a"]), image(&["+a", "CMD x"]));
    assert!(next_step(&whole, Some(&parent)).unwrap().is_last());
}

#[test]
fn an_image_is_not_built_on_itself_nor_on_another_one() {
    let whole = image(&["+a", "ENV x", "+b"]);
    for other in [
        whole.clone(),
        image(&["+a", "ENV x", "+b", "+c"]),
        image(&["+b"]),
        image(&["+a", "ENV y"]),
        image(&["+a", "+b"]),
        image(&["ENV x", "+a"]),
    ] {
        assert_eq!(
            refusal(&whole, Some(&other)),
            NotBuiltOn::OtherParent,
            "{other:?}"
        );
    }
    let empty = config(&json!({"rootfs": {}}));
    assert_eq!(refusal(&empty, None), NotBuiltOn::OtherParent);
    let author = json!({"rootfs": {"diff_ids": ["a"]}, "history": [{
        "created": "2026-01-01T00:00:00Z", "created_by": "/bin/sh -c a", "author": "somebody",
    }]});
    assert_eq!(
        refusal(&whole, Some(&config(&author))),
        NotBuiltOn::OtherParent
    );
    let same_steps = json!({"rootfs": {"diff_ids": ["other"]}, "history": [{
        "created": "2026-01-01T00:00:00Z", "created_by": "/bin/sh -c a",
    }]});
    assert_eq!(
        refusal(&whole, Some(&config(&same_steps))),
        NotBuiltOn::OtherParent
    );
}

#[test]
fn nothing_is_concluded_from_a_history_that_does_not_tell_the_layers() {
    // Docker put the parent's layer twice into what it restored, or took another step's.
    let clear = image(&["+a", "+b"]);
    let without_history = config(&json!({"rootfs": {"diff_ids": ["a"]}}));
    assert_eq!(
        refusal(&clear, Some(&without_history)),
        NotBuiltOn::UnclearHistory
    );
    assert_eq!(refusal(&without_history, None), NotBuiltOn::UnclearHistory);
    let squashed = config(&json!({"rootfs": {"diff_ids": ["a", "b"]}, "history": [
        {"created_by": "x", "empty_layer": true}, {"created_by": "y"},
    ]}));
    assert_eq!(refusal(&squashed, None), NotBuiltOn::UnclearHistory);
    assert_eq!(
        refusal(&image(&["+a", "+b", "+c"]), Some(&squashed)),
        NotBuiltOn::UnclearHistory
    );
}

#[test]
fn times_are_the_same_whatever_their_offset() {
    // Docker compared how they were written.
    let at = |time: &str, steps: usize| {
        let steps: Vec<_> = (0..steps)
            .map(|n| json!({"created": time, "created_by": n.to_string(), "empty_layer": true}))
            .collect();
        config(&json!({"rootfs": {}, "history": steps}))
    };
    let whole = at("2026-01-01T01:00:00+01:00", 2);
    assert!(next_step(&whole, Some(&at("2026-01-01T00:00:00Z", 1))).is_ok());
    assert!(next_step(&whole, Some(&at("2026-01-01T00:00:00.000000001Z", 1))).is_err());
}

#[test]
fn a_step_is_known_by_its_command() {
    let whole = image(&["+a", "+b"]);
    let first = next_step(&whole, None).unwrap();
    assert!(first.is_made_by(&run("a")));
    assert!(!first.is_made_by(&run("b")));
    // One line of history, and all that it tells.
    assert!(first.is_made_by(&container(r#"{"Cmd": ["/bin/sh -c", "a"]}"#)));
}

#[test]
fn the_last_step_is_known_by_its_words_where_the_image_remembers_them() {
    // Docker took ["a b", "c"] for ["a", "b", "c"].
    let remembering = |words: Value| {
        config(&json!({
            "rootfs": {}, "history": [{"created_by": "a b c", "empty_layer": true}], "container_config": {"Cmd": words},
        }))
    };
    let (two, three) = (
        container(r#"{"Cmd": ["a b", "c"]}"#),
        container(r#"{"Cmd": ["a", "b", "c"]}"#),
    );
    for (words, is_two, is_three) in [
        (json!(["a b", "c"]), true, false),
        (json!(["a", "b", "c"]), false, true),
        (json!([]), true, true),
        (Value::Null, true, true),
    ] {
        let whole = remembering(words);
        let step = next_step(&whole, None).unwrap();
        assert_eq!(
            (step.is_made_by(&two), step.is_made_by(&three)),
            (is_two, is_three),
            "{whole:?}"
        );
    }
    // What the image remembers is its last step, and no other.
    let whole = config(&json!({
        "rootfs": {}, "container_config": {"Cmd": ["z"]},
        "history": [{"created_by": "a b c", "empty_layer": true}, {"created_by": "z", "empty_layer": true}],
    }));
    assert!(next_step(&whole, None).unwrap().is_made_by(&two));
}

#[test]
fn a_restored_config_is_the_image_as_it_was_after_the_step() {
    let parent = config(&json!({
        "os": "linux", "architecture": "arm", "comment": "the parent's", "author": "the parent's",
        "rootfs": {"diff_ids": ["a"]}, "history": [{"created_by": "base"}],
        "config": {"Cmd": ["bash"], "Entrypoint": ["/entry"], "Env": ["OLD=1"], "ArgsEscaped": true},
    }));
    let target = config(&json!({
        "os": "linux", "architecture": "arm", "variant": "v6", "os.version": "6.1", "os.features": ["f"],
        "author": "A", "comment": "C", "created": "2026-02-02T00:00:00Z", "docker_version": "26",
        "rootfs": {"diff_ids": ["a", "b", "c"]},
        "history": [
            {"created_by": "base"},
            {"created": "2026-01-01T01:00:00+01:00", "created_by": "/bin/sh -c b", "comment": "second"},
            {"created_by": "/bin/sh -c c"},
        ],
        "config": {"Cmd": ["the target's"]},
    }));
    let asked = container(
        r#"{"Cmd": ["/bin/sh", "-c", "b"], "Env": ["NEW=2"], "ExposedPorts": {"80/tcp": {}}, "Hostname": "h"}"#,
    );
    let restored = next_step(&target, Some(&parent))
        .unwrap()
        .restore(&asked, None)
        .unwrap();
    assert_eq!(
        String::from_utf8(restored).unwrap(),
        concat!(
            r#"{"created":"2026-01-01T00:00:00Z","author":"A","architecture":"arm","os":"linux","os.version":"6.1","#,
            r#""os.features":["f"],"variant":"v6","#,
            // Not the command of the step: running the image would run the step again (#37273).
            r#""config":{"Env":["NEW=2"],"Cmd":["bash"],"Entrypoint":["/entry"],"ArgsEscaped":true,"ExposedPorts":{"80/tcp":{}}},"#,
            r#""container_config":{"Env":["NEW=2"],"Cmd":["/bin/sh","-c","b"],"ExposedPorts":{"80/tcp":{}}},"#,
            r#""rootfs":{"type":"layers","diff_ids":["a","b"]},"#,
            r#""history":[{"created_by":"base"},{"created":"2026-01-01T00:00:00Z","created_by":"/bin/sh -c b","comment":"second"}]}"#,
        )
    );
}

#[test]
fn a_restored_step_without_a_layer_has_the_layers_of_its_parent() {
    let whole = image(&["+a", "ENV x", "+b"]);
    let parent = image(&["+a"]);
    let step = next_step(&whole, Some(&parent)).unwrap();
    let restored = ImageConfig::parse(&step.restore(&run("x"), None).unwrap()).unwrap();
    assert_eq!(restored.diff_ids(), parent.diff_ids());
    let first = ImageConfig::parse(
        &next_step(&whole, None)
            .unwrap()
            .restore(&run("a"), None)
            .unwrap(),
    )
    .unwrap();
    assert_eq!(first.diff_ids(), parent.diff_ids());
    assert!(first.config().unwrap().cmd.is_empty());
}

#[test]
fn what_would_be_too_large_is_not_restored() {
    let whole = image(&["+a", "+b"]);
    let step = next_step(&whole, None).unwrap();
    let large = run(&"x".repeat(ImageConfig::MAX_BYTES - 200));
    assert_eq!(
        step.restore(&large, None).unwrap_err().field(),
        "container_config"
    );
}

fn any_steps() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("\\+?[a-c]{1,2}", 1..6)
}

proptest! {
    #[test]
    fn a_restored_config_is_built_on_its_parent_by_the_same_step(
        steps in any_steps(), at in any::<proptest::sample::Index>(), asked in any_container(),
    ) {
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let n = at.index(steps.len());
        let (target, parent) = (image(&steps), image(&steps[..n]));
        let step = next_step(&target, Some(&parent)).unwrap();
        let bytes = step.restore(&asked, None).unwrap();
        let restored = ImageConfig::parse(&bytes).unwrap();
        let again = next_step(&restored, Some(&parent)).unwrap();
        prop_assert_eq!((again.entry(), again.layer(), again.is_last()), (step.entry(), step.layer(), true));
        prop_assert_eq!(restored.platform(), target.platform());
        prop_assert_eq!(restored.container_config(), Some(&asked));
        prop_assert_eq!(again.restore(&asked, None).unwrap(), bytes.clone());
        prop_assert_eq!(step.restore(&asked, None).unwrap(), bytes);
        // And the image goes on from there.
        let after = next_step(&target, Some(&restored));
        prop_assert_eq!(after.is_ok(), n + 1 < steps.len());
        prop_assert!(target.chain_ids().starts_with(&restored.chain_ids()));
    }

    #[test]
    fn an_image_goes_on_from_what_its_history_begins_with(whole in any_steps(), other in any_steps(), shared in 0..6usize) {
        let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
        let mut parent: Vec<&str> = whole.iter().take(shared).copied().collect();
        parent.extend(other.iter().map(String::as_str).take(shared % 2));
        let begins = parent.len() < whole.len() && whole.starts_with(&parent);
        let (whole, parent) = (image(&whole), image(&parent));
        prop_assert_eq!(next_step(&whole, Some(&parent)).is_ok(), begins);
        let (upper, lower) = (whole.history_digests(), parent.history_digests());
        prop_assert_eq!(upper.len() > lower.len() && upper.starts_with(&lower), begins);
    }
}
