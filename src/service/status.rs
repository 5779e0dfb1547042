//! The one table from errors and refusals to gRPC: code, reason, and what a program may want to know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::containerd::{Fault, Kind};
use crate::domain::build::{ClaimRefused, EventKind, GraphError};
use crate::domain::{ConfigId, FilterError, Invalid};
use crate::error::{Error, Subject};

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

    /// What a program may want to know, by name.
    fn facts(&self) -> HashMap<String, String> {
        let mut facts = HashMap::new();
        let mut say = |key: &str, value: &dyn std::fmt::Display| {
            let value = value.to_string();
            // Half a name is worse than none.
            if value.len() <= MAX_TEXT {
                facts.insert(key.to_owned(), value);
            }
        };
        let mut about = |subject: &Subject| {
            say("kind", &subject.kind());
            say("namespace", subject.namespace());
            say("name", &subject.name());
        };
        match self {
            Self::NotFound(subject)
            | Self::Exists(subject)
            | Self::HasChildren(subject)
            | Self::InUse(subject) => about(subject),
            Self::Claim { subject, refused } => {
                about(subject);
                match refused {
                    ClaimRefused::Held { holder, deadline } => {
                        say("holder", holder);
                        say("deadline", deadline);
                    }
                    ClaimRefused::Superseded { holder } => say("holder", holder),
                    ClaimRefused::Late { deadline } => say("deadline", deadline),
                    ClaimRefused::NotHeld | ClaimRefused::PinEnded => {}
                }
            }
            Self::IllegalTransition { subject, illegal } => {
                about(subject);
                let legal: Vec<_> = illegal.legal().map(EventKind::name).collect();
                say("state", &illegal.state());
                say("legal", &legal.join(","));
            }
            Self::Graph(_) | Self::NotBumpable(_) => {}
            Self::GraphChanged {
                namespace, current, ..
            } => {
                say("namespace", namespace);
                say("graph_revision", current);
            }
            Self::HasDependents {
                subject,
                dependents,
                has_more,
            } => {
                about(subject);
                let keys: Vec<_> = dependents.iter().map(ToString::to_string).collect();
                say("dependents", &keys.join(","));
                say("has_more", has_more);
            }
            Self::BuilderFull { builder, limit, .. } => {
                about(builder);
                say("limit", limit);
            }
            Self::EtagMismatch {
                subject, current, ..
            } => {
                about(subject);
                say("etag", current);
            }
            Self::TargetMismatch {
                subject, current, ..
            } => {
                about(subject);
                say("target", current);
            }
            Self::NotEmpty {
                namespace,
                contents,
            } => {
                say("namespace", namespace);
                say("images", &contents.images);
                say("configs", &contents.configs);
                say("builders", &contents.builders);
                say("targets", &contents.targets);
            }
            Self::Ambiguous {
                namespace,
                reference,
                candidates,
                has_more,
            } => {
                let ids: Vec<String> = candidates.iter().map(ConfigId::to_string).collect();
                say("namespace", namespace);
                say("reference", reference);
                say("candidates", &ids.join(","));
                say("has_more", has_more);
            }
            Self::ConfigFull { config, limit } => {
                about(config);
                say("limit", limit);
            }
            Self::TargetFull {
                namespace,
                target,
                limit,
            } => {
                say("namespace", namespace);
                say("target", target);
                say("limit", limit);
            }
            Self::ReadsTooMuch { limit, .. } => say("limit", limit),
            Self::LeaseFull { lease, limit, .. } => {
                about(lease);
                say("limit", limit);
            }
            Self::UnknownRevision { newest, .. } => say("newest_revision", newest),
            Self::Compacted { oldest } => say("oldest_revision", oldest),
            Self::HistoryTrimmed {
                subject, oldest, ..
            } => {
                about(subject);
                say("oldest_revision", oldest);
            }
            Self::Item { index, cause } => {
                facts = cause.facts();
                facts.insert("item".to_owned(), index.to_string());
            }
            Self::TooLarge { limit, .. } => say("limit", limit),
            Self::DiskFull { free, least } => {
                say("free_bytes", free);
                say("least_bytes", least);
            }
            Self::Invalid(_)
            | Self::SnapshotExpired { .. }
            | Self::TooManySnapshots { .. }
            | Self::Contended { .. }
            | Self::NotCompacted(_)
            | Self::Stopped(_)
            | Self::Closed
            | Self::GoingAway
            | Self::OutcomeUnknown(_)
            | Self::Unavailable(_)
            | Self::Corrupt(_)
            | Self::SchemaTooNew { .. }
            | Self::Open(_) => {}
        }
        facts
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::build::{
        BuilderKey, BumpRefused, Dependency, Graph, IllegalEvent, Label, NoBump, State, Target,
        UnknownDependency,
    };
    use crate::domain::{Algorithm, Contents, Digest, Labels, RunPlatform};
    use crate::kv::{CompactError, OpenError, Revision};

    /// One of each variant; the match in `wire` has no wildcard, so a new one is missed by neither.
    fn one_of_each() -> Vec<Error> {
        let namespace: crate::domain::Namespace = "ns".parse().unwrap();
        let subject = || Subject::Image(namespace.clone(), "a:1".parse().unwrap());
        let digest = Digest::of(Algorithm::Sha256, b"");
        let io = || std::io::Error::other("gone");
        vec![
            Error::Invalid(Invalid::new("image.name", "must not be empty")),
            Error::NotFound(subject()),
            Error::Exists(subject()),
            Error::EtagMismatch {
                subject: subject(),
                expected: Revision(1),
                current: Revision(2),
            },
            Error::TargetMismatch {
                subject: subject(),
                expected: Box::new(digest),
                current: Box::new(digest),
            },
            Error::NotEmpty {
                namespace: namespace.clone(),
                contents: Contents {
                    images: 3,
                    configs: 2,
                    builders: 1,
                    targets: 4,
                },
            },
            Error::Ambiguous {
                namespace: namespace.clone(),
                reference: "2c26".to_owned(),
                candidates: vec![
                    ConfigId::from_bytes([0x2c; 32]),
                    ConfigId::from_bytes([0x26; 32]),
                ],
                has_more: true,
            },
            Error::HasChildren(Subject::Config(namespace.clone(), "2c26".to_owned())),
            Error::ConfigFull {
                config: Subject::Config(namespace.clone(), "2c26".to_owned()),
                limit: 1000,
            },
            Error::TargetFull {
                namespace: namespace.clone(),
                target: Box::new(digest),
                limit: 1000,
            },
            Error::Claim {
                subject: Subject::Target(namespace.clone(), "a@1".to_owned()),
                refused: ClaimRefused::NotHeld,
            },
            Error::IllegalTransition {
                subject: Subject::Target(namespace.clone(), "a@1".to_owned()),
                illegal: IllegalEvent::InState {
                    state: State::Error,
                    event: EventKind::BuildOk,
                },
            },
            Error::Graph(Box::new(GraphError::Duplicate("a@1".parse().unwrap()))),
            Error::Graph(Box::new(GraphError::Unknown(vec![UnknownDependency {
                target: "a@1".parse().unwrap(),
                name: "b".parse().unwrap(),
                versions: vec!["2".parse().unwrap()],
            }]))),
            Error::Graph(Box::new(GraphError::TooLarge {
                what: "targets",
                found: 3,
                limit: 2,
            })),
            Error::Graph(Box::new(Graph::new(looped()).unwrap_err())),
            Error::GraphChanged {
                namespace: namespace.clone(),
                expected: Revision(3),
                current: Revision(4),
            },
            Error::HasDependents {
                subject: Subject::Target(namespace.clone(), "a@1".to_owned()),
                dependents: vec!["b@1".parse().unwrap(), "c@2".parse().unwrap()],
                has_more: true,
            },
            Error::NotBumpable(BumpRefused {
                refused: vec![("a@1".parse().unwrap(), NoBump::NotFound)],
            }),
            Error::InUse(Subject::Builder(namespace.clone(), builder())),
            Error::BuilderFull {
                builder: Subject::Builder(namespace.clone(), builder()),
                what: "generations",
                limit: 1000,
            },
            Error::ReadsTooMuch {
                size: 17,
                limit: 16,
            },
            Error::NotFound(Subject::Lease(namespace.clone(), "l1".parse().unwrap())),
            Error::LeaseFull {
                lease: Subject::Lease(namespace.clone(), "l1".parse().unwrap()),
                what: "resources",
                limit: 10_000,
            },
            Error::UnknownRevision {
                asked: Revision(9),
                newest: Revision(4),
            },
            Error::Compacted {
                oldest: Revision(5),
            },
            Error::HistoryTrimmed {
                subject: subject(),
                asked: Revision(3),
                oldest: Revision(5),
            },
            Error::Item {
                index: 7,
                cause: Box::new(Error::Invalid(Invalid::new("image", "is too large"))),
            },
            Error::NotFound(Subject::Generation(
                namespace.clone(),
                "a:1".parse().unwrap(),
                Some(Revision(4)),
            )),
            Error::SnapshotExpired { minutes: 10 },
            Error::TooManySnapshots { limit: 64 },
            Error::Contended { tries: 100 },
            Error::TooLarge {
                what: "bytes",
                size: 17,
                limit: 16,
            },
            Error::DiskFull { free: 1, least: 2 },
            Error::NotCompacted(CompactError::UnderWay),
            Error::Stopped("the disk failed".into()),
            Error::Closed,
            Error::GoingAway,
            Error::OutcomeUnknown("the disk failed".into()),
            Error::Unavailable(Arc::new(io())),
            Error::Corrupt("a row".into()),
            Error::SchemaTooNew { found: 2, known: 1 },
            Error::Open(OpenError::Io {
                what: "open",
                path: "/x".into(),
                cause: io(),
            }),
        ]
    }

    fn builder() -> Box<BuilderKey> {
        let platform = RunPlatform {
            architecture: "amd64".to_owned(),
            ..RunPlatform::default()
        };
        let base = "debian:13".parse().unwrap();
        Box::new(BuilderKey::new(base, &platform, "r1".parse().unwrap()).unwrap())
    }

    /// Two targets that are built on each other.
    fn looped() -> Vec<(Target, State)> {
        let target = |name: &str, on: &str| {
            let key = format!("{name}@1").parse().unwrap();
            let label = Label::new(None, None, &key).unwrap();
            let on = Dependency::on(on.parse().unwrap());
            Target::new(key, label, [on].into(), Labels::default()).unwrap()
        };
        vec![
            (target("a", "b"), State::ToBuild),
            (target("b", "a"), State::ToBuild),
        ]
    }

    fn one_refusal_of_each() -> Vec<Refusal> {
        vec![
            Refusal::MalformedTimeout,
            Refusal::Malformed("failed to decode".to_owned()),
            Refusal::RequestTooLarge("5 bytes, the limit is 4".to_owned()),
            Refusal::UnknownService("a.B".to_owned()),
            Refusal::UnknownMethod {
                service: "imagestore.v1.Images",
                method: "Burn".to_owned(),
            },
            Refusal::DeadlineExceeded {
                limit: Duration::from_secs(30),
            },
        ]
    }

    #[test]
    fn what_containerds_clients_are_told_is_a_code_and_a_text_only() {
        let said = one_refusal_of_each().into_iter().map(|refusal| {
            let status = refusal.status(Face::Containerd);
            assert_eq!(status.details(), b"", "{status:?}");
            format!("{:?}: {}", status.code(), status.message())
        });
        assert_eq!(
            said.collect::<Vec<_>>(),
            [
                "InvalidArgument: grpc-timeout must be up to 8 digits and one of H M S m u n",
                "Internal: grpc: error unmarshalling request: failed to decode",
                "ResourceExhausted: grpc: received message larger than max (5 vs. 4)",
                "Unimplemented: unknown service a.B",
                "Unimplemented: unknown method Burn for service imagestore.v1.Images",
                "DeadlineExceeded: no answer within 30s; a write may still happen",
            ]
        );
    }

    #[test]
    fn every_error_has_its_code_and_reason_as_the_table_says() {
        let refusals = one_refusal_of_each()
            .into_iter()
            .map(|refusal| (refusal.wire(), refusal.status(Face::Native)));
        let errors = one_of_each()
            .into_iter()
            .map(|error| (error.wire(), Status::from(error)));
        let table: String = refusals
            .chain(errors)
            .map(|((code, reason), status)| {
                assert_eq!(status.code(), code);
                let info = status
                    .get_details_error_info()
                    .expect("every status has an ErrorInfo");
                assert_eq!(
                    (info.reason.as_str(), info.domain.as_str()),
                    (reason, DOMAIN)
                );
                format!("{code:?} {reason}: {}\n", status.message())
            })
            .collect();
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/errors.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(golden, &table).unwrap();
        }
        assert_eq!(table, std::fs::read_to_string(golden).unwrap());
    }

    #[test]
    fn a_text_for_containerds_clients_is_whole_unless_its_header_would_be_too_long() {
        let said = |name: &str| {
            let fault = Fault::new(Kind::NotFound, format!("image {name:?}"));
            let status = Status::from(fault);
            let response = status.clone().into_http::<tonic::body::Body>();
            let bytes: usize = response
                .headers()
                .iter()
                .map(|(k, v)| k.as_str().len() + v.len())
                .sum();
            assert!(bytes < 8000, "{bytes} bytes of headers");
            status.message().to_owned()
        };
        let longest = "x".repeat(4096);
        assert_eq!(said(&longest), format!("image \"{longest}\": not found"));
        let wide = "é".repeat(2048);
        assert!(said(&wide).ends_with("é…"));
        assert_eq!(said("é"), "image \"é\": not found");
    }

    #[test]
    fn a_status_fits_the_headers_that_peers_take_however_long_the_name() {
        let name = "é".repeat(2048).parse().unwrap();
        let status = Status::from(Error::NotFound(Subject::Image("ns".parse().unwrap(), name)));
        let response = status.into_http::<tonic::body::Body>();
        let bytes: usize = response
            .headers()
            .iter()
            .map(|(k, v)| k.as_str().len() + v.len())
            .sum();
        assert!(bytes < 8192, "{bytes} bytes of headers");
    }
}
