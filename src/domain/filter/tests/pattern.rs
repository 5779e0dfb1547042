//! Regular expressions mean what they mean to RE2.

use super::*;

#[test]
fn perl_classes_are_ascii_and_all_else_is_characters() {
    for (pattern, text, expected) in [
        (r"^\d$", "7", true),
        (r"^\d$", "٣", false),
        (r"^\D$", "٣", true),
        (r"^\w$", "_", true),
        (r"^\w$", "é", false),
        (r"^[\w.-]$", "é", false),
        (r"^[^\w]$", "é", true),
        (r"^[\W]$", "é", true),
        (r"^\s$", " ", true),
        (r"^\s$", "\u{a0}", false),
        (r"^\s$", "\u{b}", false),
        (r"é\b", "éa", true),
        (r"^é\B$", "é", true),
        (r"^.$", "é", true),
        (r"^é$", "é", true),
        (r"^[^a]$", "🦀", true),
        (r"(?i)^É$", "é", true),
        (r"(?i)^\w$", "ſ", true),
        (r"^\pL$", "é", true),
        (r"^\p{Greek}$", "λ", true),
        (r"^\p{^Greek}$", "λ", false),
        (r"^[\PL]$", "1", true),
        (r"\p{Cs}|b", "a", false),
        (r"^\P{Cs}$", "a", true),
        (r"^[a\p{Cs}]$", "a", true),
        (r"^[^\p{Cs}]$", "a", true),
        (r"^\p{Common}\p{Khitan_Small_Script}$", "1\u{18b00}", true),
        (r"^[[:alpha:]]$", "é", false),
        (r"^[[:^alpha:]]$", "é", true),
        (r"(?s)^a.b$", "a\nb", true),
        (r"^a.b$", "a\nb", false),
        (r"(?m)^b$", "a\nb", true),
        (r"^b$", "a\nb", false),
    ] {
        let filter = containerd(&format!("labels.k~={}", quoted(pattern))).unwrap();
        assert_eq!(
            filter.matches(&labelled(text)),
            expected,
            "{pattern} on {text:?}"
        );
    }
}

#[test]
fn what_re2_reads_otherwise_than_our_engine_is_translated() {
    for (pattern, text, expected) in [
        (r"^\Qa.b\E$", "a.b", true),
        (r"^\Qa.b\E$", "axb", false),
        (r"\Qa+", "a+", true),
        (r"^\Qab\E*$", "abb", true),
        (r"^[a&&b]$", "&", true),
        (r"^[a[]$", "[", true),
        (r"^[]a]$", "]", true),
        (r"^[a~~b]$", "~", true),
        (r"^[a\-z]$", "m", false),
        (r"^\<\>$", "<>", true),
        (r"^a{$", "a{", true),
        (r"^a{,2}$", "a{,2}", true),
        (r"^a{2,}$", "aaa", true),
        (r"^a{01}$", "a{01}", true),
        (r"^(?P<n>a)(?<m>b)$", "ab", true),
        (r"^(?P<n>a)(?P<n>b)$", "ab", true),
        // Flags in between change neither what is repeated nor its flags.
        (r"^ab(?i)*c$", "abbC", true),
        (r"^ab(?i)*c$", "aBc", false),
        (r"^a(?i)(?s){2}(?U)?$", "aa", true),
        (r"^a*(?i)*$", "aaa", true),
        (r"^a{2,3}(?i)?$", "", true),
        (r"(?U)^a+?$", "aaa", true),
        (r"(?Ui-s:A)", "a", true),
        (r"^\101\x41\x{1F980}$", "AA🦀", true),
        (r"^a b # c$", "a b # c", true),
        (r"", "x", true),
        (r"a||b", "x", true),
    ] {
        let filter = native(&format!("labels.k~={}", quoted(pattern))).unwrap();
        assert_eq!(
            filter.matches(&labelled(text)),
            expected,
            "{pattern} on {text:?}"
        );
    }
}

#[test]
fn what_re2_refuses_is_refused() {
    for pattern in [
        "(",
        ")",
        "[a",
        "[]",
        "[z-a]",
        "[[:nope:]]",
        "*",
        "a**",
        "a|*",
        "a{2}{3}",
        "a{1001}",
        "a{3,2}",
        r"\C",
        r"\Z",
        r"\h",
        r"\1",
        r"\_é\é",
        r"[\b]",
        r"\x",
        r"\x{}",
        r"\x{110000}",
        r"\u0041",
        r"\p{Nope}",
        r"\p{greek}",
        r"\p{greek",
        // Neither an alias nor a script that came after Unicode 13.
        r"\p{Grek}|a",
        r"\p{Latn}",
        r"\p{Zyyy}",
        r"\p{Unknown}",
        r"\p{Kawi}",
        r"\p{Nag_Mundari}",
        r"\p{Vithkuqi}",
        r"\p{Toto}",
        r"\p{Cn}",
        r"\p{LC}",
        r"\p{gc=Lu}",
        "(?x)a",
        "(?u)a",
        "(?=a)",
        "(?-)a",
        "(?P<>a)",
        "(?P=n)",
        r"a\",
    ] {
        assert!(
            native(&format!("name~={}", quoted(pattern))).is_err(),
            "{pattern}"
        );
        assert!(
            containerd(&format!("name~={}", quoted(pattern)))
                .unwrap()
                .hints()
                .is_empty(),
            "{pattern}"
        );
    }
}
