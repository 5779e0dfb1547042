//! Where a watch stands, how it ends, and how it goes on.

use super::*;

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
pub(in crate::store::tests) async fn forgetful(dir: &std::path::Path) -> Arc<Redb> {
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
