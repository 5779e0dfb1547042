//! Clocks that are set, servers that start again, and backups: nothing is lost, and no claim is two's.

use super::*;
use crate::store::tests::backup::copied;

on_every_engine![
    a_backup_holds_claims_and_tokens_go_on_growing,
    a_repair_leaves_what_was_just_granted,
];

/// A machine whose clock can be set, and that stays up.
struct Machine {
    wall: Arc<Mutex<i64>>,
    uptime: Arc<Mutex<u64>>,
    /// Where it is on disk; none where it is in memory.
    dir: Option<tempfile::TempDir>,
    kv: Arc<dyn Kv>,
}

impl Machine {
    fn new() -> Self {
        Self {
            wall: Arc::new(Mutex::new(100_000)),
            uptime: Arc::new(Mutex::new(500)),
            dir: None,
            kv: Arc::new(Memory::new()),
        }
    }

    fn on_disk() -> Self {
        Self {
            dir: Some(tempfile::tempdir().unwrap()),
            ..Self::new()
        }
    }

    /// A store of the same engine, as a server that starts opens it.
    async fn start(&self) -> On {
        let (wall, uptime) = (self.wall.clone(), self.uptime.clone());
        let surroundings = Surroundings {
            clock: Arc::new(move || Timestamp::new(*wall.lock().unwrap(), 0).unwrap()),
            uptime: Arc::new(move || seconds(*uptime.lock().unwrap())),
            new_id: Arc::new(|| StoreId([9; 16])),
        };
        let kv: Arc<dyn Kv> = match &self.dir {
            Some(dir) => Arc::new(Redb::open(dir.path(), Options::default()).unwrap()),
            None => self.kv.clone(),
        };
        On {
            store: Store::on(kv, surroundings).await.unwrap(),
            clock: Arc::default(),
            _dir: None,
        }
    }

    fn pass(&self, time: u64) {
        *self.uptime.lock().unwrap() += time;
        *self.wall.lock().unwrap() += i64::try_from(time).unwrap();
    }

    fn set_clock(&self, by: i64) {
        *self.wall.lock().unwrap() += by;
    }

    /// The machine starts again: it was off for so long.
    fn reboot(&self, off: u64) {
        self.pass(off);
        *self.uptime.lock().unwrap() = 3;
    }
}

const HOUR: i64 = 3600;

#[tokio::test]
async fn a_clock_that_is_set_makes_nothing_older_or_younger_v11() {
    for by in [-12 * HOUR, 24 * HOUR] {
        let machine = Machine::new();
        let on = machine.start().await;
        on.put_builder(policy(100, None)).await;
        on.build_in("reg").await;
        let force = AcquireBuilder {
            force: true,
            ..acquire("a")
        };
        let token = token_of(&on.ask(&force).await);
        machine.set_clock(by);
        machine.pass(9);
        assert!(on.renew(token).await.is_ok());
        assert_eq!(on.ask_as("b").await, "use 1 pinned");
        machine.pass(10);
        assert!(
            on.renew(token).await.is_err(),
            "its time passes all the same"
        );
        machine.pass(80);
        assert_eq!(on.ask_as("b").await, "use 1 pinned");
        machine.pass(1);
        assert_eq!(on.ask_as("b").await, "build expired over 1");
    }
}

#[tokio::test]
async fn a_server_that_starts_again_loses_no_claim_and_no_age_v5() {
    let machine = Machine::on_disk();
    let on = machine.start().await;
    on.put_builder(policy(100, None)).await;
    on.build_in("reg").await;
    let pin = pin_of(&on.ask(&acquire("user")).await).unwrap();
    let force = AcquireBuilder {
        force: true,
        ..acquire("a")
    };
    let token = token_of(&on.ask(&force).await);
    on.store.close().await;
    drop(on);
    // Nobody could renew meanwhile.
    machine.reboot(50);
    let on = machine.start().await;
    let builders = on.store.builders();
    assert!(builders.renew_pin(&ns(), &key(), pin).await.is_ok());
    assert_eq!(on.complete(token, "reg").await.unwrap(), Sequence(2));
    machine.pass(99);
    assert_eq!(on.ask_as("b").await, "use 2 pinned");
    machine.pass(1);
    assert_eq!(on.ask_as("b").await, "build expired over 2");
}

