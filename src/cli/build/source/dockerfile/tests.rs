//! Which images a Dockerfile names.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn args(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn images(text: &str) -> Vec<String> {
    let read = read(text, &BTreeMap::new()).unwrap_or_else(|why| panic!("{text:?}: {why:?}"));
    read.images.into_iter().map(|used| used.reference).collect()
}

fn wrong(text: &str) -> (Option<usize>, String) {
    let Wrong { line, reason } = read(text, &BTreeMap::new()).unwrap_err();
    (line, reason)
}

#[test]
fn the_images_are_those_of_from_copy_and_mounts() {
    for (text, expected) in [
        ("FROM a", &["a"][..]),
        ("from a:1 AS x\r\nRUN y\r\n", &["a:1"]),
        ("\u{feff}FROM a", &["a"]),
        (
            "# x\n\n  FROM  --platform=$BUILDPLATFORM  a@sha256:0 as b\n",
            &["a@sha256:0"],
        ),
        ("FROM scratch", &[]),
        ("FROM Scratch", &["Scratch"]),
        ("FROM a\nCOPY --from=b /x /y\nCOPY x y", &["a", "b"]),
        (
            "FROM a\nCOPY --chown=1 --from=b:1 --link x y",
            &["a", "b:1"],
        ),
        ("FROM a\nCOPY x --from=b y", &["a"]),
        (
            "FROM a\nRUN --mount=type=bind,from=b,target=/x --mount=type=cache,target=/y make",
            &["a", "b"],
        ),
        ("FROM a\nRUN --network=none --mount=from=b x", &["a", "b"]),
        ("FROM a\nRUN echo --mount=from=b", &["a"]),
        ("FROM a\nONBUILD COPY --from=b x y", &["a"]),
        ("FROM a\nADD --from=b x y", &["a"]),
    ] {
        assert_eq!(images(text), expected, "{text:?}");
    }
}

#[test]
fn a_stage_is_no_image_and_counts_only_where_it_is_needed() {
    for (text, expected) in [
        ("FROM a AS x\nFROM X", &["a"][..]),
        ("FROM a AS x\nFROM b\nCOPY --from=x y z", &["a", "b"]),
        ("FROM a\nFROM b\nCOPY --from=0 y z", &["a", "b"]),
        // Not needed for the last one.
        ("FROM a AS x\nFROM b", &["b"]),
        (
            "FROM a AS x\nFROM b AS y\nCOPY --from=c / /\nFROM x",
            &["a"],
        ),
        // A later stage is none yet.
        ("FROM x\nFROM a AS x\nFROM 0\n", &["0"]),
        ("FROM x AS x\nFROM x", &["x"]),
        ("FROM a AS x\nFROM b AS x\nFROM x", &["b"]),
        // Files may come from a later one.
        (
            "FROM a AS one\nCOPY --from=two / /\nFROM b AS two\nFROM one",
            &["a", "b"],
        ),
        (
            "FROM a AS base-amd64\nFROM b AS base-arm64\nFROM base-${A:-amd64}",
            &["a"],
        ),
        ("FROM a AS x\nFROM scratch\nRUN --mount=from=x y", &["a"]),
    ] {
        assert_eq!(images(text), expected, "{text:?}");
    }
}

#[test]
fn lines_are_joined_and_comments_dropped_as_buildkit_does() {
    for (text, expected) in [
        ("FROM \\\na", &["a"][..]),
        ("FROM \\  \n# a comment\n\n  a\\\nb", &["ab"]),
        ("# escape=`\nFROM `\na\nRUN x\\\nFROM b", &["b"]),
        ("#  ESCAPE = `  \nFROM `\na", &["a"]),
        // Directives end with the first line that is none.
        ("# hello\n# escape=`\nFROM a\\\nb", &["ab"]),
        ("\n# escape=`\nFROM \\\na", &["a"]),
        (
            "# syntax=docker/dockerfile:1\n# check=skip=all\n# escape=`\nFROM `\na",
            &["a"],
        ),
        ("# other=1\n# escape=`\nFROM \\\na", &["a"]),
        ("FROM a\nRUN x \\\\\nFROM b", &["b"]),
        ("FROM a\nRUN x \\\n# FROM c\nFROM b", &["a"]),
        ("FROM a \\", &["a"]),
    ] {
        assert_eq!(images(text), expected, "{text:?}");
    }
}

