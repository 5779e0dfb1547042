//! The steps one by one, and images without templates, with real tools.

use std::fs;

use super::real::{build, done, project, states};
use super::tools::Yard;
use crate::harness::Server;

fn all_are(server: &Server, yard: &Yard, state: &str) {
    let all = states(server, yard);
    assert!(all.iter().all(|(_, is)| is == state), "{state}: {all:?}");
}

#[test]
fn what_was_built_is_verified_by_one_command_and_published_by_another() {
    let Some(yard) = Yard::open() else { return };
    project(&yard);
    let names = ["base", "lib", "app"];
    for name in names {
        let test = format!("#!/bin/sh\necho \"$1\" >> {:?}\n", yard.path("tested"));
        yard.write_test(&format!("images/{name}"), &test);
    }
    let more = format!("registry = {:?}\nlocation = \"here\"\n", yard.host);
    yard.config("images/imagestore.toml", &more);
    let server = Server::start();
    done(build(&server, &yard, &["scan", "."]));

    // Nothing is there yet that could be verified or published.
    for command in ["verify", "publish"] {
        let ran = build(&server, &yard, &[command, "."]);
        assert_eq!(ran.code, 1, "{command}: {ran:?}");
    }
    all_are(&server, &yard, "to_build");

    done(build(&server, &yard, &["run", ".", "--no-verify"]));
    all_are(&server, &yard, "built");
    assert!(!yard.path("tested").exists());

    let said = done(build(&server, &yard, &["verify", "."]));
    assert_eq!(said, "3 verified\n");
    all_are(&server, &yard, "verified");
    let tested = fs::read_to_string(yard.path("tested")).unwrap();
    let mut tested: Vec<&str> = tested.lines().collect();
    tested.sort_unstable();
    let mut images = names.map(|name| format!("{}/{name}:1.0", yard.host));
    images.sort();
    assert_eq!(tested, images);
    assert!(names.iter().all(|name| !yard.has(name, "1.0")));

    let said = done(build(&server, &yard, &["publish", "."]));
    assert_eq!(said, "3 published\n");
    all_are(&server, &yard, "published");
    assert!(names.iter().all(|name| yard.has(name, "1.0")));
}

#[test]
fn a_push_that_ends_well_and_leaves_nothing_in_the_registry_has_failed() {
    let Some(yard) = Yard::open() else { return };
    project(&yard);
    let more = format!("registry = {:?}\nlocation = \"here\"\n", yard.host);
    let config = yard.config("images/imagestore.toml", &more);
    let mended = fs::read_to_string(&config).unwrap();
    let push = mended.lines().find(|line| line.starts_with("push = "));
    fs::write(&config, mended.replace(push.unwrap(), "push = [\"true\"]")).unwrap();
    let server = Server::start();
    done(build(&server, &yard, &["scan", "."]));
    let arguments = ["run", ".", "--publish", "--select", "base:*"];
    let ran = build(&server, &yard, &arguments);
    assert_eq!(ran.code, 1, "{ran:?}");
    let state = |state: &str| ("base@1.0".to_owned(), state.to_owned());
    let all = states(&server, &yard);
    assert!(all.contains(&state("error")), "{all:?}");
    let said = "the push went well, but the registry does not have it";
    assert!(ran.stderr.contains(said), "{ran:?}");
    assert!(!yard.has("base", "1.0"));

    fs::write(&config, mended).unwrap();
    done(build(&server, &yard, &["reset"]));
    done(build(&server, &yard, &arguments));
    let all = states(&server, &yard);
    assert!(all.contains(&state("published")), "{all:?}");
}

#[test]
fn plain_dockerfiles_are_built_in_the_order_of_their_from_lines() {
    let Some(yard) = Yard::open() else { return };
    // The one that is built on the other comes first by name.
    yard.write(
        "images/apps/web/Dockerfile",
        "FROM system/base:1.0\nCOPY file /web\n",
    );
    yard.write("images/apps/web/version", "2.1\n");
    yard.write("images/apps/web/file", "web");
    yard.write(
        "images/system/base/Dockerfile",
        "FROM scratch\nLABEL org.opencontainers.image.version=\"1.0\"\nCOPY file /base\n",
    );
    yard.write("images/system/base/file", "base");
    let more = format!(
        "registry = {:?}\nprefix = \"team\"\nlocation = \"here\"\n",
        yard.host
    );
    yard.config("images/imagestore.toml", &more);
    let server = Server::start();
    done(build(&server, &yard, &["scan", "."]));
    let plan = server.json(&["build", "plan"]);
    let waves = serde_json::json!([["system/base@1.0"], ["apps/web@2.1"]]);
    assert_eq!(plan["waves"], waves);

    done(build(&server, &yard, &["run", ".", "--publish"]));
    all_are(&server, &yard, "published");
    assert!(yard.has("team/system/base", "1.0") && yard.has("team/apps/web", "2.1"));
    let layers = |image: &str| {
        let format = "{{range .OCIv1.RootFS.DiffIDs}}{{.}} {{end}}";
        let image = format!("{}/team/{image}", yard.host);
        yard.run_buildah(&["inspect", "--type", "image", "--format", format, &image])
    };
    let (base, web) = (layers("system/base:1.0"), layers("apps/web:2.1"));
    assert_eq!(base.split_whitespace().count(), 1, "{base}");
    assert!(web.starts_with(base.trim_end()), "{web} on {base}");
    assert_eq!(web.split_whitespace().count(), 2, "{web}");
}
