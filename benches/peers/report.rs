//! What is printed: two tables for the README, and how the numbers stand to the design's bars.

use std::time::Duration;

use crate::contest::{Contest, ROUNDS, Row};
use crate::lineup::{Peer, Work};
use crate::load::Round;
use crate::record::LISTED;
use crate::scale::{BASE, Footprint, Pair, Scale};

/// Where processor time is told: the loop keeps the server busy, and lists run at it too.
const CPU_IN_FLIGHT: usize = 64;
/// Who imagestore is compared with.
const RIVALS: [Peer; 3] = [Peer::Null, Peer::Containerd, Peer::Etcd];

/// The table of peers.
pub fn peers(contest: &Contest) -> String {
    let intro = format!(
        "Each cell: operations a second, p50 and p99 in ms; the middle one of {ROUNDS} rounds in turn, with {} records \
         loaded. Ratios are of operations a second. Lists and, at containerd, lookups by digest run in a namespace of \
         {}; the client counts the records of a list and does not decode them. containerd has one way to list; \
         etcd has no index for digests.",
        thousands(contest.records as f64),
        thousands(LISTED as f64),
    );
    let mut lines = vec![intro, String::new()];
    let mut head = vec!["work".to_owned(), "in flight".to_owned()];
    head.extend(Peer::ALL.map(|peer| peer.name().to_owned()));
    head.extend(RIVALS.map(|rival| format!("imagestore / {}", rival.name())));
    lines.extend([line(&head), rule(head.len())]);
    for row in &contest.rows {
        let mut cells = vec![row.work.title().to_owned(), row.in_flight.to_string()];
        cells.extend(Peer::ALL.map(|peer| row.of(peer).map_or("-".to_owned(), round)));
        cells.extend(RIVALS.map(|rival| ratio(row, rival).map_or("-".to_owned(), times)));
        lines.push(line(&cells));
    }
    let mut busy = contest
        .rows
        .iter()
        .filter(|row| row.in_flight == CPU_IN_FLIGHT)
        .peekable();
    if busy.peek().is_some() {
        lines.push(format!(
            "\nProcessor time of the server for one operation, {CPU_IN_FLIGHT} in flight, in \u{b5}s:\n"
        ));
    }
    for row in busy {
        let cpu = |peer: Peer| {
            let micros = row.cpu[peer as usize]?.as_secs_f64() * 1e6;
            Some(format!("{} {}", peer.name(), significant(micros)))
        };
        let cpu: Vec<String> = Peer::ALL.into_iter().filter_map(cpu).collect();
        lines.push(format!("- {}: {}", row.work.title(), cpu.join(", ")));
    }
    lines.join("\n")
}

