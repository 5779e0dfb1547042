//! What the store promises, on every engine, with the whole store checked against itself after each
//! test.

/// Runs each test on each engine, and then checks the whole store.
macro_rules! on_every_engine {
    ($($test:ident),* $(,)?) => {
        mod on_memory { $(#[tokio::test] async fn $test() { let on = super::On::memory().await; super::$test(&on).await; on.must_be_sound().await; })* }
        mod on_redb { $(#[tokio::test] async fn $test() { let on = super::On::redb().await; super::$test(&on).await; on.must_be_sound().await; })* }
        mod on_faulty_redb { $(#[tokio::test] async fn $test() { let on = super::On::faulty().await; super::$test(&on).await; on.must_be_sound().await; })* }
    };
}

mod backup;
mod batches;
mod builders;
mod cache;
mod configs;
mod everything;
mod faults;
mod history;
mod leases;
mod lookups;
mod model;
mod namespaces;
mod records;
mod stored;
mod targets;
mod watch;
mod watched;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Mutex;

use futures::StreamExt;
use futures::future::join_all;

use super::*;
use crate::domain::{
    Algorithm, Dating, Descriptor, Dialect, Digest, Image, ImageChange, ImageEdit, ImageName,
    Invalid, Labels, NamespaceChange, NamespaceEdit, Size,
};
use crate::error::Subject;
use crate::kv::{Fault, Faulty, Memory, Options, Redb, Revision};

/// A store with a clock that the test moves.
struct On {
    store: Store,
    clock: Arc<Mutex<i64>>,
    _dir: Option<tempfile::TempDir>,
}

fn surroundings() -> (Surroundings, Arc<Mutex<i64>>) {
    let clock = Arc::new(Mutex::new(1000));
    let (shown, counted) = (clock.clone(), clock.clone());
    let surroundings = Surroundings {
        clock: Arc::new(move || Timestamp::new(*shown.lock().unwrap(), 7).unwrap()),
        uptime: Arc::new(move || {
            Duration::from_secs(u64::try_from(*counted.lock().unwrap()).unwrap_or_default())
        }),
        new_id: Arc::new(|| StoreId([9; 16])),
    };
    (surroundings, clock)
}

impl On {
    async fn kv(kv: Arc<dyn Kv>, dir: Option<tempfile::TempDir>) -> Self {
        let (surroundings, clock) = surroundings();
        let store = Store::on(kv, surroundings).await.unwrap();
        Self {
            store,
            clock,
            _dir: dir,
        }
    }

    async fn memory() -> Self {
        Self::kv(Arc::new(Memory::new()), None).await
    }

    async fn redb() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kv = Redb::open(dir.path(), Options::default()).unwrap();
        Self::kv(Arc::new(kv), Some(dir)).await
    }

    async fn faulty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kv = Faulty::new(Redb::open(dir.path(), Options::default()).unwrap());
        Self::kv(Arc::new(kv), Some(dir)).await
    }

    fn at(&self, seconds: i64) {
        *self.clock.lock().unwrap() = seconds;
    }

    async fn put(&self, place: &str, content: &str) -> At<Put<Image>> {
        let (namespace, name) = place.split_once('/').unwrap();
        let request = PutImage::new(name.parse().unwrap(), replace(content));
        self.store
            .images()
            .put(&namespace.parse().unwrap(), request)
            .await
            .unwrap()
    }

    async fn delete(&self, place: &str) -> Result<At<Stored<Image>>, Error> {
        let (namespace, name) = place.split_once('/').unwrap();
        let request = DeleteImage::new(name.parse().unwrap());
        self.store
            .images()
            .delete(&namespace.parse().unwrap(), &request)
            .await
    }

    async fn get(&self, place: &str) -> Result<Stored<Image>, Error> {
        let (namespace, name) = place.split_once('/').unwrap();
        let got = self
            .store
            .images()
            .get(&namespace.parse().unwrap(), &name.parse().unwrap())
            .await;
        got.map(|got| got.value)
    }

    /// The places of all that a query finds, by List, Stream and Count alike.
    async fn find(&self, query: &ImageQuery) -> Vec<String> {
        let place = |stored: &Stored<Image>| format!("{}/{}", stored.namespace, stored.record.name);
        let mut listed = Vec::new();
        let mut page = PageRequest {
            size: 3,
            token: String::new(),
        };
        loop {
            let found = self.store.images().list(query, &page).await.unwrap();
            assert!(found.items.len() <= 3);
            listed.extend(found.items.iter().map(place));
            if found.next_token.is_empty() {
                break;
            }
            page.token = found.next_token;
        }
        let mut streamed = Vec::new();
        let mut stream = self.store.images().stream(query.clone()).await.unwrap();
        while let Some(chunk) = stream.next().await {
            streamed.extend(chunk.unwrap().images.iter().map(place));
        }
        assert_eq!(listed, streamed);
        let count = self.store.images().count(query).await.unwrap().value;
        assert_eq!(count, listed.len() as u64);
        listed
    }

    async fn must_be_sound(self) {
        assert_eq!(self.store.verify().await.unwrap().problems, []);
        self.store.close().await;
    }
}

fn target(content: &str) -> Descriptor {
    let size = Size::try_from(content.len() as u64 + 1).unwrap();
    Descriptor::new(
        "a/b".parse().unwrap(),
        Digest::of(Algorithm::Sha256, content.as_bytes()),
        size,
    )
}

/// A record of some 200 KiB, made of labels: five of them fill a page or a chunk.
fn heavy(name: &str) -> PutImage {
    let labels: BTreeMap<_, _> = (0..50)
        .map(|k| (format!("k{k}"), "v".repeat(4000)))
        .collect();
    let change = ImageChange::Replace {
        target: target("one"),
        labels: Labels::try_from(labels).unwrap(),
    };
    PutImage::new(name.parse().unwrap(), change)
}

fn replace(content: &str) -> ImageChange {
    ImageChange::Replace {
        target: target(content),
        labels: Labels::default(),
    }
}

fn relabel(labels: Labels) -> NamespaceChange {
    NamespaceChange::Replace {
        labels,
        history_limit: None,
    }
}

fn namespace(name: &str) -> Namespace {
    name.parse().unwrap()
}

fn name(name: &str) -> ImageName {
    name.parse().unwrap()
}

fn one(name: &str) -> ImageQuery {
    ImageQuery::all(Scope::One(namespace(name)))
}

/// Has a write wait with its commit until others are done; `None` where it has nothing to commit.
async fn overtaken<A, B>(
    kv: &Faulty<Memory>,
    slow: impl Future<Output = A>,
    fast: impl Future<Output = B>,
) -> Option<(A, B)> {
    let until = Arc::new(tokio::sync::Notify::new());
    kv.plan(0, Fault::Stall(until.clone()));
    let mut slow = pin!(slow);
    while kv.is_planned() {
        if futures::poll!(&mut slow).is_ready() {
            return None;
        }
        tokio::task::yield_now().await;
    }
    let fast = fast.await;
    until.notify_one();
    Some((slow.await, fast))
}
