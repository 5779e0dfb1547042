//! What a watcher is told of each change.

use super::*;

on_every_engine![
    what_is_put_while_the_initial_records_are_read_follows_them,
    a_reader_that_does_not_read_gets_all_from_the_log_later,
    a_revision_of_more_than_a_mebibyte_comes_in_fragments,
    a_filter_lets_a_change_through_that_matches_before_or_after,
    a_forced_delete_of_a_namespace_is_one_event_whatever_is_asked_for,
    a_revision_to_come_is_refused,
    a_record_that_makes_no_sense_ends_the_watch,
    every_watcher_sees_every_change,
];

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
