//! Plain Dockerfiles.

use super::*;

fn tree_with(files: &[(&str, &str)]) -> TempDir {
    let mut all = vec![(FILE_NAME, SETTINGS)];
    all.extend(files);
    tree(&all)
}

#[test]
fn a_plain_dockerfile_is_called_as_its_path() {
    let dir = tree_with(&[
        ("base/Dockerfile", "FROM debian:13"),
        ("base/version", "1.0\n"),
        (
            "lang/go/Containerfile",
            "FROM base\nLABEL org.opencontainers.image.version=\"1.2\"",
        ),
    ]);
    let scanned = scanned(&dir);
    assert_eq!(
        graph(&scanned),
        ["base@1.0 <- external debian:13", "lang/go@1.2 <- base"]
    );
    assert_eq!(
        scanned.images[1].label.as_str(),
        "reg.example/team/lang/go:1.2"
    );
    assert!(
        scanned
            .images
            .iter()
            .all(|image| image.form == Form::Dockerfile)
    );
}

#[test]
fn the_directory_of_the_scan_has_its_own_name() {
    let dir = tree_with(&[("app/Dockerfile", "FROM x"), ("app/version", "1")]);
    let scanned = scan(
        &dir.path().join("app/."),
        &config(dir.path()),
        &mut template::answer,
    )
    .unwrap();
    assert_eq!(graph(&scanned), ["app@1 <- external x"]);
}

#[test]
fn a_reference_to_an_image_of_the_scan_is_an_edge() {
    for (reference, edge) in [
        ("base", "base"),
        ("base:latest", "base"),
        ("base:1.0", "base (= 1.0)"),
        ("docker.io/library/base", "base"),
        ("reg.example/team/base", "base"),
        ("reg.example/team/base:1.0", "base (= 1.0)"),
        ("base:7", "external base:7"),
        (
            "reg.example/team/base:7",
            "external reg.example/team/base:7",
        ),
        ("reg.example/base", "external reg.example/base"),
        (
            "other.example/team/base",
            "external other.example/team/base",
        ),
        ("team/base", "external team/base"),
        ("base@sha256:0", "external base@sha256:0"),
        // Another image of the same name: nothing is built on itself.
        ("app:older", "external app:older"),
        ("app", "external app"),
    ] {
        let dockerfile = format!("FROM {reference}");
        let dir = tree_with(&[
            ("base/Dockerfile", "FROM scratch"),
            ("base/version", "1.0"),
            ("app/Dockerfile", &dockerfile),
            ("app/version", "2"),
        ]);
        assert_eq!(
            graph(&scanned(&dir))[0],
            format!("app@2 <- {edge}"),
            "{reference}"
        );
        let warned = !scanned(&dir).warnings.is_empty();
        assert_eq!(warned, reference.ends_with("base:7"), "{reference}");
    }
}

#[test]
fn dockers_own_registry_need_not_be_said() {
    let dir = tree(&[
        (FILE_NAME, "registry = 'docker.io'\nprefix = 'team'"),
        ("base/Dockerfile", "FROM scratch"),
        ("base/version", "1.0"),
        ("app/Dockerfile", "FROM team/base:1.0"),
        ("app/version", "2"),
    ]);
    assert_eq!(graph(&scanned(&dir))[0], "app@2 <- base (= 1.0)");
}

#[test]
fn what_is_built_names_the_labels_that_the_graph_says() {
    let dir = tree_with(&[
        ("base/Dockerfile", "FROM scratch"),
        ("base/version", "1.0"),
        ("tool/Dockerfile", "FROM scratch"),
        ("tool/version", "1.0"),
        (
            "app/Dockerfile",
            "\u{feff}# é\r\nARG V=1.0\r\nFROM base:${V} AS b\r\nCOPY --from=tool:latest a b\r\nRUN \
             --mount=from=\"debian:13\",target=/x y\r\nFROM b\r\nUSER x",
        ),
        ("app/version", "2"),
    ]);
    let scanned = scanned(&dir);
    assert_eq!(
        graph(&scanned)[0],
        "app@2 <- base (= 1.0), tool, external debian:13"
    );
    assert_eq!(
        rendered(&dir, &scanned, "app@2").unwrap(),
        "\u{feff}# é\r\nARG V=1.0\r\nFROM reg.example/team/base:9 AS b\r\nCOPY --from=reg.example/team/tool:9 a b\
         \r\nRUN --mount=from=\"debian:13\",target=/x y\r\nFROM b\r\nUSER x"
    );
    assert_eq!(
        rendered(&dir, &scanned, "base@1.0").unwrap(),
        "FROM scratch"
    );
}

