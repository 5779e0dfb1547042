//! The answers to lookups, as they are stored beside what they were given for.

use super::*;
use crate::store::{Hit, Looked, Skipped, SourceMiss, SourceMissReason};

/// Stored bytes outlive the release that wrote them.
#[test]
fn the_answer_to_a_lookup_is_stored_as_it_always_was_and_read_back_as_it_was_given() {
    let id = |byte| ConfigId::from_bytes([byte; 32]);
    let hit = |kind, changed| {
        Ok(Hit {
            id: id(1),
            kind,
            changed,
        })
    };
    let reasons = [
        SourceMissReason::UnknownParent,
        SourceMissReason::OtherPlatform,
        SourceMissReason::OtherParent,
        SourceMissReason::OtherStep {
            created_by: "make".to_owned(),
        },
        SourceMissReason::UnclearHistory,
        SourceMissReason::TooLarge,
    ];
    let sources: Vec<SourceMiss> = reasons
        .into_iter()
        .map(|reason| SourceMiss {
            source: id(2),
            reason,
        })
        .collect();
    let miss = |local, sources: &[SourceMiss]| {
        Err(Miss {
            local,
            sources: sources.to_vec(),
        })
    };
    let answers = [
        ("local hit", hit(HitKind::Local, false)),
        ("source hit", hit(HitKind::Source, true)),
        (
            "restored hit",
            hit(HitKind::Restored { source: id(3) }, true),
        ),
        ("skipped", miss(LocalMiss::Skipped, &sources)),
        ("unknown parent", miss(LocalMiss::UnknownParent, &[])),
        ("no such step", miss(LocalMiss::NoSuchStep, &[])),
        ("other platform", miss(LocalMiss::OtherPlatform, &[])),
    ];
    let mut told = String::new();
    for (what, found) in answers {
        let looked = Looked {
            found,
            sources: vec![id(2), id(3)],
            skipped: vec![Skipped {
                reference: "nosuchtag".to_owned(),
                reason: "not found".to_owned(),
            }],
        };
        let outcome = wire::Outcome {
            stored: Some(Stored {
                namespace: default(),
                record: wire::Recorded::Lookup(Box::new(looked)),
                revision: Revision::ZERO,
            }),
            changed: false,
            created: false,
        };
        let bytes = wire::encode_answer(&[5; 32], std::slice::from_ref(&outcome));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        told += &format!("{what}: {hex}\n");
        let (_, read) = wire::decode_answer(bytes, Revision::ZERO).unwrap();
        assert_eq!(read, [outcome], "{what}");
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/lookups.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &told).unwrap();
    }
    assert_eq!(told, std::fs::read_to_string(golden).unwrap());
}
