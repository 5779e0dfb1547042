//! What ids and layers are called, and how a text may be meant.

use super::*;
use crate::domain::{Algorithm, Digest};

const FOO: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

fn chain_ids_of(diff_ids: &[&str]) -> Vec<String> {
    let config = serde_json::json!({ "rootfs": { "diff_ids": diff_ids } });
    let chain = parse(&config.to_string()).unwrap().chain_ids();
    chain.iter().map(ToString::to_string).collect()
}

fn digest_of(content: &str) -> String {
    Digest::of(Algorithm::Sha256, content.as_bytes()).text()
}

#[test]
fn an_id_is_the_digest_of_the_bytes_whatever_they_are() {
    let layer =
        format!(r#"{{"comment": "abc", "rootfs": {{"type": "layers", "diff_ids": ["{FOO}"]}}}}"#);
    for (bytes, id) in [
        (
            "foobar",
            "c3ab8ff13720e8ad9047dd39466b3c8974e592c2fa383d4a3960714caef0c4f2",
        ),
        (
            &layer,
            "8d25a9c45df515f9d0fe8e4a6b1c64dd3b965a84790ddbcc7954bb9bc89eb993",
        ),
        (
            r#"{"comment": "abc", "rootfs": {"type": "layers"}}"#,
            "f40b4ddcd4289be71c5f8f305c5b8babb4266ef2c39bc599ac968dfc6c8b720e",
        ),
    ] {
        assert_eq!(
            ConfigId::of(bytes.as_bytes()).to_string(),
            format!("sha256:{id}")
        );
    }
}

#[test]
fn only_a_whole_sha256_is_an_id() {
    assert!(format!("sha256:{FOO}").parse::<ConfigId>().is_ok());
    for bad in [
        String::new(),
        FOO.to_owned(),
        format!("sha256:{}", &FOO[1..]),
        format!("sha256:{}", FOO.to_uppercase()),
        format!("sha512:{FOO}{FOO}"),
        "latest".to_owned(),
    ] {
        assert_eq!(bad.parse::<ConfigId>().unwrap_err().field(), "id", "{bad}");
    }
}

#[test]
fn a_chain_id_is_that_of_the_specification() {
    assert!(chain_ids_of(&[]).is_empty());
    assert_eq!(chain_ids_of(&["sha256:a"]), ["sha256:a"]);
    assert_eq!(
        chain_ids_of(&["sha256:a", "sha256:b", "sha256:c"]),
        [
            "sha256:a",
            "sha256:970a948bffa8de94d6e22d747ba8c95030e6e546909f98f54e99a13005e173a8",
            "sha256:dee159b33409cefa3f6eda71539f006014283e9d9130c18a1dea7bd8a33c9b1b",
        ]
    );
    let [foo, bar, baz] = ["foo", "bar", "baz"].map(digest_of);
    assert_eq!(
        chain_ids_of(&[&foo, &bar, &baz]),
        [
            foo.as_str(),
            "sha256:9abe30faa5bc3b839df938728ef8d9af0bcbe042db6d46fc4d816ae64d60a786",
            "sha256:072cf3f52bccf5b529f11ecd03b16ec1edf2c4cb1a01a3660f26a18938f1a61c",
        ]
    );
}

#[test]
fn odd_layers_have_keys_of_their_own() {
    let keys = |diff_ids: &[&str]| -> Vec<[u8; 32]> {
        let config = serde_json::json!({ "rootfs": { "diff_ids": diff_ids } });
        let config = parse(&config.to_string()).unwrap();
        config.chain_ids().iter().map(ChainId::key).collect()
    };
    let whole = format!("sha256:{FOO}");
    let all: Vec<_> = [FOO, &whole, "", " ", "sha256:"]
        .iter()
        .flat_map(|layer| keys(&[layer]))
        .collect();
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert_eq!(keys(&["", ""])[0], keys(&[""])[0]);
}

#[test]
fn a_whole_id_is_meant_as_nothing_else() {
    let id: ConfigId = format!("sha256:{FOO}").parse().unwrap();
    assert_eq!(format!("sha256:{FOO}").parse(), Ok(Reference::Id(id)));
    assert_eq!(FOO.parse(), Ok(Reference::Id(id)));
}

#[test]
fn a_text_is_a_name_first_and_then_the_beginning_of_an_id() {
    // A tag was mistaken for a short id, and a short id for a tag (#11294, #12270).
    let otherwise = |text: &str| match text.parse::<Reference>().unwrap() {
        Reference::Name(name, otherwise) => {
            assert_eq!(name.as_str(), text);
            otherwise
        }
        Reference::Id(id) => panic!("{id}"),
    };
    for prefix in ["2c26", "sha256:2c26", &FOO[1..], "cafe", "1234"] {
        let expected = prefix.parse::<IdPrefix>().unwrap();
        assert_eq!(otherwise(prefix), Otherwise::Prefix(expected), "{prefix}");
    }
    for none in [
        "alpine",
        "alpine:3",
        "CAFE",
        "sha512:2c26",
        "docker.io/a/b@sha256:2c26",
        "2c26 ",
        &format!("{FOO}0"),
    ] {
        assert_eq!(otherwise(none), Otherwise::Nothing, "{none}");
    }
    for short in [
        "a",
        "2c2",
        "sha256:",
        "sha256:2c2",
        "sha256:CAFE",
        "sha256:latest",
        &format!("sha256:{FOO}0"),
    ] {
        let Otherwise::Refused(refusal) = otherwise(short) else {
            panic!("{short}");
        };
        assert_eq!(refusal.field(), "reference", "{short}");
    }
}

#[test]
fn no_text_at_all_stands_for_nothing() {
    // Docker took it for the one image that it had.
    for nothing in ["", "a\0b", &"a".repeat(5000)] {
        assert_eq!(
            nothing.parse::<Reference>().unwrap_err().field(),
            "reference"
        );
    }
}

#[test]
fn a_prefix_has_4_to_64_lowercase_digits() {
    for bad in [
        "",
        "abc",
        "sha256:abc",
        "sha256:",
        "ABCD",
        "sha512:abcd",
        "xyzw",
        &format!("{FOO}0"),
    ] {
        assert_eq!(
            bad.parse::<IdPrefix>().unwrap_err().field(),
            "id_prefix",
            "{bad}"
        );
    }
}

proptest! {
    #[test]
    fn a_prefix_covers_exactly_the_ids_that_start_so(
        seed: [u8; 32], other: [u8; 32], shared in 0..=32usize, named: bool,
    ) {
        let id = ConfigId::from_bytes(seed);
        let mut near = other;
        near[..shared].copy_from_slice(&seed[..shared]);
        let hex = id.digest().hex();
        for digits in IdPrefix::MIN_DIGITS..=IdPrefix::MAX_DIGITS {
            let text = if named { format!("sha256:{}", &hex[..digits]) } else { hex[..digits].to_owned() };
            let prefix: IdPrefix = text.parse().unwrap();
            let (first, last) = prefix.range();
            for id in [id, ConfigId::from_bytes(near), ConfigId::from_bytes(other), ConfigId::from_bytes([0; 32]), ConfigId::from_bytes([255; 32])] {
                let covered = first <= id && id <= last;
                prop_assert_eq!(covered, id.digest().hex().starts_with(&hex[..digits]));
            }
        }
    }

    #[test]
    fn an_id_its_digest_and_its_text_are_one(bytes: [u8; 32]) {
        let id = ConfigId::from_bytes(bytes);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(ConfigId::try_from(&Digest::from(id)), Ok(id));
        prop_assert_eq!(id.to_string(), id.digest().to_string());
    }

    #[test]
    fn every_text_is_meant_in_some_way_or_refused(text in ".{0,80}|(sha256:)?[0-9a-f]{0,70}") {
        if let Err(refusal) = text.parse::<Reference>() {
            prop_assert_eq!(refusal.field(), "reference");
        }
    }
}