#[test]
fn two_versions_of_one_image_cannot_both_be_followed() {
    let dir = tree_with(&[
        ("one/Dockerfile.template", "FROM x"),
        ("one/changelog", "base (1) x; y"),
        ("two/Dockerfile.template", "FROM x"),
        ("two/changelog", "base (2) x; y"),
        ("app/Dockerfile", "FROM base:1\nCOPY --from=base:2 x y"),
        ("app/version", "1"),
    ]);
    let told = refused(&dir);
    assert!(
        told.contains("app/Dockerfile:2: is built on base 2, and on 1 above"),
        "{told}"
    );
    fs::write(
        dir.path().join("app/Dockerfile"),
        "FROM base:1\nCOPY --from=base x y",
    )
    .unwrap();
    assert_eq!(graph(&scanned(&dir))[0], "app@1 <- base, base (= 1)");
}

#[test]
fn a_version_is_said_once_and_literally() {
    const LABEL: &str = "FROM x\nLABEL org.opencontainers.image.version=";
    for (dockerfile, version, expected) in [
        (
            "FROM x",
            None,
            "app/Dockerfile has no version: write it to a file called version",
        ),
        (
            &format!("{LABEL}$V"),
            None,
            "app/Dockerfile:2: org.opencontainers.image.version: ",
        ),
        (&format!("{LABEL}1"), Some("1"), "say it once"),
        ("FROM x", Some(""), "app/version: version must not be empty"),
        ("FROM x", Some("1\n2\n"), "app/version: "),
        (
            "FROM $X",
            Some("1"),
            "app/Dockerfile:1: FROM needs the build arg X",
        ),
    ] {
        let mut files = vec![("app/Dockerfile", dockerfile)];
        files.extend(version.map(|version| ("app/version", version)));
        let told = refused(&tree_with(&files));
        assert!(told.contains(expected), "{dockerfile:?}: {told}");
    }
    let told = refused(&tree_with(&[
        ("App/Dockerfile", "FROM x"),
        ("App/version", "1"),
    ]));
    assert!(told.contains("App: its path is its name, but "), "{told}");
}

#[test]
fn of_several_files_that_say_how_one_counts() {
    let dir = tree_with(&[
        ("a/Dockerfile.template", "FROM t"),
        ("a/changelog", "a (1) x; y"),
        ("a/Dockerfile", "FROM d"),
        ("b/Dockerfile", "FROM d"),
        ("b/Containerfile", "FROM c"),
        ("b/version", "1"),
    ]);
    let scanned = scanned(&dir);
    assert_eq!(graph(&scanned), ["a@1 <- ", "b@1 <- external d"]);
    let warnings: Vec<_> = scanned
        .warnings
        .iter()
        .map(|warning| below(&dir, warning))
        .collect();
    assert_eq!(
        warnings,
        [
            "a: Dockerfile is passed over, since there is Dockerfile.template",
            "b: Containerfile is passed over, since there is Dockerfile",
        ]
    );
}

#[test]
fn build_args_of_the_settings_fill_variables() {
    let dir = tree(&[
        (FILE_NAME, "[build_args]\nV = '3'"),
        ("app/Dockerfile", "ARG V\nFROM a:$V"),
        ("app/version", "1"),
    ]);
    assert_eq!(graph(&scanned(&dir)), ["app@1 <- external a:3"]);
}
