//! The power goes, at any moment, and again while the store recovers from it.
//!
//! A workload is recorded once, as all that it does to the disk and all that it is answered. Then the
//! power goes at many points of the record, and each time the disk keeps what was synced and some of
//! the rest, in pieces and out of order. A store is opened on each such image, and checked; what it
//! does to the disk is recorded too, and the power goes again in the middle of that.
//!
//! `IMAGESTORE_POWER_IMAGES` sets the number of images, of which each record has 500, and `IMAGESTORE_SEED`
//! what the first record is. Which batches are committed together is up to the threads, so a seed repeats a
//! run nearly; an image that fails is kept.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::runtime::{Builder, Runtime};

use super::disk::{Disk, Event, Image};
use super::history::{self, History, Shown};
use super::luck::{self, Luck};
use super::platter::Platter;
use super::tiny;
use crate::kv::{Kv, Redb, Revision};

/// What happened to a disk between two losses of power, and what must be there afterwards.
struct Life {
    began_with: Image,
    events: Vec<Event>,
    history: History,
    /// The newest revision that was there for sure when it began.
    sure: Revision,
}

/// What opens images.
struct Bench {
    runtime: Runtime,
    seed: u64,
}

/// Images of one record; half of them are of a second loss of power.
const IMAGES_A_RECORD: u64 = 500;

const BATCHES: usize = 60;

/// One image in so many has all pages of its database checked, which takes long.
const PAGES_CHECKED: usize = 20;

#[test]
fn a_loss_of_power_leaves_every_acknowledged_batch_and_none_in_half() {
    let images = luck::number("IMAGESTORE_POWER_IMAGES").unwrap_or(2_000);
    let seed = luck::seed();
    let records = images.div_ceil(IMAGES_A_RECORD);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let record = next.fetch_add(1, Ordering::SeqCst);
            if record >= records {
                return;
            }
            let bench = Bench::new(seed + record);
            let tried = catch_unwind(AssertUnwindSafe(|| bench.try_record()));
            let images = tried.unwrap_or_else(|panic| {
                // The others find nothing more to do.
                next.store(records, Ordering::SeqCst);
                resume_unwind(panic)
            });
            done.fetch_add(images, Ordering::SeqCst);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let done = done.load(Ordering::SeqCst);
    assert!(done >= images, "{done} images were opened");
}

// === impl Bench ===

impl Bench {
    fn new(seed: u64) -> Self {
        Self {
            runtime: Builder::new_current_thread().build().unwrap(),
            seed,
        }
    }

    /// Records a workload and lets the power go at points of it; how many images were opened.
    fn try_record(&self) -> u64 {
        let mut luck = Luck::of(self.seed);
        let life = self.record(&mut luck);
        let cuts = IMAGES_A_RECORD / 2;
        let mut cuts: Vec<usize> = (0..cuts).map(|_| life.cut(&mut luck)).collect();
        cuts.sort_unstable();
        let mut platter = Platter::of(&life.began_with);
        let mut passed = 0;
        for cut in &cuts {
            for event in &life.events[passed..*cut] {
                platter.pass(event, &mut luck);
            }
            passed = *cut;
            let image = platter.image(&mut luck);
            let second = self.recover(&life, *cut, image, &mut luck);
            // The power goes again.
            let cut = second.cut(&mut luck);
            let mut platter = Platter::of(&second.began_with);
            for event in &second.events[..cut] {
                platter.pass(event, &mut luck);
            }
            let image = platter.image(&mut luck);
            self.recover(&second, cut, image, &mut luck);
        }
        2 * cuts.len() as u64
    }

