//! What is stored of build targets, byte for byte.

use super::*;
use crate::domain::build::{Claim, Progress};
use crate::store::wire::{TargetAnswer, TargetRow};

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 7).unwrap()
}

fn claim() -> Claim {
    Claim {
        holder: "w".parse().unwrap(),
        token: Token(300),
        ttl: Ttl::try_from(Duration::from_secs(10)).unwrap(),
        deadline: at(1010),
    }
}

/// With everything.
fn row() -> TargetRow {
    let labels = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let target = Target::new(
        key_of("a/b@1.0-s1"),
        "reg.example:5000/team/a/b:1.0-s1".parse().unwrap(),
        declared("x<-c,d (>= 2),e@3,EXTERNAL")
            .dependencies()
            .clone(),
        Labels::try_from(labels).unwrap(),
    );
    TargetRow {
        target: Arc::new(target.unwrap()),
        source: "git".parse().unwrap(),
        progress: Progress {
            state: State::Verified,
            digest: Some(hash("built")),
            published: Some(hash("pushed")),
            locations: [place("host:a"), place("host:b")].into(),
            attempts: 3,
            last_error: Some("exit code 1".to_owned()),
            in_doubt: true,
            not_before: Some(at(2000)),
        },
        updated_at: at(1000),
    }
}

/// As it is declared, with nothing.
fn bare(state: State) -> TargetRow {
    TargetRow {
        target: Arc::new(declared("a")),
        source: Default::default(),
        progress: Progress {
            state,
            ..Progress::default()
        },
        updated_at: at(1000),
    }
}

fn answers() -> Vec<TargetAnswer> {
    let observed = |kind, state| ObservedTarget {
        target: key_of("a"),
        state,
        kind,
    };
    let bumped = |because: Option<&str>| BumpedTarget {
        target: key_of("a"),
        version: "1-s1".parse().unwrap(),
        label: "a:1-s1".parse().unwrap(),
        because: because.map(key_of),
    };
    let label = |digest| DependencyLabel {
        target: key_of("c"),
        label: "c:1".parse().unwrap(),
        digest,
    };
    let applied = |graph_revision| TargetAnswer::Applied {
        created: 1,
        updated: 2,
        unchanged: 3,
        deleted: 4,
        graph_revision,
    };
    let claimed = |work, claim| TargetAnswer::Claimed {
        row: row(),
        claim,
        dependencies: vec![label(None), label(Some(hash("c")))],
        work,
    };
    let there = Some(State::Published);
    vec![
        applied(None),
        applied(Some(Revision::ZERO)),
        TargetAnswer::Told {
            row: row(),
            claim: Some(claim()),
        },
        TargetAnswer::Told {
            row: bare(State::ToBuild),
            claim: None,
        },
        TargetAnswer::Reset(vec![key_of("a"), key_of("b@2")]),
        TargetAnswer::Observed(vec![
            observed(ObservedKind::Changed, there),
            observed(ObservedKind::Unchanged, there),
            observed(ObservedKind::Undecided(State::ALL.to_vec()), there),
            observed(ObservedKind::Claimed, there),
            observed(ObservedKind::Refused("why".to_owned()), there),
            observed(ObservedKind::NotFound, None),
            observed(ObservedKind::Outdated, there),
        ]),
        TargetAnswer::Bumped {
            reason: "CVE-1".to_owned(),
            bumped: vec![bumped(None), bumped(Some("c"))],
        },
        claimed(Work::Build, Some(claim())),
        claimed(Work::Verify, None),
        claimed(Work::Publish, None),
    ]
}

fn outcomes(given: u64) -> Vec<wire::Outcome> {
    let outcome = |answer| wire::Outcome {
        stored: Some(Stored {
            namespace: ns(),
            record: wire::Recorded::Targets(Box::new(answer)),
            revision: Revision(given),
        }),
        changed: true,
        created: false,
    };
    answers().into_iter().map(outcome).collect()
}

#[test]
fn what_is_stored_of_targets_is_as_it_was_and_reads_back() {
    let states: Vec<_> = State::ALL.into_iter().map(bare).collect();
    let mut rows = vec![
        ("target", wire::encode_target(&row(), &row()).unwrap()),
        ("claim", wire::encode_claim(&claim())),
        ("answers", wire::encode_answer(&[5; 32], &outcomes(0))),
        ("target row", schema::build_target_row(row().target.key())),
    ];
    for bare in &states {
        rows.push((
            bare.progress.state.name(),
            wire::encode_target(bare, bare).unwrap(),
        ));
    }
    let hex = |bytes: &[u8]| {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    };
    let text: String = rows
        .iter()
        .map(|(what, bytes)| format!("{what}: {}\n", hex(bytes)))
        .collect();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/targets.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap());

    for row in states.into_iter().chain([row()]) {
        let bytes = wire::encode_target(&row, &row).unwrap();
        let read = wire::decode_target(row.target.key().clone(), bytes);
        assert_eq!(read.unwrap(), row);
    }
    assert_eq!(
        wire::decode_claim(wire::encode_claim(&claim())).unwrap(),
        claim()
    );
    let answer = wire::encode_answer(&[5; 32], &outcomes(0));
    let read = wire::decode_answer(answer, Revision(300)).unwrap();
    assert_eq!(read, ([5; 32], outcomes(300)));
    let key = row().target.key().clone();
    let parsed = schema::parse_build_target(&schema::build_target_row(&key));
    assert_eq!(parsed.unwrap(), key);
}

#[test]
fn what_is_stored_of_targets_in_an_unknown_version_is_corrupt() {
    for bytes in [&b""[..], b"\x12\x00", b"\x0a\x00", b"\xff"] {
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        let read = wire::decode_target(key_of("a"), bytes);
        assert!(matches!(read, Err(Error::Corrupt(_))));
    }
}

#[tokio::test]
async fn a_target_that_takes_too_much_is_refused_by_its_name() {
    let on = On::memory().await;
    let labels = (0..70).map(|k| (format!("k{k}"), "v".repeat(4000)));
    let target = Target::new(
        key_of("a"),
        "a:1".parse().unwrap(),
        Default::default(),
        Labels::try_from(labels.collect::<BTreeMap<_, _>>()).unwrap(),
    );
    let request = ApplyTargets::new(vec![target.unwrap()]);
    let refused = on.store.build_targets().apply(&ns(), &request).await;
    let Err(Error::Invalid(invalid)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(invalid.field(), "targets[0]");
}
