//! Asking again where no answer came.

use std::error::Error as _;
use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time;
use tonic::{Code, Status};

use super::stop::PARTING;

/// Between two tries, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a server may be away, such as for a restart.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Calls until there is an answer, at most for so long. What is called must be harmless when it is done twice, or have
/// an id of its own.
pub async fn ask<T>(
    patience: Duration,
    mut call: impl AsyncFnMut() -> Result<T, Status>,
) -> Result<T, Status> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match call().await {
            Err(status) if is_silence(&status) && began.elapsed() + pause < patience => {
                time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            answer => return answer,
        }
    }
}

/// Gives back what somebody holds. When nobody hears it in time, the hold ends by itself.
pub async fn give_back<T>(call: impl AsyncFnMut() -> Result<T, Status>) {
    let _ = time::timeout(PARTING, ask(PARTING, call)).await;
}

/// Whether a call has no answer, rather than one that refuses it.
pub fn is_silence(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => true,
        // Only what failed on this side of the connection has a cause.
        Code::Unknown | Code::Internal => status.source().is_some(),
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// An id that no other request has.
pub fn request_id() -> String {
    random().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A time between half and the whole of one, so that many who wait do not all wake at once.
pub fn jittered(time: Duration) -> Duration {
    time / 2 + (time / 2).mul_f64(f64::from(random()[0]) / 255.0)
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_err() {
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_nanos());
        let own = nanos ^ (u128::from(std::process::id()) << 96);
        bytes = own.to_be_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silence_is_asked_again_and_a_refusal_is_an_answer() {
        let mut calls = 0;
        let answer = ask(PATIENCE, async || {
            calls += 1;
            match calls {
                1 => Err(Status::unavailable("")),
                _ => Ok(calls),
            }
        });
        assert_eq!(answer.await.unwrap(), 2);
        let mut calls = 0;
        let refused = ask(PATIENCE, async || {
            calls += 1;
            Err::<(), _>(Status::aborted(""))
        });
        assert_eq!(refused.await.unwrap_err().code(), Code::Aborted);
        assert_eq!(calls, 1);
    }

    #[test]
    fn no_two_requests_have_the_same_id() {
        assert_ne!(request_id(), request_id());
        assert_eq!(request_id().len(), 32);
    }

    #[test]
    fn jitter_takes_up_to_half_of_a_time() {
        let time = Duration::from_secs(2);
        for _ in 0..100 {
            assert!((time / 2..=time).contains(&jittered(time)));
        }
    }
}
