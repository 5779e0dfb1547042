//! Watching: what watchers see, against what the log says.

use std::collections::btree_map::Entry;

use super::watched::Watched;
use super::*;
use crate::kv::{Change, Effect, TAIL_GROUPS};

on_every_engine![
    watchers_see_what_the_log_says_wherever_they_begin_again,
    what_is_put_while_the_initial_records_are_read_follows_them,
    a_reader_that_does_not_read_gets_all_from_the_log_later,
    a_revision_of_more_than_a_mebibyte_comes_in_fragments,
    a_filter_lets_a_change_through_that_matches_before_or_after,
    a_forced_delete_of_a_namespace_is_one_event_whatever_is_asked_for,
    a_revision_to_come_is_refused,
    a_record_that_makes_no_sense_ends_the_watch,
    every_watcher_sees_every_change,
];

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// A query, and the same in plain code.
#[derive(Clone)]
struct Asked {
    query: ImageQuery,
    namespace: Option<&'static str>,
    matches: fn(&Image) -> bool,
}

fn asked(
    namespace: Option<&'static str>,
    prefix: &str,
    filters: &[&str],
    matches: fn(&Image) -> bool,
) -> Asked {
    let scope = namespace.map_or(Scope::All, |name| Scope::One(name.parse().unwrap()));
    let filters = filters.iter().map(|text| (*text).to_owned()).collect();
    let query = ImageQuery::all(scope).under(prefix);
    Asked {
        query: query.filtered(filters, Dialect::Native).unwrap(),
        namespace,
        matches,
    }
}

fn some_queries() -> Vec<Asked> {
    let is_large = |image: &Image| image.target.size().get() > 2;
    vec![
        asked(None, "", &[], |_| true),
        asked(Some("a"), "", &[], |_| true),
        asked(None, "x", &[], |image| image.name.as_str().starts_with('x')),
        asked(Some("b"), "", &["target.size>2"], is_large),
        asked(None, "", &["name~=^x1", "target.size>2"], |image| {
            image.name.as_str().starts_with("x1") || image.target.size().get() > 2
        }),
        asked(None, "x", &["target.size>2"], |image| {
            image.name.as_str().starts_with('x') && image.target.size().get() > 2
        }),
        asked(Some("never"), "", &[], |_| true),
    ]
}

/// What a watcher is told of one revision.
type Told = (Revision, Timestamp, Vec<ImageEvent>);

/// What the log says, by a way of its own: the state is followed change by change.
async fn model(store: &Store, asked: &Asked, with_previous: bool) -> Vec<Told> {
    let snapshot = store.snapshot().await.unwrap();
    let mut log: Vec<Change> = Vec::new();
    loop {
        let after = log.last().map_or(Revision::ZERO, |last| last.revision);
        let read = snapshot.changes(after, 1000).await.unwrap();
        if read.is_empty() {
            break;
        }
        log.extend(read);
    }
    let mut state: BTreeMap<(String, bytes::Bytes), Stored<Image>> = BTreeMap::new();
    let mut told = Vec::new();
    for change in log {
        let mut events = Vec::new();
        for effect in change.effects {
            let (Effect::Row { table, .. } | Effect::Cleared { table, .. }) = &effect;
            let Some(owner) = table
                .strip_prefix("v1/")
                .and_then(|rest| rest.strip_suffix("/images"))
            else {
                continue;
            };
            let owner = namespace(owner);
            let is_in_scope = asked.namespace.is_none_or(|name| owner.as_str() == name);
            match effect {
                Effect::Cleared { table, rows } => {
                    state.retain(|(of, _), _| *of != table);
                    if is_in_scope {
                        events.push(ImageEvent::NamespaceRemoved {
                            namespace: owner,
                            images: rows,
                        });
                    }
                }
                Effect::Row {
                    table, row, value, ..
                } => {
                    let name: ImageName = std::str::from_utf8(&row).unwrap().parse().unwrap();
                    let new = value.map(|value| Stored {
                        namespace: owner.clone(),
                        record: wire::decode_image(name.clone(), value).unwrap().image,
                        revision: change.revision,
                    });
                    let old = match (state.entry((table, row)), new.clone()) {
                        (Entry::Occupied(mut held), Some(new)) => Some(held.insert(new)),
                        (Entry::Occupied(held), None) => Some(held.remove()),
                        (Entry::Vacant(free), Some(new)) => {
                            free.insert(new);
                            None
                        }
                        (Entry::Vacant(_), None) => None,
                    };
                    let matches = |stored: &Option<Stored<Image>>| {
                        let stored = stored.as_ref();
                        stored.is_some_and(|stored| (asked.matches)(&stored.record))
                    };
                    let is_match = matches(&new);
                    if !is_in_scope || !(is_match || matches(&old)) {
                        continue;
                    }
                    let previous = old.filter(|_| with_previous);
                    events.push(match new {
                        Some(image) => ImageEvent::Put {
                            image,
                            previous,
                            is_match,
                        },
                        None => ImageEvent::Deleted {
                            namespace: owner,
                            name,
                            previous,
                        },
                    });
                }
            }
        }
        if !events.is_empty() {
            let at = Timestamp::from_millis(change.at_millis).unwrap();
            told.push((change.revision, at, events));
        }
    }
    told
}

