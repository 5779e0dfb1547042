//! What every engine promises, as tests over any of them, and a comparison with the model.

/// Runs each test on each engine.
macro_rules! on_every_engine {
    ($($test:ident),* $(,)?) => {
        mod on_memory { $(#[tokio::test] async fn $test() { super::$test(super::memory()).await; })* }
        mod on_redb { $(#[tokio::test] async fn $test() { super::$test(super::redb()).await; })* }
        mod on_faulty_redb { $(#[tokio::test] async fn $test() { super::$test(super::faulty()).await; })* }
    };
}

mod commits;
mod log;
mod model;
mod scans;

use std::sync::Arc;

use bytes::Bytes;

use super::*;

/// An engine, and what must outlive it.
struct Subject {
    kv: Arc<dyn Kv>,
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Subject {
    Subject {
        kv: Arc::new(Memory::new()),
        _dir: None,
    }
}

fn redb_in(dir: &tempfile::TempDir) -> Redb {
    Redb::open(dir.path(), Options::default()).unwrap()
}

fn redb() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    Subject {
        kv: Arc::new(redb_in(&dir)),
        _dir: Some(dir),
    }
}

fn faulty() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    Subject {
        kv: Arc::new(Faulty::new(redb_in(&dir))),
        _dir: Some(dir),
    }
}

impl Subject {
    async fn view(&self) -> Arc<dyn Snapshot> {
        self.kv.snapshot().await.unwrap()
    }

    async fn value(&self, key: &Key) -> Option<Versioned> {
        self.view()
            .await
            .get(std::slice::from_ref(key))
            .await
            .unwrap()
            .remove(0)
    }

    async fn put(&self, key: Key, value: &'static str) -> Revision {
        let mut batch = Batch::new(0);
        batch.put(key, value);
        self.kv.commit(batch).await.unwrap()
    }
}

fn key(row: &'static str) -> Key {
    Table::logged("v1/a/t").key(row)
}