/// The table of sizes.
pub fn sizes(scale: &Scale, contest: Option<&Contest>) -> String {
    let compared = scale.sizes.len() > 2;
    let mut head = vec!["imagestore by size".to_owned()];
    head.extend(scale.sizes.iter().map(|size| match size.records {
        0 => "empty".to_owned(),
        records => format!("{} records", thousands(records as f64)),
    }));
    head.push("ratio".to_owned());
    let mut lines = vec![line(&head), rule(head.len())];
    for pair in &scale.pairs {
        let title = format!("{}, {} in flight", pair.work.title(), pair.in_flight);
        let mut cells = vec![title, "-".to_owned()];
        cells.push(pair.base.as_ref().map_or("-".to_owned(), round));
        if compared {
            cells.push(pair.large.as_ref().map_or("-".to_owned(), round));
        }
        cells.push(slowdown(pair).map_or("-".to_owned(), |ratio| format!("p50 {}", times(ratio))));
        lines.push(line(&cells));
    }
    let mut footprints = |title: &str, cell: &dyn Fn(&Footprint) -> Option<String>| {
        let mut cells = vec![title.to_owned()];
        cells.extend(
            scale
                .sizes
                .iter()
                .map(|size| cell(size).unwrap_or("-".to_owned())),
        );
        cells.push("-".to_owned());
        lines.push(line(&cells));
    };
    let loaded = |size: &Footprint| size.records > 0;
    footprints("loading, Puts a second", &|size| {
        loaded(size).then(|| thousands(size.loaded))
    });
    footprints("start to first answer, after a clean close", &|size| {
        Some(millis(size.start))
    });
    footprints(
        "start to first answer, after kill -9 under 64 writers",
        &|size| {
            let all: Vec<String> = size.recoveries.iter().copied().map(millis).collect();
            (!all.is_empty()).then(|| all.join(", "))
        },
    );
    footprints("memory of a freshly opened server", &|size| {
        Some(megabytes(size.memory))
    });
    footprints("Stream of all, growth of memory", &|size| {
        loaded(size).then(|| megabytes(size.growth))
    });
    footprints("Stream of all, records a second", &|size| {
        loaded(size).then(|| thousands(size.streamed))
    });
    footprints("disk after a clean close, bytes a record", &|size| {
        loaded(size).then(|| thousands(size.disk as f64 / size.records as f64))
    });
    if let Some((contest, weight)) = contest.and_then(|it| Some((it, it.containerd?))) {
        lines.push(String::new());
        lines.push(format!(
            "containerd, CRI off: {} of memory freshly opened when empty, {} with {} records; {} bytes of disk a record.",
            megabytes(weight.memory_empty),
            megabytes(weight.memory),
            thousands(contest.records as f64),
            thousands(weight.disk as f64 / contest.records as f64),
        ));
    }
    lines.join("\n")
}

/// Each bar of the design, what was measured, and whether that meets it.
pub fn bars(contest: Option<&Contest>, scale: Option<&Scale>) -> String {
    let mut lines = Vec::new();
    if let Some(contest) = contest {
        peer_bars(contest, &mut lines);
    }
    if let Some(scale) = scale {
        size_bars(scale, &mut lines);
    }
    lines.join("\n")
}

fn peer_bars(contest: &Contest, lines: &mut Vec<String>) {
    let find = |work, in_flight| {
        let mut rows = contest.rows.iter();
        rows.find(|row| row.work == work && row.in_flight == in_flight)
    };
    let faster = |work, in_flight, peer| find(work, in_flight).and_then(|row| ratio(row, peer));
    let get = |peer| faster(Work::Get, 64, peer);
    let put = |peer| faster(Work::Put, 64, peer);
    let alone = find(Work::Put, 1).and_then(|row| {
        let (ours, theirs) = (row.of(Peer::Imagestore)?, row.of(Peer::Containerd)?);
        Some(f64::from(ours.p50) / f64::from(theirs.p50))
    });
    lines.push(at_least(
        "Get, 64 in flight, of the null handler",
        get(Peer::Null),
        0.95,
    ));
    lines.push(at_least(
        "Get, 64 in flight, of containerd",
        get(Peer::Containerd),
        2.5,
    ));
    lines.push(at_least("Get, 64 in flight, of etcd", get(Peer::Etcd), 3.0));
    lines.push(at_most(
        "durable Put, 1 client, p50 of containerd's",
        alone,
        0.5,
        times,
    ));
    lines.push(at_least(
        "durable Put, 64 clients, of containerd",
        put(Peer::Containerd),
        20.0,
    ));
    lines.push(at_least(
        "durable Put, 64 clients, of etcd",
        put(Peer::Etcd),
        2.0,
    ));
    let list = |in_flight| faster(Work::Stream, in_flight, Peer::Containerd);
    lines.push(at_least(
        "List of 10,000, 1 in flight, of containerd",
        list(1),
        5.0,
    ));
    lines.push(at_least(
        "List of 10,000, 64 in flight, of containerd",
        list(64),
        5.0,
    ));
}

