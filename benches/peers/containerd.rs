//! imagestore through containerd's own API, beside containerd: the same client sends both the same.

use std::fmt;
use std::time::Duration;

use crate::Failure;
use crate::contest::{self, Contestant, FILL_IN_FLIGHT, Row};
use crate::lineup::{Peer, Work};
use crate::load::Loaded;
use crate::process::{Place, Server};
use crate::record::LISTED;
use crate::report::{line, ratio, round, rule, thousands, times};

/// What is asked, in containerd's words, and how many at a time. containerd reads a whole namespace for
/// each of the filters, so that more of them at once only measures how they wait.
const WORKS: [(Work, &str, &[usize]); 7] = [
    (Work::Get, "Get", &[1, 64]),
    (Work::Pages, "List of 10,000", &[1, 16]),
    (Work::ByName, "List, `name==`", &[1, 4]),
    (Work::ByDigest, "List, `target.digest==`", &[1, 4]),
    (Work::ByRepository, "List, `name~=^repository:`", &[1, 4]),
    (Work::Put, "Create", &[1, 64]),
    (Work::Overwrite, "Update", &[1, 64]),
];

/// What came out at one number of records.
pub struct Compared {
    records: u64,
    rows: Vec<(&'static str, Row)>,
    remarks: Vec<String>,
}

/// How many records both are loaded with, one after the other.
pub fn sizes(records: u64) -> Vec<u64> {
    let mut sizes = vec![LISTED, records];
    sizes.dedup();
    sizes
}

pub async fn run(place: &Place, records: u64, time: Duration) -> Result<Compared, Failure> {
    let mut compared = Compared {
        records,
        rows: Vec::new(),
        remarks: Vec::new(),
    };
    let name = format!("containerd-{records}");
    eprintln!("containerd's API: loading {records} records");
    let (mut theirs, _) = contest::containerd(place, &name, records).await?;
    theirs.loaded.looked_up = records;
    theirs.server.pause()?;
    let ours = imagestore(place, records).await?;
    ours.server.pause()?;
    let field = [ours, theirs];
    for (work, title, in_flight) in WORKS {
        for &in_flight in in_flight {
            eprintln!("containerd's API: {title}, {in_flight} in flight");
            let row = contest::race(&field, work, in_flight, time, &mut compared.remarks).await;
            compared.rows.push((title, row));
        }
    }
    Ok(compared)
}

async fn imagestore(place: &Place, records: u64) -> Result<Contestant, Failure> {
    let mut server = Server::imagestore(place, &format!("as-containerd-{records}"))?;
    Loaded::fill(server.client().await?, records, FILL_IN_FLIGHT).await?;
    let mut loaded = Loaded::known(server.client_as(Peer::Containerd).await?, records);
    loaded.looked_up = records;
    Ok(Contestant {
        peer: Peer::Imagestore,
        loaded,
        server,
    })
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = thousands(self.records as f64);
        let head = [
            format!("containerd's API, {records} records"),
            "in flight".into(),
            "imagestore".into(),
            "containerd".into(),
            "ratio".into(),
        ];
        write!(f, "{}\n{}", line(&head), rule(head.len()))?;
        for (title, row) in &self.rows {
            let cell = |peer| row.of(peer).map_or("-".to_owned(), round);
            let cells = [
                (*title).to_owned(),
                row.in_flight.to_string(),
                cell(Peer::Imagestore),
                cell(Peer::Containerd),
                ratio(row, Peer::Containerd).map_or("-".to_owned(), times),
            ];
            write!(f, "\n{}", line(&cells))?;
        }
        for remark in &self.remarks {
            write!(f, "\n- {remark}")?;
        }
        Ok(())
    }
}
