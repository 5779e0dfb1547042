//! Templates that take more than a template may.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::harness::{Server, run};

#[test]
fn a_template_is_rendered_wherever_it_stands_and_whatever_the_variables_are() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join(OsStr::from_bytes(b"d\xff"));
    fs::create_dir(&image).unwrap();
    let template =
        "FROM scratch\nLABEL a={{ a }} b={{ b }} c={{ c.d }} u={{ ('x' * 100000) | uid }}\n";
    fs::write(image.join("Dockerfile.template"), template).unwrap();
    fs::write(image.join("changelog"), "t (1.0) x; urgency=low\n").unwrap();
    let variables = "[variables]\na = inf\nb = 2026-11-22\nc.d = nan\n";
    fs::write(dir.path().join("imagestore.toml"), variables).unwrap();
    let server = Server::start();
    let scanned = server.run(["build".as_ref(), "scan".as_ref(), dir.path().as_os_str()]);
    assert_eq!(scanned.code, 0, "{:.500}", scanned.stderr);
    assert!(scanned.stderr.contains("no number in [uids]"));
    assert!(scanned.stderr.len() < 10_000, "{}", scanned.stderr.len());
}

#[test]
fn a_template_that_takes_too_much_is_named_and_ends_nothing_but_its_own_rendering() {
    let sixty_times = |step: &str| format!("{{% set x = 'x' %}}{}", step.repeat(60));
    let wide = "{% set x = 'x' * 90000000 %}{% set l = [] %}";
    let templates = [
        sixty_times("{% set x = x ~ x %}"),
        sixty_times("{% set x = x + x %}"),
        sixty_times("{% set x %}{{ x }}{{ x }}{% endset %}"),
        wide.to_owned() + &"{% set l = l + [x * 1] %}".repeat(60),
        wide.to_owned() + "{{ x | list | length }}",
        "{{ 'x' | indent(100000000000) }}".to_owned(),
        "{{ ('x' * 100000).join(range(100000) | map('string')) }}".to_owned(),
        "{{ ([('x' * 1000000)] * 100000) | map('upper') | list | length }}".to_owned(),
        "{% set l = [1] %}{% set m = [1] %}".to_owned()
            + &"{% set l = [l, l] %}{% set m = [m, m] %}".repeat(60)
            + "{{ l == m }}",
    ];
    let dir = tempfile::tempdir().unwrap();
    for (n, template) in templates.iter().enumerate() {
        let image = dir.path().join(format!("t{n}"));
        fs::create_dir(&image).unwrap();
        fs::write(image.join("Dockerfile.template"), template).unwrap();
        let changelog = format!("t{n} (1.0) x; urgency=low\n");
        fs::write(image.join("changelog"), changelog).unwrap();
    }
    let told = run(["build".as_ref(), "scan".as_ref(), dir.path().as_os_str()]).told(1);
    let all: Vec<&str> = told.split("; ").collect();
    assert_eq!(all.len(), templates.len(), "{told}");
    for (n, (told, template)) in all.iter().zip(&templates).enumerate() {
        let file = format!("/t{n}/Dockerfile.template: takes more than ");
        let is_told =
            told.contains(&file) && ["1 GiB", "10 sec"].iter().any(|most| told.contains(most));
        assert!(is_told, "{template:.200}: {told}");
    }
}