    /// The life of a store from its making to its end.
    fn record(&self, luck: &mut Luck) -> Life {
        let batches = history::batches(luck, BATCHES);
        let history = self.runtime.block_on(History::of(&batches));
        let disk = Disk::holding(&Image::default());
        let kv = Arc::new(disk.open(tiny()).unwrap());
        let idle_after = luck.below(BATCHES);
        let mut asked = 0;
        let mut rest = &batches[..];
        while !rest.is_empty() {
            let (together, after) = rest.split_at((1 + luck.below(5)).min(rest.len()));
            for batch in together {
                disk.ask(&kv, batch.clone());
            }
            let before = asked;
            asked += together.len();
            if (before..asked).contains(&idle_after) {
                disk.settle_until_checkpoint();
            } else {
                disk.settle();
            }
            rest = after;
        }
        drop(kv);
        let answers = disk.answers().into_iter().map(Result::unwrap);
        assert!(answers.eq((1..=BATCHES as u64).map(Revision)));
        Life {
            began_with: Image::default(),
            events: disk.events(),
            history,
            sure: Revision::ZERO,
        }
    }

    /// Opens an image of a life, checks it, and writes some more; the life that began with it.
    fn recover(&self, life: &Life, cut: usize, image: Image, luck: &mut Luck) -> Life {
        let sure = life.sure_at(cut);
        let tried = catch_unwind(AssertUnwindSafe(|| {
            self.live_on(life, sure, image.clone(), luck)
        }));
        tried.unwrap_or_else(|panic| {
            let kept = std::env::temp_dir().join(format!("imagestore-power-{}", self.seed));
            image.write_to(&kept);
            eprintln!(
                "IMAGESTORE_SEED={} and IMAGESTORE_POWER_IMAGES=1 repeat this nearly; {sure} was sure, and the \
                 image is in {}",
                self.seed,
                kept.display()
            );
            resume_unwind(panic)
        })
    }

    fn live_on(&self, life: &Life, sure: Revision, image: Image, luck: &mut Luck) -> Life {
        let disk = Disk::holding(&image);
        let kv = Arc::new(disk.open(tiny()).expect("it opens after a loss of power"));
        let shown = self.shown(&kv);
        life.history
            .check(&shown)
            .unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(
            shown.revision >= sure,
            "{} lost acknowledged batches",
            shown.revision
        );
        disk.note(Event::Shown(shown.revision));
        let lens: Vec<usize> = (0..luck.below(4))
            .map(|_| luck.pick(&[0, 300, 3000]))
            .collect();
        let mut revision = shown.revision;
        for len in &lens {
            revision = revision.next();
            disk.ask(&kv, history::added(revision, *len));
        }
        disk.settle();
        let history = life.history.gone_on(shown.revision, &lens);
        let shown = self.shown(&kv);
        assert_eq!(shown.revision, history.last());
        history
            .check(&shown)
            .unwrap_or_else(|wrong| panic!("{wrong}"));
        drop(kv);
        let events = disk.events();
        if luck.one_in(PAGES_CHECKED) {
            assert!(
                disk.database().check_integrity().unwrap(),
                "redb's pages are sound"
            );
        }
        Life {
            began_with: image,
            events,
            history,
            sure,
        }
    }

    fn shown(&self, kv: &Redb) -> Shown {
        self.runtime.block_on(async {
            let view = kv.snapshot().await.unwrap();
            Shown::by(&*view).await.unwrap()
        })
    }
}

// === impl Life ===

impl Life {
    /// A point for the power to go: any, or one just before a sync, when most is at stake.
    fn cut(&self, luck: &mut Luck) -> usize {
        let is_sync = |at: &usize| matches!(self.events[*at], Event::Synced(_));
        let syncs: Vec<usize> = (0..self.events.len()).filter(is_sync).collect();
        if syncs.is_empty() || luck.one_in(2) {
            return luck.below(self.events.len() + 1);
        }
        luck.pick(&syncs)
    }

    /// The newest revision that must be there if the power goes at a point.
    fn sure_at(&self, cut: usize) -> Revision {
        let sure = self.events[..cut].iter().filter_map(|event| match event {
            Event::Answered(Ok(revision)) | Event::Shown(revision) => Some(*revision),
            _ => None,
        });
        sure.max().unwrap_or(self.sure).max(self.sure)
    }
}
