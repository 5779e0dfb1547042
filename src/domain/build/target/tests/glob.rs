//! Globs against what Python's `fnmatch` says.

use std::time::{Duration, Instant};

use super::*;

fn glob(text: &str) -> Glob {
    text.parse().unwrap()
}

#[test]
fn a_glob_matches_what_fnmatch_matches() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("*", &["", "a", "reg.io/ns/foo:1"], &[]),
        ("a", &["a"], &["", "A", "aa", "b"]),
        (
            "reg*foo:1",
            &["reg.io/ns/foo:1", "regfoo:1"],
            &["reg.io/ns/foo:11", "xreg/foo:1"],
        ),
        (
            "*foo:*",
            &["reg.io:5000/ns/foo:1", "foo-foo:2", "foo:"],
            &["foo", "foo-bar:1"],
        ),
        ("?", &["a", "/", "é", ":"], &["", "ab"]),
        ("f?o", &["foo", "f:o"], &["fo", "fooo"]),
        ("[abc]", &["a", "c"], &["", "d", "ab", "[abc]"]),
        ("[a-c]x", &["ax", "bx", "cx"], &["dx", "-x", "x"]),
        ("[!a-c]", &["d", "-", "!"], &["a", "b", ""]),
        ("[]]", &["]"], &["[", "[]]"]),
        ("[!]]", &["a", "!"], &["]"]),
        ("[]a]", &["]", "a"], &["b"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("[-a]", &["a", "-"], &["b"]),
        ("[a-c-e]", &["a", "b", "c", "-", "e"], &["d"]),
        ("[--0]", &["-", ".", "/", "0"], &["1", ","]),
        ("[z-a]", &[], &["a", "z", "-", "m", ""]),
        ("[!z-a]", &["a", "z", "-"], &["", "ab"]),
        ("[z-ab]", &["b"], &["a", "z"]),
        ("[^a]", &["^", "a"], &["b"]),
        ("[*]", &["*"], &["a", ""]),
        ("[?]", &["?"], &["a"]),
        ("[[]", &["["], &["]"]),
        ("\\*", &["\\", "\\a"], &["*"]),
        ("{a,b}", &["{a,b}"], &["a", "b"]),
        ("a*b*c", &["abc", "aXbYc", "abbcc"], &["ab", "acb", "abcd"]),
        ("**", &["", "ab"], &[]),
        ("*a*a*", &["aa", "xaxax"], &["a", "x"]),
    ];
    for (pattern, yes, no) in table {
        for text in *yes {
            assert!(glob(pattern).matches_text(text), "{pattern} {text}");
        }
        for text in *no {
            assert!(!glob(pattern).matches_text(text), "{pattern} {text}");
        }
    }
}

#[test]
fn a_glob_without_the_registry_matches_the_name_and_version() {
    // docker-pkg's help said so, and its code did not.
    let target = published_as("reg.io:5000/ns/foo:1.0");
    for yes in [
        "foo*",
        "foo:1.0",
        "f?o:*",
        "reg.io:5000/ns/foo:1.0",
        "*/foo:*",
        "reg*",
        "*",
    ] {
        assert!(glob(yes).matches(&target), "{yes}");
    }
    for no in ["ns/foo:1.0", "foo", "oo:1.0", "foo:1", "Foo*", "foo@1.0"] {
        assert!(!glob(no).matches(&target), "{no}");
    }
}

#[test]
fn what_is_no_glob_is_refused() {
    for bad in ["", "[", "a[", "[!", "[]", "[!]", "*[a-", &"*".repeat(1025)] {
        assert_eq!(bad.parse::<Glob>().unwrap_err().field(), "glob", "{bad}");
    }
    let refused = "ab[c".parse::<Glob>().unwrap_err();
    assert_eq!(refused.reason(), "has a [ at byte 2 that nothing closes");
}

#[test]
fn no_glob_takes_long() {
    let start = Instant::now();
    let text = "a".repeat(10_000);
    for pattern in [
        "*a".repeat(500) + "b",
        "*a*".repeat(300) + "b",
        "*?".repeat(500) + "b",
        "*[a-z]".repeat(150) + "b",
    ] {
        assert!(!glob(&pattern).matches_text(&text));
    }
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

/// What a glob means, without any care for time.
fn means(parts: &[char], text: &[char]) -> bool {
    match (parts, text) {
        ([], text) => text.is_empty(),
        (['*', rest @ ..], text) => (0..=text.len()).any(|taken| means(rest, &text[taken..])),
        ([_, ..], []) => false,
        (['?', rest @ ..], [_, text @ ..]) => means(rest, text),
        ([own, rest @ ..], [c, text @ ..]) => own == c && means(rest, text),
    }
}

proptest! {
    #[test]
    fn stars_and_marks_mean_what_they_mean(pattern in "[ab*?é]{1,8}", text in "[abé]{0,8}") {
        let parts: Vec<char> = pattern.chars().collect();
        let chars: Vec<char> = text.chars().collect();
        prop_assert_eq!(glob(&pattern).matches_text(&text), means(&parts, &chars));
    }

    #[test]
    fn no_text_is_too_strange_to_be_a_glob_or_none(text in "[\\PC\\[\\]!*?-]{0,12}", other in "\\PC{0,12}") {
        if let Ok(glob) = text.parse::<Glob>() {
            glob.matches_text(&other);
        }
    }
}
