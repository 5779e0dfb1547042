//! The disk fails, at every operation of a workload: once, or from then on.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::disk::{Disk, Event, Image, Kind, Plan};
use super::history::{self, History, Shown};
use super::luck::Luck;
use super::platter::Platter;
use super::tiny;
use crate::kv::{Batch, CommitError, Kv, OpenError, Options, Redb};

const BATCHES: usize = 24;

/// Revisions that may be the newest after a failure: from the last that was acknowledged to the last
/// whose outcome is unknown.
type Possible = RangeInclusive<u64>;

#[tokio::test]
async fn every_failure_of_the_disk_stops_writes_keeps_reads_and_loses_nothing() {
    let batches = history::batches(&mut Luck::of(1), BATCHES);
    let history = History::of(&batches).await;
    for (kind, at_least) in [(Kind::Write, 80), (Kind::Sync, 30), (Kind::SetLen, 3)] {
        for stays in [false, true] {
            let plan = |until| Plan { kind, until, stays };
            let mut until = 1;
            while fails(&batches, &history, plan(until)).await {
                until += 1;
            }
            assert!(
                until > at_least,
                "{until} operations of {kind:?} are too few"
            );
        }
    }
}

/// redb writes some pages early for want of cache, and again later if that fails. With enough cache, no
/// failure is without consequence.
fn options() -> Options {
    Options {
        cache_bytes: Options::default().cache_bytes,
        ..tiny()
    }
}

/// Makes a store and runs the workload in it with a failure to come; whether it came.
async fn fails(batches: &[Batch], history: &History, plan: Plan) -> bool {
    let disk = Disk::holding(&Image::default());
    disk.plan(plan);
    let possible = match disk.open(options()) {
        Ok(kv) => commit(&disk, Arc::new(kv), batches, history, plan).await,
        // Nothing was asked for yet.
        Err(OpenError::Io { .. }) => 0..=0,
        Err(other) => panic!("{plan:?}: {other:?}"),
    };
    let has_failed = disk.mend();
    // The machine ends. Or the process does, and starts again; and then the machine ends.
    opens(&after_power_loss(&disk), history, possible.clone(), plan).await;
    let (history, again) = opens(&disk, history, possible, plan).await;
    let last = history.last().0;
    opens(&again, &history, last..=last, plan).await;
    has_failed
}

/// Asks for all batches, of which the disk may fail some.
async fn commit(
    disk: &Disk,
    kv: Arc<Redb>,
    batches: &[Batch],
    history: &History,
    plan: Plan,
) -> Possible {
    // redb keeps to itself what fails when a file is closed, which a new one is once.
    let opened = disk.events().len();
    for together in batches.chunks(3) {
        for batch in together {
            disk.ask(&kv, batch.clone());
        }
        disk.settle();
    }
    let events = &disk.events()[opened..];
    let failed = events
        .iter()
        .position(|event| matches!(event, Event::Failed));
    let is_late = |event: &Event| matches!(event, Event::Answered(Ok(_)));
    assert!(
        !events[failed.unwrap_or(events.len())..].iter().any(is_late),
        "{plan:?}: nothing is acknowledged after a failure"
    );
    let answers = disk.answers();
    let (sure, refused) = answers.split_at(answers.partition_point(Result::is_ok));
    let is_unsure = |answer: &&_| matches!(answer, Err(CommitError::OutcomeUnknown(_)));
    let unsure = refused.iter().take_while(is_unsure).count();
    for answer in &refused[unsure..] {
        assert!(
            matches!(answer, Err(CommitError::Stopped(_))),
            "{plan:?}: {answer:?}"
        );
    }
    assert_eq!(failed.is_some(), !refused.is_empty(), "{plan:?}");
    let stopped = kv.stopped().borrow().clone();
    let says_why = |why: Arc<str>| why.contains("as planned");
    assert_eq!(stopped.is_some_and(says_why), failed.is_some(), "{plan:?}");

    let shown = shown(&kv).await;
    assert_eq!(
        shown.revision.0,
        sure.len() as u64,
        "{plan:?}: all that is sure is shown, and no more"
    );
    history
        .check(&shown)
        .unwrap_or_else(|wrong| panic!("{plan:?}: {wrong}"));
    sure.len() as u64..=(sure.len() + unsure) as u64
}

/// Opens a store on a disk that is sound again, and goes on in it. What a loss of power leaves of that comes
/// back too.
async fn opens(
    disk: &Arc<Disk>,
    history: &History,
    possible: Possible,
    plan: Plan,
) -> (History, Arc<Disk>) {
    let kv = Arc::new(
        disk.open(options())
            .unwrap_or_else(|refused| panic!("{plan:?}: {refused:?}")),
    );
    let before = shown(&kv).await;
    history
        .check(&before)
        .unwrap_or_else(|wrong| panic!("{plan:?}: {wrong}"));
    assert!(
        possible.contains(&before.revision.0),
        "{plan:?}: {} of {possible:?}",
        before.revision
    );
    assert!(kv.stopped().borrow().is_none());
    disk.ask(&kv, history::added(before.revision.next(), 9));
    disk.settle();
    let history = history.gone_on(before.revision, &[9]);
    history
        .check(&shown(&kv).await)
        .unwrap_or_else(|wrong| panic!("{plan:?}: {wrong}"));
    // Closing would make all of it durable.
    (history, after_power_loss(disk))
}

async fn shown(kv: &Redb) -> Shown {
    Shown::by(&*kv.snapshot().await.unwrap()).await.unwrap()
}

/// A disk that has what was synced to another, and whatever arrived of the rest.
fn after_power_loss(disk: &Disk) -> Arc<Disk> {
    let events = disk.events();
    let mut luck = Luck::of(events.len() as u64);
    let mut platter = Platter::of(&disk.began_with);
    for event in &events {
        platter.pass(event, &mut luck);
    }
    Disk::holding(&platter.image(&mut luck))
}
