//! The one table from errors and refusals to gRPC: code, reason, and what a program may want to know.

mod facts;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::containerd::{Fault, Kind};
use crate::domain::build::GraphError;
use crate::domain::{FilterError, Invalid};
use crate::error::Error;

/// The `domain` of every ErrorInfo.
const DOMAIN: &str = "imagestore";

/// Texts in a status travel in an HTTP header, which peers bound; names may have 4,096 bytes.
const MAX_TEXT: usize = 1024;

/// Whose API a service is of: how it says what it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// Ours: with details for programs.
    Native,
    /// containerd's: a code and a text only, as grpc-go says it. Its clients join details that they do
    /// not know into the text.
    Containerd,
}

/// Why a call ended before the store had an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("grpc-timeout must be up to 8 digits and one of H M S m u n")]
    MalformedTimeout,
    /// In tonic's words.
    #[error("{0}")]
    Malformed(String),
    /// In tonic's words.
    #[error("{0}")]
    RequestTooLarge(String),
    #[error("unknown service {0}")]
    UnknownService(String),
    #[error("unknown method {method} for service {service}")]
    UnknownMethod {
        service: &'static str,
        method: String,
    },
    #[error("no answer within {limit:?}; a write may still happen")]
    DeadlineExceeded { limit: Duration },
}

