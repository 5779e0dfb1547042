//! What holds for every text: an answer, in time, and within the hints.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn long_and_hostile_texts_come_back() {
    const LONG: usize = 1 << 20;
    for piece in [
        "\"", "\\", ",", ".", "=", "/", "|", " ", "a.", "a,", "!", "é", "\u{fffd}", "\0", "a\"",
        "<", "\\\"",
    ] {
        for start in ["", "name==", "name~=", "name==\""] {
            let text = format!("{start}{}", piece.repeat(LONG / piece.len()));
            let _ = containerd(&text);
            let _ = native(&text);
        }
    }
    for piece in [
        "(", "[", "[:", "[[:", "{", "a{", "(?i)", "(?:", "\\Q", "x{1,", "|", "\\", "(?P<a", "[^",
        "(?i)*", "\\pL", "x*",
    ] {
        let pattern = piece.repeat((8 << 10) / piece.len());
        let _ = containerd(&format!("name~={}", quoted(&pattern)));
    }
}

fn covered(hint: &Hint, record: &Record) -> bool {
    match hint {
        Hint::All => true,
        Hint::Name(name) => record.name == *name,
        Hint::NamePrefix(prefix) => record.name.starts_with(prefix),
        Hint::NameParts { parts, is_whole } => {
            let mut rest = record.name.chars();
            let starts_so = parts.iter().enumerate().all(|(i, part)| {
                let joined = i == 0 || rest.next().is_some();
                let after = rest.as_str().strip_prefix(part.as_str()).map(str::chars);
                let is_next = after.is_some();
                rest = after.unwrap_or("".chars());
                joined && is_next
            });
            starts_so && (!is_whole || rest.as_str().is_empty())
        }
        Hint::Digest(digest) => record.digest == *digest,
        Hint::DigestPrefix(prefix) => record.digest.starts_with(prefix),
    }
}

/// Filters that are near the grammar, over a small alphabet, so that many parse and match.
fn near_filter() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "name",
        "target.digest",
        "labels.k",
        "\"name\"",
        "name.x",
        "nope",
        "target.size",
    ]);
    let operator = prop::sample::select(vec![
        "==", "!=", "~=", "<", ">=", "=", "", "~=^", "~=^", "==",
    ]);
    let selector =
        (field, operator, "[ab:.|*?()$+i/\"]{0,6}").prop_map(|(field, operator, value)| {
            let value = if operator.is_empty() {
                String::new()
            } else {
                value
            };
            format!("{field}{operator}{value}")
        });
    prop::collection::vec(selector, 1..4).prop_map(|selectors| selectors.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_is_too_strange_to_answer(text in "\\PC*|[a\"\\\\./|=!~<>, x0u\\x00\n\u{fffd}é]*", pattern in "[\\PC\\\\(){}\\[\\]^$|*+?a-z0-9:-]*") {
        let texts = [text.clone(), format!("name~={}", quoted(&pattern)), format!("name{text}"), format!("labels.{text}")];
        for text in texts {
            for parsed in [native(&text), containerd(&text)] {
                match parsed {
                    Ok(filter) => {
                        filter.matches(&labelled("v"));
                        filter.hints();
                    }
                    Err(error) => {
                        prop_assert!(error.filter().is_char_boundary(error.position()));
                        prop_assert!(!error.to_string().is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn any_value_can_be_quoted_and_is_then_matched(value in any::<String>(), key in any::<String>()) {
        let record = Record { labels: BTreeMap::from([(key.clone(), value.clone())]), ..named("n") };
        let text = format!("labels.{}=={}", quoted(&key), quoted(&value));
        prop_assert!(matches(&text, &record));
    }

    #[test]
    fn any_value_is_matched_by_itself_as_a_literal_pattern(value in any::<String>()) {
        let pattern = format!("^{}$", value.chars().map(|c| format!("\\x{{{:x}}}", u32::from(c))).collect::<String>());
        let text = format!("labels.k~={}", quoted(&pattern));
        prop_assert!(matches(&text, &labelled(&value)));
    }

    #[test]
    fn every_match_is_covered_by_a_hint(
        texts in prop::collection::vec(near_filter(), 1..3),
        name in "[ab:.]{0,5}",
        digest in "[ab:]{0,5}",
    ) {
        let record = Record { digest, ..named(&name) };
        for dialect in [Dialect::Native, Dialect::Containerd] {
            let Ok(filter) = Filter::parse::<Record>(&texts, dialect) else { continue };
            let hints = filter.hints();
            if filter.matches(&record) {
                prop_assert!(hints.iter().any(|hint| covered(hint, &record)), "{:?} {:?} {:?}", texts, record, hints);
            }
        }
    }

    #[test]
    fn both_dialects_agree_on_what_both_accept(text in near_filter(), name in "[ab:.]{0,5}") {
        prop_assume!(!text.contains("target.size"));
        if let (Ok(native), Ok(containerd)) = (native(&text), containerd(&text)) {
            prop_assert_eq!(native.matches(&named(&name)), containerd.matches(&named(&name)));
        }
    }
}