/// Puts and deletes in one namespace, at one revision.
async fn together(
    store: &Store,
    owner: &str,
    changes: impl IntoIterator<Item = (String, Option<ImageChange>)>,
) {
    let writes = changes.into_iter().map(|(of, change)| ImageWrite {
        name: name(&of),
        act: match change {
            Some(change) => Act::Put(change),
            None => Act::Delete {
                allow_missing: true,
            },
        },
        when: Precondition::None,
    });
    let request = ApplyImages::new(writes.collect()).unwrap();
    let images = store.images();
    images.apply(&namespace(owner), &request).await.unwrap();
}

/// A random write.
async fn write(store: &Store, random: &mut Random) {
    let owner = ["a", "b", "c"][random.below(3)];
    let place = |random: &mut Random| format!("{}{}", ["x", "y"][random.below(2)], random.below(4));
    let content = |random: &mut Random| replace(&"z".repeat(random.below(4)));
    let images = store.images();
    match random.below(20) {
        0 => {
            let delete = DeleteNamespace {
                name: namespace(owner),
                force: true,
                when: Precondition::None,
                validate_only: false,
                request: None,
            };
            // There may be none.
            let _ = store.namespaces().delete(&delete).await;
        }
        1..4 => {
            let changes: BTreeMap<_, _> = (0..=random.below(4))
                .map(|_| {
                    let change = (random.below(3) > 0).then(|| content(random));
                    (place(random), change)
                })
                .collect();
            together(store, owner, changes).await;
        }
        4..8 => {
            let delete = DeleteImage::new(name(&place(random)));
            // It may not be there.
            let _ = images.delete(&namespace(owner), &delete).await;
        }
        _ => {
            let put = PutImage::new(name(&place(random)), content(random));
            images.put(&namespace(owner), put).await.unwrap();
        }
    }
}

/// Reads a watch that begins again and again, until it has been told of `until`.
async fn read(
    store: Store,
    asked: Asked,
    with_previous: bool,
    after: Revision,
    mut until: tokio::sync::watch::Receiver<Option<Revision>>,
    mut random: Random,
) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut at = after;
    loop {
        let request = WatchImages {
            query: asked.query.clone(),
            start: WatchStart::After(at),
            with_previous,
        };
        let mut watch = store.images().watch(request).await.unwrap();
        let mut patience = random.below(40);
        // What a fragment says counts only when the last one is there.
        let mut begun: Option<Told> = None;
        while patience > 0 {
            patience -= 1;
            if until.borrow_and_update().is_some_and(|until| at >= until) {
                return told;
            }
            let message = tokio::select! {
                message = watch.next() => message.unwrap().unwrap(),
                _ = until.changed() => continue,
            };
            if let Some(reached) = message.resume_after() {
                assert!(reached >= at, "{reached} came after {at}");
                at = reached;
            }
            if let WatchMessage::Changes(changes) = message {
                let new = begun.get_or_insert((changes.revision, changes.committed_at, vec![]));
                assert_eq!(new.0, changes.revision);
                new.2.extend(changes.events);
                if !changes.is_partial {
                    told.extend(begun.take());
                }
            }
        }
    }
}

