//! What a settings file may say, and how commands are filled.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

const ALL: &[Var] = &[Var::Image, Var::Repository, Var::Context, Var::Dockerfile];

fn argv(arguments: &[&str]) -> Result<Argv, String> {
    let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
    Argv::new(&arguments, ALL)
}

fn wrong(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, text).unwrap();
    let failure = format!("{:?}", Config::find(None, dir.path()).unwrap_err());
    failure.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn without_a_file_docker_builds_and_nothing_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::find(None, dir.path()).unwrap();
    assert!(config.registry.is_none());
    assert_eq!(config.ttl.get(), Duration::from_secs(60));
    assert_eq!(config.update_id.as_str(), "s");
    assert_eq!(config.uids["www-data"], 33);
    let vars = Vars::default()
        .with(Var::Image, "reg/a:1")
        .with(Var::IidFile, "/t/iid")
        .with(Var::Dockerfile, "/t/Dockerfile")
        .with(Var::Context, "/src/a")
        .with_build_args(BTreeMap::from([("A".to_owned(), "{image}".to_owned())]));
    assert_eq!(
        config.commands.build.fill(&vars),
        [
            "docker",
            "buildx",
            "build",
            "--load",
            "--tag",
            "reg/a:1",
            "--iidfile",
            "/t/iid",
            "--file",
            "/t/Dockerfile",
            "--build-arg",
            "A={image}",
            "/src/a",
        ]
    );
    assert_eq!(
        config
            .commands
            .list
            .fill(&Vars::default().with(Var::Repository, "reg/a"))[4],
        "{{.Repository}}:{{.Tag}}"
    );
}

#[test]
fn settings_that_are_no_file_are_refused_at_once() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    for found in [Config::find(None, dir.path()), Config::read(&path)] {
        let told = format!("{:?}", found.unwrap_err());
        assert!(
            told.contains("imagestore.toml is no regular file"),
            "{told}"
        );
    }
}

#[test]
fn every_setting_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.toml");
    let text = r#"
        registry = "127.0.0.1:5000"
        prefix = "team/images"
        base_images = ["debian:13"]
        location = "host/a"
        mode = "local-required"
        ttl = "5m"
        insecure_registries = ["reg.example:80"]
        ca_file = "ca.pem"
        update_id = "u"
        distribution = "wikimedia"
        author = "Jo <jo@example>"
        [variables]
        seed = "debian:13"
        list = [1, true]
        [uids]
        app = 900
        [build_args]
        V = "1"
        [commands]
        push = ["push", "{image}", "{digest_file}"]
        [builder]
        build = ["make", "{base}"]
    "#;
    std::fs::write(&path, text).unwrap();
    let config = Config::find(Some(&path), std::path::Path::new("/nowhere")).unwrap();
    assert_eq!(config.registry.as_ref().unwrap().as_str(), "127.0.0.1:5000");
    assert_eq!(config.prefix.as_ref().unwrap().as_str(), "team/images");
    assert_eq!(config.base_images[0].as_str(), "debian:13");
    assert_eq!(config.location().unwrap().as_str(), "host/a");
    assert_eq!(config.mode, Mode::LocalRequired);
    assert_eq!(config.ttl.get(), Duration::from_secs(300));
    assert_eq!(config.ca_file, Some(dir.path().join("ca.pem")));
    assert_eq!(config.update_id.as_str(), "u");
    assert_eq!(config.distribution, "wikimedia");
    assert_eq!(config.author(|_| None).unwrap(), "Jo <jo@example>");
    assert_eq!(config.uids, BTreeMap::from([("app".to_owned(), 900)]));
    assert_eq!(config.build_args["V"], "1");
    assert_eq!(config.variables.len(), 2);
    assert_eq!(
        config
            .commands
            .push
            .fill(&Vars::default().with(Var::DigestFile, "d")),
        ["push", "", "d"]
    );
    assert_eq!(
        config
            .builder
            .build
            .fill(&Vars::default().with(Var::Base, "b")),
        ["make", "b"]
    );
    for (registry, is_insecure) in [
        ("reg.example:80", true),
        ("reg.example", false),
        ("127.0.0.1:5000", true),
        ("[::1]:5000", true),
        ("localhost", true),
        ("localhost:80", true),
        ("10.0.0.1:5000", false),
    ] {
        assert_eq!(
            config.is_insecure(&registry.parse().unwrap()),
            is_insecure,
            "{registry}"
        );
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_line() {
    for (text, expected) in [
        (
            "\nregistri = 'a.b'\n",
            "imagestore.toml:2: unknown field `registri`",
        ),
        (
            "[commands]\nbild = ['x']",
            "imagestore.toml:2: unknown field `bild`",
        ),
        (
            "[builder]\npush = ['x']",
            "imagestore.toml:2: unknown field `push`",
        ),
        ("registry = 'a/b'", "imagestore.toml:1: registry"),
        ("\n\nprefix = 'A'", "imagestore.toml:3: repository"),
        ("ttl = '0s'", "imagestore.toml:1: ttl must be"),
        ("ttl = 'soon'", "imagestore.toml:1: \\\"soon\\\" is no time"),
        ("ttl = '-5s'", "imagestore.toml:1: "),
        ("mode = 'x'", "imagestore.toml:1: unknown variant `x`"),
        ("update_id = '1'", "imagestore.toml:1: update_id"),
        ("author = 'Jo'", "Name <mail>"),
        ("distribution = 'a; b'", "imagestore.toml:1: "),
        ("base_images = ['']", "imagestore.toml:1: "),
        ("[uids]\na = -1", "imagestore.toml:2: "),
        (
            "[commands]\n\nbuild = ['x', '{imag}']",
            "imagestore.toml:3: commands.build: \\\"{imag}\\\" has {imag}",
        ),
        (
            "[commands]\nexists = ['x', '{iid_file}']",
            "{iid_file}, which is none of image, ",
        ),
        (
            "[commands]\nlist = []",
            "commands.list: must name a program",
        ),
        (
            "[commands]\nbuild = ['x']\n[build_args]\na = ''",
            "commands.build has no",
        ),
        (
            "registry = 'a.b'\nregistry = 'a.b'",
            "imagestore.toml:2: duplicate key",
        ),
        ("x", "imagestore.toml:1: "),
    ] {
        let told = wrong(text);
        assert!(told.contains(expected), "{text:?}: {told}");
    }
}

#[test]
fn a_file_that_is_asked_for_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Config::find(Some(&dir.path().join("x")), dir.path()).is_err());
}