fn size_bars(scale: &Scale, lines: &mut Vec<String>) {
    let Some(size) = scale.sizes.last() else {
        return;
    };
    let among = format!("among {}", thousands(size.records as f64));
    let pair = |work, in_flight| {
        let mut pairs = scale.pairs.iter();
        pairs.find(|pair| pair.work == work && pair.in_flight == in_flight)
    };
    let p50 = |work, in_flight| {
        let pair = pair(work, in_flight)?;
        let round = pair.large.or(pair.base)?;
        Some(f64::from(round.p50))
    };
    for in_flight in [1, 64] {
        for (work, what) in [(Work::ByName, "exact name"), (Work::ByDigest, "digest")] {
            let cost = p50(work, in_flight).zip(p50(Work::Get, in_flight));
            let cost = cost.map(|(lookup, get)| lookup / get);
            let title = format!("by {what} {among}, {in_flight} in flight, p50 of a Get's");
            lines.push(at_most(&title, cost, 2.0, times));
        }
        let cost = pair(Work::Get, in_flight).and_then(slowdown);
        let base = thousands(BASE as f64);
        let title = format!("Get {among}, {in_flight} in flight, p50 of that among {base}");
        lines.push(at_most(&title, cost, 1.3, times));
    }
    let slowest = size.recoveries.iter().max();
    let open = slowest.map(|took| took.as_secs_f64() * 1e3);
    let title = format!("open after kill -9 {among}, slowest, with the start of the process");
    lines.push(at_most(&title, open, 100.0, |ms| format!("{ms:.1} ms")));
    let disk = size.disk as f64 / size.records as f64;
    let bytes = |bytes: f64| format!("{} bytes", thousands(bytes));
    lines.push(at_most(
        &format!("disk a record {among}"),
        Some(disk),
        1_200.0,
        bytes,
    ));
    let title = format!("memory of a freshly opened server {among}");
    lines.push(at_most(&title, Some(mega(size.memory)), 16.0, |mb| {
        format!("{mb:.1} MB")
    }));
    let title = format!("growth of memory in a Stream {among}");
    lines.push(at_most(&title, Some(mega(size.growth)), 32.0, |mb| {
        format!("{mb:.1} MB")
    }));
}

fn at_least(title: &str, measured: Option<f64>, bar: f64) -> String {
    verdict(
        title,
        measured.map(times),
        format!(">= {}", times(bar)),
        measured >= Some(bar),
    )
}

fn at_most(title: &str, measured: Option<f64>, bar: f64, unit: impl Fn(f64) -> String) -> String {
    let met = measured.is_some_and(|measured| measured <= bar);
    verdict(title, measured.map(&unit), format!("<= {}", unit(bar)), met)
}

fn verdict(title: &str, measured: Option<String>, bar: String, met: bool) -> String {
    let Some(measured) = measured else {
        return format!("- {title}: not measured (bar {bar})");
    };
    let verdict = if met { "met" } else { "missed" };
    format!("- {title}: {measured} (bar {bar}): {verdict}")
}

/// How many times as much imagestore does in a second.
pub fn ratio(row: &Row, peer: Peer) -> Option<f64> {
    Some(row.of(Peer::Imagestore)?.per_second / row.of(peer)?.per_second)
}

/// The p50 among many records, in that among few.
fn slowdown(pair: &Pair) -> Option<f64> {
    Some(f64::from(pair.large?.p50) / f64::from(pair.base?.p50))
}

pub fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// The line below a head: names to the left, numbers to the right.
pub fn rule(columns: usize) -> String {
    "|---".to_owned() + &"|--:".repeat(columns - 1) + "|"
}

pub fn round(round: &Round) -> String {
    let ms = |micros: u32| significant(f64::from(micros) / 1e3);
    format!(
        "{}/s, {}, {}",
        thousands(round.per_second),
        ms(round.p50),
        ms(round.p99)
    )
}

pub fn times(ratio: f64) -> String {
    format!("{} x", significant(ratio))
}

fn millis(took: Duration) -> String {
    format!("{} ms", significant(took.as_secs_f64() * 1e3))
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", mega(bytes))
}

/// Enough digits to compare by.
fn significant(number: f64) -> String {
    match number {
        ..1.0 => format!("{number:.3}"),
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
