//! New versions of an image and of all that is built on it: the changelogs of all, or of none.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::site::{Site, states};
use crate::harness::{Ran, Server};

fn files(site: &Site) -> BTreeMap<PathBuf, Vec<u8>> {
    let folders = fs::read_dir(site.path("images")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn chain() -> (Server, Site) {
    let (server, site) = (Server::start(), Site::new());
    site.image("a", "1.0", &[]);
    site.image("b", "1.0-s9", &["a"]);
    site.image("c", "2", &["b"]);
    site.image("other", "1.0", &[]);
    site.scan(&server);
    (server, site)
}

/// `imagestore build update`, for a hole.
fn update(site: &Site, server: &Server, image: &str, more: &[&str]) -> Ran {
    let mut update = server.command();
    update.args(["build", "update", image]);
    update.arg(site.path("images"));
    update.arg("--config").arg(site.path("here.toml"));
    update.args(["--reason", "a hole", "--source", "test"]);
    update.args(more).output().unwrap().into()
}

#[test]
fn what_is_built_on_an_image_gets_a_new_version_with_it() {
    let (server, site) = chain();
    let dry = update(&site, &server, "a", &["--dry-run"]);
    assert!(dry.stdout.contains("b@1.0-s9  1.0-s10"), "{dry:?}");
    assert_eq!(states(&server).len(), 4);
    assert!(states(&server).contains_key("a@1.0"));

    update(&site, &server, "a", &[]).printed();
    let names: Vec<String> = states(&server).into_keys().collect();
    assert_eq!(names, ["a@1.0-s1", "b@1.0-s10", "c@2-s1", "other@1.0"]);
    let changelog = fs::read_to_string(site.path("images/b/changelog")).unwrap();
    assert!(
        changelog.starts_with("b (1.0-s10) unstable") && changelog.contains("a hole"),
        "{changelog}"
    );
}

#[test]
fn the_version_that_is_said_is_the_images_and_all_above_it_get_the_next_and_the_reason() {
    let (server, site) = chain();
    let said = update(&site, &server, "a", &["--version", "2.0"]).printed();
    for (target, version) in [("a@1.0", "2.0"), ("b@1.0-s9", "1.0-s10"), ("c@2", "2-s1")] {
        let is_said = said.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(target) && words.next() == Some(version)
        });
        assert!(is_said, "{target} {version}: {said}");
    }
    let all: Vec<(String, String)> = states(&server).into_iter().collect();
    let expected = ["a@2.0", "b@1.0-s10", "c@2-s1", "other@1.0"];
    assert_eq!(
        all,
        expected.map(|name| (name.to_owned(), "to_build".to_owned()))
    );
    for (name, version) in [("a", "2.0"), ("b", "1.0-s10"), ("c", "2-s1")] {
        let changelog = site.path(&format!("images/{name}/changelog"));
        let changelog = fs::read_to_string(changelog).unwrap();
        let newest = changelog.split("\n -- ").next().unwrap();
        assert!(
            newest.starts_with(&format!("{name} ({version}) ")) && newest.contains("   a hole"),
            "{changelog}"
        );
    }
}

#[test]
fn one_changelog_that_cannot_be_written_leaves_every_byte_as_it_was() {
    for broken in ["no entry\n", "c (3) unstable; urgency=low\n"] {
        let (server, site) = chain();
        let changelog = site.path("images/c/changelog");
        fs::write(&changelog, broken).unwrap();
        let (before, known) = (files(&site), states(&server));
        let ran = update(&site, &server, "a", &["--version", "2.0"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        let named = ["c@2", changelog.to_str().unwrap()];
        assert!(
            named.iter().any(|name| ran.stderr.contains(name)),
            "{ran:?}"
        );
        assert_eq!((files(&site), states(&server)), (before, known));
    }
}

#[test]
fn one_that_cannot_get_a_new_version_leaves_every_byte_as_it_was() {
    let (server, site) = chain();
    site.image("d", "v1.0", &["c"]);
    site.scan(&server);
    let before = files(&site);
    let said = update(&site, &server, "a", &[]).told(5);
    assert!(said.contains("d@v1.0"), "{said}");
    assert_eq!(files(&site), before);
    assert!(states(&server).contains_key("a@1.0"));
}

#[test]
fn an_image_that_nobody_knows_is_told() {
    let (server, site) = chain();
    update(&site, &server, "nobody", &[]).told(4);
}
