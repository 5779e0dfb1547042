//! What import and rollback ask for, as a server sees it that answers when the test wants.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use imagestore::proto::v1::images_server::{Images, ImagesServer};
use imagestore::proto::v1::*;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::harness::{Ran, digest, imagestore, line};

/// How many Puts an import has under way at most.
const IN_FLIGHT: usize = 64;
/// Long enough for another Put to come, if one could.
const HESITATION: Duration = Duration::from_millis(20);

/// When Puts are answered.
#[derive(Clone)]
enum Pace {
    /// When so many are under way.
    Together(Arc<Barrier>),
    /// The first of each name late, and the others at once.
    FirstOfEachNameLate,
}

/// Keeps the last digest of each name, and what was seen on the way.
#[derive(Clone)]
struct Watcher {
    pace: Pace,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    records: BTreeMap<String, String>,
    under_way: BTreeSet<String>,
    most_under_way: usize,
    overlaps: Vec<String>,
    /// The revisions that a name was asked for at.
    looked_at: Vec<u64>,
}

/// Runs `import -` on a text against a watching server.
fn import(pace: Pace, text: &str) -> (Ran, Seen) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    std::fs::write(&file, text).unwrap();
    watched(pace, &["import".as_ref(), file.as_os_str()])
}

/// Runs a command against a watching server.
fn watched(pace: Pace, arguments: &[&OsStr]) -> (Ran, Seen) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let seen = Arc::new(Mutex::new(Seen::default()));
    let watcher = Watcher {
        pace,
        seen: seen.clone(),
    };
    let listener = {
        let _inside = runtime.enter();
        UnixListener::bind(&socket).unwrap()
    };
    let server = Server::builder().add_service(ImagesServer::new(watcher));
    runtime.spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    let output = imagestore()
        .arg("-a")
        .arg(&socket)
        .args(arguments)
        .output()
        .unwrap();
    runtime.shutdown_background();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (output.into(), seen)
}

#[test]
fn import_keeps_64_puts_under_way_and_no_more() {
    let text: String = (0..3 * IN_FLIGHT)
        .map(|i| line(&format!("n{i}"), 1))
        .collect();
    // Would not end with fewer.
    let (ran, seen) = import(Pace::Together(Arc::new(Barrier::new(IN_FLIGHT))), &text);
    assert_eq!(ran.printed(), "192 imported, 0 unchanged, 0 failed\n");
    assert_eq!(seen.most_under_way, IN_FLIGHT);
}

#[test]
fn a_later_line_never_overtakes_an_earlier_one_of_the_same_name() {
    let text: String = (0..60)
        .map(|i| line(["a", "b", "c"][i % 3], u8::try_from(i).unwrap()))
        .collect();
    let (ran, seen) = import(Pace::FirstOfEachNameLate, &text);
    assert_eq!(ran.printed(), "60 imported, 0 unchanged, 0 failed\n");
    assert_eq!(seen.overlaps, [""; 0]);
    let last = [("a", 57), ("b", 58), ("c", 59)];
    assert_eq!(
        seen.records,
        last.map(|(name, number)| (name.to_owned(), digest(number)))
            .into()
    );
}

#[test]
fn rollback_reads_what_it_replaced_and_no_more() {
    let (ran, seen) = watched(
        Pace::FirstOfEachNameLate,
        &["rollback", "a"].map(OsStr::new),
    );
    let (from, to) = (digest(8), digest(9));
    assert_eq!(
        ran.printed(),
        format!("a rolled back from {from} to {to}\n")
    );
    assert_eq!(seen.looked_at, [8]);
}

/// A record whose digest is numbered by its revision.
fn made_at(name: String, revision: u64) -> Image {
    Image {
        name,
        target: Some(Descriptor {
            digest: digest(u8::try_from(revision).unwrap()),
            ..Descriptor::default()
        }),
        revision,
        ..Image::default()
    }
}

// === impl Watcher ===

#[tonic::async_trait]
impl Images for Watcher {
    async fn put(
        &self,
        request: Request<PutImageRequest>,
    ) -> Result<Response<PutImageResponse>, Status> {
        let image = request.into_inner().image.unwrap();
        let is_first = {
            let mut seen = self.seen.lock().unwrap();
            if !seen.under_way.insert(image.name.clone()) {
                seen.overlaps.push(image.name.clone());
            }
            seen.most_under_way = seen.most_under_way.max(seen.under_way.len());
            !seen.records.contains_key(&image.name)
        };
        match &self.pace {
            Pace::Together(barrier) => {
                barrier.wait().await;
                // One too many would be seen now.
                tokio::time::sleep(HESITATION).await;
            }
            Pace::FirstOfEachNameLate if is_first => tokio::time::sleep(HESITATION).await,
            Pace::FirstOfEachNameLate => {}
        }
        let mut seen = self.seen.lock().unwrap();
        seen.under_way.remove(&image.name);
        let digest = image.target.as_ref().unwrap().digest.clone();
        seen.records.insert(image.name.clone(), digest);
        Ok(Response::new(PutImageResponse {
            image: Some(image),
            changed: true,
            ..PutImageResponse::default()
        }))
    }

    async fn get(
        &self,
        request: Request<GetImageRequest>,
    ) -> Result<Response<GetImageResponse>, Status> {
        let GetImageRequest {
            name, at_revision, ..
        } = request.into_inner();
        self.seen.lock().unwrap().looked_at.push(at_revision);
        Ok(Response::new(GetImageResponse {
            image: Some(made_at(name, at_revision)),
            revision: 10,
        }))
    }

    async fn list(
        &self,
        _: Request<ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }

    type StreamStream = tokio_stream::Empty<Result<StreamImagesResponse, Status>>;

    async fn stream(
        &self,
        _: Request<StreamImagesRequest>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }

    async fn count(
        &self,
        _: Request<CountImagesRequest>,
    ) -> Result<Response<CountImagesResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }

    async fn delete(
        &self,
        _: Request<DeleteImageRequest>,
    ) -> Result<Response<DeleteImageResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }

    async fn apply(
        &self,
        _: Request<ApplyImagesRequest>,
    ) -> Result<Response<ApplyImagesResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }

    async fn history(
        &self,
        _: Request<HistoryRequest>,
    ) -> Result<Response<HistoryResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }

    async fn rollback(
        &self,
        request: Request<RollbackImageRequest>,
    ) -> Result<Response<RollbackImageResponse>, Status> {
        Ok(Response::new(RollbackImageResponse {
            image: Some(made_at(request.into_inner().name, 9)),
            changed: true,
            created: false,
            revision: 9,
        }))
    }

    type WatchStream = tokio_stream::Empty<Result<WatchImagesResponse, Status>>;

    async fn watch(
        &self,
        _: Request<WatchImagesRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }
}