impl Refusal {
    /// One row a variant and no wildcard, as for [`Error`].
    fn wire(&self) -> (Code, &'static str) {
        match self {
            Self::MalformedTimeout | Self::Malformed(_) => {
                (Code::InvalidArgument, "MALFORMED_REQUEST")
            }
            Self::RequestTooLarge(_) => (Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
            Self::UnknownService(_) | Self::UnknownMethod { .. } => {
                (Code::Unimplemented, "UNIMPLEMENTED")
            }
            Self::DeadlineExceeded { .. } => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        }
    }

    /// What the caller is told.
    pub fn status(&self, face: Face) -> Status {
        match face {
            Face::Native => {
                let (code, reason) = self.wire();
                let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
                Status::with_error_details(code, shortened(&self.to_string()), details)
            }
            Face::Containerd => {
                let (code, text) = self.in_go();
                Status::new(code, shortened(&text))
            }
        }
    }

    /// As a server built on grpc-go says it.
    fn in_go(&self) -> (Code, String) {
        match self {
            Self::Malformed(why) => {
                let text = format!("grpc: error unmarshalling request: {why}");
                (Code::Internal, text)
            }
            Self::RequestTooLarge(why) => {
                let mut numbers = why
                    .split(|character: char| !character.is_ascii_digit())
                    .filter(|number| !number.is_empty());
                let text = match (numbers.next(), numbers.next()) {
                    (Some(size), Some(limit)) => {
                        format!("grpc: received message larger than max ({size} vs. {limit})")
                    }
                    _ => why.clone(),
                };
                (Code::ResourceExhausted, text)
            }
            Self::MalformedTimeout
            | Self::UnknownService(_)
            | Self::UnknownMethod { .. }
            | Self::DeadlineExceeded { .. } => (self.wire().0, self.to_string()),
        }
    }
}

impl Error {
    /// One row a variant and no wildcard: a new variant does not compile until it has one.
    fn wire(&self) -> (Code, &'static str) {
        match self {
            Self::Invalid(_) => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::NotFound(_) => (Code::NotFound, "NOT_FOUND"),
            Self::Exists(_) => (Code::AlreadyExists, "ALREADY_EXISTS"),
            Self::EtagMismatch { .. } => (Code::Aborted, "ETAG_MISMATCH"),
            Self::TargetMismatch { .. } => (Code::Aborted, "TARGET_MISMATCH"),
            Self::NotEmpty { .. } => (Code::FailedPrecondition, "NAMESPACE_NOT_EMPTY"),
            Self::Ambiguous { .. } => (Code::FailedPrecondition, "AMBIGUOUS"),
            Self::HasChildren(_) => (Code::FailedPrecondition, "HAS_CHILDREN"),
            Self::ConfigFull { .. } => (Code::FailedPrecondition, "CONFIG_FULL"),
            Self::TargetFull { .. } => (Code::FailedPrecondition, "TARGET_FULL"),
            Self::Claim { .. } => (Code::Aborted, "CLAIM_REFUSED"),
            Self::IllegalTransition { .. } => (Code::FailedPrecondition, "ILLEGAL_TRANSITION"),
            Self::Graph(cause) => match **cause {
                GraphError::Duplicate(_) => (Code::AlreadyExists, "DUPLICATE_TARGET"),
                GraphError::Unknown(_) => (Code::InvalidArgument, "UNKNOWN_DEPENDENCY"),
                GraphError::Cycle(_) => (Code::InvalidArgument, "CYCLE"),
                GraphError::TooLarge { .. } => (Code::InvalidArgument, "GRAPH_TOO_LARGE"),
            },
            Self::GraphChanged { .. } => (Code::Aborted, "GRAPH_CHANGED"),
            Self::HasDependents { .. } => (Code::FailedPrecondition, "HAS_DEPENDENTS"),
            Self::NotBumpable(_) => (Code::FailedPrecondition, "NOT_BUMPABLE"),
            Self::InUse(_) => (Code::FailedPrecondition, "IN_USE"),
            Self::BuilderFull { .. } => (Code::ResourceExhausted, "BUILDER_FULL"),
            Self::ReadsTooMuch { .. } => (Code::InvalidArgument, "WRITE_TOO_LARGE"),
            Self::LeaseFull { .. } => (Code::ResourceExhausted, "LEASE_FULL"),
            Self::UnknownRevision { .. } => (Code::OutOfRange, "UNKNOWN_REVISION"),
            Self::Compacted { .. } => (Code::OutOfRange, "HISTORY_COMPACTED"),
            Self::HistoryTrimmed { .. } => (Code::OutOfRange, "HISTORY_TRIMMED"),
            Self::Item { cause, .. } => cause.wire(),
            Self::SnapshotExpired { .. } => (Code::Aborted, "SNAPSHOT_EXPIRED"),
            Self::TooManySnapshots { .. } => (Code::ResourceExhausted, "TOO_MANY_SNAPSHOTS"),
            Self::Contended { .. } => (Code::Unavailable, "CONTENDED"),
            Self::TooLarge { .. } => (Code::InvalidArgument, "WRITE_TOO_LARGE"),
            Self::DiskFull { .. } => (Code::ResourceExhausted, "DISK_FULL"),
            Self::NotCompacted(_) => (Code::Aborted, "NOT_COMPACTED"),
            Self::Stopped(_) => (Code::Unavailable, "WRITES_STOPPED"),
            Self::Closed => (Code::Unavailable, "STORE_CLOSED"),
            Self::GoingAway => (Code::Unavailable, "GOING_AWAY"),
            Self::OutcomeUnknown(_) => (Code::Unknown, "OUTCOME_UNKNOWN"),
            Self::Unavailable(_) => (Code::Unavailable, "STORAGE_UNAVAILABLE"),
            Self::Corrupt(_) => (Code::DataLoss, "STORAGE_CORRUPT"),
            Self::SchemaTooNew { .. } => (Code::FailedPrecondition, "SCHEMA_TOO_NEW"),
            Self::Open(_) => (Code::Unavailable, "STORE_NOT_OPEN"),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason) = error.wire();
        let mut details = ErrorDetails::with_error_info(reason, DOMAIN, error.facts());
        let (item, cause) = match &error {
            Error::Item { index, cause } => (format!("items[{index}]."), &**cause),
            other => (String::new(), other),
        };
        match cause {
            Error::Invalid(invalid) => {
                details.add_bad_request_violation(
                    shortened(&format!("{item}{}", invalid.field())),
                    shortened(invalid.reason()),
                );
            }
            Error::Graph(graph) => {
                details.add_bad_request_violation("targets", shortened(&graph.to_string()));
            }
            Error::NotEmpty { namespace, .. } => {
                details.add_precondition_failure_violation(
                    "EMPTY",
                    format!("namespaces/{namespace}"),
                    "it must hold nothing, or the deletion must be forced",
                );
            }
            Error::Contended { .. } | Error::TooManySnapshots { .. } => {
                details.set_retry_info(Some(Duration::from_millis(100)));
            }
            _ => {}
        }
        let message = match &error {
            // The cause is for people; programs have the reason.
            Error::Unavailable(cause) => format!("{error}: {cause}"),
            _ => error.to_string(),
        };
        let mut status = Self::with_error_details(code, shortened(&message), details);
        status.set_source(Arc::new(error));
        status
    }
}

/// The one table from containerd's kinds of errors to codes. No details: its clients know none.
impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let code = match fault.kind() {
            Kind::InvalidArgument => Code::InvalidArgument,
            Kind::NotFound => Code::NotFound,
            Kind::AlreadyExists => Code::AlreadyExists,
            Kind::FailedPrecondition => Code::FailedPrecondition,
            Kind::NotImplemented => Code::Unimplemented,
            Kind::ResourceExhausted => Code::ResourceExhausted,
            Kind::Aborted => Code::Aborted,
            Kind::Unavailable => Code::Unavailable,
            Kind::DataLoss => Code::DataLoss,
            Kind::Unknown => Code::Unknown,
        };
        Self::new(code, cut(fault.text()))
    }
}

/// Bytes that a text for containerd's clients may have in its header. Its texts have whole names, and
/// some clients tell errors apart by their ends; peers take headers of 8 KiB at least.
const MAX_HEADER: usize = 7 << 10;

/// The beginning of a text, as long as it fits the header; nearly all fit.
fn cut(text: &str) -> String {
    let mut room = MAX_HEADER;
    let end = text.char_indices().find(|(_, character)| {
        // As the header has it: other bytes than printable ASCII become three.
        let bytes = match character {
            '%' => 3,
            ' '..='~' => 1,
            other => 3 * other.len_utf8(),
        };
        let left = room.checked_sub(bytes);
        room = left.unwrap_or(0);
        left.is_none()
    });
    match end {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A domain error at the edge: the field as the request names it.
pub(super) fn refused(invalid: Invalid) -> Status {
    Error::Invalid(invalid).into()
}

pub(super) fn bad_filter(error: &FilterError) -> Invalid {
    Invalid::new(format!("filters[{}]", error.index()), {
        let at = error.position();
        format!("at byte {at}: {}", error.reason())
    })
}

/// At most [`MAX_TEXT`] bytes of a text.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_TEXT)])
}
