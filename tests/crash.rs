//! kill -9 under 16 writers, one more that writes several names at once, and a watcher, again and again on
//! one store: no acknowledged write is lost, none is half there, the log agrees with the state, and the
//! watcher sees each write once, whole, in order.
//!
//! `IMAGESTORE_CRASH_ROUNDS` sets the number of rounds (20; 200 where `CI` is set), `IMAGESTORE_SEED`
//! repeats a run as far as the machine lets it.

mod common;
#[path = "crash/configs.rs"]
mod configs;

use std::collections::{BTreeMap, HashSet};
use std::env;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{PATIENCE, Server, delete, digest, eventually, folder, put, socket};
use futures::future::join_all;
use imagestore::Store;
use imagestore::proto::v1 as pb;
use imagestore::proto::v1::image_event::Event;
use imagestore::proto::v1::images_client::ImagesClient;
use imagestore::proto::v1::watch_images_response::Kind;
use tonic::Streaming;
use tonic::transport::Channel;

const WRITERS: usize = 16;

/// How many names a writer has at most; then it removes before it makes new ones.
const NAMES: usize = 40;

/// Names that are written together, always with one digest.
const TOGETHER: [&str; 3] = ["batch/a", "batch/b", "batch/c"];

/// How long a round's writers write at most, in milliseconds.
const LONGEST: u64 = 300;

/// A round goes on until so many writes were acknowledged, however slow the machine is.
const LEAST_WRITES: u64 = 20;

/// Reading the whole log takes longer from round to round, so that it is not read after each.
const FIRST_VERIFIED: u64 = 5;
const ROUNDS_BETWEEN_VERIFIES: u64 = 10;

/// How long a server that is killed while it starts may have, in milliseconds.
const STARTING: u64 = 40;

/// What a name holds: a target's digest, and the revision that wrote it.
type Held = (String, u64);

/// A name, and the digest that it was put with; `None` for a Delete.
type Write = (String, Option<String>);

/// What one writer knows of its names.
#[derive(Default)]
struct Known {
    /// As acknowledged.
    held: BTreeMap<String, Held>,
    /// The write that the kill cut off.
    cut_off: Option<Write>,
    /// The writes that were acknowledged in this round.
    acknowledged: Vec<(u64, Write)>,
    written: u64,
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

fn rounds() -> u64 {
    let in_ci = env::var_os("CI").is_some_and(|value| !value.is_empty());
    number("IMAGESTORE_CRASH_ROUNDS").unwrap_or(if in_ci { 200 } else { 20 })
}

fn seed() -> u64 {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
    };
    // A shift register never leaves zero.
    number("IMAGESTORE_SEED").unwrap_or_else(now).max(1)
}

/// What the writers of a round share.
#[derive(Default)]
struct Round {
    acknowledged: AtomicU64,
    killed: AtomicBool,
}

/// Writes until the server is gone.
async fn write(
    writer: usize,
    mut known: Known,
    mut random: Random,
    channel: Channel,
    round: Arc<Round>,
) -> Known {
    let mut images = ImagesClient::new(channel);
    loop {
        let nth = random.below(known.held.len().max(1) as u64) as usize;
        let own = known.held.keys().nth(nth).cloned();
        known.written += 1;
        let (name, is_delete) = match (random.below(4), own) {
            (0, Some(name)) => (name, true),
            (1, Some(name)) => (name, false),
            (_, Some(name)) if known.held.len() >= NAMES => (name, true),
            _ => (format!("w{writer:02}/n{}", known.written), false),
        };
        let before = known.held.get(&name).map(|held| held.1);
        let (answer, wrote) = if is_delete {
            known.cut_off = Some((name.clone(), None));
            let answer = images.delete(delete(&name)).await;
            (answer.map(|answer| answer.into_inner().revision), None)
        } else {
            let of = format!("{name} {}", known.written);
            known.cut_off = Some((name.clone(), Some(digest(&of))));
            let answer = images
                .put(put(&name, &of))
                .await
                .map(tonic::Response::into_inner);
            let answer = answer.map(|answer| {
                assert!(answer.changed);
                assert_eq!(answer.image.unwrap().revision, answer.revision);
                answer.revision
            });
            (answer, Some(digest(&of)))
        };
        let revision = match answer {
            Ok(revision) => revision,
            Err(status) => {
                assert!(
                    round.killed.load(Ordering::SeqCst),
                    "refused while it ran: {status:?}"
                );
                return known;
            }
        };
        known.cut_off = None;
        assert!(
            before.is_none_or(|before| revision > before),
            "{name} went back to {revision}"
        );
        known
            .acknowledged
            .push((revision, (name.clone(), wrote.clone())));
        round.acknowledged.fetch_add(1, Ordering::SeqCst);
        match wrote {
            Some(digest) => known.held.insert(name, (digest, revision)),
            None => known.held.remove(&name),
        };
    }
}

