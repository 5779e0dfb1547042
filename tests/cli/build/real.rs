//! Both flows from end to end, with real images, a real registry and no Docker engine.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::tools::Yard;
use crate::harness::{Ran, Server, eventually};

pub(super) fn changelog(name: &str, version: &str) -> String {
    format!(
        "{name} ({version}) unstable; urgency=medium\n\n  * First.\n\n -- A B <a@b.example>  Tue, 01 Sep 2026 10:00:00 +0000\n"
    )
}

/// Three images, each on the one before.
pub(super) fn project(yard: &Yard) {
    let image = |name: &str, template: &str, control: Option<&str>| {
        yard.write(&format!("images/{name}/Dockerfile.template"), template);
        yard.write(&format!("images/{name}/changelog"), &changelog(name, "1.0"));
        if let Some(on) = control {
            let control = format!("Source: {name}\nBuild-Depends: {on}\n");
            yard.write(&format!("images/{name}/control"), &control);
        }
        yard.write(&format!("images/{name}/file"), name);
        yard.write_test(&format!("images/{name}"), "#!/bin/sh\ntest -n \"$1\"\n");
    };
    image("base", "FROM scratch\nCOPY file /base\n", None);
    let on =
        |name: &str| format!("FROM {{{{ \"{name}\" | image_tag }}}}\nCOPY file /{name}.child\n");
    image("lib", &on("base"), Some("base"));
    image("app", &on("lib"), Some("lib"));
}

pub(super) fn command(server: &Server, yard: &Yard, arguments: &[&str]) -> Command {
    let mut command = server.command();
    command
        .current_dir(yard.path("images"))
        .env("TMPDIR", yard.path(""))
        .arg("build")
        .args(arguments);
    command
}

pub(super) fn build(server: &Server, yard: &Yard, arguments: &[&str]) -> Ran {
    command(server, yard, arguments).output().unwrap().into()
}

/// What a command printed that went well, whatever it told on the way.
#[track_caller]
pub(super) fn done(ran: Ran) -> String {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout
}

