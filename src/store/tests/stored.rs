//! What is stored, byte for byte.

use prost::Message;

use super::*;
use crate::domain::Contents;
use crate::domain::{Lease, Resource};
use crate::proto::storage as pb;

/// A record with everything, whose bytes must never change.
fn everything() -> Image {
    let annotations = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    let platform = crate::domain::Platform::new("arm".into(), "linux".into())
        .unwrap()
        .with_variant("v7".into())
        .with_os_version("1.2".into())
        .with_os_features(vec!["f".into()]);
    let build = || -> Result<Descriptor, Invalid> {
        Descriptor::new(
            "application/vnd.oci.image.manifest.v1+json".parse()?,
            Digest::of(Algorithm::Sha512, b"{}"),
            Size::try_from(2u64)?,
        )
        .with_annotations(annotations)?
        .with_urls(vec!["https://example.com/x".into()])?
        .with_platform(Some(platform))
        .with_artifact_type(Some("x/y".parse()?))
        .with_data(bytes::Bytes::from_static(b"{}"))
    };
    Image {
        name: name("docker.io/library/all:1"),
        target: build().unwrap(),
        labels: Labels::try_from(BTreeMap::from([
            ("k".to_owned(), "v".to_owned()),
            ("l".to_owned(), String::new()),
        ]))
        .unwrap(),
        created_at: Timestamp::new(-62_135_596_800, 0).unwrap(),
        updated_at: Timestamp::new(1_795_293_550, 934_010_079).unwrap(),
    }
}

/// The answer at revision 300 to a request that put an image, left one as it was, found none, and
/// removed a namespace.
fn answer(
    image: &Image,
    record: &crate::domain::NamespaceRecord,
) -> (Vec<wire::Outcome>, bytes::Bytes) {
    let stored = |record, revision| {
        Some(Stored {
            namespace: namespace("ns"),
            record,
            revision: Revision(revision),
        })
    };
    let outcome = |stored, changed, created| wire::Outcome {
        stored,
        changed,
        created,
    };
    let put = wire::Recorded::Image(image.clone());
    let removed = wire::Recorded::Namespace {
        record: record.clone(),
        contents: Contents {
            images: 7,
            ..Contents::default()
        },
    };
    let outcomes = |given| {
        vec![
            outcome(stored(put.clone(), given), true, true),
            outcome(stored(put.clone(), 258), false, false),
            outcome(None, false, false),
            outcome(stored(removed.clone(), 259), true, false),
        ]
    };
    // What has the answer's own revision is stored without it.
    let bytes = wire::encode_answer(&[5; 32], &outcomes(0));
    (outcomes(300), bytes)
}

