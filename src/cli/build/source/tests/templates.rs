//! docker-pkg's layout: dependencies and templates.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

#[test]
fn what_it_is_built_on_comes_from_control_and_template() {
    let dir = tree_of(&[
        ("base", "1.0", "", "FROM {{ 'seed' | image_tag }}"),
        (
            "middle",
            "2",
            "Source: x\nBuild-Depends: base (>= 1), debian\n\nDepends: other",
            "FROM {{ 'base' | image_tag }}",
        ),
        (
            "top",
            "3",
            "",
            "FROM {{ 'middle' | image_tag }}\nCOPY --from={{ 'elsewhere/app' | image_tag }} / /",
        ),
    ]);
    assert_eq!(
        graph(&scanned(&dir)),
        [
            "base@1.0 <- external reg.example/team/seed:2",
            "middle@2 <- base (>= 1), other, external debian:13",
            "top@3 <- elsewhere/app, middle",
        ]
    );
    assert_eq!(
        scanned(&dir).images[0].label.as_str(),
        "reg.example/team/base:1.0"
    );
    assert_eq!(scanned(&dir).images[0].form, Form::Template);
}

#[test]
fn an_image_of_the_scan_is_no_base_image() {
    let dir = tree_of(&[
        ("debian", "1", "", "FROM scratch"),
        (
            "a",
            "1",
            "Depends: debian",
            "FROM {{ 'debian' | image_tag }}",
        ),
    ]);
    let scanned = scanned(&dir);
    assert_eq!(graph(&scanned)[0], "a@1 <- debian");
    assert_eq!(
        rendered(&dir, &scanned, "a@1").unwrap(),
        "FROM reg.example/team/debian:9\n"
    );
}

#[test]
fn labels_are_those_that_the_graph_resolved() {
    let dir = tree_of(&[
        ("base", "1.0", "", "FROM {{ 'debian' | image_tag }}\n"),
        (
            "top",
            "1",
            "Depends: base (<< 2)",
            "FROM {{ 'base' | image_tag }} {{ 'base'|image_tag|upstream_version }}",
        ),
        (
            "lost",
            "1",
            "Depends: gone",
            "FROM {{ 'gone' | image_tag }}",
        ),
    ]);
    let scanned = scanned(&dir);
    assert_eq!(
        rendered(&dir, &scanned, "base@1.0").unwrap(),
        "FROM debian:13\n"
    );
    assert_eq!(
        rendered(&dir, &scanned, "top@1").unwrap(),
        "FROM reg.example/team/base:9 9\n"
    );
    let why = rendered(&dir, &scanned, "lost@1").unwrap_err();
    assert!(
        why.contains("lost/Dockerfile.template: lost@1 is built on gone, and nobody knows"),
        "{why}"
    );
}

#[test]
fn a_template_is_jinja_with_the_settings_as_variables() {
    for (template, expected) in [
        ("{{ greeting }} {{ version.major }}", "hello 3"),
        ("{{ registry }}/{{ namespace }}", "reg.example/team"),
        (
            "{% set p|replace('\\n', ' ') %}a\nb{% endset %}{{ p }}",
            "a b",
        ),
        ("{% for n in [1, 2] -%} {{ n }} {%- endfor %}", "12"),
        ("{% if greeting == 'x' %}a{% else %}b{% endif %}", "b"),
        (
            "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m('<&>') }}",
            "<<&>>",
        ),
        ("{{ 'a,b'.split(',')[1] }}", "b"),
        (
            "{{ 'app' | uid }} {{ 'app' | add_user | length > 0 }}",
            "900 True",
        ),
        (
            "RUN {{ 'curl' | apt_install }}",
            "RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install \
          --yes --no-install-recommends curl && apt-get clean && rm -rf /var/lib/apt/lists/*",
        ),
        ("a{# no #}b\n", "ab"),
    ] {
        let dir = tree_of(&[("a", "1", "", template)]);
        let scanned = scanned(&dir);
        assert_eq!(
            rendered(&dir, &scanned, "a@1").unwrap(),
            format!("{expected}\n"),
            "{template}"
        );
    }
}

