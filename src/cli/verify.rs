//! `imagestore verify`: checks a store against itself, one that is served or one that is not.

use std::path::PathBuf;

use serde::Serialize;

use super::connect::Common;
use super::failure::{Failure, with_causes};
use super::output::{self, Output};
use crate::error::Error;
use crate::kv::OpenError;
use crate::proto::v1::VerifyRequest;
use crate::proto::v1::verify_response::Kind;
use crate::store::Store;

/// Check the store: indexes and history against records, the change log against the state
///
/// Checks the store of the server; with --root, one that no server has open, and every page of its
/// file too. Ends with code 1 when something is wrong.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The folder of a store that no server has open
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Rebuild the indexes from the records
    #[arg(long, requires = "root")]
    repair: bool,
}

/// What was found.
#[derive(Default, Serialize)]
struct Found {
    revision: u64,
    rows: u64,
    problems: Vec<Problem>,
    /// Problems in all, those included that are not told.
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<u64>,
}

#[derive(Serialize)]
struct Problem {
    table: String,
    row: String,
    what: String,
}

impl Verify {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let found = match &self.root {
            None => ask(common).await?,
            Some(root) => open(root, self.repair).await?,
        };
        match common.output() {
            Output::Table => output::text(&found.text())?,
            Output::Json | Output::Ndjson => output::object(common.output(), &found)?,
        }
        match found.count {
            0 => Ok(()),
            count => Err(found.failure(count)),
        }
    }
}

/// Has the server check its store.
async fn ask(common: &Common) -> Result<Found, Failure> {
    let mut found = Found::default();
    let mut told = common
        .store()
        .await?
        .verify(VerifyRequest {})
        .await?
        .into_inner();
    while let Some(message) = told.message().await? {
        match message.kind {
            Some(Kind::Problem(problem)) => found.problems.push(Problem {
                table: problem.table,
                row: problem.row,
                what: problem.what,
            }),
            Some(Kind::End(end)) => {
                return Ok(Found {
                    revision: end.revision,
                    rows: end.rows,
                    count: end.problems,
                    ..found
                });
            }
            None => {}
        }
    }
    Err(Failure::new(
        "the check ended before all was read; try again",
    ))
}

/// Checks a store that no server has open.
async fn open(root: &std::path::Path, repair: bool) -> Result<Found, Failure> {
    let failed = |cause| Failure::new(with_causes(&cause));
    if let Err(cause) = Store::check_pages(root).await {
        return match cause {
            Error::Open(OpenError::Corrupt { cause, .. }) => Ok(Found {
                problems: vec![Problem {
                    table: "pages".to_owned(),
                    row: String::new(),
                    what: with_causes(&*cause),
                }],
                count: 1,
                ..Found::default()
            }),
            cause => Err(failed(cause)),
        };
    }
    let store = Store::open(root).await.map_err(failed)?;
    let repaired = match repair {
        true => Some(store.repair().await.map_err(failed)?),
        false => None,
    };
    let verified = store.verify().await;
    store.close().await;
    let verified = verified.map_err(failed)?;
    let problems = verified.problems.into_iter().map(|problem| Problem {
        table: problem.table,
        row: problem.row,
        what: problem.what,
    });
    Ok(Found {
        revision: verified.revision.0,
        rows: verified.rows,
        problems: problems.collect(),
        count: verified.count,
        repaired,
    })
}

impl Found {
    fn text(&self) -> String {
        let mut text = String::new();
        for Problem { table, row, what } in &self.problems {
            text += &format!("{table} [{row}]: {what}\n");
        }
        if let Some(repaired) = self.repaired {
            text += &format!("{} index rows were mended\n", repaired);
        }
        if self.count == 0 {
            let (rows, revision) = (self.rows, self.revision);
            text += &format!("sound: {rows} rows at revision {revision}\n");
        }
        text
    }

    fn failure(&self, count: u64) -> Failure {
        if self.rows == 0 {
            return Failure::new("the file is damaged, and was not read further")
                .next("Restore it from a backup with 'imagestore restore'");
        }
        let (rows, revision) = (self.rows, self.revision);
        let failure = Failure::new(format!(
            "{count} problems in {rows} rows at revision {revision}"
        ));
        failure.next(match self.repaired {
            None => {
                "Stop the server and run imagestore verify --root DIR --repair, which rebuilds the \
                 indexes; what that leaves has to come from a backup"
            }
            Some(_) => "Restore it from a backup, or put the records again that cannot be read",
        })
    }
}
