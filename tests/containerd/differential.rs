//! Generated calls to both daemons: the same code, the same message, the same body.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Instant;

use futures::stream::{self, StreamExt};
use regex::Regex;
use tonic::transport::Channel;

use crate::answer::{Answer, Eyes};
use crate::call::Call;
use crate::daemon::{self, Daemon};
use crate::known::{self, Known};
use crate::plan::Planner;
use crate::{number, seed};

/// Sequences of calls under way at once, each with namespaces of its own.
const LANES: u64 = 8;

/// How often calls are sent again to find fewer that show a difference.
const ATTEMPTS: usize = 100;

/// Of so many of them it is told.
const SHOWN: usize = 20;

/// What was asked, and how often which difference was seen.
#[derive(Default)]
struct Tally {
    calls: u64,
    /// By method, the calls that went well and those that were refused.
    methods: BTreeMap<&'static str, [u64; 2]>,
    known: BTreeMap<&'static str, u64>,
}

/// A call that the two answered otherwise, and why they may not.
struct Difference {
    call: Call,
    nth: usize,
    first: Answer,
    second: Answer,
}

/// One sequence of calls to two daemons.
pub struct Lane {
    channels: [Channel; 2],
    eyes: [Eyes; 2],
    /// The images that a known difference was about.
    healed: BTreeSet<String>,
}

impl Lane {
    pub fn new(channels: &[Channel; 2], name: &str) -> Self {
        Self {
            channels: channels.clone(),
            eyes: [Eyes::new(name.to_owned()), Eyes::new(name.to_owned())],
            healed: BTreeSet::new(),
        }
    }

    async fn ask(&mut self, call: &Call) -> [Answer; 2] {
        let [first, second] = [0, 1].map(|side| self.eyes[side].address(call));
        let [one, two] = &self.channels;
        let (first, second) = tokio::join!(first.send(one), second.send(two));
        let [one, two] = &mut self.eyes;
        if first.is_ok() == second.is_ok() {
            return [one.see(call, first), two.see(call, second)];
        }
        // What only one of them did has no place in what both go on to tell.
        [one.clone().see(call, first), two.clone().see(call, second)]
    }

    /// Sends a call, and what follows a known difference.
    async fn step(&mut self, call: &Call) -> ([Answer; 2], Option<&'static Known>) {
        let answers = self.ask(call).await;
        let [first, second] = &answers;
        let known = (first != second)
            .then(|| known::explain(call, first, second))
            .flatten();
        for heal in known.into_iter().flat_map(|known| known.heal(call)) {
            self.healed.insert(heal.ask.image().to_owned());
            let _ = self.ask(&heal).await;
        }
        (answers, known)
    }

    /// Sends a call and leaves its answers to others.
    pub async fn ask_and_heal(&mut self, call: &Call) {
        let _ = self.step(call).await;
    }

    /// Whether the two have held different images of that name for a moment.
    pub fn healed(&self, image: &str) -> bool {
        self.healed.contains(image)
    }

    /// Sends calls in order until the answers differ.
    async fn compare(&mut self, calls: &[Call], tally: &mut Tally) -> Result<(), Box<Difference>> {
        for (nth, call) in calls.iter().enumerate() {
            let ([first, second], known) = self.step(call).await;
            tally.count(call, &first);
            if first == second {
                continue;
            }
            let Some(known) = known else {
                let call = call.clone();
                return Err(Box::new(Difference {
                    call,
                    nth,
                    first,
                    second,
                }));
            };
            tally.explain(known);
        }
        Ok(())
    }
}

impl Tally {
    fn count(&mut self, call: &Call, answer: &Answer) {
        self.calls += 1;
        self.methods.entry(call.ask.method()).or_default()[usize::from(answer.is_err())] += 1;
    }

    fn explain(&mut self, known: &Known) {
        *self.known.entry(known.name).or_default() += 1;
    }

    fn add(mut self, other: Self) -> Self {
        self.calls += other.calls;
        for (method, [well, refused]) in other.methods {
            let sum = self.methods.entry(method).or_default();
            *sum = [sum[0] + well, sum[1] + refused];
        }
        for (name, many) in other.known {
            *self.known.entry(name).or_default() += many;
        }
        self
    }
}

