//! A Rust client of another make, the crate `containerd-client`: it is told the same by both daemons.
//!
//! It is a program of its own, in `tests/peer-client`; `PEER_CLIENT` is its path, or `tests/run` has built it.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::Daemon;

fn find() -> Option<PathBuf> {
    let built = "target/peers/peer-client/debug/peer-client";
    let program = env::var_os("PEER_CLIENT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(built),
        PathBuf::from,
    );
    if program.exists() {
        return Some(program);
    }
    let missing = "PEER MISSING: peer-client; this test tested nothing. \
                   tests/run --require-peers builds it, or set PEER_CLIENT to its path.\n";
    let required = env::var_os("IMAGESTORE_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "{missing}");
    // Not eprintln!, which the test harness hides when the test passes.
    io::stderr().write_all(missing.as_bytes()).unwrap();
    None
}

fn told(program: &Path, daemon: &Daemon) -> Vec<String> {
    let output = Command::new(program).arg(daemon.socket()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_client_of_another_make_is_told_the_same() {
    let Some(program) = find() else {
        return;
    };
    let imagestore = told(&program, &Daemon::imagestore().await);
    assert!(
        imagestore.iter().any(|line| line.starts_with("get: Image")),
        "{imagestore:?}"
    );
    if let Some(containerd) = Daemon::containerd().await {
        assert_eq!(imagestore, told(&program, &containerd), "right: containerd");
    }
}