#[tokio::test]
async fn two_crashes_within_the_time_of_a_claim_do_not_end_it() {
    let machine = Machine::new();
    let on = machine.start().await;
    on.put_builder(policy(1000, None)).await;
    let token = token_of(&on.ask(&acquire("a")).await);
    machine.pass(9);
    // Never closed, nor was the time noted since the grant.
    drop(on);
    machine.reboot(30);
    let on = machine.start().await;
    machine.pass(9);
    let other = PutBuilder::new(key_of("other", ""), Policy::default());
    on.store.builders().put(&ns(), &other).await.unwrap();
    on.store.note_time().await.unwrap();
    drop(on);
    machine.reboot(30);
    let on = machine.start().await;
    assert_eq!(on.ask_as("b").await, "busy a");
    assert!(on.renew(token).await.is_ok());
    machine.pass(10);
    assert_eq!(on.ask_as("b").await, "build never built");
}

#[tokio::test]
async fn a_clock_set_back_while_the_server_is_away_expires_nothing_and_keeps_nothing_young() {
    let machine = Machine::on_disk();
    let on = machine.start().await;
    on.put_builder(policy(100, None)).await;
    on.build_in("reg").await;
    machine.pass(60);
    on.store.close().await;
    drop(on);
    machine.set_clock(-12 * HOUR);
    machine.reboot(10);
    let on = machine.start().await;
    assert_eq!(on.ask_as("b").await, "use 1 pinned");
    machine.pass(40);
    assert_eq!(on.ask_as("b").await, "build expired over 1");
}

#[tokio::test]
async fn what_had_ended_when_the_server_stopped_stays_ended() {
    let machine = Machine::on_disk();
    let on = machine.start().await;
    on.put_builder(Policy::default()).await;
    let token = token_of(&on.ask(&acquire("a")).await);
    let given_back = token_of(&{
        on.give_back(token).await.unwrap();
        on.ask(&acquire("b")).await
    });
    on.give_back(given_back).await.unwrap();
    on.store.close().await;
    drop(on);
    machine.reboot(1);
    let on = machine.start().await;
    assert_eq!(on.builder().await.entry.claim, None);
    assert_eq!(on.ask_as("c").await, "build never built");
}

async fn a_backup_holds_claims_and_tokens_go_on_growing(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    on.ask(&acquire("user")).await;
    let force = AcquireBuilder {
        force: true,
        ..acquire("a")
    };
    let token = token_of(&on.ask(&force).await);
    let dir = tempfile::tempdir().unwrap();
    let copy = copied(on, dir.path()).await;
    let (mut was, mut is) = (on.builder().await, copy.builder().await);
    for builder in [&mut was, &mut is] {
        // They are renewed when a store is opened.
        builder
            .pins
            .iter_mut()
            .for_each(|pinned| pinned.pin.deadline = Timestamp::MAX);
        builder.entry.claim.as_mut().unwrap().deadline = Timestamp::MAX;
    }
    assert_eq!(is, was);
    copy.at(1020);
    let later = token_of(&copy.ask(&force).await);
    assert!(later > token);
    assert!(
        copy.complete(token, "reg").await.is_err(),
        "it is of the other store"
    );
    copy.must_be_sound().await;
}

async fn a_repair_leaves_what_was_just_granted(on: &On) {
    on.put_builder(Policy::default()).await;
    on.build_in("reg").await;
    on.ask(&acquire("user")).await;
    let force = AcquireBuilder {
        force: true,
        ..acquire("a")
    };
    let token = token_of(&on.ask(&force).await);
    let before = on.builder().await;
    assert_eq!(on.store.repair().await.unwrap(), 0);
    assert_eq!(on.builder().await, before);
    on.complete(token, "reg").await.unwrap();
}
