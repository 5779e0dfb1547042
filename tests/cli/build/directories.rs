//! Directories that share a namespace, and directories that cannot be built.

use std::fs;

use super::site::{Site, states, targets};
use crate::harness::Server;

#[test]
fn two_directories_in_one_namespace_are_each_built_by_their_own_workers() {
    let (server, one, other) = (Server::start(), Site::new(), Site::new());
    one.image("b-one", "1.0", &[]);
    other.image("a-two", "1.0", &[]);
    for (site, source) in [(&one, "one"), (&other, "other")] {
        site.build(&server, &["scan", "--source", source]).printed();
    }
    let ran = one.build(&server, &["run"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr
            .contains("a-two@1.0: not in the directory, and left to whoever has it"),
        "{ran:?}"
    );
    assert_eq!(states(&server)["b-one@1.0"], "verified");
    assert_eq!(states(&server)["a-two@1.0"], "to_build");
    assert_eq!(targets(&server)["a-two@1.0"]["attempts"], 0);
    assert_eq!(other.build(&server, &["run"]).code, 0);
    assert_eq!(states(&server)["a-two@1.0"], "verified");
}

#[test]
fn what_is_built_on_another_directorys_image_waits_for_it_and_is_named() {
    let (server, below, above) = (Server::start(), Site::new(), Site::new());
    below.image("x", "1.0", &[]);
    below
        .build(&server, &["scan", "--source", "below"])
        .printed();
    above.image("x", "1.0", &[]);
    above.image("y", "1.0", &["x"]);
    above.image("z", "1.0", &[]);
    above
        .build(&server, &["scan", "--source", "above"])
        .printed();
    fs::remove_dir_all(above.path("images/x")).unwrap();
    fs::write(above.path("images/y/control"), "Source: y\n").unwrap();
    let ran = above.build(&server, &["run"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("x@1.0: not in the directory"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("y@1.0   waiting  for x@1.0"), "{ran:?}");
    assert_eq!(states(&server)["z@1.0"], "verified");
}

#[test]
fn what_was_not_scanned_is_not_taken_for_done() {
    let (server, site) = (Server::start(), Site::new());
    site.image("a", "1.0", &[]);
    site.scan(&server);
    site.image("b", "1.0", &[]);
    let ran = site.build(&server, &["run"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout.contains("b@1.0   unknown  not scanned yet"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("imagestore build scan"), "{ran:?}");
    assert_eq!(states(&server)["a@1.0"], "verified");
}

#[test]
fn where_images_are_required_here_what_only_the_registry_has_is_built() {
    let site = Site::new();
    for name in ["a", "b"] {
        site.image(name, "1.0", &[]);
        fs::write(site.path(&format!("registry/{name}@1.0")), "").unwrap();
    }
    fs::write(site.path("daemon/b@1.0"), "").unwrap();
    let registry = format!("registry = {:?}", site.registry());
    site.config("here", "60s", &registry);
    let server = Server::start();
    site.scan(&server);
    let published = ["a@1.0", "b@1.0"].map(|name| (name.to_owned(), "published".to_owned()));
    assert_eq!(states(&server), published.clone().into());

    site.config(
        "here",
        "60s",
        &format!("{registry}\nmode = \"local-required\""),
    );
    let server = Server::start();
    site.scan(&server);
    assert_eq!(states(&server)["a@1.0"], "to_build");
    assert_eq!(states(&server)["b@1.0"], "published");
    let ran = site.build(&server, &["run"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(site.count("start", "a@1.0"), 1);
    assert_eq!(site.count("start", "b@1.0"), 0);
    site.scan(&server);
    assert_eq!(states(&server), published.into());
}

#[test]
fn a_directory_that_makes_no_graph_is_refused_in_words_of_its_files() {
    let (server, site) = (Server::start(), Site::new());
    site.image("a", "1.0", &["b"]);
    site.image("b", "1.0", &["a"]);
    let control = |name: &str| site.path(&format!("images/{name}/control"));
    let scan = || {
        let ran = site.build(&server, &["scan", "--source", "test"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        for word in ["targets", "--target", "external"] {
            assert!(!ran.stderr.contains(word), "{word}: {ran:?}");
        }
        ran.stderr
    };
    let said = scan();
    assert!(said.contains("a@1.0 -> b@1.0 -> a@1.0"), "{said}");
    for name in ["a", "b"] {
        let file = control(name).display().to_string();
        assert!(said.contains(&file), "{file}: {said}");
    }
    fs::write(control("b"), "Source: b\nBuild-Depends: a (>= 2), zz\n").unwrap();
    fs::write(control("a"), "Source: a\n").unwrap();
    let said = scan();
    assert!(said.contains("zz of b@1.0"), "{said}");
    let file = control("b").display().to_string();
    assert!(
        said.contains(&file) && said.contains("base_images"),
        "{said}"
    );
}

#[test]
fn a_glob_that_makes_no_sense_is_told_by_its_option() {
    let server = Server::start();
    for command in ["plan", "ls", "reset"] {
        let ran = server.run(["build", command, "--select", "a["]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains("--select"), "{ran:?}");
        assert!(ran.stderr.contains("has a [ at byte 1"), "{ran:?}");
    }
}