/// Writes batches until the server is gone; returns those that were acknowledged.
async fn write_together(
    mut random: Random,
    channel: Channel,
    round: Arc<Round>,
) -> Vec<(u64, String)> {
    let mut images = ImagesClient::new(channel);
    let mut acknowledged = Vec::new();
    loop {
        let of = format!("batch {}", random.next());
        let item = |name: &&str| pb::ApplyItem {
            item: Some(pb::apply_item::Item::Put(pb::ApplyPut {
                image: put(name, &of).image,
                ..Default::default()
            })),
        };
        let request = pb::ApplyImagesRequest {
            items: TOGETHER.iter().map(item).collect(),
            ..Default::default()
        };
        match images.apply(request).await {
            Ok(done) => acknowledged.push((done.into_inner().revision, digest(&of))),
            Err(status) => {
                let is_killed = round.killed.load(Ordering::SeqCst);
                assert!(is_killed, "refused while it ran: {status:?}");
                return acknowledged;
            }
        }
    }
}

/// Takes what was written together out of what there is: all of one revision, not before `newest`.
fn settle_together(there: &mut BTreeMap<String, Held>, newest: u64) {
    let found = TOGETHER.map(|name| there.remove(name));
    assert!(
        found.iter().all(|held| *held == found[0]) && newest_of(&found[0]) >= newest,
        "half a batch, or an old one: {found:?}; revision {newest} was acknowledged"
    );
}

/// What a watcher was told, by all servers together.
struct Witness {
    /// All up to this revision was told.
    at: u64,
    told: BTreeMap<u64, Write>,
    /// The digests of what was written together.
    batches: BTreeMap<u64, String>,
    held: BTreeMap<String, Held>,
}

