//! What the native dialect adds, and how it refuses.

use super::*;

#[test]
fn sizes_are_compared_by_value_and_with_units() {
    let record = Record {
        size: Some(10 << 20),
        ..named("n")
    };
    for (text, expected) in [
        ("target.size==10MiB", true),
        ("target.size == \"10485760\"", true),
        ("target.size==10MB", false),
        ("target.size>10MB", true),
        ("target.size>=10Mi", true),
        ("target.size>10Mi", false),
        ("target.size<=10240Ki", true),
        ("target.size<11M", true),
        ("target.size<1G,target.size>1k", true),
        ("target.size!=0", true),
        ("target.size", true),
        ("!target.size", false),
    ] {
        assert_eq!(native(text).unwrap().matches(&record), expected, "{text}");
    }
    let units = [
        ("k", 1_000),
        ("kB", 1_000),
        ("GB", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("Gi", 1 << 30),
        ("TiB", 1 << 40),
    ];
    for (unit, size) in units {
        let record = Record {
            size: Some(7 * size),
            ..named("n")
        };
        assert!(
            native(&format!("target.size==7{unit}"))
                .unwrap()
                .matches(&record),
            "{unit}"
        );
    }
}

#[test]
fn times_are_compared_by_value_and_a_date_is_its_midnight() {
    let record = Record {
        created: Some("2026-01-31T00:00:00Z".parse().unwrap()),
        ..named("n")
    };
    for (text, expected) in [
        ("created_at==2026-01-31", true),
        ("created_at>=2026-01-31T00:00:00Z", true),
        ("created_at<2026-01-31T00:00:01Z", true),
        ("created_at>2026-01-31", false),
        ("created_at>2025-12-31", true),
        ("created_at!=2026-01-31", false),
        ("!created_at", false),
    ] {
        assert_eq!(native(text).unwrap().matches(&record), expected, "{text}");
    }
}

#[test]
fn an_absent_field_differs_and_has_no_order() {
    let record = named("n");
    for text in [
        "target.size!=0",
        "created_at!=2026-01-31",
        "!target.size",
        "! labels.k",
        "labels.k!=x",
        "labels.k~=^$",
    ] {
        assert!(native(text).unwrap().matches(&record), "{text}");
    }
    for text in [
        "target.size<1",
        "target.size>=0",
        "target.size==0",
        "labels.k",
        "labels.k==\"\"",
        "!name",
        "labels.k!=\"\"",
    ] {
        assert!(!native(text).unwrap().matches(&record), "{text}");
    }
}

#[test]
fn a_value_may_start_with_an_angle() {
    assert!(matches("labels.k==<none>", &labelled("<none>")));
    assert!(matches("labels.k~=>", &labelled("a>b")));
}

#[test]
fn the_native_dialect_says_where_and_what_would_be_right() {
    for (text, position, hint) in [
        ("nmae==x", 0, "there are name, target.digest"),
        ("name==a,  labels==x", 10, "unknown field \"labels\""),
        ("name=x", 4, "\"=\" is none of == != ~= < <= > >="),
        ("name<x", 4, "compare it with == != or ~="),
        ("target.size~=1", 11, "compare it with == !="),
        ("target.size>ten", 12, "write digits"),
        ("target.size>1KB", 12, "Ki KiB"),
        ("target.size>99999999999999999999", 12, "too large"),
        ("target.size>18446744073709551615k", 12, "too large"),
        ("target.size>-1", 12, "not a number"),
        ("target.size<>1", 12, "not a number"),
        ("created_at>2026-02", 11, "write one like 2026-01-31"),
        ("created_at>2026-13-01", 11, "not a time"),
        ("name~=/(/", 6, "a group is not closed"),
        ("name~=x{1000}{2}", 6, "is repeated"),
        ("name~=(\\pL{1000}){1000}", 6, "too large"),
        ("labels.a-b==x", 8, "double quotes"),
        ("name==a b", 7, "double quotes"),
        ("!name==x", 5, "whether the field is absent"),
        ("!!name", 0, "expected a field"),
        ("name==a,", 8, "expected a field"),
        ("name==", 6, "expected a value"),
        ("name==é\u{1}", 8, "double quotes"),
    ] {
        let (at, reason) = refusal(text);
        assert_eq!(at, position, "{text}: {reason}");
        assert!(reason.contains(hint), "{text}: {reason}");
    }
    let error = Filter::parse::<Record>(&["name", "labels.k=é"], Dialect::Native).unwrap_err();
    assert_eq!((error.index(), error.filter()), (1, "labels.k=é"));
    assert_eq!(
        error.to_string(),
        r#"filters[1], byte 8, at "=é": "=" is none of == != ~= < <= > >="#
    );
    assert!(
        native("name==")
            .unwrap_err()
            .to_string()
            .starts_with("filters[0], byte 6, at the end: ")
    );
}

#[test]
fn a_native_list_is_bounded_and_every_list_in_what_it_may_compile() {
    let fits = format!("name=={}", "x".repeat(MAX_TEXT - 6));
    assert!(native(&fits).is_ok());
    assert_eq!(
        refusal(&format!("{fits}x")),
        (
            MAX_TEXT,
            "a filter is at most 4096 bytes; this one is 4097".into()
        )
    );
    assert_eq!(
        refusal(&format!("x{}", "é".repeat(MAX_TEXT))).0,
        MAX_TEXT - 1
    );
    let error = Filter::parse::<Record>(&["name"; MAX_TEXTS + 1], Dialect::Native).unwrap_err();
    assert_eq!(
        (error.index(), error.reason()),
        (MAX_TEXTS, "a list holds at most 64 filters")
    );
    assert!(Filter::parse::<Record>(&["name"; MAX_TEXTS + 1], Dialect::Containerd).is_ok());
    let error = containerd(&"name,".repeat(MAX_SELECTORS + 1)).unwrap_err();
    assert_eq!(error.position(), MAX_SELECTORS * 5);
    let error = containerd(&"name~=x,".repeat(1000)).unwrap_err();
    assert!(error.reason().contains("too large together"));
    assert!(containerd("name~=x,".repeat(500).trim_end_matches(',')).is_ok());
}