#[test]
fn a_place_is_one_pair_of_braces_around_a_name() {
    let vars = Vars::default()
        .with(Var::Image, "I")
        .with(Var::Context, "/c");
    for (text, filled) in [
        ("{image}", "I"),
        ("a{image}b{image}", "aIbI"),
        ("{{image}}", "{{image}}"),
        ("{{.ID}}", "{{.ID}}"),
        ("{}", "{}"),
        ("{Image}", "{Image}"),
        ("{image", "{image"),
        ("{ image}", "{ image}"),
        ("{{{image}", "{{{image}"),
        ("}{image}", "}I"),
        ("{x1}{image}", "{x1}I"),
        ("{repository}", ""),
        ("${HOME}", "${HOME}"),
    ] {
        assert_eq!(
            argv(&["x", text]).unwrap().fill(&vars),
            ["x", filled],
            "{text}"
        );
    }
    for text in ["{imag}", "{token}", "a{_}", "{image}{x}"] {
        assert!(argv(&[text]).is_err(), "{text}");
    }
    assert!(argv(&[]).is_err());
    assert!(argv(&["", "x"]).is_err());
}

#[test]
fn the_files_that_a_test_needs_are_those_named_below_the_context() {
    let vars = Vars::default().with(Var::Context, "/c");
    for (arguments, files) in [
        (
            &["bash", "-c", "{context}/test.sh {image}"][..],
            &["/c/test.sh"][..],
        ),
        (
            &["{context}/a", "{context}", "'{context}/b'"],
            &["/c/a", "/c/b"],
        ),
        (&["true", "{image}"], &[]),
    ] {
        assert_eq!(
            argv(arguments).unwrap().files_in_context(&vars),
            files,
            "{arguments:?}"
        );
    }
}

#[test]
fn a_value_is_never_read_as_a_place() {
    let vars = Vars::default().with(Var::Image, "{context} $(x)");
    assert_eq!(argv(&["{image}"]).unwrap().fill(&vars), ["{context} $(x)"]);
}

#[test]
fn a_changelog_is_written_by_whom_the_environment_names() {
    let config = Config::default();
    let author = |name: Option<&str>, mail: Option<&str>| {
        config.author(|key| match key {
            "DEBFULLNAME" => name.map(str::to_owned),
            "DEBEMAIL" => mail.map(str::to_owned),
            _ => None,
        })
    };
    assert_eq!(author(Some("A B"), Some("a@b")).unwrap(), "A B <a@b>");
    assert_eq!(author(None, Some("A <a@b>")).unwrap(), "A <a@b>");
    assert!(author(Some("A"), None).is_err());
    assert!(author(Some(" "), Some("")).is_err());
}

#[test]
fn a_machine_is_a_location_by_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("machine-id");
    assert!(machine(&path).is_err());
    std::fs::write(&path, "0123abcd\n").unwrap();
    assert_eq!(machine(&path).unwrap().as_str(), "host/0123abcd");
    std::fs::write(&path, "\n").unwrap();
    assert!(machine(&path).is_err());
}