async fn watchers_see_what_the_log_says_wherever_they_begin_again(on: &On) {
    let seed = 0x9e37_79b9_7f4a_7c15;
    let mut random = Random(seed);
    for _ in 0..30 {
        write(&on.store, &mut random).await;
    }
    let (done, until) = tokio::sync::watch::channel(None);
    let mut watchers = Vec::new();
    let newest = on.store.snapshot().await.unwrap().revision();
    for asked in some_queries() {
        for with_previous in [false, true] {
            let after = Revision(random.below(newest.0 as usize + 1) as u64);
            let own = Random(random.below(1 << 30) as u64 + 1);
            let reader = read(
                on.store.clone(),
                asked.clone(),
                with_previous,
                after,
                until.clone(),
                own,
            );
            watchers.push((asked.clone(), with_previous, after, tokio::spawn(reader)));
        }
    }
    let writers = (0..4).map(|writer| {
        let (store, mut own) = (on.store.clone(), Random(seed + writer));
        tokio::spawn(async move {
            for _ in 0..100 {
                write(&store, &mut own).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    // From here on time passes when there is nothing else to do: those who have seen all are told so.
    tokio::time::pause();
    done.send_replace(Some(on.store.snapshot().await.unwrap().revision()));
    for (asked, with_previous, after, watcher) in watchers {
        let told = watcher.await.unwrap();
        let mut expected = model(&on.store, &asked, with_previous).await;
        expected.retain(|(revision, ..)| *revision > after);
        assert_eq!(told, expected, "{:?} after {after}", asked.query);
    }
}

fn watching(query: ImageQuery, start: WatchStart) -> WatchImages {
    WatchImages {
        query,
        start,
        with_previous: false,
    }
}

/// The names that a message is about, deleted ones with a minus.
fn names(message: &WatchMessage) -> Vec<String> {
    match message {
        WatchMessage::Initial(images) => images
            .iter()
            .map(|stored| stored.record.name.to_string())
            .collect(),
        WatchMessage::Changes(changes) => changes
            .events
            .iter()
            .map(|event| match event {
                ImageEvent::Put {
                    image,
                    is_match: true,
                    ..
                } => image.record.name.to_string(),
                ImageEvent::Put { image, .. } => format!("{} left", image.record.name),
                ImageEvent::Deleted { name, .. } => format!("-{name}"),
                ImageEvent::NamespaceRemoved { namespace, images } => {
                    format!("-{namespace} with {images}")
                }
            })
            .collect(),
        WatchMessage::InitialEnd(at) => vec![format!("end {at}")],
        WatchMessage::Progress(at) => vec![format!("at {at}")],
    }
}

/// How long a test waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the next messages are about, up to one that is about `last`.
async fn up_to(watch: &mut ImageWatch, last: &str) -> Vec<String> {
    let mut found = Vec::new();
    let reached = tokio::time::timeout(PATIENCE, async {
        while found.last().is_none_or(|name| name != last) {
            found.extend(names(&watch.next().await.unwrap().unwrap()));
        }
    });
    let reached = reached.await;
    assert!(reached.is_ok(), "no {last} after {found:?}");
    found
}

async fn begin(on: &On, request: WatchImages) -> ImageWatch {
    on.store.images().watch(request).await.unwrap()
}

/// A watch that follows what is committed from now on: it has said where it begins.
async fn following(on: &On, request: WatchImages) -> ImageWatch {
    let at = on.store.snapshot().await.unwrap().revision();
    let mut watch = begin(on, request).await;
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(first, WatchMessage::Progress(at));
    watch
}

async fn what_is_put_while_the_initial_records_are_read_follows_them(on: &On) {
    for i in 0..12 {
        let put = heavy(&format!("h{i:02}"));
        on.store.images().put(&namespace("ns"), put).await.unwrap();
    }
    on.put("other/x", "one").await;
    let mut watch = begin(on, watching(one("ns"), WatchStart::Initial)).await;
    // It cannot have read all: as much waits to be read as may.
    let at = on.put("ns/new", "one").await.revision;
    on.delete("ns/h05").await.unwrap();
    on.put("other/y", "one").await;
    on.put("ns/last", "one").await;
    let found = up_to(&mut watch, "last").await;
    let mut expected: Vec<_> = (0..12).map(|i| format!("h{i:02}")).collect();
    let end = format!("end {}", at.0 - 1);
    expected.extend([end, "new".into(), "-h05".into(), "last".into()]);
    assert_eq!(found, expected);
    assert_eq!(
        on.store.inner.long_reads.available_permits(),
        MAX_LONG_READS
    );

    let mut nothing = begin(on, watching(one("none"), WatchStart::Initial)).await;
    let at = on.store.snapshot().await.unwrap().revision();
    let first = nothing.next().await.unwrap().unwrap();
    assert_eq!(first, WatchMessage::InitialEnd(at));
}

async fn a_reader_that_does_not_read_gets_all_from_the_log_later(on: &On) {
    let mut watch = following(on, watching(one("ns"), WatchStart::Now)).await;
    let all: Vec<_> = (0..2 * TAIL_GROUPS + 100)
        .map(|i| format!("n{i:04}"))
        .collect();
    for name in &all {
        on.put(&format!("ns/{name}"), "one").await;
    }
    let found = up_to(&mut watch, all.last().unwrap()).await;
    assert_eq!(found, all);
}

async fn a_revision_of_more_than_a_mebibyte_comes_in_fragments(on: &On) {
    let changes: Vec<_> = (0..11)
        .map(|i| (format!("h{i:02}"), Some(heavy("h").change)))
        .collect();
    let mut watch = following(on, watching(one("ns"), WatchStart::Now)).await;
    together(&on.store, "ns", changes).await;
    on.put("ns/last", "one").await;
    let mut fragments = Vec::new();
    for is_last in [false, false, true] {
        let message = watch.next().await.unwrap().unwrap();
        let WatchMessage::Changes(changes) = &message else {
            panic!("{message:?}")
        };
        assert_eq!(
            (changes.revision, changes.is_partial),
            (Revision(2), !is_last)
        );
        assert_eq!(message.resume_after(), is_last.then_some(Revision(2)));
        fragments.push(changes.events.len());
        let bytes: usize = changes.events.len() * 200 * 1024;
        assert!(bytes <= 1 << 20, "{bytes}");
    }
    assert_eq!(fragments, [5, 5, 1]);
    assert_eq!(names(&watch.next().await.unwrap().unwrap()), ["last"]);
}

async fn a_filter_lets_a_change_through_that_matches_before_or_after(on: &On) {
    let large = one("ns")
        .filtered(vec!["target.size>2".into()], Dialect::Native)
        .unwrap();
    let request = WatchImages {
        with_previous: true,
        ..watching(large, WatchStart::Now)
    };
    let mut watch = following(on, request).await;
    on.put("ns/a", "").await;
    on.put("ns/a", "zz").await;
    let before = on.put("ns/a", "zzz").await.value.stored;
    on.put("ns/a", "z").await;
    on.put("ns/a", "").await;
    on.delete("ns/a").await.unwrap();
    on.put("ns/b", "zz").await;
    on.delete("ns/b").await.unwrap();
    let mut found = Vec::new();
    let mut previous = Vec::new();
    while found.len() < 5 {
        let message = watch.next().await.unwrap().unwrap();
        found.extend(names(&message));
        let WatchMessage::Changes(changes) = message else {
            panic!("{message:?}")
        };
        for event in changes.events {
            let (ImageEvent::Put { previous: was, .. } | ImageEvent::Deleted { previous: was, .. }) =
                event
            else {
                panic!("{event:?}")
            };
            previous.push(was);
        }
    }
    assert_eq!(found, ["a", "a", "a left", "b", "-b"]);
    let sizes: Vec<_> = previous
        .iter()
        .map(|was| was.as_ref().map(|was| was.record.target.size().get()))
        .collect();
    assert_eq!(sizes, [Some(1), Some(3), Some(4), None, Some(3)]);
    assert_eq!(previous[2], Some(before), "with its revision");
}

async fn a_forced_delete_of_a_namespace_is_one_event_whatever_is_asked_for(on: &On) {
    for place in ["ns/a", "ns/b", "other/a"] {
        on.put(place, "one").await;
    }
    let nothing = one("ns")
        .under("zzz")
        .filtered(vec!["target.size>1000".into()], Dialect::Native)
        .unwrap();
    let mut watch = following(on, watching(nothing, WatchStart::Now)).await;
    let mut others = following(on, watching(one("other"), WatchStart::Now)).await;
    let force = |owner| DeleteNamespace {
        name: namespace(owner),
        force: true,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    on.store.namespaces().delete(&force("ns")).await.unwrap();
    on.store.namespaces().delete(&force("other")).await.unwrap();
    assert_eq!(up_to(&mut watch, "-ns with 2").await, ["-ns with 2"]);
    let found = up_to(&mut others, "-other with 1").await;
    assert_eq!(found, ["-other with 1"]);
}

async fn a_revision_to_come_is_refused(on: &On) {
    let newest = on.put("ns/a", "one").await.revision;
    let watch = async |after| {
        let request = watching(one("ns"), WatchStart::After(after));
        on.store.images().watch(request).await
    };
    watch(newest).await.unwrap();
    match watch(newest.next()).await.unwrap_err() {
        Error::UnknownRevision { asked, newest: at } => {
            assert_eq!((asked, at), (newest.next(), newest));
        }
        other => panic!("{other:?}"),
    }
}

async fn a_record_that_makes_no_sense_ends_the_watch(on: &On) {
    on.put("ns/a", "one").await;
    let mut watch = following(on, watching(one("ns"), WatchStart::Now)).await;
    let key = schema::image_key(&namespace("ns"), &name("b"));
    let mut batch = Batch::new(0);
    batch.put(key.clone(), "\u{1}garbage");
    on.store.inner.kv.commit(batch).await.unwrap();
    let mut mended = Batch::new(0);
    mended.delete(key);
    on.store.inner.kv.commit(mended).await.unwrap();
    let ended = watch.next().await.unwrap();
    assert!(matches!(ended, Err(Error::Corrupt(_))), "{ended:?}");
    assert!(watch.next().await.is_none());
}

/// Enough that each falls behind now and then.
const WATCHERS: usize = 20;
const CHANGES: usize = 2000;

async fn every_watcher_sees_every_change(on: &On) {
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let mut watch = following(on, watching(one("ns"), WatchStart::Now)).await;
        watchers.push(tokio::spawn(async move {
            let mut at = Revision(1);
            let mut found = 0;
            while found < CHANGES {
                match watch.next().await.unwrap().unwrap() {
                    WatchMessage::Changes(changes) => {
                        assert_eq!(changes.revision, at.next());
                        at = changes.revision;
                        found += changes.events.len();
                    }
                    other => assert_eq!(other, WatchMessage::Progress(at)),
                }
            }
            found
        }));
    }
    assert_eq!(on.store.watchers(), WATCHERS);
    let writers = (0..10).map(|writer| {
        let store = on.store.clone();
        async move {
            for i in 0..CHANGES / 10 {
                let put = PutImage::new(name(&format!("{writer}/{i}")), replace("one"));
                store.images().put(&namespace("ns"), put).await.unwrap();
            }
        }
    });
    join_all(writers).await;
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), CHANGES);
    }
    assert_eq!(on.store.watchers(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_says_every_ten_seconds_where_it_is_and_holds_no_snapshot() {
    let kv = Arc::new(Watched::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    let mut watch = following(&on, watching(one("ns"), WatchStart::Now)).await;
    for expected in [10, 20] {
        let began = tokio::time::Instant::now();
        assert_eq!(names(&watch.next().await.unwrap().unwrap()), ["at 1"]);
        assert_eq!(began.elapsed().as_secs(), 10, "{expected}");
        assert_eq!(kv.open_snapshots(), 0);
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    on.put("ns/a", "one").await;
    assert_eq!(names(&watch.next().await.unwrap().unwrap()), ["a"]);
    on.put("other/a", "one").await;
    let began = tokio::time::Instant::now();
    assert_eq!(names(&watch.next().await.unwrap().unwrap()), ["at 3"]);
    assert_eq!(began.elapsed().as_secs(), 10, "since it said something");
    on.must_be_sound().await;
}

#[tokio::test]
async fn a_watch_says_where_it_is_after_a_thousand_revisions_of_other_things() {
    let on = On::memory().await;
    let mut watch = following(&on, watching(one("ns"), WatchStart::Now)).await;
    for i in 0..2500 {
        on.put("other/a", &i.to_string()).await;
    }
    on.put("ns/a", "one").await;
    assert_eq!(up_to(&mut watch, "a").await, ["at 1001", "at 2001", "a"]);
    on.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn initial_records_that_are_not_read_give_their_snapshot_up_after_ten_minutes() {
    let kv = Arc::new(Watched::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    for i in 0..30 {
        let put = heavy(&format!("big{i}"));
        on.store.images().put(&namespace("ns"), put).await.unwrap();
    }
    let mut watch = begin(&on, watching(one("ns"), WatchStart::Initial)).await;
    let second = Duration::from_secs(1);
    tokio::time::sleep(LONG_READ_TIME - second).await;
    assert_eq!(kv.open_snapshots(), 1);
    tokio::time::sleep(2 * second).await;
    assert_eq!(kv.open_snapshots(), 0);
    let ended = loop {
        match watch.next().await.expect("it says why it ends") {
            Ok(message) => assert!(matches!(message, WatchMessage::Initial(_))),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(ended, Error::SnapshotExpired { minutes: 10 }),
        "{ended:?}"
    );
    assert!(watch.next().await.is_none());
    on.must_be_sound().await;
}

#[tokio::test]
async fn too_many_watches_that_read_their_initial_records_are_refused_until_one_ends() {
    let on = On::memory().await;
    for i in 0..30 {
        let put = heavy(&format!("big{i}"));
        on.store.images().put(&namespace("ns"), put).await.unwrap();
    }
    let mut open = Vec::new();
    for _ in 0..MAX_LONG_READS {
        open.push(begin(&on, watching(one("ns"), WatchStart::Initial)).await);
    }
    let images = on.store.images();
    let one_more = images.watch(watching(one("ns"), WatchStart::Initial)).await;
    assert!(matches!(
        one_more,
        Err(Error::TooManySnapshots { limit: 64 })
    ));
    following(&on, watching(one("ns"), WatchStart::Now)).await;
    assert_eq!(up_to(&mut open[0], "end 31").await.len(), 31);
    open.push(begin(&on, watching(one("ns"), WatchStart::Initial)).await);
    drop(open);
    while on.store.inner.long_reads.available_permits() < MAX_LONG_READS {
        tokio::task::yield_now().await;
    }
    on.must_be_sound().await;
}

#[tokio::test]
async fn watches_end_at_once_when_the_store_goes_away_and_none_begins() {
    let on = On::memory().await;
    let mut idle = following(&on, watching(one("ns"), WatchStart::Now)).await;
    let mut slow = following(&on, watching(one("ns"), WatchStart::Now)).await;
    for i in 0..100 {
        on.put("ns/a", &i.to_string()).await;
    }
    up_to(&mut idle, "a").await;
    assert_eq!(on.store.watchers(), 2);
    on.store.end_watches();
    for watch in [&mut idle, &mut slow] {
        let ended = watch.next().await.unwrap();
        assert!(matches!(ended, Err(Error::GoingAway)), "{ended:?}");
        assert!(watch.next().await.is_none());
    }
    let late = on.store.images();
    let late = late.watch(watching(one("ns"), WatchStart::Now)).await;
    assert!(matches!(late, Err(Error::GoingAway)), "{late:?}");
    drop((idle, slow));
    assert_eq!(on.store.watchers(), 0);
    on.must_be_sound().await;
}

/// A store whose log keeps little.
async fn forgetful(dir: &std::path::Path) -> Arc<Redb> {
    let options = Options {
        keep_revisions: 50,
        ..Options::default()
    };
    Arc::new(Redb::open(dir, options).unwrap())
}

#[tokio::test]
async fn a_trimmed_start_is_refused_and_a_reader_too_slow_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let on = On::kv(forgetful(dir.path()).await, None).await;
    let mut slow = following(&on, watching(one("ns"), WatchStart::Now)).await;
    for i in 0..2 * TAIL_GROUPS + 200 {
        on.put("ns/a", &i.to_string()).await;
    }
    let status = on.store.status().await.unwrap();
    let trimmed = Revision(status.oldest_revision.0 - 2);
    let images = on.store.images();
    let refused = images.watch(watching(one("ns"), WatchStart::After(trimmed)));
    match refused.await.unwrap_err() {
        Error::Compacted { oldest } => assert_eq!(oldest, status.oldest_revision),
        other => panic!("{other:?}"),
    }
    let last_kept = Revision(status.oldest_revision.0 - 1);
    let request = watching(one("ns"), WatchStart::After(last_kept));
    let mut kept = begin(&on, request).await;
    let mut at = last_kept;
    while at < status.revision {
        let next = kept.next().await.unwrap().unwrap().resume_after().unwrap();
        assert_eq!(next, at.next());
        at = next;
    }

    let mut at = Revision(1);
    let ended = loop {
        match slow.next().await.expect("it says why it ends") {
            Ok(WatchMessage::Changes(changes)) => {
                assert_eq!(
                    changes.revision,
                    at.next(),
                    "none is left out before the end"
                );
                at = changes.revision;
            }
            Ok(other) => assert_eq!(other, WatchMessage::Progress(at)),
            Err(error) => break error,
        }
    };
    assert!(matches!(ended, Error::Compacted { .. }), "{ended:?}");
    on.store.close().await;
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_after_the_store_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let open = async || Store::open(dir.path()).await.unwrap();
    let put = async |store: &Store, of: &str| {
        let put = PutImage::new(name(of), replace("one"));
        store.images().put(&namespace("ns"), put).await.unwrap();
    };
    let store = open().await;
    put(&store, "a").await;
    let request = watching(one("ns"), WatchStart::After(Revision::ZERO));
    let mut watch = store.images().watch(request).await.unwrap();
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(names(&first), ["a"]);
    put(&store, "b").await;
    store.close().await;
    let ended = watch.next().await.unwrap();
    assert!(matches!(ended, Err(Error::GoingAway)), "{ended:?}");
    drop((watch, store));

    let store = open().await;
    put(&store, "c").await;
    let request = watching(one("ns"), WatchStart::After(first.resume_after().unwrap()));
    let mut watch = store.images().watch(request).await.unwrap();
    assert_eq!(up_to(&mut watch, "c").await, ["b", "c"]);
    store.close().await;
}