impl Witness {
    /// The first revision makes the store; each after it is one write.
    fn new() -> Self {
        Self {
            at: 1,
            told: BTreeMap::new(),
            batches: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    async fn watch(&self, channel: Channel) -> tonic::Result<Streaming<pb::WatchImagesResponse>> {
        let request = pb::WatchImagesRequest {
            after_revision: self.at,
            ..Default::default()
        };
        let watch = ImagesClient::new(channel).watch(request).await?;
        Ok(watch.into_inner())
    }

    /// Ordered, gapless, unique and atomic: the next revision, once, with all that it did.
    fn take(&mut self, message: pb::WatchImagesResponse) {
        let changes = match message.kind.unwrap() {
            Kind::Changes(changes) => changes,
            Kind::Progress(progress) => return assert_eq!(progress.revision, self.at),
            other => panic!("nobody asked for {other:?}"),
        };
        assert_eq!(changes.revision, self.at + 1, "after {}", self.at);
        self.at = changes.revision;
        if changes.events.len() == TOGETHER.len() {
            return self.take_together(changes.events);
        }
        let [event] = &changes.events[..] else {
            panic!("a revision wrote one name or a whole batch, not {changes:?}");
        };
        let write = match event.event.clone().unwrap() {
            Event::Put(image) => {
                assert_eq!(image.revision, self.at);
                let digest = image.target.unwrap().digest;
                self.held
                    .insert(image.name.clone(), (digest.clone(), self.at));
                (image.name, Some(digest))
            }
            Event::Deleted(gone) => {
                let held = self.held.remove(&gone.name);
                assert!(held.is_some(), "{} was not there", gone.name);
                (gone.name, None)
            }
            Event::NamespaceRemoved(removed) => panic!("nobody removed {removed:?}"),
        };
        self.told.insert(self.at, write);
    }

    fn take_together(&mut self, events: Vec<pb::ImageEvent>) {
        for (event, wanted) in events.into_iter().zip(TOGETHER) {
            let Some(Event::Put(image)) = event.event else {
                panic!("a batch puts, and did {event:?}");
            };
            assert_eq!((image.name.as_str(), image.revision), (wanted, self.at));
            let digest = image.target.unwrap().digest;
            let batch = self.batches.entry(self.at).or_insert(digest.clone());
            assert_eq!(*batch, digest, "a batch has one digest");
            self.held.insert(image.name, (digest, self.at));
        }
    }

    /// Watches until the server is gone.
    async fn until_killed(mut self, channel: Channel, round: Arc<Round>) -> Self {
        let mut watch = self.watch(channel).await;
        let ended = loop {
            match &mut watch {
                Ok(messages) => match messages.message().await {
                    Ok(Some(message)) => self.take(message),
                    ended => break format!("{ended:?}"),
                },
                Err(status) => break format!("{status:?}"),
            }
        };
        let is_killed = round.killed.load(Ordering::SeqCst);
        assert!(is_killed, "ended while it ran: {ended}");
        self
    }

    /// Goes on with another server, up to a revision.
    async fn catch_up(&mut self, channel: Channel, newest: u64) {
        let mut watch = self.watch(channel).await.unwrap();
        while self.at < newest {
            let message = tokio::time::timeout(PATIENCE, watch.message()).await;
            let message = message.expect("it tells what it has not told").unwrap();
            self.take(message.unwrap());
        }
    }
}

/// What the store holds, read over the library or through a new process.
enum Reader {
    Library(Store),
    Process(Server),
}

impl Reader {
    async fn open(root: &Path, by_process: bool) -> Self {
        if by_process {
            return Self::Process(Server::at(root).await);
        }
        Self::Library(Store::open(root).await.unwrap())
    }

    async fn all(&self) -> (BTreeMap<String, Held>, u64) {
        let mut all = BTreeMap::new();
        let mut keep = |name: String, digest: String, revision: u64| {
            assert!(
                all.insert(name.clone(), (digest, revision)).is_none(),
                "{name} came twice"
            );
        };
        let mut at = 0;
        match self {
            Self::Library(store) => {
                use futures::StreamExt;
                use imagestore::store::{ImageQuery, Scope};
                let query = ImageQuery::all(Scope::All);
                let mut chunks = store.images().stream(query).await.unwrap();
                while let Some(chunk) = chunks.next().await {
                    let chunk = chunk.unwrap();
                    at = chunk.revision.0;
                    for image in chunk.images {
                        let target = image.record.target.digest().text();
                        keep(
                            image.record.name.as_str().to_owned(),
                            target,
                            image.revision.0,
                        );
                    }
                }
            }
            Self::Process(server) => {
                let query = pb::StreamImagesRequest {
                    namespace: "-".to_owned(),
                    ..Default::default()
                };
                let mut chunks = server
                    .images()
                    .await
                    .stream(query)
                    .await
                    .unwrap()
                    .into_inner();
                while let Some(chunk) = chunks.message().await.unwrap() {
                    at = chunk.revision;
                    for image in chunk.images {
                        keep(image.name, image.target.unwrap().digest, image.revision);
                    }
                }
            }
        }
        (all, at)
    }
}

/// Compares what is there with what a writer knows, and settles what was cut off.
fn settle(known: &mut Known, there: &mut BTreeMap<String, Held>, prefix: &str, newest: u64) {
    let own: Vec<String> = there
        .range(prefix.to_owned()..)
        .take_while(|(name, _)| name.starts_with(prefix))
        .map(|(name, _)| name.clone())
        .collect();
    let mut found: BTreeMap<String, Held> = own
        .into_iter()
        .filter_map(|name| there.remove_entry(&name))
        .collect();
    if let Some((name, wanted)) = known.cut_off.take() {
        let acknowledged = known.held.remove(&name);
        let is = found.remove(&name);
        let happened = match (&is, &wanted) {
            (None, None) => true,
            (Some((digest, revision)), Some(wanted)) => {
                digest == wanted && *revision > newest_of(&acknowledged)
            }
            _ => false,
        };
        assert!(
            happened || is == acknowledged,
            "{name} is {is:?}; acknowledged was {acknowledged:?}, and {wanted:?} was cut off"
        );
        if let Some(is) = is {
            assert!(
                is.1 <= newest,
                "{name} is of revision {}, and the store is at {newest}",
                is.1
            );
            known.held.insert(name.clone(), is.clone());
            found.insert(name, is);
        }
    }
    assert!(
        found == known.held,
        "acknowledged: {:?}\nfound: {found:?}",
        known.held
    );
}

fn newest_of(held: &Option<Held>) -> u64 {
    held.as_ref().map_or(0, |held| held.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_to_kill_9_and_none_is_half_there() {
    let (rounds, seed) = (rounds(), seed());
    eprintln!("crash: {rounds} rounds with IMAGESTORE_SEED={seed}");
    let mut random = Random(seed);
    let root = folder();
    let mut server = Server::at(root.path()).await;
    let mut writers: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    let mut witness = Witness::new();
    let mut issued = HashSet::new();
    let (mut newest, mut total) = (0, 0u64);
    for round in 1..=rounds {
        let shared = Arc::new(Round::default());
        let mut tasks = Vec::with_capacity(WRITERS);
        for (writer, known) in writers.drain(..).enumerate() {
            let own = Random(random.next() | 1);
            let channel = server.channel().await;
            tasks.push(tokio::spawn(write(
                writer,
                known,
                own,
                channel,
                shared.clone(),
            )));
        }
        let own = Random(random.next() | 1);
        let together = write_together(own, server.channel().await, shared.clone());
        let together = tokio::spawn(together);
        let channel = server.channel().await;
        let watcher = tokio::spawn(witness.until_killed(channel, shared.clone()));
        tokio::time::sleep(Duration::from_millis(random.below(LONGEST))).await;
        eventually("enough was written to be lost", async || {
            shared.acknowledged.load(Ordering::SeqCst) >= LEAST_WRITES
        })
        .await;
        shared.killed.store(true, Ordering::SeqCst);
        server.kill();
        assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
        if random.below(4) == 0 {
            killed_while_it_starts(root.path(), random.below(STARTING)).await;
        }
        witness = watcher.await.unwrap();
        let before = newest;
        let mut acknowledged = Vec::new();
        for known in join_all(tasks).await {
            let mut known = known.unwrap();
            for (revision, write) in known.acknowledged.drain(..) {
                acknowledged.push((revision, write));
                assert!(
                    revision > before,
                    "revision {revision} was of an earlier round"
                );
                assert!(
                    issued.insert(revision),
                    "revision {revision} was issued twice"
                );
                newest = newest.max(revision);
                total += 1;
            }
            writers.push(known);
        }

        let together = together.await.unwrap();
        for (revision, _) in &together {
            assert!(
                issued.insert(*revision),
                "revision {revision} was issued twice"
            );
            newest = newest.max(*revision);
            total += 1;
        }
        let last_together = together.last().map_or(0, |last| last.0);

        let reader = Reader::open(root.path(), random.below(2) == 0).await;
        let (mut there, at) = reader.all().await;
        assert!(
            at >= newest,
            "round {round}: revision {newest} was acknowledged, and it is at {at}"
        );
        let all = there.clone();
        for (writer, known) in writers.iter_mut().enumerate() {
            settle(known, &mut there, &format!("w{writer:02}/"), at);
        }
        settle_together(&mut there, last_together);
        assert!(there.is_empty(), "round {round}: nobody wrote {there:?}");
        newest = newest.max(at);

        let is_last = round == rounds;
        let verify =
            is_last || round <= FIRST_VERIFIED || round.is_multiple_of(ROUNDS_BETWEEN_VERIFIES);
        server = match reader {
            Reader::Library(store) => {
                if verify {
                    verified(&store, round).await;
                }
                drop(store);
                Server::at(root.path()).await
            }
            Reader::Process(mut server) if verify => {
                server.kill();
                let store = Store::open(root.path()).await.unwrap();
                verified(&store, round).await;
                drop(store);
                Server::at(root.path()).await
            }
            Reader::Process(server) => server,
        };
        witness.catch_up(server.channel().await, at).await;
        assert_eq!((witness.at, &witness.held), (at, &all), "round {round}");
        for (revision, digest) in together {
            let told = witness.batches.get(&revision);
            assert_eq!(told, Some(&digest), "round {round}: revision {revision}");
        }
        for (revision, write) in acknowledged {
            let told = witness.told.get(&revision);
            assert_eq!(told, Some(&write), "round {round}: revision {revision}");
        }
    }
    eprintln!("crash: {rounds} rounds, seed {seed}, {total} acknowledged writes, none lost");
}

/// Replaying what the last crash left is cut off too.
async fn killed_while_it_starts(root: &Path, after: u64) {
    let (_dir, address) = socket();
    let mut server = Server::launch(root, &address);
    tokio::time::sleep(Duration::from_millis(after)).await;
    assert!(!server.has_ended(), "{}", server.stderr());
    server.kill();
}

async fn verified(store: &Store, round: u64) {
    let problems = store.verify().await.unwrap().problems;
    assert!(problems.is_empty(), "round {round}: {problems:?}");
}
