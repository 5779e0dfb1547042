//! Containerd's real answers, its quotes and its silences.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::*;

const FIXTURE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/containerd-filters.json"
));

fn text_map(json: &Json) -> BTreeMap<String, String> {
    let Some(map) = json.as_object() else {
        return BTreeMap::new();
    };
    map.iter()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
        .collect()
}

fn fixture_records(json: &Json) -> Vec<Record> {
    let mut records: Vec<Record> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|record| Record {
            name: record["name"].as_str().unwrap().to_owned(),
            digest: record["digest"].as_str().unwrap().to_owned(),
            media_type: record["media_type"].as_str().unwrap().to_owned(),
            size: record["size"].as_u64(),
            created: Some("2026-01-31T12:00:00Z".parse().unwrap()),
            labels: text_map(&record["labels"]),
            annotations: text_map(&record["annotations"]),
        })
        .collect();
    records.sort_by(|one, other| one.name.cmp(&other.name));
    records
}

#[test]
fn every_answer_of_the_real_daemon_is_ours_too() {
    let fixture: Json = serde_json::from_str(FIXTURE).unwrap();
    let records = fixture_records(&fixture["records"]);
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() > 50);
    for case in cases {
        let texts: Vec<&str> = case["filters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap())
            .collect();
        match Filter::parse::<Record>(&texts, Dialect::Containerd) {
            Ok(filter) => {
                let found = records.iter().filter(|record| filter.matches(*record));
                let names: Vec<&str> = found.map(|record| record.name.as_str()).collect();
                assert_eq!(case["names"], serde_json::json!(names), "{texts:?}");
            }
            Err(error) => {
                assert_eq!(
                    case["message"],
                    format!("{error}: invalid argument: invalid argument"),
                    "{texts:?}"
                );
            }
        }
    }
}

#[test]
fn every_escape_stands_for_its_character() {
    for (written, meant) in [
        (r"\a", "\x07"),
        (r"\b", "\x08"),
        (r"\f", "\x0c"),
        (r"\n", "\n"),
        (r"\r", "\r"),
        (r"\t", "\t"),
        (r"\v", "\x0b"),
        (r"\\", "\\"),
        (r#"\""#, "\""),
        (r"\101", "A"),
        (r"\x41", "A"),
        (r"\xc3\xa9", "é"),
        (r"\303\251", "é"),
        (r"\u00e9", "é"),
        (r"\U0001F980", "🦀"),
        (r"\x00", "\0"),
        (r"\ufffd", "\u{fffd}"),
        ("/|',=", "/|',="),
    ] {
        assert!(
            matches(&format!("labels.k==\"{written}\""), &labelled(meant)),
            "{written}"
        );
    }
}

#[test]
fn only_a_quote_escapes_itself_and_broken_escapes_are_told_as_containerd_does() {
    for (text, reason) in [
        (r#"name=="\/""#, "illegal escape sequence"),
        (r#"name=="\'""#, "illegal escape sequence"),
        (r#"name=="\8""#, "illegal escape sequence"),
        (r#"name=="\18""#, "illegal numeric escape sequence"),
        (r#"name=="\xg0""#, "illegal numeric escape sequence"),
        (r#"name=="\u12""#, "illegal numeric escape sequence"),
        (r#"name=="\400""#, "unquoting failed: quote syntax error"),
        (
            r#"name=="\U00110000""#,
            "unquoting failed: quote syntax error",
        ),
        (r#"name=="\"#, "illegal escape sequence"),
        (r#"name==""#, "quoted literal not terminated"),
        ("name==\"\n\"", "quoted literal not terminated"),
        ("name==\"\0\"", "unexpected null"),
        ("name==\"\u{fffd}\"", "rune error"),
        ("/name/==x", "invalid quote encountered"),
        ("name|x", "quoted literal not terminated"),
        ("name|x|", r#"expected an operator ("=="|"!="|"~=")"#),
    ] {
        assert_eq!(containerd(text).unwrap_err().reason(), reason, "{text:?}");
        assert!(native(text).is_err(), "{text:?}");
    }
    assert!(containerd(r"name~=/a\/b/").unwrap().matches(&named("a/b")));
    assert!(containerd(r"name~=|a\|b|").unwrap().matches(&named("b")));
}

#[test]
fn a_code_point_that_is_none_is_containerds_guess_and_a_native_refusal() {
    let surrogate = r#"labels.k=="\ud800""#;
    assert!(
        containerd(surrogate)
            .unwrap()
            .matches(&labelled("\u{fffd}"))
    );
    assert_eq!(refusal(surrogate).0, 10);
    let negative = r#"labels.k=="\U80000041""#;
    assert!(containerd(negative).unwrap().matches(&labelled("A")));
    assert_eq!(refusal(negative).0, 10);
}

#[test]
fn bytes_that_are_no_text_equal_nothing() {
    let record = labelled("\u{fffd}");
    assert!(!containerd(r#"labels.k=="\xff""#).unwrap().matches(&record));
    assert!(!containerd(r#"labels.k~="\xff""#).unwrap().matches(&record));
    assert!(containerd(r#"labels.k!="\xff""#).unwrap().matches(&record));
    assert!(!containerd(r#"labels."\xff""#).unwrap().matches(&record));
    assert_eq!(
        refusal(r#"labels.k=="\xff""#),
        (10, "a value is UTF-8 text".into())
    );
    assert_eq!(
        refusal(r#"labels."\xff""#),
        (0, "a field is UTF-8 text".into())
    );
}

#[test]
fn a_struck_character_is_shown_byte_by_byte() {
    let error = containerd("name é").unwrap_err();
    assert_eq!(error.position(), 5);
    let told = "filters: parse error: [name  >|\u{fffd}|< \u{fffd}]: expected an operator (\"==\"|\"!=\"|\"~=\")";
    assert_eq!(error.to_string(), told);
}

#[test]
fn what_is_native_is_an_error_or_absent_to_containerd() {
    for text in ["target.size>1", "created_at<=2026-01-31", "!name", "name<x"] {
        assert!(containerd(text).is_err(), "{text}");
    }
    let record = Record {
        size: Some(1),
        ..named("n")
    };
    assert!(!containerd("target.size").unwrap().matches(&record));
    assert!(!containerd("target.size==1").unwrap().matches(&record));
    assert!(containerd("target.size!=1").unwrap().is_all());
    assert!(containerd("target.size~=^$").unwrap().is_all());
    assert!(
        containerd("name~=(\\pL{1000}){1000}")
            .unwrap()
            .hints()
            .is_empty()
    );
}
