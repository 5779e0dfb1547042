//! The peers side by side: round after round in turn, so that all see the same weather, and only
//! one of them running at a time.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::client::Client;
use crate::lineup::{Peer, Work};
use crate::load::{Loaded, Round, median};
use crate::process::{CONTAINERD_RECORDS, Place, Server};
use crate::record::LISTED;
use crate::{Failure, machine};

pub const ROUNDS: u32 = 3;
pub const FILL_IN_FLIGHT: usize = 256;
const FILL_CONTAINERD_IN_FLIGHT: usize = 64;
/// How long a new process gets to come to rest before its memory is read.
pub const SETTLE: Duration = Duration::from_millis(500);
/// Each answer of a list is megabytes; more of them at once only measures memory.
const LISTS_IN_FLIGHT: usize = 64;
/// Where a write costs no sync, for loading containerd.
const RAM: &str = "/dev/shm";
const RAM_PER_RECORD: u64 = 20_000;

/// One work at one number in flight; a round for each peer that can do it, in the order of
/// [`Peer::ALL`].
pub struct Row {
    pub work: Work,
    pub in_flight: usize,
    pub rounds: [Option<Round>; Peer::ALL.len()],
    /// Processor time of the server for one operation, over all rounds.
    pub cpu: [Option<Duration>; Peer::ALL.len()],
}

impl Row {
    pub fn of(&self, peer: Peer) -> Option<&Round> {
        self.rounds[peer as usize].as_ref()
    }
}

/// What containerd takes, in bytes.
#[derive(Clone, Copy)]
pub struct Weight {
    /// Memory of a new process without records.
    pub memory_empty: u64,
    /// Memory of a new process with all records.
    pub memory: u64,
    pub disk: u64,
}

pub struct Contestant {
    pub peer: Peer,
    pub loaded: Loaded,
    pub server: Server,
}

/// All that came out of it.
pub struct Contest {
    pub records: u64,
    pub rows: Vec<Row>,
    pub containerd: Option<Weight>,
    /// Who is missing, and why; what went wrong.
    pub remarks: Vec<String>,
}

/// Starts and loads every peer that is there and lets them race.
pub async fn run(
    place: &Place,
    records: u64,
    works: &[Work],
    in_flight: &[usize],
    time: Duration,
) -> Result<Contest, Failure> {
    let mut contest = Contest {
        records,
        rows: Vec::new(),
        containerd: None,
        remarks: Vec::new(),
    };
    let mut field = Vec::new();
    for peer in Peer::ALL {
        eprintln!("starting {}", peer.name());
        let started = match peer {
            Peer::Imagestore => imagestore(place, records).await,
            Peer::Null => null(place, records).await,
            Peer::Containerd => match containerd(place, "containerd", records).await {
                Ok((contestant, weight)) => {
                    contest.containerd = Some(weight);
                    Ok(contestant)
                }
                Err(error) => Err(error),
            },
            Peer::Etcd => etcd(place, records).await,
        };
        match started {
            Ok(contestant) => {
                contestant.server.pause()?;
                field.push(contestant);
            }
            Err(error) if matches!(peer, Peer::Imagestore | Peer::Null) => return Err(error),
            Err(error) => contest.remarks.push(format!("{}: {error}", peer.name())),
        }
    }
    for &work in works {
        for &in_flight in in_flight {
            if work.lists() && in_flight > LISTS_IN_FLIGHT {
                continue;
            }
            eprintln!("{}, {in_flight} in flight", work.title());
            let row = race(&field, work, in_flight, time, &mut contest.remarks).await;
            contest.rows.push(row);
        }
    }
    Ok(contest)
}

pub async fn race(
    field: &[Contestant],
    work: Work,
    in_flight: usize,
    time: Duration,
    remarks: &mut Vec<String>,
) -> Row {
    let mut row = Row {
        work,
        in_flight,
        rounds: [None; Peer::ALL.len()],
        cpu: [None; Peer::ALL.len()],
    };
    let mut turns: Vec<(&Contestant, Vec<(Round, Duration)>)> = Vec::new();
    for contestant in field.iter().filter(|it| work.suits(it.peer)) {
        // Warms up.
        match contestant.turn(work, in_flight, time / 10).await {
            Ok(_) => turns.push((contestant, Vec::new())),
            Err(error) => remarks.push(contestant.failed(&row, &error)),
        }
    }
    for _ in 0..ROUNDS {
        for (contestant, done) in &mut turns {
            match contestant.turn(work, in_flight, time / ROUNDS).await {
                Ok(turn) => done.push(turn),
                Err(error) => remarks.push(contestant.failed(&row, &error)),
            }
        }
        // So that none always comes after the same one.
        if !turns.is_empty() {
            turns.rotate_left(1);
        }
    }
    for (contestant, done) in turns {
        let operations: usize = done.iter().map(|(round, _)| round.operations).sum();
        let cpu: Duration = done.iter().map(|(_, cpu)| *cpu).sum();
        let place = contestant.peer as usize;
        row.cpu[place] = (operations > 0).then(|| cpu.div_f64(operations as f64));
        row.rounds[place] = median(done.into_iter().map(|(round, _)| round).collect());
    }
    row
}

