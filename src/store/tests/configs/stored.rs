//! What is stored of configs, byte for byte.

use super::*;
use crate::domain::{ImageConfig, RunPlatform};
use crate::store::schema::{CacheRow, Link};

fn summary() -> wire::Summary {
    let all = draft(&["a", "sha256:b"])
        .then("c")
        .built_by("make c", 7)
        .on("arm64");
    let config = ImageConfig::parse(&all.bytes()).unwrap();
    wire::Summary::of(&config, all.bytes().len())
}

fn marks() -> wire::Marks {
    wire::Marks {
        parent: Some(Link {
            id: id(3),
            made: Revision(258),
        }),
        built_locally: true,
        stored_at: Timestamp::new(1000, 7).unwrap(),
    }
}

fn platform() -> RunPlatform {
    RunPlatform {
        os: "windows".to_owned(),
        architecture: "arm".to_owned(),
        variant: "v7".to_owned(),
        os_version: "10.0".to_owned(),
        os_features: vec!["win32k".to_owned()],
    }
}

/// The answers at revision 300 to a Create, and to a Delete.
fn outcomes(given: u64) -> Vec<wire::Outcome> {
    let at = Timestamp::new(1000, 7).unwrap();
    let outcome = |config, created| wire::Outcome {
        stored: Some(Stored {
            namespace: ns(),
            record: wire::Recorded::Config(Box::new(config)),
            revision: Revision(given),
        }),
        changed: true,
        created,
    };
    let created = wire::ConfigOutcome {
        id: id(1),
        state: Some(wire::ConfigState {
            size: 300,
            platform: platform(),
            created: Some(at),
            parent: Some(id(3)),
            built_locally: true,
            touched_at: Some(at),
            stored_at: at,
            targets: vec![*target("one").digest()],
        }),
        previous: None,
        unreferenced: Vec::new(),
        orphans: 0,
    };
    let deleted = wire::ConfigOutcome {
        id: id(1),
        state: None,
        previous: Some(id(3)),
        unreferenced: vec![UnreferencedLayer {
            chain_id: "sha256:x".into(),
            diff_id: "y".into(),
        }],
        orphans: 9,
    };
    vec![outcome(created, true), outcome(deleted, false)]
}

#[test]
fn what_is_stored_of_configs_is_as_it_was_and_reads_back() {
    let (summary, marks, one) = (summary(), marks(), *target("one").digest());
    let bare = wire::Marks {
        parent: None,
        built_locally: false,
        ..marks.clone()
    };
    let link = marks.parent.unwrap();
    let at = Timestamp::new(1_795_293_550, 934_010_079).unwrap();
    let row = CacheRow {
        parent: Some(link),
        fingerprint: summary.fingerprint.unwrap(),
        created: at,
        id: id(1),
    };
    let scratch = CacheRow {
        parent: None,
        ..row.clone()
    };
    let chain = crate::domain::chain_ids(&summary.diff_ids);
    let layers = schema::layer_rows(&chain, &id(1));
    let answer = wire::encode_answer(&[5; 32], &outcomes(0));
    let rows = [
        ("summary", wire::encode_summary(&summary)),
        ("marks", wire::encode_marks(&marks)),
        ("marks of one without a parent", wire::encode_marks(&bare)),
        ("touched", wire::encode_touched(at)),
        ("step", wire::encode_cache(&platform())),
        ("answer", answer.clone()),
        ("child row", schema::child_row(&link, &id(1))),
        ("gone row", schema::link_part(&link).into()),
        ("lowest layer row", layers[0].clone()),
        ("top layer row", layers[1].clone()),
        ("target row", schema::target_row(&one, &id(1))),
        ("targeted row", schema::targeted_row(&id(1), &one)),
        ("step row", schema::cache_row(&row)),
        ("step row from scratch", schema::cache_row(&scratch)),
    ];
    let hex = |bytes: &[u8]| {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    };
    let text: String = rows
        .iter()
        .map(|(what, bytes)| format!("{what}: {}\n", hex(bytes)))
        .collect();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/configs.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap());

    let [read, ..] = rows.map(|(_, bytes)| bytes);
    assert_eq!(wire::decode_summary(&id(1), read).unwrap(), summary);
    for marks in [marks, bare] {
        let bytes = wire::encode_marks(&marks);
        assert_eq!(wire::decode_marks(&id(1), bytes).unwrap(), marks);
    }
    let bytes = wire::encode_touched(at);
    assert_eq!(wire::decode_touched(&id(1), bytes).unwrap(), at);
    let bytes = wire::encode_cache(&platform());
    assert_eq!(wire::decode_cache(bytes).unwrap(), platform());
    let read = wire::decode_answer(answer, Revision(300)).unwrap();
    assert_eq!(read, ([5; 32], outcomes(300)));
}

#[test]
fn what_is_stored_of_configs_in_an_unknown_version_is_corrupt() {
    for bytes in [&b""[..], b"\x12\x00", b"\xff"] {
        let bytes = || bytes::Bytes::copy_from_slice(bytes);
        assert!(wire::decode_summary(&id(1), bytes()).is_err());
        assert!(wire::decode_marks(&id(1), bytes()).is_err());
        assert!(wire::decode_touched(&id(1), bytes()).is_err());
        assert!(wire::decode_cache(bytes()).is_err());
    }
}

#[test]
fn a_history_too_long_for_its_digests_still_has_its_length() {
    let mut long = draft(&["a"]);
    for i in 0..5000 {
        long = long.then(&i.to_string());
    }
    let config = ImageConfig::parse(&long.bytes()).unwrap();
    let summary = wire::Summary::of(&config, 1);
    assert_eq!((summary.history, summary.history_digests.len()), (5001, 0));
    let read = wire::decode_summary(&id(1), wire::encode_summary(&summary)).unwrap();
    assert_eq!(read, summary);
    assert!(!read.continues_history(&summary));
}

#[test]
fn of_two_images_with_the_same_layers_the_longer_history_is_built_on_the_other() {
    let summary = |steps: &[&str]| {
        let draft = steps
            .iter()
            .fold(draft(&["a"]), |draft, step| draft.then(step));
        wire::Summary::of(&ImageConfig::parse(&draft.bytes()).unwrap(), 1)
    };
    let (lower, upper) = (summary(&[]), summary(&["CMD x"]));
    assert!(upper.continues_history(&lower));
    assert!(!lower.continues_history(&upper));
    assert!(!lower.continues_history(&lower));
    assert!(!summary(&["CMD x", "CMD y"]).continues_history(&summary(&["CMD z"])));
}