#[test]
fn stored_bytes_are_as_they_were_and_read_back_as_they_were_put() {
    let image = everything();
    let namespace = crate::domain::NamespaceRecord {
        name: namespace("ns"),
        labels: image.labels.clone(),
        history_limit: None,
        created_at: image.created_at,
        updated_at: image.updated_at,
    };
    let image_bytes = wire::encode_image(&image, 0).unwrap();
    let namespace_bytes = wire::encode_namespace(&namespace).unwrap();
    let limited = crate::domain::NamespaceRecord {
        history_limit: Some(0.try_into().unwrap()),
        ..namespace.clone()
    };
    let limited_bytes = wire::encode_namespace(&limited).unwrap();
    let ended = wire::HistoryRow {
        row: wire::ImageRow {
            image: image.clone(),
            ordinal: 3,
        },
        ended_at: image.updated_at,
        ended_by: EndedBy::Delete,
        caller: "uid:0".to_owned(),
    };
    let ended_bytes = wire::encode_history(&ended);
    let replaced = wire::HistoryRow {
        ended_by: EndedBy::Put,
        caller: String::new(),
        ..ended.clone()
    };
    let replaced_bytes = wire::encode_history(&replaced);
    let (outcomes, answer_bytes) = answer(&image, &limited);
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let lease = Lease {
        id: "l1".parse().unwrap(),
        labels: image.labels.clone().into_map(),
        created_at: image.updated_at,
    };
    let holds = wire::Holds {
        resources: 2,
        bytes: 300,
    };
    let holds_bytes = wire::encode_holds(holds);
    let lease_bytes = wire::encode_lease(&lease).unwrap();
    let leased = |resource| hex(&schema::leased_row(&lease.id, &resource));
    let rows = [
        ("image", hex(&image_bytes)),
        ("namespace", hex(&namespace_bytes)),
        ("namespace without history", hex(&limited_bytes)),
        ("generation", hex(&ended_bytes)),
        ("generation ended by a put", hex(&replaced_bytes)),
        ("answer", hex(&answer_bytes)),
        (
            "history row",
            hex(&schema::history_row(&image.name, Revision(258))),
        ),
        (
            "deleted row",
            hex(&schema::deleted_row(image.updated_at, &image.name)),
        ),
        (
            "digest row",
            hex(&schema::digest_row(image.target.digest(), &image.name)),
        ),
        (
            "sha256 digest row",
            hex(&schema::digest_row(target("one").digest(), &image.name)),
        ),
        ("lease", hex(&lease_bytes)),
        ("holds", hex(&holds_bytes)),
        (
            "expiring row",
            hex(&schema::expiring_row(image.updated_at, &lease.id)),
        ),
        (
            "content row",
            leased(Resource::Content(*target("one").digest())),
        ),
        ("image row", leased(Resource::Image(image.name.clone()))),
        (
            "ingest row",
            leased(Resource::Ingest("i/1".parse().unwrap())),
        ),
        (
            "snapshot row",
            leased(Resource::Snapshot {
                snapshotter: "overlayfs".parse().unwrap(),
                key: "k".parse().unwrap(),
            }),
        ),
    ];
    let text: String = rows
        .iter()
        .map(|(what, hex)| format!("{what}: {hex}\n"))
        .collect();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/records.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap());
    assert_eq!(
        wire::decode_image(image.name.clone(), image_bytes).unwrap(),
        wire::ImageRow {
            image: image.clone(),
            ordinal: 0
        }
    );
    assert_eq!(
        wire::decode_lease(lease.id.clone(), lease_bytes).unwrap(),
        lease
    );
    assert_eq!(wire::decode_holds(&lease.id, holds_bytes).unwrap(), holds);
    assert_eq!(
        wire::decode_history(image.name.clone(), ended_bytes).unwrap(),
        ended
    );
    assert_eq!(
        wire::decode_history(image.name.clone(), replaced_bytes).unwrap(),
        replaced
    );
    assert_eq!(
        wire::decode_answer(answer_bytes, Revision(300)).unwrap(),
        ([5; 32], outcomes)
    );
    assert_eq!(
        wire::decode_namespace(limited.name.clone(), limited_bytes).unwrap(),
        limited
    );
    assert_eq!(
        wire::decode_namespace(namespace.name.clone(), namespace_bytes).unwrap(),
        namespace
    );
}

#[test]
fn a_record_of_an_unknown_version_is_corrupt_and_never_a_guess() {
    for bytes in [&b""[..], b"\x12\x00", b"\x0a\x00", b"\xff"] {
        let image = wire::decode_image(name("a"), bytes::Bytes::copy_from_slice(bytes));
        assert!(matches!(image, Err(Error::Corrupt(_))), "{bytes:?}");
        let namespace =
            wire::decode_namespace(namespace("a"), bytes::Bytes::copy_from_slice(bytes));
        assert!(matches!(namespace, Err(Error::Corrupt(_))), "{bytes:?}");
        let generation = wire::decode_history(name("a"), bytes::Bytes::copy_from_slice(bytes));
        assert!(matches!(generation, Err(Error::Corrupt(_))), "{bytes:?}");
        let answer =
            wire::decode_answer(bytes::Bytes::copy_from_slice(bytes), Revision(1)).unwrap_err();
        assert!(matches!(answer, Error::Corrupt(_)), "{bytes:?}");
        let lease = wire::decode_lease("l".parse().unwrap(), bytes::Bytes::copy_from_slice(bytes));
        assert!(matches!(lease, Err(Error::Corrupt(_))), "{bytes:?}");
    }
    for bytes in [&b""[..], b"\x12\x00", b"\xff"] {
        let id = "l".parse().unwrap();
        let holds = wire::decode_holds(&id, bytes::Bytes::copy_from_slice(bytes));
        assert!(matches!(holds, Err(Error::Corrupt(_))), "{bytes:?}");
    }
}

#[test]
fn a_generation_that_does_not_say_how_it_ended_is_corrupt() {
    let row = |ended_by: i32| {
        let record = pb::HistoryRecord {
            version: Some(pb::history_record::Version::V1(pb::HistoryV1 {
                image: Some(pb::ImageV1::default()),
                ended_by,
                ..pb::HistoryV1::default()
            })),
        };
        wire::decode_history(name("a"), record.encode_to_vec().into())
    };
    for ended_by in [0, 3] {
        let Err(Error::Corrupt(why)) = row(ended_by) else {
            panic!("{ended_by} is taken");
        };
        assert!(why.to_string().contains("ended_by"), "{why}");
    }
}
