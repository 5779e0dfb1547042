//! What layouts and archives are read as, sound and broken ones.

mod archives;
mod layouts;

use std::fs;
use std::path::PathBuf;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::domain::Algorithm;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A layout in the making.
struct Layout {
    folder: TempDir,
    entries: Vec<Value>,
}

/// What was found, and how it ended.
#[derive(Default)]
struct Told {
    configs: Vec<(String, Vec<String>)>,
    links: Vec<(String, String)>,
    images: Vec<(String, Descriptor)>,
    notes: Vec<String>,
    refused: Vec<String>,
    failure: Option<String>,
}

fn told(source: Source) -> Told {
    let (to, mut from) = mpsc::channel(1);
    let finder = thread::spawn(move || find(&source, &ProgressBar::hidden(), to));
    let mut told = Told::default();
    while let Some(found) = from.blocking_recv() {
        match found {
            Found::Config { id, targets, .. } => {
                let targets = targets.iter().map(Digest::text).collect();
                told.configs.push((id.text(), targets));
            }
            Found::Link { id, target } => told.links.push((id.text(), target.text())),
            Found::Image { name, target } => told.images.push((name, *target)),
            Found::Note(text) => told.notes.push(text),
            Found::Refused { what, why } => told.refused.push(format!("{what}: {why}")),
        }
    }
    let ended = finder.join().unwrap();
    told.failure = ended.err().map(|failure| format!("{failure:?}"));
    told
}

fn digest(content: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, content).text()
}

fn of(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}

fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    descriptor
}

fn config(architecture: &str) -> Value {
    json!({"os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": []}})
}

impl Layout {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        fs::write(
            folder.path().join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        Self {
            folder,
            entries: Vec::new(),
        }
    }

    fn path(&self, descriptor: &Value) -> PathBuf {
        let digest = of(descriptor);
        self.folder
            .path()
            .join("blobs")
            .join(digest.replace(':', "/"))
    }

    fn blob(&self, media_type: &str, content: impl AsRef<[u8]>) -> Value {
        let content = content.as_ref();
        let descriptor =
            json!({"mediaType": media_type, "digest": digest(content), "size": content.len()});
        fs::write(self.path(&descriptor), content).unwrap();
        descriptor
    }

    fn manifest(&self, config: &Value) -> Value {
        let config = self.blob(CONFIG, config.to_string());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
        self.blob(MANIFEST, manifest.to_string())
    }

    fn index(&self, manifests: &[Value]) -> Value {
        self.blob(
            INDEX,
            json!({"schemaVersion": 2, "manifests": manifests}).to_string(),
        )
    }

    fn name(&mut self, descriptor: Value, name: &str) {
        self.entries.push(named(descriptor, name));
    }

    fn close(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.entries}).to_string();
        fs::write(self.folder.path().join("index.json"), index).unwrap();
    }

    fn told(&self) -> Told {
        self.close();
        told(Source::Layout(self.folder.path().to_owned()))
    }

    /// What is refused when it has one image, of which a part was broken.
    #[track_caller]
    fn refused(mut self, target: Value) -> String {
        self.name(target, "broken");
        let told = self.told();
        assert_eq!(
            (told.images.len(), told.refused.len()),
            (0, 1),
            "{:?}",
            told.refused
        );
        told.refused.into_iter().next().unwrap()
    }
}