#[test]
fn a_user_without_a_number_is_warned_of() {
    let dir = tree_of(&[("a", "1", "", "USER {{ 'jo' | uid }}{{ 'jo' | uid }}")]);
    let scanned = scanned(&dir);
    let warnings: Vec<_> = scanned
        .warnings
        .iter()
        .map(|warning| below(&dir, warning))
        .collect();
    assert_eq!(
        warnings,
        ["a/Dockerfile.template: user \"jo\" has no number in [uids], and goes by name"]
    );
    assert_eq!(rendered(&dir, &scanned, "a@1").unwrap(), "USER jojo\n");
}

#[test]
fn what_cannot_be_rendered_is_told_with_its_file_and_line() {
    for (template, expected) in [
        (
            "x\n{{ missing }}",
            "a/Dockerfile.template:2: undefined value",
        ),
        ("{{ missing }}", "missing"),
        ("{{ password }}", "password"),
        (
            "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
            "a/Dockerfile.template:1: takes too long",
        ),
        (
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "a/Dockerfile.template:1: ",
        ),
        (
            "\n{% include '../x' %}",
            "a/Dockerfile.template:2: \\\"../x\\\" is not in the directory",
        ),
        (
            "{% include '/etc/passwd' %}",
            "\\\"/etc/passwd\\\" is not in the directory",
        ),
        (
            "{% include 'link' %}",
            "\\\"link\\\" leads out of the directory",
        ),
        ("{% include 'nothing' %}", "a/Dockerfile.template:1: "),
        ("{% include 'pipe' %}", "a/pipe is no regular file"),
        ("{% include 'parts' %}", "a/parts is no regular file"),
        ("{% include 'broken' %}", "a/broken:2: "),
        ("{% include 'itself' %}", "itself:1: "),
        ("{% if %}", "a/Dockerfile.template:1: syntax error"),
        ("{{ 'A' | image_tag }}", "a/Dockerfile.template:1: name"),
        ("{{ 'jo' | add_user }}", "no number in [uids]"),
        ("{{ 'x' | nothing }}", "nothing"),
        ("{{ '' | apt_install }}", "apt_install: nothing is named"),
    ] {
        let dir = tree_of(&[("a", "1", "", template)]);
        fs::write(dir.path().join("x"), "outside").unwrap();
        fs::write(dir.path().join("a/broken"), "\n{{ missing }}").unwrap();
        fs::write(dir.path().join("a/itself"), "{% include 'itself' %}").unwrap();
        symlink("../x", dir.path().join("a/link")).unwrap();
        fs::create_dir(dir.path().join("a/parts")).unwrap();
        let pipe = dir.path().join("a/pipe");
        mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let told = refused(&dir);
        assert!(told.contains(expected), "{template}: {told}");
    }
}

#[test]
fn a_template_writes_no_more_than_can_be_meant() {
    let wide = format!(
        "{{% for n in range(10000) %}}{}{{% endfor %}}",
        "x".repeat(10_000)
    );
    let told = refused(&tree_of(&[("a", "1", "", &wide)]));
    assert!(told.contains("makes more than 64 MiB of text"), "{told}");
}

#[test]
fn a_template_includes_what_is_beside_it() {
    let dir = tree_of(&[("a", "1", "", "{% include 'parts/x' %}{% include './y' %}")]);
    fs::create_dir(dir.path().join("a/parts")).unwrap();
    fs::write(
        dir.path().join("a/parts/x"),
        "FROM {{ 'base' | image_tag }}\n",
    )
    .unwrap();
    fs::write(dir.path().join("a/y"), "USER 1\n").unwrap();
    let scanned = scanned(&dir);
    assert_eq!(graph(&scanned), ["a@1 <- base"]);
    assert_eq!(
        rendered(&dir, &scanned, "a@1").unwrap(),
        "FROM reg.example/team/base:9USER 1\n"
    );
}

#[test]
fn a_template_may_ask_for_an_image_because_of_another() {
    let template = "{% if '9' in ('a'|image_tag) %}{{ 'b'|image_tag }}{% else %}{{ 'c'|image_tag }}{% endif %}";
    let dir = tree_of(&[("x", "1", "", template), ("a", "9", "", "")]);
    let scanned = scanned(&dir);
    assert_eq!(
        rendered(&dir, &scanned, "x@1").unwrap(),
        "reg.example/team/b:9\n"
    );
}
