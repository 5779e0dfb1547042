//! Configs as a builder makes them, of the size that they have in practice.

use imagestore::domain::{Algorithm, ConfigId, Digest};
use imagestore::store::CreateConfig;
use serde_json::{Value, json};

/// How many environment variables and labels a config has: with them it takes about 3 KB.
const WORDS: usize = 12;
/// Layers of the base image.
const LAYERS: usize = 6;

/// A base image.
pub fn base(number: u32) -> CreateConfig {
    CreateConfig::new(config(number, None).to_string())
}

/// The result of a step on the base image, built here at some second.
pub fn child(parent: ConfigId, step: u32, second: u32) -> CreateConfig {
    let mut create = CreateConfig::new(config(0, Some((step, second))).to_string());
    create.parent = Some(parent);
    create.built_locally = true;
    create
}

/// The container config of a step.
pub fn step(number: u32) -> Value {
    let mut container = setup();
    container["Cmd"] = json!(["/bin/sh", "-c", command(number)]);
    container
}

fn command(number: u32) -> String {
    format!("apt-get update && apt-get install -y --no-install-recommends package-{number}")
}

fn setup() -> Value {
    let env: Vec<String> = (0..WORDS)
        .map(|i| format!("SETTING_{i}=/usr/local/share/setting-{i}/value"))
        .collect();
    let labels = (0..WORDS).map(|i| {
        let key = format!("org.opencontainers.image.label-{i}");
        (key, json!(format!("what label {i} says of the image")))
    });
    json!({
        "Env": env,
        "Labels": serde_json::Map::from_iter(labels),
        "WorkingDir": "/usr/src/app",
    })
}

fn config(number: u32, built: Option<(u32, u32)>) -> Value {
    let digest = |what: &str| Digest::of(Algorithm::Sha256, what.as_bytes()).text();
    let mut layers: Vec<String> = (0..LAYERS)
        .map(|i| digest(&format!("layer {i} of {number}")))
        .collect();
    let mut history: Vec<Value> = (0..LAYERS)
        .map(|i| json!({"created": time(0), "created_by": format!("/bin/sh -c step {i}")}))
        .collect();
    let mut config = json!({
        "os": "linux", "architecture": "amd64", "created": time(0), "config": setup(),
    });
    if let Some((of, second)) = built {
        layers.push(digest(&format!("layer of step {of}, built at {second}")));
        let created_by = format!("/bin/sh -c {}", command(of));
        history.push(json!({"created": time(second), "created_by": created_by}));
        config["created"] = json!(time(second));
        config["container_config"] = step(of);
    }
    config["rootfs"] = json!({"type": "layers", "diff_ids": layers});
    config["history"] = json!(history);
    config
}

fn time(second: u32) -> String {
    let (hours, rest) = (second / 3600, second % 3600);
    let (day, hour) = (1 + hours / 24, hours % 24);
    format!(
        "2026-01-{day:02}T{hour:02}:{:02}:{:02}Z",
        rest / 60,
        rest % 60
    )
}
