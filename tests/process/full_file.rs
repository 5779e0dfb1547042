//! A disk that refuses to let the files grow: writes stop, reads go on, nothing acknowledged is lost.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use imagestore::proto::v1 as pb;
use rustix::process::Signal;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::StatusExt;

use crate::common::{Server, assert_refused, eventually, folder, get, put, socket, target};

/// More than the journal, which is written before anything else is.
const LARGEST_FILE_KIB: u64 = 6 << 10;

/// Far more than an end without calls under way takes.
const NO_WAIT: Duration = Duration::from_secs(15);

/// Starts a server whose files cannot grow past a size: the system refuses it (EFBIG), as a full disk
/// would, and needs no privileges for it.
fn launch_limited(root: &Path, address: &str) -> Server {
    let mut command = Command::new("bash");
    let limited = format!("trap '' XFSZ; ulimit -f {LARGEST_FILE_KIB}; exec \"$@\"");
    command
        .args(["-c", &limited, "bash", env!("CARGO_BIN_EXE_imagestore")])
        .arg("serve")
        .arg("--root")
        .arg(root)
        .args(["--listen", address]);
    Server::spawn(command, root, address)
}

/// A Put of a record so large that a few dozen fill the file.
fn heavy(name: &str) -> pb::PutImageRequest {
    let mut request = put(name, name);
    let target = request.image.as_mut().unwrap().target.as_mut().unwrap();
    target
        .annotations
        .insert("weight".to_owned(), "x".repeat(200_000));
    request
}

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

/// Every acknowledged record is there, as it was put.
async fn all_there(server: &Server, acknowledged: &[String]) {
    let mut images = server.images().await;
    for name in acknowledged {
        let read = images.get(get(name)).await;
        let read = read.unwrap_or_else(|status| panic!("{name} was acknowledged: {status:?}"));
        let image = read.into_inner().image.unwrap();
        assert_eq!(image.target.unwrap().digest, target(name).digest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_disk_refuses_writes_they_stop_reads_go_on_and_nothing_is_lost() {
    let root = folder();
    let (_dir, address) = socket();
    let mut server = launch_limited(root.path(), &address);
    server.ready().await;
    let mut images = server.images().await;
    let mut acknowledged = Vec::new();
    let mut failure = None;
    for i in 0..200 {
        let name = format!("n{i:03}");
        match images.put(heavy(&name)).await {
            Ok(_) => acknowledged.push(name),
            Err(status) => {
                failure = Some(status);
                break;
            }
        }
    }
    let failure = failure.expect("no file can hold 40 MB");
    assert!(acknowledged.len() > 5, "{}", acknowledged.len());
    assert!(
        ["OUTCOME_UNKNOWN", "WRITES_STOPPED"].contains(&reason(&failure).as_str()),
        "{failure:?}"
    );

    for name in ["later", &acknowledged[0]] {
        let status = images.put(put(name, "other")).await.unwrap_err();
        assert_refused(&status, Code::Unavailable, "WRITES_STOPPED", None);
    }
    all_there(&server, &acknowledged).await;
    let found = images
        .list(pb::ListImagesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(!found.images.is_empty(), "lists answer too");
    assert!(!server.status().await.degraded.is_empty());
    for service in ["", "imagestore.v1.Images"] {
        eventually("health says so", async || {
            server.health(service).await == Ok(ServingStatus::NotServing)
        })
        .await;
    }
    assert!(!server.has_ended());

    server.signal(Signal::TERM);
    let status = server.ended(NO_WAIT).await;
    let said = server.stderr();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");

    let again = Server::at(root.path()).await;
    all_there(&again, &acknowledged).await;
    let there = again.status().await;
    let sure = acknowledged.len() as i64;
    assert!(
        (sure..=sure + 1).contains(&there.images),
        "{} of {sure}",
        there.images
    );
    assert_eq!(there.degraded, "");
    again.images().await.put(put("later", "x")).await.unwrap();
}
