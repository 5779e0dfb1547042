//! Clients that call a server at once, and write down what they ask and are told.

use std::net::Shutdown;
use std::os::unix::net::UnixStream as Socket;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use hyper_util::rt::TokioIo;
use imagestore::proto::v1::images_client::ImagesClient;
use tokio::net::UnixStream;
use tokio::sync::Barrier;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status};
use tower::service_fn;

use crate::history::{Answer, Call, Moment, Outcome};
use crate::plan::{Patience, Planner};
use crate::wire::{self, Message};

pub const CLIENTS: usize = 8;
pub const CALLS: usize = 200;

/// Gives each beginning and each end its place in one order.
#[derive(Default)]
struct Clock(AtomicU64);

/// A client's connection, which it can cut.
struct Link {
    path: PathBuf,
    images: ImagesClient<Channel>,
    socket: Arc<Mutex<Option<Socket>>>,
}

/// Has [`CLIENTS`] clients make [`CALLS`] calls each to the server at a Unix socket.
pub async fn record(socket: &Path, namespace: &str, seed: u64) -> Vec<Call> {
    let (clock, start) = (Arc::<Clock>::default(), Arc::new(Barrier::new(CLIENTS)));
    let clients = (0..CLIENTS).map(|client| {
        let planner = Planner::new(client, seed.wrapping_mul(CLIENTS as u64) + client as u64);
        let (clock, start) = (clock.clone(), start.clone());
        let (socket, namespace) = (socket.to_owned(), namespace.to_owned());
        tokio::spawn(async move {
            let link = Link::connect(socket).await;
            start.wait().await;
            call(client, link, planner, &namespace, &clock).await
        })
    });
    let calls = join_all(clients.collect::<Vec<_>>()).await;
    calls.into_iter().flat_map(Result::unwrap).collect()
}

async fn call(
    client: usize,
    mut link: Link,
    mut planner: Planner,
    namespace: &str,
    clock: &Clock,
) -> Vec<Call> {
    let mut calls = Vec::with_capacity(CALLS);
    for nth in 0..CALLS {
        let planned = planner.next();
        // Ids are the whole store's, whatever the namespace.
        let id = planned.request_id.map(|id| format!("{namespace}/{id}"));
        let message = wire::message(namespace, &planned.asked, id.as_deref());
        let (asked, began, since) = (planned.asked, clock.tick(), Instant::now());
        let mut answer = link.ask(message.clone(), planned.patience).await;
        if answer.is_none() && id.is_some() {
            answer = link.ask(message, Patience::Endless).await;
            // Only what succeeds is remembered: a refusal says nothing of the one before, which may still be
            // on its way.
            answer = answer.filter(|answer| !matches!(answer, Answer::Refused(_)));
        }
        let outcome = match answer {
            Some(answer) => {
                let at = clock.tick();
                planner.learn(&asked, &answer, since.elapsed());
                Outcome::Ended { at, answer }
            }
            None => Outcome::Unknown,
        };
        calls.push(Call {
            client,
            nth,
            asked,
            began,
            outcome,
        });
    }
    calls
}

// === impl Clock ===

impl Clock {
    fn tick(&self) -> Moment {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

// === impl Link ===

impl Link {
    async fn connect(path: PathBuf) -> Self {
        let socket = Arc::new(Mutex::new(None));
        let (to, slot) = (path.clone(), socket.clone());
        let connector = service_fn(move |_: Uri| {
            let (to, slot) = (to.clone(), slot.clone());
            async move {
                let stream = UnixStream::connect(to).await?.into_std()?;
                *slot.lock().unwrap() = Some(stream.try_clone()?);
                Ok::<_, std::io::Error>(TokioIo::new(UnixStream::from_std(stream)?))
            }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(connector).await.unwrap();
        Self {
            path,
            images: ImagesClient::new(channel),
            socket,
        }
    }

    /// The answer; `None` where it did not come in time.
    async fn ask(&mut self, message: Message, patience: Patience) -> Option<Answer> {
        let images = self.images.clone();
        match patience {
            Patience::Endless => answer(send(images, message, None).await, false),
            Patience::Deadline(time) => answer(send(images, message, Some(time)).await, true),
            Patience::Connection(time) => {
                let answered = tokio::time::timeout(time, send(images, message, None)).await;
                if let Ok(answered) = answered {
                    return answer(answered, false);
                }
                self.cut().await;
                None
            }
        }
    }

    /// Breaks the connection with all that is under way on it, and makes another.
    async fn cut(&mut self) {
        if let Some(socket) = self.socket.lock().unwrap().take() {
            // The server may have been first.
            let _ = socket.shutdown(Shutdown::Both);
        }
        *self = Self::connect(self.path.clone()).await;
    }
}

async fn send(
    mut images: ImagesClient<Channel>,
    message: Message,
    deadline: Option<Duration>,
) -> Result<Answer, Status> {
    match message {
        Message::Get(get) => images
            .get(within(get, deadline))
            .await
            .map(with(wire::read)),
        Message::Put(put) => images.put(within(put, deadline)).await.map(with(wire::put)),
        Message::Delete(delete) => {
            let answer = images.delete(within(delete, deadline)).await;
            answer.map(with(wire::deleted))
        }
        Message::Apply(apply) => {
            let answer = images.apply(within(apply, deadline)).await;
            answer.map(with(wire::applied))
        }
    }
}

fn within<T>(message: T, deadline: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    request
}

fn with<T>(read: impl Fn(T) -> Answer) -> impl Fn(Response<T>) -> Answer {
    move |response| read(response.into_inner())
}

fn answer(answered: Result<Answer, Status>, may_be_cut: bool) -> Option<Answer> {
    answered.map_or_else(|status| wire::refused(&status, may_be_cut), Some)
}