#[test]
fn the_body_of_a_here_document_is_no_instruction() {
    for (text, expected) in [
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\n", &["a"][..]),
        (
            "FROM a\nRUN <<-EOF\nFROM b\n\t\tEOF\nCOPY --from=c x y",
            &["a", "c"],
        ),
        ("FROM a\nRUN cat <<\"EOF\" > /x\nFROM b\nEOF", &["a"]),
        (
            "FROM a\nCOPY <<A <<'B' /d/\nFROM b\nA\nA\nFROM c\nB\nCOPY --from=d x y",
            &["a", "d"],
        ),
        ("FROM a\nRUN 3<<EOF\nFROM b\nEOF", &["a"]),
        ("FROM a\nRUN <<EOF \\\n x\nFROM b\nEOF", &["a"]),
        ("FROM a\nONBUILD run <<EOF\nFROM b\nEOF", &["a"]),
        // These begin none.
        ("FROM a\nONBUILD ENV x <<EOF\nFROM b", &["b"]),
        ("FROM a\nRUN echo '<<EOF'\nFROM b", &["b"]),
        ("FROM a\nRUN x<<EOF\nFROM b", &["b"]),
        ("FROM a\nRUN cat <<<EOF\nFROM b", &["b"]),
        ("FROM a\nLABEL x=<<EOF\nFROM b", &["b"]),
        ("FROM a\nENV x <<EOF\nFROM b", &["b"]),
    ] {
        assert_eq!(images(text), expected, "{text:?}");
    }
    let (line, reason) = wrong("FROM a\nRUN x\nRUN <<EOF <<B\nEOF\n");
    assert_eq!(line, Some(3));
    assert!(reason.contains('B'), "{reason}");
}

#[test]
fn from_knows_the_args_before_the_first_from() {
    for (text, expected) in [
        ("ARG V=1\nFROM a:$V", "a:1"),
        ("ARG V=1\nFROM a:${V}-x", "a:1-x"),
        ("ARG V=\"1-2\" W='3'\nFROM a$V$W", "a1-23"),
        ("ARG A=1 B=2\nFROM a:$A.$B", "a:1.2"),
        ("ARG A=1\nARG B=${A}.2\nFROM a:$B", "a:1.2"),
        ("ARG A\nFROM a:${A:-d}", "a:d"),
        ("ARG A=\nFROM a:${A:-d}${A-e}", "a:d"),
        ("FROM a:${A-e}", "a:e"),
        ("ARG A=1\nFROM a:${A:+y}${B:+n}${B+n}", "a:y"),
        ("ARG A=x\nFROM a:${B:-${A:-z}}", "a:x"),
        (
            "ARG A=x-y-z\nFROM a:${A#*-}:${A##*-}:${A%-*}:${A%%-*}",
            "a:y-z:z:x-y:x",
        ),
        (
            "ARG A=x-y-z\nFROM a:${A/-/_}:${A//-/_}:${A/y*/}",
            "a:x_y-z:x_y_z:x-",
        ),
        ("ARG A=1\nFROM a:\\$A'$A'\"$A\"", "a:$A$A1"),
        ("ARG GIVEN\nFROM a:$GIVEN", "a:given"),
        ("ARG GIVEN=other\nFROM a:$GIVEN", "a:given"),
        ("FROM a:$TARGETOS", "a:linux"),
        ("ARG TARGETOS\nFROM a:$TARGETOS", "a:linux"),
        ("ARG A=1\nFROM x AS y\nARG A=2\nFROM a:$A", "a:1"),
        ("FROM a$", "a$"),
    ] {
        let read = read(text, &args(&[("GIVEN", "given")]))
            .unwrap_or_else(|why| panic!("{text:?}: {why:?}"));
        assert_eq!(read.images.last().unwrap().reference, expected, "{text:?}");
    }
}

#[test]
fn what_cannot_be_built_is_refused_with_its_line() {
    for (text, line, word) in [
        ("", None, "FROM"),
        ("ARG A=1", None, "FROM"),
        ("RUN x\nFROM a", Some(1), "before the first FROM"),
        ("\nFROM", Some(2), "no image"),
        ("FROM --platform=x", Some(1), "no image"),
        ("FROM a b", Some(1), "IMAGE AS NAME"),
        ("FROM a AS", Some(1), "IMAGE AS NAME"),
        ("FROM a AS b c", Some(1), "IMAGE AS NAME"),
        ("ARG V\n\nFROM a:$V", Some(3), "build arg V"),
        ("FROM a:${V}", Some(1), "build arg V"),
        ("FROM a:${V:?}", Some(1), "build arg V"),
        ("ARG A=$B\nFROM a", Some(1), "build arg B"),
        ("FROM ${", Some(1), "name of a variable"),
        ("FROM ${A", Some(1), "no substitution"),
        ("FROM ${A:-x", Some(1), "without its }"),
        ("FROM 'a", Some(1), "not closed"),
        ("FROM \"\"", Some(1), "no image"),
        ("# escape=x\nFROM a", Some(1), "escape"),
        ("# escape=`\n# escape=`\nFROM a", Some(2), "twice"),
        ("FROM a\nCOPY --from=7 x y", Some(2), "no stage 7"),
    ] {
        let (at, reason) = wrong(text);
        assert_eq!(at, line, "{text:?}: {reason}");
        assert!(reason.contains(word), "{text:?}: {reason}");
    }
    let deep = format!("FROM {}x{}", "${A:-".repeat(20), "}".repeat(20));
    assert!(wrong(&deep).1.contains("in one another"));
    let long = format!("ARG A={}\nARG B=$A$A$A$A$A\nFROM $B", "x".repeat(1000));
    assert!(wrong(&long).1.contains("longer"));
}

