//! What is stored of builders, byte for byte.

use super::*;
use crate::domain::build::{Claim, Failures, Generation, Pin, Sighting};

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 7).unwrap()
}

fn row() -> wire::BuilderRow {
    wire::BuilderRow {
        policy: Policy {
            ages: Ages::new(Some(seconds(100)), Some(seconds(60))).unwrap(),
            keep_last: 3.try_into().unwrap(),
            tracks_base: true,
            probe: Probe::IfOlderThan(seconds(30)),
        },
        base_digest: Some(*target("base").digest()),
        base_told: Token(0),
        last: Sequence(258),
        failures: Some(Failures {
            count: 2,
            last_error: "exit code 1".to_owned(),
            last_at: at(1000),
            delay: seconds(20),
        }),
    }
}

fn generation() -> Generation {
    let copy = |retired_at| Sighting {
        seen_at: at(1001),
        unknown_at: Some(at(1002)),
        retired_at,
    };
    Generation {
        sequence: Sequence(258),
        image: target("image"),
        base_digest: Some(*target("base").digest()),
        built_at: at(1000),
        copies: [
            (place("host/a"), copy(Some(at(1003)))),
            (place("reg"), Sighting::at(at(1001))),
        ]
        .into(),
    }
}

fn claim() -> Claim {
    Claim {
        holder: holder("a"),
        token: Token(300),
        ttl: ttl(10),
        deadline: at(1010),
    }
}

fn pinned() -> Pinned {
    Pinned {
        id: PinId(0x0102_0304_0506_0708),
        pin: Pin {
            generation: Sequence(258),
            holder: holder("b"),
            ttl: ttl(20),
            deadline: at(1020),
        },
    }
}

/// The answers at revision 300 to one request of each kind.
fn answers(given: u64) -> Vec<wire::Outcome> {
    use wire::BuilderAnswer::{Abandoned, Acquired, Completed, Reported, State};
    let row = row();
    let state = StoredBuilder {
        entry: BuilderEntry {
            namespace: ns(),
            key: key(),
            policy: row.policy,
            base_digest: row.base_digest,
            last: row.last,
            failures: row.failures,
            retry_at: Some(at(1020)),
            claim: Some(claim()),
            revision: Revision(given),
        },
        generations: vec![generation()],
        pins: vec![pinned()],
    };
    let acquired = |decision| {
        Acquired(crate::store::Acquired {
            decision,
            now: at(1000),
        })
    };
    let answers = [
        State(Box::new(state)),
        acquired(Acquisition::Use {
            generation: generation(),
            pin: Some(pinned()),
            is_stale: true,
            is_confirmed: true,
            fresh_until: Some(at(1060)),
            usable_until: Some(at(1100)),
        }),
        acquired(Acquisition::Build {
            claim: Some(claim()),
            reason: Reason::BaseChanged,
            previous: Some(generation()),
        }),
        acquired(Acquisition::Busy {
            holder: Some(holder("a")),
            until: at(1010),
            last_error: "x".to_owned(),
            previous: Some(generation()),
            pin: Some(pinned()),
        }),
        Completed(crate::store::Completed {
            generation: generation(),
            pin: Some(pinned()),
        }),
        Abandoned(Some(at(1020))),
        Reported(vec![
            Effect::NotFound,
            Effect::Kept,
            Effect::CopyGone,
            Effect::Dropped,
        ]),
    ];
    let outcome = |answer| wire::Outcome {
        stored: Some(Stored {
            namespace: ns(),
            record: wire::Recorded::Builder(Box::new(wire::BuilderOutcome {
                builder: key(),
                answer,
            })),
            revision: Revision(given),
        }),
        changed: true,
        created: false,
    };
    answers.into_iter().map(outcome).collect()
}

#[test]
fn what_is_stored_of_builders_is_as_it_was_and_reads_back() {
    let noted = crate::domain::build::Moment {
        steady: at(1000),
        wall: at(900),
    };
    let answer = wire::encode_answer(&[5; 32], &answers(0));
    let rows = [
        ("builder", wire::encode_builder(&row()).unwrap()),
        (
            "generation",
            wire::encode_generation(&generation()).unwrap(),
        ),
        ("claim", wire::encode_claim(&claim())),
        ("pin", wire::encode_pin(&pinned().pin)),
        ("steady", wire::encode_steady(&noted)),
        ("answer", answer.clone()),
        ("builder row", schema::builder_row(&key())),
        (
            "generation row",
            schema::generation_key(&ns(), &key(), Sequence(258)).row,
        ),
        ("pin row", schema::pin_key(&ns(), &key(), pinned().id).row),
    ];
    let hex = |bytes: &[u8]| {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    };
    let text: String = rows
        .iter()
        .map(|(what, bytes)| format!("{what}: {}\n", hex(bytes)))
        .collect();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/builders.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap());

    let [builder, one, held, pin, steady, ..] = rows.map(|(_, bytes)| bytes);
    assert_eq!(wire::decode_builder(&key(), builder).unwrap(), row());
    let read = wire::decode_generation(&key(), Sequence(258), one);
    assert_eq!(read.unwrap(), generation());
    assert_eq!(wire::decode_claim(held).unwrap(), claim());
    assert_eq!(wire::decode_pin(pin).unwrap(), pinned().pin);
    assert_eq!(wire::decode_steady(steady).unwrap(), noted);
    let read = wire::decode_answer(answer, Revision(300)).unwrap();
    assert_eq!(read, ([5; 32], answers(300)));
    let bare = wire::BuilderRow::default();
    let stored = wire::encode_builder(&bare).unwrap();
    assert_eq!(wire::decode_builder(&key(), stored).unwrap(), bare);
}

#[test]
fn what_is_stored_of_builders_in_an_unknown_version_is_corrupt() {
    for bytes in [&b""[..], b"\x12\x00", b"\xff"] {
        let bytes = || bytes::Bytes::copy_from_slice(bytes);
        assert!(wire::decode_builder(&key(), bytes()).is_err());
        assert!(wire::decode_generation(&key(), Sequence(1), bytes()).is_err());
        assert!(wire::decode_claim(bytes()).is_err());
        assert!(wire::decode_pin(bytes()).is_err());
    }
}

#[test]
fn a_builder_is_read_back_from_its_key_and_no_other_row_is_one() {
    let full = RunPlatform {
        os: "windows".to_owned(),
        architecture: "arm".to_owned(),
        variant: "v7".to_owned(),
        os_version: "10.0".to_owned(),
        os_features: vec!["a".to_owned(), "b".to_owned()],
    };
    let full = BuilderKey::new("x".parse().unwrap(), &full, "r".parse().unwrap()).unwrap();
    for key in [key(), key_of("x", ""), full] {
        let row = schema::builder_row(&key);
        assert_eq!(schema::parse_builder(&row).unwrap(), key);
        let row = schema::generation_key(&ns(), &key, Sequence(7)).row;
        assert_eq!(schema::parse_builder_part(&row).unwrap(), (key, 7));
    }
    for row in [&b""[..], b"x", b"x\0linux\0", b"\xff\0linux\0amd64\0\0\0\0"] {
        assert!(schema::parse_builder(row).is_err());
        assert!(schema::parse_builder_part(row).is_err());
    }
}
