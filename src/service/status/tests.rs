//! Every error there is, as callers are told it.

use super::*;
use crate::domain::build::{
    BuilderKey, BumpRefused, ClaimRefused, Dependency, EventKind, Graph, IllegalEvent, Label,
    NoBump, State, Target, UnknownDependency,
};
use crate::domain::{Algorithm, ConfigId, Contents, Digest, Labels, RunPlatform};
use crate::error::Subject;
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
