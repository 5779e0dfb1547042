//! Which directories are images.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a_directory_is_an_image_with_a_template_and_a_changelog() {
    let dir = tree(&[
        ("none/README", ""),
        ("both/Dockerfile.template", "FROM x"),
        ("both/changelog", "both (1) x; y"),
        ("both/below/Dockerfile.template", "FROM x"),
        ("both/below/changelog", "below (1) x; y"),
        ("template/Dockerfile.template", "FROM x"),
        ("log/changelog", "log (1) x; y"),
        ("log/control", "Depends: x"),
        ("control/control", "Depends: x"),
        (".git/Dockerfile.template", "FROM x"),
        (".git/changelog", "git (1) x; y"),
    ]);
    let scanned = scanned(&dir);
    assert_eq!(graph(&scanned), ["below@1 <- ", "both@1 <- "]);
    let mut warnings: Vec<_> = scanned
        .warnings
        .iter()
        .map(|warning| below(&dir, warning))
        .collect();
    warnings.sort();
    assert_eq!(
        warnings,
        [
            "log: changelog is passed over, since there is no Dockerfile.template",
            "template: Dockerfile.template is passed over, since there is no changelog",
        ]
    );
}

#[test]
fn links_that_lead_in_circles_are_not_followed_but_links_to_files_are() {
    let dir = tree(&[("a/Dockerfile.template", "FROM x"), ("log", "a (1) x; y")]);
    symlink("..", dir.path().join("a/loop")).unwrap();
    symlink("loop", dir.path().join("loop")).unwrap();
    symlink("../log", dir.path().join("a/changelog")).unwrap();
    assert_eq!(graph(&scanned(&dir)), ["a@1 <- "]);
}

#[test]
fn an_empty_directory_has_no_images() {
    let dir = tree(&[]);
    let scanned = scanned(&dir);
    assert!(scanned.images.is_empty() && scanned.warnings.is_empty());
}

#[test]
fn a_directory_that_is_not_there_is_refused() {
    let dir = tree(&[]);
    let failure = scan(
        &dir.path().join("x"),
        &Config::default(),
        &mut template::answer,
    )
    .unwrap_err();
    assert!(
        format!("{failure:?}").contains("no such file"),
        "{failure:?}"
    );
}

#[test]
fn two_directories_with_one_name_and_version_are_refused() {
    let dir = tree(&[
        ("one/Dockerfile.template", "FROM x"),
        ("one/changelog", "a (1) x; y"),
        ("two/Dockerfile.template", "FROM x"),
        ("two/changelog", "a (1) x; y"),
    ]);
    let told = refused(&dir);
    assert!(told.contains("one and two are both a@1"), "{told}");
    fs::write(dir.path().join("two/changelog"), "a (2) x; y").unwrap();
    assert_eq!(graph(&scanned(&dir)), ["a@1 <- ", "a@2 <- "]);
}

#[test]
fn what_is_wrong_is_told_of_all_directories_at_once() {
    let dir = tree(&[
        ("a/Dockerfile.template", "FROM x"),
        ("a/changelog", "nothing"),
        ("b/Dockerfile.template", "FROM x"),
        ("b/changelog", "b (1) x; y"),
        ("b/control", "Depends: a,\n b | c"),
        ("c/Dockerfile", "FROM x"),
    ]);
    let told = refused(&dir);
    for part in [
        "a/changelog:1: ",
        "b/control:2: ",
        "c/Dockerfile has no version: ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