#[test]
fn a_variable_where_only_the_build_knows_it_is_warned_of() {
    let read = read(
        "FROM a\nCOPY --from=$B x y\nRUN --mount=from=${C} z",
        &BTreeMap::new(),
    )
    .unwrap();
    assert_eq!(read.images.len(), 1);
    let lines: Vec<usize> = read.warnings.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3]);
}

#[test]
fn the_place_of_a_reference_is_told_to_the_byte() {
    for (text, places) in [
        ("FROM a:1 AS x", &["a:1"][..]),
        ("\u{feff}# é\nARG V=1\nFROM a:${V:-1}\r\n", &["a:${V:-1}"]),
        ("FROM a\\\n:1\nCOPY --from=b x y", &["a\\\n:1", "b"]),
        ("FROM a\nCOPY --from=\"b:1\" x y", &["a", "b:1"]),
        (
            "FROM a\nRUN --mount=type=bind,from=b,target=x y",
            &["a", "b"],
        ),
    ] {
        let read = read(text, &BTreeMap::new()).unwrap();
        let found: Vec<&str> = read
            .images
            .iter()
            .map(|used| &text[used.at.clone()])
            .collect();
        assert_eq!(found, places, "{text:?}");
    }
}

#[test]
fn the_version_is_that_of_the_last_stage() {
    const KEY: &str = "org.opencontainers.image.version";
    for (text, version) in [
        ("FROM a\nLABEL K=1.0", Some("1.0")),
        ("FROM a\nLABEL x=\"y z\" \"K\"=\"1.0\" b=c", Some("1.0")),
        ("FROM a\nLABEL K 1.0", Some("1.0")),
        ("FROM a\nLABEL K=1 \\\n  K='2'", Some("2")),
        ("FROM a\nLABEL K=1\nLABEL K=2", Some("2")),
        ("FROM a AS x\nLABEL K=1\nFROM x\nRUN y", Some("1")),
        ("FROM a AS x\nLABEL K=1\nFROM b\nCOPY --from=x y z", None),
        ("FROM a\nLABEL K=$V", Some("$V")),
        ("FROM a\nLABEL K=", None),
        ("FROM a\nLABEL x K=1", None),
        ("FROM a\n# LABEL K=1", None),
    ] {
        let text = text.replace('K', KEY);
        let read = read(&text, &BTreeMap::new()).unwrap();
        let said = read.version.as_ref().map(|said| said.text.as_str());
        assert_eq!(said, version, "{text:?}");
        if let Some(said) = read.version {
            assert_eq!(&text[said.at], said.text, "{text:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = read(&text, &BTreeMap::new());
    }

    #[test]
    fn no_dockerfile_makes_it_panic_and_every_place_is_one(
        text in "(FROM |COPY --from=|RUN --mount=from=|RUN <<|LABEL |ARG A=|AS |# escape=`|org.opencontainers.image.version=\
                 |\\$\\{A(:-|##|%|/)?|\\}|\\$A|\\\\\n|`\n|\n|\r\n|EOF|'|\"|,| |\t|[a-cé0-2]){0,40}",
    ) {
        let text = format!("ARG A=x\nFROM base\n{text}");
        if let Ok(read) = read(&text, &BTreeMap::new()) {
            for used in &read.images {
                prop_assert!(text.get(used.at.clone()).is_some_and(|part| !part.is_empty()));
            }
            prop_assert!(read.images.windows(2).all(|two| two[0].at.end <= two[1].at.start));
            if let Some(said) = read.version {
                prop_assert!(text.get(said.at).is_some_and(|part| !part.is_empty()));
            }
        }
    }

    #[test]
    fn no_substitution_makes_it_panic(word in "([$]\\{?[AB]|[:+#%/?*-]|\\}|\\{|'|\"|\\\\|[a-cé]){0,30}") {
        let _ = expand(&word, '\\', &|name| (name == "A").then(|| "abc-é".to_owned()));
    }
}