impl Contestant {
    /// One round, and the processor time that the server took for it.
    async fn turn(
        &self,
        work: Work,
        in_flight: usize,
        time: Duration,
    ) -> Result<(Round, Duration), Failure> {
        let pid = self.server.pid();
        let before = machine::cpu_time(pid)?;
        self.server.resume()?;
        let round = self.loaded.drive(work, in_flight, time).await;
        self.server.pause()?;
        Ok((round?, machine::cpu_time(pid)?.saturating_sub(before)))
    }

    fn failed(&self, row: &Row, error: &Failure) -> String {
        let (name, title) = (self.peer.name(), row.work.title());
        format!("{name}: {title}, {} in flight: {error}", row.in_flight)
    }
}

async fn imagestore(place: &Place, records: u64) -> Result<Contestant, Failure> {
    let mut server = Server::imagestore(place, "imagestore")?;
    let client = server.client().await?;
    let loaded = Loaded::fill(client, records, FILL_IN_FLIGHT).await?;
    Ok(entered(Peer::Imagestore, loaded, server))
}

async fn null(place: &Place, records: u64) -> Result<Contestant, Failure> {
    let mut server = Server::null(place)?;
    let loaded = Loaded::known(server.client().await?, records);
    Ok(entered(Peer::Null, loaded, server))
}

async fn etcd(place: &Place, records: u64) -> Result<Contestant, Failure> {
    let mut server = Server::etcd(place)?;
    let client = server.client().await?;
    let loaded = Loaded::fill(client, records, FILL_IN_FLIGHT).await?;
    Ok(entered(Peer::Etcd, loaded, server))
}

/// Loads containerd in memory where there is room, for on disk it takes a sync a record, and
/// moves it to the disk then.
pub async fn containerd(
    place: &Place,
    name: &str,
    records: u64,
) -> Result<(Contestant, Weight), Failure> {
    let root = place.root(name);
    let mut empty = Server::containerd(place, root.clone())?;
    let (_, memory_empty) = at_rest(&mut empty).await?;
    empty.stop().await?;

    let ram = ram(records * RAM_PER_RECORD);
    let loading = ram.as_ref().map_or(root.as_path(), TempDir::path);
    let mut server = Server::containerd(place, loading.to_owned())?;
    let client = server.client().await?;
    Loaded::fill(client, records, FILL_CONTAINERD_IN_FLIGHT).await?;
    server.stop().await?;
    let records_file = Path::new("root").join(CONTAINERD_RECORDS);
    let written = loading.join(&records_file);
    let folder = written.parent().unwrap_or(loading);
    let disk = machine::disk_usage(folder)?;
    if ram.is_some() {
        let target = root.join(&records_file);
        fs::copy(&written, &target)?;
        fs::File::open(&target)?.sync_all()?;
    }
    drop(ram);

    let mut server = Server::containerd(place, root)?;
    let (client, memory) = at_rest(&mut server).await?;
    let loaded = Loaded::known(client, records);
    let weight = Weight {
        memory_empty,
        memory,
        disk,
    };
    Ok((entered(Peer::Containerd, loaded, server), weight))
}

fn entered(peer: Peer, loaded: Loaded, server: Server) -> Contestant {
    assert!(loaded.records >= LISTED, "a list needs all its records");
    Contestant {
        peer,
        loaded,
        server,
    }
}

fn ram(bytes: u64) -> Option<TempDir> {
    let room = rustix::fs::statvfs(RAM).ok()?;
    let enough = room.f_bavail * room.f_frsize > bytes;
    let fits = enough && machine::in_memory(Path::new(RAM));
    fits.then(|| TempDir::with_prefix_in("peers-", RAM).ok())?
}

/// A connection, and the memory of the process once it has come to rest.
pub async fn at_rest(server: &mut Server) -> Result<(Client, u64), Failure> {
    let client = server.client().await?;
    tokio::time::sleep(SETTLE).await;
    Ok((client, machine::resident(server.pid())?))
}
