//! The closed loop: so many requests in flight, each sent when the one before it was answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tonic::Status;

use crate::client::Client;
use crate::lineup::Work;
use crate::record::{Dice, LISTED, Record};

/// How much longer than asked a round may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long loading may take.
const FILL_LIMIT: Duration = Duration::from_secs(3_600);

/// What one round came to. Latencies are exact, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub operations: usize,
    pub per_second: f64,
    pub p50: u32,
    pub p99: u32,
}

/// A connection and what is known about the records behind it.
#[derive(Clone)]
pub struct Loaded {
    pub client: Client,
    /// Records 0 to here exist.
    pub records: u64,
    /// Those that are looked up by digest or by a filter: 0 to here.
    pub looked_up: u64,
    /// The number of the next new record.
    pub fresh: Arc<AtomicU64>,
}

impl Loaded {
    /// Creates records 0 to `records`.
    pub async fn fill(client: Client, records: u64, in_flight: usize) -> Result<Self, Status> {
        let next = Arc::new(AtomicU64::new(0));
        let tasks = (0..in_flight).map(|_| {
            let (mut client, next) = (client.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= records {
                        return Ok(());
                    }
                    client.create(Record(number)).await?;
                }
            })
        });
        all(tasks.collect(), FILL_LIMIT).await?;
        Ok(Self::known(client, records))
    }

    /// Another connection to a server that holds the records already.
    pub fn known(client: Client, records: u64) -> Self {
        let fresh = Arc::new(AtomicU64::new(records));
        // A peer that scans for a digest scans a namespace of 10,000.
        let looked_up = if client.scans_for_digests() {
            LISTED
        } else {
            records
        };
        Self {
            client,
            records,
            looked_up,
            fresh,
        }
    }

    /// Does as much work as it can in the given time, at least one piece per request in flight.
    pub async fn drive(
        &self,
        work: Work,
        in_flight: usize,
        time: Duration,
    ) -> Result<Round, Status> {
        let begin = Instant::now();
        let end = begin + time;
        let tasks = (0..in_flight).map(|_| {
            let mut client = self.client.clone();
            let fresh = Arc::clone(&self.fresh);
            let records = match work {
                Work::ByDigest | Work::ByName | Work::ByRepository => self.looked_up,
                _ => self.records,
            };
            tokio::spawn(async move {
                let mut dice = Dice::new();
                let mut latencies: Vec<u32> = Vec::new();
                let mut before = Instant::now();
                loop {
                    let record = Record(dice.below(records));
                    client.perform(work, record, &fresh).await?;
                    let after = Instant::now();
                    let micros = (after - before).as_micros();
                    latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
                    before = after;
                    if after >= end {
                        return Ok(latencies);
                    }
                }
            })
        });
        let latencies = all(tasks.collect(), time + PATIENCE).await?;
        let elapsed = begin.elapsed();
        let mut latencies: Vec<u32> = latencies.into_iter().flatten().collect();
        latencies.sort_unstable();
        Ok(Round {
            operations: latencies.len(),
            per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
            p50: quantile(&latencies, 50),
            p99: quantile(&latencies, 99),
        })
    }
}

/// The round in the middle by its speed.
pub fn median(mut rounds: Vec<Round>) -> Option<Round> {
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    rounds.get(rounds.len() / 2).copied()
}

fn quantile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

/// Waits for all tasks, and stops them all when one fails or the time is over.
async fn all<T: Send + 'static>(
    tasks: Vec<JoinHandle<Result<T, Status>>>,
    limit: Duration,
) -> Result<Vec<T>, Status> {
    let stops: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
    let answers = async {
        let mut answers = Vec::with_capacity(tasks.len());
        for task in tasks {
            let done = task.await;
            answers.push(done.map_err(|lost| Status::aborted(lost.to_string()))??);
        }
        Ok(answers)
    };
    let late = |_| Status::deadline_exceeded(format!("not done after {limit:?}"));
    let outcome = tokio::time::timeout(limit, answers).await;
    for stop in stops {
        stop.abort();
    }
    outcome.map_err(late)?
}