/// Leaves out calls as long as the last still shows a difference.
async fn shortest(channels: &[Channel; 2], mut calls: Vec<Call>) -> Vec<Call> {
    let mut attempt = 0;
    let mut part = calls.len().div_ceil(2);
    while part > 0 && attempt < ATTEMPTS {
        let mut from = 0;
        while from < calls.len() - 1 && attempt < ATTEMPTS {
            let till = (from + part).min(calls.len() - 1);
            let fewer = [&calls[..from], &calls[till..]].concat();
            let mut lane = Lane::new(channels, &format!("s{attempt:03}"));
            attempt += 1;
            match lane.compare(&fewer, &mut Tally::default()).await {
                Err(difference) => calls = fewer[..=difference.nth].to_vec(),
                Ok(()) => from = till,
            }
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
    calls
}

/// Without the middle of long texts.
fn brief(text: &str) -> String {
    let long = Regex::new(r#"([^"\s]{30})[^"\s]{60,}([^"\s]{10})"#).unwrap();
    long.replace_all(text, "$1...$2").into_owned()
}

async fn run(daemons: &mut [Daemon; 2], calls: u64, seed: u64) -> Tally {
    let from = Instant::now();
    let channels = [daemons[0].channel().await, daemons[1].channel().await];
    let lanes = stream::iter(0..LANES).map(|nth| {
        let channels = channels.clone();
        async move {
            let seed = seed.wrapping_add(nth);
            let mut planner = Planner::new(seed, nth == 0);
            let mut planned = planner.beginning();
            planned.extend((0..calls / LANES).map(|_| planner.next()));
            let mut tally = Tally::default();
            let mut lane = Lane::new(&channels, &format!("q{nth:03}"));
            let compared = lane.compare(&planned, &mut tally).await;
            (nth, planned, tally, compared)
        }
    });
    let mut lanes = lanes.buffer_unordered(LANES as usize);
    let mut total = Tally::default();
    let mut differences = Vec::new();
    while let Some((nth, planned, tally, compared)) = lanes.next().await {
        total = total.add(tally);
        if let Err(difference) = compared {
            differences.push((nth, planned, difference));
        }
    }
    drop(lanes);
    for daemon in daemons.iter_mut() {
        if let Err(why) = daemon.alive() {
            panic!("IMAGESTORE_SEED={seed}: {why}");
        }
    }
    if !differences.is_empty() {
        let mut text = format!("IMAGESTORE_SEED={seed}\n\n");
        differences.sort_by_key(|(_, _, difference)| difference.nth);
        for (lane, _, difference) in &differences {
            let Difference {
                call,
                nth,
                first,
                second,
            } = &**difference;
            writeln!(text, "lane {lane}, call {nth}: {call:?}").unwrap();
            writeln!(text, "  the first:  {first:?}\n  the second: {second:?}").unwrap();
        }
        let (_, planned, difference) = &differences[0];
        let few = shortest(&channels, planned[..=difference.nth].to_vec()).await;
        writeln!(text, "{} calls show a difference:", few.len()).unwrap();
        for call in &few[few.len().saturating_sub(SHOWN)..] {
            writeln!(text, "  {call:?}").unwrap();
        }
        panic!("{}", brief(&text));
    }
    eprintln!(
        "{} calls from IMAGESTORE_SEED={seed} on in {:?}\n{:?}",
        total.calls,
        from.elapsed(),
        total.methods,
    );
    for known in &known::ALL {
        if let Some(many) = total.known.get(known.name) {
            eprintln!("{many} x {}: {}", known.name, known.reason);
        }
    }
    total
}

#[tokio::test(flavor = "multi_thread")]
async fn two_containerds_answer_alike() {
    let (Some(one), Some(other)) = (Daemon::containerd().await, Daemon::containerd().await) else {
        return;
    };
    let calls = number("IMAGESTORE_CALLS").unwrap_or(4000);
    let tally = run(&mut [one, other], calls, seed()).await;
    assert!(tally.known.is_empty(), "{:?}", tally.known);
}

#[tokio::test(flavor = "multi_thread")]
async fn imagestore_answers_generated_calls_as_containerd_does() {
    let Some(containerd) = Daemon::containerd().await else {
        return;
    };
    let (calls, seed) = (number("IMAGESTORE_CALLS").unwrap_or(10_000), seed());
    let tally = run(&mut [containerd, Daemon::imagestore().await], calls, seed).await;
    if calls >= 10_000 && !daemon::is_stood_in() {
        let unseen: Vec<&str> = known::ALL
            .iter()
            .filter(|known| !tally.known.contains_key(known.name))
            .map(|known| known.name)
            .collect();
        assert!(unseen.is_empty(), "never seen, so not known: {unseen:?}");
    }
}
