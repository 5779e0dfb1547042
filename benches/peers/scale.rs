//! imagestore alone, by how many records it holds: speed, start, memory, disk.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::contest::{FILL_IN_FLIGHT, ROUNDS, SETTLE, at_rest};
use crate::lineup::Work;
use crate::load::{Loaded, Round, median};
use crate::process::{Place, Server};
use crate::{Failure, machine};

/// What the large store is compared with.
pub const BASE: u64 = 10_000;
const WORKS: [Work; 4] = [Work::Get, Work::ByDigest, Work::ByName, Work::Put];
const IN_FLIGHT: [usize; 2] = [1, 64];
/// Starts are measured so many times, and the one in the middle counts.
const STARTS: usize = 5;
const KILLS: usize = 3;
const WRITERS: usize = 64;
/// How long writers write before the server is killed.
const UNTIL_KILL: Duration = Duration::from_secs(1);
/// How often memory is read during a stream, besides the kernel's own record of the peak.
const SAMPLE: Duration = Duration::from_millis(20);

/// What a store of some size takes.
pub struct Footprint {
    pub records: u64,
    /// Records created a second while loading.
    pub loaded: f64,
    /// Bytes on disk after a clean close.
    pub disk: u64,
    /// From the start of the process to its first answer, after a clean close.
    pub start: Duration,
    /// Bytes of memory of a new process.
    pub memory: u64,
    /// Bytes by which the memory grows at most while all records are streamed.
    pub growth: u64,
    pub streamed: f64,
    /// From the start of the process to its first answer, each after a kill -9 under writers.
    pub recoveries: Vec<Duration>,
}

/// One work on the small and on the large store.
pub struct Pair {
    pub work: Work,
    pub in_flight: usize,
    pub base: Option<Round>,
    pub large: Option<Round>,
}

pub struct Scale {
    /// Without records, with [`BASE`] and with as many as were asked for.
    pub sizes: Vec<Footprint>,
    pub pairs: Vec<Pair>,
}

/// Loads a store with [`BASE`] records and, where more are asked for, a second.
pub async fn run(place: &Place, records: u64, time: Duration) -> Result<Scale, Failure> {
    let mut wanted = vec![0, BASE];
    if records > BASE {
        wanted.push(records);
    }
    let mut sizes = Vec::new();
    for &records in &wanted {
        eprintln!("loading {records} records into a store of their own");
        sizes.push(footprint(place, records).await?);
    }
    let mut stores = Vec::new();
    for &records in &wanted[1..] {
        let mut server = Server::imagestore(place, &root(records))?;
        let loaded = Loaded::known(server.client().await?, records);
        server.pause()?;
        stores.push((server, loaded));
    }
    let mut pairs = Vec::new();
    for work in WORKS {
        for in_flight in IN_FLIGHT {
            eprintln!("{}, {in_flight} in flight, each size", work.title());
            let (base, large) = (&stores[0], stores.get(1));
            pairs.push(pair(base, large, work, in_flight, time).await?);
        }
    }
    for (size, (server, loaded)) in sizes[1..].iter_mut().zip(stores) {
        eprintln!("kill -9 among {} records", size.records);
        size.recoveries = recover(place, server, loaded).await?;
    }
    Ok(Scale { sizes, pairs })
}

fn root(records: u64) -> String {
    format!("scale-{records}")
}

/// Loads, closes and opens again.
async fn footprint(place: &Place, records: u64) -> Result<Footprint, Failure> {
    let name = root(records);
    let mut server = Server::imagestore(place, &name)?;
    let client = server.client().await?;
    let begin = Instant::now();
    Loaded::fill(client, records, FILL_IN_FLIGHT).await?;
    let loaded = records as f64 / begin.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let folder = server.root.clone();
    server.stop().await?;
    let disk = machine::disk_usage(&folder)?;

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let mut server = Server::imagestore(place, &name)?;
        starts.push(server.first_answer().await?.1);
        server.stop().await?;
    }
    starts.sort_unstable();

    let mut server = Server::imagestore(place, &name)?;
    let (client, memory) = at_rest(&mut server).await?;
    let begin = Instant::now();
    let growth = stream_growth(&server, client, records).await?;
    let streamed = records as f64 / begin.elapsed().as_secs_f64();
    server.stop().await?;
    Ok(Footprint {
        records,
        loaded,
        disk,
        start: starts[STARTS / 2],
        memory,
        growth,
        streamed,
        recoveries: Vec::new(),
    })
}

/// Streams every record, and tells by how much the server's memory grew at most.
async fn stream_growth(server: &Server, mut client: Client, records: u64) -> Result<u64, Failure> {
    let pid = server.pid();
    let before = machine::resident(pid)?;
    // Where the peak cannot be forgotten, the samples alone tell.
    let forgotten = machine::forget_peak(pid).is_ok();
    let mut stream = tokio::spawn(async move { client.stream("-").await });
    let mut peak = before;
    let rows = loop {
        peak = peak.max(machine::resident(pid)?);
        match tokio::time::timeout(SAMPLE, &mut stream).await {
            Ok(rows) => break rows??,
            Err(_) => continue,
        }
    };
    if rows != records {
        return Err(format!("streamed {rows} records of {records}").into());
    }
    if forgotten {
        peak = peak.max(machine::peak_resident(pid)?);
    }
    Ok(peak - before)
}

/// Both sizes in turn, or the small one alone.
async fn pair(
    base: &(Server, Loaded),
    large: Option<&(Server, Loaded)>,
    work: Work,
    in_flight: usize,
    time: Duration,
) -> Result<Pair, Failure> {
    let mut rounds = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        // The first round warms up.
        let time = if round == 0 { time / 10 } else { time / ROUNDS };
        for (rounds, (server, loaded)) in rounds
            .iter_mut()
            .zip([Some(base), large].into_iter().flatten())
        {
            server.resume()?;
            let done = loaded.drive(work, in_flight, time).await;
            server.pause()?;
            let done = done?;
            if round > 0 {
                rounds.push(done);
            }
        }
    }
    let [base, large] = rounds.map(median);
    Ok(Pair {
        work,
        in_flight,
        base,
        large,
    })
}

/// Kills the server while writers write and starts it again, several times.
async fn recover(
    place: &Place,
    mut server: Server,
    mut loaded: Loaded,
) -> Result<Vec<Duration>, Failure> {
    let mut recoveries = Vec::new();
    server.resume()?;
    for _ in 0..KILLS {
        let writing = loaded.clone();
        let writers = tokio::spawn(async move {
            let longer = UNTIL_KILL * 2;
            writing.drive(Work::Put, WRITERS, longer).await
        });
        tokio::time::sleep(UNTIL_KILL).await;
        server.kill()?;
        // They end with the connection.
        let _ = writers.await;
        server = Server::imagestore(place, &root(loaded.records))?;
        let (client, took) = server.first_answer().await?;
        loaded.client = client;
        recoveries.push(took);
    }
    let still_there = loaded.drive(Work::Get, 1, Duration::ZERO).await;
    still_there.map_err(|status| format!("after kill -9: {status}"))?;
    server.stop().await?;
    Ok(recoveries)
}
