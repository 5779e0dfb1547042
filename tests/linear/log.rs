//! The change log of a store that no process has open, by namespace.

use std::collections::BTreeMap;
use std::path::Path;

use imagestore::domain::{Algorithm, Digest};
use imagestore::kv::{Effect, Kv, Options, Redb, Revision};
use prost::Message;

use crate::history::{Effects, Logged, Record};

/// What the file holds.
#[allow(dead_code, clippy::all)]
mod storage {
    include!(concat!(env!("OUT_DIR"), "/imagestore.storage.v1.rs"));
}

/// All that was logged of image records.
#[derive(Default)]
pub struct Log {
    pub namespaces: BTreeMap<String, Vec<Logged>>,
    pub newest: u64,
}

/// Revisions that are read at once.
const PAGE: usize = 1000;

impl Log {
    pub async fn of(root: &Path) -> Self {
        let engine = Redb::open(root, Options::default()).unwrap();
        let snapshot = engine.snapshot().await.unwrap();
        let mut log = Self {
            newest: snapshot.revision().0,
            ..Self::default()
        };
        let mut after = Revision::ZERO;
        loop {
            let page = snapshot.changes(after, PAGE).await.unwrap();
            let Some(last) = page.last() else {
                return log;
            };
            after = last.revision;
            for change in page {
                log.add(change.revision.0, change.effects);
            }
        }
    }

    fn add(&mut self, revision: u64, effects: Vec<Effect>) {
        let mut by_namespace: BTreeMap<String, Effects> = BTreeMap::new();
        for effect in effects {
            let Effect::Row {
                table, row, value, ..
            } = effect
            else {
                panic!("nobody empties a table, and revision {revision} does");
            };
            let images = table.strip_prefix("v1/");
            let Some(namespace) = images.and_then(|path| path.strip_suffix("/images")) else {
                continue;
            };
            let name = String::from_utf8(row.to_vec()).unwrap();
            let record = value.map(|value| record(&value, revision));
            by_namespace
                .entry(namespace.to_owned())
                .or_default()
                .insert(name, record);
        }
        for (namespace, effects) in by_namespace {
            self.namespaces
                .entry(namespace)
                .or_default()
                .push(Logged { revision, effects });
        }
    }
}

fn record(value: &[u8], revision: u64) -> Record {
    let stored = storage::ImageRecord::decode(value).unwrap();
    let Some(storage::image_record::Version::V1(image)) = stored.version else {
        panic!("a record of no version");
    };
    let digest = image.target.unwrap().digest;
    // The first byte says that it is a sha256, which all in these histories are.
    let digest = Digest::from_bytes(Algorithm::Sha256, &digest[1..]).unwrap();
    Record {
        target: digest.text(),
        labels: image.labels.into_iter().collect(),
        revision,
    }
}
