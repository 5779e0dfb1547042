//! The answer of `imagestore.v1.Store.Verify`.

use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use tonic::Status;

use crate::proto::v1 as pb;
use crate::proto::v1::verify_response::Kind;
use crate::store::{Problem, Store, Verified};

/// Checks the store, and then tells what was found.
pub fn verify(store: Store) -> impl Stream<Item = Result<pb::VerifyResponse, Status>> {
    let checked = stream::once(async move { store.verify().await.map_err(Status::from) });
    checked
        .map_ok(|verified| stream::iter(messages(verified)).map(Ok))
        .try_flatten()
}

fn messages(verified: Verified) -> impl Iterator<Item = pb::VerifyResponse> {
    let end = pb::VerifyEnd {
        revision: verified.revision.0,
        rows: verified.rows,
        problems: verified.count,
    };
    let problems = verified.problems.into_iter().map(problem);
    problems
        .map(Kind::Problem)
        .chain([Kind::End(end)])
        .map(|kind| pb::VerifyResponse { kind: Some(kind) })
}

fn problem(problem: Problem) -> pb::Problem {
    pb::Problem {
        table: problem.table,
        row: problem.row,
        what: problem.what,
    }
}
