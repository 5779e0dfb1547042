//! New versions of an image and of all that is built on it: the changelogs of all, or of none.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::site::{Site, states};
use crate::harness::Server;

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

#[test]
fn what_is_built_on_an_image_gets_a_new_version_with_it() {
    let (server, site) = chain();
    let mut update = server.command();
    update
        .args(["build", "update", "a"])
        .arg(site.path("images"));
    update.arg("--config").arg(site.path("here.toml"));
    update.args(["--reason", "a hole", "--source", "test"]);
    let dry: crate::harness::Ran = update.arg("--dry-run").output().unwrap().into();
    assert!(dry.stdout.contains("b@1.0-s9  1.0-s10"), "{dry:?}");
    assert_eq!(states(&server).len(), 4);
    assert!(states(&server).contains_key("a@1.0"));

    let mut update = server.command();
    update
        .args(["build", "update", "a"])
        .arg(site.path("images"));
    update.arg("--config").arg(site.path("here.toml"));
    update.args(["--reason", "a hole", "--source", "test"]);
    crate::harness::Ran::from(update.output().unwrap()).printed();
    let names: Vec<String> = states(&server).into_keys().collect();
    assert_eq!(names, ["a@1.0-s1", "b@1.0-s10", "c@2-s1", "other@1.0"]);
    let changelog = fs::read_to_string(site.path("images/b/changelog")).unwrap();
    assert!(
        changelog.starts_with("b (1.0-s10) unstable") && changelog.contains("a hole"),
        "{changelog}"
    );
}

#[test]
fn one_that_cannot_get_a_new_version_leaves_every_byte_as_it_was() {
    let (server, site) = chain();
    site.image("d", "v1.0", &["c"]);
    site.scan(&server);
    let before = files(&site);
    let mut update = server.command();
    update
        .args(["build", "update", "a"])
        .arg(site.path("images"));
    update.arg("--config").arg(site.path("here.toml"));
    update.args(["--reason", "a hole", "--source", "test"]);
    let ran: crate::harness::Ran = update.output().unwrap().into();
    let said = ran.told(5);
    assert!(said.contains("d@v1.0"), "{said}");
    assert_eq!(files(&site), before);
    assert!(states(&server).contains_key("a@1.0"));
}

#[test]
fn an_image_that_nobody_knows_is_told() {
    let (server, site) = chain();
    let mut update = server.command();
    update
        .args(["build", "update", "nobody"])
        .arg(site.path("images"));
    update
        .arg("--config")
        .arg(site.path("here.toml"))
        .args(["--reason", "x"]);
    let ran: crate::harness::Ran = update.output().unwrap().into();
    ran.told(4);
}
