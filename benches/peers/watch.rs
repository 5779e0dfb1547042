//! imagestore alone, watched: what reaches the watchers, and what they cost the writers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::Failure;
use crate::client::Client;
use crate::process::{Place, Server};
use crate::record::Record;

pub const WATCHERS: usize = 100;
const WRITERS: usize = 64;

/// The writers wait for the last watcher after so many changes: the log keeps twice as many.
const STRETCH: u64 = 50_000;

/// What came out of it.
pub struct Watching {
    changes: u64,
    /// Records written a second, without watchers and with them.
    alone: f64,
    watched: f64,
    /// Changes delivered a second, to all watchers together.
    delivered: f64,
    pub lost: u64,
}

/// How far each watcher has come.
type Seen = watch::Receiver<u64>;

pub async fn run(place: &Place, changes: u64) -> Result<Watching, Failure> {
    let mut server = Server::imagestore(place, "watch-alone")?;
    let client = server.client().await?;
    let alone = write(&client, changes, &[]).await?;
    server.stop().await?;

    let mut server = Server::imagestore(place, "watched")?;
    let mut seen = Vec::with_capacity(WATCHERS);
    let mut watchers: Vec<JoinHandle<Result<u64, Status>>> = Vec::with_capacity(WATCHERS);
    for _ in 0..WATCHERS {
        let (tell, told) = watch::channel(0);
        let mut client = server.client().await?;
        let mut watch = client.watch().await?;
        seen.push(told);
        watchers.push(tokio::spawn(async move {
            let mut lost = 0;
            let (mut at, mut count) = (None, 0);
            while count + lost < changes {
                let Some(message) = watch.message().await? else {
                    return Ok(changes - count);
                };
                if let Some(progress) = message.progress {
                    at = Some(progress.revision);
                }
                let Some(change) = message.changes else {
                    continue;
                };
                // The first message says where it begins.
                lost += change.revision - at.map_or(change.revision, |at: u64| at + 1);
                at = Some(change.revision);
                count += 1;
                tell.send_replace(count);
            }
            Ok(lost)
        }));
    }
    let client = server.client().await?;
    let begin = Instant::now();
    let watched = write(&client, changes, &seen).await?;
    let mut lost = 0;
    for watcher in watchers {
        lost += watcher.await??;
    }
    let delivered = (changes * WATCHERS as u64) as f64 / begin.elapsed().as_secs_f64();
    server.stop().await?;
    Ok(Watching {
        changes,
        alone,
        watched,
        delivered,
        lost,
    })
}

/// Creates records, and tells how many a second while it wrote: it waits for the watchers between.
async fn write(client: &Client, records: u64, seen: &[Seen]) -> Result<f64, Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let mut writing = Duration::ZERO;
    let mut end = 0;
    while end < records {
        end = (end + STRETCH).min(records);
        let begin = Instant::now();
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (mut client, next) = (client.clone(), next.clone());
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= end {
                            return Ok::<_, Status>(());
                        }
                        client.create(Record(number)).await?;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await??;
        }
        // Each writer has taken a number too many.
        next.store(end, Ordering::Relaxed);
        writing += begin.elapsed();
        for watcher in seen {
            // One that has ended says why itself.
            let _ = watcher.clone().wait_for(|count| *count >= end).await;
        }
    }
    Ok(records as f64 / writing.as_secs_f64())
}

impl fmt::Display for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = self.watched / self.alone;
        writeln!(f, "| {} changes, {WATCHERS} watchers | |", self.changes)?;
        writeln!(f, "|---|---|")?;
        writeln!(f, "| changes delivered a second | {:.0} |", self.delivered)?;
        writeln!(f, "| changes lost | {} |", self.lost)?;
        writeln!(f, "| Puts a second without watchers | {:.0} |", self.alone)?;
        write!(f, "| with watchers | {:.0} ({ratio:.2} x) |", self.watched)
    }
}
