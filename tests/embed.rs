//! The example of a daemon that embeds the store, `examples/embed.rs`, as a process.

mod common;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Server, digest, folder, get, put, socket};
use imagestore::proto::v1 as pb;
use rustix::process::Signal;
use tonic_health::pb::health_check_response::ServingStatus;

/// The example, built: `cargo test` does that, `cargo test --test embed` does not.
fn program() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_imagestore"))
        .parent()
        .expect("it is in a folder");
    let profile = match folder.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--offline",
            "--example",
            "embed",
            "--profile",
            profile,
        ])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(
            folder
                .parent()
                .expect("a profile has a folder in the target folder"),
        )
        .status()
        .unwrap();
    assert!(built.success());
    folder.join("examples/embed")
}

fn embed(root: &Path, address: &str) -> Server {
    let mut command = Command::new(program());
    command.arg(root).arg(address.trim_start_matches("unix://"));
    Server::spawn(command, root, address)
}

async fn serving(daemon: &mut Server) {
    common::eventually("the daemon serves its own service", async || {
        assert!(!daemon.has_ended(), "{}", daemon.stderr());
        daemon.health("embed.Base").await == Ok(ServingStatus::Serving)
    })
    .await;
}

#[tokio::test]
async fn a_daemon_serves_the_store_beside_a_service_of_its_own() {
    let (root, (_dir, address)) = (folder(), socket());
    let mut daemon = embed(root.path(), &address);
    serving(&mut daemon).await;

    let mut images = daemon.images().await;
    let base = pb::GetImageRequest {
        namespace: "daemon".to_owned(),
        ..get("base:latest")
    };
    let base = images.get(base).await.unwrap().into_inner().image.unwrap();
    assert_eq!(
        base.target.unwrap().digest,
        digest(""),
        "what the daemon put without gRPC"
    );
    let made = images.put(put("a", "one")).await.unwrap().into_inner();
    assert!(made.created);

    daemon.signal(Signal::TERM);
    assert!(
        daemon.ended(Duration::from_secs(20)).await.success(),
        "{}",
        daemon.stderr()
    );

    // The store is an ordinary one: the server opens it.
    let server = Server::at(root.path()).await;
    let read = server
        .images()
        .await
        .get(get("a"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read.image, made.image);
}

#[tokio::test]
async fn a_daemon_that_starts_again_finds_its_store() {
    let root = folder();
    for round in 0..2 {
        let (_dir, address) = socket();
        let mut daemon = embed(root.path(), &address);
        serving(&mut daemon).await;
        assert_eq!(daemon.status().await.images, 1, "round {round}");
        daemon.signal(Signal::INT);
        assert!(
            daemon.ended(Duration::from_secs(20)).await.success(),
            "{}",
            daemon.stderr()
        );
    }
}