pub(super) fn states(server: &Server, yard: &Yard) -> Vec<(String, String)> {
    let listed = done(build(server, yard, &["ls", "-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = listed.as_array().unwrap().iter();
    all.map(|target| (text(&target["target"]), text(&target["state"])))
        .collect()
}

#[test]
fn what_a_directory_describes_is_built_in_order_verified_and_published_and_no_latest_d3() {
    let Some(yard) = Yard::open() else { return };
    project(&yard);
    let more = format!(
        "registry = {:?}\nprefix = \"team\"\nlocation = \"here\"\nauthor = \"A B <a@b.example>\"\n",
        yard.host
    );
    yard.config("images/imagestore.toml", &more);
    let server = Server::start();
    done(build(&server, &yard, &["scan", "."]));
    let plan = done(build(&server, &yard, &["plan"]));
    let at = |name: &str| {
        plan.find(name)
            .unwrap_or_else(|| panic!("{name} in {plan}"))
    };
    assert!(
        at("base@1.0") < at("lib@1.0") && at("lib@1.0") < at("app@1.0"),
        "{plan}"
    );

    done(build(&server, &yard, &["run", ".", "-j", "2", "--publish"]));
    for name in ["base", "lib", "app"] {
        assert!(yard.has(&format!("team/{name}"), "1.0"), "{name}");
    }
    let all = |state: &str| states(&server, &yard).iter().all(|(_, is)| is == state);
    assert!(all("published"), "{:?}", states(&server, &yard));

    // Another store learns it from the registry, and builds nothing.
    let other = Server::start();
    done(build(&other, &yard, &["scan", "."]));
    assert!(
        states(&other, &yard)
            .iter()
            .all(|(_, state)| state == "published")
    );
    let nothing = build(&other, &yard, &["run", ".", "--publish"]);
    assert_eq!(nothing.code, 0, "{nothing:?}");

    // A new version of one is a new version of all above it.
    done(build(
        &server,
        &yard,
        &["update", "lib", "--reason", "a fix"],
    ));
    let app = fs::read_to_string(yard.path("images/app/changelog")).unwrap();
    assert!(app.starts_with("app (1.0-s1) "), "{app}");
    assert!(
        app.contains("a fix") && app.ends_with(&changelog("app", "1.0")),
        "{app}"
    );
    let base = fs::read_to_string(yard.path("images/base/changelog")).unwrap();
    assert_eq!(base, changelog("base", "1.0"));
    done(build(&server, &yard, &["scan", "."]));
    done(build(&server, &yard, &["run", ".", "--publish"]));
    for (name, version, is_there) in [
        ("base", "1.0-s1", false),
        ("lib", "1.0-s1", true),
        ("app", "1.0-s1", true),
    ] {
        assert_eq!(
            yard.has(&format!("team/{name}"), version),
            is_there,
            "{name}"
        );
        // docker-pkg moved it at each publish, in any order.
        assert!(!yard.has(&format!("team/{name}"), "latest"), "{name}");
    }

    // What is old here is removed here, and stays in the registry.
    let local = || yard.run_buildah(&["images", "--format", "{{.Name}}:{{.Tag}}"]);
    let old = format!("{}/team/app:1.0\n", yard.host);
    done(build(&server, &yard, &["prune", "--dry-run"]));
    assert!(local().contains(&old));
    done(build(&server, &yard, &["prune"]));
    assert!(!local().contains(&old), "{}", local());
    assert!(local().contains(&format!("{}/team/app:1.0-s1\n", yard.host)));
    assert!(yard.has("team/app", "1.0"));

    let graph = done(build(&server, &yard, &["graph", "-o", "dot"]));
    assert!(graph.starts_with("digraph"), "{graph}");
}

#[test]
fn an_image_whose_test_fails_holds_up_what_is_built_on_it_until_it_is_mended() {
    let Some(yard) = Yard::open() else { return };
    project(&yard);
    let more = format!("registry = {:?}\nlocation = \"here\"\n", yard.host);
    yard.config("images/imagestore.toml", &more);
    yard.write_test("images/lib", "#!/bin/sh\necho no good >&2\nexit 3\n");
    let server = Server::start();
    done(build(&server, &yard, &["scan", "."]));
    let ran = build(&server, &yard, &["run", ".", "--publish"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("no good") || ran.stdout.contains("no good"),
        "{ran:?}"
    );
    let state = |name: &str| {
        let all = states(&server, &yard);
        all.into_iter()
            .find(|(target, _)| target == name)
            .unwrap()
            .1
    };
    assert_eq!(state("base@1.0"), "published");
    assert_eq!(state("lib@1.0"), "error");
    assert_eq!(state("app@1.0"), "to_build");
    assert!(!yard.has("lib", "1.0") && !yard.has("app", "1.0"));

    yard.write_test("images/lib", "#!/bin/sh\nexit 0\n");
    done(build(&server, &yard, &["reset"]));
    done(build(&server, &yard, &["run", ".", "--publish"]));
    assert!(yard.has("app", "1.0"));
}

#[test]
fn a_tag_that_is_taken_by_another_image_is_not_overwritten() {
    let Some(yard) = Yard::open() else { return };
    project(&yard);
    let more = format!("registry = {:?}\nlocation = \"here\"\n", yard.host);
    yard.config("images/imagestore.toml", &more);
    let server = Server::start();
    done(build(&server, &yard, &["scan", "."]));
    done(build(&server, &yard, &["run", ".", "--select", "base:*"]));
    // Somebody else publishes under the name meanwhile.
    yard.write("other/f", "other");
    yard.write("other/Dockerfile", "FROM scratch\nCOPY f /f\n");
    let image = format!("{}/base:1.0", yard.host);
    let folder = yard.path("other");
    yard.run_buildah(&[
        "bud",
        "--quiet",
        "--isolation",
        "chroot",
        "--tag",
        "other",
        folder.to_str().unwrap(),
    ]);
    yard.run_buildah(&[
        "push",
        "--quiet",
        "--tls-verify=false",
        "other",
        &format!("docker://{image}"),
    ]);
    let before = yard.asks("/v2/base/manifests/1.0");
    let ran = build(&server, &yard, &["publish"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let digest = |answer: &str| {
        let header = answer
            .lines()
            .find(|line| line.starts_with("Docker-Content-Digest"));
        header.unwrap().to_owned()
    };
    assert_eq!(
        digest(&yard.asks("/v2/base/manifests/1.0")),
        digest(&before)
    );
}

#[test]
fn what_is_published_and_not_here_is_pulled_before_something_is_built_on_it() {
    let Some(yard) = Yard::open() else { return };
    project(&yard);
    let more = format!("registry = {:?}\nlocation = \"here\"\n", yard.host);
    yard.config(
        "images/imagestore.toml",
        &format!("{more}author = \"A B <a@b.example>\"\n"),
    );
    let server = Server::start();
    done(build(&server, &yard, &["scan", "."]));
    done(build(&server, &yard, &["run", ".", "--publish"]));
    yard.run_buildah(&["rmi", "--all", "--force"]);
    let updated = build(&server, &yard, &["update", "lib", "--reason", "a fix"]);
    done(updated);
    done(build(&server, &yard, &["scan", "."]));
    done(build(&server, &yard, &["run", ".", "--publish"]));
    assert!(yard.has("lib", "1.0-s1") && yard.has("app", "1.0-s1"));
    let here = yard.run_buildah(&["images", "--format", "{{.Name}}:{{.Tag}}"]);
    assert!(
        here.contains(&format!("{}/base:1.0\n", yard.host)),
        "{here}"
    );
}

#[test]
fn an_image_that_a_killed_worker_pushed_and_did_not_tell_of_is_known_again() {
    let Some(yard) = Yard::open() else { return };
    project(&yard);
    let more = format!(
        "registry = {:?}\nlocation = \"here\"\nttl = \"3s\"\n",
        yard.host
    );
    let config = yard.config("images/imagestore.toml", &more);
    let script = yard.write(
        "push",
        &format!(
            "D={:?}\n\"$@\" || exit 1\nmkdir \"$D/once\" || exit 0\necho $$ > \"$D/pid.new\"\n\
             mv \"$D/pid.new\" \"$D/pid\"\nsleep 60\n",
            yard.path("")
        ),
    );
    let text = fs::read_to_string(&config).unwrap();
    let push = format!("push = [\"/bin/sh\", {script:?}, \"skopeo\"");
    let text = text.replace("push = [\"skopeo\"", &push);
    fs::write(&config, &text).unwrap();
    let server = Server::start();
    done(build(&server, &yard, &["scan", "."]));
    let arguments = ["run", ".", "--publish", "--select", "base:*"];
    let mut worker = command(&server, &yard, &arguments);
    let worker = worker.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut worker = worker.unwrap();
    eventually("it has pushed", || yard.path("pid").exists());
    worker.kill().unwrap();
    worker.wait().unwrap();
    let pid = fs::read_to_string(yard.path("pid")).unwrap();
    // It may have ended with its worker.
    let _ = kill_process_group(
        Pid::from_raw(pid.trim().parse().unwrap()).unwrap(),
        Signal::KILL,
    );
    let before = yard.asks("/v2/base/manifests/1.0");
    // Whoever takes over has the time that it takes.
    fs::write(&config, text.replace("ttl = \"3s\"", "ttl = \"60s\"")).unwrap();
    let ran = build(&server, &yard, &arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    let all = states(&server, &yard);
    assert!(
        all.contains(&("base@1.0".to_owned(), "published".to_owned())),
        "{all:?}"
    );
    let digest = |answer: &str| {
        let mut headers = answer.lines();
        headers
            .find(|line| line.starts_with("Docker-Content-Digest"))
            .map(str::to_owned)
    };
    assert_eq!(
        digest(&yard.asks("/v2/base/manifests/1.0")),
        digest(&before)
    );
}

#[test]
fn a_base_that_is_another_one_in_its_registry_makes_another_image() {
    let Some(yard) = Yard::open() else { return };
    let config = yard.config("imagestore.toml", "location = \"here\"\n");
    let base = format!("{}/base:1", yard.host);
    let publish = |content: &str| {
        yard.write("base/f", content);
        yard.write("base/Dockerfile", "FROM scratch\nCOPY f /f\n");
        let folder = yard.path("base");
        let folder = folder.to_str().unwrap();
        let made = [
            "bud",
            "--quiet",
            "--isolation",
            "chroot",
            "--tag",
            "other",
            folder,
        ];
        yard.run_buildah(&made);
        let to = format!("docker://{base}");
        yard.run_buildah(&["push", "--quiet", "--tls-verify=false", "other", &to]);
    };
    publish("one");
    let server = Server::start();
    let exec = || -> Ran {
        let mut asked = server.command();
        asked
            .env("TMPDIR", yard.path(""))
            .args(["builder", "exec", &base, "--track-base"])
            .args(["--config", config.to_str().unwrap()])
            .args(["--", "echo", "{image}"]);
        asked.output().unwrap().into()
    };
    let image = |ran: Ran| done(ran).lines().last().unwrap().to_owned();
    let first = image(exec());
    assert_eq!(image(exec()), first);
    publish("two");
    let second = image(exec());
    assert_ne!(second, first);
    let layers = |image: &str| {
        let format = "{{.OCIv1.RootFS.DiffIDs}}";
        yard.run_buildah(&["inspect", "--type", "image", "--format", format, image])
    };
    assert_ne!(layers(&second), layers(&first), "it is made of the new one");
    assert_eq!(image(exec()), second);
    // A registry that cannot be asked is no reason to make another one.
    yard.write(
        "registry/docker/registry/v2/repositories/base/_manifests/tags/1/current/link",
        "",
    );
    let ran = exec();
    assert!(
        ran.stderr.contains("is another one now is not known"),
        "{ran:?}"
    );
    assert_eq!(image(ran), second);
}

#[test]
fn a_builder_image_is_made_once_and_used_until_it_is_too_old() {
    let Some(yard) = Yard::open() else { return };
    let more = "location = \"here\"\n";
    let config = yard.config("imagestore.toml", more);
    yard.write("base/f", "base");
    yard.write("base/Dockerfile", "FROM scratch\nCOPY f /f\n");
    let base = format!("{}/base:1", yard.host);
    let folder = yard.path("base");
    yard.run_buildah(&[
        "bud",
        "--quiet",
        "--isolation",
        "chroot",
        "--tag",
        &base,
        folder.to_str().unwrap(),
    ]);
    yard.run_buildah(&[
        "push",
        "--quiet",
        "--tls-verify=false",
        &base,
        &format!("docker://{base}"),
    ]);
    yard.write(
        "recipe/Dockerfile",
        "ARG BASE\nFROM ${BASE}\nENV MADE=yes\n",
    );
    let recipe = yard.path("recipe/Dockerfile");
    let server = Server::start();
    let exec = |more: &[&str], command: &[&str]| -> Ran {
        let mut asked = server.command();
        asked
            .env("TMPDIR", yard.path(""))
            .args(["builder", "exec", &base])
            .args(["--config", config.to_str().unwrap()])
            .args(["--platform", "linux/amd64"])
            .args(["--recipe", recipe.to_str().unwrap()])
            .args(more)
            .arg("--")
            .args(command);
        asked.output().unwrap().into()
    };
    let first = done(exec(&[], &["echo", "{image}"]));
    let image = first.lines().last().unwrap().to_owned();
    let made = yard.run_buildah(&["inspect", "--type", "image", &image]);
    assert!(made.contains("MADE=yes"), "{made}");
    let second = done(exec(&[], &["echo", "{image}"]));
    assert_eq!(second.lines().last().unwrap(), image, "it is used again");
    assert_eq!(exec(&[], &["sh", "-c", "exit 7"]).code, 7);

    let third = done(exec(&["--force"], &["echo", "{image}"]));
    let newer = third.lines().last().unwrap().to_owned();
    assert_ne!(newer, image);
    // The old one is in nobody's way: it is removed, and the newest stays.
    let prune = |more: &[&str]| {
        let all = ["builder", "prune", "--config", config.to_str().unwrap()];
        server.print(all.iter().chain(more))
    };
    prune(&["--dry-run"]);
    let images = || yard.run_buildah(&["images", "--format", "{{.Name}}:{{.Tag}}"]);
    assert!(images().contains(&image), "{}", images());
    prune(&[]);
    assert!(
        !images().contains(&image) && images().contains(&newer),
        "{}",
        images()
    );
    assert_eq!(
        done(exec(&[], &["echo", "{image}"]))
            .lines()
            .last()
            .unwrap(),
        newer
    );

    // One that somebody removed is made again.
    yard.run_buildah(&["rmi", &newer]);
    let again = done(exec(&[], &["echo", "{image}"]));
    assert_ne!(again.lines().last().unwrap(), newer);
}
