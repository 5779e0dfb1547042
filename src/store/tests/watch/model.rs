//! What watchers see, against what the log says.

use std::collections::btree_map::Entry;

use super::*;

on_every_engine![watchers_see_what_the_log_says_wherever_they_begin_again,];

/// xorshift64*.
pub(in crate::store::tests) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
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

/// A random write.
pub(in crate::store::tests) async fn write(store: &Store, random: &mut Random) {
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
